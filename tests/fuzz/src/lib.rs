//! Checkpoints and components made of any bytes, and what must hold whatever they say: an answer or an error, never a panic, never a
//! hang, memory in proportion to the bytes; and an answer that agrees with itself. Nothing here knows who makes the bytes:
//! `cargo test` mutates the frozen jobs' by a fixed seed, `targets/` lets libFuzzer look for them.
//!
//! * `frozen` - the jobs that every build reads, one of each format.
//! * `plain` - the same with side files that are not compressed.
//! * `seal` - digests of format 2 are taken last, so that what they speak of can be changed.
//! * `checkpoint` - a checkpoint as bytes, and how any bytes are cut into its entries.
//! * `side` - any bytes become a side file that an entry names with its right size and digest.
//! * `rows` - any bytes become rows of a side file: sound Parquet, any values.
//! * `model` - which files count, and the state of a row, said a second time and simply.
//! * `hold` - what must hold.
//! * `sink` - the same of claims and manifests.
//! * `seeds` - bytes to begin with.
//! * `components` - components of any bytes, from file to rows; `code` - what any bytes become within them, `smith` - the same
//!   for libFuzzer.

mod checkpoint;
mod code;
mod components;
mod frozen;
mod hold;
mod model;
mod plain;
mod rows;
mod seal;
mod seeds;
mod side;
mod sink;
#[cfg(feature = "smith")]
mod smith;

pub use components::{component_seeds, components};
pub use seeds::{entry_seeds, side_seeds, sink_seeds, write_seeds};
pub use sink::sink_documents;

/// The bytes are entries of a log: documents that end with a zero byte, each led by a byte that says where it belongs. `r`:
/// the next of the root, `g`: its genesis instead of the frozen job's, a digit: the next of that lane, `h`: a hole of as many
/// numbers as the decimal digits after the lane's say. `R`, `G`, and `A` to `F` for lanes: the same, as drafts of format 2,
/// below the genesis of the frozen job of that format. Side files that entries can name are the frozen jobs', as they are and
/// without compression.
pub fn entries(data: &[u8]) {
    hold::check(&checkpoint::Checkpoint::of_entries(data), Turn::of(data));
}

/// The bytes but the first are a side file, and the first says which one: of a job that is sound but for this file. A `2`
/// before all: of the job of format 2.
pub fn side_files(data: &[u8]) {
    if let Some(checkpoint) = side::checkpoint(data) {
        hold::check(&checkpoint, Turn::of(data));
    }
}

/// What takes long is looked at in turns, by a checksum of the bytes: each input has one, and any change of it another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// Whoever has read some entries before, and reads on, reads the same.
    Resume,
    /// A compaction changes nothing that a lane says.
    Compact,
    /// What a repair can withdraw is gone after it.
    Repair,
}

impl Turn {
    const ALL: [Turn; 3] = [Turn::Resume, Turn::Compact, Turn::Repair];

    fn of(data: &[u8]) -> Turn {
        let sum = data.iter().fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)));
        Turn::ALL[(sum % 3) as usize]
    }
}

#[cfg(test)]
mod tests;
