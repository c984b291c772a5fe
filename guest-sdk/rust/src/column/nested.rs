//! Lists, maps, structs.

use std::fmt;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, ListArray, MapArray, PrimitiveArray, StructArray};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field, Fields};

use super::plain::{Number, offset};
use super::{Element, FromColumn, IntoColumn, Param, Value, downcast};

/// Values that lie within others: elements of lists, fields of structs. The host keeps nulls away from columns only, so a
/// null in here is a row error where the type has no room for it.
pub struct Inner<'a, P: Param<'a>> {
    nulls: Option<&'a NullBuffer>,
    column: P::Column,
}

impl<'a, P: Param<'a>> Inner<'a, P> {
    fn of(array: &'a ArrayRef) -> Self {
        let nulls = array.nulls().filter(|nulls| !P::NULLABLE && nulls.null_count() > 0);
        Self { nulls, column: P::column(array.as_ref(), array.len()) }
    }

    /// A field of a struct.
    pub fn field(array: &'a StructArray, index: usize) -> Self {
        Self::of(array.column(index))
    }

    #[inline]
    pub fn at(&self, index: usize) -> Result<P, String> {
        match self.nulls {
            Some(nulls) if nulls.is_null(index) => Err("a null in it, where the function allows none".to_owned()),
            _ => P::at(&self.column, index),
        }
    }

    fn may_fail(&self) -> bool {
        P::FALLIBLE || self.nulls.is_some()
    }
}

impl<'a, P: Param<'a>> Clone for Inner<'a, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<'a, P: Param<'a>> Copy for Inner<'a, P> {}

/// What to ask for within a value: nullable as the input is, so that nothing has to be converted.
pub(crate) fn inner_field<'a, P: Param<'a>>(name: &str, input: Option<&Field>) -> Field {
    let name = input.map_or(name, |input| input.name());
    let is_nullable = input.map_or(P::NULLABLE, Field::is_nullable);
    Field::new(name, P::data_type(input.map(Field::data_type)), is_nullable)
}

fn element_of(input: Option<&DataType>) -> Option<&Field> {
    use DataType::{FixedSizeList, LargeList, LargeListView, List, ListView};
    match input? {
        List(field) | LargeList(field) | ListView(field) | LargeListView(field) | FixedSizeList(field, _) => {
            Some(field.as_ref())
        }
        _ => None,
    }
}

fn list_type<'a, T: Param<'a>>(input: Option<&DataType>) -> DataType {
    DataType::List(Arc::new(inner_field::<T>(Field::LIST_FIELD_DEFAULT_NAME, element_of(input))))
}

/// A column of lists.
pub struct Lists<'a, T: Param<'a>> {
    offsets: &'a [i32],
    elements: Inner<'a, T>,
}

impl<'a, T: Param<'a>> Clone for Lists<'a, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<'a, T: Param<'a>> Copy for Lists<'a, T> {}

impl<'a, T: Param<'a>> Lists<'a, T> {
    fn of(array: &'a dyn Array) -> Self {
        let array: &ListArray = downcast(array);
        Self { offsets: array.value_offsets(), elements: Inner::of(array.values()) }
    }

    #[inline]
    fn range(&self, row: usize) -> (usize, usize) {
        (self.offsets[row] as usize, self.offsets[row + 1] as usize)
    }
}

impl<'a, T: Param<'a> + Element> FromColumn<'a> for Vec<T> {
    type Column = Lists<'a, T>;
    const FALLIBLE: bool = true;

    fn data_type(input: Option<&DataType>) -> DataType {
        list_type::<T>(input)
    }

    fn column(array: &'a dyn Array, _rows: usize) -> Self::Column {
        Lists::of(array)
    }

    fn at(column: &Self::Column, row: usize) -> Result<Self, String> {
        let (start, end) = column.range(row);
        let mut values = Vec::with_capacity(end - start);
        for index in start..end {
            values.push(column.elements.at(index)?);
        }
        Ok(values)
    }
}

