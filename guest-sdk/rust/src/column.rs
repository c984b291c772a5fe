//! Which Rust types stand for which column types: as parameters ([`Param`]), as results ([`Value`]).
//!
//! A type says how one value that is there is read ([`FromColumn`]) and written ([`IntoColumn`]); `Option` adds the nulls,
//! once for all types. The table of types is in the crate's documentation.
//!
//!  - `plain`: numbers, booleans, strings, bytes
//!  - `bits`: bitmaps in the making
//!  - `time`: dates, times, timestamps, durations
//!  - `fixed`: fixed-size binary, UUIDs, decimals
//!  - `nested`: lists, maps, structs

mod bits;
mod fixed;
mod nested;
mod plain;
mod time;

use arrow_array::{Array, ArrayRef};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Field};

use bits::Bits;
pub use fixed::Decimal;
pub(crate) use nested::inner_field;
pub use nested::{Inner, List, ListIter, Struct};
pub(crate) use nested::{struct_array, struct_of, struct_type};
pub(crate) use plain::Number;

/// A value that is there, read from a column.
#[diagnostic::on_unimplemented(
    message = "a column cannot be read as `{Self}`",
    label = "not a column type",
    note = "allowed: &str, String, Cow<str>, &[u8], Vec<u8>, [u8; N], i8 to i64, u8 to u64, f32, f64, bool, Decimal<P, S>, Uuid, chrono's NaiveDate, NaiveTime, NaiveDateTime, DateTime<Utc>, TimeDelta, Vec<_> and List<_> of these, Vec<(K, V)> for a map, a struct with #[derive(wasmpipe_sdk::Columns)], and Option<_> of all these",
    note = "a parameter for the config is `#[config] config: &Config`; what is built from the config once is `#[state] state: &State`"
)]
pub trait FromColumn<'a>: Sized {
    /// A column, ready to be read.
    type Column: Copy;
    /// Whether [`FromColumn::at`] may refuse.
    const FALLIBLE: bool = false;
    /// What to ask the host for, given what the column is. `None` where that is not known.
    fn data_type(input: Option<&DataType>) -> DataType;
    /// The first `rows` rows of an array of that type.
    fn column(array: &'a dyn Array, rows: usize) -> Self::Column;
    /// An error is a row error: there is a value, and it has no counterpart in this type.
    fn at(column: &Self::Column, row: usize) -> Result<Self, String>;
}

/// A value that is there, written to a column.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a value of a column",
    label = "not a column type",
    note = "allowed: &str, String, Cow<str>, &[u8], Vec<u8>, [u8; N], i8 to i64, u8 to u64, f32, f64, bool, Decimal<P, S>, Uuid, chrono's NaiveDate, NaiveTime, NaiveDateTime, DateTime<Utc>, TimeDelta, Vec<_> of these, Vec<(K, V)> for a map, a struct with #[derive(wasmpipe_sdk::Columns)], and Option<_> of all these",
    note = "several columns are a struct with #[derive(wasmpipe_sdk::Columns)], or a tuple with columns(\"a\", \"b\") in the attribute"
)]
pub trait IntoColumn: Sized {
    type Builder;
    /// Whether [`IntoColumn::check`] may refuse.
    const CHECKED: bool = false;
    /// How many columns a row of this makes.
    const WIDTH: usize = 1;
    /// Whether it names its columns itself.
    const NAMED: bool = false;
    fn data_type() -> DataType;
    fn builder(rows: usize) -> Self::Builder;
    /// After [`IntoColumn::check`] was content.
    fn append_to(self, builder: &mut Self::Builder);
    /// Stands in for the value of a row that is null or has an error.
    fn append_nothing(builder: &mut Self::Builder);
    fn finish(builder: Self::Builder, nulls: Option<NullBuffer>) -> ArrayRef;

    /// An error is a row error: the value has no counterpart in the column's type.
    #[inline]
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    /// A whole column; `None` is a row without a value.
    #[inline]
    fn collect(rows: usize, mut value: impl FnMut(usize) -> Option<Self>) -> Self::Builder {
        let mut builder = Self::builder(rows);
        for row in 0..rows {
            match value(row) {
                Some(value) => value.append_to(&mut builder),
                None => Self::append_nothing(&mut builder),
            }
        }
        builder
    }

    /// A field of this type.
    fn field(name: &str, nullable: bool) -> Field {
        Field::new(name, Self::data_type(), nullable)
    }

    /// The columns that a row of this makes.
    fn fields(names: &[&str]) -> Vec<Field> {
        vec![Self::field(names[0], false)]
    }

