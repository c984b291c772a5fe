//! The lies: what each makes of an honest binding or answer.

use serde::Deserialize;

use crate::exports::wasmpipe::udf::blocks::Binding;
use crate::wasmpipe::udf::types::{Field, Lineage, Node, RowError};

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
    NeedsUnknownFormat,
    NeedsChildren,
    AddsTwice,
    AddsUnknownFormat,
    AddsDeep,
    AddsNothingWide,
    // About the number of answers.
    NoAnswer,
    TwoAnswers,
    // About the batch.
    RowMore,
    RowFewer,
    OtherSchema,
    ExtraColumn,
    MissingColumn,
    NullInNonNull,
    InvalidUtf8,
    OffsetsDescend,
    OffsetsFromOne,
    OffsetBeyondEnd,
    NodeLengthHuge,
    NodeLengthOther,
    NodeNulls,
    BufferShort,
    BufferLong,
    BufferMissing,
    BufferMore,
    BitFlip,
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
    let (n, m, t) = (field("n", "l", 0), field("m", "l", 0), field("t", "u", 0));
    let needs = match lie {
        Lie::NeedsUnknownColumn => vec![n, field("no such column", "l", 0)],
        Lie::NeedsTwice => vec![n.clone(), n],
        Lie::NeedsUnknownFormat => vec![field("n", "\0", 0)],
        Lie::NeedsChildren => vec![field("n", "+l", 1)],
        _ => vec![n],
    };
    let adds = match lie {
        Lie::AddsTwice => vec![m.clone(), m],
        Lie::AddsUnknownFormat => vec![field("m", "vu", 0)],
        Lie::AddsDeep => vec![field("m", "+l", 1); 9_999],
        Lie::AddsNothingWide => vec![field("m", "w:0", 0)],
        _ if kind == Kind::Filter => vec![],
        _ => vec![m, t],
    };
    Binding { needs, adds }
}

fn field(name: &str, format: &str, children: u32) -> Field {
    Field { name: name.to_owned(), format: format.to_owned(), nullable: false, children, metadata: vec![] }
}

/// Answers a block of `rows` rows.
pub(crate) fn tell(kind: Kind, lie: Lie, bit: u64, rows: u32) {
    let batch = match kind {
        Kind::Filter if lie == Lie::BatchWhereNone => honest_batch(rows as usize),
        Kind::Filter => Batch::default(),
        Kind::Map | Kind::FlatMap => batch(lie, bit, rows as usize),
    };
    let times = match lie {
        Lie::NoAnswer => 0,
        Lie::TwoAnswers => 2,
        _ => 1,
    };
    for _ in 0..times {
        answer(&batch, &lineage(kind, lie, rows as usize), &errors(lie, rows));
    }
}

#[cfg(target_arch = "wasm32")]
fn answer(batch: &Batch, lineage: &Lineage, errors: &[RowError]) {
    crate::wasmpipe::udf::host::answer(&batch.nodes, &batch.buffers, lineage, errors);
}

#[cfg(not(target_arch = "wasm32"))]
fn answer(_: &Batch, _: &Lineage, _: &[RowError]) {}

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

/// Columns as they cross.
#[derive(Clone, Debug, Default)]
struct Batch {
    nodes: Vec<Node>,
    buffers: Vec<Vec<u8>>,
}

impl Batch {
    fn column(mut self, rows: usize, buffers: impl IntoIterator<Item = Vec<u8>>) -> Batch {
        self.nodes.push(Node { length: rows as u32, nulls: 0 });
        self.buffers.push(vec![]);
        self.buffers.extend(buffers);
        self
    }
}

