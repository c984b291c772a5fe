//! Fixed-size binary, UUIDs, decimals.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow_array::types::{Decimal128Type, DecimalType};
use arrow_array::{Array, ArrayRef, Decimal128Array, FixedSizeBinaryArray};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Field};
use uuid::Uuid;

use super::{Element, FromColumn, IntoColumn, downcast};

impl<'a, const N: usize> FromColumn<'a> for [u8; N] {
    type Column = &'a FixedSizeBinaryArray;

    fn data_type(_: Option<&DataType>) -> DataType {
        fixed::<N>()
    }

    fn column(array: &'a dyn Array, _rows: usize) -> Self::Column {
        downcast(array)
    }

    #[inline]
    fn at(column: &Self::Column, row: usize) -> Result<Self, String> {
        column.value(row).try_into().map_err(|_| format!("a value does not have {N} bytes"))
    }
}

impl<const N: usize> IntoColumn for [u8; N] {
    type Builder = Fixed;

    fn data_type() -> DataType {
        fixed::<N>()
    }

    fn builder(rows: usize) -> Self::Builder {
        Fixed { rows: 0, values: Vec::with_capacity(rows * N) }
    }

    #[inline]
    fn append_to(self, builder: &mut Self::Builder) {
        builder.rows += 1;
        builder.values.extend_from_slice(&self);
    }

    fn append_nothing(builder: &mut Self::Builder) {
        [0; N].append_to(builder);
    }

    fn finish(builder: Self::Builder, nulls: Option<NullBuffer>) -> ArrayRef {
        let array = FixedSizeBinaryArray::try_new_with_len(width::<N>(), builder.values.into(), nulls, builder.rows);
        Arc::new(array.expect("as many bytes as rows times width"))
    }
}

impl<const N: usize> Element for [u8; N] {}

/// Values of one size, one after the other.
#[derive(Debug)]
pub struct Fixed {
    rows: usize,
    values: Vec<u8>,
}

fn fixed<const N: usize>() -> DataType {
    DataType::FixedSizeBinary(width::<N>())
}

fn width<const N: usize>() -> i32 {
    const { assert!(N >= 1 && N <= i32::MAX as usize, "a [u8; N] of a column has at least one byte, and less than 2 GiB") }
    N as i32
}

impl<'a> FromColumn<'a> for Uuid {
    type Column = &'a FixedSizeBinaryArray;

    fn data_type(_: Option<&DataType>) -> DataType {
        fixed::<16>()
    }

    fn column(array: &'a dyn Array, rows: usize) -> Self::Column {
        <[u8; 16]>::column(array, rows)
    }

    #[inline]
    fn at(column: &Self::Column, row: usize) -> Result<Self, String> {
        <[u8; 16]>::at(column, row).map(Uuid::from_bytes)
    }
}

impl IntoColumn for Uuid {
    type Builder = Fixed;

    fn data_type() -> DataType {
        fixed::<16>()
    }

    fn field(name: &str, nullable: bool) -> Field {
        let metadata = [("ARROW:extension:name".to_owned(), "arrow.uuid".to_owned())];
        Field::new(name, fixed::<16>(), nullable).with_metadata(HashMap::from(metadata))
    }

    fn builder(rows: usize) -> Self::Builder {
        <[u8; 16]>::builder(rows)
    }

    #[inline]
    fn append_to(self, builder: &mut Self::Builder) {
        self.into_bytes().append_to(builder);
    }

    fn append_nothing(builder: &mut Self::Builder) {
        <[u8; 16]>::append_nothing(builder);
    }

    fn finish(builder: Self::Builder, nulls: Option<NullBuffer>) -> ArrayRef {
        <[u8; 16]>::finish(builder, nulls)
    }
}

impl Element for Uuid {}

/// A decimal of at most `P` digits, `S` of them after the point: `Decimal::<10, 2>(12345)` is 123.45.
///
/// `P` is 1 to 38, `S` at most `P`; a negative `S` counts zeros before the point. A result with more than `P` digits is a
/// row error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal<const P: u8, const S: i8>(pub i128);

impl<const P: u8, const S: i8> Decimal<P, S> {
    fn data_type() -> DataType {
        const {
            assert!(P >= 1 && P <= 38, "a Decimal<P, S> has P from 1 to 38 digits");
            assert!(S <= P as i8, "a Decimal<P, S> has at most P digits after the point");
        }
        DataType::Decimal128(P, S)
    }
}

impl<const P: u8, const S: i8> fmt::Display for Decimal<P, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&Decimal128Type::format_decimal(self.0, P, S))
    }
}

impl<'a, const P: u8, const S: i8> FromColumn<'a> for Decimal<P, S> {
    type Column = &'a [i128];

    fn data_type(_: Option<&DataType>) -> DataType {
        Self::data_type()
    }

    fn column(array: &'a dyn Array, rows: usize) -> Self::Column {
        &downcast::<Decimal128Array>(array).values()[..rows]
    }

    #[inline(always)]
    fn at(column: &Self::Column, row: usize) -> Result<Self, String> {
        Ok(Self(column[row]))
    }
}

impl<const P: u8, const S: i8> IntoColumn for Decimal<P, S> {
    type Builder = Vec<i128>;
    const CHECKED: bool = true;

    fn data_type() -> DataType {
        Self::data_type()
    }

    fn builder(rows: usize) -> Self::Builder {
        Vec::with_capacity(rows)
    }

    #[inline]
    fn append_to(self, builder: &mut Self::Builder) {
        builder.push(self.0);
    }

    fn append_nothing(builder: &mut Self::Builder) {
        builder.push(0);
    }

    fn finish(builder: Self::Builder, nulls: Option<NullBuffer>) -> ArrayRef {
        Arc::new(Decimal128Array::new(builder.into(), nulls).with_data_type(Self::data_type()))
    }

    #[inline]
    fn check(&self) -> Result<(), String> {
        let limit = const { 10_u128.pow(P as u32) };
        match self.0.unsigned_abs() < limit {
            true => Ok(()),
            false => Err(format!("the result {self} has more than the {P} digits of Decimal<{P}, {S}>")),
        }
    }
}

impl<const P: u8, const S: i8> Element for Decimal<P, S> {}
