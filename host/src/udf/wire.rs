//! Arrow IPC messages: ours out, hostile ones in.
//!
//! A message is
//!
//! ```text
//! offset  bytes
//!      0      4  0xFFFFFFFF
//!      4      4  n, the size of the metadata with its padding, little endian
//!      8      n  metadata: a flatbuffer, padded so that the body starts at a multiple of 8
//!  8 + n      m  body: the buffers of the columns; m is in the metadata
//! ```
//!
//! The reader of `arrow-ipc` takes counts, offsets and sizes from the metadata at their word: it may panic, copy far more
//! than it was given, or make an array of 2^40 rows out of nothing. So all of these are checked against the schema and the
//! bytes at hand first; what then still panics is caught, without a word on stderr.

use std::any::Any;
use std::cell::Cell;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Once};

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use arrow_ipc::reader::RecordBatchDecoder;
use arrow_ipc::writer::StreamWriter;
use arrow_ipc::{Endianness, Message, MessageHeader};

const CONTINUATION: [u8; 4] = [0xff; 4];
const HEAD_BYTES: usize = 8;
const ALIGNMENT: usize = 8;
const VIEW_BYTES: usize = 16;

/// Fields of a schema that a guest may answer with, nested ones included.
const FIELDS_MAX: usize = 10_000;
/// Values of one fixed-size list, and bytes of one fixed-size binary. Keeps products of lengths far from overflow.
const FIXED_SIZE_MAX: i32 = 1 << 20;

/// What is wrong with a message. Continues a sentence whose subject is the message.
pub(super) type Defect = String;

/// Writes record batch messages of one schema, into a buffer that is used again.
pub(super) struct Encoder(StreamWriter<Vec<u8>>);

impl Encoder {
    pub(super) fn new(schema: &Schema) -> Encoder {
        Encoder(StreamWriter::try_new(Vec::new(), schema).expect("only schemas that IPC can carry come this far"))
    }

    pub(super) fn encode(&mut self, batch: &RecordBatch) -> &[u8] {
        self.0.get_mut().clear();
        self.0.write(batch).expect("a vector takes what is written to it");
        self.0.get_ref()
    }
}

/// The schema as one message.
pub(super) fn schema_message(schema: &Schema) -> Result<Vec<u8>, Defect> {
    let writer = StreamWriter::try_new(Vec::new(), schema).map_err(|e| format!("cannot be sent: {e}"))?;
    Ok(writer.get_ref().clone())
}

/// Reads a schema message of a guest.
pub(super) fn read_schema(bytes: &[u8]) -> Result<SchemaRef, Defect> {
    let (message, body) = open(bytes, "schema")?;
    let schema = message.header_as_schema().ok_or_else(|| wrong_kind(message.header_type(), "schema"))?;
    if !body.is_empty() {
        return Err(format!("has {} trailing bytes", body.len()));
    }
    if schema.endianness() != Endianness::Little {
        return Err("is big-endian".to_owned());
    }
    let mut fields_left = FIELDS_MAX;
    count_fields(schema.fields(), &mut fields_left)?;
    let schema = guarded(|| arrow_ipc::convert::try_fb_to_schema(schema))?;
    for field in schema.fields() {
        carried(field.data_type(), true).map_err(|e| format!("has the column `{}` {e}", quoted(field.name())))?;
    }
    // Metadata of the whole schema says nothing that the contract knows of.
    Ok(Arc::new(Schema::new(schema.fields)))
}

/// Reads a record batch message of a guest, which has to have `schema` and `rows` rows.
pub(super) fn read_batch(
    bytes: Vec<u8>,
    schema: &SchemaRef,
    rows: usize,
    bytes_max: u64,
) -> Result<RecordBatch, Defect> {
    let bytes = Buffer::from_vec(bytes);
    let (message, body) = open(&bytes, "record batch")?;
    let batch = message.header_as_record_batch().ok_or_else(|| wrong_kind(message.header_type(), "record batch"))?;
    check_batch(&batch, &Body { bytes: body, views_bytes_max: bytes_max }, schema, rows)?;
    let body = bytes.slice(bytes.len() - body.len());
    let batch = guarded(|| {
        RecordBatchDecoder::try_new(&body, batch, Arc::clone(schema), &HashMap::new(), &message.version())?
            .with_require_alignment(false)
            .read_record_batch()
    })?;
    if batch.num_rows() != rows {
        return Err(format!("has {} rows where its lineage makes {rows}", batch.num_rows()));
    }
    Ok(batch)
}

