//! A batch some of whose columns were not copied yet: each value that a function's answer repeats is there once, with the list
//! of rows that have it. What a flat map carries along costs four bytes a row until somebody needs the rows themselves, and
//! then so many of them at a time as fit into a given number of bytes.

use std::convert::Infallible;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{filter, take};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use super::bytes::{Held, range_bytes, width};

/// Rows of columns of equal length.
#[derive(Clone, Debug)]
pub struct SelectedBatch {
    schema: SchemaRef,
    columns: Vec<Column>,
    rows: usize,
}

#[derive(Clone, Debug)]
struct Column {
    values: ArrayRef,
    /// For every row the ordinal of its value; `None` while they are the same. Columns that were selected together share it.
    rows: Option<Arc<UInt32Array>>,
}

impl From<RecordBatch> for SelectedBatch {
    fn from(batch: RecordBatch) -> SelectedBatch {
        let (schema, columns, rows) = batch.into_parts();
        SelectedBatch { schema, columns: columns.into_iter().map(Column::from).collect(), rows }
    }
}

impl SelectedBatch {
    /// What is copied at once of rows that are written.
    pub const COPIED_BYTES_MAX: u64 = 4 << 20;

    /// Rows.
    pub fn num_rows(&self) -> usize {
        self.rows
    }

    /// The columns at `places`, called as in `schema`.
    pub fn project(&self, places: &[usize], schema: &SchemaRef) -> SelectedBatch {
        let columns = places.iter().map(|&place| self.columns[place].clone()).collect();
        SelectedBatch { schema: Arc::clone(schema), columns, rows: self.rows }
    }

    /// The columns at `places`, for each row of `rows` (all, in their order, if there is none) its values; then those of
    /// `adds`, which has as many rows.
    pub fn carried(
        &self,
        places: &[usize],
        rows: Option<&UInt32Array>,
        adds: &RecordBatch,
        schema: &SchemaRef,
    ) -> Result<SelectedBatch, ArrowError> {
        let mut columns = places.iter().map(|&place| self.columns[place].clone()).collect();
        if let Some(rows) = rows {
            columns = selected(columns, rows)?;
        }
        columns.extend(adds.columns().iter().cloned().map(Column::from));
        Ok(SelectedBatch { schema: Arc::clone(schema), columns, rows: adds.num_rows() })
    }

    /// Its columns, and then those of another with as many rows.
    #[must_use]
    pub fn beside(mut self, other: SelectedBatch, schema: &SchemaRef) -> SelectedBatch {
        assert_eq!(self.rows, other.rows, "rows of the same number");
        self.columns.extend(other.columns);
        SelectedBatch { schema: Arc::clone(schema), ..self }
    }

    /// Only rows for which `keep` is true.
    pub fn filtered(&self, keep: &BooleanArray) -> Result<SelectedBatch, ArrowError> {
        let mut lists = Lists::default();
        let kept = |Column { values, rows }: &Column| match rows {
            None => filter(values.as_ref(), keep).map(Column::from),
            Some(rows) => {
                let rows =
                    lists.changed(rows, |rows| Ok::<_, ArrowError>(filter(rows, keep)?.as_primitive().clone()))?;
                Ok(Column { values: Arc::clone(values), rows: Some(rows) })
            }
        };
        let columns = self.columns.iter().map(kept).collect::<Result<_, ArrowError>>()?;
        Ok(SelectedBatch { schema: Arc::clone(&self.schema), columns, rows: keep.true_count() })
    }

    /// So many rows, without copying.
    pub fn slice(&self, rows: &Range<usize>) -> SelectedBatch {
        if *rows == (0..self.rows) {
            return self.clone();
        }
        let mut lists = Lists::default();
        let sliced = |Column { values, rows: selected }: &Column| match selected {
            None => Column::from(values.slice(rows.start, rows.len())),
            Some(list) => {
                let Ok(list) = lists.changed(list, |list| Ok::<_, Infallible>(list.slice(rows.start, rows.len())));
                Column { values: Arc::clone(values), rows: Some(list) }
            }
        };
        let columns = self.columns.iter().map(sliced).collect();
        SelectedBatch { schema: Arc::clone(&self.schema), columns, rows: rows.len() }
    }

