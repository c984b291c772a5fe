//! Functions as an author writes them, called as the host calls them: schema and block in, answer out.

#![expect(
    clippy::needless_lifetimes,
    clippy::needless_pass_by_value,
    clippy::too_many_arguments,
    reason = "what an author may write is under test, not what is best"
)]

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Float64Array, Int32Array, Int64Array, StringArray, UInt32Array,
};
use arrow_schema::DataType;
use expect_test::{Expect, expect};
use serde::Deserialize;
use wasmpipe_sdk::component::{Instance, describe};
use wasmpipe_sdk::{
    Answer, BooleanBuffer, Lineage, RecordBatch, RowError, Schema, Schemas, filter, flat_map, log, map, map_batches,
};
use wasmpipe_sdk::{Field, arrow_array, arrow_schema};

/// Keeps texts of at least `bytes_min` bytes.
///
/// Bytes, not characters.
#[filter]
fn long_enough(text: &str, #[config] limits: &Limits) -> bool {
    text.len() >= limits.bytes_min
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Limits {
    bytes_min: usize,
}

/// Twice the number.
#[map]
fn double(n: i64) -> Result<i64, String> {
    n.checked_mul(2).ok_or_else(|| format!("{n} is too large"))
}

#[map(columns("upper", "bytes", "first"))]
fn facts<'a>(text: Option<&'a str>, #[column("a flag")] flag: bool) -> (Option<String>, u32, Option<&'a str>) {
    let upper = text.filter(|_| flag).map(str::to_uppercase);
    (upper, text.map_or(0, |text| text.len() as u32), text.and_then(|text| text.get(..1)))
}

/// The words of a text.
#[flat_map]
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace()
}

#[flat_map(columns("at", "letter"))]
fn letters(text: String) -> Result<Vec<(u32, String)>, &'static str> {
    if text.contains('\0') {
        return Err("a NUL");
    }
    Ok(text.chars().enumerate().map(|(at, letter)| (at as u32, letter.to_string())).collect())
}

#[map]
fn every_type(
    a: i8,
    b: i16,
    c: i32,
    d: u8,
    e: u16,
    f: u32,
    g: u64,
    h: f32,
    i: f64,
    j: &[u8],
    k: Vec<u8>,
    l: Option<bool>,
) -> f64 {
    let bytes = j.len() + k.len() + usize::from(l.unwrap_or(true));
    f64::from(a)
        + f64::from(b)
        + f64::from(c)
        + f64::from(d)
        + f64::from(e)
        + f64::from(f)
        + g as f64
        + f64::from(h)
        + i
        + bytes as f64
}

#[map]
fn raw(bytes: &[u8]) -> Option<Vec<u8>> {
    (!bytes.is_empty()).then(|| bytes.iter().rev().copied().collect())
}

/// No column goes in.
#[map]
fn r#const() -> bool {
    log::info!("a {} line", "log");
    wasmpipe_sdk::count("rows", 1);
    true
}

#[map_batches(needs("n": i64), adds("n": i64))]
fn same(batch: &RecordBatch) -> RecordBatch {
    batch.clone()
}

#[map_batches(schemas = columns_of)]
fn identity(batch: &RecordBatch, #[config] _config: &Identity) -> Result<RecordBatch, String> {
    Ok(batch.clone())
}

#[derive(Deserialize)]
struct Identity {
    columns: Vec<String>,
}

fn columns_of(input: &Schema, config: &Identity) -> Result<Schemas, arrow_schema::ArrowError> {
    let indices = config.columns.iter().map(|name| input.index_of(name)).collect::<Result<Vec<_>, _>>()?;
    let columns = input.project(&indices)?;
    Ok(Schemas { needs: columns.clone(), adds: columns })
}

