//! Every type that a function may take and give, through the real host: with nulls and without, in blocks of many rows, of
//! one, of none, and where all is null. And whole batches whose answers have more or fewer rows.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Date64Array, Decimal64Array, Decimal128Array,
    DictionaryArray, DurationMillisecondArray, FixedSizeBinaryArray, Float32Array, Float64Array, Int8Array, Int16Array,
    Int32Array, Int64Array, LargeListArray, LargeStringArray, ListArray, MapArray, RecordBatch, StringArray,
    StructArray, Time32MillisecondArray, Time64MicrosecondArray, TimestampMicrosecondArray, TimestampMillisecondArray,
    TimestampSecondArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{
    DataType, Field, Float32Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType, UInt16Type,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::support::{Multiset, Workdir, once, read_parquet};

/// The column `value` goes through a function and must come out as `out`; both have a null in the middle.
#[track_caller]
fn becomes(function: &str, value: impl Array + 'static, out: impl Array + 'static) {
    let (value, out): (ArrayRef, ArrayRef) = (Arc::new(value), Arc::new(out));
    assert!(value.null_count() > 0 && value.is_valid(0), "{function}: a test needs nulls and values");
    let workdir = Workdir::new();
    let null_rows = 3;
    write(&workdir, "many", &value, 0);
    write(&workdir, "none", &value, 1);
    write(&workdir, "one", &value.slice(0, 1), 0);
    write(&workdir, "null", &new_null_array(value.data_type(), null_rows), 0);

    workdir.pipeline(&pipeline(&format!("{function}_or_null")));
    workdir.run().finished();
    let mut expected = formatted(&out, |_| true);
    *expected.entry(formatted(&out, |row| row == 0).into_keys().next().unwrap()).or_default() += 1;
    *expected.entry("null".to_string()).or_default() += null_rows as u64;
    assert_eq!(output(&workdir), expected, "{function}_or_null");
    assert_type(&workdir, out.data_type());

    std::fs::remove_dir_all(workdir.path("out")).unwrap();
    std::fs::remove_dir_all(workdir.path("checkpoint")).unwrap();
    workdir.pipeline(&pipeline(function));
    let ran = workdir.run();
    let nulls = out.null_count() + null_rows;
    assert_eq!(ran.finished().rows_failed, nulls as u64, "{function}: a null is a row error");
    expected.remove("null");
    assert_eq!(output(&workdir), expected, "{function}");
    assert_type(&workdir, out.data_type());
}

#[track_caller]
fn same<A: Array + Clone + 'static>(function: &str, value: A) {
    becomes(function, value.clone(), value);
}

/// `n` is 0 or 1 in all rows: a stage before drops the odd ones, and what is left of a block goes on.
fn write(workdir: &Workdir, name: &str, value: &ArrayRef, n: i64) {
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![n; value.len()]));
    let columns = [("n", numbers, false), ("value", Arc::clone(value), true)];
    workdir.file(&format!("{name}.parquet"), &RecordBatch::try_from_iter_with_nullable(columns).unwrap(), 100);
}

fn pipeline(function: &str) -> String {
    format!(
        "[source]\npath = \"in\"\n\
         [[stage]]\ncomponent = \"{{guests}}/hostile.wasm\"\nfunction = \"drop_odd\"\n\
         [[stage]]\ncomponent = \"{{guests}}/types.wasm\"\nfunction = \"{function}\"\non_error = \"skip\"\n\
         [sink]\npath = \"out\"\ncolumns = [\"out\"]\n[checkpoint]\npath = \"checkpoint\"\n"
    )
}

fn output(workdir: &Workdir) -> Multiset {
    let mut rows = Multiset::new();
    for batch in batches(workdir) {
        for (row, count) in formatted(batch.column(0), |_| true) {
            *rows.entry(row).or_default() += count;
        }
    }
    rows
}

