//! Dates, times of day, timestamps, durations: chrono's types.
//!
//! A parameter takes the unit that the column has, so nothing is converted and nothing lost. A result has microseconds; a
//! value that has more is a row error.

use std::sync::Arc;

use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, DurationMicrosecondType, DurationMillisecondType,
    DurationNanosecondType, DurationSecondType, Time32MillisecondType, Time32SecondType, Time64MicrosecondType,
    Time64NanosecondType, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};
use arrow_array::{Array, ArrayRef, PrimitiveArray};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, TimeUnit};
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike, Utc};

use super::{Element, FromColumn, IntoColumn, downcast};

/// A column of counts of some unit since some moment.
#[derive(Clone, Copy, Debug)]
pub struct Ticks<'a> {
    unit: TimeUnit,
    values: Values<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Values<'a> {
    Narrow(&'a [i32]),
    Wide(&'a [i64]),
}

impl<'a> Ticks<'a> {
    fn of(array: &'a dyn Array) -> Self {
        use DataType::{Date32, Date64, Duration, Time32, Time64, Timestamp};
        use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
        match array.data_type() {
            Date32 => Self::narrow::<Date32Type>(Second, array),
            Date64 => Self::wide::<Date64Type>(Millisecond, array),
            Time32(Second) => Self::narrow::<Time32SecondType>(Second, array),
            Time32(_) => Self::narrow::<Time32MillisecondType>(Millisecond, array),
            Time64(Microsecond) => Self::wide::<Time64MicrosecondType>(Microsecond, array),
            Time64(_) => Self::wide::<Time64NanosecondType>(Nanosecond, array),
            Timestamp(Second, _) => Self::wide::<TimestampSecondType>(Second, array),
            Timestamp(Millisecond, _) => Self::wide::<TimestampMillisecondType>(Millisecond, array),
            Timestamp(Microsecond, _) => Self::wide::<TimestampMicrosecondType>(Microsecond, array),
            Timestamp(Nanosecond, _) => Self::wide::<TimestampNanosecondType>(Nanosecond, array),
            Duration(Second) => Self::wide::<DurationSecondType>(Second, array),
            Duration(Millisecond) => Self::wide::<DurationMillisecondType>(Millisecond, array),
            Duration(Microsecond) => Self::wide::<DurationMicrosecondType>(Microsecond, array),
            _ => Self::wide::<DurationNanosecondType>(Nanosecond, array),
        }
    }

    fn narrow<T: ArrowPrimitiveType<Native = i32>>(unit: TimeUnit, array: &'a dyn Array) -> Self {
        Self { unit, values: Values::Narrow(downcast::<PrimitiveArray<T>>(array).values()) }
    }

    fn wide<T: ArrowPrimitiveType<Native = i64>>(unit: TimeUnit, array: &'a dyn Array) -> Self {
        Self { unit, values: Values::Wide(downcast::<PrimitiveArray<T>>(array).values()) }
    }

    #[inline]
    fn value(&self, row: usize) -> i64 {
        match self.values {
            Values::Narrow(values) => i64::from(values[row]),
            Values::Wide(values) => values[row],
        }
    }

    /// Whole seconds, rounded down, and the nanoseconds that are left.
    #[inline]
    fn seconds(&self, row: usize) -> (i64, u32) {
        let value = self.value(row);
        let split = |per_second: i64, nanoseconds: i64| {
            (value.div_euclid(per_second), (value.rem_euclid(per_second) * nanoseconds) as u32)
        };
        match self.unit {
            TimeUnit::Second => (value, 0),
            TimeUnit::Millisecond => split(1_000, 1_000_000),
            TimeUnit::Microsecond => split(1_000_000, 1_000),
            TimeUnit::Nanosecond => split(1_000_000_000, 1),
        }
    }

    fn unreadable(&self, row: usize, what: &str) -> String {
        format!("{} {} is not {what} that chrono knows", self.value(row), unit(self.unit))
    }
}

fn unit(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Second => "s",
        TimeUnit::Millisecond => "ms",
        TimeUnit::Microsecond => "us",
        TimeUnit::Nanosecond => "ns",
    }
}

