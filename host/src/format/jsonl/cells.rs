//! Values of Arrow arrays as JSON.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::Write;

use arrow::array::*;
use arrow::datatypes::*;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::cursor::{Checked, Cursor, Keys};
use super::encode::{Nulls, write_string};
use super::extra::Extra;
use super::refusal::{Reason, Refusal, Step};
use super::{instants, types};

/// The values of a column.
pub(super) trait Cells {
    fn is_null(&self, row: usize) -> bool;
    /// Writes a value that is not null.
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Checked;
}

type Column<'a> = Box<dyn Cells + 'a>;

/// The values of an array; none if its type has no text. `is_json` says that they are JSON already.
pub(super) fn cells<'a>(array: &'a dyn Array, is_json: bool, nulls: Nulls) -> Option<Column<'a>> {
    use DataType::*;
    Some(match array.data_type() {
        Null => Box::new(Nothing),
        Utf8 if is_json => json(array, |row| array.as_string::<i32>().value(row)),
        LargeUtf8 if is_json => json(array, |row| array.as_string::<i64>().value(row)),
        Utf8View if is_json => json(array, |row| array.as_string_view().value(row)),
        Utf8 => strings(array, array.as_string::<i32>()),
        LargeUtf8 => strings(array, array.as_string::<i64>()),
        Utf8View => strings(array, array.as_string_view()),
        Binary => binaries(array, array.as_binary::<i32>()),
        LargeBinary => binaries(array, array.as_binary::<i64>()),
        BinaryView => binaries(array, array.as_binary_view()),
        FixedSizeBinary(_) => binaries(array, array.as_fixed_size_binary()),
        Boolean => each(array, |row, out| shown(out, array.as_boolean().value(row))),
        Dictionary(..) => dictionary(array, is_json, nulls)?,
        List(_) | LargeList(_) | FixedSizeList(..) | ListView(_) | LargeListView(_) => list(array, nulls)?,
        Struct(fields) => structs(array.as_struct(), fields, nulls)?,
        Map(entries, _) => map(array.as_map(), entries, nulls)?,
        _ => number(array).or_else(|| instant(array))?,
    })
}

/// An array whose values are written one by one.
struct Each<'a, W> {
    array: &'a dyn Array,
    write: W,
}

fn each<'a>(array: &'a dyn Array, write: impl Fn(usize, &mut Vec<u8>) -> Checked + 'a) -> Column<'a> {
    Box::new(Each { array, write })
}

impl<W: Fn(usize, &mut Vec<u8>) -> Checked> Cells for Each<'_, W> {
    fn is_null(&self, row: usize) -> bool {
        self.array.is_null(row)
    }

    fn write(&self, row: usize, out: &mut Vec<u8>) -> Checked {
        (self.write)(row, out)
    }
}

/// An array of nulls, which has no bitmap that says so.
struct Nothing;

impl Cells for Nothing {
    fn is_null(&self, _row: usize) -> bool {
        true
    }

    fn write(&self, _row: usize, _out: &mut Vec<u8>) -> Checked {
        Ok(())
    }
}

#[expect(clippy::unnecessary_wraps, reason = "as all that write a value")]
fn shown(out: &mut Vec<u8>, value: impl Display) -> Checked {
    write!(out, "{value}").expect("a Vec takes all");
    Ok(())
}

fn strings<'a>(array: &'a dyn Array, texts: impl ArrayAccessor<Item = &'a str> + 'a) -> Column<'a> {
    each(array, move |row, out| {
        write_string(out, texts.value(row));
        Ok(())
    })
}

fn binaries<'a>(array: &'a dyn Array, values: impl ArrayAccessor<Item = &'a [u8]> + 'a) -> Column<'a> {
    each(array, move |row, out| {
        let (bytes, start) = (values.value(row), out.len() + 1);
        out.resize(start + bytes.len().div_ceil(3) * 4, b'"');
        STANDARD.encode_slice(bytes, &mut out[start..]).expect("four letters stand for three bytes");
        out.push(b'"');
        Ok(())
    })
}

