//! What is wrong with a pipeline file, where, and what to do about it; and the report of all problems.
//!
//! `plan` reports what only it can see through the same [`PipelineFile`], so that a person gets one form of report.

use std::error::Error;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::At;
use crate::message::Message;

/// The most problems that a report shows. Its last line counts all.
const SHOWN_MAX: usize = 50;

/// The most characters of the file's line that a problem shows.
const EXCERPT_CHARS_MAX: usize = 100;

/// How many characters before the problem are shown if the line is longer than that.
const EXCERPT_CHARS_BEFORE: usize = 40;

/// A pipeline file's path and text: knows which byte is on which line, and makes problems.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineFile {
    path: PathBuf,
    text: String,
    line_starts: Vec<usize>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The pipeline file.
    pub path: PathBuf,
    /// The line, the first is 1. None if the file as a whole is concerned.
    pub line: Option<u32>,
    /// The column in characters, the first is 1.
    pub column: Option<u32>,
    /// The line's text, with a second line that marks the place. None if there is no line, or if it may hold a secret.
    pub excerpt: Option<String>,
    /// What is wrong, and what to do about it.
    pub message: Message,
}

/// All that is wrong. Its `Display` is the report: one block per problem, by line, and a line that counts them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl PipelineFile {
    /// A file with this `text`. `path` is what reports call it.
    pub fn new(path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        let text = text.into();
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(newline, _)| newline + 1)).collect();
        Self { path: path.into(), text, line_starts }
    }

    /// The path that the file was read from, as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The text of the file.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// `value`, which was written at `span`.
    pub fn at<T>(&self, span: Range<usize>, value: T) -> At<T> {
        At { value, line: self.line(span.start), span }
    }

    /// The line of a byte; the first line is 1.
    pub fn line(&self, byte: usize) -> u32 {
        let line = self.line_starts.partition_point(|&start| start <= byte);
        u32::try_from(line).unwrap_or(u32::MAX)
    }

    /// The line of a byte, without its end.
    pub(super) fn text_of_line(&self, byte: usize) -> &str {
        let start = self.line_starts[self.line(byte) as usize - 1];
        self.text[start..].split(['\n', '\r']).next().unwrap_or_default()
    }

    /// A problem with what was written at `span`: `file.problem_at(&config.source.path.span, "matches no file")`.
    pub fn problem_at(&self, span: &Range<usize>, message: impl Into<Message>) -> Problem {
        let line = self.line(span.start);
        let start = self.line_starts[line as usize - 1];
        let text = self.text_of_line(span.start);
        let before = self.chars(start..span.start);
        let marked = self.chars(span.start..span.end.min(start + text.len()));
        Problem {
            path: self.path.clone(),
            line: Some(line),
            column: Some(u32::try_from(before + 1).unwrap_or(u32::MAX)),
            excerpt: (!holds_secret(text)).then(|| excerpt(line, text, before, marked)),
            message: message.into(),
        }
    }

    /// A problem with the file as a whole.
    pub fn problem(&self, message: impl Into<Message>) -> Problem {
        let path = self.path.clone();
        Problem { path, line: None, column: None, excerpt: None, message: message.into() }
    }

    fn chars(&self, bytes: Range<usize>) -> usize {
        self.text.get(bytes).map_or(0, |text| text.chars().count())
    }
}

impl Problem {
    /// The same problem, with what to do about it.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { message: self.message.hint(hint), ..self }
    }
}

/// Whether a key or a line looks like one behind which a secret stands: reports end up in logs.
pub(super) fn holds_secret(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let is_url_of_user = text.split_once("://").is_some_and(|(_, rest)| rest.contains('@'));
    is_url_of_user
        || ["secret", "password", "access_key", "session_token", "credential"].iter().any(|word| text.contains(word))
}

/// The line, and below it a mark of `marked` characters (at least one) after the first `before`.
fn excerpt(line: u32, text: &str, before: usize, marked: usize) -> String {
    let chars: Vec<char> = text.chars().map(printable).collect();
    let from = if chars.len() > EXCERPT_CHARS_MAX { before.saturating_sub(EXCERPT_CHARS_BEFORE) } else { 0 };
    let to = chars.len().min(from + EXCERPT_CHARS_MAX);
    let left = if from > 0 { "…" } else { "" };
    let right = if to < chars.len() { "…" } else { "" };
    let shown: String = chars[from..to].iter().collect();
    // A tab stays a tab, so that the mark stands below its place whatever the tab's width.
    let pad = chars[from..to].iter().take(before - from).map(|&c| if c == '\t' { '\t' } else { ' ' });
    let pad: String = left.chars().map(|_| ' ').chain(pad).collect();
    let mark = "^".repeat(marked.min(to.saturating_sub(before)).max(1));
    format!("  {line:>4} | {left}{shown}{right}\n       | {pad}{mark}")
}

/// What the file holds never steers a terminal: no control characters, and none that reorder text.
fn printable(c: char) -> char {
    let reorders = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if c != '\t' && (c.is_control() || reorders) { char::REPLACEMENT_CHARACTER } else { c }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        let place = match (self.line, self.column) {
            (Some(line), Some(column)) => format!("{path}:{line}:{column}"),
            _ => path.to_string(),
        };
        self.message.write(f, &place, self.excerpt.as_deref())
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sorted: Vec<&Problem> = self.0.iter().collect();
        sorted.sort_by_key(|problem| (problem.line.unwrap_or(u32::MAX), problem.column));
        for problem in sorted.iter().take(SHOWN_MAX) {
            write!(f, "{problem}\n\n")?;
        }
        if let Some(more @ 1..) = sorted.len().checked_sub(SHOWN_MAX) {
            write!(f, "... and {more} more\n\n")?;
        }
        let count = sorted.len();
        let noun = if count == 1 { "problem" } else { "problems" };
        match sorted.first() {
            Some(first) => write!(f, "{count} {noun} in {}", first.path.display()),
            None => write!(f, "{count} {noun}"),
        }
    }
}

impl Error for Problem {}

impl Error for Problems {}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}