    /// Rows whose value in a column is null.
    pub fn null_rows(&self, place: usize) -> Vec<usize> {
        let Column { values, rows } = &self.columns[place];
        match (values.null_count(), rows) {
            (0, _) => Vec::new(),
            (_, None) => (0..self.rows).filter(|&row| values.is_null(row)).collect(),
            (_, Some(rows)) => (0..self.rows).filter(|&row| values.is_null(rows.value(row) as usize)).collect(),
        }
    }

    /// Some rows of the columns at `places`. Copies what has to be copied.
    pub fn columns(&self, places: &[usize], rows: &Range<usize>) -> Result<Vec<ArrayRef>, ArrowError> {
        places.iter().map(|&place| self.columns[place].array(rows)).collect()
    }

    /// Some rows of all columns. Copies what has to be copied.
    pub fn batch(&self, rows: &Range<usize>) -> Result<RecordBatch, ArrowError> {
        let columns = self.columns.iter().map(|column| column.array(rows)).collect::<Result<_, ArrowError>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
    }

    /// Cuts all rows into parts, as far as the columns at `places` go.
    pub fn cuts(&self, places: &[usize]) -> Cuts<'_> {
        let mut weights = Vec::new();
        places.iter().for_each(|&place| self.columns[place].weigh(&mut weights));
        Cuts { weights, rows: 0..self.rows }
    }

    /// All rows as batches that each copy no more than `bytes_max` bytes, unless they are one row.
    pub fn batches(&self, bytes_max: u64) -> impl Iterator<Item = Result<RecordBatch, ArrowError>> {
        let places: Vec<usize> = (0..self.columns.len()).collect();
        let mut cuts = self.cuts(&places);
        std::iter::from_fn(move || cuts.next(usize::MAX, bytes_max)).map(|rows| self.batch(&rows))
    }

    /// Bytes of a row in the columns at `places`, as if they were copied.
    pub fn row_bytes(&self, places: &[usize], row: usize) -> u64 {
        places.iter().map(|&place| self.columns[place].row_bytes(row)).sum()
    }

    /// Bytes that it keeps in memory, about.
    pub fn held_bytes(&self) -> u64 {
        let mut held = Held::default();
        self.hold(&mut held);
        held.bytes
    }

    /// Adds what it keeps in memory, about: values once, and the lists of rows.
    pub(super) fn hold(&self, held: &mut Held) {
        for Column { values, rows } in &self.columns {
            match rows {
                None => held.slice(values),
                Some(rows) => {
                    held.values(values);
                    held.list(rows);
                }
            }
        }
    }
}

impl From<ArrayRef> for Column {
    fn from(values: ArrayRef) -> Column {
        Column { values, rows: None }
    }
}

impl Column {
    fn row_bytes(&self, row: usize) -> u64 {
        let value = self.rows.as_ref().map_or(row, |rows| rows.value(row) as usize);
        range_bytes(&self.values, &(value..value + 1))
    }

    /// Adds it to what the rows of its list weigh.
    fn weigh<'a>(&'a self, weights: &mut Vec<Weight<'a>>) {
        let Some(rows) = &self.rows else { return };
        let place = weights.iter().position(|weight| Arc::ptr_eq(weight.rows, rows)).unwrap_or_else(|| {
            weights.push(Weight { rows, fixed: 0, varying: Vec::new(), last: None });
            weights.len() - 1
        });
        match width(self.values.data_type()) {
            Some(width) => weights[place].fixed += width,
            None => weights[place].varying.push(&self.values),
        }
    }

    fn array(&self, rows: &Range<usize>) -> Result<ArrayRef, ArrowError> {
        match &self.rows {
            None => Ok(self.values.slice(rows.start, rows.len())),
            Some(selected) => take(self.values.as_ref(), &selected.slice(rows.start, rows.len()), None),
        }
    }
}

/// Lists of rows, and what becomes of each: columns that share one share the new one, too.
#[derive(Default)]
struct Lists(Vec<(Arc<UInt32Array>, Arc<UInt32Array>)>);

