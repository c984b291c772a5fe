//! `gopher_repetition`: the repetition filters of Rae et al. 2021, appendix A.1 and table A1.
//!
//! The paper gives the measures and their limits; these details it leaves open:
//!
//! * A word is a run without white space, as it stands. A line is what is not blank between line ends, without white
//!   space around it; a paragraph is a run of such lines.
//! * A duplicate is an occurrence after the first.
//! * Characters are those of words, lines and paragraphs that are not white space, above and below the fraction bar.
//! * The most frequent n-gram is one that occurs at least twice; if several are equally frequent, the longest counts. Its
//!   share is its length times how often it occurs, at most 1.
//! * A word that stands in several duplicate n-grams counts once.
//!
//! n-grams are named, not stored: two n-grams are equal if their first n - 1 words are and their last n - 1 words are, so
//! the names of one level are pairs of names of the level below. An n-gram with a part that occurs only once occurs only
//! once itself and is not looked at again; in ordinary text few are left from n = 4 on.

use std::cell::RefCell;

use schemars::JsonSchema;
use serde::Deserialize;
use wasmpipe_sdk::text::words;
use wasmpipe_sdk::{filter, map};

use crate::names::{Names, hash_bytes, hash_pair};
use crate::{characters, ratio};

/// The config of [`gopher_repetition`] and [`gopher_repetition_reason`]. The defaults are table A1.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RepetitionLimits {
    /// At most this share of the lines are duplicates.
    pub duplicate_lines_max: f64,
    /// At most this share of the paragraphs are duplicates.
    pub duplicate_paragraphs_max: f64,
    /// At most this share of the characters is in duplicate lines.
    pub duplicate_line_characters_max: f64,
    /// At most this share of the characters is in duplicate paragraphs.
    pub duplicate_paragraph_characters_max: f64,
    /// At most this share of the characters is in the most frequent 2-gram, 3-gram, 4-gram.
    pub top_ngram_characters_max: [f64; 3],
    /// At most this share of the characters is in duplicate 5-grams, 6-grams, ... 10-grams.
    pub duplicate_ngram_characters_max: [f64; 6],
}

impl Default for RepetitionLimits {
    fn default() -> Self {
        Self {
            duplicate_lines_max: 0.30,
            duplicate_paragraphs_max: 0.30,
            duplicate_line_characters_max: 0.20,
            duplicate_paragraph_characters_max: 0.20,
            top_ngram_characters_max: [0.20, 0.18, 0.16],
            duplicate_ngram_characters_max: [0.15, 0.14, 0.13, 0.12, 0.11, 0.10],
        }
    }
}

/// Keeps texts that do not repeat themselves: the repetition filters of Gopher (Rae et al. 2021, arXiv:2112.11446,
/// table A1).
///
/// A text is dropped if more than 30 % of its lines or paragraphs repeat earlier ones (`duplicate_lines_max`,
/// `duplicate_paragraphs_max`), or hold more than 20 % of its characters (`duplicate_line_characters_max`,
/// `duplicate_paragraph_characters_max`); if its most frequent 2-, 3- or 4-gram holds more than 20, 18 or 16 % of the
/// characters (`top_ngram_characters_max`); or if 5- to 10-grams that repeat earlier ones hold more than 15, 14, 13, 12,
/// 11 or 10 % (`duplicate_ngram_characters_max`). `gopher_repetition_reason` says why a text would be dropped.
#[filter]
pub fn gopher_repetition(text: &str, #[config] limits: &RepetitionLimits) -> bool {
    gopher_repetition_reason(text, limits).is_none()
}

/// Why `gopher_repetition` would drop a text: the first limit that it breaks, such as `duplicate_lines_max` or
/// `duplicate_5gram_characters_max`; null if it is kept.
#[map]
pub fn gopher_repetition_reason(text: &str, #[config] limits: &RepetitionLimits) -> Option<&'static str> {
    SCRATCH.with_borrow_mut(|scratch| {
        let reason = scratch.reason(text, limits);
        if text.len() > TEXT_BYTES_KEPT {
            scratch.shrink();
        }
        reason
    })
}

