//! A stage's config against the JSON Schema that the function describes: every mistake with its place, before `bind` has
//! the last word.
//!
//! The schema comes from a component and is as hostile as that. So its depth and the work on it are bounded (whoever goes
//! through a list of it pays for each thing in it), there are no
//! regular expressions, `$ref` leads nowhere but into the schema itself, its words are tamed before they are shown, and
//! what is not understood is passed: a config that passes here may still be refused by `bind`. Understood are `type`,
//! `enum`, `const`, the bounds of numbers, strings and arrays, `properties`, `required`, `additionalProperties`, `items`,
//! `prefixItems`, `anyOf`, `oneOf`, `allOf` and `$ref` of draft 2020-12.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::read::{Document, choices, properties, required, schemas, types};
use crate::config::{below, list, nearest, shown};

/// Levels of schemas in schemas, references included.
const DEPTH_MAX: usize = 48;
/// Schemas, names and words that are looked at for one config. What is left then is for `bind` to say.
const STEPS_MAX: usize = 20_000;
/// Mistakes of one config.
const MISTAKES_MAX: usize = 50;
/// Names of a list in a message.
const NAMES_MAX: usize = 20;
/// Names among which the one is looked for that was probably meant, and bytes of each.
const COMPARED_MAX: usize = 1000;
const COMPARED_BYTES_MAX: usize = 60;
/// Schemas that are asked for the word that tells them apart, for one step.
const STEP_TAGS: usize = 10;
/// Bytes of a text that are counted as one step when its characters are.
const TEXT_STEP_BYTES: usize = 1000;
/// Characters of the author's own words in a hint.
const DOC_CHARS_MAX: usize = 200;

/// Something in a config that the function does not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// JSON pointer of what is wrong; of a missing key, of the table that lacks it.
    pub pointer: String,
    /// Whether it is the key that is wrong, and not the value.
    pub is_key: bool,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub hint: Option<String>,
    /// What the author says about the value; tamed.
    pub doc: Option<String>,
    kind: Kind,
}

/// Decides which of several schemas was probably meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Another type of value.
    Type,
    /// Another one of a few words.
    Word,
    Other,
}

/// All mistakes of `config`, in the order of the config. None if the schema says nothing that is understood.
pub fn mistakes(schema: &Value, config: &Value) -> Vec<Mistake> {
    let mut check = Check { document: Document(schema), steps: 0, found: Vec::new() };
    check.value(schema, config, &At { pointer: "", name: "config" }, 0);
    check.found
}

struct Check<'s> {
    document: Document<'s>,
    steps: usize,
    found: Vec<Mistake>,
}

/// Which value is looked at.
#[derive(Clone, Copy)]
struct At<'a> {
    pointer: &'a str,
    /// As a person says it: `limits.lines[2]`.
    name: &'a str,
}

impl At<'_> {
    fn member(&self, key: &str) -> (String, String) {
        let name = if self.pointer.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) };
        (below(self.pointer, key), name)
    }

    fn item(&self, index: usize) -> (String, String) {
        (below(self.pointer, &index.to_string()), format!("{}[{index}]", self.name))
    }

    fn quoted(&self) -> String {
        format!("`{}`", shown(self.name))
    }
}

impl<'s> Check<'s> {
    /// Takes the steps, if there are any left and mistakes are still wanted.
    fn can_spend(&mut self, steps: usize) -> bool {
        self.steps = self.steps.saturating_add(steps);
        self.steps <= STEPS_MAX && self.found.len() < MISTAKES_MAX
    }