fn wrong_kind(found: MessageHeader, expected: &str) -> Defect {
    let found = found.variant_name().unwrap_or("unknown");
    format!("is a message of the kind {found} where a {expected} was expected")
}

/// Takes the one message that `bytes` must be apart.
fn open<'a>(bytes: &'a [u8], kind: &str) -> Result<(Message<'a>, &'a [u8]), Defect> {
    let (head, rest) = bytes
        .split_at_checked(HEAD_BYTES)
        .ok_or_else(|| format!("has {} bytes, too few for a {kind} message", bytes.len()))?;
    if head[..4] != CONTINUATION {
        return Err("does not start with the continuation marker 0xFFFFFFFF".to_owned());
    }
    let size = u32::from_le_bytes(head[4..].try_into().expect("four bytes")) as usize;
    if size == 0 || !size.is_multiple_of(ALIGNMENT) {
        return Err(format!("has metadata of {size} bytes, not a positive multiple of {ALIGNMENT}"));
    }
    let (metadata, body) = rest
        .split_at_checked(size)
        .ok_or_else(|| format!("claims {size} bytes of metadata and has only {}", rest.len()))?;
    let message =
        arrow_ipc::root_as_message(metadata).map_err(|e| format!("has damaged metadata: {}", first_line(&e)))?;
    match usize::try_from(message.bodyLength()) {
        Ok(claimed) if claimed == body.len() => Ok((message, body)),
        Ok(claimed) if claimed < body.len() => Err(format!("has {} trailing bytes", body.len() - claimed)),
        _ => Err(format!("claims {} bytes of body and has {}", message.bodyLength(), body.len())),
    }
}

/// Tables of a flatbuffer may be shared, so a small message can stand for a huge tree of fields.
fn count_fields<'a>(
    fields: Option<impl IntoIterator<Item = arrow_ipc::Field<'a>>>,
    left: &mut usize,
) -> Result<(), Defect> {
    for field in fields.into_iter().flatten() {
        *left = left.checked_sub(1).ok_or_else(|| format!("has more than {FIELDS_MAX} fields"))?;
        count_children(field, left)?;
    }
    Ok(())
}

fn count_children(field: arrow_ipc::Field, left: &mut usize) -> Result<(), Defect> {
    field.children().map_or(Ok(()), |children| count_fields(Some(children.iter()), left))
}

/// Whether a column type crosses the boundary. Refused is what can claim rows without bytes (nulls within lists, values
/// of no width), what points at bytes many times over, and what no sink can store.
fn carried(data_type: &DataType, top: bool) -> Result<(), Defect> {
    use DataType::{
        Dictionary, FixedSizeBinary, FixedSizeList, LargeList, LargeListView, List, ListView, Map, Null, RunEndEncoded,
        Struct, Union,
    };
    match data_type {
        Dictionary(..) | RunEndEncoded(..) | Union(..) | ListView(_) | LargeListView(_) => {
            Err(format!("of type {}, which does not cross the boundary", short(data_type)))
        }
        Null if !top => Err("with nulls of no type within another type".to_owned()),
        FixedSizeBinary(size) | FixedSizeList(_, size) if !(1..=FIXED_SIZE_MAX).contains(size) => {
            Err(format!("of fixed size {size}; allowed are 1 to {FIXED_SIZE_MAX}"))
        }
        List(field) | LargeList(field) | FixedSizeList(field, _) | Map(field, _) => carried(field.data_type(), false),
        Struct(fields) if fields.is_empty() => Err("with a struct of no fields".to_owned()),
        Struct(fields) => fields.iter().try_for_each(|field| carried(field.data_type(), false)),
        _ => Ok(()),
    }
}

/// The body of a record batch, and what views in it may add up to.
struct Body<'a> {
    bytes: &'a [u8],
    views_bytes_max: u64,
}

/// What a buffer of a record batch holds.
#[derive(Clone, Copy)]
enum Slot {
    /// Bits, or values of a width that the reader checks itself.
    Plain,
    /// Offsets of so many bytes each.
    Offsets(usize),
    Views,
}

/// What a record batch of a schema has to consist of, in order.
struct Shape<'a> {
    nodes: usize,
    slots: Vec<Slot>,
    /// For the columns with views still to come: how many buffers they point into.
    variadic: &'a [usize],
}

