//! Files of one source that differ (R11, E1): what loses nothing is read in one schema, whichever file comes first; what
//! would lose something is refused, by file and column; and no column is dropped in silence.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, DictionaryArray, DurationMillisecondArray, DurationSecondArray,
    FixedSizeBinaryArray, FixedSizeListArray, Float32Array, Float64Array, Int8Array, Int32Array, Int64Array,
    LargeListArray, LargeStringArray, ListArray, NullArray, RecordBatch, StringArray, StringViewArray, StructArray,
    Time32SecondArray, Time64MicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray,
    TimestampSecondArray, UInt8Array, UInt32Array, UInt64Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Int8Type, Int32Type, Int64Type, Schema, TimeUnit, TimestampMillisecondType};

use crate::support::pipeline::{Pipeline, pipeline};
use crate::support::{Multiset, Workdir, assert_mentions, number_batch, once, read_parquet};

/// Rows are copied.
fn copy() -> Pipeline {
    pipeline(&[])
}

fn array(array: impl Array + 'static) -> ArrayRef {
    Arc::new(array)
}

fn field(name: &str, data_type: DataType, nullable: bool) -> Arc<Field> {
    Arc::new(Field::new(name, data_type, nullable))
}

fn texts(values: [Option<&str>; 2]) -> ArrayRef {
    array(StringArray::from(values.to_vec()))
}

fn record(columns: &[(&str, ArrayRef)]) -> ArrayRef {
    let column = |(name, column): &(&str, ArrayRef)| {
        (field(name, column.data_type().clone(), column.logical_null_count() > 0), Arc::clone(column))
    };
    array(StructArray::from(columns.iter().map(column).collect::<Vec<_>>()))
}

/// Two lists of one item each.
fn lists(items: ArrayRef, name: &str, nullable: bool) -> ArrayRef {
    let field = field(name, items.data_type().clone(), nullable);
    array(ListArray::new(field, OffsetBuffer::new(vec![0, 1, 2].into()), items, None))
}

fn numbers<T: arrow::datatypes::ArrowPrimitiveType>(rows: [T::Native; 2]) -> Vec<Option<Vec<Option<T::Native>>>> {
    rows.into_iter().map(|number| Some(vec![Some(number)])).collect()
}

/// Two rows with ids from `first`; no column `v` if there is none.
fn two_rows(first: i64, v: Option<&ArrayRef>) -> RecordBatch {
    let ids = array(Int64Array::from(vec![first, first + 1]));
    let v = v.map(|v| ("v", Arc::clone(v), true));
    RecordBatch::try_from_iter_with_nullable([("id", ids, false)].into_iter().chain(v)).unwrap()
}

/// The two files, in this order.
fn with_files(pipeline: &Pipeline, files: [&RecordBatch; 2]) -> Workdir {
    let workdir = Workdir::quick();
    workdir.pipeline(pipeline);
    ["a.parquet", "b.parquet"].iter().zip(files).for_each(|(name, file)| workdir.file(name, file, 10));
    workdir
}

/// The type of a column in all files that were written.
#[track_caller]
fn written_type(workdir: &Workdir, column: &str) -> DataType {
    let files = workdir.files("out").into_iter().filter(|path| path.extension().is_some_and(|end| end == "parquet"));
    let mut types: Vec<DataType> = files
        .flat_map(|file| read_parquet(&file))
        .map(|batch| batch.schema().field_with_name(column).unwrap().data_type().clone())
        .collect();
    types.dedup();
    assert_eq!(types.len(), 1, "{types:?}");
    types.remove(0)
}

