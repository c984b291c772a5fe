//! What was found in a text becomes a value of a column, if it is of the column's type.

use std::sync::Arc;

use wasmpipe_sdk::DataType;
use wasmpipe_sdk::arrow_array::ArrayRef;
use wasmpipe_sdk::arrow_array::builder::{BooleanBuilder, Float64Builder, Int64Builder, StringBuilder};

use crate::FieldType;
use crate::tree::Found;

/// Up to here every whole number is a float64 of its own.
const WHOLE_FLOAT_MAX: f64 = 9_007_199_254_740_992.0;

impl FieldType {
    pub(crate) fn data_type(self) -> DataType {
        match self {
            FieldType::String | FieldType::Json => DataType::Utf8,
            FieldType::Integer => DataType::Int64,
            FieldType::Float => DataType::Float64,
            FieldType::Boolean => DataType::Boolean,
        }
    }

    pub(crate) fn words(self) -> &'static str {
        match self {
            FieldType::String => "a string",
            FieldType::Integer => "a 64-bit integer",
            FieldType::Float => "a number",
            FieldType::Boolean => "true or false",
            FieldType::Json => "a value",
        }
    }
}

/// A column that grows.
pub(crate) enum Column {
    String(StringBuilder),
    Integer(Int64Builder),
    Float(Float64Builder),
    Boolean(BooleanBuilder),
    Json(StringBuilder),
}

impl Column {
    pub(crate) fn new(kind: FieldType, rows: usize) -> Column {
        match kind {
            FieldType::String => Column::String(StringBuilder::with_capacity(rows, rows * 8)),
            FieldType::Integer => Column::Integer(Int64Builder::with_capacity(rows)),
            FieldType::Float => Column::Float(Float64Builder::with_capacity(rows)),
            FieldType::Boolean => Column::Boolean(BooleanBuilder::with_capacity(rows)),
            FieldType::Json => Column::Json(StringBuilder::with_capacity(rows, rows * 8)),
        }
    }

    /// Adds what was found; of another type, it adds a null and says what it is.
    pub(crate) fn push(&mut self, found: &Found) -> Result<(), &'static str> {
        match (self, found) {
            (Column::String(column), Found::String(value)) => column.append_value(value),
            (Column::Integer(column), found) if found.integer().is_some() => column.append_option(found.integer()),
            (Column::Float(column), found) if found.float().is_some() => column.append_option(found.float()),
            (Column::Boolean(column), Found::Boolean(value)) => column.append_value(*value),
            (Column::Json(column), Found::Json(value)) => column.append_value(value),
            (column, found) => {
                column.push_null();
                return found.mismatch();
            }
        }
        Ok(())
    }

    fn push_null(&mut self) {
        match self {
            Column::String(column) | Column::Json(column) => column.append_null(),
            Column::Integer(column) => column.append_null(),
            Column::Float(column) => column.append_null(),
            Column::Boolean(column) => column.append_null(),
        }
    }

    pub(crate) fn finish(self) -> ArrayRef {
        match self {
            Column::String(mut column) | Column::Json(mut column) => Arc::new(column.finish()),
            Column::Integer(mut column) => Arc::new(column.finish()),
            Column::Float(mut column) => Arc::new(column.finish()),
            Column::Boolean(mut column) => Arc::new(column.finish()),
        }
    }
}

impl Found<'_> {
    fn integer(&self) -> Option<i64> {
        match *self {
            Found::Signed(value) => Some(value),
            Found::Unsigned(value) => i64::try_from(value).ok(),
            // 1.0 and 1e3 are whole numbers, too.
            Found::Float(value) if value.fract() == 0.0 && value.abs() <= WHOLE_FLOAT_MAX => Some(value as i64),
            _ => None,
        }
    }

    fn float(&self) -> Option<f64> {
        match *self {
            Found::Signed(value) => Some(value as f64),
            Found::Unsigned(value) => Some(value as f64),
            Found::Float(value) => Some(value),
            _ => None,
        }
    }

    /// Nothing fits every type.
    fn mismatch(&self) -> Result<(), &'static str> {
        match self {
            Found::Nothing => Ok(()),
            Found::String(_) => Err("a string"),
            Found::Signed(_) | Found::Unsigned(_) | Found::Float(_) => Err("a number"),
            Found::Boolean(_) => Err("true or false"),
            Found::Array => Err("an array"),
            Found::Object => Err("an object"),
            Found::Json(_) => Err("a value"),
        }
    }
}
