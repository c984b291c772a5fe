//! `#[map_batches]` over typed columns: which array types a parameter and a result may have. Functions over whole record
//! batches declare their columns instead, and need none of this.

use std::fmt::Display;
use std::sync::Arc;

use arrow_array::types::ArrowPrimitiveType;
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, FixedSizeBinaryArray, ListArray, MapArray, PrimitiveArray, StringArray,
    StructArray,
};
use arrow_schema::{DataType, Field};

use crate::column::Number;

/// A parameter of a typed `#[map_batches]` function: a whole column.
#[diagnostic::on_unimplemented(
    message = "a column cannot be given as `{Self}`",
    label = "not a column",
    note = "allowed: &Float64Array and the other arrays of wasmpipe_sdk::arrow_array, or &[f64] and the like for numbers; #[nullable] before an array lets nulls in",
    note = "a function over a whole &RecordBatch declares its columns: #[map_batches(needs(\"id\": i64), adds(\"twice\": i64))]"
)]
pub trait BatchParam<'a>: Sized {
    fn data_type(input: Option<&DataType>) -> DataType;
    fn column(array: &'a dyn Array) -> Self;
}

impl<'a, A: ColumnArray> BatchParam<'a> for &'a A {
    fn data_type(input: Option<&DataType>) -> DataType {
        <A as ColumnArray>::data_type(input)
    }

    fn column(array: &'a dyn Array) -> Self {
        array.as_any().downcast_ref().expect("the block was decoded with the schema of the parameters")
    }
}

impl<'a, T: Number> BatchParam<'a> for &'a [T] {
    fn data_type(_: Option<&DataType>) -> DataType {
        T::Arrow::DATA_TYPE
    }

    fn column(array: &'a dyn Array) -> Self {
        <&PrimitiveArray<T::Arrow>>::column(array).values()
    }
}

/// An array that may be a parameter.
#[diagnostic::on_unimplemented(
    message = "a column cannot be given as `&{Self}`",
    label = "not a column",
    note = "allowed: &Float64Array and the other arrays of wasmpipe_sdk::arrow_array, or &[f64] and the like for numbers",
    note = "a function over a whole &RecordBatch declares its columns: #[map_batches(needs(\"id\": i64), adds(\"twice\": i64))]"
)]
pub trait ColumnArray: Array + 'static {
    fn data_type(input: Option<&DataType>) -> DataType;
}

impl<T: ArrowPrimitiveType> ColumnArray for PrimitiveArray<T> {
    /// The zone of a timestamp and the digits of a decimal are what the column has.
    fn data_type(input: Option<&DataType>) -> DataType {
        input.filter(|input| PrimitiveArray::<T>::is_compatible(input)).cloned().unwrap_or(T::DATA_TYPE)
    }
}

macro_rules! arrays {
    ($($array:ty, $($given:pat_param)|+, $default:expr;)+) => {$(
        impl ColumnArray for $array {
            fn data_type(input: Option<&DataType>) -> DataType {
                input.filter(|input| matches!(input, $($given)|+)).cloned().unwrap_or_else(|| $default)
            }
        }
    )+};
}

// Where no input says otherwise, something simple of the kind: the host refuses what does not fit.
arrays! {
    BooleanArray, DataType::Boolean, DataType::Boolean;
    StringArray, DataType::Utf8, DataType::Utf8;
    BinaryArray, DataType::Binary, DataType::Binary;
    FixedSizeBinaryArray, DataType::FixedSizeBinary(_), DataType::FixedSizeBinary(16);
    ListArray, DataType::List(_), DataType::new_list(DataType::Utf8, true);
    StructArray, DataType::Struct(_), DataType::Struct(vec![Field::new("field", DataType::Utf8, true)].into());
    MapArray, DataType::Map(_, false), map_of_strings();
}

fn map_of_strings() -> DataType {
    let pair = vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true)];
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(pair.into()), false)), false)
}

