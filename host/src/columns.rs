//! Column types: which convert into which without losing anything, and the conversion. Used wherever a type was agreed
//! once and data of another type arrives: id columns, what a function needs, files of one source that differ.
//!
//! * `union` - the type that holds what files of different types hold: the one rule for it.
//! * `explain` - where two types part, for people.

mod explain;
mod union;

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeListArray, GenericListArray, MapArray, OffsetSizeTrait,
    RecordBatch, RecordBatchOptions, StructArray, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{CastOptions, cast_with_options, filter};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Int64Type, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};

pub use explain::{clash, misfit};
pub use union::union;

/// Whether every value of `from` has exactly one counterpart in `to`: null becomes any type, and of a struct a field that
/// is not there becomes null. Values that overflow a finer time unit or a smaller offset are found by [`convert`].
pub fn converts(from: &DataType, to: &DataType) -> bool {
    goes(from, to, Structs::Whole)
}

/// Whether a function that asks for `to` can be served with `from`: as [`converts`], and of a struct it may ask for some
/// fields only, in its own order.
pub fn serves(from: &DataType, to: &DataType) -> bool {
    goes(from, to, Structs::Chosen)
}

/// A value as people read it. An instant is shown in UTC, whatever zone its column names: `2024-01-01T00:00:00Z`.
pub fn text(column: &dyn Array, row: usize, null: &str) -> String {
    let options = FormatOptions::default().with_null(null);
    let formatted = |column: &dyn Array, row| {
        ArrayFormatter::try_new(column, &options).and_then(|formatter| formatter.value(row).try_to_string())
    };
    let text = match in_utc(column.data_type()) {
        same if same == *column.data_type() => formatted(column, row),
        utc => cast_with_options(&column.slice(row, 1), &utc, &CastOptions::default())
            .and_then(|column| formatted(column.as_ref(), 0)),
    };
    text.unwrap_or_else(|error| error.to_string())
}

/// The type with an offset in the place of each zone's name, of which nobody here knows the rules.
fn in_utc(data_type: &DataType) -> DataType {
    use DataType::*;
    let field = |field: &FieldRef| Arc::new(field.as_ref().clone().with_data_type(in_utc(field.data_type())));
    match data_type {
        Timestamp(unit, Some(_)) => Timestamp(*unit, Some("+00:00".into())),
        List(item) => List(field(item)),
        LargeList(item) => LargeList(field(item)),
        FixedSizeList(item, length) => FixedSizeList(field(item), *length),
        Struct(fields) => Struct(fields.iter().map(field).collect()),
        Map(entries, is_sorted) => Map(field(entries), *is_sorted),
        Dictionary(key, value) => Dictionary(key.clone(), Box::new(in_utc(value))),
        other => other.clone(),
    }
}

/// How a struct becomes one of other fields.
#[derive(Clone, Copy)]
enum Structs {
    /// Each of its fields has a place; a place that no field takes is null.
    Whole,
    /// Some of its fields are taken, and they must be there.
    Chosen,
}

fn goes(from: &DataType, to: &DataType, structs: Structs) -> bool {
    use DataType::*;
    match (from, to) {
        (Null, _) => true,
        (Dictionary(..), Dictionary(..)) => from == to,
        (Dictionary(_, value), to) => goes(value, to, structs),
        (Utf8 | LargeUtf8 | Utf8View, Utf8 | LargeUtf8 | Utf8View) => true,
        (Binary | LargeBinary | BinaryView, Binary | LargeBinary | BinaryView) => true,
        (FixedSizeBinary(_), Binary | LargeBinary) => true,
        (Int8, Int16 | Int32 | Int64) | (Int16, Int32 | Int64) | (Int32, Int64) => true,
        (UInt8, UInt16 | UInt32 | UInt64 | Int16 | Int32 | Int64) => true,
        (UInt16, UInt32 | UInt64 | Int32 | Int64) | (UInt32, UInt64 | Int64) => true,
        (Float16, Float32 | Float64) | (Float32, Float64) | (Date32, Date64) => true,
        (Timestamp(coarse, from_zone), Timestamp(fine, to_zone)) => {
            // A zone is how an instant is shown; without one it is another thing.
            from_zone.is_some() == to_zone.is_some() && finer(*coarse, *fine)
        }
        (Time32(coarse) | Time64(coarse), Time32(fine) | Time64(fine)) => finer(*coarse, *fine),
        (Duration(coarse), Duration(fine)) => finer(*coarse, *fine),
        (FixedSizeList(from, size), FixedSizeList(to, to_size)) => size == to_size && within(from, to, structs),
        (List(from) | LargeList(from) | FixedSizeList(from, _), List(to) | LargeList(to)) => within(from, to, structs),
        (Map(from, from_sorted), Map(to, to_sorted)) => (*from_sorted || !to_sorted) && goes_as_map(from, to, structs),
        (Struct(from), Struct(to)) => structs.fit(from, to),
        (from, to) => decimal_goes(from, to) || from.equals_datatype(to),
    }
}

