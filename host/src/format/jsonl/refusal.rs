//! Why a line is no row, or a row no line: where in it, and what is wrong. Words of the data are quoted, tamed and cut.

use std::fmt;

/// Characters of a text of the data that a message shows.
const EXCERPT_CHARS_MAX: usize = 40;
/// Keys and places within lists that a message shows; of a longer path the middle is left out.
const STEPS_MAX: usize = 8;

/// Why a line is no row, or a row no line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(Box<Told>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    /// From the inside out, as it is found.
    path: Vec<Step>,
    reason: Reason,
}

/// One step of the path to a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A key of an object.
    Key(String),
    /// A place in a list, from 0.
    Index(usize),
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    #[error("byte {at} is not UTF-8")]
    NotUtf8 { at: usize },
    #[error("it must be one object, not {found}")]
    NoObject { found: &'static str },
    #[error("the line ends within {inside}")]
    Unfinished { inside: &'static str },
    #[error("a second value begins at byte {at}: {found}")]
    SecondValue { at: usize, found: String },
    #[error("byte {at} must be {expected}, not {found}")]
    Syntax { at: usize, expected: &'static str, found: String },
    #[error("the number at byte {at} {what}")]
    NumberSyntax { at: usize, what: &'static str },
    #[error("byte {at} is the control character {code:#04x}, which must be escaped within a string")]
    Control { at: usize, code: u8 },
    #[error("the escape at byte {at} is none of JSON's: {found}")]
    Escape { at: usize, found: String },
    #[error("the escape at byte {at} is half of a surrogate pair")]
    LoneSurrogate { at: usize },
    #[error("it is nested deeper than {max} levels")]
    TooDeep { max: usize },
    #[error("the key stands twice in its object")]
    DuplicateKey,
    #[error("the key is not in the schema")]
    UnknownKey,
    #[error("it is missing or null, and the column takes no null")]
    Null,
    #[error("it must be {expected}, not {found}")]
    Kind { expected: String, found: String },
    #[error("{number} is no {wanted}: {why}")]
    Number { number: String, wanted: String, why: Loss },
    #[error("{text} is not {expected}")]
    Spelling { text: String, expected: String },
    #[error("it has {found} bytes or elements, not {wanted}")]
    Length { found: usize, wanted: usize },
    #[error("the line has {bytes} bytes, which no batch holds")]
    TooLarge { bytes: usize },
    #[error("{0} has no spelling in JSON")]
    NotFinite(&'static str),
    #[error("its text is no JSON: {0}")]
    BadJson(Refusal),
    #[error("its value {value} is not {wanted}")]
    OutOfRange { value: i64, wanted: &'static str },
}

/// What a number would lose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Loss {
    #[error("it has a fraction")]
    Fraction,
    #[error("it is out of range")]
    Range,
    #[error("it has more digits than the type holds")]
    Digits,
    #[error("it would be rounded to another whole number")]
    Rounded,
}

impl Refusal {
    /// About the value at hand.
    pub fn new(reason: Reason) -> Refusal {
        Refusal(Box::new(Told { path: Vec::new(), reason }))
    }

    /// The same, seen from around it.
    #[must_use]
    pub fn within(mut self, step: Step) -> Refusal {
        self.0.path.push(match step {
            Step::Key(key) => Step::Key(tamed(key.as_bytes())),
            index @ Step::Index(_) => index,
        });
        self
    }

    /// The same, of the value under a key.
    #[must_use]
    pub fn within_key(self, key: &str) -> Refusal {
        self.within(Step::Key(key.to_owned()))
    }

    /// What is wrong.
    pub fn reason(&self) -> &Reason {
        &self.0.reason
    }

    /// Where in the line: keys and places within lists from the outside in; empty if it is about the line.
    pub fn path(&self) -> impl DoubleEndedIterator<Item = &Step> + ExactSizeIterator {
        self.0.path.iter().rev()
    }

    /// What to do about it, if there is anything to do but to mend the data.
    pub fn hint(&self) -> Option<&'static str> {
        match &self.0.reason {
            Reason::UnknownKey => Some(
                "extra_keys = \"drop\" under [source] goes on without such keys; to have them, begin a new job that declares them in \
                 `schema`, or keeps them with extra_keys = \"keep\"",
            ),
            Reason::Number { why: Loss::Fraction | Loss::Rounded, .. } => {
                Some("declare the column as decimal(38,9), as float64 or as json")
            }
            Reason::Number { .. } => Some("declare the column as decimal(38,0), with more digits, or as json"),
            Reason::Kind { .. } | Reason::TooDeep { .. } => Some("declare the column as json to take any value"),
            _ => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path().len() > 0 {
            write!(f, "`{}`: ", self.path_text())?;
        }
        self.0.reason.fmt(f)
    }
}

impl std::error::Error for Refusal {}

impl Refusal {
    /// `meta.tags[3]`
    fn path_text(&self) -> String {
        let (steps, mut text) = (self.path().len(), String::new());
        for (number, step) in self.path().enumerate() {
            match step {
                _ if number == STEPS_MAX / 2 && steps > STEPS_MAX => text.push('…'),
                _ if number > STEPS_MAX / 2 && number + STEPS_MAX / 2 < steps => {}
                Step::Key(key) if number == 0 => text.push_str(key),
                Step::Key(key) => text.extend([".", key]),
                Step::Index(index) => text.push_str(&format!("[{index}]")),
            }
        }
        text
    }
}

/// Bytes of the data as a piece of a message: `"quoted"` if they are, else in back quotes.
pub(super) fn excerpt(bytes: &[u8]) -> String {
    if bytes.starts_with(b"\"") { tamed(bytes) } else { format!("`{}`", tamed(bytes)) }
}

/// One line that steers no terminal, and not long.
fn tamed(bytes: &[u8]) -> String {
    let head = &bytes[..bytes.len().min(EXCERPT_CHARS_MAX * 4)];
    let text = String::from_utf8_lossy(head);
    let mut chars = text.chars().map(harmless);
    let mut tamed: String = chars.by_ref().take(EXCERPT_CHARS_MAX).collect();
    if chars.next().is_some() || head.len() < bytes.len() {
        tamed.push('…');
    }
    tamed
}

fn harmless(c: char) -> char {
    let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if c.is_control() || turns { char::REPLACEMENT_CHARACTER } else { c }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deep(steps: usize) -> Refusal {
        (0..steps).rev().fold(Refusal::new(Reason::Null), |refusal, step| refusal.within(Step::Key(format!("k{step}"))))
    }

    #[test]
    fn paths_read_from_the_outside_in_and_stay_short() {
        let refusal = Refusal::new(Reason::UnknownKey).within_key("b").within(Step::Index(3)).within_key("a");
        assert_eq!(refusal.to_string(), "`a[3].b`: the key is not in the schema");
        assert!(deep(100).to_string().starts_with("`k0.k1.k2.k3….k96.k97.k98.k99`: it is missing"), "{}", deep(100));
        assert!(deep(8).to_string().starts_with("`k0.k1.k2.k3.k4.k5.k6.k7`"), "{}", deep(8));
    }

    #[test]
    fn words_of_the_data_are_tamed() {
        assert_eq!(excerpt(b"\"\x1b[31m\n"), "\"\u{fffd}[31m\u{fffd}");
        assert_eq!(excerpt("\u{202e}".as_bytes()), "`\u{fffd}`");
        assert_eq!(excerpt(&[b'x'; 1000]), format!("`{}…`", "x".repeat(EXCERPT_CHARS_MAX)));
        assert_eq!(excerpt(b"\xff"), "`\u{fffd}`");
    }
}