/// What one file has, what another has, what the job makes of it: its type, and the four values.
type Row = (Option<ArrayRef>, Option<ArrayRef>, DataType, [&'static str; 4]);

#[track_caller]
fn check(rows: Vec<Row>) {
    for (one, other, data_type, values) in rows {
        let (one, other) = (two_rows(1, one.as_ref()), two_rows(3, other.as_ref()));
        let expected = once((1..).zip(values).map(|(id, value)| format!("{id}|{value}")));
        for files in [[&one, &other], [&other, &one]] {
            let workdir = with_files(&copy(), files);
            workdir.run().finished();
            assert_eq!(workdir.output("out"), expected, "{:?} and {:?}", files[0].schema(), files[1].schema());
            assert!(written_type(&workdir, "v").equals_datatype(&data_type), "{}", written_type(&workdir, "v"));
        }
    }
}

#[test]
fn e1_nulls_and_columns_that_some_files_lack_are_null() {
    let x = || Some(texts([Some("x"), None]));
    let nulls = || Some(array(NullArray::new(2)));
    let in_record = |column: ArrayRef| Some(record(&[("a", column)]));
    let inner = |nullable| DataType::Struct(vec![field("a", DataType::Utf8, nullable)].into());
    check(vec![
        (nulls(), x(), DataType::Utf8, ["null", "null", "x", "null"]),
        (None, x(), DataType::Utf8, ["null", "null", "x", "null"]),
        (None, nulls(), DataType::Null, ["null", "null", "null", "null"]),
        (nulls(), in_record(texts([Some("x"), Some("y")])), inner(false), ["null", "null", "{a: x}", "{a: y}"]),
        (
            in_record(array(NullArray::new(2))),
            in_record(texts([Some("x"), Some("y")])),
            inner(true),
            ["{a: null}", "{a: null}", "{a: x}", "{a: y}"],
        ),
        (
            Some(lists(array(NullArray::new(2)), "item", true)),
            Some(lists(texts([Some("x"), None]), "item", true)),
            DataType::new_list(DataType::Utf8, true),
            ["[null]", "[null]", "[x]", "[null]"],
        ),
    ]);
}

/// Its rows are there all the same, and by position, too.
#[test]
fn e1_a_file_with_none_of_the_columns_gives_rows_of_nulls() {
    let x = texts([Some("x"), None]);
    let text = copy().by_position().sink("columns = [\"v\"]");
    let workdir = with_files(&text, [&two_rows(1, None), &two_rows(3, Some(&x))]);
    assert_eq!(workdir.run().finished().rows_written, 4);
    assert_eq!(workdir.output("out"), Multiset::from([("null".to_owned(), 3), ("x".to_owned(), 1)]));
}

#[test]
fn e1_wider_types_win() {
    let int32 = |a, b| Some(array(Int32Array::from(vec![a, b])));
    let decimals = |values: [i128; 2], precision, scale| {
        array(Decimal128Array::from(values.to_vec()).with_precision_and_scale(precision, scale).unwrap())
    };
    check(vec![
        (
            int32(1, 2),
            Some(array(Int64Array::from(vec![3, i64::MAX]))),
            DataType::Int64,
            ["1", "2", "3", "9223372036854775807"],
        ),
        (
            int32(-1, 2),
            Some(array(UInt32Array::from(vec![3, u32::MAX]))),
            DataType::Int64,
            ["-1", "2", "3", "4294967295"],
        ),
        (
            Some(array(Int8Array::from(vec![-1, 2]))),
            Some(array(UInt8Array::from(vec![3, 255]))),
            DataType::Int16,
            ["-1", "2", "3", "255"],
        ),
        (
            Some(array(Float32Array::from(vec![0.5, -0.0]))),
            Some(array(Float64Array::from(vec![0.1, f64::MAX]))),
            DataType::Float64,
            ["0.5", "-0.0", "0.1", "1.7976931348623157e308"],
        ),
        (
            Some(decimals([100, -1], 5, 2)),
            Some(decimals([12345, 7], 5, 4)),
            DataType::Decimal128(7, 4),
            ["1.0000", "-0.0100", "1.2345", "0.0007"],
        ),
        (
            Some(texts([Some("a"), None])),
            Some(array(LargeStringArray::from(vec!["b", "c"]))),
            DataType::LargeUtf8,
            ["a", "null", "b", "c"],
        ),
        (
            Some(array(StringViewArray::from(vec!["a", "b"]))),
            Some(array(["c", "d"].into_iter().collect::<DictionaryArray<Int32Type>>())),
            DataType::Utf8,
            ["a", "b", "c", "d"],
        ),
        (
            Some(array(FixedSizeBinaryArray::try_from_iter([[1, 2], [3, 4]].into_iter()).unwrap())),
            Some(array(FixedSizeBinaryArray::try_from_iter([[5], [6]].into_iter()).unwrap())),
            DataType::Binary,
            ["0102", "0304", "05", "06"],
        ),
    ]);
}

#[test]
fn e1_finer_units_win() {
    let seconds = || array(TimestampSecondArray::from(vec![0, 1]));
    check(vec![
        (
            Some(seconds()),
            Some(array(TimestampNanosecondArray::from(vec![2, 3]))),
            DataType::Timestamp(TimeUnit::Nanosecond, None),
            [
                "1970-01-01T00:00:00",
                "1970-01-01T00:00:01",
                "1970-01-01T00:00:00.000000002",
                "1970-01-01T00:00:00.000000003",
            ],
        ),
        (
            Some(array(Time32SecondArray::from(vec![1, 2]))),
            Some(array(Time64MicrosecondArray::from(vec![3, 4]))),
            DataType::Time64(TimeUnit::Microsecond),
            ["00:00:01", "00:00:02", "00:00:00.000003", "00:00:00.000004"],
        ),
        (
            Some(array(DurationSecondArray::from(vec![1, 2]))),
            Some(array(DurationMillisecondArray::from(vec![3, 4]))),
            DataType::Duration(TimeUnit::Millisecond),
            ["PT1S", "PT2S", "PT0.003S", "PT0.004S"],
        ),
    ]);
}

#[test]
fn e1_lists_structs_and_maps_by_the_same_rule() {
    let strings = |a: &'static str, b: &'static str| texts([Some(a), Some(b)]);
    let of = |data_type| DataType::new_list(data_type, true);
    let large = LargeListArray::from_iter_primitive::<Int64Type, _, _>(numbers::<Int64Type>([3, 4]));
    let fixed = FixedSizeListArray::from_iter_primitive::<Int32Type, _, _>(numbers::<Int32Type>([1, 2]), 1);
    let tagged = |tags: ArrayRef| record(&[("tags", tags)]);
    check(vec![
        // c04e: items are never null in one file, nullable in the other.
        (
            Some(lists(strings("x", "y"), "element", false)),
            Some(lists(texts([Some("z"), None]), "element", true)),
            of(DataType::Utf8),
            ["[x]", "[y]", "[z]", "[null]"],
        ),
        (
            Some(lists(array(Int32Array::from(vec![1, 2])), "element", false)),
            Some(array(large)),
            DataType::LargeList(field("item", DataType::Int64, true)),
            ["[1]", "[2]", "[3]", "[4]"],
        ),
        (
            Some(array(fixed.clone())),
            Some(array(FixedSizeListArray::from_iter_primitive::<Int64Type, _, _>(numbers::<Int64Type>([3, 4]), 1))),
            DataType::new_fixed_size_list(DataType::Int64, 1, true),
            ["[1]", "[2]", "[3]", "[4]"],
        ),
        (
            Some(array(fixed)),
            Some(lists(array(Int32Array::from(vec![3, 4])), "item", true)),
            of(DataType::Int32),
            ["[1]", "[2]", "[3]", "[4]"],
        ),
        (
            Some(lists(tagged(lists(strings("a", "b"), "item", false)), "item", true)),
            Some(lists(tagged(lists(array(NullArray::new(2)), "item", true)), "item", true)),
            of(DataType::Struct(vec![field("tags", of(DataType::Utf8), false)].into())),
            ["[{tags: [a]}]", "[{tags: [b]}]", "[{tags: [null]}]", "[{tags: [null]}]"],
        ),
    ]);
}

#[test]
fn e1_a_struct_has_the_fields_of_all_files() {
    let strings = |a: &'static str, b: &'static str| texts([Some(a), Some(b)]);
    let few = two_rows(1, Some(&record(&[("url", strings("a", "b"))])));
    let more = two_rows(3, Some(&record(&[("lang", strings("de", "en")), ("url", strings("c", "d"))])));
    let orders = [
        (
            [&few, &more],
            ["1|{url: a, lang: null}", "2|{url: b, lang: null}", "3|{url: c, lang: de}", "4|{url: d, lang: en}"],
        ),
        (
            [&more, &few],
            ["1|{lang: null, url: a}", "2|{lang: null, url: b}", "3|{lang: de, url: c}", "4|{lang: en, url: d}"],
        ),
    ];
    for (files, expected) in orders {
        let workdir = with_files(&copy(), files);
        workdir.run().finished();
        assert_eq!(workdir.output("out"), once(expected.map(str::to_owned)));
    }
}

#[test]
fn e1_instants_of_two_zones_are_shown_in_utc() {
    let berlin = array(TimestampSecondArray::from(vec![0, 1]).with_timezone("Europe/Berlin"));
    let utc = array(TimestampMillisecondArray::from(vec![2, 3]).with_timezone("UTC"));
    let workdir = with_files(&copy(), [&two_rows(1, Some(&berlin)), &two_rows(3, Some(&utc))]);
    workdir.run().finished();
    assert_eq!(written_type(&workdir, "v"), DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())));
    let batches = workdir.files("out").into_iter().filter(|path| path.extension().is_some_and(|end| end == "parquet"));
    let mut values: Vec<i64> = batches
        .flat_map(|file| read_parquet(&file))
        .flat_map(|batch| batch.column(1).as_primitive::<TimestampMillisecondType>().values().to_vec())
        .collect();
    values.sort_unstable();
    assert_eq!(values, [0, 2, 3, 1000]);
}

