//! `gopher`: the quality filters of Rae et al. 2021, appendix A.1: counts and shares, from one look at each word and line.
//!
//! A word is a run without Unicode white space, as it stands, with its punctuation. A line is what lies between line
//! ends and is not blank.

use schemars::JsonSchema;
use serde::Deserialize;
use wasmpipe_sdk::text::words;
use wasmpipe_sdk::{Columns, filter, map};

use crate::{characters, ratio};

const STOP_WORDS: [&str; 8] = ["the", "be", "to", "of", "and", "that", "have", "with"];
const BULLETS: [char; 9] = ['•', '‣', '◦', '●', '○', '▪', '–', '-', '*'];

/// The config of [`gopher`] and [`gopher_reason`]. The defaults are those of the paper.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GopherLimits {
    /// A text with fewer words is dropped.
    pub words_min: u64,
    /// A text with more words is dropped.
    pub words_max: u64,
    /// The mean word length, in characters, is at least this.
    pub word_length_mean_min: f64,
    /// The mean word length, in characters, is at most this.
    pub word_length_mean_max: f64,
    /// At most so many `#` per word.
    pub hash_ratio_max: f64,
    /// At most so many ellipses (`...` or `…`) per word.
    pub ellipsis_ratio_max: f64,
    /// At most this share of the lines begins with a bullet point.
    pub bullet_lines_max: f64,
    /// At most this share of the lines ends with an ellipsis.
    pub ellipsis_lines_max: f64,
    /// At least this share of the words has an alphabetic character.
    pub alphabetic_words_min: f64,
    /// At least so many different words of: the, be, to, of, and, that, have, with. 0 for languages other than English.
    pub stop_words_min: u32,
}

impl Default for GopherLimits {
    fn default() -> Self {
        Self {
            words_min: 50,
            words_max: 100_000,
            word_length_mean_min: 3.0,
            word_length_mean_max: 10.0,
            hash_ratio_max: 0.1,
            ellipsis_ratio_max: 0.1,
            bullet_lines_max: 0.9,
            ellipsis_lines_max: 0.3,
            alphabetic_words_min: 0.8,
            stop_words_min: 2,
        }
    }
}

/// Keeps texts that pass the quality filters of Gopher (Rae et al. 2021, arXiv:2112.11446, appendix A.1).
///
/// 50 to 100,000 words (`words_min`, `words_max`) of 3 to 10 characters in the mean (`word_length_mean_min`, `_max`); at
/// most 0.1 hashes and 0.1 ellipses per word (`hash_ratio_max`, `ellipsis_ratio_max`); at most 90 % of the lines begin
/// with a bullet (`bullet_lines_max`) and 30 % end with an ellipsis (`ellipsis_lines_max`); at least 80 % of the words
/// have an alphabetic character (`alphabetic_words_min`); at least two of the, be, to, of, and, that, have, with
/// (`stop_words_min`). Words are separated by white space. `gopher_reason` says why a text would be dropped.
#[filter]
pub fn gopher(text: &str, #[config] limits: &GopherLimits) -> bool {
    gopher_reason(text, limits).is_none()
}

/// Why `gopher` would drop a text: the key of the first limit that it breaks, such as `words_min`; null if it is kept.
#[map]
pub fn gopher_reason(text: &str, #[config] limits: &GopherLimits) -> Option<&'static str> {
    let stats = Stats::of(text);
    // In the order of the paper. NaN cannot come: every share of nothing is 0.
    let rules = [
        ("words_min", stats.words < limits.words_min),
        ("words_max", stats.words > limits.words_max),
        ("word_length_mean_min", stats.word_length_mean < limits.word_length_mean_min),
        ("word_length_mean_max", stats.word_length_mean > limits.word_length_mean_max),
        ("hash_ratio_max", stats.hash_ratio > limits.hash_ratio_max),
        ("ellipsis_ratio_max", stats.ellipsis_ratio > limits.ellipsis_ratio_max),
        ("bullet_lines_max", stats.bullet_lines > limits.bullet_lines_max),
        ("ellipsis_lines_max", stats.ellipsis_lines > limits.ellipsis_lines_max),
        ("alphabetic_words_min", stats.alphabetic_words < limits.alphabetic_words_min),
        ("stop_words_min", stats.stop_words < limits.stop_words_min),
    ];
    rules.into_iter().find(|(_, is_broken)| *is_broken).map(|(rule, _)| rule)
}

