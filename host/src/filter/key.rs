//! Id columns become byte strings: injective, and ordered as the values are, so that sequential ids lie side by side.
//!
//! ```text
//! integers, dates, times, timestamps, decimals   big endian, sign bit flipped if signed
//! bool                                           one byte, 0 or 1
//! fixed-size binary                              its bytes
//! strings, binary, alone                         its bytes
//! strings, binary, one of several columns        its bytes, each 00 as 00 FF, closed by 00 00
//! ```
//!
//! Several columns are put one after another. No type is written: the types are fixed in the job's genesis. Floats are
//! not ids: two spellings of one number would be two rows, and NaN none.

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, RecordBatch};
use arrow::datatypes::*;

/// The keys of a batch of ids.
#[derive(Debug, Default)]
pub struct Keys {
    bytes: Vec<u8>,
    ends: Vec<usize>,
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

impl Keys {
    /// Encodes the rows of a batch whose columns are the ids, in order. No column may have a null.
    pub fn encode(ids: &RecordBatch) -> Keys {
        let alone = ids.num_columns() == 1;
        let columns: Vec<Vec<Vec<u8>>> = if alone { vec![] } else { ids.columns().iter().map(escaped).collect() };
        let mut keys = Keys::default();
        if alone {
            each(ids.column(0), |bytes| keys.push(bytes));
            return keys;
        }
        for row in 0..ids.num_rows() {
            columns.iter().for_each(|column| keys.bytes.extend_from_slice(&column[row]));
            keys.ends.push(keys.bytes.len());
        }
        keys
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.ends.push(self.bytes.len());
    }

    /// The keys in row order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.bytes[start..end])
    }
}

/// One column's part of a key with several columns.
fn escaped(column: &ArrayRef) -> Vec<Vec<u8>> {
    use DataType::*;
    let varies = matches!(column.data_type(), Utf8 | LargeUtf8 | Binary | LargeBinary);
    let mut parts = Vec::with_capacity(column.len());
    each(column, |bytes| parts.push(if varies { escape(bytes) } else { bytes.to_vec() }));
    parts
}

fn escape(bytes: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(bytes.len() + 2);
    for &byte in bytes {
        escaped.push(byte);
        if byte == 0 {
            escaped.push(0xFF);
        }
    }
    escaped.extend_from_slice(&[0, 0]);
    escaped
}

/// Calls `f` with every value's bytes.
fn each(column: &ArrayRef, f: impl FnMut(&[u8])) {
    use DataType::*;
    use TimeUnit::*;
    match column.data_type() {
        Int8 => signed::<Int8Type>(column, f),
        Int16 => signed::<Int16Type>(column, f),
        Int32 => signed::<Int32Type>(column, f),
        Int64 => signed::<Int64Type>(column, f),
        UInt8 => unsigned::<UInt8Type>(column, f),
        UInt16 => unsigned::<UInt16Type>(column, f),
        UInt32 => unsigned::<UInt32Type>(column, f),
        UInt64 => unsigned::<UInt64Type>(column, f),
        Date32 => signed::<Date32Type>(column, f),
        Date64 => signed::<Date64Type>(column, f),
        Time32(Second) => signed::<Time32SecondType>(column, f),
        Time32(_) => signed::<Time32MillisecondType>(column, f),
        Time64(Microsecond) => signed::<Time64MicrosecondType>(column, f),
        Time64(_) => signed::<Time64NanosecondType>(column, f),
        Timestamp(Second, _) => signed::<TimestampSecondType>(column, f),
        Timestamp(Millisecond, _) => signed::<TimestampMillisecondType>(column, f),
        Timestamp(Microsecond, _) => signed::<TimestampMicrosecondType>(column, f),
        Timestamp(Nanosecond, _) => signed::<TimestampNanosecondType>(column, f),
        Decimal32(_, _) => signed::<Decimal32Type>(column, f),
        Decimal64(_, _) => signed::<Decimal64Type>(column, f),
        Decimal128(_, _) => signed::<Decimal128Type>(column, f),
        Decimal256(_, _) => signed::<Decimal256Type>(column, f),
        Boolean => column.as_boolean().values().iter().map(|value| [u8::from(value)]).for_each(with(f)),
        Utf8 => column.as_string::<i32>().iter().flatten().map(str::as_bytes).for_each(f),
        LargeUtf8 => column.as_string::<i64>().iter().flatten().map(str::as_bytes).for_each(f),
        Binary => column.as_binary::<i32>().iter().flatten().for_each(f),
        LargeBinary => column.as_binary::<i64>().iter().flatten().for_each(f),
        FixedSizeBinary(_) => column.as_fixed_size_binary().iter().flatten().for_each(f),
        other => panic!("{other} ids are refused when the job is planned"),
    }
}

fn with<const N: usize>(mut f: impl FnMut(&[u8])) -> impl FnMut([u8; N]) {
    move |bytes| f(&bytes)
}

fn unsigned<T: ArrowPrimitiveType>(column: &ArrayRef, mut f: impl FnMut(&[u8]))
where
    T::Native: BigEndian,
{
    column.as_primitive::<T>().values().iter().for_each(|value| f(value.big_endian().as_ref()));
}

fn signed<T: ArrowPrimitiveType>(column: &ArrayRef, mut f: impl FnMut(&[u8]))
where
    T::Native: BigEndian,
{
    for value in column.as_primitive::<T>().values() {
        let mut bytes = value.big_endian();
        bytes.as_mut()[0] ^= 0x80;
        f(bytes.as_ref());
    }
}

trait BigEndian: Copy {
    type Bytes: AsRef<[u8]> + AsMut<[u8]>;
    fn big_endian(self) -> Self::Bytes;
}

macro_rules! big_endian {
    ($($native:ty),*) => {$(
        impl BigEndian for $native {
            type Bytes = [u8; size_of::<$native>()];
            fn big_endian(self) -> Self::Bytes {
                self.to_be_bytes()
            }
        }
    )*};
}

big_endian!(i8, i16, i32, i64, u8, u16, u32, u64, i128, i256);

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{BinaryArray, Int32Array, Int64Array, StringArray};
    use std::sync::Arc;

    fn keys(columns: Vec<ArrayRef>) -> Vec<Vec<u8>> {
        let fields =
            columns.iter().enumerate().map(|(i, column)| Field::new(i.to_string(), column.data_type().clone(), false));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Keys::encode(&RecordBatch::try_new(schema, columns).unwrap()).iter().map(<[u8]>::to_vec).collect()
    }

    #[test]
    fn integers_sort_as_numbers() {
        let own = keys(vec![Arc::new(Int64Array::from(vec![i64::MIN, -2, -1, 0, 1, i64::MAX]))]);
        assert!(own.is_sorted());
        assert!(own.iter().all(|key| key.len() == 8));
    }

    #[test]
    fn several_columns_cannot_be_mistaken_for_each_other() {
        let text = |values: &[&str]| Arc::new(StringArray::from(values.to_vec())) as ArrayRef;
        let own = keys(vec![text(&["a", "ab", "a\0", ""]), text(&["bc", "c", "b", "abc"])]);
        let mut unique = own.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), own.len());
    }

    #[test]
    fn composite_keys_sort_as_their_columns_do() {
        let bytes: Vec<&[u8]> = vec![b"", b"\0", b"\0a", b"\0\xFF", b"a"];
        let own = keys(vec![Arc::new(BinaryArray::from(bytes)), Arc::new(Int32Array::from(vec![9, 8, 7, 6, 5]))]);
        assert!(own.is_sorted());
    }
}
