//! Columns that are read value by value from the text of lines, and can forget the last ones again.
//!
//! A builder of a type reads exactly what is a value of it. After an error it may hold half a value: [`Builder::truncate`]
//! takes everything back, in the columns within it too.

use std::borrow::Cow;
use std::mem;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, BooleanBufferBuilder, FixedSizeBinaryArray, ListArray,
    MapArray, NullBufferBuilder, PrimitiveArray, StringArray, StructArray,
};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::*;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::cursor::{Checked, Cursor, Keys, Kind, Number};
use super::members::Members;
use super::refusal::{Loss, Reason, Refusal, Step, excerpt};
use super::{instants, numbers, types};

/// A column in the making.
pub(super) trait Builder: Send {
    /// Reads a value that is not null, and behind it. An error may leave half a value.
    fn read(&mut self, text: &mut Cursor<'_>) -> Checked;
    fn push_null(&mut self);
    /// Keeps the first `len` values, and half values never.
    fn truncate(&mut self, len: usize);
    /// Gives the values and begins anew.
    fn finish(&mut self) -> ArrayRef;
    /// Bytes of the values.
    fn bytes(&self) -> usize;
}

/// A builder of a field's type; none if no text can be one.
pub(super) fn builder(field: &Field) -> Option<Box<dyn Builder>> {
    use DataType::*;
    if types::is_json(field) {
        return Some(Box::new(Strings::new(true)));
    }
    Some(match field.data_type() {
        Boolean => Box::new(Booleans::default()),
        Utf8 => Box::new(Strings::new(false)),
        Binary => Box::new(Binaries::default()),
        FixedSizeBinary(size) => Box::new(FixedBinaries::new(*size)),
        Decimal128(precision, scale) => decimals128(*precision, *scale),
        Decimal256(precision, scale) => decimals256(*precision, *scale),
        List(item) => Box::new(Lists::new(item)?),
        Struct(fields) => Box::new(Structs::new(fields)?),
        Map(entries, false) => Box::new(Maps::new(entries)?),
        number if number.is_integer() => integer(number)?,
        Float32 => scalars::<Float32Type, _>(&Float32, |text| text.number_as("float32", numbers::float32)),
        Float64 => scalars::<Float64Type, _>(&Float64, |text| text.number_as("float64", numbers::float64)),
        other => instant(other)?,
    })
}

fn integer(data_type: &DataType) -> Option<Box<dyn Builder>> {
    Some(match data_type {
        DataType::Int8 => integers::<Int8Type>("int8"),
        DataType::Int16 => integers::<Int16Type>("int16"),
        DataType::Int32 => integers::<Int32Type>("int32"),
        DataType::Int64 => integers::<Int64Type>("int64"),
        DataType::UInt8 => integers::<UInt8Type>("uint8"),
        DataType::UInt16 => integers::<UInt16Type>("uint16"),
        DataType::UInt32 => integers::<UInt32Type>("uint32"),
        DataType::UInt64 => integers::<UInt64Type>("uint64"),
        _ => return None,
    })
}

fn integers<T>(name: &'static str) -> Box<dyn Builder>
where
    T: ArrowPrimitiveType<Native: TryFrom<i64> + TryFrom<i128>> + Send,
{
    scalars::<T, _>(&T::DATA_TYPE, move |text| {
        if let Some(short) = text.short_integer() {
            return short.try_into().map_err(|_| no_number(&short.to_string(), name, Loss::Range));
        }
        text.number_as(name, |number| numbers::integer(number)?.try_into().map_err(|_| Loss::Range))
    })
}

fn decimals128(precision: u8, scale: i8) -> Box<dyn Builder> {
    let name = format!("decimal({precision},{scale})");
    scalars::<Decimal128Type, _>(&DataType::Decimal128(precision, scale), move |text| {
        text.number_as(&name, |number| numbers::decimal128(number, precision, scale))
    })
}

fn decimals256(precision: u8, scale: i8) -> Box<dyn Builder> {
    let name = format!("decimal({precision},{scale})");
    scalars::<Decimal256Type, _>(&DataType::Decimal256(precision, scale), move |text| {
        text.number_as(&name, |number| numbers::decimal256(number, precision, scale))
    })
}

/// Dates, times and what is counted in units of time.
fn instant(data_type: &DataType) -> Option<Box<dyn Builder>> {
    use DataType::*;
    use TimeUnit::*;
    Some(match data_type {
        Date32 => scalars::<Date32Type, _>(data_type, |text| text.spelt("a date like `2024-12-31`", date32)),
        Time32(Second) => times::<Time32SecondType>(Second),
        Time32(Millisecond) => times::<Time32MillisecondType>(Millisecond),
        Time64(Microsecond) => times::<Time64MicrosecondType>(Microsecond),
        Time64(Nanosecond) => times::<Time64NanosecondType>(Nanosecond),
        Timestamp(Second, zone) => timestamps::<TimestampSecondType>(data_type, zone.is_some()),
        Timestamp(Millisecond, zone) => timestamps::<TimestampMillisecondType>(data_type, zone.is_some()),
        Timestamp(Microsecond, zone) => timestamps::<TimestampMicrosecondType>(data_type, zone.is_some()),
        Timestamp(Nanosecond, zone) => timestamps::<TimestampNanosecondType>(data_type, zone.is_some()),
        Duration(Second) => integers::<DurationSecondType>("duration[s]"),
        Duration(Millisecond) => integers::<DurationMillisecondType>("duration[ms]"),
        Duration(Microsecond) => integers::<DurationMicrosecondType>("duration[us]"),
        Duration(Nanosecond) => integers::<DurationNanosecondType>("duration[ns]"),
        _ => return None,
    })
}

fn date32(text: &str) -> Option<i32> {
    instants::date(text)?.try_into().ok()
}

fn times<T: ArrowPrimitiveType<Native: TryFrom<i64>> + Send>(unit: TimeUnit) -> Box<dyn Builder> {
    let expected = "a time of day like `23:59:59.5`, with no more digits than the type has";
    scalars::<T, _>(&T::DATA_TYPE, move |text| text.spelt(expected, |text| instants::time(text, unit)?.try_into().ok()))
}

fn timestamps<T: ArrowTimestampType + Send>(data_type: &DataType, has_zone: bool) -> Box<dyn Builder> {
    let expected = match has_zone {
        true => "an instant like `2024-12-31T23:59:59.5Z`, with a zone and no more digits than the type has",
        false => "an instant like `2024-12-31T23:59:59.5`, without a zone and with no more digits than the type has",
    };
    scalars::<T, _>(data_type, move |text| text.spelt(expected, |text| instants::instant(text, T::UNIT, has_zone)))
}

impl Cursor<'_> {
    /// A number by its text.
    #[inline]
    fn number_as<N>(&mut self, name: &str, convert: impl FnOnce(Number<'_>) -> Result<N, Loss>) -> Checked<N> {
        if self.kind()? != Kind::Number {
            return Err(self.unfit(name));
        }
        let number = self.number()?;
        convert(number).map_err(|why| no_number(number.text, name, why))
    }

    /// A value that is spelt as a string.
    fn spelt<N>(&mut self, expected: &str, parse: impl FnOnce(&str) -> Option<N>) -> Checked<N> {
        let text = self.string_as(expected)?;
        parse(&text).ok_or_else(|| {
            let text = excerpt(format!("\"{text}\"").as_bytes());
            Refusal::new(Reason::Spelling { text, expected: expected.to_owned() })
        })
    }

    #[inline]
    fn string_as(&mut self, expected: &str) -> Checked<Cow<'_, str>> {
        if self.kind()? == Kind::String { self.string() } else { Err(self.unfit(expected)) }
    }
}

#[cold]
fn no_number(text: &str, wanted: &str, why: Loss) -> Refusal {
    Refusal::new(Reason::Number { number: excerpt(text.as_bytes()), wanted: wanted.to_owned(), why })
}

/// Values of one size.
struct Scalars<T: ArrowPrimitiveType, R> {
    data_type: DataType,
    read: R,
    values: Vec<T::Native>,
    nulls: NullBufferBuilder,
}

fn scalars<T, R>(data_type: &DataType, read: R) -> Box<dyn Builder>
where
    T: ArrowPrimitiveType + Send,
    R: Fn(&mut Cursor<'_>) -> Checked<T::Native> + Send + 'static,
{
    Box::new(Scalars::<T, R> { data_type: data_type.clone(), read, values: Vec::new(), nulls: no_nulls() })
}

impl<T, R> Builder for Scalars<T, R>
where
    T: ArrowPrimitiveType + Send,
    R: Fn(&mut Cursor<'_>) -> Checked<T::Native> + Send,
{
    fn read(&mut self, text: &mut Cursor<'_>) -> Checked {
        let value = (self.read)(text)?;
        self.values.push(value);
        self.nulls.append_non_null();
        Ok(())
    }

    fn push_null(&mut self) {
        self.values.push(T::Native::default());
        self.nulls.append_null();
    }

    fn truncate(&mut self, len: usize) {
        self.values.truncate(len);
        self.nulls.truncate(len);
    }

    fn finish(&mut self) -> ArrayRef {
        let values = PrimitiveArray::<T>::new(mem::take(&mut self.values).into(), self.nulls.finish());
        Arc::new(values.with_data_type(self.data_type.clone()))
    }

    fn bytes(&self) -> usize {
        mem::size_of_val(self.values.as_slice())
    }
}

struct Booleans {
    values: BooleanBufferBuilder,
    nulls: NullBufferBuilder,
}

impl Default for Booleans {
    fn default() -> Booleans {
        Booleans { values: BooleanBufferBuilder::new(0), nulls: no_nulls() }
    }
}

impl Builder for Booleans {
    fn read(&mut self, text: &mut Cursor<'_>) -> Checked {
        if text.kind()? != Kind::Bool {
            return Err(text.unfit("bool"));
        }
        self.values.append(text.boolean()?);
        self.nulls.append_non_null();
        Ok(())
    }

    fn push_null(&mut self) {
        self.values.append(false);
        self.nulls.append_null();
    }

    fn truncate(&mut self, len: usize) {
        self.values.truncate(len);
        self.nulls.truncate(len);
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(BooleanArray::new(self.values.finish(), self.nulls.finish()))
    }

    fn bytes(&self) -> usize {
        self.values.len() / 8
    }
}

/// Texts, one behind the other.
pub(super) struct Texts {
    text: String,
    ends: Ends,
    nulls: NullBufferBuilder,
}

impl Default for Texts {
    fn default() -> Texts {
        Texts { text: String::new(), ends: Ends::default(), nulls: no_nulls() }
    }
}

impl Texts {
    pub(super) fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.end_value();
    }

    /// What is behind the last value is one.
    fn end_value(&mut self) {
        self.ends.push(self.text.len());
        self.nulls.append_non_null();
    }

    pub(super) fn push_null(&mut self) {
        self.ends.push(self.text.len());
        self.nulls.append_null();
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.text.truncate(self.ends.truncate(len));
        self.nulls.truncate(len);
    }

    pub(super) fn finish(&mut self) -> ArrayRef {
        let (ends, text) = (self.ends.finish(), Buffer::from(mem::take(&mut self.text).into_bytes()));
        // SAFETY: all bytes are those of one `String`, and each end was its length when only whole texts were in it. Looking at
        // every byte again took a third of the time of reading texts that are not ASCII.
        Arc::new(unsafe { StringArray::new_unchecked(ends, text, self.nulls.finish()) })
    }

    pub(super) fn size(&self) -> usize {
        self.text.len() + self.ends.size()
    }
}

/// Texts, or any value as its text stands.
struct Strings {
    texts: Texts,
    is_json: bool,
}

impl Strings {
    fn new(is_json: bool) -> Strings {
        Strings { texts: Texts::default(), is_json }
    }
}

impl Builder for Strings {
    fn read(&mut self, text: &mut Cursor<'_>) -> Checked {
        if self.is_json {
            let start = text.at();
            text.pass()?;
            self.texts.push(text.since(start));
            return Ok(());
        }
        if text.kind()? != Kind::String {
            return Err(text.unfit("string"));
        }
        text.string_into(&mut self.texts.text)?;
        self.texts.end_value();
        Ok(())
    }

    fn push_null(&mut self) {
        self.texts.push_null();
    }

    fn truncate(&mut self, len: usize) {
        self.texts.truncate(len);
    }

    fn finish(&mut self) -> ArrayRef {
        self.texts.finish()
    }

    fn bytes(&self) -> usize {
        self.texts.size()
    }
}

const BASE64: &str = "bytes in base64, with `=` at its end";

/// Bytes in base64.
struct Binaries {
    bytes: Vec<u8>,
    ends: Ends,
    nulls: NullBufferBuilder,
}

impl Default for Binaries {
    fn default() -> Binaries {
        Binaries { bytes: Vec::new(), ends: Ends::default(), nulls: no_nulls() }
    }
}

impl Builder for Binaries {
    fn read(&mut self, text: &mut Cursor<'_>) -> Checked {
        text.spelt(BASE64, |text| STANDARD.decode_vec(text, &mut self.bytes).ok())?;
        self.ends.push(self.bytes.len());
        self.nulls.append_non_null();
        Ok(())
    }

    fn push_null(&mut self) {
        self.ends.push(self.bytes.len());
        self.nulls.append_null();
    }

    fn truncate(&mut self, len: usize) {
        self.bytes.truncate(self.ends.truncate(len));
        self.nulls.truncate(len);
    }

    fn finish(&mut self) -> ArrayRef {
        let (ends, bytes) = (self.ends.finish(), Buffer::from(mem::take(&mut self.bytes)));
        Arc::new(BinaryArray::new(ends, bytes, self.nulls.finish()))
    }

    fn bytes(&self) -> usize {
        self.bytes.len() + self.ends.size()
    }
}

/// Bytes of one length in base64.
struct FixedBinaries {
    size: i32,
    width: usize,
    bytes: Vec<u8>,
    nulls: NullBufferBuilder,
}

impl FixedBinaries {
    fn new(size: i32) -> FixedBinaries {
        FixedBinaries { size, width: usize::try_from(size).unwrap_or(0), bytes: Vec::new(), nulls: no_nulls() }
    }
}

impl Builder for FixedBinaries {
    fn read(&mut self, text: &mut Cursor<'_>) -> Checked {
        let start = self.bytes.len();
        text.spelt(BASE64, |text| STANDARD.decode_vec(text, &mut self.bytes).ok())?;
        let found = self.bytes.len() - start;
        if found != self.width {
            return Err(Refusal::new(Reason::Length { found, wanted: self.width }));
        }
        self.nulls.append_non_null();
        Ok(())
    }

    fn push_null(&mut self) {
        self.bytes.resize(self.bytes.len() + self.width, 0);
        self.nulls.append_null();
    }

    fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len * self.width);
        self.nulls.truncate(len);
    }