#[map_batches(needs("n": i64), adds("m": i64))]
fn odd_answers(batch: &RecordBatch, #[config] say: &Say) -> Result<Answer, String> {
    let rows = batch.num_rows();
    let answer = |columns: Vec<i64>, lineage, errors| {
        let column: ArrayRef = Arc::new(Int64Array::from(columns));
        let batch = RecordBatch::try_from_iter([("m", column)]).expect("one column");
        Ok(Answer { batch, lineage, errors })
    };
    let error = |row| RowError { row, message: "no".to_owned() };
    match say.what.as_str() {
        "kept" => answer(vec![7], Lineage::Kept(BooleanBuffer::collect_bool(rows, |row| row == 0)), vec![error(1)]),
        "counts" => answer(vec![7, 7], Lineage::Counts(vec![2, 0, 0]), vec![]),
        "few" => answer(vec![7], Lineage::Same, vec![]),
        "short lineage" => answer(vec![7], Lineage::Counts(vec![1]), vec![]),
        "error with rows" => answer(vec![7], Lineage::Counts(vec![1, 0, 0]), vec![error(0)]),
        "errors out of order" => answer(vec![7], Lineage::Counts(vec![1, 0, 0]), vec![error(2), error(1)]),
        _ => Err("unable to work".to_owned()),
    }
}

#[derive(Deserialize)]
struct Say {
    what: String,
}

type Hidden = Result<Vec<u32>, String>;

#[flat_map]
fn hidden_result(n: i64) -> std::option::IntoIter<u32> {
    u32::try_from(n).ok().into_iter()
}

#[flat_map]
fn alias(n: i64) -> AliasOfResult {
    u32::try_from(n)
}

type AliasOfResult = Result<u32, std::num::TryFromIntError>;

wasmpipe_sdk::export!(
    long_enough,
    double,
    facts,
    words,
    letters,
    every_type,
    raw,
    r#const,
    same,
    identity,
    odd_answers,
    hidden_result,
    alias,
);

#[test]
fn functions_stay_functions() {
    let _: Hidden = Ok(vec![]);
    assert!(long_enough("abc", &Limits { bytes_min: 3 }));
    assert_eq!(double(4), Ok(8));
    assert_eq!(words("a b").count(), 2);
}

#[test]
fn describe_tells_names_kinds_and_docs() {
    let mut described: serde_json::Value = serde_json::from_str(&describe(&WASMPIPE_FUNCTIONS[..4])).expect("JSON");
    for function in described["functions"].as_array_mut().expect("a list") {
        function.as_object_mut().expect("an object").retain(|key, _| ["name", "kind", "doc"].contains(&key.as_str()));
    }
    let expected = serde_json::json!({ "functions": [
        { "name": "long_enough", "kind": "filter", "doc": "Keeps texts of at least `bytes_min` bytes.\n\nBytes, not characters." },
        { "name": "double", "kind": "map", "doc": "Twice the number." },
        { "name": "facts", "kind": "map", "doc": "" },
        { "name": "words", "kind": "flat-map", "doc": "The words of a text." },
    ]});
    assert_eq!(described, expected);
}

