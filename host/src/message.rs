//! What a person reads when something is wrong, and the one printer of it.
//!
//! Every refusal, failure and mistake of a pipeline file is printed by [`Message`]. The house rules:
//!
//! 1. **What failed, on what, why, what next,** in this order. The first line says the first two and stands alone.
//! 2. **The place comes first:** `pipeline.toml:8:12: ...`, as editors and terminals link it; with the line and a caret. What
//!    has no place in a file begins with `error: `.
//! 3. **The person's own words in back quotes,** exactly as they are written: `` `on_eror` ``. Never the name of a type of
//!    ours.
//! 4. **What is wanted beside what is there:** "must be a whole number, not a string"; if there is more than one of
//!    them, as a table.
//! 5. **Causes go below, one a line,** and none is said twice.
//! 6. **The last line is `hint: `** and something to do, in the imperative: a command, a key and a value, the name that was
//!    probably meant. "Report it" only if nothing else can be done.
//! 7. **All mistakes at once, each once.** What follows from another mistake is not said.
//! 8. **No blame and no noise:** no exclamation marks, no "please", no "invalid". Numbers have units, limits have names.
//! 9. **Words of strangers are quoted, tamed and cut:** what a file or a component says cannot steer a terminal.
//!
//! In the text of an error the hint is what follows `"\nhint: "`; so an error that is shown by another program still ends
//! with what to do.

use std::error::Error;
use std::fmt;

/// What separates an error's text from its hint.
const HINT: &str = "\nhint: ";
/// Characters of one cell of a table; a longer one is cut.
const CELL_CHARS_MAX: usize = 120;

/// One thing to tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// What failed, on what. One line; more only if it is a list.
    pub what: String,
    /// Why, from the nearest cause to the farthest.
    pub causes: Vec<String>,
    /// Lines that show it: a table, a list.
    pub details: Vec<String>,
    /// What to do.
    pub hint: Option<String>,
}

impl Message {
    /// A message without more; what follows `"\nhint: "` is its hint.
    pub fn new(text: impl Into<String>) -> Message {
        let text = text.into();
        let (what, hint) = parted(&text);
        Message { what: what.to_owned(), hint: hint.map(str::to_owned), ..Message::default() }
    }

    /// An error with its causes. A cause that an earlier line quotes is left out.
    pub fn of(error: &dyn Error) -> Message {
        let mut message = Message::new(error.to_string());
        let mut cause = error.source();
        while let Some(inner) = cause {
            let text = inner.to_string();
            let (what, hint) = parted(&text);
            let is_said = message.what.contains(what) || message.causes.iter().any(|cause| cause.contains(what));
            if !is_said {
                message.causes.push(what.to_owned());
            }
            message.hint = message.hint.or(hint.map(str::to_owned));
            cause = inner.source();
        }
        message
    }

    /// The same, with what to do.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Message {
        Message { hint: Some(hint.into()), ..self }
    }

    /// As the text of an error: the causes behind what they caused, the hint at the end.
    pub fn line(&self) -> String {
        let causes = self.causes.iter().map(|cause| format!(": {cause}")).collect::<String>();
        let hint = self.hint.iter().map(|hint| format!("{HINT}{hint}")).collect::<String>();
        format!("{}{causes}{hint}", self.what)
    }

    /// The whole text, which begins with a place or `error`. `excerpt` is the lines that the place shows.
    pub fn write(&self, f: &mut fmt::Formatter<'_>, place: &str, excerpt: Option<&str>) -> fmt::Result {
        write!(f, "{place}: {}", self.what)?;
        excerpt.map_or(Ok(()), |excerpt| write!(f, "\n{excerpt}"))?;
        self.details.iter().try_for_each(|line| write!(f, "\n  {line}"))?;
        self.causes.iter().try_for_each(|cause| write!(f, "\n  caused by: {cause}"))?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "\n  hint: {hint}"))
    }
}

impl Message {
    /// The same about what is no error.
    pub fn warning(&self) -> impl fmt::Display {
        Warning(self)
    }
}

struct Warning<'a>(&'a Message);

impl fmt::Display for Warning<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write(f, "warning", None)
    }
}

impl From<String> for Message {
    fn from(text: String) -> Message {
        Message::new(text)
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Message {
        Message::new(text)
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, "error", None)
    }
}

/// A text and its hint.
pub fn parted(text: &str) -> (&str, Option<&str>) {
    text.split_once(HINT).map_or((text, None), |(what, hint)| (what, Some(hint)))
}

/// Rows as lines, columns aligned, long cells cut. The first row is the header.
pub fn table(rows: &[Vec<String>]) -> Vec<String> {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| cut(cell)).collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("   ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// A cell is one line, whatever stands in it.
fn cut(cell: &str) -> String {
    let plain = cell.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c });
    match cell.char_indices().nth(CELL_CHARS_MAX) {
        None => plain.collect(),
        Some(_) => plain.take(CELL_CHARS_MAX - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open the box{}", if self.0 { "\nhint: use the key" } else { "" })]
    struct Outer(bool, #[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("the lid is stuck\nhint: oil it")]
    struct Inner(#[source] std::io::Error);

    fn outer(has_hint: bool) -> Outer {
        Outer(has_hint, Inner(std::io::Error::other("the lid is stuck")))
    }

    #[test]
    fn causes_stand_below_and_none_twice() {
        let text = Message::of(&outer(true)).to_string();
        assert_eq!(text, "error: cannot open the box\n  caused by: the lid is stuck\n  hint: use the key");
        assert_eq!(Message::of(&outer(true)).line(), "cannot open the box: the lid is stuck\nhint: use the key");
    }

    #[test]
    fn the_hint_of_a_cause_serves_if_there_is_no_other() {
        assert_eq!(Message::of(&outer(false)).hint.as_deref(), Some("oil it"));
    }

    #[test]
    fn long_cells_are_cut() {
        let lines = table(&[vec!["a".repeat(70_000), "b".into()], vec!["c".repeat(CELL_CHARS_MAX), "d".into()]]);
        assert_eq!(lines[0], format!("{}…   b", "a".repeat(CELL_CHARS_MAX - 1)));
        assert_eq!(lines[1], format!("{}   d", "c".repeat(CELL_CHARS_MAX)));
    }

    #[test]
    fn tables_are_aligned() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let lines = table(&[row(["column", "wanted", ""]), row(["n", "Int64", "fits"])]);
        assert_eq!(lines, ["column   wanted", "n        Int64    fits"]);
    }
}