#[test]
fn e1_dictionaries_within_lists_and_structs_are_copied() {
    let dictionary =
        |a: &'static str, b: &'static str| array([a, b].into_iter().collect::<DictionaryArray<Int32Type>>());
    let both = |items: [ArrayRef; 2], first| {
        let [item, inner] = items;
        let columns = [
            ("id", array(Int64Array::from(vec![first, first + 1]))),
            ("tags", lists(item, "item", true)),
            ("s", record(&[("c", inner)])),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    };
    let one = both([dictionary("x", "y"), dictionary("a", "b")], 1);
    let other = both([dictionary("z", "x"), dictionary("b", "c")], 3);
    let expected = once(["1|[x]|{c: a}", "2|[y]|{c: b}", "3|[z]|{c: b}", "4|[x]|{c: c}"].map(str::to_owned));
    for text in [copy(), copy().without_checkpoint()] {
        let workdir = with_files(&text, [&one, &other]);
        workdir.run().finished();
        assert_eq!(workdir.output("out"), expected);
        assert_eq!(&written_type(&workdir, "tags"), one.column(1).data_type());
        assert_eq!(&written_type(&workdir, "s"), one.column(2).data_type());
    }
    // Dictionaries of another kind, and none at all.
    let short = |a: &'static str, b: &'static str| array([a, b].into_iter().collect::<DictionaryArray<Int8Type>>());
    let third = both([short("z", "x"), texts([Some("b"), Some("c")])], 3);
    let workdir = with_files(&copy(), [&one, &third]);
    workdir.run().finished();
    assert_eq!(workdir.output("out"), expected);
    assert_eq!(written_type(&workdir, "tags"), DataType::new_list(DataType::Utf8, true));
}

/// Three files with everything, in each order: one output.
#[test]
fn e1_it_does_not_matter_which_file_comes_first() {
    let ids = |first: i64| array(Int64Array::from(vec![first, first + 1]));
    let batch = |columns: Vec<(&str, ArrayRef)>| {
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
            .unwrap()
    };
    let files = [
        batch(vec![("n", array(Int8Array::from(vec![1, 2]))), ("id", ids(1)), ("t", array(NullArray::new(2)))]),
        batch(vec![("id", ids(3)), ("n", array(UInt32Array::from(vec![3, 4]))), ("x", texts([Some("x"), None]))]),
        batch(vec![("t", array(DurationSecondArray::from(vec![5, 6]))), ("id", array(Int32Array::from(vec![5, 6])))]),
    ];
    let rows =
        ["1|1|null|null", "2|2|null|null", "3|3|x|null", "4|4|null|null", "5|null|null|PT5S", "6|null|null|PT6S"];
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let workdir = Workdir::quick();
        workdir.pipeline(&copy().sink("columns = [\"id\", \"n\", \"x\", \"t\"]"));
        for (place, file) in order.into_iter().enumerate() {
            workdir.file(&format!("{place}.parquet"), &files[file], 1);
        }
        workdir.run().finished();
        assert_eq!(workdir.output("out"), once(rows.map(str::to_owned)), "{order:?}");
        assert_eq!(written_type(&workdir, "n"), DataType::Int64);
    }
}

