//! Values of which no Arrow type holds all, and which are therefore read twice. Of INT96, the timestamps of older systems,
//! seconds and nanoseconds were read, each modulo 2^64: a value is its seconds, which are always exact, and what the
//! nanoseconds have beyond them. It goes into a timestamp of the job's unit, or is refused: nothing is rounded, and nothing
//! comes around. Of INTERVAL, its months, and its days and milliseconds were read; they become its twelve bytes again.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryBuilder, FixedSizeListArray, GenericListArray, MapArray, OffsetSizeTrait,
    PrimitiveArray, StructArray,
};
use arrow::datatypes::{
    ArrowTimestampType, DataType, Field, Fields, IntervalDayTimeType, IntervalYearMonthType, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow::error::ArrowError;

const NANOS_IN_SECOND: i128 = 1_000_000_000;
/// Of an INTERVAL.
pub(super) const INTERVAL_BYTES: i32 = 12;

/// Joins a column that was read twice: nanoseconds, or days and milliseconds; and seconds, or months. `to` is its type in the
/// file as it is read, `job` that of the job's column, whose unit is taken where it is finer: jobs of before pinned
/// nanoseconds.
pub(super) fn join(first: &ArrayRef, second: &ArrayRef, to: &DataType, job: &DataType) -> Result<ArrayRef, ArrowError> {
    use DataType::{FixedSizeList, Interval, LargeList, List, Map, Struct, Timestamp};
    match (first.data_type(), second.data_type()) {
        (first_type, second_type) if first_type == second_type => Ok(Arc::clone(first)),
        (Timestamp(..), Timestamp(..)) => timestamps(first, second, unit(to, job), zone(to)),
        (Interval(_), Interval(_)) => intervals(first.as_primitive(), second.as_primitive()),
        (List(_), List(_)) => lists(first.as_list::<i32>(), second.as_list::<i32>(), to, job),
        (LargeList(_), LargeList(_)) => lists(first.as_list::<i64>(), second.as_list::<i64>(), to, job),
        (FixedSizeList(..), FixedSizeList(..)) => {
            fixed_lists(first.as_fixed_size_list(), second.as_fixed_size_list(), to, job)
        }
        (Map(..), Map(..)) => maps(first.as_map(), second.as_map(), to, job),
        (Struct(_), Struct(_)) => Ok(Arc::new(structs(first.as_struct(), second.as_struct(), to, job)?)),
        (other, _) => Err(ArrowError::NotYetImplemented(format!("INT96 or INTERVAL within {other}"))),
    }
}

fn intervals(
    days: &PrimitiveArray<IntervalDayTimeType>,
    months: &PrimitiveArray<IntervalYearMonthType>,
) -> Result<ArrayRef, ArrowError> {
    let mut bytes = FixedSizeBinaryBuilder::with_capacity(days.len(), INTERVAL_BYTES);
    for (days, months) in days.iter().zip(months.values()) {
        match days {
            None => bytes.append_null(),
            Some(days) => bytes.append_value([*months, days.days, days.milliseconds].map(i32::to_le_bytes).concat())?,
        }
    }
    Ok(Arc::new(bytes.finish()))
}

fn unit(to: &DataType, job: &DataType) -> TimeUnit {
    match (to, job) {
        (_, DataType::Timestamp(TimeUnit::Nanosecond, _)) => TimeUnit::Nanosecond,
        (DataType::Timestamp(unit, _), _) => *unit,
        _ => TimeUnit::Microsecond,
    }
}

fn zone(to: &DataType) -> Option<Arc<str>> {
    match to {
        DataType::Timestamp(_, zone) => zone.clone(),
        _ => None,
    }
}

fn timestamps(
    nanos: &ArrayRef,
    seconds: &ArrayRef,
    unit: TimeUnit,
    zone: Option<Arc<str>>,
) -> Result<ArrayRef, ArrowError> {
    let (nanos, seconds) = (nanos.as_primitive(), seconds.as_primitive());
    Ok(match unit {
        TimeUnit::Second => Arc::new(joined::<TimestampSecondType>(seconds, nanos)?.with_timezone_opt(zone)),
        TimeUnit::Millisecond => Arc::new(joined::<TimestampMillisecondType>(seconds, nanos)?.with_timezone_opt(zone)),
        TimeUnit::Microsecond => Arc::new(joined::<TimestampMicrosecondType>(seconds, nanos)?.with_timezone_opt(zone)),
        TimeUnit::Nanosecond => Arc::new(joined::<TimestampNanosecondType>(seconds, nanos)?.with_timezone_opt(zone)),
    })
}

fn joined<T: ArrowTimestampType>(
    seconds: &PrimitiveArray<TimestampSecondType>,
    nanos: &PrimitiveArray<TimestampNanosecondType>,
) -> Result<PrimitiveArray<T>, ArrowError> {
    let pairs = seconds.iter().zip(nanos.values());
    pairs.map(|(seconds, nanos)| seconds.map(|seconds| exact::<T>(seconds, *nanos)).transpose()).collect()
}

/// What is beyond the seconds is less than one, so wrapping arithmetic tells it.
fn exact<T: ArrowTimestampType>(seconds: i64, nanos: i64) -> Result<i64, ArrowError> {
    let beyond = nanos.wrapping_sub(seconds.wrapping_mul(NANOS_IN_SECOND as i64));
    let value = i128::from(seconds) * NANOS_IN_SECOND + i128::from(beyond);
    let (size, name) = match T::UNIT {
        TimeUnit::Second => (NANOS_IN_SECOND, "seconds"),
        TimeUnit::Millisecond => (1_000_000, "milliseconds"),
        TimeUnit::Microsecond => (1_000, "microseconds"),
        TimeUnit::Nanosecond => (1, "nanoseconds"),
    };
    let refused = |why: &str| ArrowError::ComputeError(format!("an INT96 of {} {why}", said(value)));
    if value.rem_euclid(size) != 0 {
        return Err(refused(&format!("is finer than the {name} in which the job has the column")));
    }
    i64::try_from(value / size).map_err(|_| refused(&format!("does not fit into 64 bits of {name}")))
}

/// Seconds since 1970, exactly.
fn said(value: i128) -> String {
    let (sign, nanos) = (if value < 0 { "-" } else { "" }, value.abs());
    format!("{sign}{}.{:09} s since 1970", nanos / NANOS_IN_SECOND, nanos % NANOS_IN_SECOND)
}

fn child(data_type: &DataType) -> Option<&Field> {
    use DataType::{FixedSizeList, LargeList, List, Map};
    match data_type {
        List(field) | LargeList(field) | FixedSizeList(field, _) | Map(field, _) => Some(field),
        _ => None,
    }
}

/// The types of what is in a list or map, as [`join`] takes them.
fn within<'a>(to: &'a DataType, job: &'a DataType) -> (&'a DataType, &'a DataType) {
    let to = child(to).map_or(&DataType::Null, Field::data_type);
    (to, child(job).map_or(to, Field::data_type))
}