fn batches(workdir: &Workdir) -> Vec<RecordBatch> {
    let files = workdir.snapshot("out").into_keys();
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "parquet"))
        .flat_map(|file| read_parquet(&file))
        .collect()
}

fn formatted(column: &ArrayRef, is_wanted: impl Fn(usize) -> bool) -> Multiset {
    // The formatter knows no zone by name.
    let column = match column.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => {
            Arc::new(column.as_primitive::<TimestampMicrosecondType>().clone().with_timezone("+00:00"))
        }
        _ => Arc::clone(column),
    };
    let options = FormatOptions::default().with_null("null");
    let cells = ArrayFormatter::try_new(column.as_ref(), &options).unwrap();
    once((0..column.len()).filter(|row| is_wanted(*row)).map(|row| cells.value(row).to_string()))
}

#[track_caller]
fn assert_type(workdir: &Workdir, expected: &DataType) {
    for batch in batches(workdir) {
        let found = batch.schema().field(0).data_type().clone();
        assert!(found.equals_datatype(expected), "{found} is not {expected}");
    }
}

#[test]
fn s16_numbers_go_in_and_out() {
    same("int8", Int8Array::from(vec![Some(i8::MIN), None, Some(i8::MAX)]));
    same("int16", Int16Array::from(vec![Some(i16::MIN), None, Some(i16::MAX)]));
    same("int32", Int32Array::from(vec![Some(i32::MIN), None, Some(i32::MAX)]));
    same("int64", Int64Array::from(vec![Some(i64::MIN), None, Some(i64::MAX)]));
    same("uint8", UInt8Array::from(vec![Some(u8::MIN), None, Some(u8::MAX)]));
    same("uint16", UInt16Array::from(vec![Some(u16::MIN), None, Some(u16::MAX)]));
    same("uint32", UInt32Array::from(vec![Some(u32::MIN), None, Some(u32::MAX)]));
    same("uint64", UInt64Array::from(vec![Some(u64::MIN), None, Some(u64::MAX)]));
    same("float32", Float32Array::from(vec![Some(-0.0), None, Some(f32::MAX), Some(f32::NAN)]));
    same("float64", Float64Array::from(vec![Some(-0.0), None, Some(f64::MAX), Some(f64::NEG_INFINITY)]));
    same("boolean", BooleanArray::from(vec![Some(true), None, Some(false)]));
    becomes("int64", UInt32Array::from(vec![Some(7), None]), Int64Array::from(vec![Some(7), None]));
}

#[test]
fn s16_decimals_go_in_and_out() {
    let decimals = Decimal128Array::from(vec![Some(9_999_999_999), None, Some(-1)]);
    same("decimal", decimals.with_precision_and_scale(10, 2).unwrap());
    becomes(
        "decimal",
        Decimal64Array::from(vec![Some(15), None]).with_precision_and_scale(4, 1).unwrap(),
        Decimal128Array::from(vec![Some(150), None]).with_precision_and_scale(10, 2).unwrap(),
    );
}

#[test]
fn s16_texts_and_bytes_go_in_and_out() {
    let texts = vec![Some("Zürich"), None, Some(""), Some("日本")];
    for function in ["text", "text_owned", "text_cow"] {
        same(function, StringArray::from(texts.clone()));
    }
    becomes("text", LargeStringArray::from(texts.clone()), StringArray::from(texts.clone()));
    let encoded: DictionaryArray<Int32Type> = texts.iter().copied().collect();
    becomes("text", encoded, StringArray::from(texts));
    let bytes = vec![Some(b"\xFF\0".as_slice()), None, Some(b"")];
    for function in ["bytes", "bytes_owned"] {
        same(function, BinaryArray::from(bytes.clone()));
    }
    let fixed = |values: Vec<Option<&[u8]>>, size| {
        FixedSizeBinaryArray::try_from_sparse_iter_with_size(values.into_iter(), size).unwrap()
    };
    same("fixed", fixed(vec![Some(b"abc"), None, Some(b"\0\0\xFF")], 3));
    same("uuid", fixed(vec![Some(b"0123456789abcdef"), None, Some(&[0; 16])], 16));
}