/// A function sees the columns of all files: here the first one lacks what it needs.
#[test]
fn e1_a_function_is_bound_to_the_columns_of_all_files() {
    let without = RecordBatch::try_from_iter([("id", texts([Some("id-1"), Some("id-2")]))]).unwrap();
    let narrow = [("id", texts([Some("id-3"), Some("id-4")])), ("n", array(Int32Array::from(vec![3, 4])))];
    let workdir = with_files(
        &pipeline(&["hostile.double\non_error = \"skip\""]),
        [&without, &RecordBatch::try_from_iter(narrow).unwrap()],
    );
    workdir.file("c.parquet", &number_batch([5]), 10);
    let ran = workdir.run();
    assert_eq!((ran.finished().rows_failed, ran.finished().rows_written), (2, 3), "a null is a row error");
    assert_eq!(workdir.output("out"), once(["id-3|3|6", "id-4|4|8", "id-5|5|10"].map(str::to_owned)));
}

#[test]
fn r11_what_loses_is_refused_by_column_types_and_files() {
    let int = || Some(array(Int64Array::from(vec![1, 2])));
    let rows = [
        (int(), Some(texts([Some("x"), None])), "`v` is Int64 in a.parquet, and Utf8 in b.parquet"),
        (int(), Some(array(UInt64Array::from(vec![1, 2]))), "`v` is Int64 in a.parquet, and UInt64 in b.parquet"),
        (Some(array(Float64Array::from(vec![1.0, 2.0]))), int(), "`v` is Float64 in a.parquet, and Int64 in b.parquet"),
        (
            Some(record(&[("at", lists(array(Int32Array::from(vec![1, 2])), "item", true))])),
            Some(record(&[("at", lists(texts([Some("a"), None]), "item", true))])),
            "`v.at[]` is Int32 in a.parquet, and Utf8 in b.parquet",
        ),
    ];
    for (one, other, words) in rows {
        let workdir = with_files(&copy(), [&two_rows(1, one.as_ref()), &two_rows(3, other.as_ref())]);
        assert_mentions(workdir.run().refused(), &["pipeline.toml:2:", words, "hint: no type holds both"]);
        assert!(workdir.files("out").is_empty() && workdir.files("checkpoint").is_empty());
        // It is no matter where nothing reads the column.
        workdir.pipeline(&copy().sink("columns = [\"id\"]"));
        workdir.run().finished();
        assert_eq!(workdir.output("out"), once(["1", "2", "3", "4"].map(str::to_owned)));
    }
    let without = RecordBatch::try_from_iter([("v", array(Int64Array::from(vec![2])))]).unwrap();
    let workdir = with_files(&copy(), [&two_rows(1, None), &without]);
    assert_mentions(workdir.run().refused(), &["b.parquet has no column `id`", "hint: give every row an id"]);
}

