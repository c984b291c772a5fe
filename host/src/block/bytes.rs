//! What rows take, about: one measure for budgets, for limits, and for what is cut by its size. Validity takes a bit a value, and
//! does not count.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayData, ArrayRef, AsArray, GenericByteArray, OffsetSizeTrait, RecordBatch, UInt32Array, make_array,
};
use arrow::datatypes::{ArrowNativeType, ByteArrayType, DataType};

use super::Failure;

/// Bytes of each value, where all have as many. Of a dictionary that is the key: copies have the values together.
pub(super) fn width(data_type: &DataType) -> Option<u64> {
    match data_type {
        DataType::Null | DataType::Boolean => Some(1),
        DataType::FixedSizeBinary(width) => Some(*width as u64),
        DataType::Dictionary(key, _) => Some(key.primitive_width().unwrap_or(8) as u64),
        DataType::Struct(fields) => fields.iter().map(|field| width(field.data_type())).sum(),
        DataType::FixedSizeList(item, size) => width(item.data_type()).map(|width| width * *size as u64),
        other => other.primitive_width().map(|width| width as u64),
    }
}

/// Bytes that a copy of some values of an array takes. Takes no time for each value, but of nested unions and the like.
pub fn range_bytes(array: &dyn Array, range: &Range<usize>) -> u64 {
    if let Some(width) = width(array.data_type()) {
        return range.len() as u64 * width;
    }
    match array.data_type() {
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
        _ => array.slice(range.start, range.len()).to_data().get_slice_memory_size().unwrap_or(0) as u64,
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

/// Bytes of an array: of a slice what it shows, and of dictionaries all.
pub(super) fn array_bytes(array: &dyn Array) -> u64 {
    let shown = range_bytes(array, &(0..array.len()));
    if has_dictionary(array.data_type()) { shown + dictionary_bytes(&array.to_data()) } else { shown }
}

fn has_dictionary(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(..) => true,
        DataType::Struct(fields) => fields.iter().any(|field| has_dictionary(field.data_type())),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => has_dictionary(item.data_type()),
        _ => false,
    }
}

fn dictionary_bytes(data: &ArrayData) -> u64 {
    let values = |child: &ArrayData| match data.data_type() {
        DataType::Dictionary(..) => array_bytes(&make_array(child.clone())),
        _ => dictionary_bytes(child),
    };
    data.child_data().iter().map(values).sum()
}

/// Bytes in memory, where several hold the same.
#[derive(Default)]
pub(super) struct Held {
    pub(super) bytes: u64,
    shared: HashSet<*const u8>,
    /// Allocations of columns that are held as a whole.
    whole: HashSet<*const u8>,
}

impl Held {
    /// Columns that others may have slices of, which come after.
    pub(super) fn whole(&mut self, batch: &RecordBatch) {
        for column in batch.columns() {
            if allocation(&column.to_data()).is_none_or(|allocation| self.whole.insert(allocation)) {
                self.bytes += array_bytes(column);
            }
        }
    }

    /// Values that nobody else has, but as a whole.
    pub(super) fn slice(&mut self, values: &ArrayRef) {
        if !self.is_in_whole(values) {
            self.bytes += array_bytes(values);
        }
    }

    /// Values that several lists of rows may be of.
    pub(super) fn values(&mut self, values: &ArrayRef) {
        if self.shared.insert(Arc::as_ptr(values).cast()) {
            self.slice(values);
        }
    }

    /// A list of rows that several columns may have.
    pub(super) fn list(&mut self, rows: &Arc<UInt32Array>) {
        if self.shared.insert(Arc::as_ptr(rows).cast()) {
            self.bytes += (rows.len() * size_of::<u32>()) as u64;
        }
    }

    /// Why rows failed, of which many may have the same words.
    pub(super) fn said(&mut self, failure: &Failure) {
        self.bytes += size_of::<Failure>() as u64;
        if self.shared.insert(Arc::as_ptr(&failure.reason.message).cast()) {
            self.bytes += failure.reason.message.len() as u64;
        }
    }

    fn is_in_whole(&self, values: &ArrayRef) -> bool {
        !self.whole.is_empty()
            && allocation(&values.to_data()).is_some_and(|allocation| self.whole.contains(&allocation))
    }
}

/// Where an array's memory begins, or some of it: slices have the same.
fn allocation(data: &ArrayData) -> Option<*const u8> {
    let own = data.buffers().first().map(|buffer| buffer.data_ptr().as_ptr().cast_const());
    own.or_else(|| data.child_data().iter().find_map(allocation))
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        BooleanArray, DictionaryArray, Int32Array, Int64Array, Int64Builder, ListBuilder, MapBuilder, StringArray,
        StringBuilder, StructArray,
    };
    use arrow::datatypes::{Field, Int32Type};

    use super::*;

    fn lists() -> ArrayRef {
        let mut lists = ListBuilder::new(Int64Builder::new());
        for length in [0, 3, 1] {
            lists.values().append_slice(&vec![1; length]);
            lists.append(true);
        }
        Arc::new(lists.finish())
    }

    fn texts() -> ArrayRef {
        Arc::new(StringArray::from(vec!["x", "xx", "xxx"]))
    }

    fn maps() -> ArrayRef {
        let mut maps = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
        for entries in [2, 0, 1] {
            for _ in 0..entries {
                maps.keys().append_value("key");
                maps.values().append_value(1);
            }
            maps.append(true).unwrap();
        }
        Arc::new(maps.finish())
    }

    fn of(array: &dyn Array) -> u64 {
        range_bytes(array, &(0..array.len()))
    }

    #[test]
    fn bytes_of_nested_values() {
        let (lists, texts) = (lists(), texts());
        let field = |array: &ArrayRef, name: &str| Arc::new(Field::new(name, array.data_type().clone(), true));
        let both = StructArray::from(vec![(field(&lists, "l"), Arc::clone(&lists)), (field(&texts, "s"), texts)]);
        assert_eq!(range_bytes(&lists, &(0..3)), 3 * 4 + 4 * 8);
        assert_eq!(range_bytes(&both, &(1..2)), 4 + 3 * 8 + 4 + 2);
        assert_eq!(range_bytes(&both.slice(1, 1), &(0..1)), 4 + 3 * 8 + 4 + 2);
        let sum: u64 = (0..3).map(|row| range_bytes(&both, &(row..row + 1))).sum();
        assert_eq!(sum, range_bytes(&both, &(0..3)));
    }

    /// Blocks are slices of what was decoded: together they have the bytes of all.
    #[test]
    fn slices_have_what_they_show() {
        for array in [lists(), maps(), texts(), Arc::new(BooleanArray::from(vec![true; 3]))] {
            let slices: Vec<u64> = (0..3).map(|row| array_bytes(&array.slice(row, 1))).collect();
            assert_eq!(slices.iter().sum::<u64>(), array_bytes(&array), "{:?}", array.data_type());
            assert_eq!(of(&array), array_bytes(&array));
        }
        assert_eq!(array_bytes(&maps().slice(1, 1)), 4, "an offset");
        assert_eq!(array_bytes(&maps().slice(2, 1)), 4 + 4 + 3 + 8);
    }

    #[test]
    fn a_dictionary_is_there_once() {
        let values: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(996)]));
        let keys = Int32Array::from(vec![0; 10]);
        let dictionary = DictionaryArray::<Int32Type>::try_new(keys, values).unwrap();
        assert_eq!((of(&dictionary), array_bytes(&dictionary)), (40, 1040));
        assert_eq!(array_bytes(&dictionary.slice(3, 2)), 8 + 1000);
    }

    #[test]
    fn what_several_hold_counts_once() {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..10));
        let mut held = Held::default();
        held.whole(&RecordBatch::try_from_iter([("n", Arc::clone(&numbers))]).unwrap());
        held.slice(&numbers.slice(2, 3));
        held.values(&numbers.slice(5, 5));
        assert_eq!(held.bytes, 80);
        held.slice(&texts());
        assert_eq!(held.bytes, 80 + 3 * 4 + 6);
    }
}
