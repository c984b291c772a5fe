//! Two folders of Parquet files as multisets of rows: which file holds a row, and where, does not matter; how often
//! it is there does. Every row is known by 128 bits of BLAKE3 over Arrow's row encoding, which is injective for one
//! schema, so two different rows are taken for one with a chance below 10^-26 for a million rows.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::row::{RowConverter, SortField};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::Result;

const SHOWN_BYTES_MAX: usize = 100;

/// How many rows both folders hold. An error shows a row that they do not hold equally often.
pub(crate) fn same_rows(a: &Path, b: &Path) -> Result<u64> {
    let (of_a, of_b) = (Folder::read(a)?, Folder::read(b)?);
    of_a.same_columns(&of_b)?;
    let Some(hash) = a_difference(&of_a, &of_b) else {
        return Ok(of_a.rows);
    };
    let times = |folder: &Folder| folder.counts.get(&hash).copied().unwrap_or(0);
    let holder = if times(&of_a) > 0 { &of_a } else { &of_b };
    Err(format!(
        "{} holds {} rows, {} holds {}; this one is {} times in the first and {} times in the second:\n{}",
        a.display(),
        of_a.rows,
        b.display(),
        of_b.rows,
        times(&of_a),
        times(&of_b),
        holder.show(hash)?,
    )
    .into())
}

/// How many rows a folder of Parquet files holds.
pub(crate) fn row_count(folder: &Path) -> Result<u64> {
    let mut rows = 0;
    for file in parquet_files(folder)? {
        let metadata = ParquetRecordBatchReaderBuilder::try_new(File::open(file)?)?;
        rows += u64::try_from(metadata.metadata().file_metadata().num_rows())?;
    }
    Ok(rows)
}

/// Every file below a folder whose name ends in `.parquet`, in order.
pub(crate) fn parquet_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(parquet_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "parquet") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

struct Folder {
    path: PathBuf,
    schema: Option<SchemaRef>,
    counts: HashMap<u128, u64>,
    rows: u64,
}

impl Folder {
    fn read(path: &Path) -> Result<Folder> {
        let mut folder = Folder { path: path.to_owned(), schema: None, counts: HashMap::new(), rows: 0 };
        for file in parquet_files(path)? {
            for batch in batches(&file)? {
                folder.add(&batch?)?;
            }
        }
        Ok(folder)
    }

    fn add(&mut self, batch: &RecordBatch) -> Result {
        let schema = self.schema.get_or_insert_with(|| batch.schema());
        if columns(schema) != columns(&batch.schema()) {
            return Err(format!("{}: its files have different columns", self.path.display()).into());
        }
        for hash in hashes(batch)? {
            *self.counts.entry(hash).or_default() += 1;
            self.rows += 1;
        }
        Ok(())
    }

    fn same_columns(&self, other: &Folder) -> Result {
        if let (Some(mine), Some(others)) = (&self.schema, &other.schema)
            && columns(mine) != columns(others)
        {
            return Err(format!("the columns differ: {:?} and {:?}", columns(mine), columns(others)).into());
        }
        Ok(())
    }

    /// The row with this hash, read again for a person.
    fn show(&self, wanted: u128) -> Result<String> {
        for file in parquet_files(&self.path)? {
            for batch in batches(&file)? {
                let batch = batch?;
                if let Some(row) = hashes(&batch)?.into_iter().position(|hash| hash == wanted) {
                    return Ok(format!("  in {}\n{}", file.display(), show_row(&batch, row)?));
                }
            }
        }
        Err("the folder changed while it was read".into())
    }
}

fn a_difference(a: &Folder, b: &Folder) -> Option<u128> {
    let all = a.counts.keys().chain(b.counts.keys());
    all.copied().find(|hash| a.counts.get(hash) != b.counts.get(hash))
}

fn batches(file: &Path) -> Result<impl Iterator<Item = Result<RecordBatch>>> {
    let read = || -> Result<_> { Ok(ParquetRecordBatchReaderBuilder::try_new(File::open(file)?)?.build()?) };
    let reader = read().map_err(|e| format!("{}: {e}", file.display()))?;
    let name = file.to_owned();
    Ok(reader.map(move |batch| batch.map_err(|e| format!("{}: {e}", name.display()).into())))
}

fn columns(schema: &SchemaRef) -> Vec<(&str, &DataType)> {
    schema.fields().iter().map(|field| (field.name().as_str(), field.data_type())).collect()
}

fn hashes(batch: &RecordBatch) -> Result<Vec<u128>> {
    let fields = batch.columns().iter().map(|column| SortField::new(column.data_type().clone()));
    let rows = RowConverter::new(fields.collect())?.convert_columns(batch.columns())?;
    Ok(rows.iter().map(|row| first_128_bits(row.data())).collect())
}

fn first_128_bits(bytes: &[u8]) -> u128 {
    let hash = blake3::hash(bytes);
    u128::from_le_bytes(hash.as_bytes()[..16].try_into().expect("a hash has 32 bytes"))
}

fn show_row(batch: &RecordBatch, row: usize) -> Result<String> {
    let options = FormatOptions::default();
    let mut lines = Vec::new();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let value = ArrayFormatter::try_new(column, &options)?.value(row).to_string();
        let end = value.floor_char_boundary(SHOWN_BYTES_MAX);
        lines.push(format!("  {} = {:?}", field.name(), &value[..end]));
    }
    Ok(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int64Array;
    use parquet::arrow::ArrowWriter;

    use super::*;

    fn folder(files: &[&[i64]]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (number, values) in files.iter().enumerate() {
            let column = Arc::new(Int64Array::from(values.to_vec())) as _;
            let batch = RecordBatch::try_from_iter([("n", column)]).unwrap();
            let file = File::create(folder.path().join(format!("{number}.parquet"))).unwrap();
            let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
            writer.write(&batch).unwrap();
            writer.close().unwrap();
        }
        folder
    }

    fn compare(a: &[&[i64]], b: &[&[i64]]) -> std::result::Result<u64, String> {
        same_rows(folder(a).path(), folder(b).path()).map_err(|e| e.to_string())
    }

    #[test]
    fn order_and_files_do_not_matter() {
        assert_eq!(compare(&[&[1, 2], &[2, 3]], &[&[3, 2, 2, 1]]), Ok(4));
        assert_eq!(compare(&[], &[&[]]), Ok(0));
    }

    #[test]
    fn a_doubled_a_lost_and_a_changed_row_are_shown() {
        for (a, b) in [(&[1, 2, 2][..], &[1, 2][..]), (&[1], &[1, 2]), (&[1, 2], &[1, 1])] {
            let message = compare(&[a], &[b]).unwrap_err();
            assert!(message.contains("times in the first") && message.contains("n = "), "{message}");
        }
    }
}
