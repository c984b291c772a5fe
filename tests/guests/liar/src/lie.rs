//! The lies: what each makes of an honest binding or answer.

use std::iter;

use arrow_ipc::{Buffer, FieldNode};
use arrow_schema::{DataType, Field, Schema};
use serde::Deserialize;

use crate::exports::wasmpipe::udf::blocks::{Answer, Binding, Lineage, RowError};
use crate::message::{self, Batch};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Map,
    Filter,
    FlatMap,
}

/// Which lie to tell. Lies about a batch are for `liar_map` and `liar_flat_map`; about a bitmap for `liar_filter`; about
/// counts for `liar_flat_map`; about errors for all. A block needs two rows or more for each lie to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Lie {
    None,
    // In bind.
    NeedsUnknownColumn,
    NeedsTwice,
    NeedsNoMessage,
    NeedsRecordBatch,
    AddsTwice,
    AddsNoMessage,
    AddsTrailingBytes,
    // About the batch.
    RowMore,
    RowFewer,
    OtherSchema,
    ExtraColumn,
    MissingColumn,
    NullInNonNull,
    InvalidUtf8,
    OffsetsDescend,
    OffsetBeyondEnd,
    LengthHuge,
    LengthNegative,
    NodeLengthOther,
    BufferBeyondBody,
    BufferNegative,
    Compressed,
    BitFlip,
    TrailingBytes,
    Truncated,
    TwoMessages,
    SchemaMessage,
    NoMarker,
    MetadataSizeHuge,
    EmptyBatch,
    BatchWhereNone,
    // About the lineage.
    LineageOfOtherKind,
    KeptTooShort,
    KeptTooLong,
    KeptPaddingBits,
    CountsTooFew,
    CountsTooMany,
    CountsSumMore,
    CountsHuge,
    // About the errors.
    ErrorWithRows,
    ErrorOutOfRange,
    ErrorsDescend,
    ErrorsDoubled,
}

/// What to bind.
pub(crate) fn bind(kind: Kind, lie: Lie) -> Binding {
    let n = || Field::new("n", DataType::Int64, false);
    let m = || Field::new("m", DataType::Int64, false);
    let t = || Field::new("t", DataType::Utf8, false);
    let bytes = |fields: Vec<Field>| message::schema(&Schema::new(fields));
    let needs = match lie {
        Lie::NeedsUnknownColumn => bytes(vec![n(), Field::new("no such column", DataType::Int64, false)]),
        Lie::NeedsTwice => bytes(vec![n(), n()]),
        Lie::NeedsNoMessage => b"not a message".to_vec(),
        Lie::NeedsRecordBatch => honest_batch(2).to_bytes(),
        _ => bytes(vec![n()]),
    };
    let adds = match lie {
        Lie::AddsTwice => bytes(vec![m(), m()]),
        Lie::AddsNoMessage => b"not a message".to_vec(),
        Lie::AddsTrailingBytes => [bytes(vec![m(), t()]).as_slice(), &[0; 8]].concat(),
        _ if kind == Kind::Filter => bytes(vec![]),
        _ => bytes(vec![m(), t()]),
    };
    Binding { needs, adds }
}

/// What to answer to a block of `rows` rows.
pub(crate) fn answer(kind: Kind, lie: Lie, bit: u64, rows: u32) -> Answer {
    let (rows_usize, lineage) = (rows as usize, lineage(kind, lie, rows as usize));
    let batch = match kind {
        Kind::Filter if lie == Lie::BatchWhereNone => honest_batch(rows_usize).to_bytes(),
        Kind::Filter => vec![],
        Kind::Map | Kind::FlatMap => bytes(lie, bit, rows_usize),
    };
    Answer { batch, lineage, errors: errors(lie, rows) }
}

fn lineage(kind: Kind, lie: Lie, rows: usize) -> Lineage {
    match (kind, lie) {
        (Kind::Map, Lie::LineageOfOtherKind) => Lineage::Counts(vec![1; rows]),
        (Kind::Map, _) | (Kind::Filter | Kind::FlatMap, Lie::LineageOfOtherKind) => Lineage::Same,
        (Kind::Filter, _) => Lineage::Kept(kept(lie, rows)),
        (Kind::FlatMap, _) => Lineage::Counts(counts(lie, rows)),
    }
}

fn kept(lie: Lie, rows: usize) -> Vec<u8> {
    let mut bitmap = vec![0xFF; rows.div_ceil(8)];
    if let (Some(last), used @ 1..) = (bitmap.last_mut(), rows % 8) {
        *last = (1 << used) - 1;
    }
    match lie {
        Lie::KeptTooShort => drop(bitmap.pop()),
        Lie::KeptTooLong => bitmap.push(0),
        Lie::KeptPaddingBits => bitmap.fill(0xFF),
        _ => {}
    }
    bitmap
}

fn counts(lie: Lie, rows: usize) -> Vec<u32> {
    let mut counts = vec![1; rows];
    match lie {
        Lie::CountsTooFew => drop(counts.pop()),
        Lie::CountsTooMany => counts.push(0),
        Lie::CountsSumMore => counts.iter_mut().take(1).for_each(|count| *count = 2),
        Lie::CountsHuge => counts.fill(u32::MAX),
        _ => {}
    }
    counts
}