#[test]
fn a_filter_answers_a_bitmap_and_no_batch() {
    let texts: Vec<String> = (0..11).map(|n| "x".repeat(n)).collect();
    let block = batch([("text", utf8(&texts.iter().map(String::as_str).collect::<Vec<_>>()))]);
    let answer = run("long_enough", r#"{"bytes_min": 5}"#, &block);
    assert_eq!((answer.batch.num_columns(), answer.batch.num_rows(), answer.errors), (0, 6, vec![]));
    assert_eq!(answer.lineage, Lineage::Kept(BooleanBuffer::collect_bool(11, |row| row >= 5)));
}

#[test]
fn a_map_answers_a_column_of_its_name_and_row_errors() {
    let block = batch([("n", int64(&[1, i64::MAX, 3]))]);
    let answer = run("double", "null", &block);
    assert_eq!(answer.lineage, Lineage::Same);
    assert_eq!(answer.errors, [RowError { row: 1, message: format!("{} is too large", i64::MAX) }]);
    assert_eq!(answer.batch, batch([("double", int64(&[2, 0, 6]))]));
}

#[test]
fn nullable_values_go_in_and_out() {
    let text: ArrayRef = Arc::new(StringArray::from(vec![Some("ab"), None, Some("")]));
    let flag: ArrayRef = Arc::new(BooleanArray::from(vec![true, true, false]));
    let block = batch([("a flag", flag), ("text", text), ("other", int64(&[1, 2, 3]))]);
    let answer = run("facts", "{}", &block);
    let output = answer.batch;
    let nullable: Vec<_> = output.schema().fields().iter().map(|field| field.is_nullable()).collect();
    assert_eq!(nullable, [true, false, true]);
    assert_eq!(output.column(0).as_ref(), &StringArray::from(vec![Some("AB"), None, None]) as &dyn Array);
    assert_eq!(output.column(1).as_ref(), &UInt32Array::from(vec![2, 0, 0]) as &dyn Array);
    assert_eq!(output.column(2).as_ref(), &StringArray::from(vec![Some("a"), None, None]) as &dyn Array);
}

#[test]
fn a_flat_map_answers_counts() {
    let block = batch([("text", utf8(&["a bc", "", "d"]))]);
    let answer = run("words", "{}", &block);
    assert_eq!(answer.lineage, Lineage::Counts(vec![2, 0, 1]));
    assert_eq!(answer.batch, batch([("words", utf8(&["a", "bc", "d"]))]));
}

#[test]
fn a_row_error_has_no_outputs() {
    let block = batch([("text", utf8(&["xy", "a\0", "z"]))]);
    let answer = run("letters", "{}", &block);
    assert_eq!(answer.lineage, Lineage::Counts(vec![2, 0, 1]));
    assert_eq!(answer.errors, [RowError { row: 1, message: "a NUL".to_owned() }]);
    let at: ArrayRef = Arc::new(UInt32Array::from(vec![0, 1, 0]));
    let expected = batch([("at", at), ("letter", utf8(&["x", "y", "z"]))]);
    assert_eq!(answer.batch, expected);
}

#[test]
fn every_type_crosses() {
    let one = |data_type: DataType| -> ArrayRef {
        let one = Int32Array::from(vec![1]);
        arrow_array::make_array(widen(&one, &data_type))
    };
    let binary: ArrayRef = Arc::new(BinaryArray::from(vec![b"ab".as_slice()]));
    let flag: ArrayRef = Arc::new(BooleanArray::from(vec![None]));
    let types = [
        DataType::Int8,
        DataType::Int16,
        DataType::Int32,
        DataType::UInt8,
        DataType::UInt16,
        DataType::UInt32,
        DataType::UInt64,
    ];
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    let mut columns: Vec<(&str, ArrayRef)> = names.into_iter().zip(types.map(one)).collect();
    columns.push(("h", Arc::new(arrow_array::Float32Array::from(vec![0.5]))));
    columns.push(("i", Arc::new(Float64Array::from(vec![0.25]))));
    columns.extend([("j", Arc::clone(&binary)), ("k", binary), ("l", flag)]);
    let block = nullable_last(columns);
    let answer = run("every_type", "{}", &block);
    let expected: ArrayRef = Arc::new(Float64Array::from(vec![12.75]));
    assert_eq!(answer.batch, batch([("every_type", expected)]));
}

#[test]
fn bytes_come_back_and_may_be_null() {
    let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![b"\xFFa".as_slice(), b""]));
    let block = batch([("bytes", bytes)]);
    let output = run("raw", "{}", &block).batch;
    assert_eq!(output.column(0).as_ref(), &BinaryArray::from(vec![Some(b"a\xFF".as_slice()), None]) as &dyn Array);
}

