//! A function's config: the TOML below `config` as JSON, with the place of everything in it, so that a mistake that only the
//! function's schema shows has a line and a caret.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::number::signed;
use super::section::{Report, Value, shown};
use super::value::wrong_type;

/// What a function is told, as JSON.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// A JSON object. Dates and times are strings.
    pub value: serde_json::Value,
    /// Whether all of it could be read. If not, there is a problem, and null stands where it is.
    pub is_whole: bool,
    /// By JSON pointer; the object itself is the empty one.
    places: BTreeMap<String, Place>,
}

/// Where a value of the config was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The key, if it is a table's member.
    pub key: Option<Range<usize>>,
    /// The value; of a table with a header of its own, the header.
    pub value: Range<usize>,
}

impl Settings {
    /// The place of what a JSON pointer (RFC 6901) names: `/limits/0`.
    pub fn place(&self, pointer: &str) -> Option<&Place> {
        self.places.get(pointer)
    }
}

/// The pointer of a member or an item.
pub(crate) fn below(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// Reads a table. What cannot be said in JSON is reported.
pub(super) fn settings(value: Value<'_>, report: &mut Report<'_>) -> Settings {
    let problems_before = report.problems.len();
    let mut reader = Reader { report, places: BTreeMap::new() };
    let json = match value.toml.get_ref() {
        DeValue::Table(_) => reader.json("", None, value.toml),
        _ => wrong_type(value, "a table", reader.report).unwrap_or_default(),
    };
    let places = reader.places;
    Settings { value: json, is_whole: report.problems.len() == problems_before, places }
}

struct Reader<'r, 'f> {
    report: &'r mut Report<'f>,
    places: BTreeMap<String, Place>,
}

impl Reader<'_, '_> {
    fn json(&mut self, pointer: &str, key: Option<Range<usize>>, toml: &Spanned<DeValue<'_>>) -> serde_json::Value {
        self.places.insert(pointer.to_owned(), Place { key, value: toml.span() });
        match toml.get_ref() {
            DeValue::String(text) => text.as_ref().into(),
            DeValue::Boolean(boolean) => (*boolean).into(),
            DeValue::Datetime(time) => time.to_string().into(),
            DeValue::Integer(integer) => self.integer(toml, integer),
            DeValue::Float(float) => self.float(toml, float.as_str()),
            DeValue::Array(items) => self.array(pointer, items),
            DeValue::Table(table) => self.object(pointer, table),
        }
    }

    fn object(&mut self, pointer: &str, table: &DeTable<'_>) -> serde_json::Value {
        let entries = table.iter().map(|(key, toml)| {
            let json = self.json(&below(pointer, key.get_ref()), Some(key.span()), toml);
            (key.get_ref().as_ref().to_owned(), json)
        });
        entries.collect::<serde_json::Map<_, _>>().into()
    }

    fn array(&mut self, pointer: &str, items: &[Spanned<DeValue<'_>>]) -> serde_json::Value {
        let items = items.iter().enumerate();
        items.map(|(index, toml)| self.json(&below(pointer, &index.to_string()), None, toml)).collect()
    }

    fn integer(&mut self, toml: &Spanned<DeValue<'_>>, integer: &DeInteger<'_>) -> serde_json::Value {
        match signed(integer).and_then(|number| i64::try_from(number).ok()) {
            Some(number) => number.into(),
            None => {
                let message = format!("{} does not fit into a 64-bit integer", shown(integer.as_str()));
                self.report.wrong(&toml.span(), message, "write it as a string or as a float");
                serde_json::Value::Null
            }
        }
    }

    fn float(&mut self, toml: &Spanned<DeValue<'_>>, float: &str) -> serde_json::Value {
        let number = float.parse().ok().and_then(serde_json::Number::from_f64);
        if number.is_none() {
            let message = format!("{} cannot be passed on: JSON has finite numbers only", shown(float));
            self.report.wrong(&toml.span(), message, "write a finite number or a string");
        }
        number.map_or(serde_json::Value::Null, serde_json::Value::Number)
    }
}
