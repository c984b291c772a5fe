//! Batches become the bytes of a Parquet file. A writer of a column takes 100 KB before it has a row, and all columns of a
//! row group have theirs at once. Where there are thousands, rows of a row group are kept as they came, and its columns are
//! encoded a few at a time at its end.

use std::io;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, ArrowWriterOptions, compute_leaves};
use parquet::errors::Result;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::Type;

use crate::block::batch_bytes;

/// With more columns than that, counted with those within others, they are encoded a few at a time.
const COLUMNS_MAX: usize = 512;
/// Columns that are encoded at a time then.
const COLUMNS_AT_ONCE: usize = 64;

/// Of batches that are joined.
const JOINED_ROWS_MAX: usize = 4096;
const JOINED_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A writer of one file.
pub(super) enum RowGroups {
    /// All columns of a row group at once, as rows come.
    Rows(ArrowWriter<Vec<u8>>),
    /// A few columns at a time.
    Columns(Columns),
}

/// What is encoded of a file, and the rows of its open row group.
pub(super) struct Columns {
    writer: SerializedFileWriter<Vec<u8>>,
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    bytes: usize,
}

impl RowGroups {
    pub fn new(schema: &SchemaRef, options: ArrowWriterOptions) -> Result<RowGroups> {
        let writer = ArrowWriter::try_new_with_options(Vec::new(), Arc::clone(schema), options)?;
        let (writer, _) = match is_wide(schema) {
            false => return Ok(RowGroups::Rows(writer)),
            true => writer.into_serialized_writer()?,
        };
        let (schema, batches) = (Arc::clone(schema), Vec::new());
        Ok(RowGroups::Columns(Columns { writer, schema, batches, bytes: 0 }))
    }

    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        match self {
            RowGroups::Rows(writer) => writer.write(batch)?,
            RowGroups::Columns(columns) => columns.keep(batch)?,
        }
        Ok(())
    }

    /// Bytes of the open row group.
    pub fn open_bytes(&self) -> usize {
        match self {
            RowGroups::Rows(writer) => writer.in_progress_size(),
            RowGroups::Columns(columns) => columns.bytes,
        }
    }

    /// Bytes of the file without the open row group.
    pub fn bytes_written(&self) -> usize {
        match self {
            RowGroups::Rows(writer) => writer.bytes_written(),
            RowGroups::Columns(columns) => columns.writer.bytes_written(),
        }
    }

    /// Ends the open row group.
    pub fn end_row_group(&mut self) -> Result<()> {
        match self {
            RowGroups::Rows(writer) => writer.flush(),
            RowGroups::Columns(columns) => columns.end_row_group(),
        }
    }

    /// What of the file was not taken yet.
    pub fn encoded(&mut self) -> &mut Vec<u8> {
        match self {
            RowGroups::Rows(writer) => writer.inner_mut(),
            RowGroups::Columns(columns) => columns.writer.inner_mut(),
        }
    }

    /// The same to the file's end.
    pub fn close(self) -> Result<Vec<u8>> {
        match self {
            RowGroups::Rows(writer) => writer.into_inner(),
            RowGroups::Columns(mut columns) => {
                columns.end_row_group()?;
                columns.writer.into_inner()
            }
        }
    }
}

/// Whether a file's columns are too many to be encoded at once.
pub(super) fn is_wide(schema: &Schema) -> bool {
    schema.fields().iter().map(leaves).sum::<usize>() > COLUMNS_MAX
}

/// Columns of Parquet that a column becomes.
fn leaves(field: &FieldRef) -> usize {
    use arrow::datatypes::DataType::{FixedSizeList, LargeList, List, Map, Struct};
    match field.data_type() {
        Struct(fields) => fields.iter().map(leaves).sum(),
        List(item) | LargeList(item) | FixedSizeList(item, _) | Map(item, _) => leaves(item),
        _ => 1,
    }
}

impl Columns {
    /// Of few rows, an array of a column is mostly what it takes by itself: they are joined as they come, each with those of as
    /// many rows.
    fn keep(&mut self, batch: &RecordBatch) -> Result<()> {
        self.bytes += batch_bytes(batch);
        self.batches.push(batch.clone());
        while let [.., before, last] = self.batches.as_slice()
            && last.num_rows() * 2 > before.num_rows()
            && last.num_rows() + before.num_rows() <= JOINED_ROWS_MAX
            && self.bytes <= JOINED_BYTES_MAX
        {
            let joined = concat_batches(&self.schema, [before, last])?;
            self.batches.truncate(self.batches.len() - 2);
            self.batches.push(joined);
        }
        Ok(())
    }