    fn finish(&mut self) -> ArrayRef {
        let (bytes, len) = (Buffer::from(mem::take(&mut self.bytes)), self.nulls.len());
        let values = FixedSizeBinaryArray::try_new_with_len(self.size, bytes, self.nulls.finish(), len);
        Arc::new(values.expect("each has the width"))
    }

    fn bytes(&self) -> usize {
        self.bytes.len()
    }
}

struct Lists {
    item: FieldRef,
    items: Box<dyn Builder>,
    ends: Ends,
    nulls: NullBufferBuilder,
}

impl Lists {
    fn new(item: &FieldRef) -> Option<Lists> {
        Some(Lists { item: item.clone(), items: builder(item)?, ends: Ends::default(), nulls: no_nulls() })
    }
}

impl Builder for Lists {
    fn read(&mut self, text: &mut Cursor<'_>) -> Checked {
        if text.kind()? != Kind::List {
            return Err(text.unfit("a list"));
        }
        let (items, is_nullable, mut len) = (&mut self.items, self.item.is_nullable(), 0);
        text.list(|text| {
            text.within(|| Step::Index(len), |text| read_or_null(items.as_mut(), is_nullable, text))?;
            len += 1;
            Ok(())
        })?;
        self.ends.push(self.ends.last() + len);
        self.nulls.append_non_null();
        Ok(())
    }

