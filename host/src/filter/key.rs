//! Id columns become keys of the id file: injective, and so that values which are near each other stay so.
//!
//! ```text
//! integers, dates, times, timestamps, decimals of up to 16 bytes   the number, sign bit flipped if signed
//! bool, fixed-size binary of up to 16 bytes                        the number, most significant byte first
//! strings                                                          as they are
//! binary, longer fixed-size binary, decimals of 32 bytes           their bytes
//! several columns                                                  as strings, one behind the other, each closed:
//!   numbers                                                        in decimal, then 00
//!   strings, binary                                                each 00 as 00 FF, then 00 00
//! ```
//!
//! No type is written: the types are fixed in the job's genesis. Floats are not ids: two spellings of one number would be two rows,
//! and NaN none.

use std::fmt::Display;
use std::io::Write;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, FixedSizeBinaryArray, RecordBatch};
use arrow::datatypes::*;
use wasmpipe_ids::Column;

/// The keys of a batch of ids; strings stay where they are.
#[derive(Debug)]
pub enum Keys<'a> {
    /// Numbers of up to 8 bytes.
    Numbers(Vec<u64>),
    /// Numbers of up to 16 bytes.
    WideNumbers(Vec<u128>),
    /// The batch's own strings.
    Strings(Column<'a>),
    /// Keys of several columns: where each ends, behind a 0; and their bytes.
    Composite(Vec<i64>, Vec<u8>),
    /// Keys of fixed-size binary.
    Binary(Vec<i64>, Vec<u8>),
}

/// Types that can be ids, for messages.
pub fn supported() -> &'static str {
    "integers, strings, binary, fixed-size binary, bool, dates, times, timestamps, decimals"
}

/// Whether a column of this type can be an id.
pub fn is_supported(data_type: &DataType) -> bool {
    use DataType::*;
    data_type.is_integer()
        || matches!(data_type, Utf8 | LargeUtf8 | Binary | LargeBinary | FixedSizeBinary(_) | Boolean)
        || matches!(data_type, Date32 | Date64 | Time32(_) | Time64(_) | Timestamp(_, _))
        || matches!(data_type, Decimal32(_, _) | Decimal64(_, _) | Decimal128(_, _) | Decimal256(_, _))
}

impl<'a> Keys<'a> {
    /// Encodes the rows of a batch whose columns are the ids, in order. No column may have a null.
    pub fn encode(ids: &'a RecordBatch) -> Keys<'a> {
        match ids.columns() {
            [column] => alone(column),
            columns => composite(columns, ids.num_rows()),
        }
    }

    /// As the id file takes them.
    pub fn column(&self) -> Column<'_> {
        match self {
            Keys::Numbers(numbers) => Column::Numbers(numbers),
            Keys::WideNumbers(numbers) => Column::WideNumbers(numbers),
            Keys::Strings(column) => *column,
            Keys::Composite(offsets, bytes) => Column::large_strings(offsets, bytes),
            Keys::Binary(offsets, bytes) => Column::large_strings(offsets, bytes).into_binary(),
        }
    }
}

fn alone(column: &ArrayRef) -> Keys<'_> {
    use DataType::*;
    match column.data_type() {
        Utf8 => {
            let strings = column.as_string::<i32>();
            Keys::Strings(Column::strings(strings.value_offsets(), strings.value_data()))
        }
        LargeUtf8 => {
            let strings = column.as_string::<i64>();
            Keys::Strings(Column::large_strings(strings.value_offsets(), strings.value_data()))
        }
        Binary => {
            let strings = column.as_binary::<i32>();
            Keys::Strings(Column::strings(strings.value_offsets(), strings.value_data()).into_binary())
        }
        LargeBinary => {
            let strings = column.as_binary::<i64>();
            Keys::Strings(Column::large_strings(strings.value_offsets(), strings.value_data()).into_binary())
        }
        FixedSizeBinary(width) => fixed(column.as_fixed_size_binary(), *width as usize),
        Boolean => Keys::Numbers(column.as_boolean().values().iter().map(u64::from).collect()),
        Decimal128(_, _) => {
            let flipped = |value: &i128| *value as u128 ^ 1 << 127;
            Keys::WideNumbers(column.as_primitive::<Decimal128Type>().values().iter().map(flipped).collect())
        }
        Decimal256(_, _) => {
            let values = column.as_primitive::<Decimal256Type>().values();
            binary(values.iter().map(|value| value.to_be_bytes()), values.len() * 32)
        }
        _ => Keys::Numbers(numbers(column)),
    }
}

