//! What may stand behind a key. Each kind reads one value, or reports what is wrong with it, and says what it takes: in words,
//! with range and unit, and as a JSON Schema.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Value as Json, json};
use toml::de::{DeInteger, DeValue};

use super::At;
use super::keys::Store;
use super::section::{Report, Section, Value, list, shown};
use super::settings::{Settings, settings};
use super::shape::Shape;
use super::suggest::nearest;
use crate::size;

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

/// A string that is not empty.
pub(super) struct Text;

/// A path of the local file system, or a `file:///` URL.
pub(super) struct LocalPath;

/// A path of the local file system, a `file:///` URL, or an `s3://` URL.
pub(super) struct Place;

/// A list of column names: at least one, none twice.
pub(super) struct Columns;

/// One column name, or a list of them.
pub(super) struct ColumnOrColumns;

/// A table of column names and the texts of their types: at least one.
pub(super) struct ColumnTypes;

/// `true` or `false`.
pub(super) struct Boolean;

/// A whole number in a range.
pub(super) struct Whole<N>(pub(super) RangeInclusive<N>);

/// A size, of at most so many bytes: a whole number of bytes, or a string with a unit.
pub(super) struct Bytes(pub(super) u64);

impl Bytes {
    pub(super) const ANY: Bytes = Bytes(u64::MAX);
}

/// A time in seconds.
pub(super) struct Seconds {
    pub(super) may_be_zero: bool,
    pub(super) max: u32,
}

/// The longest time that can be asked for: a year. Sums of times stay far from overflow.
const YEAR: u32 = 31_536_000;

impl Seconds {
    pub(super) const ABOVE_ZERO: Seconds = Seconds { may_be_zero: false, max: YEAR };
    pub(super) const OR_ZERO: Seconds = Seconds { may_be_zero: true, max: YEAR };
}

/// One of a few words.
pub(super) struct Choice<T: 'static>(pub(super) &'static [(&'static str, T)]);

/// What a function is told.
pub(super) struct FunctionConfig;

/// How to reach a bucket.
pub(super) struct Reach;

impl Kind for Text {
    type Value = String;

    fn read(&self, value: Value<'_>, report: &mut Report<'_>) -> Option<String> {
        let Some(text) = value.toml.get_ref().as_str() else {
            return wrong_type(value, "a string", report);
        };
        if text.is_empty() {
            return wrong(value, format!("`{}` is empty", value.key), report);
        }
        Some(text.to_owned())
    }
}

impl Describe for Text {
    fn words(&self) -> String {
        "string".into()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "minLength": 1 })
    }
}

impl Kind for LocalPath {
    type Value = String;

    fn read(&self, value: Value<'_>, report: &mut Report<'_>) -> Option<String> {
        path_or_url(value, &[], "it is read from this machine: use a local path or file:///", report)
    }
}

impl Describe for LocalPath {
    fn words(&self) -> String {
        "path or `file:///` URL".into()
    }

    fn schema(&self) -> Json {
        Text.schema()
    }
}

impl Kind for Place {
    type Value = String;

    fn read(&self, value: Value<'_>, report: &mut Report<'_>) -> Option<String> {
        let hint = "use s3://bucket/prefix, a local path or file:///; other stores are not supported";
        path_or_url(value, &["s3"], hint, report)
    }
}

impl Describe for Place {
    fn words(&self) -> String {
        "path, `file:///` or `s3://` URL".into()
    }

    fn schema(&self) -> Json {
        Text.schema()
    }
}

impl Kind for Columns {
    type Value = Vec<At<String>>;

    fn read(&self, value: Value<'_>, report: &mut Report<'_>) -> Option<Vec<At<String>>> {
        let DeValue::Array(items) = value.toml.get_ref() else {
            return wrong_type(value, "a list of column names", report);
        };
        if items.is_empty() {
            return wrong(value, format!("`{}` is empty", value.key), report);
        }
        let mut columns: Vec<At<String>> = Vec::new();
        let problems_before = report.problems.len();
        for toml in items.iter() {
            let Some(name) = column(Value { toml, ..value }, report) else {
                continue;
            };
            match columns.iter().find(|column| column.value == name) {
                Some(first) => report.wrong(
                    &toml.span(),
                    format!("`{}` names \"{}\" twice", value.key, shown(&name)),
                    format!("remove it here or on line {}", first.line),
                ),
                None => columns.push(report.file.at(toml.span(), name)),
            }
        }
        (report.problems.len() == problems_before).then_some(columns)
    }
}

impl Describe for Columns {
    fn words(&self) -> String {
        "list of column names".into()
    }