    fn push_null(&mut self) {
        self.ends.push(self.ends.last());
        self.nulls.append_null();
    }

    fn truncate(&mut self, len: usize) {
        self.items.truncate(self.ends.truncate(len));
        self.nulls.truncate(len);
    }

    fn finish(&mut self) -> ArrayRef {
        let (ends, items) = (self.ends.finish(), self.items.finish());
        Arc::new(ListArray::new(self.item.clone(), ends, items, self.nulls.finish()))
    }

    fn bytes(&self) -> usize {
        self.items.bytes() + self.ends.size()
    }
}

struct Structs {
    members: Members,
    fields: Fields,
    nulls: NullBufferBuilder,
}

impl Structs {
    fn new(fields: &Fields) -> Option<Structs> {
        Some(Structs { members: Members::new(fields)?, fields: fields.clone(), nulls: no_nulls() })
    }
}

impl Builder for Structs {
    fn read(&mut self, text: &mut Cursor<'_>) -> Checked {
        if text.kind()? != Kind::Object {
            return Err(text.unfit("an object"));
        }
        self.members.read(text)?;
        self.nulls.append_non_null();
        Ok(())
    }

    fn push_null(&mut self) {
        self.members.push_null();
        self.nulls.append_null();
    }

    fn truncate(&mut self, len: usize) {
        self.members.truncate(len);
        self.nulls.truncate(len);
    }