impl Shape<'_> {
    fn of<'a>(fields: &Fields, variadic: &'a [usize]) -> Result<Shape<'a>, Defect> {
        let mut shape = Shape { nodes: 0, slots: Vec::new(), variadic };
        fields.iter().try_for_each(|field| shape.add(field))?;
        Ok(shape)
    }

    fn add(&mut self, field: &Field) -> Result<(), Defect> {
        use DataType::{
            Binary, BinaryView, FixedSizeList, LargeBinary, LargeList, LargeUtf8, List, Map, Null, Struct, Utf8,
            Utf8View,
        };
        use Slot::{Offsets, Plain};
        self.nodes += 1;
        let (slots, children): (&[Slot], &[&Field]) = match field.data_type() {
            Null => (&[], &[]),
            Utf8 | Binary => (&[Plain, Offsets(4), Plain], &[]),
            LargeUtf8 | LargeBinary => (&[Plain, Offsets(8), Plain], &[]),
            Utf8View | BinaryView => return self.add_views(),
            List(child) | Map(child, _) => (&[Plain, Offsets(4)], &[child]),
            LargeList(child) => (&[Plain, Offsets(8)], &[child]),
            FixedSizeList(child, _) => (&[Plain], &[child]),
            Struct(children) => {
                self.slots.push(Plain);
                return children.iter().try_for_each(|child| self.add(child));
            }
            _ => (&[Plain, Plain], &[]),
        };
        self.slots.extend(slots);
        children.iter().try_for_each(|child| self.add(child))
    }

    fn add_views(&mut self) -> Result<(), Defect> {
        let (count, rest) = self.variadic.split_first().ok_or("has too few columns of views")?;
        self.variadic = rest;
        self.slots.extend([Slot::Plain, Slot::Views]);
        self.slots.extend(std::iter::repeat_n(Slot::Plain, *count));
        Ok(())
    }
}

/// Checks all that the metadata claims against the schema, the rows and the body.
fn check_batch(batch: &arrow_ipc::RecordBatch, body: &Body, schema: &Schema, rows: usize) -> Result<(), Defect> {
    if batch.compression().is_some() {
        return Err("is compressed".to_owned());
    }
    if usize::try_from(batch.length()) != Ok(rows) {
        return Err(format!("has {} rows where its lineage makes {rows}", batch.length()));
    }
    let variadic = variadic(batch)?;
    let shape = Shape::of(schema.fields(), &variadic)?;
    if !shape.variadic.is_empty() {
        return Err("has too many columns of views".to_owned());
    }
    check_nodes(batch, body.bytes, shape.nodes)?;
    check_buffers(batch, body, &shape.slots)
}

/// The buffers that each column of views points into.
fn variadic(batch: &arrow_ipc::RecordBatch) -> Result<Vec<usize>, Defect> {
    let mut left = batch.buffers().map_or(0, |buffers| buffers.len());
    let mut take = |count: i64| {
        let count = usize::try_from(count).ok()?;
        left = left.checked_sub(count)?;
        Some(count)
    };
    let counts = batch.variadicBufferCounts();
    let counts: Option<Vec<usize>> = counts.into_iter().flatten().map(&mut take).collect();
    counts.ok_or_else(|| "claims more buffers of views than it has".to_owned())
}

fn check_nodes(batch: &arrow_ipc::RecordBatch, body: &[u8], expected: usize) -> Result<(), Defect> {
    let nodes = batch.nodes().ok_or("has no arrays")?;
    if nodes.len() != expected {
        return Err(format!("has {} arrays where its schema has {expected}", nodes.len()));
    }
    // Below the top, each value has a bit in the body at least. At the top, the rows were agreed on.
    let bits = i64::try_from(body.len()).unwrap_or(i64::MAX).saturating_mul(8);
    let values_max = batch.length().max(bits);
    for node in nodes {
        let (length, nulls) = (node.length(), node.null_count());
        if !(0..=values_max).contains(&length) || !(0..=length).contains(&nulls) {
            return Err(format!("claims {length} values, {nulls} of them null"));
        }
    }
    Ok(())
}