#[test]
fn s16_times_go_in_and_out() {
    let days = Date32Array::from(vec![Some(-719_162), None, Some(0), Some(20_000)]);
    same("date", days);
    becomes(
        "date",
        Date64Array::from(vec![Some(86_400_000), None, Some(-86_400_000)]),
        Date32Array::from(vec![Some(1), None, Some(-1)]),
    );
    same("time", Time64MicrosecondArray::from(vec![Some(86_399_999_999), None, Some(0)]));
    becomes(
        "time",
        Time32MillisecondArray::from(vec![Some(86_399_999), None]),
        Time64MicrosecondArray::from(vec![Some(86_399_999_000), None]),
    );
    same("timestamp", TimestampMicrosecondArray::from(vec![Some(-1), None, Some(1_700_000_000_000_001)]));
    becomes(
        "timestamp",
        TimestampSecondArray::from(vec![Some(1_700_000_000), None]),
        TimestampMicrosecondArray::from(vec![Some(1_700_000_000_000_000), None]),
    );
    becomes(
        "instant",
        TimestampMillisecondArray::from(vec![Some(1_700_000_000_001), None]).with_timezone("+02:00"),
        TimestampMicrosecondArray::from(vec![Some(1_700_000_000_001_000), None]).with_timezone("UTC"),
    );
    becomes(
        "duration",
        DurationMillisecondArray::from(vec![Some(-1), None, Some(3_600_000)]),
        arrow::array::DurationMicrosecondArray::from(vec![Some(-1_000), None, Some(3_600_000_000)]),
    );
}

#[test]
fn s16_lists_go_in_and_out() {
    let numbers = vec![Some(vec![Some(1), None]), None, Some(vec![])];
    same("list", ListArray::from_iter_primitive::<Int64Type, _, _>(numbers.clone()));
    becomes(
        "list",
        LargeListArray::from_iter_primitive::<Int32Type, _, _>(
            numbers.into_iter().map(|row| row.map(|row| row.into_iter().map(|n: Option<i64>| n.map(|n| n as i32)))),
        ),
        ListArray::from_iter_primitive::<Int64Type, _, _>(vec![Some(vec![Some(1), None]), None, Some(vec![])]),
    );
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", "", "ü"]));
    same("list_view", list(texts, [0, 2, 2, 3], false));
    let floats = ListArray::from_iter_primitive::<Float32Type, _, _>(vec![Some(vec![Some(0.5)]), None]);
    same("slice", list(Arc::clone(floats.values()), [0, 1, 1, 1], false));
    let inner = ListArray::from_iter_primitive::<UInt16Type, _, _>(vec![Some(vec![Some(1), Some(2)]), Some(vec![])]);
    let inner: ArrayRef = Arc::new(ListArray::new(
        Arc::new(Field::new_list_field(DataType::UInt16, false)),
        inner.offsets().clone(),
        Arc::clone(inner.values()),
        None,
    ));
    same("nested", list(inner, [0, 2, 2, 2], false));
}

/// Three lists, of which the second is null.
fn list(values: ArrayRef, offsets: [i32; 4], is_nullable: bool) -> ListArray {
    let field = Arc::new(Field::new_list_field(values.data_type().clone(), is_nullable));
    let nulls = NullBuffer::from(vec![true, false, true]);
    ListArray::new(field, OffsetBuffer::new(offsets.to_vec().into()), values, Some(nulls))
}

fn places(nulls: Option<NullBuffer>) -> StructArray {
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["x", "y", "z"]));
    let tags: ArrayRef = Arc::new(ListArray::new(
        Arc::new(Field::new_list_field(DataType::Utf8, false)),
        OffsetBuffer::new(vec![0, 2, 2, 3].into()),
        texts,
        None,
    ));
    let fields = vec![
        Field::new("name", DataType::Utf8, false),
        Field::new("height m", DataType::Float64, true),
        Field::new("tags", tags.data_type().clone(), false),
    ];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec!["a", "b", "c"])),
        Arc::new(Float64Array::from(vec![Some(0.5), None, None])),
        tags,
    ];
    StructArray::new(fields.into(), columns, nulls)
}

