//! Where a chunk may end, and where the next begins. Spans cover the text without a gap; trimming is the caller's.
//!
//! ```text
//! |------------ chunk n, at most size_max -------------|
//! |                      half of what is new |< cut in >|
//!                                   |- overlap -|
//!                                   |------------ chunk n + 1 ...
//! ```
//!
//! A chunk holds at least half of what it can hold beside the overlap, and white space at its end takes at most half of
//! that from it. So at least an eighth of `size_max` is new in every chunk, and time is linear in the text.

use std::ops::Range;

use crate::Unit;

/// A longer run of characters without white space counts as several words.
const WORD_CHARS_MAX: usize = 64;

pub(crate) struct Spans<'a> {
    text: &'a str,
    unit: Unit,
    size_max: usize,
    overlap: usize,
    next: Option<usize>,
}

impl<'a> Spans<'a> {
    pub(crate) fn new(text: &'a str, unit: Unit, size_max: usize, overlap: usize) -> Self {
        let next = (!text.is_empty()).then_some(0);
        Spans { text, unit, size_max, overlap, next }
    }
}

impl Iterator for Spans<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let start = self.next?;
        let end = self.end(start);
        self.next = (end < self.text.len()).then(|| self.start_after(start, end));
        Some(start..end)
    }
}

impl Spans<'_> {
    fn end(&self, start: usize) -> usize {
        let full = start + self.advance(start, self.size_max);
        if full == self.text.len() {
            return full;
        }
        let least = self.overlap + (self.size_max - self.overlap).div_ceil(2);
        let least = start + self.advance(start, least);
        last_border(&self.text[least..full], &self.text[full..]).map_or(full, |border| least + border)
    }

    // The first word that begins in the last `overlap` of the chunk; if none does, all of it.
    fn start_after(&self, start: usize, end: usize) -> usize {
        if self.overlap == 0 {
            return end;
        }
        let chunk = &self.text[start..end];
        let overlap = chunk.len() - self.retreat(chunk);
        let follows_space = chunk[..overlap].ends_with(char::is_whitespace);
        let next_word = chunk[overlap..].find(char::is_whitespace).map(|space| {
            let rest = &chunk[overlap + space..];
            chunk.len() - rest.trim_start().len()
        });
        match next_word {
            _ if follows_space => start + overlap,
            Some(word) if word < chunk.len() => start + word,
            _ => start + overlap,
        }
    }

    /// How many bytes the next `count` units take; fewer where the text ends.
    fn advance(&self, from: usize, count: usize) -> usize {
        let text = &self.text[from..];
        match self.unit {
            Unit::Characters => text.char_indices().nth(count).map_or(text.len(), |(at, _)| at),
            Unit::Words => words(text, count),
        }
    }

    /// How many bytes the last `overlap` units of a chunk take.
    fn retreat(&self, chunk: &str) -> usize {
        match self.unit {
            Unit::Characters => {
                let count = self.overlap + self.blanks_at_end(chunk);
                let first = chunk.char_indices().rev().nth(count - 1).map_or(0, |(at, _)| at);
                chunk.len() - first
            }
            Unit::Words => words_back(chunk, self.overlap),
        }
    }

    /// Blanks at the end of a chunk are trimmed, so they do not count as overlap; unless they are too many to go forward.
    fn blanks_at_end(&self, chunk: &str) -> usize {
        let blanks_max = (self.size_max - self.overlap).div_ceil(2) / 2;
        let blanks = chunk.chars().rev().take(blanks_max + 1).take_while(|c| c.is_whitespace()).count();
        if blanks > blanks_max { 0 } else { blanks }
    }
}

/// How many bytes the first `count` words take, with the white space around them.
fn words(text: &str, count: usize) -> usize {
    let (mut words, mut characters) = (0, 0);
    for (at, c) in text.char_indices() {
        if c.is_whitespace() {
            characters = 0;
            continue;
        }
        if characters % WORD_CHARS_MAX == 0 {
            if words == count {
                return at;
            }
            words += 1;
        }
        characters += 1;
    }
    text.len()
}

/// How many bytes the last `count` words take, without the white space before them.
fn words_back(text: &str, count: usize) -> usize {
    let (mut words, mut characters, mut first) = (0, 0, text.len());
    for (at, c) in text.char_indices().rev() {
        if c.is_whitespace() {
            characters = 0;
            continue;
        }
        if characters % WORD_CHARS_MAX == 0 {
            if words == count {
                break;
            }
            words += 1;
        }
        characters += 1;
        first = at;
    }
    text.len() - first
}

/// The last place in `window` where a reader would pause: after a paragraph, else after a sentence or a line, else after
/// a word. It is after `window`'s first character, and maybe its very end, before `rest`.
fn last_border(window: &str, rest: &str) -> Option<usize> {
    let (mut paragraph, mut sentence, mut word) = (None, None, None);
    let (mut is_line_end, mut is_sentence_end) = (false, false);
    for (at, c) in window.char_indices() {
        let after = Some(at + c.len_utf8());
        if c.is_whitespace() {
            word = after;
            if c == '\n' && is_line_end {
                paragraph = after;
            }
            is_line_end |= c == '\n';
            if is_sentence_end || is_line_end {
                sentence = after;
            }
            continue;
        }
        is_line_end = false;
        match c {
            '.' | '!' | '?' | '…' => is_sentence_end = true,
            // These end a sentence without a space.
            '。' | '！' | '？' => {
                is_sentence_end = true;
                sentence = after;
            }
            // A closing quote or bracket belongs to the sentence before it.
            '"' | '\'' | ')' | ']' | '”' | '’' | '»' | '」' => {}
            _ => is_sentence_end = false,
        }
    }
    if rest.starts_with(char::is_whitespace) {
        word = Some(window.len());
        sentence = if is_sentence_end { word } else { sentence };
    }
    paragraph.or(sentence).or(word).filter(|border| *border > 0)
}