fn check_buffers(batch: &arrow_ipc::RecordBatch, body: &Body, expected: &[Slot]) -> Result<(), Defect> {
    let buffers = batch.buffers().ok_or("has no buffers")?;
    if buffers.len() != expected.len() {
        return Err(format!("has {} buffers where its schema has {}", buffers.len(), expected.len()));
    }
    let mut total = 0;
    for (buffer, slot) in buffers.iter().zip(expected) {
        let bytes = slice(body.bytes, buffer)?;
        check_width(bytes, *slot)?;
        if let Slot::Views = slot {
            check_views(bytes, body.views_bytes_max)?;
        }
        total += bytes.len();
    }
    // Buffers that overlap would be copied once each when they are not aligned.
    if total > body.bytes.len() {
        return Err("has buffers that overlap".to_owned());
    }
    Ok(())
}

fn slice<'a>(body: &'a [u8], buffer: &arrow_ipc::Buffer) -> Result<&'a [u8], Defect> {
    let range = || {
        let start = usize::try_from(buffer.offset()).ok()?;
        let end = start.checked_add(usize::try_from(buffer.length()).ok()?)?;
        body.get(start..end)
    };
    range().ok_or_else(|| {
        let (offset, length) = (buffer.offset(), buffer.length());
        format!("has a buffer of {length} bytes at {offset} in a body of {}", body.len())
    })
}

fn check_width(bytes: &[u8], slot: Slot) -> Result<(), Defect> {
    let width = match slot {
        Slot::Plain => 1,
        Slot::Offsets(width) => width,
        Slot::Views => VIEW_BYTES,
    };
    if bytes.len().is_multiple_of(width) {
        return Ok(());
    }
    Err(format!("has a buffer of {} bytes for elements of {width}", bytes.len()))
}

/// Many views can point at the same bytes, and all would be read and written in full.
fn check_views(views: &[u8], bytes_max: u64) -> Result<(), Defect> {
    let bytes: u64 = views.chunks_exact(VIEW_BYTES).map(view_bytes).sum();
    if bytes <= bytes_max {
        return Ok(());
    }
    Err(format!("has a column of views that make {bytes} bytes, more than answer_bytes_max = {bytes_max}"))
}

fn view_bytes(view: &[u8]) -> u64 {
    u64::from(u32::from_le_bytes(view[..4].try_into().expect("four bytes")))
}

fn short(data_type: &DataType) -> String {
    quoted(&data_type.to_string())
}

fn quoted(text: &str) -> String {
    super::journal::tame(text, 200)
}

fn first_line(error: &dyn std::fmt::Display) -> String {
    quoted(error.to_string().lines().next().unwrap_or_default())
}

/// How a panic of Arrow's reader starts. No input is known that makes one.
const UNFORESEEN: &str = "its reader did not expect";