#[test]
fn s16_structs_go_in_and_out() {
    let expected = places(Some(NullBuffer::from(vec![true, false, true])));
    same("record", expected.clone());
    // As files have them: in another order, with a field more, all nullable.
    let (fields, columns, nulls) = expected.clone().into_parts();
    let more: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let mut all: Vec<(Arc<Field>, ArrayRef)> = fields
        .iter()
        .zip(columns)
        .map(|(field, column)| (Arc::new(field.as_ref().clone().with_nullable(true)), column))
        .collect();
    all.insert(0, (Arc::new(Field::new("more", DataType::Int64, true)), more));
    all.reverse();
    let (fields, columns): (Vec<_>, Vec<_>) = all.into_iter().unzip();
    becomes("record", StructArray::new(fields.into(), columns, nulls), expected);
    same("records", list(Arc::new(places(None)), [0, 2, 2, 3], false));
}

#[test]
fn s16_maps_go_in_and_out() {
    let pairs = StructArray::from(vec![
        (
            Arc::new(Field::new("key", DataType::Utf8, false)),
            Arc::new(StringArray::from(vec!["a", "b", "a"])) as ArrayRef,
        ),
        (
            Arc::new(Field::new("value", DataType::Int32, true)),
            Arc::new(Int32Array::from(vec![Some(1), None, Some(2)])),
        ),
    ]);
    let entries = Arc::new(Field::new("entries", pairs.data_type().clone(), false));
    let nulls = NullBuffer::from(vec![true, false, true]);
    same("pairs", MapArray::new(entries, OffsetBuffer::new(vec![0, 2, 2, 3].into()), pairs, Some(nulls), false));
}

#[test]
fn s16_a_null_within_a_value_is_a_row_error() {
    let workdir = Workdir::new();
    let lists = ListArray::from_iter_primitive::<Float32Type, _, _>(vec![
        Some(vec![Some(0.5), Some(1.5)]),
        Some(vec![None]),
        Some(vec![]),
    ]);
    write(&workdir, "a", &(Arc::new(lists) as ArrayRef), 0);
    workdir.pipeline(&pipeline("slice"));
    let ran = workdir.run();
    assert_eq!((ran.finished().rows_failed, ran.finished().rows_written), (1, 2));
    assert_eq!(workdir.output("out"), once(["[0.5, 1.5]", "[]"].map(str::to_string)));
}

#[test]
fn s16_no_column_goes_in() {
    let workdir = Workdir::new();
    workdir.numbers("a.parquet", 0..10, 4);
    workdir.pipeline(&pipeline("nothing"));
    workdir.run().finished();
    assert_eq!(workdir.output("out"), Multiset::from([("7".to_string(), 5)]));
}

#[test]
fn s16_a_value_larger_than_half_the_memory_is_done_or_names_the_limit() {
    const LIMIT: usize = 16 << 20;
    let large = "ä".repeat(LIMIT * 5 / 16);
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["small", &large, "also small"]));
    let run = |function: &str| {
        let workdir = Workdir::new();
        write(&workdir, "a", &texts, 0);
        let text = pipeline(function)
            .replace("on_error = \"skip\"", &format!("on_error = \"skip\"\nmemory_bytes_max = {LIMIT}"));
        workdir.pipeline(&format!("{text}[run]\nblock_rows_max = 1\n"));
        let ran = workdir.run();
        (workdir, ran)
    };
    // To be read it has to be there once.
    let (workdir, ran) = run("length");
    assert_eq!(ran.finished().rows_failed, 0);
    assert_eq!(workdir.output("out"), once([5, 10, large.len()].map(|length| length.to_string())));
    // To be given back it has to be there twice.
    let (workdir, ran) = run("text");
    assert_eq!(ran.finished().rows_failed, 1);
    assert_eq!(workdir.output("out"), once(["small", "also small"].map(str::to_string)));
    workdir.pipeline(
        &std::fs::read_to_string(workdir.path("pipeline.toml"))
            .unwrap()
            .replace("on_error = \"skip\"", "on_error = \"fail\""),
    );
    std::fs::remove_dir_all(workdir.path("out")).unwrap();
    std::fs::remove_dir_all(workdir.path("checkpoint")).unwrap();
    let failed = workdir.run();
    for word in ["text", "memory_bytes_max", "a.parquet row", "hint:"] {
        assert!(failed.error().contains(word), "{word:?} is not in:\n{}", failed.error());
    }
}