/// What is written as a list, element by element.
macro_rules! written_as_lists {
    ($([$($generics:tt)*] $list:ty, |$element:ident| $check:expr;)+) => {$(
        impl<$($generics)*> IntoColumn for $list {
            type Builder = ListBuilder<T::Builder>;
            const CHECKED: bool = T::CHECKED;

            fn data_type() -> DataType {
                DataType::List(list_field::<T>())
            }

            fn builder(rows: usize) -> Self::Builder {
                ListBuilder::new(rows, T::builder(rows))
            }

            fn append_to(self, builder: &mut Self::Builder) {
                builder.append(self, T::append_to);
            }

            fn append_nothing(builder: &mut Self::Builder) {
                builder.close();
            }

            fn finish(builder: Self::Builder, nulls: Option<NullBuffer>) -> ArrayRef {
                builder.finish::<T>(nulls)
            }

            fn check(&self) -> Result<(), String> {
                self.iter().try_for_each(|$element| $check)
            }
        }
    )+};
}

written_as_lists! {
    [T: Value + Element] Vec<T>, |element| Value::check(element);
    ['a, T: Param<'a> + Value] List<'a, T>, |element| Value::check(&element);
}

impl<T> Element for Vec<T> {}

impl<T> Element for &[T] {}

impl<T> Element for Struct<T> {}

fn list_field<T: Value>() -> Arc<Field> {
    Arc::new(T::field(Field::LIST_FIELD_DEFAULT_NAME))
}

/// Lists, one after the other.
#[derive(Debug)]
pub struct ListBuilder<B> {
    offsets: Vec<i32>,
    count: usize,
    values: B,
}

impl<B> ListBuilder<B> {
    fn new(rows: usize, values: B) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self { offsets, count: 0, values }
    }

    fn append<T>(&mut self, elements: impl IntoIterator<Item = T>, append: impl Fn(T, &mut B)) {
        for element in elements {
            append(element, &mut self.values);
            self.count += 1;
        }
        self.close();
    }

    fn close(&mut self) {
        self.offsets.push(offset(self.count));
    }

    fn finish<T: Value<Builder = B>>(self, nulls: Option<NullBuffer>) -> ArrayRef {
        let offsets = OffsetBuffer::new(self.offsets.into());
        Arc::new(ListArray::new(list_field::<T>(), offsets, T::finish(self.values), nulls))
    }
}

/// A list that lies in its column: nothing is allocated to read it.
pub struct List<'a, T: Param<'a>> {
    elements: Inner<'a, T>,
    start: usize,
    end: usize,
}

impl<'a, T: Param<'a>> List<'a, T> {
    /// How many elements it has.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One element; none beyond the end.
    pub fn get(&self, index: usize) -> Option<T> {
        (index < self.len()).then(|| self.element(self.start + index))
    }

    /// All elements, in order.
    pub fn iter(&self) -> ListIter<'a, T> {
        ListIter { list: *self }
    }

    fn element(&self, index: usize) -> T {
        self.elements.at(index).expect("every element was looked at when the list was read")
    }
}

impl<'a, T: Param<'a>> Clone for List<'a, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<'a, T: Param<'a>> Copy for List<'a, T> {}

impl<'a, T: Param<'a> + fmt::Debug> fmt::Debug for List<'a, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a, T: Param<'a>> IntoIterator for List<'a, T> {
    type Item = T;
    type IntoIter = ListIter<'a, T>;

    fn into_iter(self) -> ListIter<'a, T> {
        self.iter()
    }
}

/// The elements of a [`List`].
pub struct ListIter<'a, T: Param<'a>> {
    list: List<'a, T>,
}

impl<'a, T: Param<'a>> fmt::Debug for ListIter<'a, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ListIter of {} elements", self.list.len())
    }
}

impl<'a, T: Param<'a>> Iterator for ListIter<'a, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let first = self.list.get(0)?;
        self.list.start += 1;
        Some(first)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.list.len(), Some(self.list.len()))
    }
}

impl<'a, T: Param<'a>> ExactSizeIterator for ListIter<'a, T> {}

