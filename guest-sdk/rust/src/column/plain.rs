//! Numbers, booleans, strings, bytes.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::types::{
    ArrowPrimitiveType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, BinaryArray, BooleanArray, PrimitiveArray, StringArray};
use arrow_buffer::{ArrowNativeType, NullBuffer, OffsetBuffer};
use arrow_schema::DataType;

use super::bits::Bits;
use super::{Element, FromColumn, IntoColumn, downcast};

/// A number, as Arrow stores it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a number of a column",
    note = "allowed: i8 to i64, u8 to u64, f32, f64"
)]
pub trait Number: ArrowNativeType + Send + Sync {
    type Arrow: ArrowPrimitiveType<Native = Self>;
}

// A result is a plain vector, and a whole column is collected into it at once: such a loop can be vectorised.
macro_rules! numbers {
    ($($native:ty, $arrow:ident, $data_type:ident;)+) => {$(
        impl Number for $native {
            type Arrow = $arrow;
        }

        impl<'a> FromColumn<'a> for $native {
            type Column = &'a [$native];

            fn data_type(_: Option<&DataType>) -> DataType {
                DataType::$data_type
            }

            #[inline(always)]
            fn column(array: &'a dyn Array, rows: usize) -> Self::Column {
                &downcast::<PrimitiveArray<$arrow>>(array).values()[..rows]
            }

            #[inline(always)]
            fn at(column: &Self::Column, row: usize) -> Result<Self, String> {
                Ok(column[row])
            }
        }

        impl IntoColumn for $native {
            type Builder = Vec<$native>;

            fn data_type() -> DataType {
                DataType::$data_type
            }

            fn builder(rows: usize) -> Self::Builder {
                Vec::with_capacity(rows)
            }

            #[inline(always)]
            fn append_to(self, builder: &mut Self::Builder) {
                builder.push(self);
            }

            #[inline]
            fn append_nothing(builder: &mut Self::Builder) {
                builder.push(<$native>::default());
            }

            fn finish(builder: Self::Builder, nulls: Option<NullBuffer>) -> ArrayRef {
                Arc::new(PrimitiveArray::<$arrow>::new(builder.into(), nulls))
            }

            #[inline(always)]
            fn collect(rows: usize, mut value: impl FnMut(usize) -> Option<Self>) -> Self::Builder {
                (0..rows).map(|row| value(row).unwrap_or_default()).collect()
            }
        }
    )+};
}

numbers! {
    i8, Int8Type, Int8;
    i16, Int16Type, Int16;
    i32, Int32Type, Int32;
    i64, Int64Type, Int64;
    u8, UInt8Type, UInt8;
    u16, UInt16Type, UInt16;
    u32, UInt32Type, UInt32;
    u64, UInt64Type, UInt64;
    f32, Float32Type, Float32;
    f64, Float64Type, Float64;
}

macro_rules! elements {
    ($($element:ty),+) => {
        $(impl Element for $element {})+
    };
}

// All but `u8`.
elements!(i8, i16, i32, i64, u16, u32, u64, f32, f64, bool, String, &str, Cow<'_, str>);

impl<'a> FromColumn<'a> for bool {
    type Column = &'a BooleanArray;

    fn data_type(_: Option<&DataType>) -> DataType {
        DataType::Boolean
    }

    #[inline(always)]
    fn column(array: &'a dyn Array, _rows: usize) -> Self::Column {
        downcast(array)
    }

    #[inline(always)]
    fn at(column: &Self::Column, row: usize) -> Result<Self, String> {
        Ok(column.value(row))
    }
}

impl IntoColumn for bool {
    type Builder = Bits;

    fn data_type() -> DataType {
        DataType::Boolean
    }

    fn builder(rows: usize) -> Self::Builder {
        Bits::with_capacity(rows)
    }

    #[inline(always)]
    fn append_to(self, builder: &mut Self::Builder) {
        builder.append(self);
    }

    #[inline]
    fn append_nothing(builder: &mut Self::Builder) {
        builder.append(false);
    }

    fn finish(builder: Self::Builder, nulls: Option<NullBuffer>) -> ArrayRef {
        Arc::new(BooleanArray::new(builder.finish(), nulls))
    }
}

/// Strings or binary values, one after the other.
#[derive(Debug)]
pub struct Bytes {
    offsets: Vec<i32>,
    values: Vec<u8>,
}

impl Bytes {
    // How many bytes the values will have is unknown; the buffer doubles as they come.
    fn new(rows: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self { offsets, values: Vec::with_capacity(rows.saturating_mul(8)) }
    }

    #[inline]
    fn push(&mut self, value: &[u8]) {
        self.values.extend_from_slice(value);
        self.offsets.push(offset(self.values.len()));
    }

    fn offsets(offsets: Vec<i32>) -> OffsetBuffer<i32> {
        // SAFETY: begins with 0, and each following is the length of a vector that only grows.
        unsafe { OffsetBuffer::new_unchecked(offsets.into()) }
    }

    fn binary(self, nulls: Option<NullBuffer>) -> ArrayRef {
        Arc::new(BinaryArray::new(Self::offsets(self.offsets), self.values.into(), nulls))
    }

    fn strings(self, nulls: Option<NullBuffer>) -> ArrayRef {
        // SAFETY: every value was appended as a whole `str`, and the last offset is the length.
        Arc::new(unsafe { StringArray::new_unchecked(Self::offsets(self.offsets), self.values.into(), nulls) })
    }
}

pub(super) fn offset(length: usize) -> i32 {
    i32::try_from(length).expect("one column of an answer has less than 2 GiB")
}

macro_rules! bytes {
    ($([$($lifetime:lifetime)?] $value:ty, $array:ty, $data_type:ident, $finish:ident, |$read:ident| $own:expr;)+) => {$(
        impl<'a> FromColumn<'a> for $value {
            type Column = &'a $array;

            fn data_type(_: Option<&DataType>) -> DataType {
                DataType::$data_type
            }

            #[inline(always)]
            fn column(array: &'a dyn Array, _rows: usize) -> Self::Column {
                downcast(array)
            }

            #[inline(always)]
            fn at(column: &Self::Column, row: usize) -> Result<Self, String> {
                let $read = column.value(row);
                Ok($own)
            }
        }

        impl$(<$lifetime>)? IntoColumn for $value {
            type Builder = Bytes;

            fn data_type() -> DataType {
                DataType::$data_type
            }

            fn builder(rows: usize) -> Self::Builder {
                Bytes::new(rows)
            }

            #[inline(always)]
            fn append_to(self, builder: &mut Self::Builder) {
                builder.push(AsRef::<[u8]>::as_ref(as_bytes!($data_type, self)));
            }

            #[inline]
            fn append_nothing(builder: &mut Self::Builder) {
                builder.push(&[]);
            }

            fn finish(builder: Self::Builder, nulls: Option<NullBuffer>) -> ArrayRef {
                builder.$finish(nulls)
            }
        }
    )+};
}

macro_rules! as_bytes {
    (Utf8, $value:ident) => {
        AsRef::<str>::as_ref(&$value)
    };
    (Binary, $value:ident) => {
        &$value
    };
}

bytes! {
    ['a] &'a str, StringArray, Utf8, strings, |value| value;
    [] String, StringArray, Utf8, strings, |value| value.to_owned();
    ['a] Cow<'a, str>, StringArray, Utf8, strings, |value| Cow::Borrowed(value);
    ['a] &'a [u8], BinaryArray, Binary, binary, |value| value;
    [] Vec<u8>, BinaryArray, Binary, binary, |value| value.to_owned();
}