    fn schema(&self) -> Json {
        json!({ "type": "array", "items": Text.schema(), "minItems": 1, "uniqueItems": true })
    }
}

fn column(value: Value<'_>, report: &mut Report<'_>) -> Option<String> {
    match value.toml.get_ref() {
        DeValue::String(name) if !name.is_empty() => Some(name.as_ref().to_owned()),
        DeValue::String(_) => wrong(value, format!("`{}` holds an empty name", value.key), report),
        other => {
            let message = format!("`{}` must hold column names, not {}", value.key, kind(other));
            wrong(value, message, report)
        }
    }
}

impl Kind for ColumnOrColumns {
    type Value = Vec<At<String>>;

    fn read(&self, value: Value<'_>, report: &mut Report<'_>) -> Option<Vec<At<String>>> {
        match value.toml.get_ref() {
            DeValue::String(_) => Text.read(value, report).map(|name| vec![report.file.at(value.toml.span(), name)]),
            DeValue::Array(_) => Columns.read(value, report),
            _ => wrong_type(value, "a column name or a list of column names", report),
        }
    }
}

impl Describe for ColumnOrColumns {
    fn words(&self) -> String {
        "column name, or list of them".into()
    }

    fn schema(&self) -> Json {
        json!({ "anyOf": [Text.schema(), Columns.schema()] })
    }
}

impl Kind for ColumnTypes {
    type Value = Vec<(At<String>, At<String>)>;

    fn read(&self, value: Value<'_>, report: &mut Report<'_>) -> Option<Self::Value> {
        let DeValue::Table(table) = value.toml.get_ref() else {
            return wrong_type(value, "a table of columns and their types", report);
        };
        if table.is_empty() {
            return wrong(value, format!("`{}` is empty", value.key), report);
        }
        let problems_before = report.problems.len();
        let mut columns: Self::Value = Vec::new();
        for (name, data_type) in table {
            match data_type.get_ref() {
                DeValue::String(text) => {
                    let name_at = report.file.at(name.span(), name.get_ref().to_string());
                    columns.push((name_at, report.file.at(data_type.span(), text.to_string())));
                }
                other => {
                    let is = kind(other);
                    let message = format!("the type of `{}` must be a string, not {is}", shown(name.get_ref()));
                    report.wrong(&data_type.span(), message, format!("for example {}", value.example));
                }
            }
        }
        // The order in which they are written, whatever the table keeps.
        columns.sort_by_key(|(name, _)| name.span.start);
        (report.problems.len() == problems_before).then_some(columns)
    }
}

impl Describe for ColumnTypes {
    fn words(&self) -> String {
        "table of column names and types".into()
    }

    fn schema(&self) -> Json {
        json!({ "type": "object", "additionalProperties": Text.schema(), "minProperties": 1 })
    }
}

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

impl<N: Copy + Into<u64> + TryFrom<u64>> Kind for Whole<N> {
    type Value = N;

    fn read(&self, value: Value<'_>, report: &mut Report<'_>) -> Option<N> {
        let DeValue::Integer(integer) = value.toml.get_ref() else {
            return wrong_type(value, "a whole number", report);
        };
        let number = signed(integer).and_then(|number| u64::try_from(number).ok());
        match number.filter(|number| self.bounds().contains(number)).and_then(|number| N::try_from(number).ok()) {
            Some(number) => Some(number),
            None => {
                let message = format!("`{}` must be {}, not {}", value.key, self.range(), shown(integer.as_str()));
                wrong(value, message, report)
            }
        }
    }
}

impl<N: Copy + Into<u64>> Describe for Whole<N> {
    fn words(&self) -> String {
        format!("whole number, {}", self.range().trim_start_matches("from "))
    }

    fn schema(&self) -> Json {
        let (min, max) = self.bounds().into_inner();
        let mut schema = json!({ "type": "integer", "minimum": min });
        if max < u64::MAX {
            schema["maximum"] = max.into();
        }
        schema
    }
}

impl<N: Copy + Into<u64>> Whole<N> {
    fn bounds(&self) -> RangeInclusive<u64> {
        (*self.0.start()).into()..=(*self.0.end()).into()
    }

    fn range(&self) -> String {
        match self.bounds().into_inner() {
            (min, u64::MAX) => format!("at least {min}"),
            (min, max) => format!("from {min} to {max}"),
        }
    }

    pub(super) fn written(&self, value: N) -> Json {
        value.into().into()
    }
}

pub(super) fn signed(integer: &DeInteger<'_>) -> Option<i128> {
    i128::from_str_radix(integer.as_str(), integer.radix()).ok()
}