const TOP: [&str; 3] = ["top_2gram_characters_max", "top_3gram_characters_max", "top_4gram_characters_max"];
const DUPLICATE: [&str; 6] = [
    "duplicate_5gram_characters_max",
    "duplicate_6gram_characters_max",
    "duplicate_7gram_characters_max",
    "duplicate_8gram_characters_max",
    "duplicate_9gram_characters_max",
    "duplicate_10gram_characters_max",
];

/// The buffers are given back after a text larger than this.
const TEXT_BYTES_KEPT: usize = 4 << 20;
/// A guess, for the first size of a table.
const BYTES_PER_WORD: usize = 8;
/// Stands for an n-gram that occurs once.
const UNIQUE: u32 = u32::MAX;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Buffers, kept from row to row.
#[derive(Default)]
struct Scratch {
    /// Slices of the text, as start and end.
    slices: Names<(u32, u32)>,
    /// n-grams, as names of their first and their last n - 1 words.
    pairs: Names<(u32, u32)>,
    /// By word: the name of the n-gram that begins there.
    names: Vec<u32>,
    /// By word: characters before it. One more entry than words.
    before: Vec<u32>,
    /// By name: how often, and where first.
    tallies: Vec<(u32, u32)>,
}

impl Scratch {
    fn reason(&mut self, text: &str, limits: &RepetitionLimits) -> Option<&'static str> {
        let seed = hash_bytes(text.as_bytes(), 0);
        let lines = self.duplicates(text, lines(text), seed);
        let paragraphs = self.duplicates(text, paragraphs(text), seed);
        let rules = [
            ("duplicate_lines_max", lines.share > limits.duplicate_lines_max),
            ("duplicate_paragraphs_max", paragraphs.share > limits.duplicate_paragraphs_max),
            ("duplicate_line_characters_max", lines.characters > limits.duplicate_line_characters_max),
            ("duplicate_paragraph_characters_max", paragraphs.characters > limits.duplicate_paragraph_characters_max),
        ];
        let broken = rules.into_iter().find(|(_, is_broken)| *is_broken).map(|(rule, _)| rule);
        broken.or_else(|| self.ngram_reason(text, limits, seed))
    }

    fn duplicates(&mut self, text: &str, parts: impl Iterator<Item = (u32, u32)>, seed: u64) -> Duplicates {
        self.slices.clear(0);
        let (mut count, mut duplicates, mut all_characters, mut duplicate_characters) = (0, 0, 0, 0);
        for part in parts {
            let characters = solid_characters(slice(text, part));
            count += 1;
            all_characters += characters;
            if !number_slice(&mut self.slices, text, part, seed).1 {
                duplicates += 1;
                duplicate_characters += characters;
            }
        }
        Duplicates { share: ratio(duplicates, count), characters: ratio(duplicate_characters, all_characters) }
    }

    fn ngram_reason(&mut self, text: &str, limits: &RepetitionLimits, seed: u64) -> Option<&'static str> {
        self.name_words(text, seed);
        for n in 2..=10 {
            let repeats = self.lengthen(n, seed)?;
            let is_top = n <= 4;
            let (share, limit, rule) = match is_top {
                true => (self.top_share(n), limits.top_ngram_characters_max[n - 2], TOP[n - 2]),
                false => (repeats, limits.duplicate_ngram_characters_max[n - 5], DUPLICATE[n - 5]),
            };
            if share > limit {
                return Some(rule);
            }
        }
        None
    }

    /// Names for the words.
    fn name_words(&mut self, text: &str, seed: u64) {
        self.slices.clear(text.len() / BYTES_PER_WORD);
        self.names.clear();
        self.before.clear();
        self.tallies.clear();
        let mut total = 0;
        for word in words(text) {
            let part = position(text, word);
            let (name, _) = number_slice(&mut self.slices, text, part, seed);
            tally(&mut self.tallies, name, self.names.len());
            self.names.push(name);
            self.before.push(total);
            total += characters(word) as u32;
        }
        self.before.push(total);
    }

    /// Names for n-grams from those for (n - 1)-grams; the share of characters in n-grams that repeat earlier ones. `None`
    /// if no n-gram is there twice, and so no longer one.
    fn lengthen(&mut self, n: usize, seed: u64) -> Option<f64> {
        self.forget_unique();
        self.pairs.clear(self.tallies.len());
        self.tallies.clear();
        let count = self.names.len().saturating_sub(1);
        let (mut covered, mut repeated) = (0, 0);
        for at in 0..count {
            let pair = (self.names[at], self.names[at + 1]);
            if pair.0 == UNIQUE || pair.1 == UNIQUE {
                self.names[at] = UNIQUE;
                continue;
            }
            let (name, is_new) = self.pairs.number(hash_pair(pair, seed), pair, |a, b| a == b);
            tally(&mut self.tallies, name, at);
            self.names[at] = name;
            if !is_new {
                repeated += self.before[at + n] - self.before[at.max(covered)];
                covered = at + n;
            }
        }
        self.names.truncate(count);
        (repeated > 0).then(|| ratio(repeated as usize, self.total()))
    }

    fn forget_unique(&mut self) {
        let tallies = &self.tallies;
        let names = self.names.iter_mut().filter(|name| **name != UNIQUE);
        names.filter(|name| tallies[**name as usize].0 == 1).for_each(|name| *name = UNIQUE);
    }

    /// The share of characters in the most frequent n-gram.
    fn top_share(&self, n: usize) -> f64 {
        let length = |first: u32| self.before[first as usize + n] - self.before[first as usize];
        let repeated = self.tallies.iter().filter(|(count, _)| *count > 1);
        let top = repeated.map(|(count, first)| (*count, length(*first))).max();
        top.map_or(0.0, |(count, length)| ratio(count as usize * length as usize, self.total()).min(1.0))
    }

    /// The characters of all words.
    fn total(&self) -> usize {
        self.before.last().map_or(0, |total| *total as usize)
    }

    fn shrink(&mut self) {
        self.slices.shrink_to(TEXT_BYTES_KEPT / 64);
        self.pairs.shrink_to(TEXT_BYTES_KEPT / 64);
        (self.names, self.before, self.tallies) = Default::default();
    }
}