    fn value(&mut self, schema: &'s Value, value: &Value, at: &At<'_>, depth: usize) {
        if depth > DEPTH_MAX || !self.can_spend(1) {
            return;
        }
        let Some(schema) = schema.as_object() else {
            if schema == &Value::Bool(false) {
                self.wrong(
                    at,
                    Kind::Other,
                    format!("{} is not taken here", at.quoted()),
                    Some("remove it".to_owned()),
                    None,
                );
            }
            return;
        };
        if let Some(target) = self.document.target(schema) {
            self.value(target, value, at, depth + 1);
        }
        if self.is_other_type(schema, value, at) || self.is_other_word(schema, value, at) {
            return;
        }
        match value {
            Value::Number(_) => self.number(schema, value, at),
            Value::String(text) if self.can_spend(text.len() / TEXT_STEP_BYTES) => {
                self.length(schema, ("minLength", "maxLength", "character"), text.chars().count(), at);
            }
            Value::Array(items) => self.array(schema, items, at, depth),
            Value::Object(members) => self.object(schema, members, at, depth),
            Value::Null | Value::Bool(_) | Value::String(_) => {}
        }
        for part in schemas(schema, "allOf") {
            self.value(part, value, at, depth + 1);
        }
        for key in ["anyOf", "oneOf"] {
            self.one_of(schemas(schema, key), schema, value, at, depth);
        }
    }

    fn wrong(&mut self, at: &At<'_>, kind: Kind, what: String, hint: Option<String>, doc: Option<String>) {
        self.report(Mistake { pointer: at.pointer.to_owned(), is_key: false, what, hint, doc, kind });
    }

    /// Two ways through a schema may meet at the same mistake.
    fn report(&mut self, mistake: Mistake) {
        if self.found.len() < MISTAKES_MAX && !self.found.contains(&mistake) {
            self.found.push(mistake);
        }
    }

    fn is_other_type(&mut self, schema: &Map<String, Value>, value: &Value, at: &At<'_>) -> bool {
        let types = types(schema);
        if types.is_empty() || types.iter().any(|name| is_type(name, value)) {
            return false;
        }
        let wanted: Vec<&str> = types.iter().filter_map(|name| words(name)).collect();
        let what = match wanted.as_slice() {
            // TOML has no null.
            [] => format!("{} must be left out", at.quoted()),
            wanted => format!("{} must be {}, not {}", at.quoted(), list(wanted, "or"), kind_of(value)),
        };
        self.wrong(at, Kind::Type, what, None, doc(schema));
        true
    }

    fn is_other_word(&mut self, schema: &Map<String, Value>, value: &Value, at: &At<'_>) -> bool {
        let Some(words) = choices(schema) else { return false };
        if !self.can_spend(words.len()) || words.iter().any(|word| is_same(word, value)) {
            return false;
        }
        self.not_one_of(&words.iter().collect::<Vec<_>>(), schema, value, at);
        true
    }

    fn not_one_of(&mut self, words: &[&Value], schema: &Map<String, Value>, value: &Value, at: &At<'_>) {
        let written = value.as_str();
        let texts = words.iter().filter_map(|word| word.as_str());
        let meant = written.and_then(|written| probably_meant(written, texts));
        let hint = meant.map(|meant| format!("did you mean {}?", quoted(meant)));
        let names: Vec<String> = words.iter().take(NAMES_MAX).map(|word| said(word)).collect();
        let what = format!("{} must be {}, not {}", at.quoted(), list(&names, "or"), said(value));
        self.wrong(at, Kind::Word, what, hint, doc(schema));
    }

    fn number(&mut self, schema: &Map<String, Value>, value: &Value, at: &At<'_>) {
        type Fails = fn(f64, f64) -> bool;
        let bounds: [(&str, &str, Fails); 4] = [
            ("minimum", "at least", |number, bound| number < bound),
            ("maximum", "at most", |number, bound| number > bound),
            ("exclusiveMinimum", "more than", |number, bound| number <= bound),
            ("exclusiveMaximum", "less than", |number, bound| number >= bound),
        ];
        let Some(number) = value.as_f64() else { return };
        for (key, words, fails) in bounds {
            let Some(bound) = schema.get(key).filter(|bound| bound.is_number()) else { continue };
            if bound.as_f64().is_some_and(|bound| fails(number, bound)) {
                let what = format!("{} must be {words} {bound}, not {value}", at.quoted());
                self.wrong(at, Kind::Other, what, None, doc(schema));
            }
        }
    }