impl Lists {
    fn changed<E>(
        &mut self,
        list: &Arc<UInt32Array>,
        change: impl FnOnce(&UInt32Array) -> Result<UInt32Array, E>,
    ) -> Result<Arc<UInt32Array>, E> {
        if let Some((_, after)) = self.0.iter().find(|(before, _)| Arc::ptr_eq(before, list)) {
            return Ok(Arc::clone(after));
        }
        let after = Arc::new(change(list)?);
        self.0.push((Arc::clone(list), Arc::clone(&after)));
        Ok(after)
    }
}

/// For each row of `rows` the columns' values.
fn selected(columns: Vec<Column>, rows: &UInt32Array) -> Result<Vec<Column>, ArrowError> {
    let (plain, mut lists) = (Arc::new(rows.clone()), Lists::default());
    let mut composed = |before: Option<Arc<UInt32Array>>| match before {
        None => Ok(Arc::clone(&plain)),
        Some(before) => {
            lists.changed(&before, |before| Ok::<_, ArrowError>(take(before, rows, None)?.as_primitive().clone()))
        }
    };
    let select = |Column { values, rows }| Ok::<_, ArrowError>(Column { values, rows: Some(composed(rows)?) });
    columns.into_iter().map(select).collect()
}

/// Rows on their way into parts.
pub struct Cuts<'a> {
    weights: Vec<Weight<'a>>,
    /// Those that are left.
    rows: Range<usize>,
}

impl Cuts<'_> {
    /// The next part: no more than `rows_max` rows, nor copies of more than `bytes_max` bytes unless it is one row. What is
    /// not selected is no copy.
    pub fn next(&mut self, rows_max: usize, bytes_max: u64) -> Option<Range<usize>> {
        if self.rows.is_empty() {
            return None;
        }
        let count = self.fitting(self.rows.len().min(rows_max.max(1)), bytes_max);
        let start = self.rows.start;
        self.rows.start += count;
        Some(start..start + count)
    }

    fn fitting(&mut self, count: usize, bytes_max: u64) -> usize {
        let fixed: u64 = self.weights.iter().map(|weight| weight.fixed).sum();
        if self.weights.iter().all(|weight| weight.varying.is_empty()) {
            let fitting = bytes_max.checked_div(fixed).unwrap_or(u64::MAX).max(1);
            return count.min(usize::try_from(fitting).unwrap_or(usize::MAX));
        }
        let mut bytes = 0;
        for (taken, row) in self.rows.clone().take(count).enumerate() {
            bytes += self.weights.iter_mut().map(|weight| weight.of_row(row)).sum::<u64>();
            if bytes > bytes_max && taken > 0 {
                return taken;
            }
        }
        count
    }
}

/// What the rows of columns weigh that share a list of rows.
struct Weight<'a> {
    rows: &'a Arc<UInt32Array>,
    /// Bytes of a row in those whose values all have as many.
    fixed: u64,
    /// The others.
    varying: Vec<&'a ArrayRef>,
    /// The last row's value, and its bytes: rows that have the same stand together.
    last: Option<(u32, u64)>,
}

