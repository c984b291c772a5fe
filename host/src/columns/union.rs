//! The one rule for files of one source whose columns differ: a column has the least type that holds every value of
//! each of them. It does not matter which file comes first, nor how files are grouped: the rule is symmetric and
//! associative, and what two types do not have, more do not have either. What it gives is what [`super::converts`]
//! accepts and [`super::convert`] makes.
//!
//! | one file has | another has | the column is |
//! |---|---|---|
//! | null | any type | that type |
//! | an integer | a wider one | the wider one |
//! | a signed integer | an unsigned one | the least signed type that holds both; none for uint64 |
//! | float16, float32 | a wider one | the wider one |
//! | a decimal | another one | as many digits before the point and after it as either has; none beyond 76 |
//! | date32 | date64 | date64 |
//! | a timestamp, time, duration | one of a finer unit | the finer one; a value that it does not reach is refused by row |
//! | a timestamp in a zone | one in another zone | in UTC; one without a zone is another thing |
//! | string, large string, string view | another of them | the largest; so for binary |
//! | binary of a fixed size | binary, or of another size | binary |
//! | a dictionary of some type | that type, or another dictionary of it | that type |
//! | a list | a large list, a list of a fixed size | the larger one, of the items' type by this rule |
//! | a struct | one with other fields | all fields, each by this rule; one that a file lacks is null there |
//! | a map | a map | keys and values by this rule |
//! | not null | nullable | nullable |
//!
//! Metadata of a field is what all agree on.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::DataType::{self, *};
use arrow::datatypes::{Field, FieldRef, Fields, Metadata, TimeUnit};

use super::finer;

/// The field that holds every value of both; its name is that of `a`.
pub fn union(a: &Field, b: &Field) -> Option<Field> {
    let data_type = union_type(a.data_type(), b.data_type())?;
    let field = Field::new(a.name(), data_type, a.is_nullable() || b.is_nullable());
    Some(field.with_metadata(common(a.metadata(), b.metadata())))
}

/// What both say alike.
fn common(a: &Metadata, b: &Metadata) -> Metadata {
    let mut common = a.clone();
    common.retain(|key, value| b.get(key) == Some(&*value));
    common
}

/// Types along which each loses nothing in those behind it.
const CHAINS: [&[DataType]; 4] =
    [&[Utf8View, Utf8, LargeUtf8], &[BinaryView, Binary, LargeBinary], &[Float16, Float32, Float64], &[Date32, Date64]];
const SIGNED: [DataType; 4] = [Int8, Int16, Int32, Int64];
const UNSIGNED: [DataType; 4] = [UInt8, UInt16, UInt32, UInt64];

/// The least type that holds every value of both.
pub fn union_type(a: &DataType, b: &DataType) -> Option<DataType> {
    match (a, b) {
        (a, b) if a == b => Some(a.clone()),
        (Null, other) | (other, Null) => Some(other.clone()),
        (Dictionary(_, value), other) | (other, Dictionary(_, value)) => union_type(value, other),
        (FixedSizeBinary(_), other) | (other, FixedSizeBinary(_)) => binary(other),
        (Timestamp(a, a_zone), Timestamp(b, b_zone)) => Some(Timestamp(finest(*a, *b), zone(a_zone, b_zone)?)),
        (Time32(a) | Time64(a), Time32(b) | Time64(b)) => Some(time(finest(*a, *b))),
        (Duration(a), Duration(b)) => Some(Duration(finest(*a, *b))),
        (List(_) | LargeList(_) | FixedSizeList(..), List(_) | LargeList(_) | FixedSizeList(..)) => list(a, b),
        (Map(a, a_sorted), Map(b, b_sorted)) => Some(Map(entries(a, b)?, *a_sorted && *b_sorted)),
        (Struct(a), Struct(b)) => Some(Struct(fields(a, b)?)),
        (a, b) => number(a, b).or_else(|| CHAINS.iter().find_map(|chain| farther(chain, a, b))),
    }
}

fn farther(chain: &[DataType], a: &DataType, b: &DataType) -> Option<DataType> {
    let place = |data_type: &DataType| chain.iter().position(|link| link == data_type);
    Some(chain[place(a)?.max(place(b)?)].clone())
}

