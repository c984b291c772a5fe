//! One function for each type that a column may have, with nulls (`.._or_null`) and without. Each reads the column `value`
//! and answers an equal value in the column `out`, which it builds anew. And functions that change the number of rows.

#![allow(
    clippy::needless_lifetimes,
    clippy::extra_unused_lifetimes,
    reason = "one form for all types, borrowed or not"
)]
#![allow(clippy::iter_cloned_collect, clippy::nonminimal_bool, reason = "values are built anew")]

use std::borrow::Cow;

use wasmpipe_sdk::arrow_array::{Array, ArrayRef, Float64Array, Int64Array};
use wasmpipe_sdk::chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike, Utc};
use wasmpipe_sdk::{
    Answer, BooleanBuffer, Columns, Decimal, Lineage, List, RecordBatch, Struct, Uuid, map, map_batches,
};

/// A struct of everything that borrows, owns and nests.
#[derive(Columns, Clone)]
pub struct Place<'a> {
    name: &'a str,
    #[column("height m")]
    height: Option<f64>,
    tags: Vec<String>,
}

impl<'a> Place<'a> {
    fn rebuilt(self) -> Place<'a> {
        let Place { name, height, tags } = self;
        Place { name: name.get(..).unwrap_or(name), height: height.map(|height| -(-height)), tags }
    }
}

macro_rules! types {
    ($($name:ident, $or_null:ident: $input:ty => $output:ty, |$value:ident| $rebuilt:expr;)+) => {
        $(
            #[map(columns("out"))]
            pub fn $name<'a>($value: $input) -> $output {
                $rebuilt
            }

            #[map(columns("out"))]
            pub fn $or_null<'a>($value: Option<$input>) -> Option<$output> {
                $value.map(|$value| $rebuilt)
            }
        )+

        wasmpipe_sdk::export!(
            $($name, $or_null,)+
            nothing, length, product, quotients, repeated, thinned,
        );
    };
}

types! {
    int8, int8_or_null: i8 => i8, |value| value.wrapping_neg().wrapping_neg();
    int16, int16_or_null: i16 => i16, |value| value.wrapping_neg().wrapping_neg();
    int32, int32_or_null: i32 => i32, |value| value.wrapping_neg().wrapping_neg();
    int64, int64_or_null: i64 => i64, |value| value.wrapping_neg().wrapping_neg();
    uint8, uint8_or_null: u8 => u8, |value| !!value;
    uint16, uint16_or_null: u16 => u16, |value| !!value;
    uint32, uint32_or_null: u32 => u32, |value| !!value;
    uint64, uint64_or_null: u64 => u64, |value| !!value;
    float32, float32_or_null: f32 => f32, |value| -(-value);
    float64, float64_or_null: f64 => f64, |value| -(-value);
    boolean, boolean_or_null: bool => bool, |value| !!value;
    text, text_or_null: &'a str => &'a str, |value| value;
    text_owned, text_owned_or_null: String => String, |value| value.chars().collect();
    text_cow, text_cow_or_null: Cow<'a, str> => Cow<'a, str>, |value| Cow::Owned(value.into_owned());
    bytes, bytes_or_null: &'a [u8] => &'a [u8], |value| value;
    bytes_owned, bytes_owned_or_null: Vec<u8> => Vec<u8>, |value| value.iter().copied().collect();
    fixed, fixed_or_null: [u8; 3] => [u8; 3], |value| value.map(|byte| !!byte);
    uuid, uuid_or_null: Uuid => Uuid, |value| Uuid::from_u128(value.as_u128());
    date, date_or_null: NaiveDate => NaiveDate, |value| rebuilt_date(value);
    time, time_or_null: NaiveTime => NaiveTime, |value| rebuilt_time(value);
    timestamp, timestamp_or_null: NaiveDateTime => NaiveDateTime,
        |value| rebuilt_date(value.date()).and_time(rebuilt_time(value.time()));
    instant, instant_or_null: DateTime<Utc> => DateTime<Utc>,
        |value| rebuilt_date(value.date_naive()).and_time(rebuilt_time(value.time())).and_utc();
    duration, duration_or_null: TimeDelta => TimeDelta, |value| -(-value);
    decimal, decimal_or_null: Decimal<10, 2> => Decimal<10, 2>, |value| Decimal(-(-value.0));
    list, list_or_null: Vec<Option<i64>> => Vec<Option<i64>>, |value| value.into_iter().collect();
    list_view, list_view_or_null: List<'a, &'a str> => Vec<&'a str>, |value| value.iter().collect();
    slice, slice_or_null: &'a [f32] => &'a [f32], |value| value;
    nested, nested_or_null: Vec<Vec<u16>> => Vec<Vec<u16>>, |value| value.into_iter().collect();
    record, record_or_null: Place<'a> => Struct<Place<'a>>, |value| Struct(value.rebuilt());
    records, records_or_null: Vec<Place<'a>> => Vec<Place<'a>>,
        |value| value.into_iter().map(Place::rebuilt).collect();
    pairs, pairs_or_null: Vec<(String, Option<i32>)> => Vec<(String, Option<i32>)>,
        |value| value.into_iter().collect();
}

