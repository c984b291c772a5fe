//! `numeric`: functions over whole float columns: `polynomial` of two, `standardise` of one.
//!
//! Both work on columns, not on rows: plain loops over slices, which the compiler turns into SIMD, and nulls are a bitmap
//! beside the values. Each function has a file.

mod polynomial;
mod standardise;

use wasmpipe_sdk::arrow_array::{Array, Float64Array};
use wasmpipe_sdk::{DataType, Field, RecordBatch, Schema};

wasmpipe_sdk::export!(polynomial::polynomial, standardise::standardise);

/// The column at `index` of a block whose schema says that it is of float64.
fn floats(batch: &RecordBatch, index: usize) -> Result<&Float64Array, String> {
    let column = batch.column(index).as_any().downcast_ref::<Float64Array>();
    column.ok_or_else(|| format!("column {index} is no float64 column"))
}

/// A schema of float64 columns, each nullable if the column of that name in the input is.
fn float_columns<'a>(input: &Schema, names: impl IntoIterator<Item = &'a str>) -> Result<Schema, String> {
    let field = |name: &'a str| match input.field_with_name(name) {
        Ok(field) => Ok(Field::new(name, DataType::Float64, field.is_nullable())),
        Err(_) => Err(format!("there is no column `{name}`; the columns here are {}", list(input))),
    };
    Ok(Schema::new(names.into_iter().map(field).collect::<Result<Vec<_>, _>>()?))
}

fn list(schema: &Schema) -> String {
    schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ")
}