impl Kind for Bytes {
    type Value = u64;

    fn read(&self, value: Value<'_>, report: &mut Report<'_>) -> Option<u64> {
        let bytes = match value.toml.get_ref() {
            DeValue::Integer(_) => Whole(1..=u64::MAX).read(value, report)?,
            DeValue::String(written) => size_of(written, value, report)?,
            _ => return wrong_type(value, "a size", report),
        };
        if bytes > self.0 {
            let max = size::written(self.0);
            return wrong(value, format!("`{}` must be at most {max}", value.key), report);
        }
        Some(bytes)
    }
}

fn size_of(written: &str, value: Value<'_>, report: &mut Report<'_>) -> Option<u64> {
    let read = size::bytes(written);
    if let Err(hint) = &read {
        let message = format!("`{}` is not a size: \"{}\"", value.key, shown(written));
        report.wrong(&value.toml.span(), message, hint);
    }
    read.ok()
}

impl Describe for Bytes {
    fn words(&self) -> String {
        match self.0 {
            u64::MAX => "size, at least 1 byte".into(),
            max => format!("size, at most {}", size::written(max)),
        }
    }

    fn schema(&self) -> Json {
        let with_unit = json!({ "type": "string", "pattern": size::PATTERN });
        json!({ "anyOf": [Whole(1..=self.0).schema(), with_unit] })
    }
}

impl Bytes {
    pub(super) fn written(&self, value: u64) -> Json {
        size::written(value).into()
    }
}

impl Kind for Seconds {
    type Value = Duration;

    fn read(&self, value: Value<'_>, report: &mut Report<'_>) -> Option<Duration> {
        let written = match value.toml.get_ref() {
            DeValue::Integer(integer) => signed(integer).map(|number| number as f64),
            DeValue::Float(float) => float.as_str().parse().ok(),
            _ => return wrong_type(value, "a number of seconds", report),
        };
        let written = written.filter(|seconds| (0.0..=f64::from(YEAR)).contains(seconds));
        let range = match written.map(Duration::from_secs_f64) {
            None => format!("a number of seconds from 0 to {YEAR} (a year)"),
            Some(time) if time.is_zero() && !self.may_be_zero => "more than 0".into(),
            Some(time) if time > Duration::from_secs(self.max.into()) => format!("at most {}", self.max),
            Some(time) => return Some(time),
        };
        wrong(value, format!("`{}` must be {range}", value.key), report)
    }
}

impl Describe for Seconds {
    fn words(&self) -> String {
        let least = if self.may_be_zero { "0 or more" } else { "more than 0" };
        let most = if self.max == YEAR { "a year".into() } else { self.max.to_string() };
        format!("seconds, {least}, at most {most}")
    }

    fn schema(&self) -> Json {
        let least = if self.may_be_zero { "minimum" } else { "exclusiveMinimum" };
        json!({ "type": "number", (least): 0, "maximum": self.max })
    }
}

impl Seconds {
    pub(super) fn written(&self, value: Duration) -> Json {
        match value.subsec_nanos() {
            0 => value.as_secs().into(),
            _ => value.as_secs_f64().into(),
        }
    }
}

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

fn path_or_url(value: Value<'_>, schemes: &[&str], hint: &str, report: &mut Report<'_>) -> Option<String> {
    let path = Text.read(value, report)?;
    let span = value.toml.span();
    match scheme(&path) {
        _ if path.contains('\0') => {
            wrong(value, format!("`{}` holds a NUL character, which no path may", value.key), report)
        }
        None => Some(path),
        Some("file") if path.starts_with("file:///") => Some(path),
        Some("file") => {
            report.wrong(
                &span,
                format!("`{}` is not an absolute file URL", shown(&path)),
                "write file:/// and the absolute path, or just the path",
            );
            None
        }
        Some(scheme) if schemes.contains(&scheme) => Some(path),
        Some(scheme) => {
            report.wrong(&span, format!("`{}` has the URL scheme {}://", value.key, shown(scheme)), hint);
            None
        }
    }
}

/// `s3` of `s3://bucket/key`.
fn scheme(path: &str) -> Option<&str> {
    let (scheme, _) = path.split_once("://")?;
    let is_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    (scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(is_scheme)).then_some(scheme)
}

pub(super) fn wrong_type<T>(value: Value<'_>, wanted: &str, report: &mut Report<'_>) -> Option<T> {
    let is = kind(value.toml.get_ref());
    wrong(value, format!("`{}` must be {wanted}, not {is}", value.key), report)
}

fn wrong<T>(value: Value<'_>, message: String, report: &mut Report<'_>) -> Option<T> {
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