fn within(from: &Field, to: &Field, structs: Structs) -> bool {
    (to.is_nullable() || !from.is_nullable()) && goes(from.data_type(), to.data_type(), structs)
}

/// Keys become keys and values values, whatever they are called.
fn goes_as_map(from: &Field, to: &Field, structs: Structs) -> bool {
    let pairs = union::pair(from).zip(union::pair(to));
    pairs.is_some_and(|(from, to)| from.iter().zip(to).all(|(from, to)| within(from, to, structs)))
}

impl Structs {
    fn fit(self, from: &Fields, to: &Fields) -> bool {
        let has_place = |field: &FieldRef| to.iter().any(|to| to.name() == field.name());
        let has_places = matches!(self, Structs::Chosen) || from.iter().all(has_place);
        has_places && to.iter().all(|to| self.has(from, to))
    }

    /// Whether a struct has exactly one field of a name, and it goes; or none, and null will do.
    fn has(self, from: &Fields, to: &Field) -> bool {
        let mut named = from.iter().filter(|from| from.name() == to.name());
        match named.next() {
            Some(from) => within(from, to, self) && named.next().is_none(),
            None => matches!(self, Structs::Whole) && to.is_nullable(),
        }
    }
}

fn decimal_goes(from: &DataType, to: &DataType) -> bool {
    let parts = union::decimal_parts(from).zip(union::decimal_parts(to));
    parts.is_some_and(|((width, p, s), (to_width, to_p, to_s))| width <= to_width && holds((p, s), (to_p, to_s)))
}

/// As many digits before the point and after it.
fn holds((p, s): (u8, i8), (to_p, to_s): (u8, i8)) -> bool {
    to_s >= s && i16::from(to_p) - i16::from(to_s) >= i16::from(p) - i16::from(s)
}

fn finer(coarse: TimeUnit, fine: TimeUnit) -> bool {
    let rank = |unit| match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 1,
        TimeUnit::Microsecond => 2,
        TimeUnit::Nanosecond => 3,
    };
    rank(coarse) <= rank(fine)
}

/// Converts a column to a type for which [`converts`] or [`serves`] holds. An error if a value does not fit.
pub fn convert(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    use DataType::*;
    match (column.data_type(), to) {
        (from, to) if from == to => Ok(Arc::clone(column)),
        (Null, to) => Ok(new_null_array(to, column.len())),
        (Dictionary(_, value), List(_) | LargeList(_) | Map(..) | Struct(_)) => convert(&cast(column, value)?, to),
        (Time32(coarse) | Time64(coarse), Time32(fine) | Time64(fine)) => {
            finer_times(column, ticks(*fine) / ticks(*coarse), to)
        }
        (FixedSizeList(..), List(field)) => of_any_size::<i32>(column.as_fixed_size_list(), field),
        (FixedSizeList(..), LargeList(field)) => of_any_size::<i64>(column.as_fixed_size_list(), field),
        (List(from) | LargeList(from), List(field)) => {
            let lists = cast(column, &List(Arc::clone(from)))?;
            elements(lists.as_list::<i32>(), field)
        }
        (List(from) | LargeList(from), LargeList(field)) => {
            let lists = cast(column, &LargeList(Arc::clone(from)))?;
            elements(lists.as_list::<i64>(), field)
        }
        (FixedSizeList(..), FixedSizeList(field, size)) => fixed(column.as_fixed_size_list(), field, *size),
        (Map(..), Map(field, is_sorted)) => entries(column.as_map(), field, *is_sorted),
        (Struct(_), Struct(fields)) => Ok(Arc::new(chosen(column.as_struct(), fields)?)),
        _ => cast(column, to),
    }
}