    fn length(
        &mut self,
        schema: &Map<String, Value>,
        (min, max, unit): (&str, &str, &str),
        length: usize,
        at: &At<'_>,
    ) {
        let bound = |key| schema.get(key).and_then(Value::as_u64);
        let length = length as u64;
        let min = bound(min).filter(|min| length < *min).map(|min| ("least", min));
        let max = bound(max).filter(|max| length > *max).map(|max| ("most", max));
        for (word, bound) in min.into_iter().chain(max) {
            let plural = if bound == 1 { "" } else { "s" };
            let what = format!("{} must have at {word} {bound} {unit}{plural}, not {length}", at.quoted());
            self.wrong(at, Kind::Other, what, None, doc(schema));
        }
    }

    fn array(&mut self, schema: &'s Map<String, Value>, items: &[Value], at: &At<'_>, depth: usize) {
        self.length(schema, ("minItems", "maxItems", "item"), items.len(), at);
        let first = schemas(schema, "prefixItems");
        for (index, item) in items.iter().enumerate() {
            if !self.can_spend(1) {
                return;
            }
            let (pointer, name) = at.item(index);
            if let Some(schema) = first.get(index).or(schema.get("items")) {
                self.value(schema, item, &At { pointer: &pointer, name: &name }, depth + 1);
            }
        }
    }

    fn object(&mut self, schema: &'s Map<String, Value>, members: &Map<String, Value>, at: &At<'_>, depth: usize) {
        let empty = Map::new();
        let properties = properties(schema);
        let known = properties.unwrap_or(&empty);
        let mut meant = BTreeSet::new();
        for (key, member) in members {
            if !self.can_spend(1) {
                return;
            }
            let (pointer, name) = at.member(key);
            let at = At { pointer: &pointer, name: &name };
            match properties.and_then(|properties| properties.get(key)) {
                Some(schema) => self.value(schema, member, &at, depth + 1),
                None if schema.contains_key("patternProperties") => {}
                None => match schema.get("additionalProperties") {
                    Some(Value::Bool(false)) => {
                        meant.extend(self.unknown_key(key, known, members, &at));
                    }
                    Some(schema) => self.value(schema, member, &at, depth + 1),
                    None => {}
                },
            }
        }
        // A key that is misspelt is not missing too.
        for key in required(schema) {
            if !self.can_spend(1) {
                return;
            }
            if !members.contains_key(key) && !meant.contains(key) {
                self.missing_key(key, properties.and_then(|properties| properties.get(key)), at);
            }
        }
    }

    /// Reports it, and gives the key that was probably meant.
    fn unknown_key(
        &mut self,
        key: &str,
        known: &Map<String, Value>,
        members: &Map<String, Value>,
        at: &At<'_>,
    ) -> Option<String> {
        // Also if it is the last that can be said.
        self.can_spend(known.len().min(COMPARED_MAX));
        let free = known.keys().take(COMPARED_MAX).map(String::as_str).filter(|name| !members.contains_key(*name));
        let meant = probably_meant(key, free);
        let names: Vec<String> = known.keys().take(NAMES_MAX).map(|name| shown(name)).collect();
        let takes = if known.is_empty() {
            "this function takes no key here".to_owned()
        } else {
            format!("it takes {}", list(&names, "and"))
        };
        let hint = Some(meant.map_or(takes.clone(), |meant| format!("did you mean `{}`? {takes}", shown(meant))));
        let (pointer, what) = (at.pointer.to_owned(), format!("unknown key {}", at.quoted()));
        self.report(Mistake { pointer, is_key: true, what, hint, doc: None, kind: Kind::Other });
        meant.map(str::to_owned)
    }

    fn missing_key(&mut self, key: &str, schema: Option<&'s Value>, at: &At<'_>) {
        let schema = schema.and_then(Value::as_object);
        let target = schema.and_then(|schema| self.document.target(schema));
        let sources = [schema, target.and_then(Value::as_object)];
        let wanted = sources.iter().flatten().find_map(|schema| wanted(schema));
        let doc = sources.iter().flatten().find_map(|schema| doc(schema));
        let key = shown(key);
        let hint = match (wanted, doc) {
            (Some(wanted), Some(doc)) => format!("add `{key}`, {wanted}: {doc}"),
            (Some(wanted), None) => format!("add `{key}`, {wanted}"),
            (None, Some(doc)) => format!("add `{key}`: {doc}"),
            (None, None) => format!("add `{key}`"),
        };
        self.wrong(at, Kind::Other, format!("{} has no `{key}`", at.quoted()), Some(hint), None);
    }