fn fixed(column: &FixedSizeBinaryArray, width: usize) -> Keys<'_> {
    let values = (0..column.len()).map(|row| column.value(row));
    let number = |value: &[u8]| value.iter().fold(0u128, |number, byte| number << 8 | u128::from(*byte));
    match width {
        0..=8 => Keys::Numbers(values.map(|value| number(value) as u64).collect()),
        9..=16 => Keys::WideNumbers(values.map(number).collect()),
        _ => binary(values, column.len() * width),
    }
}

fn binary<'a, V: AsRef<[u8]>>(values: impl Iterator<Item = V>, capacity: usize) -> Keys<'a> {
    let (mut offsets, mut bytes) = (vec![0], Vec::with_capacity(capacity));
    for value in values {
        bytes.extend_from_slice(value.as_ref());
        offsets.push(bytes.len() as i64);
    }
    Keys::Binary(offsets, bytes)
}

/// Values of at most 8 bytes; signed ones with their sign bit flipped, so that they keep their order.
fn numbers(column: &ArrayRef) -> Vec<u64> {
    use DataType::*;
    use TimeUnit::*;
    match column.data_type() {
        Int8 => signed::<Int8Type>(column),
        Int16 => signed::<Int16Type>(column),
        Int32 => signed::<Int32Type>(column),
        Int64 => signed::<Int64Type>(column),
        UInt8 => unsigned::<UInt8Type>(column),
        UInt16 => unsigned::<UInt16Type>(column),
        UInt32 => unsigned::<UInt32Type>(column),
        UInt64 => unsigned::<UInt64Type>(column),
        Date32 => signed::<Date32Type>(column),
        Date64 => signed::<Date64Type>(column),
        Time32(Second) => signed::<Time32SecondType>(column),
        Time32(_) => signed::<Time32MillisecondType>(column),
        Time64(Microsecond) => signed::<Time64MicrosecondType>(column),
        Time64(_) => signed::<Time64NanosecondType>(column),
        Timestamp(Second, _) => signed::<TimestampSecondType>(column),
        Timestamp(Millisecond, _) => signed::<TimestampMillisecondType>(column),
        Timestamp(Microsecond, _) => signed::<TimestampMicrosecondType>(column),
        Timestamp(Nanosecond, _) => signed::<TimestampNanosecondType>(column),
        Decimal32(_, _) => signed::<Decimal32Type>(column),
        Decimal64(_, _) => signed::<Decimal64Type>(column),
        other => panic!("{other} ids are refused when the job is planned"),
    }
}

fn unsigned<T: ArrowPrimitiveType>(column: &ArrayRef) -> Vec<u64>
where
    T::Native: Into<u64>,
{
    column.as_primitive::<T>().values().iter().map(|value| (*value).into()).collect()
}

fn signed<T: ArrowPrimitiveType>(column: &ArrayRef) -> Vec<u64>
where
    T::Native: Into<i64>,
{
    column.as_primitive::<T>().values().iter().map(|value| (*value).into() as u64 ^ 1 << 63).collect()
}

/// Decimal text and closing zeros, so that keys which are made of small numbers are small numbers in the id file, too.
fn composite<'a>(columns: &[ArrayRef], rows: usize) -> Keys<'a> {
    let parts: Vec<Part<'_>> = columns.iter().map(part).collect();
    let (mut offsets, mut bytes) = (vec![0], Vec::new());
    for row in 0..rows {
        parts.iter().for_each(|part| part(row, &mut bytes));
        offsets.push(bytes.len() as i64);
    }
    Keys::Composite(offsets, bytes)
}

/// Writes a row's part of a key.
type Part<'a> = Box<dyn Fn(usize, &mut Vec<u8>) + 'a>;