#[test]
fn r11_a_value_beyond_the_finer_unit_is_refused_by_row() {
    let year_9999 = 253_402_214_400;
    let far = array(TimestampSecondArray::from(vec![Some(0), None, Some(year_9999)]));
    let ids = array(Int64Array::from(vec![1, 2, 3]));
    let coarse = RecordBatch::try_from_iter_with_nullable([("id", ids, false), ("v", far, true)]).unwrap();
    let fine = two_rows(4, Some(&array(TimestampNanosecondArray::from(vec![2, 3]))));
    let workdir = with_files(&copy().run("readers = 1"), [&fine, &coarse]);
    let ran = workdir.run();
    assert_mentions(
        ran.error(),
        &[
            "source object b.parquet: row 2: column `v` is 9999-12-31T00:00:00, which Timestamp(ns) does not reach",
            "hint: ",
        ],
    );
    assert!(ran.summary().rows_written <= 2);
    workdir.assert_log_is_folder();
}

/// A job that wrote all columns of its first file.
fn begun() -> Workdir {
    let workdir = Workdir::quick();
    workdir.pipeline(&copy());
    workdir.file("a.parquet", &two_rows(1, Some(&texts([Some("x"), None]))), 10);
    workdir.run().finished();
    workdir
}

#[test]
fn r11_a_new_column_in_a_job_that_has_begun_is_refused_and_never_dropped() {
    let workdir = begun();
    let columns = [("id", array(Int64Array::from(vec![3]))), ("v", array(StringArray::from(vec!["y"])))];
    let lang = ("lang", array(StringArray::from(vec!["de"])));
    workdir.file("b.parquet", &RecordBatch::try_from_iter(columns.into_iter().chain([lang])).unwrap(), 10);
    workdir.file("c.parquet", &two_rows(4, Some(&texts([None, Some("z")]))), 10);
    let ran = workdir.run();
    assert_mentions(ran.error(), &["b.parquet: column `lang` is not known to the job", "`columns` under [sink]"]);
    assert!(workdir.output("out").keys().all(|row| !row.starts_with("3|")), "not a row of it");
    workdir.assert_log_is_folder();
    // What the hint says: without it, under the same checkpoint.
    workdir.pipeline(&copy().sink("columns = [\"id\", \"v\"]"));
    workdir.run().finished();
    assert_eq!(workdir.output("out"), once(["1|x", "2|null", "3|y", "4|null", "5|z"].map(str::to_owned)));
}