impl Weight<'_> {
    fn of_row(&mut self, row: usize) -> u64 {
        let value = self.rows.value(row);
        if let Some((last, bytes)) = self.last
            && last == value
        {
            return bytes;
        }
        let range = value as usize..value as usize + 1;
        let bytes = self.fixed + self.varying.iter().map(|values| range_bytes(values, &range)).sum::<u64>();
        self.last = Some((value, bytes));
        bytes
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::Schema;

    use super::*;

    fn texts(bytes: &[usize]) -> RecordBatch {
        let texts = StringArray::from_iter_values(bytes.iter().map(|bytes| "x".repeat(*bytes)));
        RecordBatch::try_from_iter([("s", Arc::new(texts) as ArrayRef)]).unwrap()
    }

    fn numbers(rows: usize) -> RecordBatch {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows as i64));
        RecordBatch::try_from_iter([("n", numbers)]).unwrap()
    }

    /// Texts, repeated as `rows` says.
    fn selected(bytes: &[usize], rows: &[u32]) -> SelectedBatch {
        let (texts, numbers) = (texts(bytes), numbers(rows.len()));
        let schema =
            Arc::new(Schema::new([texts.schema().field(0).clone(), numbers.schema().field(0).clone()].to_vec()));
        let rows = UInt32Array::from(rows.to_vec());
        SelectedBatch::from(texts).carried(&[0], Some(&rows), &numbers, &schema).unwrap()
    }

    #[test]
    fn cuts_copy_no_more_than_they_may() {
        let batch = selected(&[6, 96, 996], &[0, 0, 0, 1, 1, 2, 2, 0]);
        let all = |mut cuts: Cuts<'_>, rows_max, bytes_max| {
            std::iter::from_fn(|| cuts.next(rows_max, bytes_max)).map(|rows| (rows.start, rows.end)).collect::<Vec<_>>()
        };
        let cuts = |rows_max, bytes_max| all(batch.cuts(&[0, 1]), rows_max, bytes_max);
        assert_eq!(cuts(8, 10_000), [(0, 8)]);
        assert_eq!(cuts(3, 10_000), [(0, 3), (3, 6), (6, 8)]);
        assert_eq!(cuts(8, 130), [(0, 4), (4, 5), (5, 6), (6, 7), (7, 8)]);
        // Numbers are as they came, and cost nothing.
        assert_eq!(all(batch.cuts(&[1]), 8, 1), [(0, 8)]);
        let whole = batch.batch(&(0..8)).unwrap();
        for bytes_max in [1, 20, 130, 1000, 1 << 20] {
            let batches: Vec<RecordBatch> = batch.batches(bytes_max).collect::<Result<_, _>>().unwrap();
            assert_eq!(arrow::compute::concat_batches(&whole.schema(), &batches).unwrap(), whole);
        }
        assert_eq!(selected(&[1], &[]).cuts(&[0]).next(8, 8), None);
    }

    #[test]
    fn selections_compose_and_share() {
        let first = selected(&[6, 96, 996], &[0, 0, 1, 2]);
        let schema = Arc::clone(&first.schema);
        let rows = UInt32Array::from(vec![3, 3, 1]);
        let second = first.carried(&[0], Some(&rows), &numbers(3), &schema).unwrap();
        let keep = BooleanArray::from(vec![true, false, true]);
        let kept = second.slice(&(1..3)).batch(&(0..2)).unwrap();
        assert_eq!(second.filtered(&keep).unwrap().batch(&(0..2)).unwrap().column(0), kept.column(0));
        assert_eq!(kept.column(0).as_string::<i32>().value(0).len(), 996);
        assert_eq!([0, 1, 2].map(|row| second.row_bytes(&[0, 1], row)), [1008, 1008, 18]);
    }

    /// Four bytes for each row, however many columns are carried, and however often rows were cut out.
    #[test]
    fn columns_that_share_rows_go_on_sharing_them() {
        let columns = || (0..50).map(|nth| (format!("c{nth}"), numbers(3).column(0).clone()));
        let wide = RecordBatch::try_from_iter(columns()).unwrap();
        let none = RecordBatch::try_new_with_options(
            Arc::new(Schema::empty()),
            vec![],
            &RecordBatchOptions::new().with_row_count(Some(8)),
        );
        let (none, places): (_, Vec<usize>) = (none.unwrap(), (0..50).collect());
        let carried = |batch: &SelectedBatch, rows: Vec<u32>| {
            let schema = Arc::clone(&batch.schema);
            batch.carried(&places, Some(&UInt32Array::from(rows)), &none, &schema).unwrap()
        };
        let bytes = SelectedBatch::held_bytes;
        let first = carried(&wide.into(), vec![0, 0, 0, 1, 1, 2, 2, 2]);
        let values = 50 * 3 * 8;
        assert_eq!(bytes(&first), values + 8 * 4);
        let slice = first.slice(&(1..7));
        assert_eq!(bytes(&slice), values + 6 * 4);
        let filtered = slice.filtered(&BooleanArray::from(vec![true, true, false, true, true, false])).unwrap();
        assert_eq!(bytes(&filtered), values + 4 * 4);
        let second = carried(&filtered, vec![0, 0, 1, 1, 2, 2, 3, 3]);
        assert_eq!(bytes(&second), values + 8 * 4);
        assert_eq!(second.columns[7].array(&(0..8)).unwrap().as_ref(), &Int64Array::from(vec![0, 0, 0, 0, 1, 1, 2, 2]));
    }
}