    fn finish_row(builder: Self::Builder) -> Vec<ArrayRef> {
        vec![Self::finish(builder, None)]
    }
}

/// Everything that may stand in a list, where `Vec<u8>` is bytes and not a list.
#[diagnostic::on_unimplemented(
    message = "a list of `{Self}` is not supported",
    label = "not an element of a list",
    note = "Vec<u8> and &[u8] are bytes; a list of u8 is Vec<Option<u8>>"
)]
pub trait Element {}

impl<T> Element for Option<T> {}

/// A type that a parameter of a row function may have: one value of one column, or an `Option` of it.
#[diagnostic::on_unimplemented(
    message = "a column cannot be read as `{Self}`",
    label = "not a column type",
    note = "allowed: &str, String, Cow<str>, &[u8], Vec<u8>, [u8; N], i8 to i64, u8 to u64, f32, f64, bool, Decimal<P, S>, Uuid, chrono's NaiveDate, NaiveTime, NaiveDateTime, DateTime<Utc>, TimeDelta, Vec<_> and List<_> of these, Vec<(K, V)> for a map, a struct with #[derive(wasmpipe_sdk::Columns)], and Option<_> of all these",
    note = "a parameter for the config is `#[config] config: &Config`; what is built from the config once is `#[state] state: &State`"
)]
pub trait Param<'a>: Sized {
    type Column: Copy;
    const NULLABLE: bool;
    const FALLIBLE: bool;
    fn data_type(input: Option<&DataType>) -> DataType;
    fn column(array: &'a dyn Array, rows: usize) -> Self::Column;
    fn at(column: &Self::Column, row: usize) -> Result<Self, String>;

    /// Whether a value of the column is null.
    #[inline(always)]
    fn has_nulls(_column: &Self::Column) -> bool {
        false
    }

    /// As [`Param::at`], for a column without nulls.
    #[inline(always)]
    fn at_valid(column: &Self::Column, row: usize) -> Result<Self, String> {
        Self::at(column, row)
    }
}

impl<'a, T: FromColumn<'a>> Param<'a> for T {
    type Column = T::Column;
    const NULLABLE: bool = false;
    const FALLIBLE: bool = T::FALLIBLE;

    fn data_type(input: Option<&DataType>) -> DataType {
        T::data_type(input)
    }

    #[inline(always)]
    fn column(array: &'a dyn Array, rows: usize) -> Self::Column {
        T::column(array, rows)
    }

    #[inline(always)]
    fn at(column: &Self::Column, row: usize) -> Result<Self, String> {
        T::at(column, row)
    }
}

impl<'a, T: FromColumn<'a>> Param<'a> for Option<T> {
    type Column = (Option<&'a NullBuffer>, T::Column);
    const NULLABLE: bool = true;
    const FALLIBLE: bool = T::FALLIBLE;

    fn data_type(input: Option<&DataType>) -> DataType {
        T::data_type(input)
    }

    #[inline(always)]
    fn column(array: &'a dyn Array, rows: usize) -> Self::Column {
        (array.nulls().filter(|nulls| nulls.null_count() > 0), T::column(array, rows))
    }

    #[inline(always)]
    fn at((nulls, column): &Self::Column, row: usize) -> Result<Self, String> {
        match nulls {
            Some(nulls) if nulls.is_null(row) => Ok(None),
            _ => T::at(column, row).map(Some),
        }
    }

    #[inline(always)]
    fn has_nulls((nulls, _): &Self::Column) -> bool {
        nulls.is_some()
    }

    #[inline(always)]
    fn at_valid((_, column): &Self::Column, row: usize) -> Result<Self, String> {
        T::at(column, row).map(Some)
    }
}

/// A type that an element of an output row may have: one value of one column, or an `Option` of it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a value of a column",
    label = "not a column type",
    note = "allowed: &str, String, Cow<str>, &[u8], Vec<u8>, [u8; N], i8 to i64, u8 to u64, f32, f64, bool, Decimal<P, S>, Uuid, chrono's NaiveDate, NaiveTime, NaiveDateTime, DateTime<Utc>, TimeDelta, Vec<_> of these, Vec<(K, V)> for a map, a struct with #[derive(wasmpipe_sdk::Columns)], and Option<_> of all these",
    note = "several columns are a struct with #[derive(wasmpipe_sdk::Columns)], or a tuple with columns(\"a\", \"b\") in the attribute"
)]
pub trait Value: Sized {
    type Builder;
    const NULLABLE: bool;
    const CHECKED: bool;
    const WIDTH: usize;
    const NAMED: bool;
    fn data_type() -> DataType;
    fn field(name: &str) -> Field;
    fn builder(rows: usize) -> Self::Builder;
    fn append_to(self, builder: &mut Self::Builder);
    fn append_nothing(builder: &mut Self::Builder);
    fn finish(builder: Self::Builder) -> ArrayRef;
    fn check(&self) -> Result<(), String>;
    fn collect(rows: usize, value: impl FnMut(usize) -> Option<Self>) -> Self::Builder;
    fn fields(names: &[&str]) -> Vec<Field>;
    fn finish_row(builder: Self::Builder) -> Vec<ArrayRef>;
}

