//! The output against a Parquet file: the same columns, the same rows, in the same order.

use std::path::Path;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::Schema;

use super::{Refused, sample, table};
use crate::cli::text::{counted, number};

/// Differences that are printed.
const SHOWN_MAX: usize = 5;

pub(super) fn read(path: &Path) -> Result<RecordBatch, Refused> {
    let whole = sample::Limit { skip: 0, rows: usize::MAX, bytes: usize::MAX };
    sample::read(path, whole).map(|sample| sample.rows)
}

/// Says how they differ, if they do.
pub(super) fn compare(output: &RecordBatch, expected: &RecordBatch) -> bool {
    let differences = differences(output, expected);
    match &differences[..] {
        [] => out!("expect: {}, all as expected", counted(output.num_rows() as u64, "row")),
        some => {
            out!("expect: the output is not as expected");
            some.iter().for_each(|difference| out!("  {difference}"));
        }
    }
    differences.is_empty()
}

fn differences(output: &RecordBatch, expected: &RecordBatch) -> Vec<String> {
    let (is, wanted) = (columns(output.schema_ref()), columns(expected.schema_ref()));
    if is != wanted {
        return vec![format!("the columns are {is}"), format!("expected are  {wanted}")];
    }
    let mut found = Vec::new();
    if output.num_rows() != expected.num_rows() {
        let (is, wanted) = (number(output.num_rows() as u64), number(expected.num_rows() as u64));
        found.push(format!("{is} rows, expected are {wanted}"));
    }
    let rows = output.num_rows().min(expected.num_rows());
    let cells = (0..rows).flat_map(|row| (0..output.num_columns()).map(move |column| (row, column)));
    let mut different = cells.filter(|&(row, column)| differs(output, expected, row, column));
    for (row, column) in different.by_ref().take(SHOWN_MAX) {
        let name = output.schema_ref().field(column).name().clone();
        let (is, wanted) = (output.column(column), expected.column(column));
        let (is, wanted) = (table::value(is.as_ref(), row), table::value(wanted.as_ref(), row));
        found.push(format!("output row {row}, {name}: {is}, expected is {wanted}"));
    }
    let more = different.count();
    if more > 0 {
        found.push(format!("... and {} more values", number(more as u64)));
    }
    found
}

fn differs(output: &RecordBatch, expected: &RecordBatch, row: usize, column: usize) -> bool {
    output.column(column).slice(row, 1).to_data() != expected.column(column).slice(row, 1).to_data()
}

/// Whether a column may be null is no part of it: a Parquet file that was written by others may not know.
fn columns(schema: &Schema) -> String {
    let fields = schema.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type()));
    fields.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use expect_test::expect;

    use super::*;

    fn batch(names: &[&str], numbers: &[i64]) -> RecordBatch {
        let names: ArrayRef = Arc::new(StringArray::from(names.to_vec()));
        let numbers: ArrayRef = Arc::new(Int64Array::from(numbers.to_vec()));
        RecordBatch::try_from_iter([("name", names), ("n", numbers)]).unwrap()
    }

    #[test]
    fn what_differs() {
        let output = batch(&["a", "b", "c"], &[1, 2, 3]);
        assert_eq!(differences(&output, &output), Vec::<String>::new());
        let other = differences(&output, &batch(&["a", "x"], &[1, 5]));
        expect![[r#"
            3 rows, expected are 2
            output row 1, name: b, expected is x
            output row 1, n: 2, expected is 5"#]]
        .assert_eq(&other.join("\n"));
        let other = differences(&output, &output.project(&[1]).unwrap());
        expect![[r#"
            the columns are name Utf8, n Int64
            expected are  n Int64"#]]
        .assert_eq(&other.join("\n"));
        assert_eq!(
            differences(&batch(&["a"; 9], &[1; 9]), &batch(&["a"; 9], &[2; 9])).last().unwrap(),
            "... and 4 more values"
        );
    }
}
