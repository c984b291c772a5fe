//! One Parquet file as it is written: row groups that end where their bytes, rows, or dictionaries are enough.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::basic::{Compression as ParquetCompression, GzipLevel, ZstdLevel};
use parquet::errors::Result;
use parquet::file::properties::WriterProperties;

use super::encode::RowGroups;
use super::narrow::Narrow;
use crate::annotations::Written;
use crate::format::{EncodeError, Encoder, OutputFormat};

/// Rows of a row group.
const ROW_GROUP_ROWS_MAX: usize = 1024 * 1024;

/// Of Parquet pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Level 1: small and fast.
    Zstd,
    /// Faster, larger.
    Snappy,
    /// Faster, larger.
    Lz4,
    /// Slower, for readers that have no other.
    Gzip,
    /// As they are.
    None,
}

impl Compression {
    fn parquet(self) -> ParquetCompression {
        match self {
            Compression::Zstd => ParquetCompression::ZSTD(ZstdLevel::default()),
            Compression::Snappy => ParquetCompression::SNAPPY,
            Compression::Lz4 => ParquetCompression::LZ4_RAW,
            Compression::Gzip => ParquetCompression::GZIP(GzipLevel::default()),
            Compression::None => ParquetCompression::UNCOMPRESSED,
        }
    }
}

/// How Parquet files are written.
#[derive(Clone, Copy, Debug)]
pub struct ParquetOutput {
    /// Of pages.
    pub compression: Compression,
    /// Encoded bytes of a row group, which ends early for wide rows; so many are in memory.
    pub row_group_bytes_max: usize,
}

impl OutputFormat for ParquetOutput {
    fn name(&self) -> &'static str {
        "parquet"
    }

    fn extension(&self) -> &'static str {
        "parquet"
    }

    /// Each is, or the plan was not made.
    fn check(&self, _: &SchemaRef) -> std::result::Result<(), EncodeError> {
        Ok(())
    }

    fn encoder(&self, schema: &SchemaRef) -> std::result::Result<Box<dyn Encoder>, EncodeError> {
        Ok(Box::new(Writer::new(*self, schema)?))
    }

    fn buffered_bytes_max(&self) -> usize {
        self.row_group_bytes_max
    }
}

struct Writer {
    row_groups: RowGroups,
    narrow: Narrow,
    row_group_bytes_max: usize,
    /// Of the open row group.
    rows: usize,
}

impl Writer {
    fn new(output: ParquetOutput, schema: &SchemaRef) -> Result<Writer> {
        let properties = WriterProperties::builder()
            .set_compression(output.compression.parquet())
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS_MAX))
            .set_created_by(concat!("wasmpipe ", env!("CARGO_PKG_VERSION")).into());
        let written = Written::new(schema)?;
        let row_groups = RowGroups::new(&Arc::clone(schema), written.options(properties))?;
        let narrow = Narrow::new(written.values_max());
        Ok(Writer { row_groups, narrow, row_group_bytes_max: output.row_group_bytes_max, rows: 0 })
    }

    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut rest = batch.clone();
        loop {
            let rows = self.narrow.fitting(&rest).min(ROW_GROUP_ROWS_MAX - self.rows);
            self.row_groups.write(&rest.slice(0, rows))?;
            self.rows += rows;
            if rows == rest.num_rows() {
                break;
            }
            self.end_row_group()?;
            rest = rest.slice(rows, rest.num_rows() - rows);
        }
        if self.row_groups.open_bytes() > self.row_group_bytes_max { self.end_row_group() } else { Ok(()) }
    }

    fn end_row_group(&mut self) -> Result<()> {
        self.narrow.clear();
        self.rows = 0;
        self.row_groups.end_row_group()
    }
}

impl Encoder for Writer {
    fn write(&mut self, batch: &RecordBatch) -> std::result::Result<(), EncodeError> {
        Ok(self.add(batch)?)
    }

    fn encoded(&mut self) -> &mut Vec<u8> {
        self.row_groups.encoded()
    }

    fn bytes(&self) -> u64 {
        (self.row_groups.bytes_written() + self.row_groups.open_bytes()) as u64
    }

    fn close(self: Box<Self>) -> std::result::Result<Vec<u8>, EncodeError> {
        Ok(self.row_groups.close()?)
    }
}
