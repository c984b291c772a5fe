//! `wasmpipe udf`: which function a command is about, and with what config.

use std::path::Path;

use serde_json::Value;

use super::text::line;
use super::{args, cache_folder, pipeline_engine};
use crate::author::{Asked, Chosen};
use crate::message::Refused;

/// The function that a command line names.
pub(super) fn chosen(options: &args::Chosen) -> Result<Chosen, Refused> {
    let engine = pipeline_engine(&cache_folder())?;
    let config = options.config.as_deref().map_or_else(|| Ok(Value::Object(serde_json::Map::new())), config)?;
    Chosen::load(engine, Asked { file: &options.file, function: options.function.as_deref(), config })
}

/// `words (map) of words.wasm`
pub(super) fn title(chosen: &Chosen) -> String {
    let function = chosen.function();
    format!("{} ({}) of {}", line(&function.name), function.kind, chosen.component().path().display())
}

/// A config as it is written on the command line: JSON, TOML, or `@` and the name of a file with one of them.
fn config(written: &str) -> Result<Value, Refused> {
    match written.strip_prefix('@') {
        Some(path) => {
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|error| {
                Refused::new(format!("the config file {path} cannot be read: {error}"), CONFIG_HINT)
            })?;
            parse(&text, Path::new(path).extension().is_some_and(|extension| extension == "json"))
        }
        None => parse(written, false),
    }
}

const CONFIG_HINT: &str = r#"--config takes JSON ('{"letters_min": 4}'), TOML ('letters_min = 4'), or @FILE"#;

fn parse(text: &str, is_json: bool) -> Result<Value, Refused> {
    let refused = |what: String| Refused::new(format!("the config is neither JSON nor TOML: {what}"), CONFIG_HINT);
    let as_json = serde_json::from_str::<Value>(text);
    let value = match as_json {
        Ok(value) => value,
        Err(error) if is_json => return Err(refused(error.to_string())),
        Err(_) => toml_table(text).map_err(refused)?,
    };
    match value {
        Value::Object(_) => Ok(value),
        other => Err(Refused::new(format!("the config is {other}, and no table of keys and values"), CONFIG_HINT)),
    }
}

/// A document, or an inline table with or without its braces.
fn toml_table(text: &str) -> Result<Value, String> {
    let inline =
        |text: &str| toml::from_str::<toml::Table>(&format!("config = {text}")).map(|mut table| table.remove("config"));
    let document = match toml::from_str::<toml::Table>(text) {
        Ok(table) => Some(toml::Value::Table(table)),
        Err(error) => match inline(text).or_else(|_| inline(&format!("{{ {text} }}"))) {
            Ok(value) => value,
            Err(_) => return Err(error.to_string().trim_end().to_owned()),
        },
    };
    json(document.unwrap_or(toml::Value::Table(toml::Table::new())))
}

fn json(value: toml::Value) -> Result<Value, String> {
    Ok(match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(integer) => integer.into(),
        toml::Value::Float(float) => {
            serde_json::Number::from_f64(float).ok_or(format!("{float} is no number that JSON has"))?.into()
        }
        toml::Value::Boolean(boolean) => boolean.into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(items) => items.into_iter().map(json).collect::<Result<_, _>>()?,
        toml::Value::Table(table) => {
            let entries = table.into_iter().map(|(key, value)| Ok((key, json(value)?)));
            Value::Object(entries.collect::<Result<_, String>>()?)
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::message::Hint as _;

    #[test]
    fn configs() {
        let is = |written: &str, expected: Value| assert_eq!(config(written).unwrap(), expected, "{written}");
        is(r#"{"a": 1, "b": ["x"]}"#, json!({ "a": 1, "b": ["x"] }));
        is("a = 1", json!({ "a": 1 }));
        is("a = 1\nb.c = 2021-02-03", json!({ "a": 1, "b": { "c": "2021-02-03" } }));
        is("a = 1, b = 'x'", json!({ "a": 1, "b": "x" }));
        is("{ a = 1.5 }", json!({ "a": 1.5 }));
        is("", json!({}));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.toml");
        std::fs::write(&file, "[limits]\na = true\n").unwrap();
        is(&format!("@{}", file.display()), json!({ "limits": { "a": true } }));
        for wrong in ["a", "5", "a = nan", "@nowhere.toml"] {
            assert!(config(wrong).unwrap_err().hint().is_some(), "{wrong}");
        }
    }
}
