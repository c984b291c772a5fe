//! Which Rust types stand for which column types, as parameters ([`Param`]) and as results ([`Value`]).
//!
//! | Rust                         | Arrow               |
//! |------------------------------|---------------------|
//! | `&str`, `String`             | Utf8                |
//! | `&[u8]`, `Vec<u8>`           | Binary              |
//! | `i8` .. `i64`, `u8` .. `u64` | Int8 .. UInt64      |
//! | `f32`, `f64`                 | Float32, Float64    |
//! | `bool`                       | Boolean             |
//! | `Option<_>` of these         | the same, nullable  |

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::builder::{BinaryBuilder, BooleanBuilder, PrimitiveBuilder, StringBuilder};
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, BinaryArray, BooleanArray, PrimitiveArray, StringArray};
use arrow_schema::DataType;

/// A type that a parameter of a row function may have: one value of one column.
#[diagnostic::on_unimplemented(
    message = "a column cannot be read as `{Self}`",
    label = "not a column type",
    note = "allowed: &str, String, &[u8], Vec<u8>, i8 to i64, u8 to u64, f32, f64, bool, and Option<_> of these",
    note = "a parameter for the config is marked #[config] and is a reference"
)]
pub trait Param<'a>: Sized {
    type Array: Array + 'static;
    const NULLABLE: bool;
    fn data_type() -> DataType;
    fn at(array: &'a Self::Array, row: usize) -> Self;
}

/// A type that an element of an output row may have: one value of one column.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a value of a column",
    label = "not a column type",
    note = "allowed: &str, String, &[u8], Vec<u8>, i8 to i64, u8 to u64, f32, f64, bool, and Option<_> of these"
)]
pub trait Value: Sized {
    type Builder;
    const NULLABLE: bool;
    fn data_type() -> DataType;
    fn builder(rows: usize) -> Self::Builder;
    fn append_to(self, builder: &mut Self::Builder);
    /// Stands in for the value of a row that has an error.
    fn append_nothing(builder: &mut Self::Builder);
    fn finish(builder: Self::Builder) -> ArrayRef;
}

