//! `passages`: cuts a text where a reader would pause, into passages of a bounded number of tokens.
//!
//! The tokenizer is a stand-in for a model's: a token is a run of up to 8 letters, digits and underscores, or any other
//! single character that is not blank. Its counts are near those of common vocabularies for code, and they can be
//! checked by hand.

use serde::Deserialize;
use wasmpipe_sdk::flat_map;

/// A longer word counts as several tokens, as it does in a learned vocabulary.
const WORD_CHARS_MAX: u32 = 8;

/// The config of [`passages`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Size {
    /// No passage has more tokens, unless a single line has.
    pub tokens_max: u32,
}

impl Default for Size {
    fn default() -> Self {
        Self { tokens_max: 256 }
    }
}

/// Cuts a text into passages of at most `tokens_max` tokens (256 unless given), with their token counts.
///
/// A passage holds whole lines, and whole paragraphs (separated by blank lines) if they fit. Nothing but blank lines at
/// its ends is lost, and order is kept. A single line that is longer than `tokens_max` is a passage of its own.
///
/// A token is a run of up to 8 letters, digits and underscores, or any other single character that is not blank. A text
/// with a NUL character is not a text: a row error.
#[flat_map(columns("passage", "tokens"))]
pub fn passages<'a>(text: &'a str, #[config] size: &Size) -> Result<impl Iterator<Item = (&'a str, u32)>, String> {
    match text.find('\0') {
        Some(at) => Err(format!("a NUL character at byte {at}: this is no text")),
        None => Ok(Passages { text, at: 0, tokens_max: size.tokens_max }),
    }
}

/// Cuts as it goes; nothing is copied.
struct Passages<'a> {
    text: &'a str,
    at: usize,
    tokens_max: u32,
}

/// Where a passage may end, and its tokens until there.
#[derive(Clone, Copy)]
struct Cut {
    end: usize,
    tokens: u32,
}

impl<'a> Iterator for Passages<'a> {
    type Item = (&'a str, u32);

    fn next(&mut self) -> Option<Self::Item> {
        self.skip_blank_lines();
        let start = self.at;
        let cut = self.cut()?;
        self.at = cut.end;
        Some((self.text[start..cut.end].trim_end(), cut.tokens))
    }
}

impl Passages<'_> {
    fn skip_blank_lines(&mut self) {
        while let Some(line) = self.text[self.at..].split_inclusive('\n').next()
            && line.trim().is_empty()
        {
            self.at += line.len();
        }
    }

    // The last end of a paragraph that fits; within a paragraph that is too long, the last end of a line.
    fn cut(&self) -> Option<Cut> {
        let (mut end, mut tokens) = (self.at, 0);
        let (mut line_end, mut paragraph_end) = (None, None);
        for line in self.text[self.at..].split_inclusive('\n') {
            let is_blank = line.trim().is_empty();
            if is_blank {
                paragraph_end = line_end;
            }
            tokens += count(line);
            end += line.len();
            if tokens > self.tokens_max && line_end.is_some() {
                return paragraph_end.or(line_end);
            }
            line_end = Some(Cut { end, tokens });
        }
        line_end
    }
}

/// The number of tokens.
fn count(text: &str) -> u32 {
    let (mut tokens, mut word_chars) = (0, 0);
    for c in text.chars() {
        if c.is_alphanumeric() || c == '_' {
            tokens += u32::from(word_chars % WORD_CHARS_MAX == 0);
            word_chars += 1;
        } else {
            tokens += u32::from(!c.is_whitespace());
            word_chars = 0;
        }
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str, tokens_max: u32) -> Vec<(String, u32)> {
        let size = Size { tokens_max };
        let passages = passages(text, &size).expect("a text");
        passages.map(|(passage, tokens)| (passage.to_owned(), tokens)).collect()
    }

    fn check(text: &str, tokens_max: u32, expected: &[(&str, u32)]) {
        let expected: Vec<_> = expected.iter().map(|(passage, tokens)| ((*passage).to_owned(), *tokens)).collect();
        assert_eq!(cut(text, tokens_max), expected, "{text:?}");
    }

    #[test]
    fn tokens() {
        assert_eq!(count(""), 0);
        assert_eq!(count("let x_1 = f(a);"), 8);
        assert_eq!(count("abcdefgh"), 1);
        assert_eq!(count("abcdefghi"), 2);
        assert_eq!(count("größe über 3"), 3);
    }

    #[test]
    fn paragraphs_stay_whole_if_they_fit() {
        check("a b\nc\n\nd\n", 4, &[("a b\nc\n\nd", 4)]);
        check("a b\nc\n\nd e\n", 4, &[("a b\nc", 3), ("d e", 2)]);
        check("a\n\nb\n\nc d\n", 3, &[("a\n\nb", 2), ("c d", 2)]);
    }

    #[test]
    fn long_paragraphs_are_cut_at_lines() {
        check("a b\nc d\ne f", 4, &[("a b\nc d", 4), ("e f", 2)]);
        check("a b c d e\nf", 2, &[("a b c d e", 5), ("f", 1)]);
        check("  a\n  b\n", 1, &[("  a", 1), ("  b", 1)]);
    }

    #[test]
    fn blank_texts_have_no_passage() {
        check("", 4, &[]);
        check("\n  \n\r\n", 4, &[]);
        check("\n\n a\r\n\n\n", 4, &[(" a", 1)]);
    }

    #[test]
    fn nothing_but_blank_lines_is_lost() {
        let text = "fn main() {\n    body();\n\n    more();\n}\n\n\n// end\n".repeat(30);
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        for tokens_max in [1, 3, 10, 256, u32::MAX] {
            let passages = cut(&text, tokens_max);
            let joined: Vec<_> = passages.iter().map(|(passage, _)| passage.as_str()).collect();
            assert_eq!(words(&joined.join("\n")), words(&text));
            assert!(passages.iter().all(|(passage, tokens)| count(passage) == *tokens));
        }
    }

    #[test]
    fn a_nul_character_is_an_error() {
        let error = passages("ab\0", &Size::default()).err();
        assert_eq!(error.as_deref(), Some("a NUL character at byte 2: this is no text"));
    }
}
