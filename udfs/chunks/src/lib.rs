//! `chunks`: cuts a text into chunks that overlap, as embedding models and retrieval want them.
//!
//! It counts characters or words, not the tokens of any model. Nothing is copied: a chunk is a slice of its text.
//!
//! * `cut.rs`: where a chunk may end, and where the next begins

mod cut;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wasmpipe_sdk::{Columns, State, flat_map};

use cut::Spans;

/// The config of [`chunks`].
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ChunksConfig {
    /// What `size_max` and `overlap` count.
    pub unit: Unit,
    /// No chunk is larger.
    pub size_max: usize,
    /// How much of a chunk is repeated at the start of the next; at most half of `size_max`.
    pub overlap: usize,
    /// What the columns `start` and `end` count.
    pub offsets: Offsets,
}

/// What sizes count.
#[derive(Deserialize, Serialize, JsonSchema, Default, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Unicode scalar values.
    #[default]
    Characters,
    /// Runs of characters that are not white space. A run counts once more for every 64 characters, so that a text
    /// without a space has a size, too.
    Words,
}

/// What offsets count.
#[derive(Deserialize, Serialize, JsonSchema, Default, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Offsets {
    /// Bytes of the UTF-8 text.
    #[default]
    Bytes,
    /// Unicode scalar values, as Python counts.
    Characters,
}

impl Default for ChunksConfig {
    fn default() -> Self {
        Self { unit: Unit::Characters, size_max: 1000, overlap: 100, offsets: Offsets::Bytes }
    }
}

/// The config, checked.
pub struct Chunking {
    config: ChunksConfig,
}

impl State for Chunking {
    type Config = ChunksConfig;

    fn new(config: ChunksConfig) -> Result<Chunking, String> {
        let ChunksConfig { size_max, overlap, .. } = config;
        if size_max == 0 {
            return Err("size_max: a chunk of 0 holds nothing".to_owned());
        }
        // With more overlap than this, the output could be many times the input.
        if overlap > size_max / 2 {
            return Err(format!("overlap: {overlap} is more than half of size_max, which is {size_max}"));
        }
        Ok(Chunking { config })
    }
}

/// Cuts a text into chunks of at most `size_max`, each of which repeats the last `overlap` of the one before.
///
/// Sizes are in characters (`unit = "characters"`, the default; 1000 and 100 unless given) or `"words"`. A chunk ends at
/// the last end of a paragraph in its second half; without one at the last end of a sentence or line, else of a word,
/// else where it is full. The next chunk begins at the first word in the overlap. White space at the ends of a chunk is
/// not part of it; nothing else is lost, and a blank text has no chunk.
///
/// `chunk_index` counts the chunks of a text from 0; `start` and `end` are offsets in the text, in bytes or, with
/// `offsets = "characters"`, in characters: `chunk` is what lies between them.
#[flat_map]
pub fn chunks<'a>(text: &'a str, #[state] chunking: &Chunking) -> impl Iterator<Item = Chunk<'a>> {
    let ChunksConfig { unit, size_max, overlap, offsets } = chunking.config;
    let trimmed = Spans::new(text, unit, size_max, overlap).filter_map(move |span| {
        let untrimmed = &text[span.clone()];
        let chunk = untrimmed.trim_start();
        let start = span.start + untrimmed.len() - chunk.len();
        let chunk = chunk.trim_end();
        (!chunk.is_empty()).then_some((start, chunk))
    });
    let mut counted = Counted { text, bytes: 0, characters: 0 };
    trimmed.zip(0..).map(move |((start, chunk), chunk_index)| {
        let (start, length) = match offsets {
            Offsets::Bytes => (start as u64, chunk.len()),
            Offsets::Characters => (counted.up_to(start), chunk.chars().count()),
        };
        Chunk { chunk_index, start, end: start + length as u64, chunk }
    })
}

/// What `chunks` adds.
#[derive(Columns, Debug, PartialEq, Eq)]
pub struct Chunk<'a> {
    chunk_index: u32,
    start: u64,
    end: u64,
    chunk: &'a str,
}

/// Counts characters once, as starts only move forward.
struct Counted<'a> {
    text: &'a str,
    bytes: usize,
    characters: u64,
}

impl Counted<'_> {
    fn up_to(&mut self, bytes: usize) -> u64 {
        self.characters += self.text[self.bytes..bytes].chars().count() as u64;
        self.bytes = bytes;
        self.characters
    }
}

wasmpipe_sdk::export!(chunks);

#[cfg(test)]
mod tests;