    fn end_row_group(&mut self) -> Result<()> {
        let batches = std::mem::take(&mut self.batches);
        self.bytes = 0;
        if batches.is_empty() {
            return Ok(());
        }
        let (root, properties) = (self.writer.schema_descr().root_schema_ptr(), Arc::clone(self.writer.properties()));
        let mut group = self.writer.next_row_group()?;
        for first in (0..self.schema.fields().len()).step_by(COLUMNS_AT_ONCE) {
            let places: Vec<usize> = (first..self.schema.fields().len().min(first + COLUMNS_AT_ONCE)).collect();
            // A file of these columns alone, of which nothing is written, has writers for them.
            let fields = places.iter().map(|place| Arc::clone(&root.get_fields()[*place])).collect();
            let some = Arc::new(Type::group_type_builder(root.name()).with_fields(fields).build()?);
            let file = SerializedFileWriter::new(io::sink(), some, Arc::clone(&properties))?;
            let schema = Arc::new(self.schema.project(&places)?);
            let writers = ArrowRowGroupWriterFactory::new(&file, schema).create_column_writers(0)?;
            encode(&self.schema, &places, &batches, writers, &mut group)?;
        }
        group.close().map(drop)
    }
}

/// Encodes some columns of a row group, which are the next of it.
fn encode(
    schema: &Schema,
    places: &[usize],
    batches: &[RecordBatch],
    writers: Vec<ArrowColumnWriter>,
    group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
) -> Result<()> {
    let mut writers = writers.into_iter();
    for &place in places {
        let field = &schema.fields()[place];
        let mut own: Vec<ArrowColumnWriter> = writers.by_ref().take(leaves(field)).collect();
        for batch in batches {
            for (leaf, writer) in compute_leaves(field, batch.column(place))?.iter().zip(&mut own) {
                writer.write(leaf)?;
            }
        }
        for writer in own {
            writer.close()?.append_to_row_group(group)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int32Array, ListArray, StringArray, StructArray};
    use arrow::datatypes::{DataType, Field, Int32Type};
    use bytes::Bytes;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;

    /// Plain columns, and after each tenth a list and a struct.
    fn batch(first: i32) -> RecordBatch {
        let numbers = Int32Array::from_iter((0..3).map(|row| (row != 1).then_some(first + row)));
        let texts = StringArray::from_iter_values((0..3).map(|row| format!("text {}", first + row)));
        let lists =
            ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(first), None]), None, Some(vec![])]);
        let field = |name: &str, data_type: DataType| Arc::new(Field::new(name, data_type, true));
        let pair: Vec<(FieldRef, ArrayRef)> = vec![
            (field("a", DataType::Int32), Arc::new(numbers.clone())),
            (field("b", DataType::Utf8), Arc::new(texts)),
        ];
        let of_kind = |kind: usize| -> ArrayRef {
            match kind % 12 {
                10 => Arc::new(lists.clone()),
                11 => Arc::new(StructArray::from(pair.clone())),
                _ => Arc::new(numbers.clone()),
            }
        };
        RecordBatch::try_from_iter_with_nullable((0..1100).map(|place| (format!("c{place}"), of_kind(place), true)))
            .unwrap()
    }

    #[test]
    fn many_columns_are_encoded_a_few_at_a_time() {
        let batches = [batch(0), batch(10), batch(20)];
        let schema = batches[0].schema();
        let mut encoder = RowGroups::new(&schema, ArrowWriterOptions::new()).unwrap();
        assert!(matches!(encoder, RowGroups::Columns(_)));
        assert!(!is_wide(&schema.project(&[0, 10, 11]).unwrap()));
        encoder.write(&batches[0]).unwrap();
        encoder.write(&batches[1]).unwrap();
        assert!(encoder.open_bytes() > 2 * 3 * 4 * 1000);
        encoder.end_row_group().unwrap();
        assert_eq!(encoder.open_bytes(), 0);
        encoder.write(&batches[2]).unwrap();
        let bytes = Bytes::from(encoder.close().unwrap());
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
        assert_eq!(reader.metadata().num_row_groups(), 2);
        let read: Vec<RecordBatch> = reader.build().unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(concat_batches(&schema, &read).unwrap(), concat_batches(&schema, &batches).unwrap());
    }
}