fn number(a: &DataType, b: &DataType) -> Option<DataType> {
    farther(&SIGNED, a, b).or_else(|| farther(&UNSIGNED, a, b)).or_else(|| mixed(a, b)).or_else(|| decimal(a, b))
}

/// A signed and an unsigned type: a signed one of twice the width holds the unsigned one.
fn mixed(a: &DataType, b: &DataType) -> Option<DataType> {
    let signed = |data_type: &DataType| SIGNED.iter().position(|signed| signed == data_type);
    let unsigned = |data_type: &DataType| UNSIGNED.iter().position(|unsigned| unsigned == data_type);
    let (signed, unsigned) = signed(a).zip(unsigned(b)).or_else(|| signed(b).zip(unsigned(a)))?;
    SIGNED.get(signed.max(unsigned + 1)).cloned()
}

/// Digits in all that a decimal of each width has at most.
const DECIMALS: [i16; 4] = [9, 18, 38, 76];

/// Place of the width in [`DECIMALS`], precision, scale.
pub(super) fn decimal_parts(data_type: &DataType) -> Option<(usize, u8, i8)> {
    match data_type {
        Decimal32(precision, scale) => Some((0, *precision, *scale)),
        Decimal64(precision, scale) => Some((1, *precision, *scale)),
        Decimal128(precision, scale) => Some((2, *precision, *scale)),
        Decimal256(precision, scale) => Some((3, *precision, *scale)),
        _ => None,
    }
}

fn decimal(a: &DataType, b: &DataType) -> Option<DataType> {
    let ((a_width, a_precision, a_scale), (b_width, b_precision, b_scale)) = (decimal_parts(a)?, decimal_parts(b)?);
    let before_point = |precision: u8, scale: i8| i16::from(precision) - i16::from(scale);
    let scale = a_scale.max(b_scale);
    let digits = before_point(a_precision, a_scale).max(before_point(b_precision, b_scale)) + i16::from(scale);
    let width = DECIMALS.iter().position(|most| digits <= *most)?;
    let precision = u8::try_from(digits).ok()?;
    Some(match width.max(a_width).max(b_width) {
        0 => Decimal32(precision, scale),
        1 => Decimal64(precision, scale),
        2 => Decimal128(precision, scale),
        _ => Decimal256(precision, scale),
    })
}

/// Bytes of one fixed size and those of another type.
fn binary(other: &DataType) -> Option<DataType> {
    match other {
        FixedSizeBinary(_) | BinaryView | Binary => Some(Binary),
        LargeBinary => Some(LargeBinary),
        _ => None,
    }
}

fn finest(a: TimeUnit, b: TimeUnit) -> TimeUnit {
    if finer(a, b) { b } else { a }
}

fn time(unit: TimeUnit) -> DataType {
    match unit {
        TimeUnit::Second | TimeUnit::Millisecond => Time32(unit),
        TimeUnit::Microsecond | TimeUnit::Nanosecond => Time64(unit),
    }
}

/// The zone in which instants of both are shown.
fn zone(a: &Option<Arc<str>>, b: &Option<Arc<str>>) -> Option<Option<Arc<str>>> {
    match (a, b) {
        (None, None) => Some(None),
        (Some(a), Some(b)) => Some(Some(if a == b { Arc::clone(a) } else { "UTC".into() })),
        _ => None,
    }
}

fn list(a: &DataType, b: &DataType) -> Option<DataType> {
    let (a_item, b_item) = (item(a)?, item(b)?);
    let item = renamed(union(a_item, b_item)?, b_item.name(), Field::LIST_FIELD_DEFAULT_NAME);
    Some(match (a, b) {
        (LargeList(_), _) | (_, LargeList(_)) => LargeList(item),
        (FixedSizeList(_, a), FixedSizeList(_, b)) if a == b => FixedSizeList(item, *a),
        _ => List(item),
    })
}

/// What a list is of.
pub(super) fn item(list: &DataType) -> Option<&FieldRef> {
    match list {
        List(item) | LargeList(item) | FixedSizeList(item, _) => Some(item),
        _ => None,
    }
}