fn retyped(field: &Field, values: &dyn Array) -> Arc<Field> {
    Arc::new(field.clone().with_data_type(values.data_type().clone()))
}

fn lists<O: OffsetSizeTrait>(
    first: &GenericListArray<O>,
    second: &GenericListArray<O>,
    to: &DataType,
    job: &DataType,
) -> Result<ArrayRef, ArrowError> {
    let (to, job) = within(to, job);
    let values = join(first.values(), second.values(), to, job)?;
    let field = retyped(child(first.data_type()).expect("a list has one"), &values);
    let joined = GenericListArray::try_new(field, first.offsets().clone(), values, first.nulls().cloned())?;
    Ok(Arc::new(joined))
}

fn fixed_lists(
    first: &FixedSizeListArray,
    second: &FixedSizeListArray,
    to: &DataType,
    job: &DataType,
) -> Result<ArrayRef, ArrowError> {
    let (to, job) = within(to, job);
    let values = join(first.values(), second.values(), to, job)?;
    let field = retyped(child(first.data_type()).expect("a list has one"), &values);
    let joined = FixedSizeListArray::try_new(field, first.value_length(), values, first.nulls().cloned())?;
    Ok(Arc::new(joined))
}

fn maps(first: &MapArray, second: &MapArray, to: &DataType, job: &DataType) -> Result<ArrayRef, ArrowError> {
    let DataType::Map(entries, is_sorted) = first.data_type() else { unreachable!("the caller knows it") };
    let (to, job) = within(to, job);
    let pairs = structs(first.entries(), second.entries(), to, job)?;
    let field = retyped(entries, &pairs);
    let joined = MapArray::try_new(field, first.offsets().clone(), pairs, first.nulls().cloned(), *is_sorted)?;
    Ok(Arc::new(joined))
}

fn structs(
    first: &StructArray,
    second: &StructArray,
    to: &DataType,
    job: &DataType,
) -> Result<StructArray, ArrowError> {
    let mut fields = Vec::with_capacity(first.num_columns());
    let mut columns = Vec::with_capacity(first.num_columns());
    for (place, field) in first.fields().iter().enumerate() {
        let to = named(to, field.name()).unwrap_or(field.data_type());
        let job = named(job, field.name()).unwrap_or(to);
        let column = join(first.column(place), second.column(place), to, job)?;
        fields.push(retyped(field, &column));
        columns.push(column);
    }
    let fields: Fields = fields.into();
    StructArray::try_new_with_length(fields, columns, first.nulls().cloned(), first.len())
}

