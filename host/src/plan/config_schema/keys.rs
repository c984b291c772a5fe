//! The JSON Schema of a config, for people: one line a key, with its type, its default and what it means.
//!
//! Only what such schemas usually hold is read: `properties`, `$ref` into the same document, `type`, `enum`, `const`,
//! `anyOf`, bounds, `default`, `description`. Anything else is shown as it is in `--json`.
//!
//! The schema comes from a component and is as hostile as that: references make a few lines of it mean any number of keys.
//! So there is a limit on the keys that are shown, on those that are looked at, and on the length of each text.

use std::fmt::{self, Write};

use serde_json::{Map, Value};

use super::read::{Document, choices, properties, required, schemas};
use crate::text::cut;

/// Keys within keys are shown so deep.
const DEPTH_MAX: usize = 4;
/// Keys that are shown of all functions of a component.
const KEYS_MAX: usize = 1000;
/// Keys that are looked at to say how many more there are.
const STEPS_MAX: usize = 20_000;
/// Characters of a key's name with those that it is within.
const NAME_CHARS_MAX: usize = 80;
/// Characters of a type.
const TYPE_CHARS_MAX: usize = 200;
/// Characters of a default.
const DEFAULT_CHARS_MAX: usize = 80;
/// Characters of the author's words about a key.
const DOC_CHARS_MAX: usize = 300;

/// One key of a config. Its texts are cut and harmless.
#[derive(Debug, PartialEq)]
pub struct Key {
    /// `limits.bytes_min`
    pub name: String,
    /// `integer >= 0`
    pub data_type: String,
    /// As JSON; none if the key must be given, or nobody says.
    pub default: Option<String>,
    /// Whether the config is refused without it.
    pub is_required: bool,
    /// The first line.
    pub doc: String,
}

/// The keys of a config.
#[derive(Debug, Default, PartialEq)]
pub struct Keys {
    /// In the schema's order; those of tables after them, with dots.
    pub shown: Vec<Key>,
    /// How many more there are.
    pub more: usize,
    /// Whether they were not even counted to the end.
    pub is_endless: bool,
}

/// What may be spent on the schemas of one component.
pub struct Budget {
    keys: usize,
    steps: usize,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { keys: KEYS_MAX, steps: STEPS_MAX }
    }
}

/// The keys of a config, as far as the budget reaches.
pub fn keys(schema: &Value, budget: &mut Budget) -> Keys {
    let mut reading = Reading { document: Document(schema), budget, keys: Keys::default() };
    reading.collect(schema, &Within { prefix: "", depth: 0, outer: None });
    reading.keys
}

struct Reading<'a> {
    document: Document<'a>,
    budget: &'a mut Budget,
    keys: Keys,
}

/// The tables that a key is within.
struct Within<'w> {
    /// `limits.`
    prefix: &'w str,
    depth: usize,
    /// The schema of the innermost one, and those around it.
    outer: Option<(&'w Value, &'w Within<'w>)>,
}

impl Within<'_> {
    /// Whether a schema is one of its own parts.
    fn holds(&self, schema: &Value) -> bool {
        self.outer.is_some_and(|(outer, around)| std::ptr::eq(outer, schema) || around.holds(schema))
    }
}

impl<'a> Reading<'a> {
    fn collect(&mut self, schema: &'a Value, within: &Within<'_>) {
        let schema = resolved(self.document, schema);
        if within.depth >= DEPTH_MAX || within.holds(schema) {
            return;
        }
        let Some((properties, required)) = schema.as_object().and_then(|it| Some((properties(it)?, required(it))))
        else {
            return;
        };
        for (name, property) in properties {
            if self.budget.steps == 0 {
                self.keys.is_endless = true;
                return;
            }
            self.budget.steps -= 1;
            let inner = resolved(self.document, property);
            let full = cut(&format!("{}{name}", within.prefix), NAME_CHARS_MAX);
            if self.budget.keys == 0 {
                self.keys.more += 1;
            } else {
                self.budget.keys -= 1;
                let is_required = required.clone().any(|required| required == name);
                self.keys.shown.push(key(self.document, full.clone(), property, inner, is_required));
            }
            let prefix = format!("{full}.");
            self.collect(inner, &Within { prefix: &prefix, depth: within.depth + 1, outer: Some((schema, within)) });
        }
    }
}