fn errors(lie: Lie, rows: u32) -> Vec<RowError> {
    let error = |row| RowError { row, message: format!("error for row {row}") };
    match lie {
        Lie::ErrorWithRows => vec![error(0)],
        Lie::ErrorOutOfRange => vec![error(rows)],
        Lie::ErrorsDescend => vec![error(1), error(0)],
        Lie::ErrorsDoubled => vec![error(0), error(0)],
        _ => vec![],
    }
}

fn bytes(lie: Lie, bit: u64, rows: usize) -> Vec<u8> {
    let mut bytes = batch(lie, rows).to_bytes();
    match lie {
        Lie::BitFlip => {
            let bit = bit % (bytes.len() as u64 * 8);
            bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
        }
        Lie::TrailingBytes => bytes.extend([0; 8]),
        Lie::Truncated => bytes.truncate(bytes.len() - 8),
        Lie::TwoMessages => bytes.extend_from_within(..),
        Lie::SchemaMessage => bytes = message::schema(&Schema::empty()),
        Lie::NoMarker => drop(bytes.drain(..4)),
        Lie::MetadataSizeHuge => bytes[4..8].fill(0x7F),
        Lie::EmptyBatch => bytes.clear(),
        _ => {}
    }
    bytes
}

fn batch(lie: Lie, rows: usize) -> Batch {
    let honest = honest_batch(rows);
    match lie {
        Lie::RowMore => honest_batch(rows + 1),
        Lie::RowFewer => honest_batch(rows.saturating_sub(1)),
        Lie::OtherSchema => Batch::new(rows).column(rows, &texts(rows)).column(rows, &ordinals(rows)),
        Lie::ExtraColumn => honest.column(rows, &ordinals(rows)),
        Lie::MissingColumn => Batch::new(rows).column(rows, &ordinals(rows)),
        Lie::NullInNonNull => first_is_null(rows),
        Lie::InvalidUtf8 => Batch { body: honest.body.iter().map(not_ok).collect(), ..honest },
        Lie::OffsetsDescend => with_offset(rows, 1, -2),
        Lie::OffsetBeyondEnd => with_offset(rows, rows, i32::MAX),
        Lie::LengthHuge => Batch { length: 1 << 40, nodes: vec![FieldNode::new(1 << 40, 0); 2], ..honest },
        Lie::LengthNegative => Batch { length: -1, nodes: vec![FieldNode::new(-1, 0); 2], ..honest },
        Lie::NodeLengthOther => Batch { nodes: vec![FieldNode::new(rows as i64 + 1, 0); 2], ..honest },
        Lie::BufferBeyondBody => with_buffer(honest, 1 << 40),
        Lie::BufferNegative => with_buffer(honest, -8),
        Lie::Compressed => Batch { is_compressed: true, ..honest },
        _ => honest,
    }
}

fn honest_batch(rows: usize) -> Batch {
    Batch::new(rows).column(rows, &ordinals(rows)).column(rows, &texts(rows))
}

fn ordinals(rows: usize) -> [Vec<u8>; 1] {
    [(0..rows as i64).flat_map(i64::to_le_bytes).collect()]
}

fn texts(rows: usize) -> [Vec<u8>; 2] {
    let offsets = (0..=rows as i32).map(|row| row * 2).flat_map(i32::to_le_bytes).collect();
    [offsets, b"ok".repeat(rows)]
}

// `o` occurs only in the texts as long as there are fewer than 55 rows; beyond that some ordinals change, too.
fn not_ok(byte: &u8) -> u8 {
    if *byte == b'o' { 0xFF } else { *byte }
}

fn with_offset(rows: usize, at: usize, offset: i32) -> Batch {
    let [mut offsets, bytes] = texts(rows);
    offsets[at * 4..at * 4 + 4].copy_from_slice(&offset.to_le_bytes());
    Batch::new(rows).column(rows, &ordinals(rows)).column(rows, &[offsets, bytes])
}

fn with_buffer(mut batch: Batch, offset: i64) -> Batch {
    batch.buffers[1] = Buffer::new(offset, batch.buffers[1].length());
    batch
}

fn first_is_null(rows: usize) -> Batch {
    let mut batch = honest_batch(rows);
    let validity: Vec<u8> = iter::once(0xFE).chain(iter::repeat_n(0xFF, rows / 8)).collect();
    batch.nodes[0] = FieldNode::new(rows as i64, 1);
    batch.buffers[0] = Buffer::new(batch.body.len() as i64, validity.len() as i64);
    batch.body.extend(validity);
    batch.body.resize(batch.body.len().next_multiple_of(8), 0);
    batch
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_can_be_honest() {
        let answer = answer(Kind::Map, Lie::None, 0, 3);
        assert_eq!(message::rows(&answer.batch), Ok(3));
        assert!(matches!(answer.lineage, Lineage::Same) && answer.errors.is_empty());
    }

    #[test]
    fn bitmaps() {
        assert_eq!(kept(Lie::None, 11), [0xFF, 0x07]);
        assert_eq!(kept(Lie::KeptPaddingBits, 11), [0xFF, 0xFF]);
        assert_eq!(kept(Lie::KeptTooShort, 11), [0xFF]);
    }

    #[test]
    fn no_lie_makes_the_guest_itself_fail() {
        let lies = ["row_more", "offsets_descend", "null_in_non_null", "bit_flip", "truncated", "metadata_size_huge"];
        for name in lies {
            let lie: Lie = serde_json::from_value(name.into()).expect(name);
            let honest = answer(Kind::FlatMap, Lie::None, 0, 9).batch;
            assert_ne!(answer(Kind::FlatMap, lie, 77, 9).batch, honest, "{name}");
        }
    }
}