/// Texts that are JSON. They are checked, since nobody else did; line ends between their parts become spaces.
fn json<'a>(array: &'a dyn Array, text: impl Fn(usize) -> &'a str + 'a) -> Column<'a> {
    each(array, move |row, out| {
        let text = text(row).trim_matches([' ', '\t', '\r', '\n']);
        check_json(text).map_err(|refusal| Refusal::new(Reason::BadJson(refusal)))?;
        out.extend(text.bytes().map(|byte| if byte == b'\n' || byte == b'\r' { b' ' } else { byte }));
        Ok(())
    })
}

fn check_json(text: &str) -> Checked {
    let mut text = Cursor::new(text, Extra::default());
    text.pass()?;
    text.end()
}

fn number(array: &dyn Array) -> Option<Column<'_>> {
    use DataType::*;
    Some(match array.data_type() {
        Int8 => integers::<Int8Type>(array),
        Int16 => integers::<Int16Type>(array),
        Int32 => integers::<Int32Type>(array),
        Int64 => integers::<Int64Type>(array),
        UInt8 => integers::<UInt8Type>(array),
        UInt16 => integers::<UInt16Type>(array),
        UInt32 => integers::<UInt32Type>(array),
        UInt64 => integers::<UInt64Type>(array),
        Float16 => each(array, |row, out| float(out, array.as_primitive::<Float16Type>().value(row).to_f32())),
        Float32 => each(array, |row, out| float(out, array.as_primitive::<Float32Type>().value(row))),
        Float64 => each(array, |row, out| float(out, array.as_primitive::<Float64Type>().value(row))),
        Decimal32(..) => decimals::<Decimal32Type>(array),
        Decimal64(..) => decimals::<Decimal64Type>(array),
        Decimal128(..) => decimals::<Decimal128Type>(array),
        Decimal256(..) => decimals::<Decimal256Type>(array),
        Duration(TimeUnit::Second) => integers::<DurationSecondType>(array),
        Duration(TimeUnit::Millisecond) => integers::<DurationMillisecondType>(array),
        Duration(TimeUnit::Microsecond) => integers::<DurationMicrosecondType>(array),
        Duration(TimeUnit::Nanosecond) => integers::<DurationNanosecondType>(array),
        _ => return None,
    })
}

fn integers<T: ArrowPrimitiveType<Native: Display>>(array: &dyn Array) -> Column<'_> {
    let values = array.as_primitive::<T>();
    each(array, |row, out| shown(out, values.value(row)))
}

fn decimals<T: DecimalType>(array: &dyn Array) -> Column<'_> {
    let values = array.as_primitive::<T>();
    each(array, |row, out| shown(out, values.value_as_string(row)))
}

/// The shortest text that is read as the same float.
fn float<F: Into<f64> + Copy + std::fmt::Debug>(out: &mut Vec<u8>, value: F) -> Checked {
    let wide: f64 = value.into();
    if wide.is_finite() {
        write!(out, "{value:?}").expect("a Vec takes all");
        return Ok(());
    }
    let name = if wide.is_nan() { "NaN" } else { "an infinite number" };
    Err(Refusal::new(Reason::NotFinite(name)))
}

fn instant(array: &dyn Array) -> Option<Column<'_>> {
    use DataType::*;
    use TimeUnit::*;
    Some(match array.data_type() {
        Date32 => {
            quoted(array, |row, out| instants::write_date(out, array.as_primitive::<Date32Type>().value(row).into()))
        }
        Date64 => date64(array),
        Time32(Second) => times::<Time32SecondType>(array, Second),
        Time32(Millisecond) => times::<Time32MillisecondType>(array, Millisecond),
        Time64(Microsecond) => times::<Time64MicrosecondType>(array, Microsecond),
        Time64(Nanosecond) => times::<Time64NanosecondType>(array, Nanosecond),
        Timestamp(Second, zone) => timestamps::<TimestampSecondType>(array, zone.is_some()),
        Timestamp(Millisecond, zone) => timestamps::<TimestampMillisecondType>(array, zone.is_some()),
        Timestamp(Microsecond, zone) => timestamps::<TimestampMicrosecondType>(array, zone.is_some()),
        Timestamp(Nanosecond, zone) => timestamps::<TimestampNanosecondType>(array, zone.is_some()),
        _ => return None,
    })
}

