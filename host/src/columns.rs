//! Column types: which convert into which without losing anything, and the conversion. Used wherever a type was agreed
//! once and data of another type arrives: id columns, what a function needs, files of one source that differ.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::util::display::FormatOptions;

/// Whether every value of `from` has exactly one counterpart in `to`. Values that overflow a finer time unit are found
/// by [`convert`].
pub fn converts(from: &DataType, to: &DataType) -> bool {
    use DataType::*;
    match (from, to) {
        (Dictionary(_, value), to) => converts(value, to),
        (Utf8 | LargeUtf8 | Utf8View, Utf8 | LargeUtf8 | Utf8View) => true,
        (Binary | LargeBinary | BinaryView, Binary | LargeBinary | BinaryView) => true,
        (FixedSizeBinary(_), Binary | LargeBinary) => true,
        (Int8, Int16 | Int32 | Int64) | (Int16, Int32 | Int64) | (Int32, Int64) => true,
        (UInt8, UInt16 | UInt32 | UInt64 | Int16 | Int32 | Int64) => true,
        (UInt16, UInt32 | UInt64 | Int32 | Int64) | (UInt32, UInt64 | Int64) => true,
        (Float32, Float64) => true,
        (Timestamp(coarse, from_zone), Timestamp(fine, to_zone)) => from_zone == to_zone && finer(*coarse, *fine),
        (from, to) => from.equals_datatype(to),
    }
}

fn finer(coarse: TimeUnit, fine: TimeUnit) -> bool {
    let rank = |unit| match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 1,
        TimeUnit::Microsecond => 2,
        TimeUnit::Nanosecond => 3,
    };
    rank(coarse) <= rank(fine)
}

/// Converts a column to a type for which [`converts`] holds. An error if a value does not fit.
pub fn convert(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    if column.data_type() == to {
        return Ok(Arc::clone(column));
    }
    let options = CastOptions { safe: false, format_options: FormatOptions::default() };
    cast_with_options(column, to, &options)
}

/// The given columns of a batch, converted to the fields of `schema`, one by one.
pub fn convert_all(columns: &[ArrayRef], schema: &SchemaRef, rows: usize) -> Result<RecordBatch, ArrowError> {
    let converted: Result<Vec<ArrayRef>, ArrowError> =
        columns.iter().zip(schema.fields()).map(|(column, field)| convert(column, field.data_type())).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), converted?, &options)
}

/// The schema that a job works with, given that of a file: plain types where the file has encodings of them, every
/// column nullable, no metadata.
pub fn plain_schema(schema: &Schema) -> SchemaRef {
    let plain = |field: &Arc<Field>| Field::new(field.name(), plain_type(field.data_type()), true);
    Arc::new(Schema::new(schema.fields().iter().map(plain).collect::<Vec<_>>()))
}

fn plain_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, value) => plain_type(value),
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Array, Int32Array, TimestampMillisecondArray};

    #[test]
    fn only_what_loses_nothing_converts() {
        use DataType::*;
        let dictionary = Dictionary(Box::new(Int32), Box::new(Utf8));
        for (from, to) in [(&Int32, &Int64), (&UInt32, &Int64), (&Float32, &Float64), (&dictionary, &LargeUtf8)] {
            assert!(converts(from, to), "{from} -> {to}");
        }
        for (from, to) in [(&Int64, &Int32), (&Int64, &Float64), (&UInt64, &Int64), (&Utf8, &Binary), (&Int64, &Utf8)] {
            assert!(!converts(from, to), "{from} -> {to}");
        }
    }

    #[test]
    fn a_time_that_does_not_fit_is_an_error_and_not_null() {
        let column: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![i64::MAX]));
        assert!(convert(&column, &DataType::Timestamp(TimeUnit::Nanosecond, None)).is_err());
        let small: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None]));
        assert_eq!(convert(&small, &DataType::Int64).unwrap().null_count(), 1);
    }
}
