//! Arrays put together from nodes and buffers.
//!
//! What a stranger sent may be anything. Structure is checked before it is used: there are as many nodes and buffers as
//! the schema has, each has the length that follows from the rows and from the array around it, and buffers have the
//! size that their length asks for. So nothing is ever larger than what was sent. Values are then checked by Arrow's own
//! validation, except for strings, where that is slow: their offsets and their bytes are checked here.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, DecimalType, Time32MillisecondType,
    Time32SecondType, Time64MicrosecondType, Time64NanosecondType,
};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, NullArray, PrimitiveArray, downcast_primitive, make_array};
use arrow_buffer::{ArrowNativeType, Buffer, NullBuffer};
use arrow_data::{ArrayData, ArrayDataBuilder};
use arrow_schema::{DataType, Field, Schema, TimeUnit};

use crate::{Defect, Node};

/// What a batch crosses as.
#[derive(Debug)]
pub struct Parts {
    nodes: std::vec::IntoIter<Node>,
    buffers: std::vec::IntoIter<Vec<u8>>,
    is_trusted: bool,
}

impl Parts {
    /// Nodes and buffers in the order of the contract.
    pub fn new(nodes: Vec<Node>, buffers: Vec<Vec<u8>>) -> Parts {
        Parts { nodes: nodes.into_iter(), buffers: buffers.into_iter(), is_trusted: false }
    }
}

/// The columns of a schema, of `rows` rows each. What is wrong with the parts is said; what is returned is valid.
pub fn assemble(schema: &Schema, rows: usize, mut parts: Parts) -> Result<Vec<ArrayRef>, Defect> {
    let columns = schema.fields().iter().map(|field| parts.column(field, rows)).collect::<Result<_, _>>()?;
    match (parts.nodes.len(), parts.buffers.len()) {
        (0, 0) => Ok(columns),
        (nodes, buffers) => Err(format!("has {nodes} nodes and {buffers} buffers more than its schema asks for")),
    }
}

/// As [`assemble`], without a look at values and offsets.
///
/// # Safety
///
/// The parts are what [`flatten`](crate::flatten) made of valid columns of this schema.
pub unsafe fn assemble_trusted(schema: &Schema, rows: usize, parts: Parts) -> Result<Vec<ArrayRef>, Defect> {
    assemble(schema, rows, Parts { is_trusted: true, ..parts })
}

impl Parts {
    fn column(&mut self, field: &Field, rows: usize) -> Result<ArrayRef, Defect> {
        let array = self.array(field, rows).map_err(|what| format!("has the column `{}` {what}", field.name()))?;
        if !field.is_nullable() && array.null_count() > 0 {
            let nulls = array.null_count();
            return Err(format!("has the column `{}` with {nulls} nulls, which it declares not to have", field.name()));
        }
        Ok(array)
    }

    fn array(&mut self, field: &Field, length: usize) -> Result<ArrayRef, Defect> {
        let node = self.node(length)?;
        let data_type = field.data_type();
        if *data_type == DataType::Null {
            return Ok(Arc::new(NullArray::new(length)));
        }
        let nulls = self.validity(node)?;
        if data_type.is_primitive() {
            return self.primitive(data_type, length, nulls);
        }
        let builder = ArrayData::builder(data_type.clone()).len(length).nulls(nulls);
        let data = match data_type {
            DataType::Utf8 | DataType::Binary => self.bytes::<i32>(builder, data_type, length),
            DataType::LargeUtf8 | DataType::LargeBinary => self.bytes::<i64>(builder, data_type, length),
            DataType::List(child) | DataType::Map(child, _) => self.list::<i32>(builder, child, length),
            DataType::LargeList(child) => self.list::<i64>(builder, child, length),
            DataType::FixedSizeList(child, size) => {
                let values = length.checked_mul(*size as usize).ok_or("with too many values")?;
                let child = self.array(child, values)?;
                self.finish(builder.add_child_data(child.to_data()))
            }
            DataType::Struct(children) => {
                let children = children.iter().map(|child| Ok(self.array(child, length)?.to_data()));
                let children = children.collect::<Result<Vec<_>, Defect>>()?;
                self.finish(builder.child_data(children))
            }
            DataType::Boolean => {
                let values = self.buffer(length.div_ceil(8), "values")?;
                self.finish(builder.add_buffer(values))
            }
            DataType::FixedSizeBinary(width) => {
                let values = self.values(length, *width as usize)?;
                self.finish(builder.add_buffer(values))
            }
            _ => return Err("of a type that does not cross".to_owned()),
        };
        data.map(make_array)
    }

