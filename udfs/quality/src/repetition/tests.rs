//! The measures against a plain reading of their definitions, and limits at work.

use std::collections::HashMap;

use super::*;

fn none() -> RepetitionLimits {
    RepetitionLimits {
        duplicate_lines_max: 1.0,
        duplicate_paragraphs_max: 1.0,
        duplicate_line_characters_max: 1.0,
        duplicate_paragraph_characters_max: 1.0,
        top_ngram_characters_max: [1.0; 3],
        duplicate_ngram_characters_max: [1.0; 6],
    }
}

/// The limit at which the one that `with` sets is just not broken any more, in steps of a thousandth.
fn measure(text: &str, with: impl Fn(&mut RepetitionLimits, f64)) -> f64 {
    let is_kept = |limit| {
        let mut limits = none();
        with(&mut limits, limit);
        gopher_repetition(text, &limits)
    };
    (0..1000).map(|step| f64::from(step) / 1000.0).find(|limit| is_kept(*limit)).unwrap_or(1.0)
}

#[track_caller]
fn about(measured: f64, expected: f64) {
    assert!(measured >= expected - 1e-9 && measured < expected + 0.001, "{measured} is not {expected}");
}

#[test]
fn lines_and_paragraphs() {
    let text = "one\n two \none\n\nthree three\none\n\n\n one\ntwo\none\n";
    // Lines: one two one | three three, one | one two one: of 8, 5 repeat. Characters: 3 3 3 10 3 3 3 3, 15 of 31.
    about(measure(text, |limits, limit| limits.duplicate_lines_max = limit), 5.0 / 8.0);
    about(measure(text, |limits, limit| limits.duplicate_line_characters_max = limit), 15.0 / 31.0);
    // A paragraph is compared as it stands, with the spaces in its middle.
    about(measure(text, |limits, limit| limits.duplicate_paragraphs_max = limit), 0.0);
    let twice = "a b\nc\n\na b\nc\n\nd";
    about(measure(twice, |limits, limit| limits.duplicate_paragraphs_max = limit), 1.0 / 3.0);
    about(measure(twice, |limits, limit| limits.duplicate_paragraph_characters_max = limit), 3.0 / 7.0);
}

/// The definitions in the module's documentation, without any cleverness.
fn plain_top(words: &[&str], n: usize) -> f64 {
    let mut counts: HashMap<&[&str], usize> = HashMap::new();
    words.windows(n).for_each(|ngram| *counts.entry(ngram).or_default() += 1);
    let length = |ngram: &[&str]| -> usize { ngram.iter().map(|word| word.chars().count()).sum() };
    let repeated = counts.iter().filter(|(_, count)| **count > 1);
    let top = repeated.map(|(ngram, count)| (*count, length(ngram))).max();
    top.map_or(0.0, |(count, length_of)| ratio(count * length_of, length(words)).min(1.0))
}

fn plain_duplicate(words: &[&str], n: usize) -> f64 {
    let mut in_duplicate = vec![false; words.len()];
    for (at, ngram) in words.windows(n).enumerate() {
        if words.windows(n).take(at).any(|earlier| earlier == ngram) {
            in_duplicate[at..at + n].fill(true);
        }
    }
    let length = |word: &&str| word.chars().count();
    let duplicate = words.iter().zip(in_duplicate).filter(|(_, is_in)| *is_in).map(|(word, _)| length(word)).sum();
    ratio(duplicate, words.iter().map(length).sum())
}

#[test]
fn ngrams_are_what_a_plain_reading_says() {
    const WORDS: [&str; 6] = ["a", "to", "the", "größe", "bridges", "x,"];
    let mut seed = 5_u64;
    let mut scratch = Scratch::default();
    for round in 0..300 {
        let different = 1 + round % WORDS.len();
        let words: Vec<&str> = (0..round % 90)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                WORDS[(seed >> 33) as usize % different]
            })
            .collect();
        let text = words.join(" ");
        scratch.name_words(&text, 9);
        for n in 2..=10 {
            let Some(repeats) = scratch.lengthen(n, 9) else {
                (n..=10).for_each(|n| assert_eq!(plain_duplicate(&words, n), 0.0, "{text} {n}"));
                break;
            };
            assert_eq!(repeats, plain_duplicate(&words, n), "{text} {n}");
            assert_eq!(scratch.top_share(n), plain_top(&words, n), "{text} {n}");
        }
    }
}

#[test]
fn each_limit_of_table_a1() {
    let check = |text: &str, expected: Option<&str>| {
        assert_eq!(gopher_repetition_reason(text, &RepetitionLimits::default()), expected, "{text}");
        assert_eq!(gopher_repetition(text, &RepetitionLimits::default()), expected.is_none());
    };
    let different =
        |from: usize, to: usize| (from..to).map(|n| format!("w{n}x{}", n * 7)).collect::<Vec<_>>().join(" ");
    check("", None);
    check(&different(0, 200), None);
    check("one line\nother line\none line\nother line\nlast line", Some("duplicate_lines_max"));
    check("a\nb\n\na\nb\n\na\nb", Some("duplicate_lines_max"));
    let paragraph = "long first line of it\nlong second line of it";
    let others: Vec<_> = (0..6).map(|n| different(n * 3, n * 3 + 3)).collect();
    check(&[paragraph, &others.join("\n\n"), paragraph].join("\n\n"), Some("duplicate_line_characters_max"));
    check(&format!("{} {}", "so it ".repeat(10), different(0, 10)), Some("top_2gram_characters_max"));
    let long = different(100, 112);
    check(&[long.as_str(), &different(0, 50), &long].join(" "), Some("duplicate_5gram_characters_max"));
    // Prose repeats small words.
    check("it is what it is and it was what it was, or so they say who know how it all began and where it went", None);
}

#[test]
fn scratch_does_not_leak_from_row_to_row() {
    let limits = RepetitionLimits::default();
    let texts = ["a b a b a b", "c d e f", "", "a b c d", &"x ".repeat(TEXT_BYTES_KEPT), "c d e f"];
    let reasons: Vec<_> = texts.iter().map(|text| gopher_repetition_reason(text, &limits).is_some()).collect();
    assert_eq!(reasons, [true, false, false, false, true, false]);
}

#[test]
fn time_is_linear_in_hostile_texts() {
    let different: String = (0..400_000).map(|n| format!("{n} ")).collect();
    let lines: String = (0..400_000).map(|n| format!("{n}\n")).collect();
    let palindrome = format!("{different}{different}");
    let mut texts = vec![different, lines, palindrome];
    texts.extend(["x", "x ", "\n", "x\n\n", "a b ", "\u{3000}"].map(|unit| unit.repeat(4_000_000 / unit.len())));
    for text in &texts {
        std::hint::black_box(gopher_repetition(text, &none()));
    }
}