fn part(column: &ArrayRef) -> Part<'_> {
    use DataType::*;
    match column.data_type() {
        Utf8 => escaped(|row| column.as_string::<i32>().value(row).as_bytes()),
        LargeUtf8 => escaped(|row| column.as_string::<i64>().value(row).as_bytes()),
        Binary => escaped(|row| column.as_binary::<i32>().value(row)),
        LargeBinary => escaped(|row| column.as_binary::<i64>().value(row)),
        FixedSizeBinary(_) => escaped(|row| column.as_fixed_size_binary().value(row)),
        Boolean => decimal(|row| u8::from(column.as_boolean().value(row))),
        Decimal128(_, _) => decimal(|row| column.as_primitive::<Decimal128Type>().value(row)),
        Decimal256(_, _) => decimal(|row| column.as_primitive::<Decimal256Type>().value(row)),
        UInt8 | UInt16 | UInt32 | UInt64 => {
            let numbers = numbers(column);
            decimal(move |row| numbers[row])
        }
        _ => {
            let numbers = numbers(column);
            decimal(move |row| (numbers[row] ^ 1 << 63) as i64)
        }
    }
}

fn decimal<'a, V: Display>(value: impl Fn(usize) -> V + 'a) -> Part<'a> {
    Box::new(move |row, out| write!(out, "{}\0", value(row)).expect("a vector takes everything"))
}

fn escaped<'a>(value: impl Fn(usize) -> &'a [u8] + 'a) -> Part<'a> {
    Box::new(move |row, out| {
        for &byte in value(row) {
            out.push(byte);
            if byte == 0 {
                out.push(0xFF);
            }
        }
        out.extend_from_slice(&[0, 0]);
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{BinaryArray, Int32Array, Int64Array, StringArray, UInt64Array};
    use std::sync::Arc;

    fn batch(columns: Vec<ArrayRef>) -> RecordBatch {
        let fields =
            columns.iter().enumerate().map(|(i, column)| Field::new(i.to_string(), column.data_type().clone(), false));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        RecordBatch::try_new(schema, columns).unwrap()
    }

    fn composite_keys(columns: Vec<ArrayRef>) -> Vec<Vec<u8>> {
        let batch = batch(columns);
        let Keys::Composite(offsets, bytes) = Keys::encode(&batch) else { panic!("several columns") };
        offsets.windows(2).map(|pair| bytes[pair[0] as usize..pair[1] as usize].to_vec()).collect()
    }

    #[test]
    fn integers_sort_as_numbers() {
        let signed = batch(vec![Arc::new(Int64Array::from(vec![i64::MIN, -2, -1, 0, 1, i64::MAX]))]);
        assert!(matches!(Keys::encode(&signed), Keys::Numbers(numbers) if numbers.is_sorted_by(|a, b| a < b)));
        let unsigned = batch(vec![Arc::new(UInt64Array::from(vec![0, 1, u64::MAX]))]);
        assert!(matches!(Keys::encode(&unsigned), Keys::Numbers(numbers) if numbers == [0, 1, u64::MAX]));
    }

    #[test]
    fn several_columns_cannot_be_mistaken_for_each_other() {
        let text = |values: &[&str]| Arc::new(StringArray::from(values.to_vec())) as ArrayRef;
        let numbers = |values: &[i32]| Arc::new(Int32Array::from(values.to_vec())) as ArrayRef;
        let texts = composite_keys(vec![text(&["a", "ab", "a\0", ""]), text(&["bc", "c", "b", "abc"])]);
        let mixed = composite_keys(vec![numbers(&[1, 11, -1, 1]), text(&["1", "", "1", "\0"])]);
        for keys in [texts, mixed] {
            let unique: std::collections::BTreeSet<_> = keys.iter().collect();
            assert_eq!(unique.len(), keys.len());
        }
    }

    #[test]
    fn parts_are_closed() {
        let bytes: Vec<&[u8]> = vec![b"", b"a\0b"];
        let own = composite_keys(vec![Arc::new(BinaryArray::from(bytes)), Arc::new(Int32Array::from(vec![-9, 12]))]);
        assert_eq!(own, [b"\0\0-9\0".to_vec(), b"a\0\xffb\0\x0012\0".to_vec()]);
    }
}