#[test]
fn whole_columns_go_in_and_out() {
    let workdir = Workdir::new();
    let float = |values: Vec<Option<f64>>| Arc::new(Float64Array::from(values)) as ArrayRef;
    let columns = [
        ("n", Arc::new(Int64Array::from(vec![0, 0, 0])) as ArrayRef, false),
        ("x", float(vec![Some(2.0), None, Some(0.5)]), true),
        ("y", float(vec![Some(3.0), Some(1.0), Some(-1.0)]), true),
    ];
    workdir.file("a.parquet", &RecordBatch::try_from_iter_with_nullable(columns).unwrap(), 10);
    workdir.pipeline(&pipeline("product"));
    let ran = workdir.run();
    assert_eq!(ran.finished().rows_failed, 1, "a null is a row error");
    assert_eq!(workdir.output("out"), once(["6.0", "-0.5"].map(str::to_string)));

    let workdir = Workdir::new();
    let int = |values: Vec<Option<i64>>| Arc::new(Int64Array::from(values)) as ArrayRef;
    let columns = [
        ("n", int(vec![Some(0); 3]), false),
        ("x", int(vec![Some(7), None, Some(1)]), true),
        ("y", int(vec![Some(2), Some(1), Some(0)]), true),
    ];
    workdir.file("a.parquet", &RecordBatch::try_from_iter_with_nullable(columns).unwrap(), 10);
    workdir.pipeline(&pipeline("quotients").replace("[\"out\"]", "[\"out\", \"rest\"]"));
    assert_eq!(workdir.run().finished().rows_failed, 0, "nulls were asked for");
    assert_eq!(workdir.output("out"), Multiset::from([("3|1".to_string(), 1), ("null|null".to_string(), 2)]));
}

#[test]
fn c5_map_batches_that_change_the_row_count_give_exact_totals() {
    let run = |function: &str, expected: Vec<i64>, dropped: u64| {
        let workdir = Workdir::new();
        workdir.numbers("a.parquet", 0..500, 64);
        let text = pipeline(function)
            .replace("[[stage]]\ncomponent = \"{guests}/hostile.wasm\"\nfunction = \"drop_odd\"\n", "")
            .replace("[\"out\"]", "[\"id\", \"out\"]");
        workdir.pipeline(&format!("{text}group_rows_max = 100\n[run]\nworkers = 2\nblock_rows_max = 7\n"));
        let ran = workdir.run();
        let summary = ran.finished();
        assert_eq!((summary.rows_read, summary.rows_written), (500, expected.len() as u64), "{function}");
        assert_eq!((summary.rows_dropped, summary.rows_failed), (dropped, 0), "{function}");
        assert_eq!(workdir.output("out"), once(expected.into_iter().map(|n| format!("id-{n}|{n}"))), "{function}");
        workdir.assert_manifest_is_folder();
        assert_eq!(workdir.run().finished().run, None, "{function}: never done again");
    };
    run("repeated", (0..500).flat_map(|n| std::iter::repeat_n(n, n as usize)).collect(), 1);
    run("thinned", (0..500).filter(|n| n % 3 == 0).collect(), 333);
}
