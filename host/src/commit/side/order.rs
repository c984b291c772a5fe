//! Ids put into order. They mostly are: what is imported was written in order, and readers emit rows as they stand. So batches
//! are looked at first, and only those that overlap are sorted together.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowNativeTypeOp, AsArray, DynComparator, GenericByteArray, RecordBatch, UInt64Array,
    downcast_primitive_array, make_comparator,
};
use arrow::compute::{SortColumn, SortOptions, concat_batches, lexsort_to_indices, partition, take_record_batch};
use arrow::datatypes::{ByteArrayType, DataType};
use arrow::error::ArrowError;

/// All rows by their columns in order.
pub(super) fn sorted(batches: &[RecordBatch]) -> Result<Vec<RecordBatch>, ArrowError> {
    clusters(batches)?.into_iter().map(Cluster::sorted).collect()
}

/// The same, each row once.
pub(super) fn unique(batches: &[RecordBatch]) -> Result<Vec<RecordBatch>, ArrowError> {
    let unique = |cluster: Cluster| match cluster.most {
        Ordering::Less => cluster.sorted(),
        _ => firsts(&cluster.sorted()?),
    };
    clusters(batches)?.into_iter().map(unique).collect()
}

/// Batches whose rows lie among each other, or one alone.
struct Cluster {
    batches: Vec<RecordBatch>,
    /// How at most each row compares to the next.
    most: Ordering,
}

impl Cluster {
    fn sorted(self) -> Result<RecordBatch, ArrowError> {
        match self.most {
            Ordering::Greater => sort(&self.batches),
            _ => Ok(self.batches.into_iter().next().expect("a cluster has a batch")),
        }
    }
}

/// All batches that have rows, so that no row of a cluster is after one of the next, nor equal to it.
fn clusters(batches: &[RecordBatch]) -> Result<Vec<Cluster>, ArrowError> {
    let batches = batches.iter().filter(|batch| batch.num_rows() > 0);
    let mut ranges = batches.map(Range::of).collect::<Result<Vec<_>, _>>()?;
    if ranges.iter().filter(|range| range.most == Ordering::Greater).count() * 2 > ranges.len() {
        let batches = ranges.into_iter().map(|range| range.batch).collect();
        return Ok(vec![Cluster { batches, most: Ordering::Greater }]);
    }
    for range in &mut ranges {
        range.put_in_order()?;
    }
    sort_by_first(&mut ranges)?;
    let mut clusters: Vec<(Cluster, RecordBatch)> = Vec::new();
    for Range { batch, most } in ranges {
        match clusters.last_mut() {
            Some((cluster, last)) if compare(last, last.num_rows() - 1, &batch, 0)? != Ordering::Less => {
                if compare(last, last.num_rows() - 1, &batch, batch.num_rows() - 1)? == Ordering::Less {
                    *last = batch.clone();
                }
                cluster.batches.push(batch);
                cluster.most = Ordering::Greater;
            }
            _ => clusters.push((Cluster { batches: vec![batch.clone()], most }, batch)),
        }
    }
    Ok(clusters.into_iter().map(|(cluster, _)| cluster).collect())
}

struct Range {
    batch: RecordBatch,
    most: Ordering,
}

impl Range {
    fn of(batch: &RecordBatch) -> Result<Range, ArrowError> {
        Ok(Range { batch: batch.clone(), most: steps(batch.columns())? })
    }

    fn put_in_order(&mut self) -> Result<(), ArrowError> {
        if self.most == Ordering::Greater {
            self.batch = sort(std::slice::from_ref(&self.batch))?;
            self.most = Ordering::Equal;
        }
        Ok(())
    }
}

fn sort_by_first(ranges: &mut [Range]) -> Result<(), ArrowError> {
    let mut failed = None;
    ranges.sort_by(|a, b| {
        compare(&a.batch, 0, &b.batch, 0).unwrap_or_else(|error| {
            failed.get_or_insert(error);
            Ordering::Equal
        })
    });
    failed.map_or(Ok(()), Err)
}

fn sort(batches: &[RecordBatch]) -> Result<RecordBatch, ArrowError> {
    let all = concat_batches(&batches[0].schema(), batches)?;
    let columns: Vec<SortColumn> =
        all.columns().iter().map(|values| SortColumn { values: Arc::clone(values), options: None }).collect();
    take_record_batch(&all, &lexsort_to_indices(&columns, None)?)
}

/// The first of equal rows that lie side by side.
fn firsts(sorted: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let firsts: UInt64Array = partition(sorted.columns())?.ranges().iter().map(|range| range.start as u64).collect();
    take_record_batch(sorted, &firsts)
}

/// One row of a batch against one of another.
fn compare(a: &RecordBatch, row_a: usize, b: &RecordBatch, row_b: usize) -> Result<Ordering, ArrowError> {
    for (a, b) in a.columns().iter().zip(b.columns()) {
        let ordering = make_comparator(a, b, SortOptions::default())?(row_a, row_b);
        if ordering != Ordering::Equal {
            return Ok(ordering);
        }
    }
    Ok(Ordering::Equal)
}

/// The greatest of what rows are to their next.
fn steps(columns: &[ArrayRef]) -> Result<Ordering, ArrowError> {
    match columns {
        [column] if column.null_count() == 0 => steps_of_one(column),
        columns => steps_of_any(columns),
    }
}