    fn primitive(
        &mut self,
        data_type: &DataType,
        length: usize,
        nulls: Option<NullBuffer>,
    ) -> Result<ArrayRef, Defect> {
        let width = data_type.primitive_width().ok_or("of a type that does not cross")?;
        let values = self.values(length, width)?;
        macro_rules! array {
            ($arrow:ty) => {{
                let values = aligned::<<$arrow as ArrowPrimitiveType>::Native>(values);
                let array = PrimitiveArray::<$arrow>::new(values.into(), nulls).with_data_type(data_type.clone());
                Ok(Arc::new(array) as ArrayRef)
            }};
        }
        let array = downcast_primitive! {
            data_type => (array),
            _ => Err("of a type that does not cross".to_owned()),
        }?;
        if !self.is_trusted {
            check_range(&array)?;
        }
        Ok(array)
    }

    fn node(&mut self, length: usize) -> Result<Node, Defect> {
        let node = self.nodes.next().ok_or("and no node for it")?;
        if node.length as usize != length {
            return Err(format!("with {} values where {length} are expected", node.length));
        }
        Ok(node)
    }

    fn buffer(&mut self, size: usize, what: &str) -> Result<Buffer, Defect> {
        let buffer = self.any_buffer(what)?;
        if buffer.len() != size {
            return Err(format!("with {} bytes of {what} where {size} are expected", buffer.len()));
        }
        Ok(buffer)
    }

    fn any_buffer(&mut self, what: &str) -> Result<Buffer, Defect> {
        self.next(what).map(Buffer::from_vec)
    }

    fn next(&mut self, what: &str) -> Result<Vec<u8>, Defect> {
        self.buffers.next().ok_or_else(|| format!("and no buffer for its {what}"))
    }

    fn validity(&mut self, node: Node) -> Result<Option<NullBuffer>, Defect> {
        let length = node.length as usize;
        if node.nulls == 0 {
            return match self.next("validity")?.len() {
                0 => Ok(None),
                size => Err(format!("with {size} bytes of validity, and no nulls")),
            };
        }
        let bits = self.buffer(length.div_ceil(8), "validity")?;
        let nulls = NullBuffer::new(arrow_buffer::BooleanBuffer::new(bits, 0, length));
        match nulls.null_count() == node.nulls as usize {
            true => Ok(Some(nulls)),
            false => Err(format!("with {} nulls, of which its node says {}", nulls.null_count(), node.nulls)),
        }
    }

    fn values(&mut self, length: usize, width: usize) -> Result<Buffer, Defect> {
        self.buffer(length.checked_mul(width).ok_or("with too many values")?, "values")
    }

    fn offsets<O: Offset>(&mut self, length: usize) -> Result<Buffer, Defect> {
        let size = (length + 1).checked_mul(size_of::<O>()).ok_or("with too many values")?;
        let offsets = aligned::<O>(self.buffer(size, "offsets")?);
        if self.is_trusted || rises(offsets.typed_data::<O>()) {
            Ok(offsets)
        } else {
            Err("with offsets that do not start at 0 and rise".into())
        }
    }

