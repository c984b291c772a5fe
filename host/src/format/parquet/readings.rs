//! The types in which a file's columns are read: plain ones, whatever its own Arrow schema says of dictionaries and views,
//! whose encodings a file with more values than were foreseen breaks. And two types of Parquet of which no Arrow type holds
//! all: INT96, the timestamps of older systems, 96 bits, is read as seconds and as nanoseconds, which alone come around beyond
//! the years 1677 to 2262; INTERVAL as months and as days and milliseconds. `twice` joins them.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, IntervalUnit, Schema, SchemaRef, TimeUnit};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::basic::{ConvertedType, Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::schema::types::SchemaDescriptor;

use super::twice::INTERVAL_BYTES;
use crate::annotations::{has_arrow_schema, map_children, plain_type, retyped};

/// How a file is read, by its footer.
#[derive(Clone, Debug)]
pub(super) struct Readings {
    /// Each column's type.
    pub schema: SchemaRef,
    /// Reads all columns that are not read twice.
    pub once: ArrowReaderMetadata,
    /// The types that the file's own Arrow schema gives.
    pub original: SchemaRef,
    /// None if all columns are read once.
    pub twice: Option<Twice>,
}

/// The same footer, with each half of what is read twice.
#[derive(Clone, Debug)]
pub(super) struct Twice {
    /// Nanoseconds; days and milliseconds.
    pub first: ArrowReaderMetadata,
    /// Seconds; months.
    pub second: ArrowReaderMetadata,
    /// Columns with such values.
    pub columns: Vec<usize>,
}

/// What a schema is for.
#[derive(Clone, Copy)]
enum Role {
    /// What columns are.
    Declared,
    First,
    Second,
}

impl Readings {
    pub fn new(footer: Arc<ParquetMetaData>) -> Result<Readings, ParquetError> {
        let original = Arc::clone(as_written(&footer)?.schema());
        let file = footer.file_metadata();
        let has_units = has_arrow_schema(file);
        let typed = |role: Role| {
            let mut walk = Walk { parquet: file.schema_descr(), has_units, role, leaf: 0 };
            Arc::new(walk.schema(&original))
        };
        let read = |role: Role| {
            let options = ArrowReaderOptions::new().with_schema(typed(role));
            ArrowReaderMetadata::try_new(Arc::clone(&footer), options)
        };
        let first = read(Role::First)?;
        let columns = columns_of_twice(file.schema_descr(), has_units);
        let (schema, once) = (typed(Role::Declared), first.clone());
        let second = (!columns.is_empty()).then(|| read(Role::Second)).transpose()?;
        let twice = second.map(|second| Twice { first, second, columns });
        Ok(Readings { schema, once, original, twice })
    }
}

/// An Arrow schema that does not fit its file is a hint that nobody has to take.
fn as_written(footer: &Arc<ParquetMetaData>) -> Result<ArrowReaderMetadata, ParquetError> {
    ArrowReaderMetadata::try_new(Arc::clone(footer), ArrowReaderOptions::new()).or_else(|_| {
        ArrowReaderMetadata::try_new(Arc::clone(footer), ArrowReaderOptions::new().with_skip_arrow_metadata(true))
    })
}

fn columns_of_twice(parquet: &SchemaDescriptor, has_units: bool) -> Vec<usize> {
    let leaves = 0..parquet.num_columns();
    let mut roots: Vec<usize> = leaves
        .filter(|&leaf| is_int96(parquet, leaf) || (!has_units && is_interval(parquet, leaf)))
        .map(|leaf| parquet.get_column_root_idx(leaf))
        .collect();
    roots.dedup();
    roots
}

fn is_int96(parquet: &SchemaDescriptor, leaf: usize) -> bool {
    parquet.column(leaf).physical_type() == Type::INT96
}

fn is_interval(parquet: &SchemaDescriptor, leaf: usize) -> bool {
    parquet.column(leaf).converted_type() == ConvertedType::INTERVAL
}

/// Goes through the leaves of a schema in their order, which is that of Parquet's.
struct Walk<'a> {
    parquet: &'a SchemaDescriptor,
    /// Whether an Arrow schema says which unit the writer had.
    has_units: bool,
    role: Role,
    leaf: usize,
}

impl Walk<'_> {
    fn schema(&mut self, original: &Schema) -> Schema {
        let fields: Fields = original.fields().iter().map(|field| Arc::new(self.field(field))).collect();
        Schema::new_with_metadata(fields, original.metadata().clone())
    }

    fn field(&mut self, field: &FieldRef) -> Field {
        retyped(field, self.data_type(field.data_type()))
    }

    fn data_type(&mut self, data_type: &DataType) -> DataType {
        if data_type.is_nested() && !matches!(data_type, DataType::Dictionary(..)) {
            return map_children(data_type, |_, field| self.field(field));
        }
        let leaf = self.leaf;
        self.leaf += 1;
        match plain_type(data_type) {
            DataType::Timestamp(unit, zone) if is_int96(self.parquet, leaf) => {
                DataType::Timestamp(self.unit_of_int96(unit), zone)
            }
            DataType::Interval(_) if !self.has_units => self.interval(),
            plain => plain,
        }
    }

    /// That of the writer, or that of Spark, which holds each day that Spark has.
    fn unit_of_int96(&self, unit: TimeUnit) -> TimeUnit {
        match self.role {
            Role::Declared if self.has_units => unit,
            Role::Declared => TimeUnit::Microsecond,
            Role::First => TimeUnit::Nanosecond,
            Role::Second => TimeUnit::Second,
        }
    }

    fn interval(&self) -> DataType {
        match self.role {
            Role::Declared => DataType::FixedSizeBinary(INTERVAL_BYTES),
            Role::First => DataType::Interval(IntervalUnit::DayTime),
            Role::Second => DataType::Interval(IntervalUnit::YearMonth),
        }
    }
}