fn named<'a>(data_type: &'a DataType, name: &str) -> Option<&'a DataType> {
    let DataType::Struct(fields) = data_type else { return None };
    fields.find(name).map(|(_, field)| field.data_type())
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        IntervalDayTimeArray, IntervalYearMonthArray, TimestampMicrosecondArray, TimestampNanosecondArray,
        TimestampSecondArray,
    };
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::IntervalDayTime;

    use super::*;

    fn words(error: ArrowError) -> String {
        match error {
            ArrowError::ComputeError(words) => words,
            other => other.to_string(),
        }
    }

    fn exact_of<T: ArrowTimestampType>(seconds: i64, beyond: i64) -> Result<i64, String> {
        let nanos = seconds.wrapping_mul(1_000_000_000).wrapping_add(beyond);
        exact::<T>(seconds, nanos).map_err(words)
    }

    #[test]
    fn a_value_is_told_exactly_or_refused() {
        // 9999-12-31T02:00:00.5, which nanoseconds do not hold.
        let far = 253_402_221_600;
        assert_eq!(exact_of::<TimestampMicrosecondType>(far, 500_000_000), Ok(far * 1_000_000 + 500_000));
        let beyond = "an INT96 of 253402221600.000000000 s since 1970 does not fit into 64 bits of nanoseconds";
        assert_eq!(exact_of::<TimestampNanosecondType>(far, 0), Err(beyond.to_owned()));
        assert_eq!(exact_of::<TimestampNanosecondType>(-1, 1), Ok(-999_999_999));
        let finer =
            "an INT96 of -1.000000001 s since 1970 is finer than the microseconds in which the job has the column";
        assert_eq!(exact_of::<TimestampMicrosecondType>(-1, -1), Err(finer.to_owned()));
        // The year 1, and the last day that 32 bits of days have.
        assert_eq!(exact_of::<TimestampMicrosecondType>(-62_135_596_800, 0), Ok(-62_135_596_800_000_000));
        let last = (i64::from(i32::MAX) - 2_440_588) * 86_400;
        assert!(exact_of::<TimestampMicrosecondType>(last, 0).is_err());
        assert_eq!(exact_of::<TimestampSecondType>(last, 0), Ok(last));
    }

    fn timestamp(unit: TimeUnit) -> DataType {
        DataType::Timestamp(unit, None)
    }

    /// In a list of structs, whose columns a job of before has in nanoseconds and one of today in microseconds.
    #[test]
    fn values_within_others_are_joined_in_the_jobs_unit() {
        let list = |values: ArrayRef| -> ArrayRef {
            let field = Arc::new(Field::new("at", values.data_type().clone(), true));
            let structs = StructArray::new(vec![field].into(), vec![values], None);
            let item = Arc::new(Field::new("item", structs.data_type().clone(), true));
            Arc::new(GenericListArray::<i32>::new(item, OffsetBuffer::new(vec![0, 2].into()), Arc::new(structs), None))
        };
        let first = list(Arc::new(TimestampNanosecondArray::from(vec![Some(1_500_000_000), None])));
        let second = list(Arc::new(TimestampSecondArray::from(vec![Some(1), None])));
        let micros = list(Arc::new(TimestampMicrosecondArray::from(vec![Some(1_500_000), None])));
        let to = micros.data_type();
        assert_eq!(&join(&first, &second, to, to).unwrap(), &micros);
        assert_eq!(&join(&first, &second, to, first.data_type()).unwrap(), &first);
        assert_eq!(&join(&first, &second, to, &timestamp(TimeUnit::Nanosecond)).unwrap(), &micros);
        assert_eq!(&join(&first, &first, to, to).unwrap(), &first);
    }

    #[test]
    fn intervals_are_their_bytes() {
        let days = IntervalDayTimeArray::from(vec![Some(IntervalDayTime::new(-2, 5)), None]);
        let months = IntervalYearMonthArray::from(vec![Some(1), None]);
        let (days, months): (ArrayRef, ArrayRef) = (Arc::new(days), Arc::new(months));
        let to = DataType::FixedSizeBinary(INTERVAL_BYTES);
        let joined = join(&days, &months, &to, &to).unwrap();
        assert_eq!(joined.as_fixed_size_binary().value(0), b"\x01\0\0\0\xfe\xff\xff\xff\x05\0\0\0");
        assert!(joined.is_null(1));
    }
}