    fn bytes<O: Offset>(
        &mut self,
        builder: ArrayDataBuilder,
        data_type: &DataType,
        length: usize,
    ) -> Result<ArrayData, Defect> {
        let offsets = self.offsets::<O>(length)?;
        let values = self.any_buffer("bytes")?;
        let ends = offsets.typed_data::<O>();
        if !self.is_trusted {
            check_last(ends, values.len(), "bytes")?;
            if matches!(data_type, DataType::Utf8 | DataType::LargeUtf8) {
                check_utf8(ends, &values)?;
            }
        }
        let builder = builder.add_buffer(offsets).add_buffer(values);
        // SAFETY: offsets start at 0, rise, and end at the end of the bytes; these are UTF-8 from each offset to the
        // next; or the caller of `assemble_trusted` knows all of that.
        Ok(unsafe { builder.build_unchecked() })
    }

    fn list<O: Offset>(
        &mut self,
        builder: ArrayDataBuilder,
        child: &Field,
        length: usize,
    ) -> Result<ArrayData, Defect> {
        let offsets = self.offsets::<O>(length)?;
        let values = offsets.typed_data::<O>().last().map_or(0, |last| last.as_usize());
        let child = self.array(child, values)?;
        self.finish(builder.add_buffer(offsets).add_child_data(child.to_data()))
    }

    fn finish(&self, builder: ArrayDataBuilder) -> Result<ArrayData, Defect> {
        let builder = builder.align_buffers(true);
        if self.is_trusted {
            // SAFETY: the caller of `assemble_trusted` knows that the values are valid; sizes were checked.
            return Ok(unsafe { builder.build_unchecked() });
        }
        builder.build().map_err(|error| format!("that is not valid Arrow: {error}"))
    }
}

/// Numbers that their type does not know would become other numbers where they are stored.
fn check_range(array: &ArrayRef) -> Result<(), Defect> {
    let within = |end: i64| move |value: i64| (0..end).contains(&value);
    let is_valid = match array.data_type() {
        DataType::Decimal32(precision, _) => fits::<Decimal32Type>(array, *precision),
        DataType::Decimal64(precision, _) => fits::<Decimal64Type>(array, *precision),
        DataType::Decimal128(precision, _) => fits::<Decimal128Type>(array, *precision),
        DataType::Decimal256(precision, _) => fits::<Decimal256Type>(array, *precision),
        DataType::Time32(TimeUnit::Second) => all::<Time32SecondType>(array, within(DAY_SECONDS)),
        DataType::Time32(_) => all::<Time32MillisecondType>(array, within(DAY_SECONDS * 1_000)),
        DataType::Time64(TimeUnit::Microsecond) => all::<Time64MicrosecondType>(array, within(DAY_SECONDS * 1_000_000)),
        DataType::Time64(_) => all::<Time64NanosecondType>(array, within(DAY_SECONDS * 1_000_000_000)),
        DataType::Date64 => all::<Date64Type>(array, |value| value % (DAY_SECONDS * 1_000) == 0),
        _ => true,
    };
    if is_valid { Ok(()) } else { Err(format!("with a value that is no {}", array.data_type())) }
}

const DAY_SECONDS: i64 = 24 * 60 * 60;

fn fits<D: DecimalType>(array: &ArrayRef, precision: u8) -> bool {
    array.as_primitive::<D>().validate_decimal_precision(precision).is_ok()
}

/// Of the values that are there.
fn all<T: ArrowPrimitiveType>(array: &ArrayRef, is_valid: impl Fn(i64) -> bool) -> bool
where
    T::Native: Into<i64>,
{
    array.as_primitive::<T>().iter().flatten().all(|value| is_valid(value.into()))
}

/// 32 or 64 bits.
trait Offset: ArrowNativeType + Ord {}

impl Offset for i32 {}
impl Offset for i64 {}

/// Where a guest's allocator puts bytes is up to it.
fn aligned<T>(buffer: Buffer) -> Buffer {
    if buffer.as_ptr().cast::<T>().is_aligned() { buffer } else { Buffer::from_slice_ref(buffer.as_slice()) }
}

