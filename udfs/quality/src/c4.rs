//! `c4`, `c4_lines`: the cleaning of Raffel et al. 2020, section 2.2: lines that are sentences, texts that are prose.
//!
//! The paper is followed to the letter where it is exact; the numbers are those of the journal's version (5 words,
//! 3 sentences; an earlier preprint has 3 and 5). From the authors' code come: lines that end in an ellipsis are dropped,
//! and so are lines with a word of more than 1000 characters. A sentence ends with `.`, `!` or `?` before white space, a
//! closing quote or the line's end; the authors use a trained splitter, which also knows abbreviations.
//!
//! Not done here: the list of bad words, language identification, and the removal of spans of three sentences that
//! another text has, too.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::Deserialize;
use wasmpipe_sdk::text::words;
use wasmpipe_sdk::{filter, map};

use crate::characters;

/// A phrase in lower case, and the place of its rarest letter: the search stops at nothing else.
struct Phrase(&'static str, usize);

const JAVASCRIPT: Phrase = Phrase("javascript", 0);
const LOREM_IPSUM: Phrase = Phrase("lorem ipsum", 7);
const TERMS: Phrase = Phrase("terms of use", 7);
const PRIVACY: Phrase = Phrase("privacy policy", 3);
const COOKIES: [Phrase; 4] =
    [Phrase("cookie policy", 3), Phrase("uses cookies", 8), Phrase("use of cookies", 10), Phrase("use cookies", 7)];

const CITATIONS: [&str; 2] = ["[edit]", "[citation needed]"];

/// The config of [`c4`], [`c4_reason`] and [`c4_lines`]. The defaults are those of the paper.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct C4Limits {
    /// A line with fewer words is dropped.
    pub words_per_line_min: usize,
    /// A line with a longer word, in characters, is dropped.
    pub word_length_max: usize,
    /// A text with fewer sentences in its lines that are left is dropped.
    pub sentences_min: usize,
}

impl Default for C4Limits {
    fn default() -> Self {
        Self { words_per_line_min: 5, word_length_max: 1000, sentences_min: 3 }
    }
}

/// Keeps texts that C4 would keep (Raffel et al. 2020, JMLR 21(140), section 2.2).
///
/// Dropped are texts with "lorem ipsum" or a curly bracket `{`, and texts with fewer than 3 sentences (`sentences_min`) in
/// the lines that `c4_lines` leaves. Give the same config to both. `c4_reason` says why a text would be dropped.
#[filter]
pub fn c4(text: &str, #[config] limits: &C4Limits) -> bool {
    c4_reason(text, limits).is_none()
}

/// Why `c4` would drop a text: `lorem_ipsum`, `curly_bracket` or `sentences_min`; null if it is kept.
#[map]
pub fn c4_reason(text: &str, #[config] limits: &C4Limits) -> Option<&'static str> {
    if let Some(reason) = page_reason(text.as_bytes()) {
        return Some(reason);
    }
    let mut missing = limits.sentences_min;
    let mut lines = kept_lines(text, limits);
    while missing > 0 {
        match lines.next() {
            Some(line) => missing = missing.saturating_sub(sentences(&line)),
            None => return Some("sentences_min"),
        }
    }
    None
}

/// The lines of a text that C4 keeps (Raffel et al. 2020, JMLR 21(140), section 2.2), without citation markers.
///
/// A line stays if it ends in a period, exclamation mark, question mark or end quotation mark, but not in an ellipsis;
/// has at least 5 words (`words_per_line_min`), none longer than 1000 characters (`word_length_max`); and says nothing of
/// javascript, "terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies" or "use cookies". Markers
/// such as [1], [edit] and [citation needed] are taken out. White space around lines is not kept.
#[map]
pub fn c4_lines<'a>(text: &'a str, #[config] limits: &C4Limits) -> Cow<'a, str> {
    let mut cleaned = Cleaned { text, borrowed: "", owned: String::new() };
    kept_lines(text, limits).for_each(|line| cleaned.push(line));
    cleaned.finish()
}

fn page_reason(text: &[u8]) -> Option<&'static str> {
    text.iter().enumerate().find_map(|(at, byte)| match byte {
        b'{' => Some("curly_bracket"),
        b'p' | b'P' if LOREM_IPSUM.is_around(text, at) => Some("lorem_ipsum"),
        _ => None,
    })
}

