//! Formats: an object's bytes become batches, and batches the bytes of a file. Nothing here knows a store, a source or a
//! plan: whoever reads gives the bytes of ranges, and gets batches with the rows that they hold; whoever writes gives batches,
//! and takes bytes.
//!
//! * `rows` - which rows of an object, and how many at a time.
//! * `arrange` - columns of a decoded batch in the order and types that are wanted.
//! * `sniff` - what a file is, by its first and last bytes.
//! * `parquet` - Parquet files: row groups, read page by page.
//! * `jsonl` - JSON Lines: bytes, lines, batches.
//! * `compression` - whole objects that are compressed.
//!
//! A format that is read is a [`Format`]; what it knows of one object is a [`Content`]; rows of one unit of it come from a
//! [`RowReader`]. One that is written is an [`OutputFormat`], and each file has its [`Encoder`].

mod arrange;
pub mod compression;
pub mod jsonl;
pub mod parquet;
mod rows;
mod sniff;

use std::error::Error;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::block::Numbering;

pub use rows::{BlockSize, Left, Rows};

/// Of what is read row by row, a request asks for no more: several at a time are faster, and memory is free again sooner.
pub const REQUEST_BYTES: u64 = 8 << 20;

/// Why bytes could not be had, in the words and the type of who was asked for them.
pub type Unread = Box<dyn Error + Send + Sync>;

/// The bytes of one object, which stays as it is while it is read, for who opens it.
pub trait AsyncRanges: Sync {
    /// The object's name, for the log.
    fn name(&self) -> &str;

    /// Bytes of the object.
    fn size(&self) -> u64;

    /// What the store calls this content; another one under the same name is called otherwise. Empty if it does not say.
    fn version(&self) -> String;

    /// The bytes of each range, in order. What lies near to each other may be one request.
    fn get<'a>(&'a self, ranges: &'a [Range<u64>]) -> BoxFuture<'a, Result<Vec<Bytes>, Unread>>;
}

/// The same for a thread that may wait, and reads row by row.
pub trait Ranges: Send + Sync {
    /// Bytes of the object.
    fn size(&self) -> u64;

    /// The bytes of each range, in order. Of what is kept in memory with the ranges, and was not asked for, there is no more
    /// than of what was.
    fn wait(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, Unread>;
}

/// An object that is in memory.
impl AsyncRanges for Bytes {
    fn name(&self) -> &'static str {
        "bytes in memory"
    }

    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn version(&self) -> String {
        String::new()
    }

    fn get<'a>(&'a self, ranges: &'a [Range<u64>]) -> BoxFuture<'a, Result<Vec<Bytes>, Unread>> {
        std::future::ready(self.wait(ranges)).boxed()
    }
}

impl Ranges for Bytes {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn wait(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, Unread> {
        Ok(ranges.iter().map(|range| self.slice(range.start as usize..range.end as usize)).collect())
    }
}

/// Why an object cannot be read.
#[derive(Debug)]
pub enum FormatError {
    /// Its bytes could not be had.
    Unread(Unread),
    /// The bytes are not what the format says, or what is read here.
    Bad {
        /// What is wrong.
        message: String,
        /// What to do.
        hint: &'static str,
    },
    /// A value does not fit the column that is wanted.
    Differs {
        /// What does not fit.
        message: String,
        /// What to do.
        hint: &'static str,
    },
}

/// How the bytes of an object are read.
pub trait Format: fmt::Debug + Send + Sync {
    /// As people write it: `parquet`.
    fn name(&self) -> &'static str;

    /// Reads what comes before the rows. `edges` are the object's first and last bytes, which often are enough.
    fn open<'a>(&'a self, ranges: &'a dyn AsyncRanges, edges: &'a Edges) -> BoxFuture<'a, Result<Opened, FormatError>>;
}

/// The first and the last bytes of an object, up to [`Edges::BYTES`] each. In a small object they overlap.
#[derive(Clone, Debug, Default)]
pub struct Edges {
    /// The first.
    pub head: Bytes,
    /// The last.
    pub tail: Bytes,
}

impl Edges {
    /// Bytes of either, if the object has as many.
    pub const BYTES: u64 = 64 * 1024;

    /// Whether they are all of an object of so many bytes.
    pub fn are_all(size: u64) -> bool {
        size <= 2 * Edges::BYTES
    }

    /// Where they lie in an object of so many bytes.
    pub fn of(size: u64) -> [Range<u64>; 2] {
        [0..size.min(Edges::BYTES), size.saturating_sub(Edges::BYTES)..size]
    }
}

/// An object whose beginning was understood.
#[derive(Debug)]
pub struct Opened {
    /// What is known of it.
    pub content: Arc<dyn Content>,
    /// Bytes beside the edges that go into the object's digest.
    pub identity: Option<Bytes>,
}

/// What is known of an object before its rows are read.
pub trait Content: fmt::Debug + Send + Sync {
    /// Rows of the whole object; of a text its positions, at some of which there may be no row.
    fn rows(&self) -> u64;

    /// What the ordinals of its rows count.
    fn numbering(&self) -> Numbering;

    /// Its columns as they are read.
    fn schema(&self) -> &SchemaRef;

