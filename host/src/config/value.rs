//! What may stand behind a key. Each kind reads one value, or reports what is wrong with it, and says what it takes: in words,
//! with range and unit, and as a JSON Schema. `text.rs` has strings and what is made of them, `number.rs` numbers, sizes, times.

use serde_json::{Value as Json, json};
use toml::de::DeValue;

use super::keys::Store;
use super::section::{Report, Section, Value, list, shown};
use super::settings::{Settings, settings};
use super::shape::Shape;
use super::suggest::nearest;
use super::text::Text;

/// What a value has to be.
pub(super) trait Describe {
    /// For the page of keys.
    fn words(&self) -> String;
    /// For editors.
    fn schema(&self) -> Json;
    /// The section, if it is one.
    fn section(&self) -> Option<&Shape> {
        None
    }
}

/// What a value has to be, and how it is read.
pub(super) trait Kind: Describe {
    type Value;
    fn read(&self, value: Value<'_>, report: &mut Report<'_>) -> Option<Self::Value>;
}

/// `true` or `false`.
pub(super) struct Boolean;

impl Kind for Boolean {
    type Value = bool;

    fn read(&self, value: Value<'_>, report: &mut Report<'_>) -> Option<bool> {
        match value.toml.get_ref() {
            DeValue::Boolean(boolean) => Some(*boolean),
            _ => wrong_type(value, "true or false", report),
        }
    }
}

impl Describe for Boolean {
    fn words(&self) -> String {
        "`true` or `false`".into()
    }

    fn schema(&self) -> Json {
        json!({ "type": "boolean" })
    }
}

impl Boolean {
    pub(super) fn written(&self, value: bool) -> Json {
        value.into()
    }
}

/// One of a few words.
pub(super) struct Choice<T: 'static>(pub(super) &'static [(&'static str, T)]);

impl<T: Copy> Kind for Choice<T> {
    type Value = T;

    fn read(&self, value: Value<'_>, report: &mut Report<'_>) -> Option<T> {
        let written = Text.read(value, report)?;
        if let Some(&(_, chosen)) = self.0.iter().find(|(word, _)| *word == written) {
            return Some(chosen);
        }
        let hint = match nearest(&written, self.0.iter().map(|&(word, _)| word)) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => format!("write {}", value.example),
        };
        let message = format!("`{}` must be {}, not \"{}\"", value.key, self.quoted("\"", "\""), shown(&written));
        report.wrong(&value.toml.span(), message, hint);
        None
    }
}

impl<T> Describe for Choice<T> {
    fn words(&self) -> String {
        self.quoted("`\"", "\"`")
    }

    fn schema(&self) -> Json {
        json!({ "enum": self.0.iter().map(|(word, _)| *word).collect::<Vec<_>>() })
    }
}

impl<T> Choice<T> {
    fn quoted(&self, before: &str, after: &str) -> String {
        let words: Vec<String> = self.0.iter().map(|(word, _)| format!("{before}{word}{after}")).collect();
        list(&words, "or")
    }
}

impl<T: Copy + PartialEq> Choice<T> {
    pub(super) fn written(&self, value: T) -> Json {
        let word = self.0.iter().find(|(_, choice)| *choice == value).expect("a default is one of the choices");
        word.0.into()
    }
}

/// What a function is told.
pub(super) struct FunctionConfig;

impl Kind for FunctionConfig {
    type Value = Settings;

    fn read(&self, value: Value<'_>, report: &mut Report<'_>) -> Option<Settings> {
        Some(settings(value, report))
    }
}

impl Describe for FunctionConfig {
    fn words(&self) -> String {
        "table".into()
    }

    fn schema(&self) -> Json {
        json!({ "type": "object" })
    }
}

/// How to reach a bucket.
pub(super) struct Reach;

impl Kind for Reach {
    type Value = Store;

    fn read(&self, value: Value<'_>, report: &mut Report<'_>) -> Option<Store> {
        let Some(table) = value.toml.get_ref().as_table() else { return wrong_type(value, "a table", report) };
        let section = Section::new(&Store::SHAPE, value.toml.span(), table, report);
        Some(Store::read(&section, report))
    }
}

impl Describe for Reach {
    fn words(&self) -> String {
        "table".into()
    }

    fn schema(&self) -> Json {
        Store::SHAPE.schema()
    }
}

pub(super) fn wrong_type<T>(value: Value<'_>, wanted: &str, report: &mut Report<'_>) -> Option<T> {
    let is = kind(value.toml.get_ref());
    wrong(value, format!("`{}` must be {wanted}, not {is}", value.key), report)
}

pub(super) fn wrong<T>(value: Value<'_>, message: String, report: &mut Report<'_>) -> Option<T> {
    report.wrong(&value.toml.span(), message, format!("for example {}", value.example));
    None
}

/// What a value is, in words.
pub(super) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