#[test]
fn zero_columns_and_zero_rows() {
    let block = batch([("n", int64(&[1, 2]))]);
    let trues: ArrayRef = Arc::new(BooleanArray::from(vec![true, true]));
    assert_eq!(run("const", "{}", &block).batch, batch([("const", trues)]));
    assert_eq!(log::counts_taken().get("rows"), Some(&2));
    assert_eq!(log::lines_taken()[0], (log::Level::Info, "a log line".to_owned()));
    let empty = batch([("text", utf8(&[])), ("n", int64(&[]))]);
    assert_eq!(run("words", "{}", &empty).lineage, Lineage::Counts(vec![]));
    assert_eq!(
        run("long_enough", r#"{"bytes_min": 5}"#, &empty).lineage,
        Lineage::Kept(BooleanBuffer::collect_bool(0, |_| true))
    );
    assert_eq!(run("double", "{}", &empty).batch.num_rows(), 0);
}

#[test]
fn map_batches_replaces_its_columns() {
    let block = batch([("n", int64(&[1, 2]))]);
    assert_eq!(run("same", "{}", &block).batch, block);
    let block = batch([("n", int64(&[1, 2])), ("text", utf8(&["a", "b"])), ("rest", int64(&[0, 0]))]);
    let config = r#"{"columns": ["text", "n"]}"#;
    let expected = batch([("text", utf8(&["a", "b"])), ("n", int64(&[1, 2]))]);
    assert_eq!(run("identity", config, &block).batch, expected);
}

#[test]
fn map_batches_answers_any_lineage() {
    let block = batch([("n", int64(&[1, 2, 3]))]);
    let kept = run("odd_answers", r#"{"what": "kept"}"#, &block);
    assert_eq!(kept.lineage, Lineage::Kept(BooleanBuffer::collect_bool(3, |row| row == 0)));
    assert_eq!(kept.errors, [RowError { row: 1, message: "no".to_owned() }]);
    assert_eq!(run("odd_answers", r#"{"what": "counts"}"#, &block).lineage, Lineage::Counts(vec![2, 0, 0]));
}

#[test]
fn answers_that_contradict_themselves_are_refused() {
    let block = batch([("n", int64(&[1, 2, 3]))]);
    let check = |what: &str, expected: Expect| {
        let config = serde_json::json!({ "what": what }).to_string();
        expected.assert_eq(&try_run("odd_answers", &config, &block).expect_err("refused"));
    };
    check("few", expect!["the function answered 1 rows; its lineage says 3"]);
    check("short lineage", expect!["the function's lineage speaks of 1 input rows; the block has 3"]);
    check("error with rows", expect!["the function answered an error and output rows for row 0"]);
    check("errors out of order", expect!["the function's error for row 1 is out of order, doubled or out of range"]);
    check("", expect!["unable to work"]);
}

#[test]
fn what_bind_refuses() {
    let block = batch([("text", utf8(&["a"])), ("n", int64(&[1]))]);
    let check = |function: &str, config: &str, expected: Expect| {
        expected.assert_eq(&try_run(function, config, &block).expect_err("refused"));
    };
    check("long_enough", "{}", expect!["config: missing field `bytes_min`"]);
    check("long_enough", "null", expect!["config: missing field `bytes_min`"]);
    check("long_enough", r#"{"bytes_min": 1, "x": 2}"#, expect!["config: unknown field `x`, expected `bytes_min`"]);
    check("long_enough", r#"{"bytes_min": "1"}"#, expect![[r#"config: invalid type: string "1", expected usize"#]]);
    check("double", r#"{"a": 1}"#, expect![[r#"config: this function takes none, but was given {"a":1}"#]]);
    check("double", "{", expect!["config: not JSON: EOF while parsing an object at line 1 column 1"]);
    check("raw", "{}", expect!["it needs a column `bytes`; the columns here are text, n"]);
    check("alias", "{}", expect!["this function returns an alias of `Result`: its author must write `Result<_, _>`"]);
    check(
        "nothing",
        "{}",
        expect![
            "no function `nothing`; this component offers long_enough, double, facts, words, letters, every_type, raw, const, same, identity, odd_answers, hidden_result, alias"
        ],
    );
}

/// Runs a function over the columns of `block` that it needs.
fn run(function: &str, config: &str, block: &RecordBatch) -> Answer {
    try_run(function, config, block).expect("answers")
}

fn try_run(function: &str, config: &str, block: &RecordBatch) -> Result<Answer, String> {
    let mut instance = Instance::bind(WASMPIPE_FUNCTIONS, function, &block.schema(), config)?;
    let place = |field: &Arc<Field>| block.schema().index_of(field.name()).expect("there");
    let indices: Vec<_> = instance.needs().fields().iter().map(place).collect();
    instance.process(&block.project(&indices).expect("columns"))
}

fn batch<const N: usize>(columns: [(&str, ArrayRef); N]) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array.clone(), array.null_count() > 0)))
        .expect("columns of one length")
}

fn nullable_last(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).expect("columns of one length")
}

fn utf8(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn int64(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn widen(one: &Int32Array, data_type: &DataType) -> arrow_data::ArrayData {
    let width = data_type.primitive_width().expect("a number");
    let bytes = i64::from(one.value(0)).to_le_bytes()[..width].to_vec();
    let builder = arrow_data::ArrayData::builder(data_type.clone()).len(1);
    builder.add_buffer(wasmpipe_sdk::arrow_buffer::Buffer::from_vec(bytes)).align_buffers(true).build().expect("valid")
}
