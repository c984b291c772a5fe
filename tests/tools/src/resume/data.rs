//! The job of the published benchmark: Parquet files with one string column `id`, and a checkpoint in Ray Data's form, a
//! folder of Parquet files with the ids that are done. The ids are the numbers from 0 as text; the first four fifths are done.
//! Same scale, same bytes.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::DataType;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use crate::Result;
use crate::compare::parquet_files;
use crate::job::remove;

const FILES: u64 = 10_000;
const ROWS_PER_FILE: u64 = 10_000;
/// Of the checkpoint.
const LISTS: u64 = 800;
const IDS_PER_LIST: u64 = 100_000;

/// The data in a folder: `source/`, `checkpoint/`.
pub(crate) struct Data {
    folder: PathBuf,
    scale: u64,
}

impl Data {
    /// Makes the data, if they were not made before; one `scale`th of the published size.
    pub(crate) fn ensure(below: &Path, scale: u64) -> Result<Data> {
        let data = Data { folder: below.join(format!("scale-{scale}")), scale };
        let made = data.folder.join("made");
        if !made.is_file() {
            remove(&data.folder)?;
            data.make()?;
            std::fs::write(made, "")?;
        }
        Ok(data)
    }

    pub(crate) fn source(&self) -> PathBuf {
        self.folder.join("source")
    }

    pub(crate) fn checkpoint(&self) -> PathBuf {
        self.folder.join("checkpoint")
    }

    pub(crate) fn rows(&self) -> u64 {
        FILES / self.scale * ROWS_PER_FILE
    }

    pub(crate) fn rows_done(&self) -> u64 {
        LISTS / self.scale * IDS_PER_LIST
    }

    /// Reads every file once, so that the next reader finds them in memory.
    pub(crate) fn warm(&self) -> Result<u64> {
        let mut bytes = 0;
        for file in [parquet_files(&self.source())?, parquet_files(&self.checkpoint())?].concat() {
            bytes += std::fs::read(file)?.len() as u64;
        }
        Ok(bytes)
    }

    fn make(&self) -> Result {
        eprintln!("making {} rows and a checkpoint of {} ids, once", self.rows(), self.rows_done());
        std::fs::create_dir_all(self.source())?;
        std::fs::create_dir_all(self.checkpoint())?;
        for file in 0..FILES / self.scale {
            let ids = file * ROWS_PER_FILE..(file + 1) * ROWS_PER_FILE;
            write(&self.source().join(format!("{file:05}.parquet")), ids)?;
        }
        for list in 0..LISTS / self.scale {
            // Ray Data names them by chance: the order of the names is not that of the ids.
            let name = &blake3::hash(&list.to_le_bytes()).to_hex()[..32];
            let ids = list * IDS_PER_LIST..(list + 1) * IDS_PER_LIST;
            write(&self.checkpoint().join(format!("{name}.parquet")), ids)?;
        }
        Ok(())
    }

    /// Whether a folder of Parquet files holds every id that is not done exactly once, and no other.
    pub(crate) fn verify(&self, out: &Path) -> Result {
        let mut left = Left::new(self.rows_done()..self.rows());
        for file in parquet_files(out)? {
            let name = |e: &dyn std::fmt::Display| format!("{}: {e}", file.display());
            for batch in ParquetRecordBatchReaderBuilder::try_new(File::open(&file)?)?.build()? {
                left.take(&batch.map_err(|e| name(&e))?).map_err(|e| name(&e))?;
            }
        }
        left.finish()
    }
}

fn write(path: &Path, ids: Range<u64>) -> Result {
    let column: ArrayRef = Arc::new(StringArray::from_iter_values(ids.map(|id| id.to_string())));
    let batch = RecordBatch::try_from_iter([("id", column)])?;
    // As pyarrow does it unless told otherwise.
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer = ArrowWriter::try_new(File::create(path)?, batch.schema(), Some(properties))?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(())
}

/// Numbers that were not found yet.
struct Left {
    wanted: Range<u64>,
    is_found: Vec<bool>,
}

impl Left {
    fn new(wanted: Range<u64>) -> Left {
        let count = (wanted.end - wanted.start) as usize;
        Left { wanted, is_found: vec![false; count] }
    }

    fn take(&mut self, batch: &RecordBatch) -> Result {
        let column = batch.column_by_name("id").ok_or("there is no column `id`")?;
        let column = arrow::compute::cast(column, &DataType::Utf8)?;
        column.as_string::<i32>().iter().try_for_each(|id| self.take_one(id.ok_or("an id is null")?))
    }

    fn take_one(&mut self, id: &str) -> Result {
        let number: u64 = id.parse().map_err(|_| format!("`{id}` is in no input"))?;
        if !self.wanted.contains(&number) || number.to_string() != id {
            return Err(format!("id {id} should not be in the output").into());
        }
        let is_found = &mut self.is_found[(number - self.wanted.start) as usize];
        if std::mem::replace(is_found, true) {
            return Err(format!("id {id} is in the output twice").into());
        }
        Ok(())
    }

    fn finish(self) -> Result {
        match self.is_found.iter().position(|is_found| !is_found) {
            Some(at) => Err(format!("id {} is missing in the output", self.wanted.start + at as u64).into()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_doubled_or_too_many_is_named() {
        let check = |ids: &[Range<u64>]| {
            let folder = tempfile::tempdir().unwrap();
            let data = Data { folder: folder.path().join("data"), scale: 100 };
            let out = folder.path().join("out");
            std::fs::create_dir(&out).unwrap();
            for (number, ids) in ids.iter().enumerate() {
                write(&out.join(format!("{number}.parquet")), ids.clone()).unwrap();
            }
            data.verify(&out).map_err(|e| e.to_string())
        };
        let (from, to) = (800_000, 1_000_000);
        assert_eq!(check(&[from..900_000, 900_000..to]), Ok(()));
        assert!(check(&[from..900_000, 900_001..to]).unwrap_err().contains("id 900000 is missing"));
        assert!(check(&[from..900_001, 900_000..to]).unwrap_err().contains("id 900000 is in the output twice"));
        assert!(check(&[from - 1..from, from..to]).unwrap_err().contains("id 799999 should not be in the output"));
        assert!(check(&[from..to, to..to + 1]).unwrap_err().contains("id 1000000 should not be in the output"));
    }
}