fn cast(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    if column.data_type() == to {
        return Ok(Arc::clone(column));
    }
    let options = CastOptions { safe: false, format_options: FormatOptions::default() };
    cast_with_options(column, to, &options)
}

fn ticks(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

// A file can hold times that no day has: they must not wrap around.
fn finer_times(column: &ArrayRef, factor: i64, to: &DataType) -> Result<ArrayRef, ArrowError> {
    let wide = cast(&cast_from_time(column)?, &DataType::Int64)?;
    let does_not_fit = || ArrowError::ComputeError("a time of day does not fit".to_string());
    let finer = wide
        .as_primitive::<Int64Type>()
        .try_unary::<_, Int64Type, _>(|value| value.checked_mul(factor).ok_or_else(does_not_fit))?;
    let finer: ArrayRef = Arc::new(finer);
    let narrow = if matches!(to, DataType::Time32(_)) { cast(&finer, &DataType::Int32)? } else { finer };
    cast(&narrow, to)
}

fn cast_from_time(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let plain = if matches!(column.data_type(), DataType::Time32(_)) { DataType::Int32 } else { DataType::Int64 };
    cast(column, &plain)
}

fn elements<O: OffsetSizeTrait>(lists: &GenericListArray<O>, field: &FieldRef) -> Result<ArrayRef, ArrowError> {
    let values = convert(lists.values(), field.data_type())?;
    let lists = GenericListArray::try_new(Arc::clone(field), lists.offsets().clone(), values, lists.nulls().cloned())?;
    Ok(Arc::new(lists))
}

/// A list that is null has values as well, which are no items: where items are never null, they may be.
fn of_any_size<O: OffsetSizeTrait>(lists: &FixedSizeListArray, field: &FieldRef) -> Result<ArrayRef, ArrowError> {
    let size = usize::try_from(lists.value_length()).unwrap_or(0);
    let is_list = |row| lists.is_valid(row);
    let lengths = (0..lists.len()).map(|row| if is_list(row) { size } else { 0 });
    let is_item: BooleanArray =
        (0..lists.len()).flat_map(|row| std::iter::repeat_n(Some(is_list(row)), size)).collect();
    let items = convert(&filter(lists.values(), &is_item)?, field.data_type())?;
    let offsets = OffsetBuffer::from_lengths(lengths);
    let lists = GenericListArray::<O>::try_new(Arc::clone(field), offsets, items, lists.nulls().cloned())?;
    Ok(Arc::new(lists))
}

fn fixed(lists: &FixedSizeListArray, field: &FieldRef, size: i32) -> Result<ArrayRef, ArrowError> {
    let values = convert(lists.values(), field.data_type())?;
    Ok(Arc::new(FixedSizeListArray::try_new(Arc::clone(field), size, values, lists.nulls().cloned())?))
}

fn entries(maps: &MapArray, field: &FieldRef, is_sorted: bool) -> Result<ArrayRef, ArrowError> {
    let pair = union::pair(field).ok_or_else(|| ArrowError::CastError("a map without pairs".to_string()))?;
    let columns = [maps.keys(), maps.values()].into_iter().zip(pair);
    let columns = columns.map(|(column, field)| convert(column, field.data_type())).collect::<Result<_, _>>()?;
    let pairs = StructArray::try_new(pair.clone(), columns, maps.entries().nulls().cloned())?;
    let maps = MapArray::try_new(Arc::clone(field), maps.offsets().clone(), pairs, maps.nulls().cloned(), is_sorted)?;
    Ok(Arc::new(maps))
}

fn chosen(structs: &StructArray, fields: &Fields) -> Result<StructArray, ArrowError> {
    let field = |field: &FieldRef| match structs.column_by_name(field.name()) {
        Some(column) => convert(column, field.data_type()),
        None => Ok(new_null_array(field.data_type(), structs.len())),
    };
    let columns = fields.iter().map(field).collect::<Result<_, _>>()?;
    StructArray::try_new_with_length(fields.clone(), columns, structs.nulls().cloned(), structs.len())
}

/// The given columns of a batch, converted to the fields of `schema`, one by one.
pub fn convert_all(columns: &[ArrayRef], schema: &SchemaRef, rows: usize) -> Result<RecordBatch, ArrowError> {
    let converted: Result<Vec<ArrayRef>, ArrowError> =
        columns.iter().zip(schema.fields()).map(|(column, field)| convert(column, field.data_type())).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), converted?, &options)
}

