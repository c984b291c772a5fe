//! Strings, and what is made of them: paths, names of columns.

use serde_json::{Value as Json, json};
use toml::de::DeValue;

use super::At;
use super::section::{Report, Value, shown};
use super::value::{Describe, Kind, kind, wrong, wrong_type};

/// A string that is not empty.
pub(super) struct Text;

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

/// A path of the local file system, or a `file:///` URL.
pub(super) struct LocalPath;

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

/// A path of the local file system, a `file:///` URL, or an `s3://` URL.
pub(super) struct Place;

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

/// A list of column names: at least one, none twice.
pub(super) struct Columns;

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

/// One column name, or a list of them.
pub(super) struct ColumnOrColumns;

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

/// A table of column names and the texts of their types: at least one.
pub(super) struct ColumnTypes;

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