    /// Its columns in plain types, with everything that the object says of them beside the types.
    fn annotated_schema(&self) -> Result<SchemaRef, FormatError>;

    /// Columns that have ordered dictionaries somewhere, whose order is lost.
    fn ordered_columns(&self) -> Vec<&str>;

    /// Columns that nobody here can read, with why.
    fn unreadable(&self) -> Vec<(&str, FormatError)>;

    /// Nulls in a column, if that is known without reading it.
    fn nulls(&self, column: &str) -> Option<u64>;

    /// The parts that can be read by themselves, in order.
    fn units(&self) -> Vec<Unit>;

    /// Reads rows of one unit.
    fn read<'a>(&'a self, wanted: Wanted<'a>) -> Box<dyn RowReader + 'a>;
}

/// A part of an object that is read by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Its ordinal.
    pub number: usize,
    /// Row ordinals in the object.
    pub rows: Range<u64>,
    /// Where its first byte lies in the object.
    pub first_byte: u64,
}

/// What is wanted of a unit.
pub struct Wanted<'a> {
    /// Which one.
    pub unit: &'a Unit,
    /// The columns, in their order and types; one that the object lacks is null.
    pub schema: SchemaRef,
    /// The rows, which lie in the unit.
    pub rows: Rows,
    /// How much at a time.
    pub size: BlockSize,
    /// The object's bytes.
    pub ranges: Arc<dyn Ranges>,
}

/// Gives out the wanted rows of one unit, batch by batch.
pub trait RowReader {
    /// What comes next; none at the end. May wait for the store.
    fn next(&mut self) -> Result<Option<Read>, FormatError>;
}

/// What was read at once. Every wanted position is in one of its parts, once over all reads of a unit.
pub struct Read {
    /// Rows.
    pub batch: RecordBatch,
    /// Which they are.
    pub rows: Rows,
    /// Positions at which there is no row.
    pub blank: Rows,
    /// Lines that are no rows, though each should be one, in order.
    pub bad: Vec<BadLine>,
}

impl Read {
    /// Rows alone.
    fn rows(batch: RecordBatch, rows: Rows) -> Read {
        Read { batch, rows, blank: Rows::default(), bad: Vec::new() }
    }
}

/// A line that is no row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Its position.
    pub row: u64,
    /// What is wrong with it.
    pub message: String,
    /// What to do.
    pub hint: &'static str,
    /// The line without its end; of one that is too long the first bytes.
    pub line: Bytes,
}

/// A batch could not be encoded.
pub type EncodeError = Box<dyn Error + Send + Sync>;

/// How names of files end that formats write, without the dot.
pub const EXTENSIONS: [&str; 4] = ["parquet", "jsonl", "jsonl.gz", "jsonl.zst"];

/// How a file is read that says at its end how many rows it has, by its name. What has no footer proves that by its digest alone.
pub fn with_footer(name: &str) -> Option<&'static dyn Format> {
    name.ends_with(".parquet").then_some(&parquet::Parquet)
}

/// How files are written.
pub trait OutputFormat: fmt::Debug + Send + Sync {
    /// As people write it: `parquet`.
    fn name(&self) -> &'static str;

    /// How names of files end, without the dot.
    fn extension(&self) -> &'static str;

    /// Whether columns can be written.
    fn check(&self, schema: &SchemaRef) -> Result<(), EncodeError>;

    /// A new file of these columns.
    fn encoder(&self, schema: &SchemaRef) -> Result<Box<dyn Encoder>, EncodeError>;

    /// Bytes of a file that an encoder keeps before it gives them out, about.
    fn buffered_bytes_max(&self) -> usize;
}

/// Batches become the bytes of one file.
pub trait Encoder: Send {
    /// Adds rows.
    fn write(&mut self, batch: &RecordBatch) -> Result<(), EncodeError>;

    /// What is encoded and was not taken yet; taken from its front.
    fn encoded(&mut self) -> &mut Vec<u8>;

    /// Bytes of the file so far, with those that are not given out yet, about.
    fn bytes(&self) -> u64;

    /// What is left up to the file's end.
    fn close(self: Box<Self>) -> Result<Vec<u8>, EncodeError>;
}

#[cfg(test)]
mod tests {
    use super::compression::Compression;
    use super::jsonl::{encode::Nulls, write::JsonLinesOutput};
    use super::parquet::{Compression as OfPages, ParquetOutput};
    use super::*;

    /// A file whose name nobody knows would be nobody's.
    #[test]
    fn all_extensions_are_known() {
        let lines = |compression| -> Box<dyn OutputFormat> {
            Box::new(JsonLinesOutput { compression, nulls: Nulls::Written, buffered_bytes_max: 0 })
        };
        let mut outputs =
            [Compression::None, Compression::Gzip, Compression::Zstd].map(lines).into_iter().collect::<Vec<_>>();
        outputs.push(Box::new(ParquetOutput { compression: OfPages::None, row_group_bytes_max: 1 }));
        let mut written: Vec<&str> = outputs.iter().map(|output| output.extension()).collect();
        let mut known = EXTENSIONS.to_vec();
        written.sort_unstable();
        known.sort_unstable();
        assert_eq!(written, known);
    }
}
