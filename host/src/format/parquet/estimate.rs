//! How many rows are decoded at a time.
//!
//! The footer says what pages take when they are unpacked. That is less than what they become where values are in a
//! dictionary, and nothing else says how much before the pages are there (see `stream`). So a unit begins with as many rows
//! as its footer allows, and has fewer as soon as pages say so, or a batch turns out larger than they said.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use parquet::arrow::ProjectionMask;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};

use super::File;
use super::decode::Fault;
use super::stream::{self, Limits};
use crate::block::batch_bytes;
use crate::format::{BlockSize, Rows, Unit};

/// A batch may have so many blocks' bytes before it is decoded again with fewer rows.
const BATCH_BLOCKS_MAX: u64 = 4;
/// Blocks that a batch with fewer rows is to have.
const BATCH_BLOCKS: u64 = 2;
/// Runs of rows that are shorter on average are decoded with the rows between, which are dropped then.
const SHORT_RUN: u64 = 64;

impl BlockSize {
    /// What a batch may take.
    pub(super) fn limits(&self) -> Limits {
        let bytes = self.bytes_max as u64;
        Limits { bytes_max: bytes.saturating_mul(BATCH_BLOCKS_MAX), aim: bytes.saturating_mul(BATCH_BLOCKS) }
    }
}

/// Decoded bytes of an average row, by the footer.
pub(super) fn row_bytes(file: &File, unit: &Unit, read: &ProjectionMask) -> u64 {
    let group = file.metadata.metadata().row_group(unit.number);
    let bytes = chunks(group, read).map(decoded_bytes).fold(0, u64::saturating_add);
    let rows = unit.rows.end - unit.rows.start;
    (bytes / rows.max(1)).max(1)
}

fn chunks<'a>(group: &'a RowGroupMetaData, read: &'a ProjectionMask) -> impl Iterator<Item = &'a ColumnChunkMetaData> {
    let columns = group.columns().iter().enumerate();
    columns.filter(|(leaf, _)| read.leaf_included(*leaf)).map(|(_, chunk)| chunk)
}

/// Whatever of it is known.
fn decoded_bytes(chunk: &ColumnChunkMetaData) -> u64 {
    let known = |bytes: i64| u64::try_from(bytes).unwrap_or(0);
    let values = known(chunk.num_values()).saturating_mul(stream::width(chunk.column_descr()));
    let texts = known(chunk.unencoded_byte_array_data_bytes().unwrap_or(0));
    known(chunk.uncompressed_size()).max(values.saturating_add(texts))
}

/// Rows of a batch.
pub(super) struct BatchRows {
    pub rows: u64,
    /// By the footer.
    first: u64,
    bytes_max: u64,
}

impl BatchRows {
    pub fn new(size: &BlockSize, row_bytes: u64) -> BatchRows {
        let first = (size.bytes_max as u64 / row_bytes).clamp(1, (size.rows_max as u64).max(1));
        BatchRows { rows: first, first, bytes_max: size.bytes_max as u64 }
    }

    /// Whether there are fewer than the footer allows.
    pub fn is_reduced(&self) -> bool {
        self.rows < self.first
    }

    pub fn reduce(&mut self, rows: u64) {
        self.rows = rows.clamp(1, self.rows);
    }

    /// After a batch: follows what pages allow and what the batch has. Answers whether that is another number.
    pub fn adapt(&mut self, fitting: u64, gathered: &Gathered) -> bool {
        let measured = gathered.bytes / gathered.rows.max(1);
        let allowed = (self.bytes_max.saturating_mul(BATCH_BLOCKS) / measured.max(1)).min(fitting).clamp(1, self.first);
        let is_far = allowed >= self.rows.saturating_mul(4) || allowed.saturating_mul(2) <= self.rows;
        if is_far {
            self.rows = allowed;
        }
        is_far
    }

    /// With what is dropped again, it has no more.
    pub fn of(&self, wanted: &Rows) -> usize {
        let span = wanted.span();
        let is_short = span / (wanted.ranges().len() as u64).max(1) < SHORT_RUN;
        let rows = if is_short { self.rows.saturating_mul(wanted.len()) / span.max(1) } else { self.rows };
        usize::try_from(rows.max(1)).unwrap_or(usize::MAX)
    }
}

/// Batches that become one.
#[derive(Default)]
pub(super) struct Gathered {
    batches: Vec<RecordBatch>,
    pub rows: u64,
    bytes: u64,
}

impl Gathered {
    /// Takes a batch. Answers whether there is room for another like it.
    pub fn take(&mut self, batch: RecordBatch, size: &BlockSize) -> bool {
        let (rows, bytes) = (batch.num_rows() as u64, batch_bytes(&batch) as u64);
        self.rows += rows;
        self.bytes += bytes;
        self.batches.push(batch);
        let (rows_max, bytes_max) = (size.rows_max as u64, size.bytes_max as u64);
        self.rows + rows <= rows_max && self.bytes + bytes <= bytes_max && bytes <= bytes_max / 4
    }

    pub fn joined(self) -> Result<RecordBatch, Fault> {
        match self.batches.as_slice() {
            [batch] => Ok(batch.clone()),
            batches => {
                let schema = batches[0].schema();
                concat_batches(&schema, batches).map_err(|error| Fault::Bytes(error.to_string()))
            }
        }
    }
}
