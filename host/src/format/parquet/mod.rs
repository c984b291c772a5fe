//! Parquet files. A unit is a row group.
//!
//! * `footer` - what stands at a file's end.
//! * `readings` - the types in which a file's columns are read.
//! * `pages` - where columns lie, and which of them cannot be read.
//! * `thrift` - the little of a footer that the Parquet crate does not tell.
//! * `read` - the rows of a row group that are wanted, batch by batch.
//! * `chunks` - bytes of columns, fetched by windows; `stream` - their pages, one after another.
//! * `lengths` - what a page says of its rows and texts before it is decoded.
//! * `decode` - pages become batches.
//! * `estimate` - how many rows are decoded at a time.
//! * `twice` - values of which no Arrow type holds all, exactly.
//! * `write` - a file as it is written; `encode` - row groups become bytes, columns one after another where there are very
//!   many; `narrow` - where a row group ends for its dictionaries' sake.

mod chunks;
mod decode;
mod encode;
mod estimate;
mod footer;
mod lengths;
mod narrow;
mod pages;
mod read;
mod readings;
mod stream;
mod thrift;
mod twice;
mod write;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::file::statistics::Statistics;

use super::{AsyncRanges, Content, Edges, Format, FormatError, Opened, RowReader, Unit, Wanted};
use crate::block::Numbering;
use crate::{annotations, columns};
use footer::Footer;
use pages::first_byte;
use read::UnitReader;
use readings::Readings;
pub use write::{Compression, ParquetOutput};

/// What the Parquet crate puts before its words, once for each layer.
const LAYERS: [&str; 3] = ["Arrow: ", "Parquet argument error: ", "Parquet error: "];
/// The same crate's words for texts of more than 2 GiB in one batch.
const OVERFLOW: &str = "index overflow";
/// What to do about a file whose bytes are wrong.
const REPAIR: &str = "rows of it that are done stay done. Write the file again from where it came: a job with `id` goes on with the others; one \
                      that knows rows by position takes no other file in its place, and begins anew with another checkpoint and an \
                      empty sink. If other tools read the file, please report it with its `created_by`";

/// The format.
#[derive(Clone, Copy, Debug)]
pub struct Parquet;

/// What is known of a file by its footer.
#[derive(Debug)]
struct File {
    rows: u64,
    metadata: ArrowReaderMetadata,
    readings: Readings,
    /// Leaves that are encrypted.
    encrypted: Vec<usize>,
}

impl Format for Parquet {
    fn name(&self) -> &'static str {
        "parquet"
    }

    fn open<'a>(&'a self, ranges: &'a dyn AsyncRanges, edges: &'a Edges) -> BoxFuture<'a, Result<Opened, FormatError>> {
        async {
            let Footer { metadata, rows, identity, encrypted } = footer::read(ranges, edges).await?;
            let readings = Readings::new(Arc::new(metadata)).map_err(bad)?;
            let metadata = readings.once.clone();
            Ok(Opened { content: Arc::new(File { rows, metadata, readings, encrypted }), identity })
        }
        .boxed()
    }
}

impl Content for File {
    fn rows(&self) -> u64 {
        self.rows
    }

    fn numbering(&self) -> Numbering {
        Numbering::Rows
    }

    fn schema(&self) -> &SchemaRef {
        &self.readings.schema
    }

    fn annotated_schema(&self) -> Result<SchemaRef, FormatError> {
        let (plain, file) = (columns::plain_schema(self.schema()), self.metadata.metadata().file_metadata());
        annotations::annotated(&plain, &self.readings.original, file).map_err(bad)
    }

    fn ordered_columns(&self) -> Vec<&str> {
        let is_ordered = |field: &Field| field.dict_is_ordered() == Some(true);
        let fields = self.readings.original.fields().iter();
        fields.filter(|field| annotations::any(field, &is_ordered)).map(|field| field.name().as_str()).collect()
    }

    fn unreadable(&self) -> Vec<(&str, FormatError)> {
        self.packed().collect()
    }

    /// As the footer counts them, if it does.
    fn nulls(&self, column: &str) -> Option<u64> {
        let schema = self.metadata.parquet_schema();
        let leaf = schema.columns().iter().position(|leaf| leaf.path().parts() == [column.to_string()])?;
        let groups = self.metadata.metadata().row_groups().iter();
        groups.map(|group| group.column(leaf).statistics().and_then(Statistics::null_count_opt)).sum()
    }

    fn units(&self) -> Vec<Unit> {
        let mut start = 0;
        let mut units = Vec::new();
        for (number, metadata) in self.metadata.metadata().row_groups().iter().enumerate() {
            let end = start + u64::try_from(metadata.num_rows()).unwrap_or(0);
            let first_byte = metadata.columns().iter().map(first_byte).min().unwrap_or(0);
            units.push(Unit { number, rows: start..end, first_byte });
            start = end;
        }
        units
    }

    fn read<'a>(&'a self, wanted: Wanted<'a>) -> Box<dyn RowReader + 'a> {
        Box::new(UnitReader::new(self, wanted))
    }
}

impl File {
    /// A mask for the columns of `schema` that are there, and for each its place in what the mask lets through.
    fn projection(&self, schema: &Schema) -> (ProjectionMask, Vec<Option<usize>>) {
        let own = self.readings.schema.fields().iter().enumerate();
        let mut places = HashMap::with_capacity(own.len());
        for (place, field) in own {
            places.entry(field.name().as_str()).or_insert(place);
        }
        let wanted = schema.fields().iter().map(|field| places.get(field.name().as_str()).copied());
        let wanted: Vec<Option<usize>> = wanted.collect();
        let mut sorted: Vec<usize> = wanted.iter().flatten().copied().collect();
        sorted.sort_unstable();
        sorted.dedup();
        let place = |index: usize| sorted.binary_search(&index).expect("it is one of them");
        let places = wanted.iter().map(|index| index.map(place)).collect();
        (ProjectionMask::roots(self.metadata.parquet_schema(), sorted), places)
    }
}

/// The bytes of ranges that a file names, which may lie anywhere.
async fn get(ranges: &dyn AsyncRanges, wanted: &[Range<u64>]) -> Result<Vec<Bytes>, FormatError> {
    refuse_beyond(ranges.size(), wanted)?;
    ranges.get(wanted).await.map_err(FormatError::Unread)
}

fn refuse_beyond(size: u64, wanted: &[Range<u64>]) -> Result<(), FormatError> {
    let beyond = wanted.iter().find(|range| range.start > range.end || range.end > size);
    beyond.map_or(Ok(()), |range| {
        Err(bad(format_args!("its footer names bytes {} to {}, of {size}", range.start, range.end)))
    })
}

/// Whether more was decoded at once than one batch can hold.
fn is_overflow(error: &ArrowError) -> bool {
    error.to_string().contains(OVERFLOW)
}

/// Its bytes are wrong.
fn bad(message: impl ToString) -> FormatError {
    let mut message = message.to_string();
    while let Some(rest) = LAYERS.iter().find_map(|layer| message.strip_prefix(layer)) {
        message = rest.to_owned();
    }
    FormatError::Bad { message, hint: REPAIR }
}
