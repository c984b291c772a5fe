//! What a JSON Schema says. It comes from a component and is as hostile as that: a reference leads nowhere but into the
//! schema's own definitions, and whoever goes from schema to schema counts the steps.

use serde_json::{Map, Value};

/// Bytes of a reference.
const REFERENCE_BYTES_MAX: usize = 1000;
/// Types that a schema may list.
const TYPES_MAX: usize = 7;

/// The whole schema, into which references lead.
#[derive(Clone, Copy, Debug)]
pub(super) struct Document<'s>(pub &'s Value);

impl<'s> Document<'s> {
    /// What a schema refers to: `#`, or a pointer into the schema's own definitions.
    pub(super) fn target(self, schema: &Map<String, Value>) -> Option<&'s Value> {
        let reference = schema.get("$ref")?.as_str().filter(|reference| reference.len() <= REFERENCE_BYTES_MAX);
        let pointer = reference?.strip_prefix('#')?;
        let is_inside = pointer.is_empty() || pointer.starts_with("/$defs/") || pointer.starts_with("/definitions/");
        if is_inside { self.0.pointer(pointer) } else { None }
    }

    /// A schema, or what it refers to if that is all that it says.
    pub(super) fn followed(self, schema: &'s Value) -> Option<&'s Map<String, Value>> {
        self.next(schema).unwrap_or(schema).as_object()
    }

    /// One reference further.
    pub(super) fn next(self, schema: &Value) -> Option<&'s Value> {
        self.target(schema.as_object()?)
    }
}

/// The schemas of a list, such as `anyOf`.
pub(super) fn schemas<'s>(schema: &'s Map<String, Value>, key: &str) -> &'s [Value] {
    schema.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The types of which a value may be; none if it says none, or too many.
pub(super) fn types(schema: &Map<String, Value>) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) if names.len() <= TYPES_MAX => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// The few values that it may be.
pub(super) fn choices(schema: &Map<String, Value>) -> Option<&[Value]> {
    match (schema.get("const"), schema.get("enum")) {
        (Some(word), _) => Some(std::slice::from_ref(word)),
        (None, Some(Value::Array(words))) => Some(words),
        _ => None,
    }
}

/// The keys of a table.
pub(super) fn properties(schema: &Map<String, Value>) -> Option<&Map<String, Value>> {
    schema.get("properties").and_then(Value::as_object)
}

/// Keys that must be there.
pub(super) fn required(schema: &Map<String, Value>) -> impl Iterator<Item = &str> + Clone {
    schemas(schema, "required").iter().filter_map(Value::as_str)
}