/// Names within lists and maps mean nothing: where they differ, the usual one is taken.
fn renamed(field: Field, other_name: &str, usual: &str) -> FieldRef {
    let is_same = field.name() == other_name;
    Arc::new(if is_same { field } else { field.with_name(usual) })
}

fn entries(a: &Field, b: &Field) -> Option<FieldRef> {
    let (a_pair, b_pair) = (pair(a)?, pair(b)?);
    let part =
        |index: usize, usual: &str| Some(renamed(union(&a_pair[index], &b_pair[index])?, b_pair[index].name(), usual));
    let both = Struct(vec![part(0, "key")?, part(1, "value")?].into());
    let entries = Field::new(a.name(), both, a.is_nullable() || b.is_nullable());
    Some(renamed(entries.with_metadata(common(a.metadata(), b.metadata())), b.name(), "key_value"))
}

/// Key and value of a map's entries.
pub(super) fn pair(entries: &Field) -> Option<&Fields> {
    match entries.data_type() {
        Struct(pair) if pair.len() == 2 => Some(pair),
        _ => None,
    }
}

/// All fields of both, those of `a` first.
fn fields(a: &Fields, b: &Fields) -> Option<Fields> {
    let (in_a, in_b) = (by_name(a)?, by_name(b)?);
    let lacking = |field: &Field| field.clone().with_nullable(true);
    let known = a.iter().map(|field| match in_b.get(field.name().as_str()) {
        Some(other) => union(field, other),
        None => Some(lacking(field)),
    });
    let new = b.iter().filter(|field| !in_a.contains_key(field.name().as_str()));
    known.chain(new.map(|field| Some(lacking(field)))).collect()
}

