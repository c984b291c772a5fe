//! One value: its type, its range, its unit. Each function here reads one kind of value, or reports what is wrong with it.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::{DeInteger, DeValue};

use super::At;
use super::section::{Report, Value, list, shown};
use super::suggest::nearest;
use crate::size;

/// The longest time that can be asked for: a year. Sums of times stay far from overflow.
const SECONDS_MAX: f64 = 31_536_000.0;

/// A string that is not empty.
pub(super) fn text(value: Value<'_>, report: &mut Report<'_>) -> Option<String> {
    let Some(text) = value.toml.get_ref().as_str() else {
        return wrong_type(value, "a string", report);
    };
    if text.is_empty() {
        return wrong(value, format!("`{}` is empty", value.key), report);
    }
    Some(text.to_owned())
}

/// A path of the local file system, or a `file:///` URL.
pub(super) fn path(value: Value<'_>, report: &mut Report<'_>) -> Option<String> {
    path_or_url(value, &[], "it is read from this machine: use a local path or file:///", report)
}

/// A path of the local file system, a `file:///` URL, or an `s3://` URL.
pub(super) fn place(value: Value<'_>, report: &mut Report<'_>) -> Option<String> {
    path_or_url(
        value,
        &["s3"],
        "use s3://bucket/prefix, a local path or file:///; other stores are not supported",
        report,
    )
}

fn path_or_url(value: Value<'_>, schemes: &[&str], hint: &str, report: &mut Report<'_>) -> Option<String> {
    let path = text(value, report)?;
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

/// One of a few words.
pub(super) fn choice<T: Copy>(value: Value<'_>, choices: &[(&'static str, T)], report: &mut Report<'_>) -> Option<T> {
    let written = text(value, report)?;
    if let Some(&(_, chosen)) = choices.iter().find(|(word, _)| *word == written) {
        return Some(chosen);
    }
    let words: Vec<String> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
    let hint = match nearest(&written, choices.iter().map(|&(word, _)| word)) {
        Some(meant) => format!("did you mean \"{meant}\"?"),
        None => format!("write {}", value.example),
    };
    let message = format!("`{}` must be {}, not \"{}\"", value.key, list(&words, "or"), shown(&written));
    report.wrong(&value.toml.span(), message, hint);
    None
}

