//! A file of JSON Lines as it is written.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::encode::{Nulls, check, encode};
use crate::format::compression::Compression;
use crate::format::compression::pack::Pack;
use crate::format::{EncodeError, Encoder, OutputFormat};

/// How files of JSON Lines are written.
#[derive(Clone, Copy, Debug)]
pub struct JsonLinesOutput {
    /// Of the file: it is one member of gzip, or one frame of zstd.
    pub compression: Compression,
    /// What stands for null.
    pub nulls: Nulls,
    /// Bytes of a file that may be in memory before they are durable.
    pub buffered_bytes_max: usize,
}

impl OutputFormat for JsonLinesOutput {
    fn name(&self) -> &'static str {
        "jsonl"
    }

    fn extension(&self) -> &'static str {
        match self.compression {
            Compression::None => "jsonl",
            Compression::Gzip => "jsonl.gz",
            Compression::Zstd => "jsonl.zst",
        }
    }

    fn check(&self, schema: &SchemaRef) -> Result<(), EncodeError> {
        Ok(check(schema)?)
    }

    fn encoder(&self, schema: &SchemaRef) -> Result<Box<dyn Encoder>, EncodeError> {
        self.check(schema)?;
        let pack = Pack::new(self.compression, None)?;
        Ok(Box::new(Writer { nulls: self.nulls, pack, lines: Vec::new(), packed: Vec::new(), bytes: 0 }))
    }

    fn buffered_bytes_max(&self) -> usize {
        self.buffered_bytes_max
    }
}

struct Writer {
    nulls: Nulls,
    pack: Pack,
    /// Of one batch.
    lines: Vec<u8>,
    packed: Vec<u8>,
    /// Packed so far, with what was taken.
    bytes: u64,
}

impl Encoder for Writer {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), EncodeError> {
        self.lines.clear();
        if let Some((_, refusal)) = encode(batch, self.nulls, &mut self.lines).into_iter().next() {
            return Err(refusal.to_string().into());
        }
        let before = self.packed.len();
        self.pack.write(&self.lines, &mut self.packed)?;
        self.bytes += (self.packed.len() - before) as u64;
        Ok(())
    }

    fn encoded(&mut self) -> &mut Vec<u8> {
        &mut self.packed
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn close(mut self: Box<Self>) -> Result<Vec<u8>, EncodeError> {
        self.pack.end(&mut self.packed)?;
        Ok(self.packed)
    }
}