impl<'a, T: Param<'a>> FromColumn<'a> for List<'a, T> {
    type Column = Lists<'a, T>;
    const FALLIBLE: bool = true;

    fn data_type(input: Option<&DataType>) -> DataType {
        list_type::<T>(input)
    }

    fn column(array: &'a dyn Array, _rows: usize) -> Self::Column {
        Lists::of(array)
    }

    #[inline]
    fn at(column: &Self::Column, row: usize) -> Result<Self, String> {
        let (start, end) = column.range(row);
        if column.elements.may_fail() {
            (start..end).try_for_each(|index| column.elements.at(index).map(drop))?;
        }
        Ok(Self { elements: column.elements, start, end })
    }
}

impl<'a, T: Param<'a>> Element for List<'a, T> {}

/// A column of lists of numbers that have no nulls.
#[derive(Clone, Copy, Debug)]
pub struct Slices<'a, T> {
    offsets: &'a [i32],
    values: &'a [T],
    nulls: Option<&'a NullBuffer>,
}

impl<'a, T: Number + Element + Param<'a>> FromColumn<'a> for &'a [T] {
    type Column = Slices<'a, T>;
    const FALLIBLE: bool = true;

    fn data_type(input: Option<&DataType>) -> DataType {
        list_type::<T>(input)
    }

    fn column(array: &'a dyn Array, _rows: usize) -> Self::Column {
        let array: &ListArray = downcast(array);
        let values: &PrimitiveArray<T::Arrow> = downcast(array.values().as_ref());
        let nulls = values.nulls().filter(|nulls| nulls.null_count() > 0);
        Slices { offsets: array.value_offsets(), values: values.values(), nulls }
    }

    #[inline]
    fn at(column: &Self::Column, row: usize) -> Result<Self, String> {
        let (start, end) = (column.offsets[row] as usize, column.offsets[row + 1] as usize);
        if column.nulls.is_some_and(|nulls| nulls.slice(start, end - start).null_count() > 0) {
            return Err("a null in it, where the function allows none".to_owned());
        }
        Ok(&column.values[start..end])
    }
}

impl<T: Number + Element + Value> IntoColumn for &[T] {
    type Builder = ListBuilder<T::Builder>;

    fn data_type() -> DataType {
        DataType::List(list_field::<T>())
    }

    fn builder(rows: usize) -> Self::Builder {
        ListBuilder::new(rows, T::builder(rows))
    }

    fn append_to(self, builder: &mut Self::Builder) {
        builder.append(self.iter().copied(), T::append_to);
    }

    fn append_nothing(builder: &mut Self::Builder) {
        builder.close();
    }

    fn finish(builder: Self::Builder, nulls: Option<NullBuffer>) -> ArrayRef {
        builder.finish::<T>(nulls)
    }
}

/// A column of maps.
pub struct Maps<'a, K: Param<'a>, V: Param<'a>> {
    offsets: &'a [i32],
    keys: Inner<'a, K>,
    values: Inner<'a, V>,
}

impl<'a, K: Param<'a>, V: Param<'a>> Clone for Maps<'a, K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<'a, K: Param<'a>, V: Param<'a>> Copy for Maps<'a, K, V> {}

impl<'a, K: Param<'a>, V: Param<'a>> FromColumn<'a> for Vec<(K, V)> {
    type Column = Maps<'a, K, V>;
    const FALLIBLE: bool = true;

    fn data_type(input: Option<&DataType>) -> DataType {
        let (name, key, value) = match input {
            Some(DataType::Map(entries, _)) => match entries.data_type() {
                DataType::Struct(fields) if fields.len() == 2 => {
                    (entries.name().as_str(), Some(fields[0].as_ref()), Some(fields[1].as_ref()))
                }
                _ => (ENTRIES, None, None),
            },
            _ => (ENTRIES, None, None),
        };
        // Keys are there, whatever a file says of them.
        let key = inner_field::<K>(KEY, key).with_nullable(false);
        map_type(name, [key, inner_field::<V>(VALUE, value)])
    }