/// None if two have one name: then nobody knows which is meant.
fn by_name(fields: &Fields) -> Option<HashMap<&str, &FieldRef>> {
    let named: HashMap<&str, &FieldRef> = fields.iter().map(|field| (field.name().as_str(), field)).collect();
    (named.len() == fields.len()).then_some(named)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, new_null_array};

    use super::super::{convert, converts};
    use super::*;

    fn field(name: &str, data_type: DataType, nullable: bool) -> FieldRef {
        Arc::new(Field::new(name, data_type, nullable))
    }

    fn list_of(data_type: DataType) -> DataType {
        List(field("element", data_type, false))
    }

    fn pairs_of(data_type: DataType) -> DataType {
        FixedSizeList(field("item", data_type, true), 2)
    }

    fn record(fields: &[(&str, DataType, bool)]) -> DataType {
        Struct(fields.iter().map(|(name, data_type, nullable)| field(name, data_type.clone(), *nullable)).collect())
    }

    fn map(names: [&str; 2], key: DataType, value: DataType, is_sorted: bool) -> DataType {
        let pair = Struct(vec![field(names[0], key, false), field(names[1], value, true)].into());
        Map(field("entries", pair, false), is_sorted)
    }

    fn dictionary(key: DataType, value: DataType) -> DataType {
        Dictionary(Box::new(key), Box::new(value))
    }

    fn instant(unit: TimeUnit, zone: &str) -> DataType {
        Timestamp(unit, Some(zone.into()))
    }

    #[test]
    fn what_differs_and_what_the_job_reads() {
        use TimeUnit::*;
        let rows = [
            (Null, Utf8, Some(Utf8)),
            (Null, record(&[("a", Int8, false)]), Some(record(&[("a", Int8, false)]))),
            (Int32, Int64, Some(Int64)),
            (UInt8, Int8, Some(Int16)),
            (UInt32, Int8, Some(Int64)),
            (UInt64, Int8, None),
            (UInt64, UInt16, Some(UInt64)),
            (Float16, Float64, Some(Float64)),
            (Int32, Float64, None),
            (Decimal128(10, 2), Decimal128(9, 4), Some(Decimal128(12, 4))),
            (Decimal32(5, 2), Decimal64(15, 2), Some(Decimal64(15, 2))),
            (Decimal128(38, 0), Decimal32(5, 5), Some(Decimal256(43, 5))),
            (Decimal256(76, 0), Decimal32(5, 5), None),
            (Date32, Date64, Some(Date64)),
            (Timestamp(Second, None), Timestamp(Nanosecond, None), Some(Timestamp(Nanosecond, None))),
            (instant(Second, "UTC"), instant(Millisecond, "Europe/Berlin"), Some(instant(Millisecond, "UTC"))),
            (instant(Second, "UTC"), Timestamp(Second, None), None),
            (Time32(Second), Time64(Microsecond), Some(Time64(Microsecond))),
            (DataType::Duration(Millisecond), DataType::Duration(Second), Some(DataType::Duration(Millisecond))),
            (Utf8, LargeUtf8, Some(LargeUtf8)),
            (Utf8View, Utf8, Some(Utf8)),
            (Utf8, Int64, None),
            (Utf8, Binary, None),
            (FixedSizeBinary(2), Binary, Some(Binary)),
            (FixedSizeBinary(2), FixedSizeBinary(3), Some(Binary)),
            (dictionary(Int32, Utf8), Utf8, Some(Utf8)),
            (dictionary(Int32, Utf8), dictionary(Int8, Utf8), Some(Utf8)),
            (dictionary(Int32, Utf8), dictionary(Int32, Utf8), Some(dictionary(Int32, Utf8))),
            (list_of(dictionary(Int32, Utf8)), list_of(Null), Some(list_of(dictionary(Int32, Utf8)))),
            (list_of(Int32), LargeList(field("element", Int64, true)), Some(LargeList(field("element", Int64, true)))),
            (list_of(Int8), List(field("item", Int8, false)), Some(List(field("item", Int8, false)))),
            (pairs_of(Int8), pairs_of(Int16), Some(pairs_of(Int16))),
            (pairs_of(Int8), list_of(Int8), Some(List(field("item", Int8, true)))),
            (list_of(Int32), list_of(Utf8), None),
            (list_of(Int32), Int32, None),
            (
                record(&[("a", Int32, false), ("b", Utf8, false)]),
                record(&[("c", Boolean, false), ("a", Int64, false)]),
                Some(record(&[("a", Int64, false), ("b", Utf8, true), ("c", Boolean, true)])),
            ),
            (record(&[("a", Int32, true)]), record(&[("a", Utf8, true)]), None),
            (record(&[("a", Int32, true), ("a", Int32, true)]), record(&[("b", Utf8, true)]), None),
            (
                map(["key", "value"], Utf8, Int32, true),
                map(["k", "v"], Utf8, Int64, false),
                Some(map(["key", "value"], Utf8, Int64, false)),
            ),
        ];
        for (a, b, expected) in rows {
            assert_eq!(union_type(&a, &b), expected, "{a} and {b}");
        }
    }

    #[test]
    fn metadata_is_what_both_say() {
        let told = |pairs: &[(&str, &str)]| {
            let metadata = pairs.iter().fold(Metadata::new(), |metadata, (key, value)| metadata.with(*key, *value));
            Field::new("a", Int32, false).with_metadata(metadata)
        };
        let both = union(&told(&[("a", "1"), ("b", "2")]), &told(&[("a", "1"), ("b", "3"), ("c", "4")]));
        assert_eq!(both, Some(told(&[("a", "1")])));
    }

    /// A few thousand types that files may have, by a small generator of its own.
    struct Random(u64);

    impl Random {
        fn below(&mut self, end: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as usize % end
        }

        fn pick<T: Clone>(&mut self, of: &[T]) -> T {
            of[self.below(of.len())].clone()
        }

        /// Types that often have a union: of one family.
        fn leaf(&mut self, family: usize) -> DataType {
            let unit =
                self.pick(&[TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond]);
            let zone = self.pick(&[None, Some("UTC"), Some("Europe/Berlin"), Some("+02:00")]);
            let text = self.pick(&[Utf8, LargeUtf8, Utf8View]);
            let scale = self.below(7) as i8 - 2;
            match family {
                0 => self.pick(&[Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64, Null]),
                1 => self.pick(&[text.clone(), dictionary(Int8, text.clone()), dictionary(Int32, text), Null]),
                2 => self.pick(&[Binary, LargeBinary, BinaryView, FixedSizeBinary(2), FixedSizeBinary(4)]),
                3 => Timestamp(unit, zone.map(Into::into)),
                4 => self.pick(&[time(unit), Null]),
                5 => self.pick(&[Float16, Float32, Float64, Null]),
                6 => self.pick(&[
                    Decimal32(5, scale),
                    Decimal64(15, scale),
                    Decimal128(38, scale),
                    Decimal256(70, scale),
                ]),
                _ => self.pick(&[Date32, Date64, DataType::Duration(unit), Boolean]),
            }
        }

        fn data_type(&mut self, family: usize, depth: usize) -> DataType {
            if depth == 0 || self.below(8) == 0 {
                return self.leaf(family);
            }
            let name = self.pick(&["item", "element"]);
            match family % 4 {
                0 => self.list(family, depth, name),
                1 => Struct(self.fields(family, depth)),
                2 => {
                    let (names, value) =
                        (self.pick(&[["key", "value"], ["k", "v"]]), self.data_type(family / 2, depth - 1));
                    map(names, self.pick(&[Utf8, LargeUtf8]), value, self.below(2) == 0)
                }
                _ => List(field(name, Struct(self.fields(family, depth)), self.below(2) == 0)),
            }
        }

        fn list(&mut self, family: usize, depth: usize, name: &str) -> DataType {
            let item = field(name, self.data_type(family / 2, depth - 1), self.below(2) == 0);
            self.pick(&[List(Arc::clone(&item)), LargeList(Arc::clone(&item)), FixedSizeList(item, 2)])
        }

        fn fields(&mut self, family: usize, depth: usize) -> Fields {
            let names = ["a", "b", "c", "d"].into_iter().enumerate();
            let mut fields: Vec<FieldRef> = names
                .filter_map(|(place, name)| {
                    let data_type = self.data_type(family / 2 + place % 2, depth - 1);
                    (self.below(3) > 0).then(|| field(name, data_type, self.below(2) == 0))
                })
                .collect();
            if self.below(2) == 0 {
                fields.reverse();
            }
            fields.into()
        }
    }

    /// The same with the fields of structs in one order: theirs is that of the files.
    fn ordered(data_type: &DataType) -> DataType {
        let inner = |field: &FieldRef| Arc::new(field.as_ref().clone().with_data_type(ordered(field.data_type())));
        match data_type {
            Struct(fields) => {
                let mut fields: Vec<FieldRef> = fields.iter().map(inner).collect();
                fields.sort_by(|a, b| a.name().cmp(b.name()));
                Struct(fields.into())
            }
            List(item) => List(inner(item)),
            LargeList(item) => LargeList(inner(item)),
            FixedSizeList(item, size) => FixedSizeList(inner(item), *size),
            Map(entries, is_sorted) => {
                let pair = pair(entries).unwrap().iter().map(inner).collect();
                Map(Arc::new(entries.as_ref().clone().with_data_type(Struct(pair))), *is_sorted)
            }
            other => other.clone(),
        }
    }

    #[test]
    fn it_does_not_matter_which_file_comes_first() {
        let mut random = Random(7);
        let mut joined = 0;
        for _ in 0..20_000 {
            let family = random.below(8);
            let [a, b, c] = [0; 3].map(|_| random.data_type(family, 3));
            let one = |a: Option<DataType>, b: &DataType| a.and_then(|a| union_type(&a, b));
            let (ab, ba) = (union_type(&a, &b), union_type(&b, &a));
            assert_eq!(ab.as_ref().map(ordered), ba.as_ref().map(ordered), "{a} and {b}");
            let (left, right) = (one(ab.clone(), &c), union_type(&b, &c).and_then(|bc| union_type(&a, &bc)));
            assert_eq!(left, right, "{a}, {b} and {c}");
            assert_eq!(one(ba, &c).as_ref().map(ordered), left.as_ref().map(ordered), "{b}, {a} and {c}");
            for part in [&a, &b, &c] {
                if let Some(all) = &left {
                    joined += 1;
                    assert!(converts(part, all), "{part} -> {all}");
                    let column = convert(&new_null_array(part, 2), all).unwrap();
                    assert_eq!((column.data_type(), column.len()), (all, 2), "{part} -> {all}");
                }
            }
            assert_eq!(union_type(&a, &a).as_ref(), Some(&a));
        }
        assert!(joined > 10_000, "{joined} of 60,000: the rule is hardly tried");
    }
}