#[test]
fn r11_wider_types_in_a_job_that_has_begun_are_refused() {
    let grown = record(&[("a", texts([Some("x"), None]))]);
    let rows = [
        (
            array(Int32Array::from(vec![1, 2])),
            array(Int64Array::from(vec![3, 4])),
            "`v` is Int64, the job reads it as Int32",
        ),
        (record(&[("b", texts([Some("x"), None]))]), grown, "`v.a` is not known to the job"),
        (
            lists(array(Int32Array::from(vec![1, 2])), "item", false),
            lists(array(Int32Array::from(vec![1, 2])), "item", true),
            "`v[]` may be null, the job reads it as never null",
        ),
    ];
    for (begun, later, words) in rows {
        let workdir = Workdir::quick();
        workdir.pipeline(&copy());
        workdir.file("a.parquet", &two_rows(1, Some(&begun)), 10);
        workdir.run().finished();
        workdir.file("b.parquet", &two_rows(3, Some(&later)), 10);
        let before = workdir.output("out");
        assert_mentions(
            workdir.run().error(),
            &["source object b.parquet: column ", words, "rows that are done stay done"],
        );
        assert_eq!(workdir.output("out"), before);
        // The other way round nothing is lost.
        let workdir = Workdir::quick();
        workdir.pipeline(&copy());
        workdir.file("b.parquet", &two_rows(3, Some(&later)), 10);
        workdir.run().finished();
        if words.contains("not known") {
            continue;
        }
        workdir.file("a.parquet", &two_rows(1, Some(&begun)), 10);
        workdir.run().finished();
    }
}

#[test]
fn r11_an_id_column_that_a_later_file_lacks_or_has_wider_is_refused() {
    let workdir = Workdir::quick();
    workdir.pipeline(&copy());
    let ids = |ids: ArrayRef| RecordBatch::try_from_iter([("id", ids)]).unwrap();
    workdir.file("a.parquet", &ids(array(Int32Array::from(vec![1]))), 10);
    workdir.run().finished();
    let refused = [
        (ids(array(Int64Array::from(vec![2]))), "column `id` is Int64, the job reads it as Int32"),
        (RecordBatch::try_from_iter([("n", array(Int64Array::from(vec![2])))]).unwrap(), "there is no column `id`"),
    ];
    for (batch, words) in refused {
        workdir.file("b.parquet", &batch, 10);
        assert_mentions(workdir.run().error(), &["b.parquet", words]);
    }
    workdir.file("b.parquet", &ids(array(Int8Array::from(vec![2]))), 10);
    workdir.run().finished();
    assert_eq!(workdir.output("out"), once(["1", "2"].map(str::to_owned)));
}