/// One column of a typed `#[map_batches]` function's result.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a column of a result",
    label = "not a column",
    note = "allowed: Float64Array and the arrays of other numbers, times and decimals, StringArray, BinaryArray, BooleanArray, or Vec<f64> and the like for numbers",
    note = "several columns are a tuple with #[map_batches(columns(\"a\", \"b\"))]; other types need #[map_batches(schemas = function)] and a &RecordBatch"
)]
pub trait BatchColumn {
    const NULLABLE: bool;
    fn data_type() -> DataType;
    fn into_array(self) -> ArrayRef;
}

impl<T: ArrowPrimitiveType> BatchColumn for PrimitiveArray<T> {
    const NULLABLE: bool = true;

    fn data_type() -> DataType {
        T::DATA_TYPE
    }

    fn into_array(self) -> ArrayRef {
        Arc::new(self)
    }
}

impl<T: Number> BatchColumn for Vec<T> {
    const NULLABLE: bool = false;

    fn data_type() -> DataType {
        T::Arrow::DATA_TYPE
    }

    fn into_array(self) -> ArrayRef {
        Arc::new(PrimitiveArray::<T::Arrow>::new(self.into(), None))
    }
}

macro_rules! results {
    ($($array:ty, $data_type:ident;)+) => {$(
        impl BatchColumn for $array {
            const NULLABLE: bool = true;

            fn data_type() -> DataType {
                DataType::$data_type
            }

            fn into_array(self) -> ArrayRef {
                Arc::new(self)
            }
        }
    )+};
}

results! {
    BooleanArray, Boolean;
    StringArray, Utf8;
    BinaryArray, Binary;
}

/// What a typed `#[map_batches]` function returns: a column, a tuple of them, or a `Result` of these.
#[diagnostic::on_unimplemented(
    message = "a #[map_batches] function over columns cannot return `{Self}`",
    label = "not columns",
    note = "allowed: an array such as Float64Array, Vec<f64> and the like, a tuple of these with #[map_batches(columns(\"a\", \"b\"))], or Result<_, E: Display> of these",
    note = "a function that takes a whole &RecordBatch, with needs(...) and adds(...), may return a RecordBatch or an Answer"
)]
pub trait BatchColumns {
    fn fields(names: &[&str]) -> Vec<Field>;
    /// An error fails every row of the block.
    fn arrays(self) -> Result<Vec<ArrayRef>, String>;
}

impl<C: BatchColumn> BatchColumns for C {
    fn fields(names: &[&str]) -> Vec<Field> {
        vec![field::<C>(names[0])]
    }

    fn arrays(self) -> Result<Vec<ArrayRef>, String> {
        Ok(vec![self.into_array()])
    }
}

impl<C: BatchColumns, E: Display> BatchColumns for Result<C, E> {
    fn fields(names: &[&str]) -> Vec<Field> {
        C::fields(names)
    }

    fn arrays(self) -> Result<Vec<ArrayRef>, String> {
        self.map_err(|error| error.to_string())?.arrays()
    }
}

fn field<C: BatchColumn>(name: &str) -> Field {
    Field::new(name, C::data_type(), C::NULLABLE)
}

macro_rules! tuples {
    ($($($column:ident $at:tt),+;)+) => {$(
        impl<$($column: BatchColumn),+> BatchColumns for ($($column,)+) {
            fn fields(names: &[&str]) -> Vec<Field> {
                vec![$(field::<$column>(names[$at])),+]
            }

            fn arrays(self) -> Result<Vec<ArrayRef>, String> {
                Ok(vec![$(self.$at.into_array()),+])
            }
        }
    )+};
}

tuples! {
    A 0;
    A 0, B 1;
    A 0, B 1, C 2;
    A 0, B 1, C 2, D 3;
    A 0, B 1, C 2, D 3, E 4;
    A 0, B 1, C 2, D 3, E 4, F 5;
    A 0, B 1, C 2, D 3, E 4, F 5, G 6;
    A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7;
    A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8;
    A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9;
    A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10;
    A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11;
}