struct Duplicates {
    share: f64,
    characters: f64,
}

fn tally(tallies: &mut Vec<(u32, u32)>, name: u32, at: usize) {
    match tallies.get_mut(name as usize) {
        Some((count, _)) => *count += 1,
        None => tallies.push((1, at as u32)),
    }
}

fn number_slice(slices: &mut Names<(u32, u32)>, text: &str, part: (u32, u32), seed: u64) -> (u32, bool) {
    let hash = hash_bytes(slice(text, part).as_bytes(), seed);
    slices.number(hash, part, |a, b| slice(text, a) == slice(text, b))
}

fn slice(text: &str, (start, end): (u32, u32)) -> &str {
    &text[start as usize..end as usize]
}

/// Where a part of a text is in it. A string column's texts are smaller than 4 GiB.
fn position(text: &str, part: &str) -> (u32, u32) {
    let start = part.as_ptr() as usize - text.as_ptr() as usize;
    (start as u32, (start + part.len()) as u32)
}

fn solid_characters(text: &str) -> usize {
    words(text).map(characters).sum()
}

/// Lines that are not blank, without white space around them.
fn lines(text: &str) -> impl Iterator<Item = (u32, u32)> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(|line| position(text, line))
}

/// Runs of lines that are not blank.
fn paragraphs(text: &str) -> impl Iterator<Item = (u32, u32)> {
    let mut lines = text.lines().map(str::trim);
    std::iter::from_fn(move || {
        let (start, mut end) = position(text, lines.find(|line| !line.is_empty())?);
        for line in lines.by_ref().take_while(|line| !line.is_empty()) {
            end = position(text, line).1;
        }
        Some((start, end))
    })
}

#[cfg(test)]
mod tests;
