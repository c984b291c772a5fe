//! Types of columns: what they read, what they refuse, and the manual's table of them.

use std::borrow::Cow;
use std::sync::Arc;

use wasmpipe_sdk::arrow_array::{
    Array, ArrayRef, Date64Array, Decimal128Array, FixedSizeBinaryArray, Int64Array, ListArray, StringArray,
    Time32SecondArray, TimestampMillisecondArray, TimestampNanosecondArray, types,
};
use wasmpipe_sdk::chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use wasmpipe_sdk::{Columns, Decimal, List, Param, RowError, Struct, Uuid, Value, filter, flat_map, map, map_batches};

#[allow(dead_code, reason = "each test uses a part")]
mod bound;
use bound::{batch, call};

#[derive(Columns)]
struct Point {
    x: f64,
}

/// A type that a parameter and a result may have is in one line with what Arrow calls it.
fn in_table<'a, T: Value + Param<'a>>(rust: &str, arrow: &str) {
    assert!(T::data_type_of_value().starts_with(arrow), "{rust} is {}", T::data_type_of_value());
    assert_eq!(<T as Param>::NULLABLE, <T as Value>::NULLABLE, "{rust}");
    is_in_table(rust, arrow);
}

fn is_in_table(rust: &str, arrow: &str) {
    let readme = include_str!("../README.md");
    let found = readme.lines().any(|line| line.starts_with('|') && line.contains(rust) && line.contains(arrow));
    assert!(found, "README.md has no line with {rust} and {arrow}");
}

trait Named {
    fn data_type_of_value() -> String;
}

impl<T: Value> Named for T {
    fn data_type_of_value() -> String {
        T::data_type().to_string()
    }
}

#[test]
fn the_manual_lists_every_type() {
    in_table::<i8>("`i8`", "Int8");
    in_table::<i16>("`i16`", "Int16");
    in_table::<i32>("`i32`", "Int32");
    in_table::<i64>("`i64`", "Int64");
    in_table::<u8>("`u8`", "UInt8");
    in_table::<u16>("`u16`", "UInt16");
    in_table::<u32>("`u32`", "UInt32");
    in_table::<u64>("`u64`", "UInt64");
    in_table::<f32>("`f32`", "Float32");
    in_table::<f64>("`f64`", "Float64");
    in_table::<bool>("`bool`", "Boolean");
    in_table::<&str>("`&str`", "Utf8");
    in_table::<String>("`String`", "Utf8");
    in_table::<Cow<'_, str>>("`Cow<str>`", "Utf8");
    in_table::<&[u8]>("`&[u8]`", "Binary");
    in_table::<Vec<u8>>("`Vec<u8>`", "Binary");
    in_table::<[u8; 3]>("`[u8; N]`", "FixedSizeBinary(");
    in_table::<Uuid>("`Uuid`", "FixedSizeBinary(16)");
    in_table::<Decimal<9, 2>>("`Decimal<P, S>`", "Decimal128(");
    in_table::<NaiveDate>("`NaiveDate`", "Date32");
    in_table::<NaiveTime>("`NaiveTime`", "Time64(µs)");
    in_table::<NaiveDateTime>("`NaiveDateTime`", "Timestamp(µs)");
    in_table::<DateTime<Utc>>("`DateTime<Utc>`", "Timestamp(µs, \"UTC\")");
    in_table::<TimeDelta>("`TimeDelta`", "Duration(µs)");
    in_table::<Vec<i64>>("`Vec<T>`", "List(");
    in_table::<List<'_, i64>>("`List<T>`", "List(");
    in_table::<&[i64]>("`&[T]`", "List(");
    in_table::<Vec<(String, i64)>>("`Vec<(K, V)>`", "Map(");
    in_table::<Point>("`#[derive(Columns)]`", "Struct");
    assert!(Struct::<Point>::data_type_of_value().starts_with("Struct"));
    is_in_table("`Struct<T>`", "Struct");
    in_table::<Option<i64>>("`Option<_>`", "");
}

#[map]
fn day(at: DateTime<Utc>) -> NaiveDate {
    at.date_naive()
}

#[map]
fn shifted(at: NaiveDateTime) -> NaiveDateTime {
    at + TimeDelta::nanoseconds(1_000)
}

#[map]
fn date(date: NaiveDate) -> u32 {
    wasmpipe_sdk::chrono::Datelike::year(&date).unsigned_abs()
}

#[map]
fn time(time: NaiveTime) -> String {
    time.to_string()
}