impl<T: IntoColumn> Value for T {
    type Builder = T::Builder;
    const NULLABLE: bool = false;
    const CHECKED: bool = T::CHECKED;
    const WIDTH: usize = T::WIDTH;
    const NAMED: bool = T::NAMED;

    fn data_type() -> DataType {
        T::data_type()
    }

    fn field(name: &str) -> Field {
        T::field(name, false)
    }

    fn builder(rows: usize) -> Self::Builder {
        T::builder(rows)
    }

    #[inline(always)]
    fn append_to(self, builder: &mut Self::Builder) {
        IntoColumn::append_to(self, builder);
    }

    #[inline]
    fn append_nothing(builder: &mut Self::Builder) {
        T::append_nothing(builder);
    }

    fn finish(builder: Self::Builder) -> ArrayRef {
        T::finish(builder, None)
    }

    #[inline(always)]
    fn check(&self) -> Result<(), String> {
        IntoColumn::check(self)
    }

    #[inline(always)]
    fn collect(rows: usize, value: impl FnMut(usize) -> Option<Self>) -> Self::Builder {
        T::collect(rows, value)
    }

    fn fields(names: &[&str]) -> Vec<Field> {
        T::fields(names)
    }

    fn finish_row(builder: Self::Builder) -> Vec<ArrayRef> {
        T::finish_row(builder)
    }
}

/// Values, and which of them are there.
#[derive(Debug)]
pub struct Nullable<B> {
    values: B,
    valid: Bits,
}

impl<T: IntoColumn> Value for Option<T> {
    type Builder = Nullable<T::Builder>;
    const NULLABLE: bool = true;
    const CHECKED: bool = T::CHECKED;
    const WIDTH: usize = 1;
    const NAMED: bool = false;

    fn data_type() -> DataType {
        T::data_type()
    }

    fn field(name: &str) -> Field {
        T::field(name, true)
    }

    fn builder(rows: usize) -> Self::Builder {
        Nullable { values: T::builder(rows), valid: Bits::with_capacity(rows) }
    }

    #[inline(always)]
    fn append_to(self, builder: &mut Self::Builder) {
        builder.valid.append(self.is_some());
        match self {
            Some(value) => value.append_to(&mut builder.values),
            None => T::append_nothing(&mut builder.values),
        }
    }

    #[inline]
    fn append_nothing(builder: &mut Self::Builder) {
        builder.valid.append(false);
        T::append_nothing(&mut builder.values);
    }

    fn finish(builder: Self::Builder) -> ArrayRef {
        let nulls = NullBuffer::new(builder.valid.finish());
        T::finish(builder.values, Some(nulls).filter(|nulls| nulls.null_count() > 0))
    }

    #[inline(always)]
    fn check(&self) -> Result<(), String> {
        self.as_ref().map_or(Ok(()), IntoColumn::check)
    }

    #[inline(always)]
    fn collect(rows: usize, mut value: impl FnMut(usize) -> Option<Self>) -> Self::Builder {
        let mut valid = Bits::with_capacity(rows);
        let values = T::collect(rows, |row| {
            let value = value(row).flatten();
            valid.append(value.is_some());
            value
        });
        Nullable { values, valid }
    }

    fn fields(names: &[&str]) -> Vec<Field> {
        vec![T::field(names[0], true)]
    }

    fn finish_row(builder: Self::Builder) -> Vec<ArrayRef> {
        vec![Self::finish(builder)]
    }
}

/// The column that a parameter asks for. A null deep inside of it is a row error where the type has no room for one, so it
/// is asked for as nullable there.
pub(crate) fn wanted<'a, P: Param<'a>>(name: &str, input: Option<&Field>) -> Field {
    Field::new(name, P::data_type(input.map(Field::data_type)), P::NULLABLE)
}

fn downcast<A: Array + 'static>(array: &dyn Array) -> &A {
    array.as_any().downcast_ref().expect("the block was decoded with the schema of the parameters")
}
