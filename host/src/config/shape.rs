//! What a section may hold, for who does not know its keys one by one: hints, the page of keys, the JSON Schema.

use serde_json::{Value as Json, json};

use super::value::Describe;

/// A section, or the file, whose keys are the sections.
pub(super) struct Shape {
    /// As in the file: `[source]`, `[[stage]]`.
    pub(super) name: &'static str,
    /// Lines of Markdown.
    pub(super) docs: &'static [&'static str],
    pub(super) keys: &'static [Key],
}

/// A key, and what may stand behind it.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: &'static dyn Describe,
    /// Of its use, for hints.
    pub(super) example: &'static str,
    pub(super) need: Need,
    /// Lines of Markdown.
    pub(super) docs: &'static [&'static str],
}

/// What holds if the key is not there.
pub(super) enum Need {
    /// It has to be there.
    Required,
    /// This value, as it would be written.
    Default(fn() -> Json),
    /// This, in words; nothing if it is empty.
    Absent(&'static str),
}

impl Shape {
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> + Clone + use<> {
        self.keys.iter().map(|key| key.name)
    }

    pub(super) fn key(&self, name: &str) -> &'static Key {
        let found = self.keys.iter().find(|key| key.name == name);
        found.expect("a section is only asked for keys of its shape")
    }
}

impl Key {
    pub(super) fn is_required(&self) -> bool {
        matches!(self.need, Need::Required)
    }

    fn schema(&self) -> Json {
        let mut schema = self.kind.schema();
        schema["description"] = plain(self.docs).into();
        if let Need::Default(value) = self.need {
            schema["default"] = value();
        }
        schema
    }
}

/// A section that may stand any number of times.
pub(super) struct Repeated(pub(super) &'static Shape);

impl Describe for Repeated {
    fn section(&self) -> Option<&Shape> {
        Some(self.0)
    }

    fn words(&self) -> String {
        self.0.words()
    }

    fn schema(&self) -> Json {
        json!({ "type": "array", "items": self.0.schema() })
    }
}

impl Describe for Shape {
    fn section(&self) -> Option<&Shape> {
        Some(self)
    }

    fn words(&self) -> String {
        format!("the section {}", self.name)
    }

    fn schema(&self) -> Json {
        let properties: serde_json::Map<_, _> =
            self.keys.iter().map(|key| (key.name.to_owned(), key.schema())).collect();
        let required: Vec<&str> = self.keys.iter().filter(|key| key.is_required()).map(|key| key.name).collect();
        json!({
            "type": "object",
            "description": plain(self.docs),
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        })
    }
}

/// Lines of documentation as one.
pub(super) fn text(docs: &[&str]) -> String {
    docs.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

/// The same where no page is beside it that a link could lead to: `[text](page.md)` is `text`.
fn plain(docs: &[&str]) -> String {
    let docs = text(docs);
    let mut parts = docs.split("](");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |mut before, rest| {
        let opened = before.rfind('[').expect("a link begins with a bracket");
        before.remove(opened);
        before + rest.split_once(')').map_or("", |(_, after)| after)
    })
}
