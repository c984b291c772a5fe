//! Dictionaries whose numbers are narrow: of 8 or 16 bits, as the source has them. Readers number the values of a row group
//! one by one, and fail where there are more than that. So a row group ends before it has too many.

use std::collections::HashSet;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::DataType;

/// Counts the values of the open row group.
#[derive(Debug)]
pub(super) struct Narrow(Vec<Column>);

#[derive(Debug)]
struct Column {
    place: usize,
    values_max: usize,
    seen: HashSet<Vec<u8>>,
}

impl Narrow {
    /// Places of columns, and how many values each may have.
    pub fn new(columns: &[(usize, usize)]) -> Narrow {
        let column = |&(place, values_max)| Column { place, values_max, seen: HashSet::new() };
        Narrow(columns.iter().map(column).collect())
    }

    /// A row group ended.
    pub fn clear(&mut self) {
        self.0.iter_mut().for_each(|column| column.seen.clear());
    }

    /// How many rows of the batch, from the first, the open row group takes.
    pub fn fitting(&mut self, batch: &RecordBatch) -> usize {
        let fitting = |rows, column: &mut Column| column.fitting(batch.column(column.place), rows);
        self.0.iter_mut().fold(batch.num_rows(), fitting)
    }
}

impl Column {
    fn fitting(&mut self, values: &ArrayRef, rows: usize) -> usize {
        match values.data_type() {
            DataType::Utf8 => {
                let values = values.as_string::<i32>();
                self.count(rows, |row| values.is_valid(row).then(|| values.value(row).as_bytes()))
            }
            DataType::LargeUtf8 => {
                let values = values.as_string::<i64>();
                self.count(rows, |row| values.is_valid(row).then(|| values.value(row).as_bytes()))
            }
            DataType::Binary => {
                let values = values.as_binary::<i32>();
                self.count(rows, |row| values.is_valid(row).then(|| values.value(row)))
            }
            DataType::LargeBinary => {
                let values = values.as_binary::<i64>();
                self.count(rows, |row| values.is_valid(row).then(|| values.value(row)))
            }
            // Readers make dictionaries of strings and bytes only.
            _ => rows,
        }
    }

    fn count<'a>(&mut self, rows: usize, value: impl Fn(usize) -> Option<&'a [u8]>) -> usize {
        for row in 0..rows {
            let Some(value) = value(row) else { continue };
            if self.seen.contains(value) {
                continue;
            }
            if self.seen.len() == self.values_max {
                return row;
            }
            self.seen.insert(value.to_vec());
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::StringArray;

    use super::*;

    #[test]
    fn a_row_group_ends_before_it_has_too_many_values() {
        let values: StringArray = [Some("a"), None, Some("b"), Some("a"), Some("c"), Some("d")].into_iter().collect();
        let batch = RecordBatch::try_from_iter([("v", Arc::new(values) as ArrayRef)]).unwrap();
        let mut narrow = Narrow::new(&[(0, 2)]);
        assert_eq!(narrow.fitting(&batch), 4);
        narrow.clear();
        assert_eq!(narrow.fitting(&batch.slice(4, 2)), 2);
        assert_eq!(narrow.fitting(&batch.slice(5, 1)), 1);
        assert_eq!(narrow.fitting(&batch.slice(0, 1)), 0);
        assert_eq!(Narrow::new(&[]).fitting(&batch), 6);
    }
}
