//! Any bytes become rows of a side file: Parquet is sound, values are any. So what values mean is reached without guessing
//! at an encoding.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

/// The most rows that bytes become.
const ROWS_MAX: usize = 64;

/// A column: its name and what its values are made of.
#[derive(Clone, Copy)]
pub(crate) struct Column(pub(crate) &'static str, pub(crate) Values);

#[derive(Clone, Copy)]
pub(crate) enum Values {
    /// Unsigned numbers.
    Number,
    /// Unsigned numbers, or none.
    NumberOrNone,
    /// Signed numbers.
    Signed,
    /// One of these texts.
    Text(&'static [&'static str]),
    /// One of these texts, or none.
    TextOrNone(&'static [&'static str]),
}

/// A byte per value, row by row.
pub(crate) fn parquet(columns: &[Column], data: &[u8]) -> Bytes {
    let rows: Vec<&[u8]> = data.chunks_exact(columns.len()).take(ROWS_MAX).collect();
    let fields = columns.iter().map(|Column(name, values)| {
        let (data_type, is_nullable) = match values {
            Values::Number => (DataType::UInt64, false),
            Values::NumberOrNone => (DataType::UInt64, true),
            Values::Signed => (DataType::Int64, false),
            Values::Text(_) => (DataType::Utf8, false),
            Values::TextOrNone(_) => (DataType::Utf8, true),
        };
        Field::new(*name, data_type, is_nullable)
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let arrays = columns.iter().enumerate().map(|(at, Column(_, values))| {
        let bytes = rows.iter().map(|row| row[at]);
        match values {
            Values::Number => Arc::new(bytes.map(number).collect::<UInt64Array>()) as ArrayRef,
            Values::NumberOrNone => Arc::new(bytes.map(number_or_none).collect::<UInt64Array>()),
            Values::Signed => Arc::new(bytes.map(|byte| number(byte) as i64).collect::<Int64Array>()),
            Values::Text(texts) => Arc::new(bytes.map(|byte| Some(text(texts, byte))).collect::<StringArray>()),
            Values::TextOrNone(texts) => {
                Arc::new(bytes.map(|byte| (byte != NONE).then(|| text(texts, byte))).collect::<StringArray>())
            }
        }
    });
    write(&RecordBatch::try_new(schema, arrays.collect()).expect("columns as in the schema"), is_packed(data))
}

/// As side files are written, or without compression, where a change of a byte is a change of a value.
pub(crate) fn write(batch: &RecordBatch, is_packed: bool) -> Bytes {
    let zstd = ZstdLevel::try_new(1).expect("a level");
    let compression = if is_packed { Compression::ZSTD(zstd) } else { Compression::UNCOMPRESSED };
    let properties = WriterProperties::builder().set_dictionary_enabled(false).set_compression(compression).build();
    let write = || {
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties))?;
        writer.write(batch)?;
        writer.into_inner()
    };
    Bytes::from(write().expect("written to memory"))
}

fn is_packed(data: &[u8]) -> bool {
    data.len().is_multiple_of(2)
}

const NONE: u8 = 255;

fn number_or_none(byte: u8) -> Option<u64> {
    (byte != NONE).then(|| number(byte))
}

/// Small numbers, and those at which others end.
fn number(byte: u8) -> u64 {
    const ENDS: [u64; 8] =
        [u64::MAX, u64::MAX - 1, 1 << 63, i64::MAX as u64, 1 << 33, 1 << 32, u32::MAX as u64, 1 << 20];
    usize::from(byte).checked_sub(240).and_then(|at| ENDS.get(at)).copied().unwrap_or(u64::from(byte))
}

fn text(texts: &'static [&'static str], byte: u8) -> &'static str {
    texts[usize::from(byte) % texts.len()]
}
