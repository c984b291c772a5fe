//! What decides a row's result. Limits, permissions, `on_error`, the source's extent, workers and block sizes are not in
//! it: they change how a job runs, not what it computes.

use arrow::datatypes::SchemaRef;

use crate::commit::{Fingerprint, StageFingerprint};
use crate::sink::Output;
use crate::source::Format;
use crate::udf;

/// Version of the host's own semantics: raised when this host would compute other rows from the same job.
pub const SEMANTICS: u32 = 1;

/// The fingerprint of a job: a chain over its stages.
pub(super) fn fingerprint(
    source: &dyn Format,
    ids: Option<&SchemaRef>,
    stages: &[udf::Spec],
    results: &Output,
) -> Fingerprint {
    let source_format = source.name().to_string();
    let ids = ids.map(columns_of).unwrap_or_default();
    let mut chain = digest(&[&SEMANTICS.to_string(), &source_format, &ids.join("\n")]);
    let mut links = Vec::with_capacity(stages.len());
    for spec in stages {
        let (component, function) = (spec.component.digest().to_string(), spec.function.clone());
        let config = canonical(&spec.config);
        chain = digest(&[&chain, &component, &function, &config]);
        links.push(StageFingerprint { component, function, config, chain: chain.clone() });
    }
    let (sink_format, sink_columns) = (results.format.name().to_string(), columns_of(&results.schema));
    Fingerprint { semantics: SEMANTICS, source_format, ids, stages: links, sink_format, sink_columns }
}

fn columns_of(schema: &SchemaRef) -> Vec<String> {
    schema.fields().iter().map(|field| format!("{}: {}", field.name(), field.data_type())).collect()
}

/// Lengths are hashed too, so that no two lists of parts give one digest.
fn digest(parts: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// JSON with sorted keys, whatever the map type keeps.
fn canonical(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            let members = entries.iter().map(|(key, value)| format!("{}:{}", quoted(key), canonical(value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }
        serde_json::Value::Array(items) => {
            format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(","))
        }
        scalar => scalar.to_string(),
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// How two fingerprints differ, a line each: `stage 2 config: {"a":1} -> {"a":2}`.
pub fn differences(was: &Fingerprint, is: &Fingerprint) -> Vec<String> {
    let mut lines = Vec::new();
    let mut compare = |what: &str, was: &str, is: &str| {
        if was != is {
            lines.push(format!("{what}: {} -> {}", shown(was), shown(is)));
        }
    };
    compare("semantics of the host", &was.semantics.to_string(), &is.semantics.to_string());
    compare("source format", &was.source_format, &is.source_format);
    compare("id columns", &was.ids.join(", "), &is.ids.join(", "));
    compare("number of stages", &was.stages.len().to_string(), &is.stages.len().to_string());
    for (number, (was, is)) in was.stages.iter().zip(&is.stages).enumerate() {
        let stage = format!("stage {}", number + 1);
        compare(&format!("{stage} component"), &was.component, &is.component);
        compare(&format!("{stage} function"), &was.function, &is.function);
        compare(&format!("{stage} config"), &was.config, &is.config);
    }
    compare("sink format", &was.sink_format, &is.sink_format);
    compare("sink columns", &was.sink_columns.join(", "), &is.sink_columns.join(", "));
    lines
}

fn shown(text: &str) -> &str {
    if text.is_empty() { "(none)" } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_json_does_not_depend_on_key_order() {
        let a: serde_json::Value = serde_json::from_str(r#"{"b": [1, {"y": 1, "x": "\""}], "a": null}"#).unwrap();
        assert_eq!(canonical(&a), r#"{"a":null,"b":[1,{"x":"\"","y":1}]}"#);
    }

    #[test]
    fn parts_cannot_be_shifted() {
        assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
    }
}