macro_rules! params {
    ($($param:ty, $array:ty, $data_type:expr, |$a:ident, $row:ident| $at:expr;)+) => {$(
        impl<'a> Param<'a> for $param {
            type Array = $array;
            const NULLABLE: bool = false;
            fn data_type() -> DataType { $data_type }
            #[inline]
            fn at($a: &'a $array, $row: usize) -> Self { $at }
        }

        impl<'a> Param<'a> for Option<$param> {
            type Array = $array;
            const NULLABLE: bool = true;
            fn data_type() -> DataType { $data_type }
            #[inline]
            fn at($a: &'a $array, $row: usize) -> Self { $a.is_valid($row).then(|| $at) }
        }
    )+};
}

params! {
    &'a str, StringArray, DataType::Utf8, |a, row| a.value(row);
    String, StringArray, DataType::Utf8, |a, row| a.value(row).to_owned();
    &'a [u8], BinaryArray, DataType::Binary, |a, row| a.value(row);
    Vec<u8>, BinaryArray, DataType::Binary, |a, row| a.value(row).to_owned();
    bool, BooleanArray, DataType::Boolean, |a, row| a.value(row);
    i8, PrimitiveArray<Int8Type>, DataType::Int8, |a, row| a.value(row);
    i16, PrimitiveArray<Int16Type>, DataType::Int16, |a, row| a.value(row);
    i32, PrimitiveArray<Int32Type>, DataType::Int32, |a, row| a.value(row);
    i64, PrimitiveArray<Int64Type>, DataType::Int64, |a, row| a.value(row);
    u8, PrimitiveArray<UInt8Type>, DataType::UInt8, |a, row| a.value(row);
    u16, PrimitiveArray<UInt16Type>, DataType::UInt16, |a, row| a.value(row);
    u32, PrimitiveArray<UInt32Type>, DataType::UInt32, |a, row| a.value(row);
    u64, PrimitiveArray<UInt64Type>, DataType::UInt64, |a, row| a.value(row);
    f32, PrimitiveArray<Float32Type>, DataType::Float32, |a, row| a.value(row);
    f64, PrimitiveArray<Float64Type>, DataType::Float64, |a, row| a.value(row);
}

// A plain vector: a loop over a column without nulls can then be vectorised.
macro_rules! primitive_values {
    ($($native:ty, $arrow:ty, $data_type:ident;)+) => {$(
        impl Value for $native {
            type Builder = Vec<$native>;
            const NULLABLE: bool = false;
            fn data_type() -> DataType { DataType::$data_type }
            fn builder(rows: usize) -> Self::Builder { Vec::with_capacity(rows) }
            #[inline]
            fn append_to(self, builder: &mut Self::Builder) { builder.push(self); }
            fn append_nothing(builder: &mut Self::Builder) { builder.push(<$native>::default()); }
            fn finish(builder: Self::Builder) -> ArrayRef {
                Arc::new(PrimitiveArray::<$arrow>::new(builder.into(), None))
            }
        }

        impl Value for Option<$native> {
            type Builder = PrimitiveBuilder<$arrow>;
            const NULLABLE: bool = true;
            fn data_type() -> DataType { DataType::$data_type }
            fn builder(rows: usize) -> Self::Builder { PrimitiveBuilder::with_capacity(rows) }
            #[inline]
            fn append_to(self, builder: &mut Self::Builder) { builder.append_option(self); }
            fn append_nothing(builder: &mut Self::Builder) { builder.append_null(); }
            fn finish(mut builder: Self::Builder) -> ArrayRef { Arc::new(builder.finish()) }
        }
    )+};
}

primitive_values! {
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

macro_rules! built_values {
    ($([$($lifetime:lifetime)?] $value:ty, $builder:ty, $data_type:ident, $capacity:expr, $nothing:expr;)+) => {$(
        impl$(<$lifetime>)? Value for $value {
            type Builder = $builder;
            const NULLABLE: bool = false;
            fn data_type() -> DataType { DataType::$data_type }
            fn builder(rows: usize) -> Self::Builder { $capacity(rows) }
            #[inline]
            fn append_to(self, builder: &mut Self::Builder) { append!(builder, self, $data_type); }
            fn append_nothing(builder: &mut Self::Builder) { builder.append_value($nothing); }
            fn finish(mut builder: Self::Builder) -> ArrayRef { Arc::new(builder.finish()) }
        }

        impl$(<$lifetime>)? Value for Option<$value> {
            type Builder = $builder;
            const NULLABLE: bool = true;
            fn data_type() -> DataType { DataType::$data_type }
            fn builder(rows: usize) -> Self::Builder { $capacity(rows) }
            #[inline]
            fn append_to(self, builder: &mut Self::Builder) {
                match self {
                    Some(value) => append!(builder, value, $data_type),
                    None => builder.append_null(),
                }
            }
            fn append_nothing(builder: &mut Self::Builder) { builder.append_null(); }
            fn finish(mut builder: Self::Builder) -> ArrayRef { Arc::new(builder.finish()) }
        }
    )+};
}

macro_rules! append {
    ($builder:ident, $value:ident, Boolean) => {
        $builder.append_value($value)
    };
    ($builder:ident, $value:ident, Utf8) => {
        $builder.append_value(AsRef::<str>::as_ref(&$value))
    };
    ($builder:ident, $value:ident, Binary) => {
        $builder.append_value(AsRef::<[u8]>::as_ref(&$value))
    };
}

built_values! {
    [] bool, BooleanBuilder, Boolean, BooleanBuilder::with_capacity, false;
    [] String, StringBuilder, Utf8, strings, "";
    ['a] &'a str, StringBuilder, Utf8, strings, "";
    ['a] Cow<'a, str>, StringBuilder, Utf8, strings, "";
    [] Vec<u8>, BinaryBuilder, Binary, binaries, [];
    ['a] &'a [u8], BinaryBuilder, Binary, binaries, [];
}

// How many bytes the values will have is unknown; the buffer doubles as they come.
fn strings(rows: usize) -> StringBuilder {
    StringBuilder::with_capacity(rows, rows.saturating_mul(8))
}

fn binaries(rows: usize) -> BinaryBuilder {
    BinaryBuilder::with_capacity(rows, rows.saturating_mul(8))
}