/// `inner` is the property, or what it refers to.
fn key(document: Document<'_>, name: String, property: &Value, inner: &Value, is_required: bool) -> Key {
    // Beside a `$ref`, a property has words of its own.
    let own = |word: &str| Some(&property[word]).filter(|value| !value.is_null()).or(inner.get(word));
    let doc = own("description").and_then(Value::as_str).unwrap_or_default();
    Key {
        name,
        data_type: Cut::of(TYPE_CHARS_MAX, |text| write_type(text, document, inner, 0)),
        default: own("default").map(|default| Cut::of(DEFAULT_CHARS_MAX, |text| write!(text, "{default}"))),
        is_required,
        doc: cut(doc.lines().next().unwrap_or_default(), DOC_CHARS_MAX),
    }
}

/// Behind all references; a circle ends.
fn resolved<'a>(document: Document<'a>, mut schema: &'a Value) -> &'a Value {
    for _ in 0..DEPTH_MAX {
        match document.next(schema) {
            Some(next) => schema = next,
            None => break,
        }
    }
    schema
}

/// A text that is full at some length: who writes it then need not go on.
struct Cut {
    text: String,
    chars_left: usize,
}

impl Cut {
    fn of(chars_max: usize, write: impl FnOnce(&mut Cut) -> fmt::Result) -> String {
        let mut cut = Cut { text: String::new(), chars_left: chars_max };
        if write(&mut cut).is_err() {
            cut.text.pop();
            cut.text.push('…');
        }
        self::cut(&cut.text, chars_max)
    }
}

impl Write for Cut {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            self.chars_left = self.chars_left.checked_sub(1).ok_or(fmt::Error)?;
            self.text.push(c);
        }
        Ok(())
    }
}

/// Every choice writes something, so there are no more of them than characters.
fn write_type(text: &mut Cut, document: Document<'_>, schema: &Value, depth: usize) -> fmt::Result {
    if depth > DEPTH_MAX {
        return text.write_str("...");
    }
    let Some(schema) = resolved(document, schema).as_object() else { return text.write_str("any") };
    if let Some(values) = choices(schema) {
        return write_choices(text, values, |text, value| write!(text, "{value}"));
    }
    let any = [schemas(schema, "anyOf"), schemas(schema, "oneOf")].into_iter().find(|any| !any.is_empty());
    if let Some(any) = any {
        return write_choices(text, any, |text, choice| write_type(text, document, choice, depth + 1));
    }
    match schema.get("type") {
        Some(Value::String(name)) if name == "array" => {
            text.write_str("list of ")?;
            write_type(text, document, schema.get("items").unwrap_or(&Value::Null), depth + 1)
        }
        Some(Value::String(name)) => {
            text.write_str(named(name))?;
            write_bounds(text, schema)
        }
        Some(Value::Array(names)) => {
            write_choices(text, names, |text, name| text.write_str(named(name.as_str().unwrap_or("any"))))?;
            write_bounds(text, schema)
        }
        _ => text.write_str("any"),
    }
}

fn write_choices(text: &mut Cut, choices: &[Value], each: impl Fn(&mut Cut, &Value) -> fmt::Result) -> fmt::Result {
    for (index, choice) in choices.iter().enumerate() {
        if index > 0 {
            text.write_str(" | ")?;
        }
        each(text, choice)?;
    }
    Ok(())
}

fn named(name: &str) -> &str {
    if name == "object" { "table" } else { name }
}