macro_rules! times {
    ($($time:ty, $arrow:ty, $asked:expr, $given:expr, |$ticks:ident, $row:ident| $read:expr, |$value:ident| $write:expr, |$checked:ident| $check:expr;)+) => {$(
        impl<'a> FromColumn<'a> for $time {
            type Column = Ticks<'a>;
            const FALLIBLE: bool = true;

            fn data_type(input: Option<&DataType>) -> DataType {
                let is_asked: fn(&DataType) -> bool = $asked;
                input.filter(|input| is_asked(input)).cloned().unwrap_or_else(|| $given)
            }

            fn column(array: &'a dyn Array, _rows: usize) -> Self::Column {
                Ticks::of(array)
            }

            #[inline]
            fn at($ticks: &Self::Column, $row: usize) -> Result<Self, String> {
                $read
            }
        }

        impl IntoColumn for $time {
            type Builder = Vec<<$arrow as ArrowPrimitiveType>::Native>;
            const CHECKED: bool = true;

            fn data_type() -> DataType {
                $given
            }

            fn builder(rows: usize) -> Self::Builder {
                Vec::with_capacity(rows)
            }

            #[inline]
            fn append_to(self, builder: &mut Self::Builder) {
                let $value = self;
                builder.push($write);
            }

            fn append_nothing(builder: &mut Self::Builder) {
                builder.push(0);
            }

            fn finish(builder: Self::Builder, nulls: Option<NullBuffer>) -> ArrayRef {
                Arc::new(PrimitiveArray::<$arrow>::new(builder.into(), nulls).with_data_type($given))
            }

            #[inline]
            fn check(&self) -> Result<(), String> {
                let $checked = self;
                $check
            }
        }

        impl Element for $time {}
    )+};
}

times! {
    NaiveDate, Date32Type,
        |input| matches!(input, DataType::Date32 | DataType::Date64),
        DataType::Date32,
        |ticks, row| date(ticks, row),
        |value| value.to_epoch_days(),
        |_value| Ok(());
    NaiveTime, Time64MicrosecondType,
        |input| matches!(input, DataType::Time32(_) | DataType::Time64(_)),
        DataType::Time64(TimeUnit::Microsecond),
        |ticks, row| time_of_day(ticks, row),
        |value| i64::from(value.num_seconds_from_midnight()) * 1_000_000 + i64::from(value.nanosecond() / 1_000),
        |value| whole_microseconds(value.nanosecond(), value);
    NaiveDateTime, TimestampMicrosecondType,
        |input| matches!(input, DataType::Timestamp(_, None)),
        DataType::Timestamp(TimeUnit::Microsecond, None),
        |ticks, row| instant(ticks, row).map(|instant| instant.naive_utc()),
        |value| value.and_utc().timestamp_micros(),
        |value| whole_microseconds(value.nanosecond(), value);
    DateTime<Utc>, TimestampMicrosecondType,
        |input| matches!(input, DataType::Timestamp(_, Some(_))),
        DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        |ticks, row| instant(ticks, row),
        |value| value.timestamp_micros(),
        |value| whole_microseconds(value.nanosecond(), value);
    TimeDelta, DurationMicrosecondType,
        |input| matches!(input, DataType::Duration(_)),
        DataType::Duration(TimeUnit::Microsecond),
        |ticks, row| duration(ticks, row),
        |value| value.num_microseconds().unwrap_or_default(),
        |value| duration_fits(value);
}

fn date(ticks: &Ticks<'_>, row: usize) -> Result<NaiveDate, String> {
    const DAY_MILLISECONDS: i64 = 86_400_000;
    let value = ticks.value(row);
    let days = match ticks.values {
        Values::Narrow(_) => Some(value),
        Values::Wide(_) => (value % DAY_MILLISECONDS == 0).then_some(value / DAY_MILLISECONDS),
    };
    let days = days.ok_or_else(|| format!("{value} ms is not a whole day"))?;
    let date = i32::try_from(days).ok().and_then(NaiveDate::from_epoch_days);
    date.ok_or_else(|| format!("day {days} since 1970 is not a date that chrono knows"))
}

fn time_of_day(ticks: &Ticks<'_>, row: usize) -> Result<NaiveTime, String> {
    let (seconds, nanoseconds) = ticks.seconds(row);
    let time = u32::try_from(seconds).ok().and_then(|s| NaiveTime::from_num_seconds_from_midnight_opt(s, nanoseconds));
    time.ok_or_else(|| ticks.unreadable(row, "a time of a day"))
}

fn instant(ticks: &Ticks<'_>, row: usize) -> Result<DateTime<Utc>, String> {
    let (seconds, nanoseconds) = ticks.seconds(row);
    DateTime::from_timestamp(seconds, nanoseconds).ok_or_else(|| ticks.unreadable(row, "a time"))
}

fn duration(ticks: &Ticks<'_>, row: usize) -> Result<TimeDelta, String> {
    let (seconds, nanoseconds) = ticks.seconds(row);
    TimeDelta::new(seconds, nanoseconds).ok_or_else(|| ticks.unreadable(row, "a duration"))
}

fn whole_microseconds(nanoseconds: u32, value: &impl std::fmt::Debug) -> Result<(), String> {
    // chrono writes a leap second as a second of more than 10^9 ns.
    match nanoseconds.is_multiple_of(1_000) && nanoseconds < 1_000_000_000 {
        true => Ok(()),
        false => Err(format!("the result {value:?} is not a whole number of microseconds; round it")),
    }
}

fn duration_fits(value: &TimeDelta) -> Result<(), String> {
    if value.num_microseconds().is_none() {
        return Err(format!("the result {value:?} does not fit into 64 bits of microseconds"));
    }
    whole_microseconds(value.subsec_nanos().unsigned_abs(), value)
}
