//! Rows as a text table: one line a row, columns aligned, numbers to the right, long values cut. Values come from data
//! and from functions, so nothing in them steers a terminal.

use arrow::array::{Array, RecordBatch};

use crate::columns;

/// Characters of one cell; a longer value is cut.
const CELL_CHARS_MAX: usize = 36;

/// Name and type.
const HEAD_LINES: usize = 2;

/// The first `shown` rows of a batch below their names and types. `label` names a row, in the column `row`.
pub(super) fn of_batch(batch: &RecordBatch, shown: usize, label: impl Fn(usize) -> String) -> String {
    of_first(batch, batch.num_rows(), shown, label)
}

/// As [`of_batch`], of the first of so many rows.
pub(super) fn of_first(batch: &RecordBatch, all: usize, shown: usize, label: impl Fn(usize) -> String) -> String {
    let rows = batch.num_rows().min(shown);
    let mut columns = vec![Column::labels((0..rows).map(label).collect())];
    columns.extend((0..batch.num_columns()).map(|index| Column::of(batch, index, rows)));
    let mut text = String::new();
    for line in 0..HEAD_LINES + rows {
        let cells = columns.iter().map(|column| column.cell(line));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    if all > rows {
        text.push_str(&format!("... {} more\n", all - rows));
    }
    text
}

/// One value as it stands in a table.
pub(super) fn value(column: &dyn Array, row: usize) -> String {
    cut(&columns::text(column, row, "null"))
}

struct Column {
    /// Name, type, values.
    lines: Vec<String>,
    width: usize,
    to_the_right: bool,
}

impl Column {
    fn labels(labels: Vec<String>) -> Column {
        Column::new([vec!["row".to_owned(), String::new()], labels].concat(), true)
    }

    fn of(batch: &RecordBatch, index: usize, rows: usize) -> Column {
        let (schema, column) = (batch.schema_ref(), batch.column(index));
        let field = schema.field(index);
        let mut lines = vec![cut(field.name()), cut(&field.data_type().to_string())];
        lines.extend((0..rows).map(|row| value(column.as_ref(), row)));
        Column::new(lines, field.data_type().is_numeric())
    }

    fn new(lines: Vec<String>, to_the_right: bool) -> Column {
        let width = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
        Column { lines, width, to_the_right }
    }

    fn cell(&self, line: usize) -> String {
        let (text, width) = (&self.lines[line], self.width);
        if self.to_the_right { format!("{text:>width$}") } else { format!("{text:<width$}") }
    }
}

/// A value in a cell.
pub(super) fn cut(text: &str) -> String {
    super::text::cut(text, CELL_CHARS_MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use expect_test::expect;

    use super::*;

    #[test]
    fn rows_are_aligned_and_harmless() {
        let long = "x".repeat(100);
        let text: ArrayRef = Arc::new(StringArray::from(vec![Some("a\x1b[31m\nb"), None, Some(&long), Some("d")]));
        let n: ArrayRef = Arc::new(Int64Array::from(vec![1, -20, 300, 4]));
        let batch = RecordBatch::try_from_iter([("text", text), ("n", n)]).unwrap();
        expect![[r#"
            row  text                                      n
                 Utf8                                  Int64
              0  a�[31m�b                                  1
              1  null                                    -20
              2  xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…    300
            ... 1 more
        "#]]
        .assert_eq(&of_batch(&batch, 3, |row| row.to_string()));
    }
}