/// What `gopher` looks at, as columns, to choose limits by.
///
/// `words`; `word_length_mean` in characters; `hash_ratio` and `ellipsis_ratio` per word; `bullet_lines` and
/// `ellipsis_lines` as shares of the lines; `alphabetic_words` as a share of the words; `stop_words`, how many of the
/// eight there are.
#[map]
pub fn gopher_stats(text: &str) -> Stats {
    Stats::of(text)
}

/// What `gopher_stats` adds.
#[derive(Columns, Debug, PartialEq)]
pub struct Stats {
    words: u64,
    word_length_mean: f64,
    hash_ratio: f64,
    ellipsis_ratio: f64,
    bullet_lines: f64,
    ellipsis_lines: f64,
    alphabetic_words: f64,
    stop_words: u32,
}

/// Counts of one text.
#[derive(Default)]
struct Counts {
    words: usize,
    characters: usize,
    hashes: usize,
    ellipses: usize,
    alphabetic: usize,
    /// A bit for each stop word.
    stop_words: u8,
    lines: usize,
    bullet_lines: usize,
    ellipsis_lines: usize,
}

impl Stats {
    fn of(text: &str) -> Stats {
        let mut counts = Counts::default();
        text.lines().map(str::trim).filter(|line| !line.is_empty()).for_each(|line| counts.add_line(line));
        Stats {
            words: counts.words as u64,
            word_length_mean: ratio(counts.characters, counts.words),
            hash_ratio: ratio(counts.hashes, counts.words),
            ellipsis_ratio: ratio(counts.ellipses, counts.words),
            bullet_lines: ratio(counts.bullet_lines, counts.lines),
            ellipsis_lines: ratio(counts.ellipsis_lines, counts.lines),
            alphabetic_words: ratio(counts.alphabetic, counts.words),
            stop_words: counts.stop_words.count_ones(),
        }
    }
}

impl Counts {
    // No symbol has white space in it, so symbols can be counted a line at a time.
    fn add_line(&mut self, line: &str) {
        self.lines += 1;
        self.bullet_lines += usize::from(line.starts_with(BULLETS));
        self.ellipsis_lines += usize::from(line.ends_with("...") || line.ends_with('…'));
        self.hashes += line.bytes().filter(|byte| *byte == b'#').count();
        self.ellipses += ellipses(line);
        words(line).for_each(|word| self.add_word(word));
    }

    fn add_word(&mut self, word: &str) {
        self.words += 1;
        self.characters += characters(word);
        self.alphabetic += usize::from(has_alphabetic(word));
        self.stop_words |= stop_word(word);
    }
}

fn ellipses(line: &str) -> usize {
    let one = if line.is_ascii() { 0 } else { line.matches('…').count() };
    let dots = line.bytes().filter(|byte| *byte == b'.').count();
    if dots < 3 { one } else { one + line.matches("...").count() }
}

fn has_alphabetic(word: &str) -> bool {
    word.bytes().any(|byte| byte.is_ascii_alphabetic()) || (!word.is_ascii() && word.chars().any(char::is_alphabetic))
}

