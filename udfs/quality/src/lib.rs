//! `quality`: is a text worth training on? The published heuristics of two corpora, with their published thresholds.
//!
//! * Gopher: Rae et al., "Scaling Language Models: Methods, Analysis & Insights from Training Gopher",
//!   arXiv:2112.11446 (2021), appendix A.1: "Quality Filtering" (`gopher`), and "Repetition Removal" with the thresholds
//!   of table A1 (`gopher_repetition`).
//! * C4: Raffel et al., "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer", Journal of
//!   Machine Learning Research 21(140), 2020, section 2.2 (`c4`, `c4_lines`).
//!
//! They judge English web text, and form, not content. What the papers leave open (what a word is, which occurrence of
//! a repetition counts) is settled where it is used, and said there. Language identification, lists of bad words and
//! deduplication between texts are other functions' work. Time is linear in the text, whatever is in it.
//!
//! * `gopher.rs`: words, symbols, lines, stop words
//! * `repetition.rs`: repeated lines, paragraphs and n-grams; `names.rs`: equal things get equal numbers
//! * `c4.rs`: lines that are sentences, texts that are prose

mod c4;
mod gopher;
mod names;
mod repetition;

wasmpipe_sdk::export!(
    gopher::gopher,
    gopher::gopher_reason,
    gopher::gopher_stats,
    repetition::gopher_repetition,
    repetition::gopher_repetition_reason,
    c4::c4,
    c4::c4_reason,
    c4::c4_lines,
);

/// A share of a whole; of nothing it is 0.
fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Unicode scalar values: bytes that do not continue one.
fn characters(text: &str) -> usize {
    text.bytes().filter(|byte| byte & 0xC0 != 0x80).count()
}
