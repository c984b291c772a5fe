//! The keys of one section: which are there, misspelt, misplaced, missing. What stands behind a key is `value.rs`.
//!
//! A misspelt key is reported once and then read as what it was meant to be, so that its absence is no second problem
//! and a mistake in its value is found too.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::keys::{FILE, Stage, Store};
use super::problem::holds_secret;
use super::shape::{Key, Shape};
use super::suggest::nearest;
use super::value::Kind;
use super::{At, PipelineFile, Problem};
use crate::message::Message;

/// One section of the file.
pub(super) struct Section<'a> {
    shape: &'static Shape,
    header: Range<usize>,
    found: BTreeMap<&'static str, &'a Spanned<DeValue<'a>>>,
}

/// A value, and the key it stands behind.
#[derive(Clone, Copy)]
pub(super) struct Value<'a> {
    pub(super) key: &'static str,
    pub(super) example: &'static str,
    pub(super) toml: &'a Spanned<DeValue<'a>>,
}

/// The problems found so far.
pub(super) struct Report<'f> {
    pub(super) file: &'f PipelineFile,
    pub(super) problems: Vec<Problem>,
    /// Lines that are not TOML. What the parser made of them is a guess: nothing else is said about them, nor about what
    /// is missing.
    broken_lines: BTreeSet<u32>,
}

impl<'a> Section<'a> {
    /// Takes a section's keys, and reports those that do not belong there.
    pub(super) fn new(
        shape: &'static Shape,
        header: Range<usize>,
        table: &'a DeTable<'a>,
        report: &mut Report<'_>,
    ) -> Self {
        let (known, unknown): (Vec<_>, Vec<_>) = table
            .iter()
            .map(|(key, value)| (known(shape, key.get_ref()), key, value))
            .partition(|(known, ..)| known.is_some());
        let mut found: BTreeMap<_, _> =
            known.into_iter().filter_map(|(known, _, value)| Some((known?, value))).collect();
        for (_, key, value) in unknown {
            if let Some(meant) = report_unknown(shape, key, value.get_ref(), report) {
                found.entry(meant).or_insert(value);
            }
        }
        Self { shape, header, found }
    }

    /// The value of a key, if the key is there and nothing is wrong with it. Reports what is, and a required key that is not
    /// there.
    pub(super) fn read<K: Kind>(&self, name: &str, kind: &K, report: &mut Report<'_>) -> Option<At<K::Value>> {
        let &Key { name: key, example, .. } = self.shape.key(name);
        let Some(toml) = self.get(key) else {
            self.refuse_missing(self.shape.key(name), report);
            return None;
        };
        let value = kind.read(Value { key, example, toml }, report)?;
        Some(report.file.at(toml.span(), value))
    }

    fn refuse_missing(&self, key: &Key, report: &mut Report<'_>) {
        if key.is_required() {
            let message = format!("{} has no `{}`", self.shape.name, key.name);
            report.missing(Some(&self.header), message, format!("add it, for example {}", key.example));
        }
    }

    /// Where its header stands.
    pub(super) fn header(&self) -> &Range<usize> {
        &self.header
    }

    /// What stands behind a key, as it is.
    pub(super) fn get(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.found.get(key).copied()
    }
}

fn known(shape: &Shape, written: &str) -> Option<&'static str> {
    shape.names().find(|&name| name == written)
}

/// Reports a key that is not in the shape, and returns the one that was probably meant.
fn report_unknown(
    shape: &Shape,
    key: &Spanned<DeString<'_>>,
    value: &DeValue<'_>,
    report: &mut Report<'_>,
) -> Option<&'static str> {
    if shape.name == Store::SHAPE.name && holds_secret(key.get_ref()) {
        report.wrong(
            &key.span(),
            format!("`{}` does not belong in a pipeline file", shown(key.get_ref())),
            CREDENTIALS,
        );
        return None;
    }
    let written = shown(key.get_ref());
    let homes = homes(key.get_ref());
    let is_section = is_section(value);
    let meant = nearest(key.get_ref(), shape.names()).filter(|_| homes.is_empty() || is_section);
    let takes = format!("{} takes {}", shape.name, takes(shape));
    let hint = match meant {
        Some(meant) if shape.name == FILE.name => {
            format!("did you mean {}? {takes}", section_name(meant))
        }
        Some(meant) => format!("did you mean `{meant}`? {takes}"),
        None if !homes.is_empty() => format!("`{written}` belongs in {}", list(&homes, "or")),
        None => takes,
    };
    let message = match shape.name == FILE.name {
        true if is_section => format!("unknown section [{written}]"),
        true => format!("unknown key `{written}` outside of any section"),
        false => format!("unknown key `{written}` in {}", shape.name),
    };
    report.wrong(&key.span(), message, hint);
    meant
}