    fn finish(&mut self) -> ArrayRef {
        let (len, columns) = (self.nulls.len(), self.members.finish());
        let values = StructArray::try_new_with_length(self.fields.clone(), columns, self.nulls.finish(), len);
        Arc::new(values.expect("the columns have the types of the fields and one length"))
    }

    fn bytes(&self) -> usize {
        self.members.bytes()
    }
}

/// Objects whose keys are data.
struct Maps {
    entries: FieldRef,
    fields: Fields,
    keys: Texts,
    values: Box<dyn Builder>,
    ends: Ends,
    nulls: NullBufferBuilder,
}

impl Maps {
    fn new(entries: &FieldRef) -> Option<Maps> {
        let DataType::Struct(fields) = entries.data_type() else { return None };
        let (key, value) =
            fields.split_first().filter(|(_, rest)| rest.len() == 1).map(|(key, rest)| (key, &rest[0]))?;
        let is_text = key.data_type() == &DataType::Utf8 && !types::is_json(key);
        let values = is_text.then(|| builder(value))??;
        let (entries, fields) = (entries.clone(), fields.clone());
        Some(Maps { entries, fields, keys: Texts::default(), values, ends: Ends::default(), nulls: no_nulls() })
    }
}

impl Builder for Maps {
    fn read(&mut self, text: &mut Cursor<'_>) -> Checked {
        if text.kind()? != Kind::Object {
            return Err(text.unfit("an object"));
        }
        let (keys, values, is_nullable) = (&mut self.keys, &mut self.values, self.fields[1].is_nullable());
        let (mut len, mut seen) = (0, Keys::default());
        text.object(|text| {
            let key = text.key()?;
            seen.add(key.clone()).map_err(|refusal| refusal.within_key(&key))?;
            keys.push(&key);
            let step = || Step::Key(key.clone().into_owned());
            text.within(step, |text| read_or_null(values.as_mut(), is_nullable, text))?;
            len += 1;
            Ok(())
        })?;
        self.ends.push(self.ends.last() + len);
        self.nulls.append_non_null();
        Ok(())
    }