/// The schema that a job works with, given that of a file: plain types where the file has encodings of them, every
/// column nullable, no metadata.
pub fn plain_schema(schema: &Schema) -> SchemaRef {
    let plain = |field: &Arc<Field>| Field::new(field.name(), plain_type(field.data_type()), true);
    Arc::new(Schema::new(schema.fields().iter().map(plain).collect::<Vec<_>>()))
}

fn plain_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, value) => plain_type(value),
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        DurationSecondArray, FixedSizeListArray, Int32Array, Int64Array, LargeListArray, ListArray, StringArray,
        Time32SecondArray, Time64MicrosecondArray, TimestampMillisecondArray,
    };
    use arrow::buffer::NullBuffer;

    use super::*;

    fn field(name: &str, data_type: DataType, nullable: bool) -> FieldRef {
        Arc::new(Field::new(name, data_type, nullable))
    }

    fn timestamp(unit: TimeUnit, zone: Option<&str>) -> DataType {
        DataType::Timestamp(unit, zone.map(Into::into))
    }

    #[test]
    fn instants_are_shown_in_utc() {
        let plain = TimestampMillisecondArray::from(vec![Some(1_704_067_200_500), None]);
        let shown = |column: &dyn Array| [text(column, 0, "null"), text(column, 1, "null")];
        assert_eq!(shown(&plain), ["2024-01-01T00:00:00.500", "null"]);
        for zone in ["UTC", "Europe/Berlin", "+02:00", "Mars/Olympus"] {
            let zoned = plain.clone().with_timezone(zone);
            assert_eq!(shown(&zoned), ["2024-01-01T00:00:00.500Z", "null"], "{zone}");
            let within = StructArray::from(vec![(
                field("at", zoned.data_type().clone(), true),
                Arc::new(zoned.clone()) as ArrayRef,
            )]);
            assert_eq!(shown(&within), ["{at: 2024-01-01T00:00:00.500Z}", "{at: null}"], "{zone}");
        }
    }

    #[test]
    fn only_what_loses_nothing_converts() {
        use DataType::*;
        use TimeUnit::*;
        let dictionary = |key| Dictionary(Box::new(key), Box::new(Utf8));
        let record = |names: &[&str]| Struct(names.iter().map(|name| field(name, Utf8, true)).collect());
        let list = |data_type, nullable| List(field("item", data_type, nullable));
        let yes = [
            (Int32, Int64),
            (UInt32, Int64),
            (Float32, Float64),
            (dictionary(Int32), LargeUtf8),
            (Date32, Date64),
            (timestamp(Second, Some("Europe/Berlin")), timestamp(Microsecond, Some("UTC"))),
            (Time32(Second), Time64(Nanosecond)),
            (Duration(Second), Duration(Millisecond)),
            (Decimal64(10, 2), Decimal128(12, 4)),
            (list(Int32, false), list(Int64, true)),
            (LargeList(field("a", Utf8, true)), list(Utf8, true)),
            (Null, list(Utf8, false)),
            (list(Null, true), list(Utf8, true)),
            (Float16, Float64),
            (Decimal32(5, 2), Decimal64(10, 3)),
            (list(dictionary(Int32), true), list(dictionary(Int32), true)),
            (record(&["a"]), record(&["b", "a"])),
        ];
        for (from, to) in yes {
            assert!(converts(&from, &to), "{from} -> {to}");
        }
        let no = [
            (Int64, Int32),
            (Int64, Float64),
            (UInt64, Int64),
            (Utf8, Binary),
            (Int64, Utf8),
            (Date64, Date32),
            (timestamp(Second, None), timestamp(Second, Some("UTC"))),
            (timestamp(Microsecond, None), timestamp(Second, None)),
            (Time64(Nanosecond), Time64(Microsecond)),
            (Decimal128(10, 2), Decimal128(11, 4)),
            (Decimal128(10, 2), Decimal128(38, 1)),
            (list(Int32, true), list(Int32, false)),
            (dictionary(Int32), dictionary(Int8)),
            (record(&["a", "b"]), record(&["a"])),
            (record(&["a", "a"]), record(&["a", "b"])),
        ];
        for (from, to) in no {
            assert!(!converts(&from, &to), "{from} -> {to}");
        }
    }

    #[test]
    fn a_function_may_ask_for_some_fields_of_a_struct() {
        let all = DataType::Struct(vec![field("a", DataType::Int32, false), field("b", DataType::Utf8, true)].into());
        let some = DataType::Struct(vec![field("b", DataType::Utf8, true)].into());
        let none = DataType::Struct(vec![field("c", DataType::Utf8, true)].into());
        assert!(serves(&all, &some) && !converts(&all, &some) && !serves(&all, &none) && !serves(&some, &all));
        let strings: ArrayRef = Arc::new(StringArray::from(vec![Some("x"), None]));
        let columns: Vec<ArrayRef> = vec![Arc::new(Int32Array::from(vec![1, 2])), Arc::clone(&strings)];
        let DataType::Struct(fields) = &all else { unreachable!() };
        let nulls = Some(NullBuffer::from(vec![true, false]));
        let structs: ArrayRef = Arc::new(StructArray::new(fields.clone(), columns, nulls.clone()));
        let chosen = convert(&structs, &some).unwrap();
        assert_eq!((chosen.data_type(), chosen.nulls()), (&some, nulls.as_ref()));
        assert_eq!(chosen.as_struct().column(0), &strings);
    }

    #[test]
    fn lists_convert_with_what_is_in_them() {
        let to = DataType::List(field("element", DataType::Int64, true));
        let rows = vec![Some(vec![Some(1), None]), None, Some(vec![Some(2), Some(3)])];
        let small = ListArray::from_iter_primitive::<arrow::datatypes::Int32Type, _, _>(rows.clone());
        let large = LargeListArray::from_iter_primitive::<arrow::datatypes::Int32Type, _, _>(rows.clone());
        let fixed = FixedSizeListArray::from_iter_primitive::<arrow::datatypes::Int32Type, _, _>(rows, 2);
        let columns: [ArrayRef; 3] = [Arc::new(small), Arc::new(large), Arc::new(fixed)];
        for column in columns {
            let converted = convert(&column, &to).unwrap();
            assert_eq!(converted.data_type(), &to);
            let lists = converted.as_list::<i32>();
            assert_eq!(lists.value(0).as_primitive::<Int64Type>(), &Int64Array::from(vec![Some(1), None]));
            assert!(lists.is_null(1));
            assert_eq!(lists.value(2).as_primitive::<Int64Type>(), &Int64Array::from(vec![2, 3]));
        }
    }

    #[test]
    fn a_time_that_does_not_fit_is_an_error_and_not_null() {
        let fails = |column: ArrayRef, to: &DataType| assert!(convert(&column, to).is_err(), "{to}");
        let column: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![i64::MAX]));
        fails(column, &timestamp(TimeUnit::Nanosecond, None));
        fails(Arc::new(Time64MicrosecondArray::from(vec![i64::MAX])), &DataType::Time64(TimeUnit::Nanosecond));
        fails(Arc::new(Time32SecondArray::from(vec![i32::MAX])), &DataType::Time32(TimeUnit::Millisecond));
        fails(Arc::new(DurationSecondArray::from(vec![i64::MAX])), &DataType::Duration(TimeUnit::Millisecond));
        let small: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None]));
        assert_eq!(convert(&small, &DataType::Int64).unwrap().null_count(), 1);
    }

    #[test]
    fn times_and_zones_keep_their_moment() {
        let times: ArrayRef = Arc::new(Time32SecondArray::from(vec![Some(61), None]));
        let finer = convert(&times, &DataType::Time64(TimeUnit::Microsecond)).unwrap();
        assert_eq!(finer.as_ref(), &Time64MicrosecondArray::from(vec![Some(61_000_000), None]) as &dyn Array);
        let there: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![5]).with_timezone("+02:00"));
        let utc = convert(&there, &timestamp(TimeUnit::Millisecond, Some("UTC"))).unwrap();
        assert_eq!(utc.as_ref(), &TimestampMillisecondArray::from(vec![5]).with_timezone("UTC") as &dyn Array);
    }
}