fn kept_lines<'a>(text: &'a str, limits: &C4Limits) -> impl Iterator<Item = Cow<'a, str>> {
    text.lines().filter_map(|line| kept_line(line, limits))
}

fn kept_line<'a>(line: &'a str, limits: &C4Limits) -> Option<Cow<'a, str>> {
    let line = without_citations(line.trim());
    let is_kept = ends_a_sentence(&line) && has_words(&line, limits) && !is_notice(line.as_bytes());
    is_kept.then_some(line)
}

fn without_citations(line: &str) -> Cow<'_, str> {
    let mut kept = String::new();
    let mut start = 0;
    for (at, _) in line.match_indices('[') {
        let length = if at < start { 0 } else { citation(&line[at..]) };
        if length > 0 {
            kept.push_str(&line[start..at]);
            start = at + length;
        }
    }
    if start == 0 {
        return Cow::Borrowed(line);
    }
    kept.push_str(&line[start..]);
    kept.truncate(kept.trim_end().len());
    Cow::Owned(kept)
}

/// How long the marker is that begins here.
fn citation(text: &str) -> usize {
    let number = 1 + text[1..].bytes().take_while(u8::is_ascii_digit).count();
    if text.as_bytes().get(number) == Some(&b']') {
        return number + 1;
    }
    CITATIONS.iter().find(|citation| text.starts_with(**citation)).map_or(0, |citation| citation.len())
}

fn ends_a_sentence(line: &str) -> bool {
    line.ends_with(['.', '!', '?', '"', '”']) && !line.ends_with("...")
}

fn has_words(line: &str, limits: &C4Limits) -> bool {
    let mut count = 0;
    words(line).inspect(|_| count += 1).all(|word| characters(word) <= limits.word_length_max)
        && count >= limits.words_per_line_min
}

fn is_notice(line: &[u8]) -> bool {
    line.iter().enumerate().any(|(at, byte)| match byte | 0x20 {
        b'j' => JAVASCRIPT.is_around(line, at),
        b'f' => TERMS.is_around(line, at),
        b'v' => PRIVACY.is_around(line, at),
        b'k' => COOKIES.iter().any(|phrase| phrase.is_around(line, at)),
        _ => false,
    })
}

impl Phrase {
    /// Whether the phrase is in the text so that its rarest letter is at `at`.
    fn is_around(&self, text: &[u8], at: usize) -> bool {
        let Phrase(phrase, rarest) = self;
        let place = at.checked_sub(*rarest).and_then(|start| text.get(start..start + phrase.len()));
        place.is_some_and(|place| place.eq_ignore_ascii_case(phrase.as_bytes()))
    }
}

/// Places where a sentence ends; at least one, as a line that is kept ends a sentence.
fn sentences(line: &str) -> usize {
    let bytes = line.as_bytes();
    let inner = bytes.windows(2).filter(|pair| {
        let is_end = matches!(pair[0], b'.' | b'!' | b'?');
        is_end && (pair[1].is_ascii_whitespace() || pair[1] == b'"' || pair[1] == 0xE2)
    });
    let ends_plainly = matches!(bytes.last(), Some(b'.' | b'!' | b'?'));
    (inner.count() + usize::from(ends_plainly)).max(1)
}

/// Lines, joined. As long as they lie in the text as they will in the answer, nothing is copied.
struct Cleaned<'a> {
    text: &'a str,
    borrowed: &'a str,
    owned: String,
}

impl<'a> Cleaned<'a> {
    fn push(&mut self, line: Cow<'a, str>) {
        match line {
            Cow::Borrowed(line) if self.owned.is_empty() && self.extends(line) => {}
            line => self.push_copied(&line),
        }
    }

    /// Whether a line that was not copied goes on where the last one ended.
    fn extends(&mut self, line: &'a str) -> bool {
        let offset = |part: &str| part.as_ptr() as usize - self.text.as_ptr() as usize;
        let start = offset(line);
        if self.borrowed.is_empty() {
            self.borrowed = line;
            return true;
        }
        let first = offset(self.borrowed);
        let is_next = start == first + self.borrowed.len() + 1;
        if is_next {
            self.borrowed = &self.text[first..start + line.len()];
        }
        is_next
    }

