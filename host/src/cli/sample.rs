//! Rows from a Parquet file, in the types that a pipeline would give them, and rows into one.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;

use super::Refused;
use super::new_file::NewFile;
use crate::block::batch_bytes;
use crate::columns;
use crate::message::Message;

/// Some rows of a file, most often its first.
pub(super) struct Sample {
    pub rows: RecordBatch,
    /// Rows that the file has in all.
    pub rows_in_file: u64,
}

/// How much of a file is wanted.
#[derive(Clone, Copy)]
pub(super) struct Limit {
    /// Rows that are left out before.
    pub skip: usize,
    pub rows: usize,
    /// No further batch is read when there are so many.
    pub bytes: usize,
}

/// Reads rows, in the file's order.
pub(super) fn read(path: &Path, limit: Limit) -> Result<Sample, Refused> {
    let refused =
        |what: String| Refused::new(format!("{} cannot be read: {what}", path.display()), "name a Parquet file");
    let closed = |error: io::Error| {
        let hint = "check that it is there, and that this user may read it";
        Refused::new(format!("{} cannot be read: {error}", path.display()), hint)
    };
    let file = File::open(path).map_err(closed)?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| refused(error.to_string()))?;
    let schema = columns::plain_schema(builder.schema());
    let rows_in_file = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);
    if limit.skip > 0 && limit.skip as u64 >= rows_in_file {
        return Err(Refused::new(
            format!("{} has {rows_in_file} rows, and --skip leaves out {}", path.display(), limit.skip),
            "rows are counted from 0",
        ));
    }
    let reader =
        builder.with_offset(limit.skip).with_limit(limit.rows).build().map_err(|error| refused(error.to_string()))?;
    let mut batches = Vec::new();
    let mut bytes = 0;
    for batch in reader {
        let batch = batch.and_then(|batch| columns::convert_all(batch.columns(), &schema, batch.num_rows()));
        let batch = batch.map_err(|error| refused(error.to_string()))?;
        bytes += batch_bytes(&batch);
        batches.push(batch);
        if bytes >= limit.bytes {
            break;
        }
    }
    let rows = concat_batches(&schema, &batches).map_err(|error| refused(error.to_string()))?;
    Ok(Sample { rows, rows_in_file })
}

/// Writes a file of its own, replacing what was there when it is complete.
pub(super) fn write(
    path: &Path,
    schema: &SchemaRef,
    batches: impl Iterator<Item = Result<RecordBatch, ArrowError>>,
) -> Result<(), Refused> {
    let refused = |what: String| {
        let hint = "name a file in a folder that is there, that this user may write to, and that has room";
        Refused::new(format!("{} cannot be written: {what}", path.display()), hint)
    };
    let file = NewFile::at(path).map_err(|error| Refused(Message::brief(&error)))?;
    let written = file.write(|out| {
        let mut writer = ArrowWriter::try_new(out, Arc::clone(schema), None)?;
        for batch in batches {
            writer.write(&batch?)?;
        }
        writer.close().map(drop)
    });
    written.map_err(|error: ParquetError| refused(error.to_string()))
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, IntervalMonthDayNanoArray};

    use super::*;

    #[test]
    fn what_cannot_be_written_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.parquet");
        let good: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let write = |column| {
            let batch = RecordBatch::try_from_iter([("n", column)]).unwrap();
            write(&path, &batch.schema(), [Ok(batch.clone())].into_iter())
        };
        write(good).unwrap();
        // Parquet has no such type.
        let bad: ArrayRef = Arc::new(IntervalMonthDayNanoArray::from(vec![None]));
        write(bad).unwrap_err();
        let limit = Limit { skip: 0, rows: 10, bytes: usize::MAX };
        assert_eq!(read(&path, limit).unwrap().rows.num_rows(), 3);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