    /// Any one will do. If none does, the one that was probably meant tells what is wrong.
    fn one_of(&mut self, schemas: &'s [Value], around: &Map<String, Value>, value: &Value, at: &At<'_>, depth: usize) {
        if schemas.is_empty() {
            return;
        }
        if self.is_other_tag(schemas, value, at) {
            return;
        }
        let mut failed = Vec::new();
        for schema in schemas {
            let mut branch = Check { document: self.document, steps: self.steps, found: Vec::new() };
            branch.value(schema, value, at, depth + 1);
            self.steps = branch.steps;
            if branch.found.is_empty() {
                return;
            }
            failed.push(branch.found);
        }
        let words: Option<Vec<&[Value]>> =
            schemas.iter().map(|schema| choices(self.document.followed(schema)?)).collect();
        if let Some(words) = words {
            if let Some(words) = self.together(&words) {
                self.not_one_of(&words, around, value, at);
            }
            return;
        }
        let misfit = |found: &[Mistake]| {
            let is_here = |mistake: &&Mistake| mistake.kind != Kind::Other && mistake.pointer == at.pointer;
            let is_tag = |mistake: &&Mistake| mistake.kind == Kind::Word;
            (found.iter().filter(is_here).count(), found.iter().filter(is_tag).count(), found.len())
        };
        let best = failed.iter().map(|found| misfit(found)).min().expect("there are schemas");
        let nearest: Vec<&Vec<Mistake>> = failed.iter().filter(|found| misfit(found) == best).collect();
        if let ([found], 0) = (nearest.as_slice(), best.0) {
            return self.found.extend(found.iter().cloned());
        }
        let wanted = schemas.iter().filter_map(|schema| wanted(self.document.followed(schema)?));
        let mut wanted: Vec<String> = wanted.take(NAMES_MAX).collect();
        wanted.dedup();
        let what = match wanted.as_slice() {
            [] => format!("{} is none of what it may be", at.quoted()),
            [one] if best.0 == 0 => format!("{} is not {one} that fits", at.quoted()),
            wanted => format!("{} must be {}, not {}", at.quoted(), list(wanted, "or"), said(value)),
        };
        self.wrong(at, Kind::Type, what, None, doc(around));
    }

    /// Whether all are tables that one key tells apart, and its value is none of theirs.
    fn is_other_tag(&mut self, schemas: &'s [Value], value: &Value, at: &At<'_>) -> bool {
        let looked_at = value.as_object().map_or(0, Map::len).saturating_mul(schemas.len());
        if !self.can_spend(looked_at / STEP_TAGS) {
            return false;
        }
        let tag_of =
            |schema: &'s Value, key: &str| choices(properties(self.document.followed(schema)?)?.get(key)?.as_object()?);
        let tags = |key: &str| schemas.iter().map(|schema| tag_of(schema, key)).collect::<Option<Vec<_>>>();
        let mut members = value.as_object().into_iter().flatten();
        let Some((key, tag, words)) = members.find_map(|(key, tag)| Some((key, tag, tags(key)?))) else {
            return false;
        };
        let Some(words) = self.together(&words) else { return false };
        if words.iter().any(|word| is_same(word, tag)) {
            return false;
        }
        let (pointer, name) = at.member(key);
        self.not_one_of(&words, &Map::new(), tag, &At { pointer: &pointer, name: &name });
        true
    }

    /// The words of several schemas, unless there are too many.
    fn together<'v>(&mut self, words: &[&'v [Value]]) -> Option<Vec<&'v Value>> {
        let count = words.iter().map(|words| words.len()).fold(0, usize::saturating_add);
        self.can_spend(count).then(|| words.iter().copied().flatten().collect())
    }
}

fn is_type(name: &str, value: &Value) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0),
        // A type of a later draft.
        _ => true,
    }
}

