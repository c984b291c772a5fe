//! The columns of a decoded batch in the order and types that are wanted.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{FieldRef, SchemaRef};

use crate::columns;

/// A batch whose column has a value that the job's type does not hold.
pub(super) struct Unfit {
    /// The row in the batch, if it is the fault of one.
    pub(super) row: Option<usize>,
    /// What is wrong with it.
    pub(super) message: String,
}

/// The columns of a decoded batch in the job's order and types.
pub(super) fn arrange(batch: &RecordBatch, places: &[Option<usize>], schema: &SchemaRef) -> Result<RecordBatch, Unfit> {
    let column = |(place, field): (&Option<usize>, &FieldRef)| match place {
        Some(place) => converted(batch.column(*place), field),
        None => Ok(new_null_array(field.data_type(), batch.num_rows())),
    };
    let columns = places.iter().zip(schema.fields()).map(column).collect::<Result<Vec<ArrayRef>, Unfit>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let arranged = RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options);
    arranged.map_err(|error| Unfit { row: None, message: error.to_string() })
}

fn converted(column: &ArrayRef, field: &FieldRef) -> Result<ArrayRef, Unfit> {
    let to = field.data_type();
    columns::convert(column, to).map_err(|error| {
        let does_not_fit = |row: &usize| columns::convert(&column.slice(*row, 1), to).is_err();
        let Some(row) = (0..column.len()).find(does_not_fit) else {
            return Unfit { row: None, message: format!("column `{}`: {error}", field.name()) };
        };
        let value = columns::text(column, row, "null");
        Unfit { row: Some(row), message: format!("column `{}` is {value}, which {to} does not reach", field.name()) }
    })
}