    fn push_null(&mut self) {
        self.ends.push(self.ends.last());
        self.nulls.append_null();
    }

    fn truncate(&mut self, len: usize) {
        let entries = self.ends.truncate(len);
        self.keys.truncate(entries);
        self.values.truncate(entries);
        self.nulls.truncate(len);
    }

    fn finish(&mut self) -> ArrayRef {
        let columns = vec![self.keys.finish(), self.values.finish()];
        let entries = StructArray::new(self.fields.clone(), columns, None);
        let (ends, nulls) = (self.ends.finish(), self.nulls.finish());
        Arc::new(MapArray::new(self.entries.clone(), ends, entries, nulls, false))
    }

    fn bytes(&self) -> usize {
        self.keys.size() + self.values.bytes() + self.ends.size()
    }
}

/// Checks what no column takes: its type is not looked at.
pub(super) struct Passed;

impl Builder for Passed {
    fn read(&mut self, text: &mut Cursor<'_>) -> Checked {
        text.pass()
    }

    fn push_null(&mut self) {}

    fn truncate(&mut self, _len: usize) {}

    fn finish(&mut self) -> ArrayRef {
        Arc::new(arrow::array::NullArray::new(0))
    }

    fn bytes(&self) -> usize {
        0
    }
}

/// Reads a value or null.
#[inline]
pub(super) fn read_or_null(builder: &mut dyn Builder, is_nullable: bool, text: &mut Cursor<'_>) -> Checked {
    if !text.null()? {
        return builder.read(text);
    }
    if !is_nullable {
        return Err(Refusal::new(Reason::Null));
    }
    builder.push_null();
    Ok(())
}

/// Where values end. They fit: a batch is made of fewer bytes of lines than an offset counts.
struct Ends(Vec<i32>);

impl Default for Ends {
    fn default() -> Ends {
        Ends(vec![0])
    }
}

impl Ends {
    fn last(&self) -> usize {
        self.0.last().map_or(0, |&end| end as usize)
    }

    #[inline]
    fn push(&mut self, end: usize) {
        self.0.push(i32::try_from(end).expect("a batch takes no more bytes of lines than offsets count"));
    }

    /// Keeps so many values; where the last one ends.
    fn truncate(&mut self, len: usize) -> usize {
        self.0.truncate(len + 1);
        self.last()
    }

    fn finish(&mut self) -> OffsetBuffer<i32> {
        OffsetBuffer::new(ScalarBuffer::from(mem::replace(&mut self.0, vec![0])))
    }

    fn size(&self) -> usize {
        mem::size_of_val(self.0.as_slice())
    }
}

fn no_nulls() -> NullBufferBuilder {
    NullBufferBuilder::new(0)
}
