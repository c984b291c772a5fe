//! The output against a file: the same columns, the same rows, in the same order.

use std::path::Path;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::Schema;

use crate::author::sample;
use crate::columns::text;
use crate::message::Refused;

/// Values that are told apart; of others it is said how many there are.
const VALUES_MAX: usize = 5;

/// Where an output is not as expected.
#[derive(Debug, PartialEq, Eq)]
pub enum Difference {
    /// It has other columns; nothing else is compared then.
    Columns {
        /// Names and types.
        is: String,
        /// As they should be.
        expected: String,
    },
    /// It has more rows, or fewer.
    Rows {
        /// How many.
        is: usize,
        /// How many it should have.
        expected: usize,
    },
    /// A value.
    Value {
        /// Of the output, counted from 0.
        row: usize,
        /// The column.
        name: String,
        /// The value as a text.
        is: String,
        /// As it should be.
        expected: String,
    },
    /// So many values beside.
    More(usize),
}

pub(super) fn read(path: &Path) -> Result<RecordBatch, Refused> {
    let whole = sample::Limit { skip: 0, rows: u64::MAX, bytes: usize::MAX };
    sample::read(path, whole).map(|sample| sample.rows)
}

/// All of them; none if there is none.
pub(super) fn differences(output: &RecordBatch, expected: &RecordBatch) -> Vec<Difference> {
    let (is, wanted) = (columns(output.schema_ref()), columns(expected.schema_ref()));
    if is != wanted {
        return vec![Difference::Columns { is, expected: wanted }];
    }
    let mut found = Vec::new();
    if output.num_rows() != expected.num_rows() {
        found.push(Difference::Rows { is: output.num_rows(), expected: expected.num_rows() });
    }
    let rows = output.num_rows().min(expected.num_rows());
    let cells = (0..rows).flat_map(|row| (0..output.num_columns()).map(move |column| (row, column)));
    let mut different = cells.filter(|&(row, column)| differs(output, expected, row, column));
    found.extend(different.by_ref().take(VALUES_MAX).map(|(row, column)| value(output, expected, row, column)));
    let more = different.count();
    found.extend((more > 0).then_some(Difference::More(more)));
    found
}

fn differs(output: &RecordBatch, expected: &RecordBatch, row: usize, column: usize) -> bool {
    output.column(column).slice(row, 1).to_data() != expected.column(column).slice(row, 1).to_data()
}

fn value(output: &RecordBatch, expected: &RecordBatch, row: usize, column: usize) -> Difference {
    let text = |batch: &RecordBatch| text(batch.column(column).as_ref(), row, "null");
    let name = output.schema_ref().field(column).name().clone();
    Difference::Value { row, name, is: text(output), expected: text(expected) }
}

/// Whether a column may be null is no part of it: a file that was written by others may not know.
fn columns(schema: &Schema) -> String {
    let fields = schema.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type()));
    fields.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    fn batch(names: &[&str], numbers: &[i64]) -> RecordBatch {
        let names: ArrayRef = Arc::new(StringArray::from(names.to_vec()));
        let numbers: ArrayRef = Arc::new(Int64Array::from(numbers.to_vec()));
        RecordBatch::try_from_iter([("name", names), ("n", numbers)]).unwrap()
    }

    #[test]
    fn what_differs() {
        let output = batch(&["a", "b", "c"], &[1, 2, 3]);
        assert_eq!(differences(&output, &output), Vec::<Difference>::new());
        let other = differences(&output, &batch(&["a", "x"], &[1, 5]));
        let value = |name: &str, is: &str, expected: &str| Difference::Value {
            row: 1,
            name: name.into(),
            is: is.into(),
            expected: expected.into(),
        };
        assert_eq!(other, [Difference::Rows { is: 3, expected: 2 }, value("name", "b", "x"), value("n", "2", "5")]);
        let other = differences(&output, &output.project(&[1]).unwrap());
        assert_eq!(other, [Difference::Columns { is: "name Utf8, n Int64".into(), expected: "n Int64".into() }]);
        assert_eq!(
            differences(&batch(&["a"; 9], &[1; 9]), &batch(&["a"; 9], &[2; 9])).last().unwrap(),
            &Difference::More(4)
        );
    }
}
