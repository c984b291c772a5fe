//! The inputs, made anew from fixed rules, and the native loops.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, UInt32Array,
};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type};

/// One function with its input.
pub(crate) struct Case {
    pub(crate) function: &'static str,
    pub(crate) input: String,
    pub(crate) block: RecordBatch,
    pub(crate) native: fn(&RecordBatch) -> Vec<ArrayRef>,
}

/// Bytes of a block.
const BLOCK_BYTES: usize = 2 << 20;

pub(crate) fn all() -> Vec<Case> {
    let texts = texts(BLOCK_BYTES);
    let documents = documents(BLOCK_BYTES);
    let numbers = BLOCK_BYTES / 16;
    let x: Float64Array = (0..numbers).map(|row| row as f64 / 1e3).collect();
    let y: Float64Array = (0..numbers).map(|row| (row % 977) as f64 - 488.0).collect();
    let mixed = mixed(BLOCK_BYTES);
    vec![
        case("word_count", "200-byte texts", vec![("text", Arc::new(texts.clone()))], word_count),
        case("json_fields", "300-byte documents", vec![("json", Arc::new(documents))], json_fields),
        case("redacted", "200-byte texts, a mail address in every 20th", vec![("text", Arc::new(texts))], redacted),
        case("polynomial", "two float64 columns", vec![("x", Arc::new(x)), ("y", Arc::new(y))], polynomial),
        case("gcd", "1024 pairs of int32", gcd_pairs(), gcd),
        case("gcd", "one pair of int32: what a call costs", one_pair(), gcd),
        case("copied", "int64 and 100-byte texts, half of them not ASCII", mixed, copied),
    ]
}

fn case(
    function: &'static str,
    input: &str,
    columns: Vec<(&'static str, ArrayRef)>,
    native: fn(&RecordBatch) -> Vec<ArrayRef>,
) -> Case {
    let block = RecordBatch::try_from_iter(columns).expect("columns of one length");
    let input = format!("{input}; {} rows", block.num_rows());
    Case { function, input, block, native }
}

const WORDS: [&str; 16] = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "a",
    "lazy",
    "dog",
    "while",
    "reading",
    "about",
    "columns",
    "of",
    "data",
    "streaming",
];

/// A small generator, so that every run has the same input: xorshift64 (Marsaglia 2003).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

fn text(random: &mut Random, bytes: usize) -> String {
    let mut text = String::new();
    while text.len() < bytes {
        text += WORDS[random.below(WORDS.len())];
        text.push(' ');
    }
    text
}

fn texts(bytes: usize) -> StringArray {
    let mut random = Random(1);
    let one = |row: usize| {
        let mut text = text(&mut random, 200);
        if row.is_multiple_of(20) {
            text += "write to jane.doe@example.org or not";
        }
        text
    };
    StringArray::from_iter_values((0..bytes / 200).map(one))
}

fn documents(bytes: usize) -> StringArray {
    let mut random = Random(2);
    let one = |row: usize| {
        let (title, body) = (text(&mut random, 30), text(&mut random, 150));
        format!(
            r#"{{"id": {row}, "url": "https://example.org/{row}", "title": "{title}", "tags": ["a", "b", "c"], "year": {}, "body": "{body}", "score": {}.5}}"#,
            1990 + row % 40,
            row % 10
        )
    };
    StringArray::from_iter_values((0..bytes / 300).map(one))
}

/// An int64 and a string column of about that many bytes.
pub(crate) fn mixed(bytes: usize) -> Vec<(&'static str, ArrayRef)> {
    let rows = bytes / 112;
    let mut random = Random(3);
    let one = |row: usize| {
        let text = text(&mut random, 100);
        if row.is_multiple_of(2) { text } else { text.replace('o', "ö").replace('a', "ж") }
    };
    let n: Int64Array = (0..rows as i64).collect();
    vec![("n", Arc::new(n)), ("text", Arc::new(StringArray::from_iter_values((0..rows).map(one))))]
}

/// The inputs of arrow-udf's bench of the same name.
fn gcd_pairs() -> Vec<(&'static str, ArrayRef)> {
    let a = Int32Array::from_iter(0..1024);
    let b = Int32Array::from_iter((0..2048).step_by(2));
    vec![("a", Arc::new(a)), ("b", Arc::new(b))]
}

fn one_pair() -> Vec<(&'static str, ArrayRef)> {
    vec![("a", Arc::new(Int32Array::from(vec![6]))), ("b", Arc::new(Int32Array::from(vec![4])))]
}

fn strings(block: &RecordBatch, column: usize) -> impl Iterator<Item = &str> {
    let array = block.column(column).as_string::<i32>();
    (0..array.len()).map(|row| array.value(row))
}

fn word_count(block: &RecordBatch) -> Vec<ArrayRef> {
    let counts: Vec<u32> = strings(block, 0).map(bench::word_count).collect();
    vec![Arc::new(UInt32Array::from(counts))]
}

fn json_fields(block: &RecordBatch) -> Vec<ArrayRef> {
    let mut titles = arrow::array::StringBuilder::with_capacity(block.num_rows(), block.num_rows() * 32);
    let mut years = arrow::array::Int64Builder::with_capacity(block.num_rows());
    for json in strings(block, 0) {
        let (title, year) = bench::json_fields(json).expect("a document");
        titles.append_value(title);
        years.append_option(year);
    }
    vec![Arc::new(titles.finish()), Arc::new(years.finish())]
}

fn redacted(block: &RecordBatch) -> Vec<ArrayRef> {
    let array = block.column(0).as_string::<i32>();
    let mut texts = arrow::array::StringBuilder::with_capacity(array.len(), array.value_data().len());
    strings(block, 0).for_each(|text| texts.append_value(bench::redacted(text)));
    vec![Arc::new(texts.finish())]
}

fn polynomial(block: &RecordBatch) -> Vec<ArrayRef> {
    let (x, y) = (block.column(0).as_primitive::<Float64Type>(), block.column(1).as_primitive::<Float64Type>());
    let values: Vec<f64> = x.values().iter().zip(y.values()).map(|(x, y)| bench::polynomial(*x, *y)).collect();
    vec![Arc::new(Float64Array::from(values))]
}

fn gcd(block: &RecordBatch) -> Vec<ArrayRef> {
    let (a, b) = (block.column(0).as_primitive::<Int32Type>(), block.column(1).as_primitive::<Int32Type>());
    let values: Int32Array = a.iter().zip(b.iter()).map(|(a, b)| bench::gcd(a, b)).collect();
    vec![Arc::new(values)]
}

fn copied(block: &RecordBatch) -> Vec<ArrayRef> {
    let n = block.column(0).as_primitive::<Int64Type>();
    let array = block.column(1).as_string::<i32>();
    let mut numbers = Vec::with_capacity(n.len());
    let mut texts = arrow::array::StringBuilder::with_capacity(array.len(), array.value_data().len());
    for (n, text) in n.values().iter().zip(strings(block, 1)) {
        let (n, text) = bench::copied(*n, text);
        numbers.push(n);
        texts.append_value(text);
    }
    vec![Arc::new(Int64Array::from(numbers)), Arc::new(texts.finish())]
}