fn rises<O: Offset>(offsets: &[O]) -> bool {
    // Over all of them without a branch, so that it is done several at a time.
    let falls = offsets.iter().zip(&offsets[1..]).fold(false, |falls, (a, b)| falls | (b < a));
    !falls && offsets.first() == Some(&O::usize_as(0))
}

fn check_last<O: Offset>(offsets: &[O], size: usize, what: &str) -> Result<(), Defect> {
    match offsets.last().map(|last| last.as_usize()) {
        Some(last) if last == size => Ok(()),
        last => Err(format!("with {size} {what}, and offsets that end at {}", last.unwrap_or(0))),
    }
}

/// The bytes as a whole are UTF-8, and no string starts within a character.
fn check_utf8<O: Offset>(offsets: &[O], bytes: &[u8]) -> Result<(), Defect> {
    if bytes.is_ascii() {
        return Ok(());
    }
    let starts_character = |offset: &O| bytes.get(offset.as_usize()).is_none_or(|byte| !(0x80..0xC0).contains(byte));
    let whole = simdutf8::basic::from_utf8(bytes).is_ok();
    match whole && offsets.iter().fold(true, |all, offset| all & starts_character(offset)) {
        true => Ok(()),
        false => Err(format!("with bytes that are not UTF-8, first in value {}", first_bad(offsets, bytes))),
    }
}

