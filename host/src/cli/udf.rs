//! `wasmpipe udf`: which function a command is about, and with what config.

use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use serde_json::Value;

use super::text::line;
use super::{Refused, args, cache_folder, pipeline_engine};
use crate::message::Message;
use crate::pipeline::Trial;
use crate::plan;
use crate::udf::{Component, Engine, Function, Limits, Spec, UdfError};

/// A function that was asked for, and what it runs with.
pub(super) struct Chosen {
    engine: Arc<Engine>,
    component: Component,
    function: Function,
    config: Value,
}

impl Chosen {
    /// Loads the component, and chooses.
    pub(super) fn load(options: &args::Chosen) -> Result<Chosen, Refused> {
        let engine = pipeline_engine(&cache_folder())?;
        let component = load(&engine, &options.file)?;
        let function = choose(&component, options.function.as_deref())?.clone();
        let config = options.config.as_deref().map_or_else(|| Ok(Value::Object(serde_json::Map::new())), config)?;
        check_config(&function, &config, &options.file)?;
        Ok(Chosen { engine, component, function, config })
    }

    pub(super) fn function(&self) -> &Function {
        &self.function
    }

    /// Binds the function to these columns.
    pub(super) fn bind(&self, input: SchemaRef) -> Result<Trial, Refused> {
        let columns = SchemaRef::clone(&input);
        let spec = Spec {
            component: self.component.clone(),
            function: self.function.name.clone(),
            config: self.config.clone(),
            input,
            limits: Limits::default(),
            stage: LABEL.into(),
            lines: Arc::default(),
        };
        Trial::new(&self.engine, spec).map_err(|error| match error {
            UdfError::Columns { mismatch, .. } => Refused(whole(plan::explained_by_hand(&self.function, &mismatch))),
            UdfError::Unbound { .. } => match plan::foreseen_by_hand(&self.function, &columns) {
                Some(message) => Refused(whole(message)),
                None => Refused(Message::of(&error).hint(UNBOUND_HINT)),
            },
            other => other.into(),
        })
    }

    /// `words (map) of words.wasm`
    pub(super) fn title(&self) -> String {
        format!("{} ({}) of {}", line(&self.function.name), self.function.kind, self.component.path().display())
    }
}

/// What messages call the one stage.
pub(super) const LABEL: &str = "udf";

const UNBOUND_HINT: &str =
    "check --config and the columns of --input; `wasmpipe udf inspect` shows what the function takes";

/// Loads a component that a command names.
pub(super) fn load(engine: &Engine, file: &Path) -> Result<Component, Refused> {
    Component::load(engine, file).map_err(|error| match error {
        UdfError::Read { .. } if !file.exists() => Refused(plan::missing_by_hand(file)),
        UdfError::Read { ref source, .. } if source.kind() != std::io::ErrorKind::PermissionDenied => {
            Refused(Message::of(&error).hint("name the component's .wasm file"))
        }
        other => other.into(),
    })
}

/// What the function's own schema says about its config.
fn check_config(function: &Function, config: &Value, file: &Path) -> Result<(), Refused> {
    let Some(schema) = &function.config else { return Ok(()) };
    let mistakes = plan::schema::mistakes(schema, config);
    let all = format!("`wasmpipe udf inspect {}` shows what the function takes", file.display());
    let hint = |mistake: &plan::schema::Mistake| match (&mistake.hint, &mistake.doc) {
        (Some(hint), _) => Some(hint.clone()),
        (None, Some(doc)) => Some(format!("the author says about it: {doc}")),
        (None, None) => None,
    };
    let name = &function.name;
    match mistakes.as_slice() {
        [] => Ok(()),
        [one] => {
            let hint = hint(one).unwrap_or(all);
            Err(Refused::new(format!("--config: `{name}`: {}", one.what), hint))
        }
        many => {
            let each = |mistake: &plan::schema::Mistake| match hint(mistake) {
                Some(hint) => format!("\n  {}; {hint}", mistake.what),
                None => format!("\n  {}", mistake.what),
            };
            let lines: String = many.iter().map(each).collect();
            Err(Refused::new(format!("--config does not fit `{name}`:{lines}"), all))
        }
    }
}

/// A message with its table as the text of an error.
fn whole(message: Message) -> Message {
    let details: String = message.details.iter().map(|line| format!("\n  {line}")).collect();
    Message { what: format!("{}{details}", message.what), details: Vec::new(), ..message }
}

fn choose<'a>(component: &'a Component, asked: Option<&str>) -> Result<&'a Function, Refused> {
    let functions = component.functions();
    let path = component.path().display();
    let offers = || functions.iter().map(|f| format!("{} ({})", line(&f.name), f.kind)).collect::<Vec<_>>().join(", ");
    match (asked, functions) {
        (None, [one]) => Ok(one),
        (None, _) => Err(Refused::new(
            format!("{path} offers several functions"),
            format!("choose with --function: {}", offers()),
        )),
        (Some(name), _) => functions
            .iter()
            .find(|function| function.name == name)
            .ok_or_else(|| Refused::new(format!("{path} has no function `{name}`"), format!("it offers {}", offers()))),
    }
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