/// A bit for the stop word that this is, whatever its case and the punctuation around it; 0 if it is none.
fn stop_word(word: &str) -> u8 {
    const BYTES_MAX: usize = 12;
    if word.len() > BYTES_MAX {
        return 0;
    }
    let word = word.trim_matches(|c: char| !c.is_alphanumeric()).as_bytes();
    if !(2..=4).contains(&word.len()) {
        return 0;
    }
    let is_it = |stop_word: &str| u8::from(stop_word.as_bytes().eq_ignore_ascii_case(word));
    STOP_WORDS.iter().enumerate().map(|(bit, stop_word)| is_it(stop_word) << bit).sum()
}

#[cfg(test)]
mod tests {

    use super::*;

    /// Sixty words that pass.
    fn prose() -> String {
        "The old bridge has stood over the river for centuries, and people still cross it every day.\n\
         Nobody knows who built that bridge, or with which stones, but many travellers have admired it.\n\
         In summer children jump from the middle arch to swim in the cool green water of the river below."
            .to_owned()
    }

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let limits = GopherLimits::default();
        assert_eq!(gopher_reason(text, &limits), expected);
        assert_eq!(gopher(text, &limits), expected.is_none());
    }

    #[test]
    fn prose_is_kept() {
        check(&prose(), None);
    }

    #[test]
    fn each_rule() {
        let (prose, repeat) = (prose(), |unit: &str, count| unit.repeat(count));
        check("", Some("words_min"));
        check(&repeat("the and word ", 16), Some("words_min"));
        check(&repeat("the and word ", 33_334), Some("words_max"));
        check(&repeat("a bc ", 30), Some("word_length_mean_min"));
        check(&repeat("internationalisation ", 60), Some("word_length_mean_max"));
        check(&format!("{prose} {}", repeat("# ", 10)), Some("hash_ratio_max"));
        check(&format!("{prose} {}", repeat("and... ", 10)), Some("ellipsis_ratio_max"));
        check(&repeat("- the words and others\n", 30), Some("bullet_lines_max"));
        check(&format!("{prose}\nand so on and on with it…\nor to be or not to be..."), Some("ellipsis_lines_max"));
        check(&format!("{prose} {}", repeat("12,345 ", 20)), Some("alphabetic_words_min"));
        check(&repeat("keine englischen wörter ", 20), Some("stop_words_min"));
        check(&format!("The THE the {}", repeat("keine englischen wörter ", 20)), Some("stop_words_min"));
    }

    #[test]
    fn limits_are_inclusive() {
        let limits = GopherLimits {
            words_min: 4,
            words_max: 4,
            word_length_mean_min: 3.5,
            word_length_mean_max: 3.5,
            hash_ratio_max: 0.25,
            ellipsis_ratio_max: 0.25,
            bullet_lines_max: 0.5,
            ellipsis_lines_max: 0.5,
            alphabetic_words_min: 0.5,
            stop_words_min: 1,
        };
        assert_eq!(gopher_reason("• #12…\nöäü (The)…", &limits), Some("ellipsis_ratio_max"));
        assert_eq!(gopher_reason("• #123\nöäü (The)…", &limits), None);
    }

    #[test]
    fn statistics() {
        let stats = |text| {
            let s = gopher_stats(text);
            let shares = (s.hash_ratio, s.ellipsis_ratio, s.bullet_lines, s.ellipsis_lines, s.alphabetic_words);
            (s.words, s.word_length_mean, shares, s.stop_words)
        };
        let shares = (1.0 / 8.0, 2.0 / 8.0, 2.0 / 3.0, 1.0 / 3.0, 5.0 / 8.0);
        assert_eq!(stats("* The cat… (of)\n\n- und...\n 7 #größe\n"), (8, 26.0 / 8.0, shares, 2));
        assert_eq!(stats(" \n "), (0, 0.0, (0.0, 0.0, 0.0, 0.0, 0.0), 0));
    }

    #[test]
    fn time_is_linear_in_hostile_texts() {
        for unit in ["x", "…", ".", "# ", "\n", "- ", "\u{3000}"] {
            let text = unit.repeat(4_000_000 / unit.len());
            std::hint::black_box(gopher_stats(&text));
        }
    }
}
