//! The JSON Schema of a config, for people: one line a key, with its type, its default and what it means.
//!
//! Only what such schemas usually hold is read: `properties`, `$ref` into the same document, `type`, `enum`, `const`,
//! `anyOf`, bounds, `default`, `description`. Anything else is shown as it is in `--json`.

use serde_json::Value;

/// Keys within keys are shown so deep.
const DEPTH_MAX: usize = 4;

/// One key of a config.
#[derive(Debug, PartialEq)]
pub(super) struct Key {
    /// `limits.bytes_min`
    pub name: String,
    /// `integer >= 0`
    pub data_type: String,
    /// As JSON; none if the key must be given, or nobody says.
    pub default: Option<String>,
    pub is_required: bool,
    pub doc: String,
}

/// The keys of a config, in the schema's order; those of tables after them, with dots.
pub(super) fn keys(schema: &Value) -> Vec<Key> {
    let mut keys = Vec::new();
    collect(schema, schema, "", 0, &mut keys);
    keys
}

fn collect(root: &Value, schema: &Value, prefix: &str, depth: usize, keys: &mut Vec<Key>) {
    let schema = resolved(root, schema);
    let Some(properties) = schema["properties"].as_object().filter(|_| depth < DEPTH_MAX) else { return };
    let required = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
    for (name, property) in properties {
        let inner = resolved(root, property);
        // Beside a `$ref`, a property has words of its own.
        let own = |word: &str| Some(&property[word]).filter(|value| !value.is_null()).or(inner.get(word));
        let full = format!("{prefix}{name}");
        keys.push(Key {
            name: full.clone(),
            data_type: type_of(root, inner, depth),
            default: own("default").map(ToString::to_string),
            is_required: required.iter().any(|required| required == name),
            doc: own("description").and_then(Value::as_str).unwrap_or_default().to_owned(),
        });
        collect(root, inner, &format!("{full}."), depth + 1, keys);
    }
}

/// Follows references within the document; a circle ends.
fn resolved<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let mut schema = schema;
    for _ in 0..DEPTH_MAX {
        let target = schema["$ref"].as_str().and_then(|path| path.strip_prefix('#'));
        match target.and_then(|pointer| root.pointer(pointer)) {
            Some(next) => schema = next,
            None => break,
        }
    }
    schema
}

fn type_of(root: &Value, schema: &Value, depth: usize) -> String {
    let schema = resolved(root, schema);
    if depth > DEPTH_MAX {
        return "...".into();
    }
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ");
    }
    if let Some(constant) = schema.get("const") {
        return constant.to_string();
    }
    if let Some(choices) = schema["anyOf"].as_array().or(schema["oneOf"].as_array()) {
        let choices = choices.iter().map(|choice| type_of(root, choice, depth + 1));
        return choices.collect::<Vec<_>>().join(" | ");
    }
    match &schema["type"] {
        Value::String(name) if name == "array" => format!("list of {}", type_of(root, &schema["items"], depth + 1)),
        Value::String(name) => format!("{}{}", named(name), bounds(schema)),
        Value::Array(names) => {
            names.iter().filter_map(Value::as_str).map(named).collect::<Vec<_>>().join(" | ") + &bounds(schema)
        }
        _ => "any".into(),
    }
}

fn named(name: &str) -> &str {
    if name == "object" { "table" } else { name }
}

fn bounds(schema: &Value) -> String {
    let words = [("minimum", ">="), ("exclusiveMinimum", ">"), ("maximum", "<="), ("exclusiveMaximum", "<")];
    let bound = |(word, sign): (&str, &str)| schema.get(word).map(|bound| format!(" {sign} {bound}"));
    words.into_iter().filter_map(bound).collect()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

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
        .assert_eq(&keys(&schema).into_iter().map(line).collect::<String>());
    }

    #[test]
    fn a_schema_of_no_known_form_has_no_keys() {
        for schema in [json!(true), json!(null), json!({ "properties": 5 }), json!({ "$ref": "#" })] {
            assert_eq!(keys(&schema), []);
        }
    }
}