/// A type as a person says it who writes TOML, which has no null.
fn words(name: &str) -> Option<&'static str> {
    match name {
        "boolean" => Some("true or false"),
        "string" => Some("a string"),
        "array" => Some("a list"),
        "object" => Some("a table"),
        "number" => Some("a number"),
        "integer" => Some("a whole number"),
        _ => None,
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
        Value::Number(number) if number.is_f64() => "a float",
        Value::Number(_) => "an integer",
    }
}

/// Comparing takes time by the length of both.
fn probably_meant<'w>(written: &str, words: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    let is_short = |word: &&str| word.len() <= COMPARED_BYTES_MAX;
    let words: Vec<&str> = words.take(COMPARED_MAX).filter(is_short).collect();
    nearest(Some(written).filter(is_short)?, words.iter().copied())
}

fn is_same(word: &Value, value: &Value) -> bool {
    word == value || matches!((word.as_f64(), value.as_f64()), (Some(a), Some(b)) if a == b)
}

/// What a schema takes, in words: `a whole number`, `"a" or "b"`.
fn wanted(schema: &Map<String, Value>) -> Option<String> {
    if let Some(words) = choices(schema) {
        let words: Vec<String> = words.iter().take(NAMES_MAX).map(said).collect();
        return Some(list(&words, "or"));
    }
    if let [Value::String(key)] = schemas(schema, "required") {
        return Some(format!("a table with `{}`", shown(key)));
    }
    let words: Vec<&str> = types(schema).into_iter().filter_map(words).collect();
    (!words.is_empty()).then(|| list(&words, "or"))
}

/// A value in a message.
fn said(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        other => kind_of(other).to_owned(),
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", shown(text))
}

/// The first paragraph of what the author says about it, on one line, and the default.
fn doc(schema: &Map<String, Value>) -> Option<String> {
    let text = schema.get("description").and_then(Value::as_str)?;
    // A little more, for the spaces that go.
    let text: String = text.chars().take(2 * DOC_CHARS_MAX).collect();
    let paragraph = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    let tamed: String = paragraph.chars().map(|c| if c.is_control() || is_turn(c) { '\u{fffd}' } else { c }).collect();
    let cut: String = tamed.chars().take(DOC_CHARS_MAX).collect();
    let dots = if cut.len() < tamed.len() { "…" } else { "" };
    let said = schema
        .get("default")
        .filter(|default| !default.is_null() && !default.is_object() && !default.is_array())
        .map(said);
    let default = said.map(|default| format!(" ({default} if not given)")).unwrap_or_default();
    (!cut.is_empty()).then(|| format!("{cut}{dots}{default}"))
}