const CREDENTIALS: &str = "credentials come from the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN) or \
                           from a profile: profile = \"team\"";

/// The section behind a key of the file.
pub(super) fn section_name(key: &str) -> String {
    if key == "stage" { Stage::SHAPE.name.to_owned() } else { format!("[{key}]") }
}

/// The sections that take a key.
fn homes(key: &str) -> Vec<&'static str> {
    let takes = |shape: &&Shape| shape.names().any(|name| name == key);
    sections().filter(takes).map(|shape| shape.name).collect()
}

/// All sections, and the table that some of them have.
pub(super) fn sections() -> impl Iterator<Item = &'static Shape> {
    FILE.keys.iter().filter_map(|key| key.kind.section()).chain([&Store::SHAPE])
}

fn is_section(value: &DeValue<'_>) -> bool {
    match value {
        DeValue::Table(_) => true,
        DeValue::Array(items) => items.iter().all(|item| item.get_ref().is_table()),
        _ => false,
    }
}

fn takes(shape: &Shape) -> String {
    let is_file = shape.name == FILE.name;
    let names = shape.names().map(|name| if is_file { section_name(name) } else { name.to_owned() });
    list(&names.collect::<Vec<_>>(), "and")
}

impl<'f> Report<'f> {
    pub(super) fn new(file: &'f PipelineFile) -> Self {
        Self { file, problems: Vec::new(), broken_lines: BTreeSet::new() }
    }

    /// Something wrong at `span`.
    pub(super) fn wrong(&mut self, span: &Range<usize>, message: impl Into<Message>, hint: impl Into<String>) {
        if !self.is_broken(span) {
            self.problems.push(self.file.problem_at(span, message).hint(hint));
        }
    }

    /// Something that ought to be there, in the section that starts at `span`.
    pub(super) fn missing(
        &mut self,
        span: Option<&Range<usize>>,
        message: impl Into<Message>,
        hint: impl Into<String>,
    ) {
        if self.broken_lines.is_empty() {
            let problem = match span {
                Some(span) => self.file.problem_at(span, message),
                None => self.file.problem(message),
            };
            self.problems.push(problem.hint(hint));
        }
    }

    /// Something that is not TOML. Of several on one line, the first tells; the others follow from it.
    pub(super) fn not_toml(&mut self, span: &Range<usize>, message: impl Into<Message>, hint: impl Into<String>) {
        if self.broken_lines.insert(self.file.line(span.start)) {
            self.problems.push(self.file.problem_at(span, message).hint(hint));
        }
    }

    /// Where a value is missing altogether, the parser makes one up that spans no byte.
    fn is_broken(&self, span: &Range<usize>) -> bool {
        !self.broken_lines.is_empty() && (span.is_empty() || self.broken_lines.contains(&self.file.line(span.start)))
    }
}

/// `a, b or c`
pub(crate) fn list(words: &[impl AsRef<str>], last: &str) -> String {
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    match words.as_slice() {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [many @ .., end] => format!("{} {last} {end}", many.join(", ")),
    }
}

/// What a person wrote, fit for a message: no control characters, not too long.
pub(crate) fn shown(written: &str) -> String {
    const CHARS_MAX: usize = 60;
    let cut: String = written.chars().take(CHARS_MAX).collect();
    let dots = if cut.len() < written.len() { "…" } else { "" };
    format!("{}{dots}", cut.escape_debug().to_string().replace("\\\"", "\"").replace("\\'", "'"))
}