fn first_bad<O: Offset>(offsets: &[O], bytes: &[u8]) -> usize {
    let is_bad = |pair: &[O]| std::str::from_utf8(&bytes[pair[0].as_usize()..pair[1].as_usize()]).is_err();
    offsets.windows(2).position(is_bad).unwrap_or(offsets.len())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::builder::{Int64Builder, MapBuilder, StringBuilder};
    use arrow_array::types::Int64Type;
    use arrow_array::{
        Array, BooleanArray, Decimal128Array, FixedSizeBinaryArray, FixedSizeListArray, Int32Array, ListArray,
        NullArray, RecordBatch, StringArray, StructArray,
    };

    use super::*;
    use crate::flatten;

    fn maps() -> ArrayRef {
        let mut maps = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
        for pairs in [&[("a", 1), ("b", 2)][..], &[], &[("ö", 3)], &[]] {
            for (key, value) in pairs {
                maps.keys().append_value(key);
                maps.values().append_value(*value);
            }
            maps.append(true).expect("keys and values");
        }
        Arc::new(maps.finish())
    }

    fn sample() -> RecordBatch {
        let list = ListArray::from_iter_primitive::<Int64Type, _, _>([
            Some(vec![Some(1), None]),
            None,
            Some(vec![]),
            Some(vec![Some(3)]),
        ]);
        let fixed = FixedSizeListArray::from_iter_primitive::<Int64Type, _, _>(
            [Some(vec![Some(1), Some(2)]), None, Some(vec![None, Some(4)]), None],
            2,
        );
        let flags = BooleanArray::from(vec![Some(true), None, Some(false), Some(true)]);
        let structs = StructArray::from(vec![(
            Arc::new(Field::new("flag", DataType::Boolean, true)),
            Arc::new(flags) as ArrayRef,
        )]);
        let uuids =
            FixedSizeBinaryArray::try_from_iter([[1_u8; 16], [2; 16], [3; 16], [4; 16]].iter()).expect("16 each");
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("i", Arc::new(Int32Array::from(vec![Some(1), None, Some(3), Some(4)]))),
            ("s", Arc::new(StringArray::from(vec![Some("a longer text"), None, Some("äöü"), Some("")]))),
            ("d", Arc::new(Decimal128Array::from(vec![1, 2, 3, 4]))),
            ("l", Arc::new(list)),
            ("f", Arc::new(fixed)),
            ("t", Arc::new(structs)),
            ("m", maps()),
            ("w", Arc::new(uuids)),
            ("n", Arc::new(NullArray::new(4))),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)))
            .expect("columns of one length")
    }

    fn taken_apart(batch: &RecordBatch) -> (Vec<Node>, Vec<Vec<u8>>) {
        let flat = flatten(batch.columns()).expect("all of these cross");
        let buffers = flat.bytes().into_iter().map(<[u8]>::to_vec).collect();
        (flat.nodes, buffers)
    }

    fn together(batch: &RecordBatch, nodes: &[Node], buffers: &[Vec<u8>]) -> Result<RecordBatch, Defect> {
        let columns = assemble(&batch.schema(), 4, Parts::new(nodes.to_vec(), buffers.to_vec()))?;
        Ok(RecordBatch::try_new(batch.schema(), columns).expect("columns of the schema"))
    }

    #[test]
    fn batches_come_back() {
        let batch = sample();
        for part in [batch.clone(), batch.slice(1, 2), batch.slice(3, 1), batch.slice(0, 0)] {
            let (nodes, buffers) = taken_apart(&part);
            let parts = || Parts::new(nodes.clone(), buffers.clone());
            let checked = assemble(&part.schema(), part.num_rows(), parts()).expect("valid");
            // SAFETY: they are the parts of a valid batch of this schema.
            let trusted = unsafe { assemble_trusted(&part.schema(), part.num_rows(), parts()) }.expect("complete");
            assert_eq!(checked, part.columns());
            assert_eq!(trusted, part.columns());
        }
    }

    #[test]
    fn a_slice_sends_only_its_own_bytes() {
        let texts = StringArray::from_iter_values((0..10_000).map(|i| format!("text {i}")));
        let flat = flatten(&[Arc::new(texts.slice(5000, 10)) as ArrayRef]).expect("crosses");
        assert_eq!(flat.bytes().iter().map(|bytes| bytes.len()).collect::<Vec<_>>(), [0, 44, 90]);
    }

    /// Every byte of every buffer, with each bit of it flipped and some values: refused, or valid data.
    #[test]
    fn mutated_buffers_are_refused_or_valid() {
        let batch = sample();
        let (nodes, buffers) = taken_apart(&batch);
        let mut accepted = 0;
        for index in 0..buffers.len() {
            for at in 0..buffers[index].len() {
                for mask in [1, 2, 4, 8, 16, 32, 64, 128, 255] {
                    let mut buffers = buffers.clone();
                    buffers[index][at] ^= mask;
                    accepted += usize::from(is_valid(&batch, &nodes, &buffers));
                }
            }
        }
        assert!(accepted > 0, "values can change");
    }

    fn is_valid(batch: &RecordBatch, nodes: &[Node], buffers: &[Vec<u8>]) -> bool {
        let Ok(batch) = together(batch, nodes, buffers) else { return false };
        batch.columns().iter().for_each(|column| column.to_data().validate_full().expect("valid"));
        true
    }

    #[test]
    fn other_sizes_are_refused() {
        let batch = sample();
        let (nodes, buffers) = taken_apart(&batch);
        for index in 0..buffers.len() {
            for change in [-1_isize, 1, 8] {
                let mut buffers = buffers.clone();
                let size = buffers[index].len().saturating_add_signed(change);
                if size != buffers[index].len() {
                    buffers[index].resize(size, 0);
                    together(&batch, &nodes, &buffers).expect_err("a buffer of another size");
                }
            }
        }
        for index in 0..nodes.len() {
            for (length, nulls) in [(1, 0), (0, 1), (u32::MAX, 0), (0, u32::MAX)] {
                let mut nodes = nodes.clone();
                nodes[index].length = nodes[index].length.wrapping_add(length);
                nodes[index].nulls = nodes[index].nulls.wrapping_add(nulls);
                // The last column has no type, and so no bitmap that could contradict.
                let may_be = index == nodes.len() - 1 && length == 0;
                assert_eq!(together(&batch, &nodes, &buffers).is_ok(), may_be, "node {index}");
            }
        }
        together(&batch, &nodes[1..], &buffers).expect_err("a node less");
        together(&batch, &nodes, &buffers[1..]).expect_err("a buffer less");
        together(&batch, &[nodes.clone(), vec![nodes[0]]].concat(), &buffers).expect_err("a node more");
        together(&batch, &nodes, &[buffers.clone(), vec![vec![]]].concat()).expect_err("a buffer more");
    }

    fn texts(offsets: &[i32], bytes: &[u8], nulls: u32) -> Result<Vec<ArrayRef>, Defect> {
        let schema = Schema::new(vec![Field::new("s", DataType::Utf8, false)]);
        let length = offsets.len() as u32 - 1;
        let validity = if nulls == 0 { vec![] } else { vec![0b10] };
        let offsets = offsets.iter().flat_map(|offset| offset.to_le_bytes()).collect();
        let parts = Parts::new(vec![Node { length, nulls }], vec![validity, offsets, bytes.to_vec()]);
        assemble(&schema, length as usize, parts)
    }

    fn refuses(offsets: &[i32], bytes: &[u8], expected: &str) {
        assert_eq!(texts(offsets, bytes, 0).expect_err("refused"), format!("has the column `s` {expected}"));
    }

    #[test]
    fn numbers_are_what_their_type_knows() {
        let check = |data_type: DataType, value: i64, width: usize, expected: bool| {
            let schema = Schema::new(vec![Field::new("n", data_type.clone(), false)]);
            let mut bytes = value.to_le_bytes().to_vec();
            bytes.resize(width.max(8), if value < 0 { 0xFF } else { 0 });
            bytes.truncate(width);
            let parts = Parts::new(vec![Node { length: 1, nulls: 0 }], vec![vec![], bytes]);
            assert_eq!(assemble(&schema, 1, parts).is_ok(), expected, "{value} as {data_type}");
        };
        check(DataType::Decimal128(3, 1), 999, 16, true);
        check(DataType::Decimal128(3, 1), -1000, 16, false);
        check(DataType::Decimal32(3, 1), 1000, 4, false);
        check(DataType::Decimal64(3, 1), 999, 8, true);
        check(DataType::Decimal256(3, 1), 1000, 32, false);
        check(DataType::Time32(TimeUnit::Second), 86_399, 4, true);
        check(DataType::Time32(TimeUnit::Second), -5, 4, false);
        check(DataType::Time64(TimeUnit::Nanosecond), 86_400_000_000_000, 8, false);
        check(DataType::Date64, 86_400_000, 8, true);
        check(DataType::Date64, 86_400_001, 8, false);
        check(DataType::Int64, -5, 8, true);
    }

    #[test]
    fn strings_are_checked() {
        assert_eq!(texts(&[0, 2, 4], "äö".as_bytes(), 0).expect("valid").len(), 1);
        let rise = "with offsets that do not start at 0 and rise";
        refuses(&[1, 2, 4], b"abcd", rise);
        refuses(&[0, 3, 2, 4], b"abcd", rise);
        refuses(&[0, -1, 4], b"abcd", rise);
        refuses(&[0, 2, 5], b"abcd", "with 4 bytes, and offsets that end at 5");
        refuses(&[0, 2, 3], b"abcd", "with 4 bytes, and offsets that end at 3");
        refuses(&[0, 2, i32::MAX], b"abcd", "with 4 bytes, and offsets that end at 2147483647");
        refuses(&[0, 1, 2], b"a\xFF", "with bytes that are not UTF-8, first in value 1");
        refuses(&[0, 1, 4], "äö".as_bytes(), "with bytes that are not UTF-8, first in value 0");
        let nulls = texts(&[0, 2, 4], b"abcd", 1).expect_err("refused");
        assert_eq!(nulls, "has the column `s` with 1 nulls, which it declares not to have");
    }
}