    fn push_copied(&mut self, line: &str) {
        if self.owned.is_empty() {
            self.owned.reserve(self.text.len());
            self.owned.push_str(self.borrowed);
        }
        if !self.owned.is_empty() {
            self.owned.push('\n');
        }
        self.owned.push_str(line);
    }

    fn finish(self) -> Cow<'a, str> {
        if self.owned.is_empty() { Cow::Borrowed(self.borrowed) } else { Cow::Owned(self.owned) }
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    const GOOD: &str =
        "This is a line of five words.\nHere is another one, it asks why?\nShe said \"we are done here now.\"";

    #[track_caller]
    fn lines(text: &str, expected: &str) {
        assert_eq!(c4_lines(text, &C4Limits::default()), expected);
    }

    #[track_caller]
    fn reason(text: &str, expected: Option<&str>) {
        let limits = C4Limits::default();
        assert_eq!(c4_reason(text, &limits), expected);
        assert_eq!(c4(text, &limits), expected.is_none());
    }

    #[test]
    fn good_text_is_kept_and_not_copied() {
        reason(GOOD, None);
        lines(GOOD, GOOD);
        let menu = format!("Home\nAbout us\n{GOOD}\n  \nContact");
        assert!(matches!(c4_lines(&menu, &C4Limits::default()), Cow::Borrowed(text) if text == GOOD));
    }

    #[test]
    fn lines_that_are_dropped() {
        for line in [
            "A line without an end mark at all",
            "It goes on and on and on...",
            "Four words are few.",
            "Please do enable JavaScript in your browser.",
            "All of this is under our Terms of Use.",
            "Read our privacy policy before you go on.",
            "Read the Cookie Policy of this fine site.",
            "This fine site uses cookies, as they all do.",
            "You agree to the use of cookies right now.",
            "We use cookies to make this site better.",
            "",
        ] {
            lines(&format!("{GOOD}\n{line}\n{GOOD}"), &format!("{GOOD}\n{GOOD}"));
            lines(line, "");
        }
        lines(&format!("One word of this line is long: {}.", "x".repeat(1001)), "");
        lines("Wir sagen hier „alles ist gut”\r\n", "Wir sagen hier „alles ist gut”");
    }

    #[test]
    fn citations_are_taken_out() {
        lines("The bridge[1] is old[citation needed] and[edit] well built.[23]", "The bridge is old and well built.");
        lines("An index a[i] and a list [1, 2] stay here.", "An index a[i] and a list [1, 2] stay here.");
        lines(
            &format!("{GOOD}\nIt was built in the year 1402.[4]"),
            &format!("{GOOD}\nIt was built in the year 1402."),
        );
    }

    #[test]
    fn texts_that_are_dropped() {
        reason("", Some("sentences_min"));
        reason("This is one line of words. This is the second one.", Some("sentences_min"));
        reason("This is one line of words. This is the second one. Third!", None);
        reason("He said \"this is one.\" She said \"two!\" And then three.", None);
        reason(&format!("{GOOD}\nLorem Ipsum dolor sit amet"), Some("lorem_ipsum"));
        reason(&format!("{GOOD}\nfn main() {{}}"), Some("curly_bracket"));
        reason("The version is 1.2.3, of which.we.know nothing at all.", Some("sentences_min"));
    }

    #[test]
    fn limits_can_be_those_of_the_preprint() {
        let preprint = C4Limits { words_per_line_min: 3, sentences_min: 5, ..C4Limits::default() };
        assert_eq!(c4_lines("Only three words.", &preprint), "Only three words.");
        assert_eq!(c4_reason(GOOD, &preprint), Some("sentences_min"));
        assert_eq!(c4_reason("", &C4Limits { sentences_min: 0, ..preprint }), None);
    }

    #[test]
    fn time_is_linear_in_hostile_texts() {
        for unit in ["x", "[", "[1", "[1]", "use cookies ", "k", ".\n", "a b c d e.\n", "a b c d e.[1]\n", "\""] {
            let text = unit.repeat(4_000_000 / unit.len());
            let limits = C4Limits::default();
            std::hint::black_box((c4(&text, &limits), c4_lines(&text, &limits).len()));
        }
    }
}