fn steps_of_one(column: &ArrayRef) -> Result<Ordering, ArrowError> {
    let column = column.as_ref();
    let steps = downcast_primitive_array!(
        column => greatest(column.values().windows(2).map(|pair| pair[0].compare(pair[1]))),
        DataType::Utf8 => steps_of_bytes(column.as_string::<i32>()),
        DataType::LargeUtf8 => steps_of_bytes(column.as_string::<i64>()),
        DataType::Binary => steps_of_bytes(column.as_binary::<i32>()),
        DataType::LargeBinary => steps_of_bytes(column.as_binary::<i64>()),
        _ => {
            let order = make_comparator(column, column, SortOptions::default())?;
            greatest((1..column.len()).map(|row| order(row - 1, row)))
        }
    );
    Ok(steps)
}

fn steps_of_any(columns: &[ArrayRef]) -> Result<Ordering, ArrowError> {
    let orders = columns.iter().map(|column| make_comparator(column, column, SortOptions::default()));
    let orders = orders.collect::<Result<Vec<DynComparator>, _>>()?;
    let compare = |row: usize| orders.iter().map(|order| order(row - 1, row)).find(|&order| order != Ordering::Equal);
    let rows = columns.first().map_or(0, Array::len);
    Ok(greatest((1..rows).map(|row| compare(row).unwrap_or(Ordering::Equal))))
}

/// Stops at the first row that is greater than its next.
fn greatest(mut steps: impl Iterator<Item = Ordering>) -> Ordering {
    let most = |most: Ordering, step: Ordering| match most.max(step) {
        Ordering::Greater => Err(Ordering::Greater),
        most => Ok(most),
    };
    steps.try_fold(Ordering::Less, most).unwrap_or(Ordering::Greater)
}

/// Most values differ in their first eight bytes, which are compared as one number.
fn steps_of_bytes<T: ByteArrayType>(values: &GenericByteArray<T>) -> Ordering {
    let bytes_of = |row: usize| -> &[u8] { values.value(row).as_ref() };
    let mut before = (head(bytes_of(0)), 0);
    greatest((1..values.len()).map(|row| {
        let here = (head(bytes_of(row)), row);
        let step = before.0.cmp(&here.0).then_with(|| bytes_of(before.1).cmp(bytes_of(row)));
        before = here;
        step
    }))
}

/// The first eight bytes as a number, with zeros after a shorter value: if these differ, they order the values.
fn head(bytes: &[u8]) -> u64 {
    match bytes.first_chunk::<8>() {
        Some(chunk) => u64::from_be_bytes(*chunk),
        None => {
            let mut chunk = [0; 8];
            chunk[..bytes.len()].copy_from_slice(bytes);
            u64::from_be_bytes(chunk)
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};

    use super::*;

    fn texts(texts: &[&str]) -> RecordBatch {
        RecordBatch::try_from_iter([("id", Arc::new(StringArray::from(texts.to_vec())) as ArrayRef)]).unwrap()
    }

    fn all(batches: Vec<RecordBatch>) -> Vec<String> {
        let rows = batches.iter().flat_map(|batch| batch.column(0).as_string::<i32>().iter().flatten());
        rows.map(str::to_owned).collect()
    }

    #[test]
    fn batches_in_order_are_given_out_as_they_are() {
        let (a, b, none) = (texts(&["b", "c", "c\0"]), texts(&["0", "a"]), texts(&[]));
        let out = unique(&[a.clone(), none, b.clone()]).unwrap();
        assert_eq!(out, [b, a]);
        assert!(unique(&[]).unwrap().is_empty());
    }

    #[test]
    fn what_overlaps_or_repeats_is_sorted() {
        let overlap = [texts(&["a", "e"]), texts(&["b", "c"])];
        assert_eq!(all(sorted(&overlap).unwrap()), ["a", "b", "c", "e"]);
        let repeats = [texts(&["a", "b"]), texts(&["b", "c"])];
        assert_eq!(all(sorted(&repeats).unwrap()), ["a", "b", "b", "c"]);
        assert_eq!(all(unique(&repeats).unwrap()), ["a", "b", "c"]);
        assert_eq!(all(unique(&[texts(&["longer than eight 2", "longer than eight 1"])]).unwrap()).len(), 2);
    }

    #[test]
    fn several_columns_are_compared_in_turn() {
        let rows = |a: Vec<i64>, b: Vec<&str>| {
            let columns =
                [("a", Arc::new(Int64Array::from(a)) as ArrayRef), ("b", Arc::new(StringArray::from(b)) as ArrayRef)];
            RecordBatch::try_from_iter(columns).unwrap()
        };
        assert_eq!(steps(rows(vec![1, 1, 2], vec!["a", "b", "a"]).columns()).unwrap(), Ordering::Less);
        assert_eq!(steps(rows(vec![1, 1, 2], vec!["a", "a", "a"]).columns()).unwrap(), Ordering::Equal);
        assert_eq!(steps(rows(vec![1, 2, 1], vec!["a", "a", "a"]).columns()).unwrap(), Ordering::Greater);
    }

    #[test]
    fn a_shorter_value_comes_before_what_it_begins() {
        assert_eq!(steps(texts(&["a", "a\0", "a\0\0", "aaaaaaaa", "aaaaaaaab"]).columns()).unwrap(), Ordering::Less);
        assert_eq!(steps(texts(&["a\0", "a"]).columns()).unwrap(), Ordering::Greater);
    }
}