    fn column(array: &'a dyn Array, _rows: usize) -> Self::Column {
        let array: &MapArray = downcast(array);
        Maps { offsets: array.value_offsets(), keys: Inner::of(array.keys()), values: Inner::of(array.values()) }
    }

    fn at(column: &Self::Column, row: usize) -> Result<Self, String> {
        let (start, end) = (column.offsets[row] as usize, column.offsets[row + 1] as usize);
        let mut pairs = Vec::with_capacity(end - start);
        for index in start..end {
            pairs.push((column.keys.at(index)?, column.values.at(index)?));
        }
        Ok(pairs)
    }
}

const ENTRIES: &str = "entries";
const KEY: &str = "key";
const VALUE: &str = "value";

fn map_type(entries: &str, pair: [Field; 2]) -> DataType {
    let pair = DataType::Struct(Fields::from(pair.to_vec()));
    DataType::Map(Arc::new(Field::new(entries, pair, false)), false)
}

fn pair_fields<K: Value, V: Value>() -> [Field; 2] {
    const { assert!(!K::NULLABLE, "the key of a map is never null: no Option in the K of Vec<(K, V)>") }
    [K::field(KEY), V::field(VALUE)]
}

impl<K: Value, V: Value> IntoColumn for Vec<(K, V)> {
    type Builder = ListBuilder<(K::Builder, V::Builder)>;
    const CHECKED: bool = K::CHECKED || V::CHECKED;

    fn data_type() -> DataType {
        map_type(ENTRIES, pair_fields::<K, V>())
    }

    fn builder(rows: usize) -> Self::Builder {
        ListBuilder::new(rows, (K::builder(rows), V::builder(rows)))
    }

    fn append_to(self, builder: &mut Self::Builder) {
        builder.append(self, |(key, value), (keys, values)| {
            key.append_to(keys);
            value.append_to(values);
        });
    }

    fn append_nothing(builder: &mut Self::Builder) {
        builder.close();
    }

    fn finish(builder: Self::Builder, nulls: Option<NullBuffer>) -> ArrayRef {
        let fields = Fields::from(pair_fields::<K, V>().to_vec());
        let (keys, values) = builder.values;
        let pairs = StructArray::new(fields.clone(), vec![K::finish(keys), V::finish(values)], None);
        let entries = Arc::new(Field::new(ENTRIES, DataType::Struct(fields), false));
        Arc::new(MapArray::new(entries, OffsetBuffer::new(builder.offsets.into()), pairs, nulls, false))
    }

    fn check(&self) -> Result<(), String> {
        self.iter().try_for_each(|(key, value)| key.check().and_then(|()| value.check()))
    }
}

/// A struct with `#[derive(Columns)]` as one column, where it would make several: `fn place(..) -> Struct<Place>`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Struct<T>(pub T);

impl<T: IntoColumn> IntoColumn for Struct<T> {
    type Builder = T::Builder;
    const CHECKED: bool = T::CHECKED;

    fn data_type() -> DataType {
        T::data_type()
    }

    fn builder(rows: usize) -> Self::Builder {
        T::builder(rows)
    }

    fn append_to(self, builder: &mut Self::Builder) {
        self.0.append_to(builder);
    }

    fn append_nothing(builder: &mut Self::Builder) {
        T::append_nothing(builder);
    }

    fn finish(builder: Self::Builder, nulls: Option<NullBuffer>) -> ArrayRef {
        T::finish(builder, nulls)
    }

    fn check(&self) -> Result<(), String> {
        self.0.check()
    }
}

pub(crate) fn struct_type(fields: Vec<Field>) -> DataType {
    DataType::Struct(fields.into())
}

pub(crate) fn struct_of(array: &dyn Array) -> &StructArray {
    downcast(array)
}

pub(crate) fn struct_array(fields: Vec<Field>, arrays: Vec<ArrayRef>, nulls: Option<NullBuffer>) -> ArrayRef {
    Arc::new(StructArray::new(fields.into(), arrays, nulls))
}
