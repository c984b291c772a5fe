//! A batch some of whose columns were not copied yet: each value that a function's answer repeats is there once, with the list
//! of rows that have it. What a flat map carries along costs four bytes a row until somebody needs the rows themselves, and
//! then so many of them at a time as fit into a given number of bytes.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, GenericByteArray, OffsetSizeTrait, RecordBatch, RecordBatchOptions,
    UInt32Array,
};
use arrow::compute::{filter, take};
use arrow::datatypes::{ArrowNativeType, ByteArrayType, DataType, SchemaRef};
use arrow::error::ArrowError;

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
        let mut columns: Vec<Column> = places.iter().map(|&place| self.columns[place].clone()).collect();
        if let Some(rows) = rows {
            select(&mut columns, rows)?;
        }
        columns.extend(adds.columns().iter().cloned().map(Column::from));
        Ok(SelectedBatch { schema: Arc::clone(schema), columns, rows: adds.num_rows() })
    }

    /// Only rows for which `keep` is true.
    pub fn filtered(&self, keep: &BooleanArray) -> Result<SelectedBatch, ArrowError> {
        let rows = keep.true_count();
        let kept = |column: &Column| match &column.rows {
            None => filter(column.values.as_ref(), keep).map(Column::from),
            Some(rows) => {
                let rows = filter(rows.as_ref(), keep)?.as_primitive().clone();
                Ok(Column { values: Arc::clone(&column.values), rows: Some(Arc::new(rows)) })
            }
        };
        let columns = self.columns.iter().map(kept).collect::<Result<_, ArrowError>>()?;
        Ok(SelectedBatch { schema: Arc::clone(&self.schema), columns, rows })
    }

    /// So many rows, without copying.
    pub fn slice(&self, rows: &Range<usize>) -> SelectedBatch {
        let columns = self.columns.iter().map(|column| column.slice(rows)).collect();
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
        let columns = places.iter().map(|&place| &self.columns[place]);
        let selected: Vec<Weight<'_>> = columns.filter_map(Weight::of_selected).collect();
        let largest = selected.iter().map(|weight| weight.largest).sum();
        Cuts { selected, largest, rows: 0..self.rows }
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

    /// Adds what it keeps in memory, about: values once, and the lists of rows.
    pub(super) fn hold(&self, held: &mut Held) {
        for Column { values, rows } in &self.columns {
            match rows {
                None => held.bytes += range_bytes(values, &(0..values.len())),
                Some(rows) => {
                    held.once(Arc::as_ptr(values).cast(), || range_bytes(values, &(0..values.len())));
                    held.once(Arc::as_ptr(rows).cast(), || (rows.len() * size_of::<u32>()) as u64);
                }
            }
        }
    }
}

/// Bytes in memory, where several hold the same.
#[derive(Default)]
pub(super) struct Held {
    pub(super) bytes: u64,
    shared: HashSet<*const ()>,
}

impl Held {
    fn once(&mut self, what: *const (), bytes: impl FnOnce() -> u64) {
        if self.shared.insert(what) {
            self.bytes += bytes();
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

    fn slice(&self, rows: &Range<usize>) -> Column {
        match &self.rows {
            None => Column::from(self.values.slice(rows.start, rows.len())),
            Some(selected) => {
                let selected = Arc::new(selected.slice(rows.start, rows.len()));
                Column { values: Arc::clone(&self.values), rows: Some(selected) }
            }
        }
    }

    fn array(&self, rows: &Range<usize>) -> Result<ArrayRef, ArrowError> {
        match &self.rows {
            None => Ok(self.values.slice(rows.start, rows.len())),
            Some(selected) => take(self.values.as_ref(), &selected.slice(rows.start, rows.len()), None),
        }
    }
}

/// Of columns that share a list of rows, the new ones share one, too.
fn select(columns: &mut [Column], rows: &UInt32Array) -> Result<(), ArrowError> {
    let plain = Arc::new(rows.clone());
    let mut composed: Vec<(Arc<UInt32Array>, Arc<UInt32Array>)> = Vec::new();
    for column in columns {
        column.rows = Some(match &column.rows {
            None => Arc::clone(&plain),
            Some(before) => match composed.iter().find(|(known, _)| Arc::ptr_eq(known, before)) {
                Some((_, after)) => Arc::clone(after),
                None => {
                    let after = Arc::new(take(before.as_ref(), rows, None)?.as_primitive().clone());
                    composed.push((Arc::clone(before), Arc::clone(&after)));
                    after
                }
            },
        });
    }
    Ok(())
}

/// Rows on their way into parts.
pub struct Cuts<'a> {
    selected: Vec<Weight<'a>>,
    /// Bytes of a row at most.
    largest: u64,
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
        let count = self.rows.len().min(rows_max.max(1));
        let fits = self.largest.saturating_mul(count as u64) <= bytes_max;
        let count = if fits { count } else { self.fitting(count, bytes_max) };
        let start = self.rows.start;
        self.rows.start += count;
        Some(start..start + count)
    }