#[test]
fn a_parameter_takes_the_unit_that_it_gets() {
    let at = TimestampMillisecondArray::from(vec![86_400_000, -1]).with_timezone("+02:00");
    let answer = call::<day>("{}", &batch([("at", Arc::new(at) as ArrayRef)]));
    let days: Vec<_> = answer.arrays[0].to_data().buffer::<i32>(0).to_vec();
    assert_eq!(days, [1, -1]);
    let dates = Date64Array::from(vec![86_400_000, 1]);
    let answer = call::<date>("{}", &batch([("date", Arc::new(dates) as ArrayRef)]));
    assert_eq!(answer.errors, [error(1, "column `date`: 1 ms is not a whole day")]);
    let times = Time32SecondArray::from(vec![61, -1]);
    let answer = call::<time>("{}", &batch([("time", Arc::new(times) as ArrayRef)]));
    assert_eq!(answer.arrays[0].as_ref(), &StringArray::from(vec!["00:01:01", ""]) as &dyn Array);
    assert_eq!(answer.errors, [error(1, "column `time`: -1 s is not a time of a day that chrono knows")]);
}

#[test]
fn what_a_result_would_lose_is_a_row_error() {
    let at = TimestampNanosecondArray::from(vec![1_000, 1]);
    let answer = call::<shifted>("{}", &batch([("at", Arc::new(at) as ArrayRef)]));
    let message = "the result 1970-01-01T00:00:00.000001001 is not a whole number of microseconds; round it";
    assert_eq!(answer.errors, [error(1, message)]);
    let far = TimestampMillisecondArray::from(vec![i64::MAX]);
    let answer = call::<shifted>("{}", &batch([("at", Arc::new(far) as ArrayRef)]));
    assert_eq!(answer.errors[0].message, "column `at`: 9223372036854775807 ms is not a time that chrono knows");
}

#[map]
fn tenfold(price: Decimal<4, 2>) -> Decimal<4, 2> {
    Decimal(price.0 * 10)
}

#[flat_map]
fn prices(price: Decimal<4, 2>) -> Vec<Decimal<4, 2>> {
    (1..=3).map(|times| Decimal(price.0 * times)).collect()
}

#[test]
fn a_decimal_with_too_many_digits_fails_its_row_whole() {
    let prices_in = Decimal128Array::from(vec![12, 4_000]).with_precision_and_scale(4, 2).expect("decimals");
    let block = batch([("price", Arc::new(prices_in) as ArrayRef)]);
    let answer = call::<tenfold>("{}", &block);
    assert_eq!(answer.errors, [error(1, "the result 400.00 has more than the 4 digits of Decimal<4, 2>")]);
    let answer = call::<prices>("{}", &block);
    assert_eq!((answer.rows, answer.errors.len()), (3, 1));
    assert_eq!(Decimal::<6, 2>(-5).to_string(), "-0.05");
}

#[map]
fn sum(numbers: List<'_, Option<i64>>) -> i64 {
    assert_eq!(numbers.get(numbers.len()), None);
    numbers.iter().flatten().sum()
}

#[filter]
fn any(numbers: &[i64]) -> bool {
    !numbers.is_empty()
}

#[test]
fn lists_are_read_where_they_lie() {
    let rows = vec![Some(vec![Some(1), Some(2)]), Some(vec![None]), Some(vec![])];
    let lists = ListArray::from_iter_primitive::<types::Int64Type, _, _>(rows);
    let block = batch([("numbers", Arc::new(lists.slice(0, 3)) as ArrayRef)]);
    assert_eq!(call::<sum>("{}", &block).arrays[0].as_ref(), &Int64Array::from(vec![3, 0, 0]) as &dyn Array);
    let answer = call::<any>("{}", &block);
    assert_eq!(answer.rows, 1);
    assert_eq!(answer.errors, [error(1, "column `numbers`: a null in it, where the function allows none")]);
    let tail = batch([("numbers", Arc::new(lists.slice(2, 1)) as ArrayRef)]);
    assert_eq!(call::<any>("{}", &tail).rows, 0);
}

#[map]
fn version(id: Uuid) -> [u8; 1] {
    [id.get_version_num() as u8]
}

#[test]
fn uuids_are_sixteen_bytes() {
    let id = Uuid::from_u128(0x6749_4f07_9bde_4b67_9b14_e02e_c94b_f99d);
    let ids = FixedSizeBinaryArray::try_from_iter([id.into_bytes()].into_iter()).expect("of one size");
    let answer = call::<version>("{}", &batch([("id", Arc::new(ids) as ArrayRef)]));
    let out = answer.arrays[0].as_any().downcast_ref::<FixedSizeBinaryArray>().expect("fixed");
    assert_eq!(out.value(0), [4]);
}

#[map_batches]
fn short(n: &[i64]) -> Vec<i64> {
    n[1..].to_vec()
}

#[test]
#[should_panic(expected = "the function answered 1 rows for a block of 2")]
fn whole_columns_answer_a_row_for_each() {
    call::<short>("{}", &batch([("n", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef)]));
}

fn error(row: u32, message: &str) -> RowError {
    RowError { row, message: message.to_owned() }
}