fn write_bounds(text: &mut Cut, schema: &Map<String, Value>) -> fmt::Result {
    for (word, sign) in [("minimum", ">="), ("exclusiveMinimum", ">"), ("maximum", "<="), ("exclusiveMaximum", "<")] {
        if let Some(bound) = schema.get(word) {
            write!(text, " {sign} {bound}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    fn all(schema: &Value) -> Keys {
        keys(schema, &mut Budget::default())
    }

    #[test]
    fn what_schemas_usually_hold() {
        let schema = json!({
            "type": "object",
            "required": ["mode"],
            "properties": {
                "bytes_min": { "type": "integer", "minimum": 0, "default": 10, "description": "Shorter texts go." },
                "mode": { "$ref": "#/$defs/Mode" },
                "names": { "type": ["array", "null"], "items": { "type": "string" } },
                "limits": { "$ref": "#/$defs/Limits", "description": "More." },
                "again": { "$ref": "#/properties/again" },
            },
            "$defs": {
                "Mode": { "enum": ["fast", "exact"] },
                "Limits": { "type": "object", "properties": { "share": { "type": "number", "exclusiveMaximum": 1 } } },
            },
        });
        let line = |key: Key| {
            format!("{} | {} | {:?} | {} | {}\n", key.name, key.data_type, key.default, key.is_required, key.doc)
        };
        expect![[r#"
            again | any | None | false | 
            bytes_min | integer >= 0 | Some("10") | false | Shorter texts go.
            limits | table | None | false | More.
            limits.share | number < 1 | None | false | 
            mode | "fast" | "exact" | None | true | 
            names | array | null | None | false | 
        "#]]
        .assert_eq(&all(&schema).shown.into_iter().map(line).collect::<String>());
    }

    #[test]
    fn a_schema_of_no_known_form_has_no_keys() {
        for schema in [json!(true), json!(null), json!({ "properties": 5 }), json!({ "$ref": "#" })] {
            assert_eq!(all(&schema), Keys::default());
        }
    }

    /// Without limits this would be 300 keys to the power of four.
    #[test]
    fn references_cannot_multiply_keys() {
        let level = |next: &str| {
            let properties: serde_json::Map<_, _> =
                (0..300).map(|n| (format!("k{n}"), json!({ "$ref": next }))).collect();
            json!({ "properties": properties })
        };
        let circle = all(&level("#"));
        assert_eq!((circle.shown.len(), circle.more, circle.is_endless), (300, 0, false));

        let mut schema = level("#/$defs/a");
        schema["$defs"] = json!({ "a": level("#/$defs/b"), "b": level("#/$defs/c"), "c": level("#/$defs/d") });
        let keys = all(&schema);
        assert_eq!((keys.shown.len(), keys.more, keys.is_endless), (KEYS_MAX, STEPS_MAX - KEYS_MAX, true));
    }

    /// 2,000 choices of 2,000 choices, five levels deep.
    #[test]
    fn references_cannot_multiply_choices() {
        let choices = vec![json!({ "$ref": "#/$defs/a" }); 2000];
        let schema = json!({ "$defs": { "a": { "anyOf": choices } }, "properties": { "k": { "$ref": "#/$defs/a" } } });
        let data_type = &all(&schema).shown[0].data_type;
        assert!(data_type.starts_with("... | ... | ") && data_type.chars().count() == TYPE_CHARS_MAX, "{data_type}");
    }

    #[test]
    fn texts_are_cut_and_harmless() {
        let long = format!("\u{1b}{}", "x".repeat(70_000));
        let property = json!({ "const": long, "default": long, "description": long });
        let keys = all(&json!({ "properties": { (long.clone()): property } }));
        let Key { name, data_type, default, doc, .. } = &keys.shown[0];
        let chars = [name, data_type, default.as_ref().unwrap(), doc].map(|text| {
            assert!(text.ends_with('…') && !text.contains('\u{1b}'), "{text}");
            text.chars().count()
        });
        assert_eq!(chars, [NAME_CHARS_MAX, TYPE_CHARS_MAX, DEFAULT_CHARS_MAX, DOC_CHARS_MAX]);
    }
}