fn quoted<'a>(array: &'a dyn Array, write: impl Fn(usize, &mut Vec<u8>) + 'a) -> Column<'a> {
    each(array, move |row, out| in_quotes(out, |out| write(row, out)))
}

#[expect(clippy::unnecessary_wraps, reason = "as all that write a value")]
fn in_quotes(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> Checked {
    out.push(b'"');
    write(out);
    out.push(b'"');
    Ok(())
}

fn timestamps<T: ArrowTimestampType>(array: &dyn Array, has_zone: bool) -> Column<'_> {
    let values = array.as_primitive::<T>();
    quoted(array, move |row, out| instants::write_instant(out, values.value(row), T::UNIT, has_zone))
}

fn times<T: ArrowPrimitiveType<Native: Into<i64>>>(array: &dyn Array, unit: TimeUnit) -> Column<'_> {
    let values = array.as_primitive::<T>();
    each(array, move |row, out| {
        let value: i64 = values.value(row).into();
        if !(0..86_400 * instants::per_second(unit)).contains(&value) {
            return Err(Refusal::new(Reason::OutOfRange { value, wanted: "a time of day" }));
        }
        in_quotes(out, |out| instants::write_time(out, value, unit))
    })
}

/// Milliseconds, which are to be whole days.
fn date64(array: &dyn Array) -> Column<'_> {
    const DAY: i64 = 86_400_000;
    let values = array.as_primitive::<Date64Type>();
    each(array, |row, out| {
        let value = values.value(row);
        if value % DAY != 0 {
            return Err(Refusal::new(Reason::OutOfRange { value, wanted: "a whole number of days" }));
        }
        in_quotes(out, |out| instants::write_date(out, value / DAY))
    })
}

fn dictionary(array: &dyn Array, is_json: bool, nulls: Nulls) -> Option<Column<'_>> {
    let dictionary = array.as_any_dictionary();
    let values = cells(dictionary.values().as_ref(), is_json, nulls)?;
    let places = if dictionary.values().is_empty() { Vec::new() } else { dictionary.normalized_keys() };
    Some(Box::new(Dictionary { array, places, values }))
}

struct Dictionary<'a> {
    array: &'a dyn Array,
    places: Vec<usize>,
    values: Column<'a>,
}

impl Cells for Dictionary<'_> {
    fn is_null(&self, row: usize) -> bool {
        self.array.is_null(row) || self.values.is_null(self.places[row])
    }

    fn write(&self, row: usize, out: &mut Vec<u8>) -> Checked {
        self.values.write(self.places[row], out)
    }
}

fn list(array: &dyn Array, nulls: Nulls) -> Option<Column<'_>> {
    use DataType::*;
    match array.data_type() {
        List(item) => {
            let list = array.as_list::<i32>();
            lists(array, (item, list.values(), nulls), |row| spread(list.value_offsets()[row], list.value_length(row)))
        }
        LargeList(item) => {
            let list = array.as_list::<i64>();
            lists(array, (item, list.values(), nulls), |row| spread(list.value_offsets()[row], list.value_length(row)))
        }
        FixedSizeList(item, length) => {
            let (list, length) = (array.as_fixed_size_list(), length.as_usize());
            lists(array, (item, list.values(), nulls), move |row| row * length..(row + 1) * length)
        }
        ListView(item) => {
            let list = array.as_list_view::<i32>();
            lists(array, (item, list.values(), nulls), |row| spread(list.value_offset(row), list.value_size(row)))
        }
        LargeListView(item) => {
            let list = array.as_list_view::<i64>();
            lists(array, (item, list.values(), nulls), |row| spread(list.value_offset(row), list.value_size(row)))
        }
        _ => None,
    }
}

fn spread<N: ArrowNativeType>(start: N, length: N) -> std::ops::Range<usize> {
    start.as_usize()..start.as_usize() + length.as_usize()
}