fn rebuilt_date(date: NaiveDate) -> NaiveDate {
    NaiveDate::from_ymd_opt(date.year(), date.month(), date.day()).unwrap_or(date)
}

fn rebuilt_time(time: NaiveTime) -> NaiveTime {
    NaiveTime::from_hms_nano_opt(time.hour(), time.minute(), time.second(), time.nanosecond()).unwrap_or(time)
}

/// No column goes in.
#[map(columns("out"))]
pub fn nothing() -> u8 {
    7
}

/// Bytes of a text, however large that is.
#[map(columns("out"))]
pub fn length(value: &str) -> u64 {
    value.len() as u64
}

/// Whole columns without nulls.
#[map_batches(columns("out"))]
pub fn product(x: &[f64], y: &Float64Array) -> Vec<f64> {
    x.iter().zip(y.values()).map(|(x, y)| x * y).collect()
}

/// Whole columns with nulls.
#[map_batches(columns("out", "rest"))]
pub fn quotients(#[nullable] x: &Int64Array, y: &Int64Array) -> (Int64Array, Int64Array) {
    let each = |of: fn(i64, i64) -> Option<i64>| x.iter().zip(y.values()).map(|(x, y)| of(x?, *y)).collect();
    (each(i64::checked_div), each(i64::checked_rem))
}

/// Each number as often as it says.
#[map_batches(needs("n": i64), adds("out": i64))]
pub fn repeated(batch: &RecordBatch) -> Result<Answer, String> {
    let numbers = numbers(batch)?;
    let counts: Vec<u32> = numbers.values().iter().map(|n| u32::try_from(*n).unwrap_or(0)).collect();
    let all = numbers.values().iter().zip(&counts).flat_map(|(n, count)| std::iter::repeat_n(*n, *count as usize));
    Ok(Answer { batch: answer(batch, all.collect())?, lineage: Lineage::Counts(counts), errors: vec![] })
}

/// Every third number.
#[map_batches(needs("n": i64), adds("out": i64))]
pub fn thinned(batch: &RecordBatch) -> Result<Answer, String> {
    let numbers = numbers(batch)?;
    let kept = BooleanBuffer::collect_bool(numbers.len(), |row| numbers.value(row) % 3 == 0);
    let left = numbers.values().iter().copied().filter(|n| n % 3 == 0).collect();
    Ok(Answer { batch: answer(batch, left)?, lineage: Lineage::Kept(kept), errors: vec![] })
}

fn numbers(batch: &RecordBatch) -> Result<&Int64Array, String> {
    batch.column(0).as_any().downcast_ref().ok_or_else(|| "`n` is not what was asked for".to_owned())
}

fn answer(batch: &RecordBatch, numbers: Vec<i64>) -> Result<RecordBatch, String> {
    let column: ArrayRef = std::sync::Arc::new(Int64Array::from(numbers));
    RecordBatch::try_new(batch.schema(), vec![column]).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        let date = NaiveDate::from_ymd_opt(2024, 2, 29).expect("a date");
        assert_eq!((date_or_null(Some(date)), super::date(date)), (Some(date), date));
        let place = Place { name: "a", height: None, tags: vec!["b".to_owned()] };
        assert_eq!(record(place.clone()).0.tags, place.tags);
        assert_eq!(text_or_null(None), None);
    }

    #[test]
    fn whole_columns() {
        assert_eq!(product(&[2.0], &vec![3.0].into()), [6.0]);
        let (quotient, rest) = quotients(&vec![Some(7), None].into(), &vec![2, 0].into());
        assert_eq!((quotient, rest), (vec![Some(3), None].into(), vec![Some(1), None].into()));
    }
}