fn is_turn(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    #![expect(clippy::needless_pass_by_value, reason = "cases are written where they are used")]

    use std::fmt::Write as _;

    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    fn check(schema: Value, config: Value, expected: Expect) {
        let mut report = String::new();
        for Mistake { pointer, is_key, what, hint, doc, .. } in mistakes(&schema, &config) {
            let place = if is_key { "key" } else { "value" };
            writeln!(report, "{place} at \"{pointer}\": {what} [{}]", hint.or(doc).unwrap_or_default()).unwrap();
        }
        expected.assert_eq(&report);
    }

    /// As schemars writes it.
    fn limits() -> Value {
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "Limits",
            "type": "object",
            "properties": {
                "lines_max": { "description": "The most lines\nof a file.\n\nMore.", "type": "integer", "format": "uint32", "minimum": 0, "default": 100 },
                "ratio": { "type": "number", "exclusiveMinimum": 0, "maximum": 1 },
                "how": { "$ref": "#/$defs/How", "description": "Which way." },
                "names": { "type": "array", "items": { "type": "string", "minLength": 1 }, "maxItems": 2 },
                "since": { "type": ["string", "null"] },
                "table": { "anyOf": [{ "$ref": "#/$defs/Table" }, { "type": "null" }] }
            },
            "required": ["lines_max"],
            "additionalProperties": false,
            "$defs": {
                "How": { "oneOf": [{ "const": "fast", "description": "Soon." }, { "const": "well" }] },
                "Table": { "type": "object", "properties": { "path": { "type": "string" }, "rows": { "type": "integer" } }, "required": ["path"], "additionalProperties": false }
            }
        })
    }

    #[test]
    fn what_is_good_passes() {
        let good = json!({ "lines_max": 3, "ratio": 0.5, "how": "fast", "names": ["a"], "since": "x", "table": { "path": "p" } });
        check(limits(), good, expect![""]);
        check(limits(), json!({ "lines_max": 3.0 }), expect![""]);
        check(json!(true), json!({ "any": 1 }), expect![""]);
        check(json!("no schema"), json!({ "any": 1 }), expect![""]);
    }

    #[test]
    fn every_mistake_has_its_place() {
        let config = json!({ "lines_max": -1, "ratio": 0, "how": "fats", "names": ["", 3, "c"], "since": 2026, "table": { "path": 1, "row": 2 } });
        check(
            limits(),
            config,
            expect![[r#"
                value at "/how": `how` must be "fast" or "well", not "fats" [did you mean "fast"?]
                value at "/lines_max": `lines_max` must be at least 0, not -1 [The most lines of a file. (100 if not given)]
                value at "/names": `names` must have at most 2 items, not 3 []
                value at "/names/0": `names[0]` must have at least 1 character, not 0 []
                value at "/names/1": `names[1]` must be a string, not an integer []
                value at "/ratio": `ratio` must be more than 0, not 0 []
                value at "/since": `since` must be a string, not an integer []
                value at "/table/path": `table.path` must be a string, not an integer []
                key at "/table/row": unknown key `table.row` [did you mean `rows`? it takes path and rows]
            "#]],
        );
    }

    #[test]
    fn keys_that_are_missing_or_misspelt() {
        check(
            limits(),
            json!({}),
            expect![[r#"
                value at "": `config` has no `lines_max` [add `lines_max`, a whole number: The most lines of a file. (100 if not given)]
            "#]],
        );
        check(
            limits(),
            json!({ "line_max": 1 }),
            expect![[r#"
                key at "/line_max": unknown key `line_max` [did you mean `lines_max`? it takes how, lines_max, names, ratio, since and table]
            "#]],
        );
        check(
            limits(),
            json!({ "lines_max": 1, "zzz": 1, "table": 3 }),
            expect![[r#"
                value at "/table": `table` must be a table with `path`, not 3 []
                key at "/zzz": unknown key `zzz` [it takes how, lines_max, names, ratio, since and table]
            "#]],
        );
        check(
            json!({ "type": "object", "additionalProperties": false }),
            json!({ "a": 1 }),
            expect![[r#"
                key at "/a": unknown key `a` [this function takes no key here]
            "#]],
        );
    }

    /// Enums as schemars writes them: tagged outside, inside, not at all.
    #[test]
    fn of_several_schemas_the_one_that_was_meant_tells() {
        let outside = json!({ "oneOf": [
            { "type": "string", "enum": ["none", "all"] },
            { "type": "object", "properties": { "some": { "type": "integer" } }, "required": ["some"], "additionalProperties": false }
        ] });
        let outside = json!({ "type": "object", "properties": { "keep": outside } });
        check(
            outside.clone(),
            json!({ "keep": "nine" }),
            expect![[r#"
                value at "/keep": `keep` must be "none" or "all" or a table with `some`, not "nine" []
            "#]],
        );
        check(
            outside.clone(),
            json!({ "keep": { "some": "x" } }),
            expect![[r#"
                value at "/keep/some": `keep.some` must be a whole number, not a string []
            "#]],
        );
        check(
            outside,
            json!({ "keep": 3 }),
            expect![[r#"
                value at "/keep": `keep` must be "none" or "all" or a table with `some`, not 3 []
            "#]],
        );
        let inside = json!({ "oneOf": [
            { "type": "object", "properties": { "kind": { "const": "a" }, "n": { "type": "integer" } }, "required": ["kind", "n"] },
            { "type": "object", "properties": { "kind": { "const": "b" } }, "required": ["kind"] }
        ] });
        check(
            inside.clone(),
            json!({ "kind": "a", "n": "x" }),
            expect![[r#"
                value at "/n": `n` must be a whole number, not a string []
            "#]],
        );
        check(
            inside,
            json!({ "kind": "c" }),
            expect![[r#"
                value at "/kind": `kind` must be "a" or "b", not "c" [did you mean "a"?]
            "#]],
        );
        let untagged = json!({ "properties": { "at": { "anyOf": [{ "type": "integer" }, { "type": "array", "items": { "type": "integer" } }] } } });
        check(
            untagged.clone(),
            json!({ "at": "7" }),
            expect![[r#"
                value at "/at": `at` must be a whole number or a list, not "7" []
            "#]],
        );
        check(
            untagged,
            json!({ "at": [1, "x"] }),
            expect![[r#"
                value at "/at/1": `at[1]` must be a whole number, not a string []
            "#]],
        );
    }

    #[test]
    fn tuples_and_parts() {
        let schema = json!({ "properties": { "range": {
            "type": "array", "prefixItems": [{ "type": "integer" }, { "type": "string" }], "minItems": 2, "maxItems": 2
        } }, "allOf": [{ "required": ["range"] }, { "properties": { "x": false } }] });
        check(
            schema,
            json!({ "range": ["a"], "x": 1 }),
            expect![[r#"
                value at "/range": `range` must have at least 2 items, not 1 []
                value at "/range/0": `range[0]` must be a whole number, not a string []
                value at "/x": `x` is not taken here [remove it]
            "#]],
        );
    }

    /// Not only what is entered is paid for, also what is gone through: names, words, choices.
    #[test]
    fn hostile_schemas_end_soon() {
        let started = std::time::Instant::now();
        let twice = json!([{ "$ref": "#" }, { "$ref": "#" }]);
        let names: Vec<String> = (0..280_000).map(|n| format!("k{n}")).collect();
        let properties: Map<String, Value> = names.iter().map(|name| (name.clone(), json!({}))).collect();
        let wide = json!({ "additionalProperties": false, "properties": properties, "allOf": twice });
        let found = mistakes(&wide, &json!({ "zzz": 1 }));
        // One mistake is said once, however many ways lead to it.
        assert_eq!(
            found.iter().map(|mistake| (mistake.is_key, mistake.what.as_str())).collect::<Vec<_>>(),
            [(true, "unknown key `zzz`")]
        );

        let needy = json!({ "required": names, "allOf": twice });
        assert_eq!(mistakes(&needy, &json!({})).len(), MISTAKES_MAX);
        let wordy = json!({ "$defs": { "words": { "enum": names } }, "properties": { "k": { "anyOf": vec![json!({ "$ref": "#/$defs/words" }); 10_000] } } });
        assert_eq!(mistakes(&wordy, &json!({ "k": "kk" })), []);
        let long =
            json!({ "additionalProperties": false, "properties": { ("k".repeat(1_000_000)): {} }, "allOf": twice });
        assert_eq!(mistakes(&long, &json!({ ("k".repeat(1000)): 1 })).len(), 1);
        // Done in the obvious way, each of these takes hours.
        assert!(started.elapsed() < std::time::Duration::from_secs(300), "{:?}", started.elapsed());
    }

    /// The second way to an unknown key must not mark the mistake that was found in between.
    #[test]
    fn what_is_wrong_with_a_value_stays_with_the_value() {
        let schema = json!({
            "properties": { "a": { "type": "integer" } }, "additionalProperties": false,
            "allOf": [{ "required": ["b"] }, { "properties": { "a": true }, "additionalProperties": false }],
        });
        check(
            schema,
            json!({ "a": 1, "c": 2 }),
            expect![[r#"
            key at "/c": unknown key `c` [it takes a]
            value at "": `config` has no `b` [add `b`]
        "#]],
        );
    }

    #[test]
    fn hostile_schemas_end() {
        let around =
            json!({ "$ref": "#/$defs/a", "$defs": { "a": { "$ref": "#/$defs/b" }, "b": { "$ref": "#/$defs/a" } } });
        check(around, json!({ "a": 1 }), expect![""]);
        let doubling = json!({ "$ref": "#/$defs/a", "$defs": { "a": { "allOf": [{ "$ref": "#" }, { "$ref": "#" }], "anyOf": [{ "$ref": "#" }, { "$ref": "#" }] } } });
        check(doubling, json!({ "a": 1 }), expect![""]);
        check(json!({ "$ref": "file:///etc/passwd" }), json!({}), expect![""]);
        check(json!({ "$ref": "#/properties/a", "properties": { "a": false } }), json!({}), expect![""]);
        check(
            json!({ "type": "strange", "enum": 3, "required": 4, "properties": [], "items": 3, "minimum": "x" }),
            json!({ "a": [1] }),
            expect![""],
        );
        let loud = json!({ "properties": { "a": { "type": "integer", "description": "\u{1b}[31m\u{202e}red".to_owned() + &"x".repeat(999) } } });
        check(
            loud,
            json!({ "a": "\u{1b}" }),
            expect![[r#"
                value at "/a": `a` must be a whole number, not a string [�[31m�redxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…]
            "#]],
        );
    }
    /// What an editor says of a pipeline file by its schema.
    #[test]
    fn mistakes_of_a_pipeline_file() {
        let source = json!({ "path": "in/", "id": ["a", "b"], "footers_max": 1, "store": { "retries": 0 } });
        let stage = json!({ "component": "a.wasm", "function": "f", "config": { "any": [1] }, "on_error": "skip" });
        let sink = json!({ "path": "out/", "file_bytes_max": "1 GiB" });
        let checkpoint = json!({ "path": "c", "group_bytes_max": 1000, "heartbeat_seconds": 0.5, "lanes": 65536 });
        let good = json!({ "source": source, "stage": [stage, stage], "sink": sink, "checkpoint": checkpoint });
        check(crate::config::schema(), good, expect![""]);

        let source = json!({ "path": "", "id": [], "footers_max": 0, "store": { "regoin": "a" } });
        let stage = json!({ "component": "a.wasm", "on_error": "skp" });
        let checkpoint = json!({ "path": "c", "heartbeat_seconds": 61, "lanes": 65537, "delete_on_success": 1 });
        let bad = json!({ "source": source, "stage": [stage], "checkpoint": checkpoint, "runs": {} });
        check(
            crate::config::schema(),
            bad,
            expect![[r#"
                value at "/checkpoint/delete_on_success": `checkpoint.delete_on_success` must be true or false, not an integer [Whether the checkpoint goes away when the job is finished. By the manifest in the sink a rerun finds that there is nothing to do. (false if not given)]
                value at "/checkpoint/heartbeat_seconds": `checkpoint.heartbeat_seconds` must be at most 60, not 61 [The time between two signs of life of a run. (5 if not given)]
                value at "/checkpoint/lanes": `checkpoint.lanes` must be at most 65536, not 65537 [Logs that the job has, fixed when it begins: more than there will ever be processes on it. (1 if not given)]
                key at "/runs": unknown key `runs` [did you mean `run`? it takes checkpoint, dead_letters, run, sink, source and stage]
                value at "/source/footers_max": `source.footers_max` must be at least 1, not 0 [A new job of so many files reads all their footers, to find one schema for files that differ; of more files, 64 from the first to the last. (1000 if not given)]
                value at "/source/id": `source.id` must have at least 1 item, not 0 []
                value at "/source/path": `source.path` must have at least 1 character, not 0 [A file, a folder (every file below it that is named like the format) or a glob (`*` stays within a folder, `**` does not), relative to the pipeline file's folder, or in a bucket; see which files are r…]
                key at "/source/store/regoin": unknown key `source.store.regoin` [did you mean `region`? it takes allow_http, endpoint, profile, region, requests_max, retries and timeout_seconds]
                value at "/stage/0/on_error": `stage[0].on_error` must be "fail", "skip" or "dead-letter", not "skp" [did you mean "skip"?]
                value at "/stage/0": `stage[0]` has no `function` [add `function`, a string: Which of the component's functions.]
                value at "": `config` has no `sink` [add `sink`, a table with `path`: Where results go.]
            "#]],
        );
    }
}
