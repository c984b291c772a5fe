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
//! An error's own text says the first line of this, on one line or as a list, and no hint; what to do is asked of [`Hint`].
//! Nobody looks for words in either. [`Message::line`] is for where an error becomes a text that other programs show: it
//! still ends with what to do.

use std::error::Error;
use std::fmt;

/// Characters of one cell of a table; a longer one is cut.
const CELL_CHARS_MAX: usize = 120;

/// An error that knows what to do about it.
pub trait Hint: Error {
    /// What to do, in the imperative. None if whoever passes the error on knows better.
    fn hint(&self) -> Option<String>;
}

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
    /// A message without more.
    pub fn new(what: impl Into<String>) -> Message {
        Message { what: what.into(), ..Message::default() }
    }

    /// An error with its causes. A cause that an earlier line quotes is left out.
    pub fn of(error: &(impl Hint + ?Sized)) -> Message {
        let mut message = Message::brief(error);
        let mut cause = error.source();
        while let Some(inner) = cause {
            let text = inner.to_string();
            let is_said = message.what.contains(&text) || message.causes.iter().any(|cause| cause.contains(&text));
            if !is_said {
                message.causes.push(text);
            }
            cause = inner.source();
        }
        message
    }

    /// An error without its causes.
    pub fn brief(error: &(impl Hint + ?Sized)) -> Message {
        Message { what: error.to_string(), hint: error.hint(), ..Message::default() }
    }

    /// The same, with what to do.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Message {
        Message { hint: Some(hint.into()), ..self }
    }

    /// The same, with what to do if it does not know better itself.
    #[must_use]
    pub fn or_hint(self, hint: impl Into<String>) -> Message {
        if self.hint.is_some() { self } else { self.hint(hint) }
    }

    /// The same in a longer sentence, of which this is the beginning.
    #[must_use]
    pub fn after(self, beginning: impl fmt::Display) -> Message {
        Message { what: format!("{beginning}{}", self.what), ..self }
    }

    /// The causes behind what they caused, as the text of an error without its hint.
    pub fn text(&self) -> String {
        let causes = self.causes.iter().map(|cause| format!(": {cause}")).collect::<String>();
        format!("{}{causes}", self.what)
    }

    /// The same with the hint at the end.
    pub fn line(&self) -> String {
        let hint = self.hint.iter().map(|hint| format!("\nhint: {hint}")).collect::<String>();
        format!("{}{hint}", self.text())
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

/// What a person asked for cannot be done; nothing was changed.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.text())]
pub struct Refused(pub Message);

impl Refused {
    /// Why not, and what to do.
    pub fn new(what: impl Into<String>, hint: impl Into<String>) -> Refused {
        Refused(Message::new(what).hint(hint))
    }
}

impl Hint for Refused {
    fn hint(&self) -> Option<String> {
        self.0.hint.clone()
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, "error", None)
    }
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
    #[error("cannot open the box")]
    struct Outer(#[source] Inner);

    impl Hint for Outer {
        fn hint(&self) -> Option<String> {
            Some("oil it".into())
        }
    }

    #[derive(Debug, thiserror::Error)]
    #[error("the lid is stuck")]
    struct Inner(#[source] std::io::Error);

    fn outer() -> Outer {
        Outer(Inner(std::io::Error::other("the lid is stuck")))
    }

    #[test]
    fn causes_stand_below_and_none_twice() {
        let text = Message::of(&outer()).to_string();
        assert_eq!(text, "error: cannot open the box\n  caused by: the lid is stuck\n  hint: oil it");
        assert_eq!(Message::of(&outer()).line(), "cannot open the box: the lid is stuck\nhint: oil it");
    }

    #[test]
    fn an_error_may_go_on_in_a_longer_sentence() {
        let message = Message::brief(&outer()).after("stage 1: ");
        assert_eq!(message.text(), "stage 1: cannot open the box");
        assert_eq!(message.line(), "stage 1: cannot open the box\nhint: oil it");
    }

    #[test]
    fn the_nearer_hint_stays() {
        assert_eq!(Message::brief(&outer()).or_hint("read the manual").hint.as_deref(), Some("oil it"));
        assert_eq!(Message::new("it is locked").or_hint("read the manual").hint.as_deref(), Some("read the manual"));
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