/// The footer that differs is not among those that are read first.
#[test]
fn r11_of_many_files_one_that_differs_is_refused_before_its_first_row() {
    let text = copy().source("footers_max = 2");
    let workdir = Workdir::quick();
    workdir.pipeline(&text);
    for file in 0..5 {
        workdir.numbers(&format!("{file}.parquet"), file * 10..file * 10 + 2, 10);
    }
    let more = [("id", texts([Some("x"), Some("y")])), ("lang", texts([Some("de"), None]))];
    workdir.file("2.parquet", &RecordBatch::try_from_iter(more).unwrap(), 10);
    let ran = workdir.run();
    assert_mentions(ran.error(), &["2.parquet: column `lang` is not known to the job", "`footers_max` under [source]"]);
    let checked = workdir.said(&["check", "--all", "pipeline.toml"], 2);
    assert_mentions(&checked, &["2.parquet: column `lang`", "1 problem of the source"]);
    let written = |workdir: &Workdir| workdir.output("out").keys().filter(|row| row.contains("|null|")).count();
    assert_eq!(written(&workdir), 0);
    // What the hint says: a new job that looks at all of them.
    std::fs::remove_dir_all(workdir.path("out")).unwrap();
    std::fs::remove_dir_all(workdir.path("checkpoint")).unwrap();
    workdir.pipeline(&text.source("footers_max = 5"));
    workdir.run().finished();
    let rows: Multiset = workdir.output("out");
    assert_eq!((rows.len(), rows["x|null|de"], rows["id-40|40|null"]), (10, 1, 1));
}

#[test]
fn e3_names_of_folders_are_said_aloud() {
    let workdir = Workdir::new();
    for folder in ["lang=de/year=2024", "lang=en/year=2025"] {
        std::fs::create_dir_all(workdir.path("in").join(folder)).unwrap();
    }
    workdir.numbers("lang=de/year=2024/a.parquet", 0..2, 10);
    let year = array(Int64Array::from(vec![2025]));
    let own = RecordBatch::try_from_iter([("id", array(StringArray::from(vec!["x"]))), ("year", year)]).unwrap();
    workdir.file("lang=en/year=2025/b.parquet", &own, 10);
    workdir.pipeline(&copy());
    for command in ["plan", "check", "run"] {
        let said = workdir.said(&[command, "pipeline.toml"], 0);
        assert_mentions(&said, &["warning: folders of the source", "`lang`", "\n  hint: "]);
        assert_eq!((said.matches("warning: ").count(), said.contains("`year`")), (1, false), "{said}");
    }
    workdir.pipeline(&copy().source("id = [\"lang\", \"id\"]"));
    assert_mentions(workdir.run().refused(), &["no column `lang`", "hint: `lang` stands in names of folders only"]);
}

#[test]
fn r11_two_columns_of_one_name_are_refused_where_they_are_read() {
    let column = |name| Field::new(name, DataType::Int64, true);
    let schema = Schema::new(vec![column("id"), column("x"), column("x")]);
    let columns = (1..4).map(|n| array(Int64Array::from(vec![n]))).collect();
    let workdir = Workdir::quick();
    workdir.file("a.parquet", &RecordBatch::try_new(Arc::new(schema), columns).unwrap(), 10);
    workdir.pipeline(&copy());
    let words = [
        "source object a.parquet: 2 columns have the name `x`",
        "hint: which of them is meant cannot be told: rename one",
    ];
    assert_mentions(workdir.run().refused(), &words);
    workdir.pipeline(&copy().sink("columns = [\"id\"]"));
    workdir.run().finished();
    assert_eq!(workdir.output("out"), once(["1".to_owned()]));
}