/// A list of column names: at least one, none twice.
pub(super) fn columns(value: Value<'_>, report: &mut Report<'_>) -> Option<Vec<At<String>>> {
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

/// A table of column names and the texts of their types: at least one.
pub(super) fn schema(value: Value<'_>, report: &mut Report<'_>) -> Option<Vec<(At<String>, At<String>)>> {
    let DeValue::Table(table) = value.toml.get_ref() else {
        return wrong_type(value, "a table of columns and their types", report);
    };
    if table.is_empty() {
        return wrong(value, format!("`{}` is empty", value.key), report);
    }
    let problems_before = report.problems.len();
    let mut columns: Vec<(At<String>, At<String>)> = Vec::new();
    for (name, data_type) in table {
        match data_type.get_ref() {
            DeValue::String(text) => {
                let name_at = report.file.at(name.span(), name.get_ref().to_string());
                columns.push((name_at, report.file.at(data_type.span(), text.to_string())));
            }
            other => {
                let message = format!("the type of `{}` must be a string, not {}", shown(name.get_ref()), kind(other));
                report.wrong(&data_type.span(), message, format!("for example {}", value.example));
            }
        }
    }
    // The order in which they are written, whatever the table keeps.
    columns.sort_by_key(|(name, _)| name.span.start);
    (report.problems.len() == problems_before).then_some(columns)
}

/// One column name, or a list of them.
pub(super) fn column_or_columns(value: Value<'_>, report: &mut Report<'_>) -> Option<Vec<At<String>>> {
    match value.toml.get_ref() {
        DeValue::String(_) => text(value, report).map(|name| vec![report.file.at(value.toml.span(), name)]),
        DeValue::Array(_) => columns(value, report),
        _ => wrong_type(value, "a column name or a list of column names", report),
    }
}

/// `true` or `false`.
pub(super) fn boolean(value: Value<'_>, report: &mut Report<'_>) -> Option<bool> {
    match value.toml.get_ref() {
        DeValue::Boolean(boolean) => Some(*boolean),
        _ => wrong_type(value, "true or false", report),
    }
}

/// A whole number in a range.
pub(super) fn whole(value: Value<'_>, range: RangeInclusive<u64>, report: &mut Report<'_>) -> Option<u64> {
    let DeValue::Integer(integer) = value.toml.get_ref() else {
        return wrong_type(value, "a whole number", report);
    };
    match signed(integer).and_then(|number| u64::try_from(number).ok()) {
        Some(number) if range.contains(&number) => Some(number),
        _ => wrong(
            value,
            format!("`{}` must be {}, not {}", value.key, between(&range), shown(integer.as_str())),
            report,
        ),
    }
}

/// As `whole`, up to `max`.
pub(super) fn count(value: Value<'_>, max: u32, report: &mut Report<'_>) -> Option<u32> {
    let number = whole(value, 1..=u64::from(max), report)?;
    u32::try_from(number).ok()
}

fn between(range: &RangeInclusive<u64>) -> String {
    match *range.end() {
        u64::MAX => format!("at least {}", range.start()),
        end => format!("from {} to {end}", range.start()),
    }
}

pub(super) fn signed(integer: &DeInteger<'_>) -> Option<i128> {
    i128::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// As `count`, but 0 is fine.
pub(super) fn at_most(value: Value<'_>, max: u32, report: &mut Report<'_>) -> Option<u32> {
    let number = whole(value, 0..=u64::from(max), report)?;
    u32::try_from(number).ok()
}

/// A size: a whole number of bytes, or a string with a unit.
pub(super) fn bytes(value: Value<'_>, report: &mut Report<'_>) -> Option<u64> {
    match value.toml.get_ref() {
        DeValue::Integer(_) => whole(value, 1..=u64::MAX, report),
        DeValue::String(written) => match size::bytes(written) {
            Ok(bytes) => Some(bytes),
            Err(hint) => {
                report.wrong(
                    &value.toml.span(),
                    format!("`{}` is not a size: \"{}\"", value.key, shown(written)),
                    hint,
                );
                None
            }
        },
        _ => wrong_type(value, "a size", report),
    }
}

/// A time in seconds: more than 0.
pub(super) fn seconds(value: Value<'_>, report: &mut Report<'_>) -> Option<Duration> {
    let seconds = seconds_or_zero(value, report)?;
    if seconds.is_zero() {
        return wrong(value, format!("`{}` must be more than 0", value.key), report);
    }
    Some(seconds)
}

/// A time in seconds: more than 0, at most a minute.
pub(super) fn seconds_of_a_minute(value: Value<'_>, report: &mut Report<'_>) -> Option<Duration> {
    let seconds = seconds(value, report)?;
    if seconds > Duration::from_secs(60) {
        return wrong(value, format!("`{}` must be at most 60", value.key), report);
    }
    Some(seconds)
}

/// A time in seconds: 0 or more.
pub(super) fn seconds_or_zero(value: Value<'_>, report: &mut Report<'_>) -> Option<Duration> {
    let written = match value.toml.get_ref() {
        DeValue::Integer(integer) => signed(integer).map(|number| number as f64),
        DeValue::Float(float) => float.as_str().parse().ok(),
        _ => return wrong_type(value, "a number of seconds", report),
    };
    match written {
        Some(seconds) if (0.0..=SECONDS_MAX).contains(&seconds) => Some(Duration::from_secs_f64(seconds)),
        _ => wrong(
            value,
            format!("`{}` must be a number of seconds from 0 to {SECONDS_MAX} (a year)", value.key),
            report,
        ),
    }
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