fn payload(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    first_line(&text.unwrap_or("it"))
}

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs Arrow's reader on hostile bytes: errors and panics become defects.
fn guarded<T>(read: impl FnOnce() -> Result<T, arrow::error::ArrowError>) -> Result<T, Defect> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !GUARDED.get() {
                others(panic);
            }
        }));
    });
    GUARDED.set(true);
    let result = catch_unwind(AssertUnwindSafe(read));
    GUARDED.set(false);
    match result {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(error)) => Err(format!("is not valid Arrow: {}", first_line(&error))),
        Err(panic) => Err(format!("is not valid Arrow: {UNFORESEEN} {}", payload(&*panic))),
    }
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "expectations are written where they are used")]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        Array, ArrayRef, BinaryViewArray, BooleanArray, Decimal128Array, FixedSizeListArray, Int32Array, ListArray,
        NullArray, RecordBatchOptions, StringArray, StringViewArray, StructArray,
    };
    use arrow::datatypes::Int64Type;
    use expect_test::{Expect, expect};

    use super::*;

    const BYTES_MAX: u64 = 100_000;

    fn long() -> Vec<Option<&'static str>> {
        vec![Some("a text that is longer than a view holds"), None, Some("äöü"), Some("")]
    }

    fn columns() -> Vec<(&'static str, ArrayRef)> {
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
        let flags = Arc::new(BooleanArray::from(vec![Some(true), None, Some(false), Some(true)]));
        let structs =
            StructArray::from(vec![(Arc::new(Field::new("flag", DataType::Boolean, true)), flags as ArrayRef)]);
        vec![
            ("i", Arc::new(Int32Array::from(vec![Some(1), None, Some(3), Some(4)]))),
            ("s", Arc::new(StringArray::from(long()))),
            ("v", Arc::new(StringViewArray::from(long()))),
            ("w", Arc::new(BinaryViewArray::from_iter(long().into_iter().map(|v| v.map(str::as_bytes))))),
            ("d", Arc::new(Decimal128Array::from(vec![1, 2, 3, 4]))),
            ("l", Arc::new(list)),
            ("f", Arc::new(fixed)),
            ("t", Arc::new(structs)),
            ("n", Arc::new(NullArray::new(4))),
        ]
    }

    fn sample() -> RecordBatch {
        RecordBatch::try_from_iter_with_nullable(columns().into_iter().map(|(name, array)| (name, array, true)))
            .unwrap()
    }

    fn message(batch: &RecordBatch) -> Vec<u8> {
        Encoder::new(&batch.schema()).encode(batch).to_vec()
    }

    fn small() -> RecordBatch {
        sample().project(&[1]).unwrap()
    }

    fn refuses(bytes: &[u8], schema: &SchemaRef, rows: usize, expected: Expect) {
        expected.assert_eq(&read_batch(bytes.to_vec(), schema, rows, BYTES_MAX).unwrap_err());
    }

    #[test]
    fn batches_and_schemas_survive_the_way() {
        let batch = sample();
        let schema = read_schema(&schema_message(&batch.schema()).unwrap()).unwrap();
        assert_eq!(schema, batch.schema());
        let mut encoder = Encoder::new(&schema);
        for part in [batch.clone(), batch.slice(1, 2), batch.slice(0, 0), batch.clone()] {
            let bytes = encoder.encode(&part).to_vec();
            assert_eq!(read_batch(bytes, &schema, part.num_rows(), BYTES_MAX).unwrap(), part);
        }
    }

    #[test]
    fn rows_without_columns_survive_the_way() {
        let options = RecordBatchOptions::new().with_row_count(Some(7));
        let none = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap();
        assert_eq!(read_batch(message(&none), &none.schema(), 7, BYTES_MAX).unwrap(), none);
    }

    #[test]
    fn a_slice_sends_only_its_own_bytes() {
        let texts = StringArray::from_iter_values((0..10_000).map(|i| format!("text {i}")));
        let batch = RecordBatch::try_from_iter([("s", Arc::new(texts) as ArrayRef)]).unwrap();
        assert!(message(&batch.slice(5000, 10)).len() < 600);
    }

    /// Every byte of a message, each bit of it flipped, and some values: an error or valid data, never a panic.
    #[test]
    fn mutations_never_panic() {
        let batch = sample();
        let valid = message(&batch);
        let schema = batch.schema();
        let mut accepted = 0;
        for at in 0..valid.len() {
            for mask in [1, 2, 4, 8, 16, 32, 64, 128, 255, valid[at], !valid[at] ^ 0x80] {
                let mut bytes = valid.clone();
                bytes[at] ^= mask;
                accepted += usize::from(valid_or_refused(bytes, &schema));
            }
        }
        assert!(accepted > 0, "padding and values can change");
    }

    fn valid_or_refused(bytes: Vec<u8>, schema: &SchemaRef) -> bool {
        match read_batch(bytes, schema, 4, BYTES_MAX) {
            Ok(batch) => {
                batch.columns().iter().for_each(|column| column.to_data().validate_full().unwrap());
                true
            }
            Err(defect) => {
                assert!(!defect.contains(UNFORESEEN), "a panic got through: {defect}");
                false
            }
        }
    }

    #[test]
    fn truncations_never_panic() {
        let batch = sample();
        let valid = message(&batch);
        for length in 0..valid.len() {
            assert!(read_batch(valid[..length].to_vec(), &batch.schema(), 4, BYTES_MAX).is_err());
        }
    }

    #[test]
    fn mutated_schemas_never_panic() {
        let valid = schema_message(&sample().schema()).unwrap();
        for at in 0..valid.len() {
            for mask in [1, 2, 4, 8, 16, 32, 64, 128, 255] {
                let mut bytes = valid.clone();
                bytes[at] ^= mask;
                let _ = read_schema(&bytes);
            }
        }
    }

    #[test]
    fn frames_are_exact() {
        let batch = small();
        let schema = batch.schema();
        let valid = message(&batch);
        let twice = [valid.clone(), valid.clone()].concat();
        refuses(&[], &schema, 4, expect!["has 0 bytes, too few for a record batch message"]);
        refuses(&twice, &schema, 4, expect!["has 384 trailing bytes"]);
        refuses(&[&valid[..], &[0; 8]].concat(), &schema, 4, expect!["has 8 trailing bytes"]);
        refuses(&valid[4..], &schema, 4, expect!["does not start with the continuation marker 0xFFFFFFFF"]);
        refuses(&valid[..valid.len() - 8], &schema, 4, expect!["claims 192 bytes of body and has 184"]);
        refuses(
            &schema_message(&schema).unwrap(),
            &schema,
            4,
            expect!["is a message of the kind Schema where a record batch was expected"],
        );
        refuses(&valid, &schema, 5, expect!["has 4 rows where its lineage makes 5"]);
    }

    #[test]
    fn other_columns_are_refused() {
        let all = sample();
        let schema = small().schema();
        refuses(&message(&all.project(&[0]).unwrap()), &schema, 4, expect!["has 2 buffers where its schema has 3"]);
        refuses(&message(&all.project(&[1, 1]).unwrap()), &schema, 4, expect!["has 2 arrays where its schema has 1"]);
        refuses(&message(&all.project(&[]).unwrap()), &schema, 4, expect!["has 0 arrays where its schema has 1"]);
        refuses(&message(&all.project(&[2]).unwrap()), &schema, 4, expect!["has too many columns of views"]);
    }

    #[test]
    fn values_are_validated() {
        let texts =
            RecordBatch::try_from_iter([("s", Arc::new(StringArray::from(vec!["abcdefgh"; 4])) as ArrayRef)]).unwrap();
        let mut bytes = message(&texts);
        let at = bytes.windows(8).position(|window| window == b"abcdefgh").unwrap();
        bytes[at] = 0xff;
        refuses(
            &bytes,
            &texts.schema(),
            4,
            expect![
                "is not valid Arrow: Invalid argument error: Invalid UTF8 sequence at string index 0 (0..8): invalid utf-8 sequence of 1 bytes from index 0"
            ],
        );
        let not_null = Arc::new(Schema::new(vec![Field::new("s", DataType::Utf8, false)]));
        refuses(
            &message(&small()),
            &not_null,
            4,
            expect![
                "is not valid Arrow: Invalid argument error: Column 's' is declared as non-nullable but contains null values"
            ],
        );
    }

    #[test]
    fn rows_out_of_nothing_are_refused() {
        let rows = 1_usize << 40;
        let batch = RecordBatch::try_from_iter([("n", Arc::new(NullArray::new(rows)) as ArrayRef)]).unwrap();
        let bytes = message(&batch);
        assert!(bytes.len() < 300);
        refuses(&bytes, &batch.schema(), 4, expect!["has 1099511627776 rows where its lineage makes 4"]);
        let item = Arc::new(Field::new_list_field(DataType::Null, true));
        let nested = Schema::new(vec![Field::new("n", DataType::List(item), true)]);
        expect!["has the column `n` with nulls of no type within another type"]
            .assert_eq(&read_schema(&schema_message(&nested).unwrap()).unwrap_err());
        let nothing = Schema::new(vec![Field::new("n", DataType::FixedSizeBinary(0), true)]);
        expect!["has the column `n` of fixed size 0; allowed are 1 to 1048576"]
            .assert_eq(&read_schema(&schema_message(&nothing).unwrap()).unwrap_err());
    }

    #[test]
    fn views_cannot_multiply_bytes() {
        let one = "x".repeat(1000);
        let views: StringViewArray = StringViewArray::from_iter_values([one.as_str()]);
        let (_, buffers, _) = views.clone().into_parts();
        let repeated = vec![views.views()[0]; 1000].into();
        let array = StringViewArray::new(repeated, buffers, None);
        let batch = RecordBatch::try_from_iter([("v", Arc::new(array) as ArrayRef)]).unwrap();
        refuses(
            &message(&batch),
            &batch.schema(),
            1000,
            expect!["has a column of views that make 1000000 bytes, more than answer_bytes_max = 100000"],
        );
    }

    #[test]
    fn dictionaries_do_not_cross() {
        let coded = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let schema = Schema::new(vec![Field::new("c", coded, true)]);
        expect!["has the column `c` of type Dictionary(Int32, Utf8), which does not cross the boundary"]
            .assert_eq(&read_schema(&schema_message(&schema).unwrap()).unwrap_err());
    }
}