fn lists<'a>(
    array: &'a dyn Array,
    (item, items, nulls): (&FieldRef, &'a ArrayRef, Nulls),
    range: impl Fn(usize) -> std::ops::Range<usize> + 'a,
) -> Option<Column<'a>> {
    let items = cells(items.as_ref(), types::is_json(item), nulls)?;
    Some(each(array, move |row, out| {
        out.push(b'[');
        for (index, item) in range(row).enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write_or_null(items.as_ref(), item, out).map_err(|refusal| refusal.within(Step::Index(index)))?;
        }
        out.push(b']');
        Ok(())
    }))
}

fn write_or_null(cells: &dyn Cells, row: usize, out: &mut Vec<u8>) -> Checked {
    if cells.is_null(row) {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    cells.write(row, out)
}

fn structs<'a>(array: &'a StructArray, fields: &Fields, nulls: Nulls) -> Option<Column<'a>> {
    let objects = Objects::new(fields, array.columns(), nulls)?;
    Some(each(array, move |row, out| objects.write(row, out)))
}

/// Columns side by side: objects with the same keys.
pub(super) struct Objects<'a> {
    nulls: Nulls,
    members: Vec<Member<'a>>,
}

struct Member<'a> {
    name: String,
    /// `"name":`
    key: Vec<u8>,
    cells: Column<'a>,
}

impl<'a> Objects<'a> {
    pub(super) fn new(fields: &Fields, columns: &'a [ArrayRef], nulls: Nulls) -> Option<Objects<'a>> {
        let member = |(field, column): (&FieldRef, &'a ArrayRef)| {
            let mut key = Vec::new();
            write_string(&mut key, field.name());
            key.push(b':');
            let cells = cells(column.as_ref(), types::is_json(field), nulls)?;
            Some(Member { name: field.name().clone(), key, cells })
        };
        Some(Objects { nulls, members: fields.iter().zip(columns).map(member).collect::<Option<_>>()? })
    }

    pub(super) fn write(&self, row: usize, out: &mut Vec<u8>) -> Checked {
        let mut before = b'{';
        for member in &self.members {
            let is_null = member.cells.is_null(row);
            if is_null && self.nulls == Nulls::LeftOut {
                continue;
            }
            out.push(before);
            before = b',';
            out.extend_from_slice(&member.key);
            match is_null {
                true => out.extend_from_slice(b"null"),
                false => member.cells.write(row, out).map_err(|refusal| refusal.within_key(&member.name))?,
            }
        }
        out.extend_from_slice(if before == b'{' { b"{}" } else { b"}" });
        Ok(())
    }
}

fn map<'a>(array: &'a MapArray, entries: &Field, nulls: Nulls) -> Option<Column<'a>> {
    let DataType::Struct(fields) = entries.data_type() else { return None };
    let is_key =
        !fields[0].data_type().is_nested() && !fields[0].data_type().is_floating() && !types::is_json(&fields[0]);
    let keys = is_key.then(|| cells(array.keys().as_ref(), false, nulls))??;
    let values = cells(array.values().as_ref(), types::is_json(&fields[1]), nulls)?;
    Some(each(array, move |row, out| {
        let (range, mut seen) = (spread(array.value_offsets()[row], array.value_length(row)), Keys::default());
        let start = range.start;
        out.push(b'{');
        for entry in range {
            if entry > start {
                out.push(b',');
            }
            let key: Cow<'_, str> = Cow::Owned(key_text(keys.as_ref(), entry)?);
            seen.add(key.clone()).map_err(|refusal| refusal.within_key(&key))?;
            out.extend_from_slice(key.as_bytes());
            out.push(b':');
            write_or_null(values.as_ref(), entry, out).map_err(|refusal| refusal.within_key(&key))?;
        }
        out.push(b'}');
        Ok(())
    }))
}

/// A key in quotes, also if it is a number.
fn key_text(keys: &dyn Cells, entry: usize) -> Checked<String> {
    let mut text = Vec::new();
    write_or_null(keys, entry, &mut text)?;
    let text = String::from_utf8_lossy(&text).into_owned();
    Ok(if text.starts_with('"') { text } else { format!("\"{text}\"") })
}