fn batch(lie: Lie, bit: u64, rows: usize) -> Batch {
    let mut batch = honest_batch(rows);
    match lie {
        Lie::RowMore => batch = honest_batch(rows + 1),
        Lie::RowFewer => batch = honest_batch(rows.saturating_sub(1)),
        Lie::OtherSchema => batch = Batch::default().column(rows, texts(rows)).column(rows, ordinals(rows)),
        Lie::ExtraColumn => batch = batch.column(rows, ordinals(rows)),
        Lie::MissingColumn => batch = Batch::default().column(rows, ordinals(rows)),
        Lie::NullInNonNull => first_is_null(&mut batch, rows),
        Lie::InvalidUtf8 => batch.buffers[TEXTS][rows] = 0xFF,
        Lie::OffsetsDescend => batch.buffers[OFFSETS][4..8].copy_from_slice(&(-2_i32).to_le_bytes()),
        Lie::OffsetsFromOne => batch.buffers[OFFSETS][..4].copy_from_slice(&1_i32.to_le_bytes()),
        Lie::OffsetBeyondEnd => batch.buffers[OFFSETS][rows * 4..].copy_from_slice(&i32::MAX.to_le_bytes()),
        Lie::NodeLengthHuge => batch.nodes[0].length = u32::MAX,
        Lie::NodeLengthOther => batch.nodes[1].length += 1,
        Lie::NodeNulls => batch.nodes[0].nulls = 1,
        Lie::BufferShort => drop(batch.buffers[TEXTS].pop()),
        Lie::BufferLong => batch.buffers[VALUES].push(0),
        Lie::BufferMissing => drop(batch.buffers.pop()),
        Lie::BufferMore => batch.buffers.push(vec![]),
        Lie::BitFlip => flip(&mut batch, bit),
        Lie::EmptyBatch => batch = Batch::default(),
        _ => {}
    }
    batch
}

/// Where the buffers of an honest batch stand.
const VALUES: usize = 1;
const OFFSETS: usize = 3;
const TEXTS: usize = 4;

fn honest_batch(rows: usize) -> Batch {
    Batch::default().column(rows, ordinals(rows)).column(rows, texts(rows))
}

fn ordinals(rows: usize) -> [Vec<u8>; 1] {
    [(0..rows as i64).flat_map(i64::to_le_bytes).collect()]
}

fn texts(rows: usize) -> [Vec<u8>; 2] {
    let offsets = (0..=rows as i32).map(|row| row * 2).flat_map(i32::to_le_bytes).collect();
    [offsets, b"ok".repeat(rows)]
}

fn first_is_null(batch: &mut Batch, rows: usize) {
    batch.nodes[0].nulls = 1;
    batch.buffers[0] = vec![0xFF; rows.div_ceil(8)];
    batch.buffers[0][0] = 0xFE;
}

fn flip(batch: &mut Batch, bit: u64) {
    let size: usize = batch.buffers.iter().map(Vec::len).sum();
    let mut at = (bit / 8) as usize % size.max(1);
    for buffer in &mut batch.buffers {
        if let Some(byte) = buffer.get_mut(at) {
            *byte ^= 1 << (bit % 8);
            return;
        }
        at -= buffer.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bitmaps() {
        assert_eq!(kept(Lie::None, 11), [0xFF, 0x07]);
        assert_eq!(kept(Lie::KeptPaddingBits, 11), [0xFF, 0xFF]);
        assert_eq!(kept(Lie::KeptTooShort, 11), [0xFF]);
    }

    #[test]
    fn every_lie_about_the_batch_is_one() {
        let lies = [
            "row_more",
            "row_fewer",
            "other_schema",
            "extra_column",
            "missing_column",
            "null_in_non_null",
            "invalid_utf8",
            "offsets_descend",
            "offsets_from_one",
            "offset_beyond_end",
            "node_length_huge",
            "node_length_other",
            "node_nulls",
            "buffer_short",
            "buffer_long",
            "buffer_missing",
            "buffer_more",
            "bit_flip",
            "empty_batch",
        ];
        for name in lies {
            let lie: Lie = serde_json::from_value(name.into()).expect(name);
            assert_ne!(format!("{:?}", batch(lie, 77, 9)), format!("{:?}", honest_batch(9)), "{name}");
        }
    }
}