    fn fitting(&self, count: usize, bytes_max: u64) -> usize {
        let mut bytes = 0;
        for (taken, row) in self.rows.clone().take(count).enumerate() {
            bytes += self.selected.iter().map(|weight| weight.of_row(row)).sum::<u64>();
            if bytes > bytes_max && taken > 0 {
                return taken;
            }
        }
        count
    }
}

/// What the rows of a selected column weigh.
struct Weight<'a> {
    rows: &'a UInt32Array,
    /// Of each value.
    bytes: Vec<u64>,
    largest: u64,
}

impl<'a> Weight<'a> {
    fn of_selected(Column { values, rows }: &'a Column) -> Option<Weight<'a>> {
        let rows = rows.as_ref()?;
        let bytes: Vec<u64> = (0..values.len()).map(|value| range_bytes(values, &(value..value + 1))).collect();
        let largest = bytes.iter().copied().max().unwrap_or(0);
        Some(Weight { rows, bytes, largest })
    }

    fn of_row(&self, row: usize) -> u64 {
        self.bytes[self.rows.value(row) as usize]
    }
}

/// Bytes that a copy of some values of an array takes, about. Takes no time for each value, but of nested unions and the like.
pub fn range_bytes(array: &dyn Array, range: &Range<usize>) -> u64 {
    match array.data_type() {
        DataType::Null | DataType::Boolean => range.len() as u64,
        DataType::Utf8 => of_bytes(array.as_string::<i32>(), range),
        DataType::LargeUtf8 => of_bytes(array.as_string::<i64>(), range),
        DataType::Binary => of_bytes(array.as_binary::<i32>(), range),
        DataType::LargeBinary => of_bytes(array.as_binary::<i64>(), range),
        DataType::List(_) => of_items(array.as_list::<i32>().offsets(), array.as_list::<i32>().values(), range),
        DataType::LargeList(_) => of_items(array.as_list::<i64>().offsets(), array.as_list::<i64>().values(), range),
        DataType::Map(..) => of_items(array.as_map().offsets(), array.as_map().entries(), range),
        DataType::Struct(_) => array.as_struct().columns().iter().map(|column| range_bytes(column, range)).sum(),
        DataType::FixedSizeList(_, size) => {
            let size = *size as usize;
            range_bytes(array.as_fixed_size_list().values(), &(range.start * size..range.end * size))
        }
        DataType::FixedSizeBinary(width) => range.len() as u64 * *width as u64,
        DataType::Dictionary(key, _) => (range.len() * key.primitive_width().unwrap_or(8)) as u64,
        other => match other.primitive_width() {
            Some(width) => (range.len() * width) as u64,
            None => array.slice(range.start, range.len()).to_data().get_slice_memory_size().unwrap_or(0) as u64,
        },
    }
}

fn of_bytes<T: ByteArrayType>(array: &GenericByteArray<T>, range: &Range<usize>) -> u64 {
    let offsets = array.value_offsets();
    ((offsets[range.end] - offsets[range.start]).as_usize() + range.len() * size_of::<T::Offset>()) as u64
}

fn of_items<O: OffsetSizeTrait>(offsets: &[O], items: &dyn Array, range: &Range<usize>) -> u64 {
    let of_items = range_bytes(items, &(offsets[range.start].as_usize()..offsets[range.end].as_usize()));
    of_items + (range.len() * size_of::<O>()) as u64
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, Int64Builder, ListBuilder, StringArray, StructArray};
    use arrow::datatypes::{Field, Schema};

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

    #[test]
    fn bytes_of_nested_values() {
        let mut lists = ListBuilder::new(Int64Builder::new());
        for length in [0, 3, 1] {
            lists.values().append_slice(&vec![1; length]);
            lists.append(true);
        }
        let lists: ArrayRef = Arc::new(lists.finish());
        let texts = Arc::clone(texts(&[1, 2, 3]).column(0));
        let field = |array: &ArrayRef, name: &str| Arc::new(Field::new(name, array.data_type().clone(), true));
        let both = StructArray::from(vec![(field(&lists, "l"), Arc::clone(&lists)), (field(&texts, "s"), texts)]);
        assert_eq!(range_bytes(&lists, &(0..3)), 3 * 4 + 4 * 8);
        assert_eq!(range_bytes(&both, &(1..2)), 4 + 3 * 8 + 4 + 2);
        assert_eq!(range_bytes(&both.slice(1, 1), &(0..1)), 4 + 3 * 8 + 4 + 2);
        let sum: u64 = (0..3).map(|row| range_bytes(&both, &(row..row + 1))).sum();
        assert_eq!(sum, range_bytes(&both, &(0..3)));
    }
}
