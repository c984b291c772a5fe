//! The types of columns as people write them, `list<string>`, and as Arrow has them.
//!
//! ```text
//! type      = bool | int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64 | float32 | float64
//!           | decimal(PRECISION,SCALE) | string | binary | binary[BYTES] | date32 | time[UNIT]
//!           | timestamp[UNIT] | timestamp[UNIT, ZONE] | duration[UNIT]
//!           | list<type> | struct<NAME: type, ...> | map<string, type> | json
//! UNIT      = s | ms | us | ns
//! ZONE      = UTC, Europe/Berlin, +02:00: only a name beside the instant, which is always one of UTC
//! NAME      = letters, digits, `_` and `-`; anything else as a string of JSON
//! ```
//!
//! `json` is any value as its text stands: Utf8 with Arrow's extension type `arrow.json`. Every value may be null.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, TimeUnit};

use super::encode::write_string;

/// The key of a field's metadata that names its extension type.
const EXTENSION: &str = "ARROW:extension:name";
const EXTENSION_METADATA: &str = "ARROW:extension:metadata";
/// Arrow's name of the extension type of texts that are JSON.
const JSON: &str = "arrow.json";
/// Types within one another.
const DEPTH_MAX: usize = 32;
/// Digits of the widest decimals of 128 and 256 bits.
const DIGITS_128: u8 = 38;
const DIGITS_256: u8 = 76;

/// What is wrong with the text of a type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} (character {} of `{text}`)", at + 1)]
pub struct TypeError {
    /// The text, as it was written.
    pub text: String,
    /// Characters before the place.
    pub at: usize,
    pub what: String,
}

/// The words that a type begins with, for messages and suggestions.
pub const WORDS: [&str; 22] = [
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float32",
    "float64",
    "decimal",
    "string",
    "binary",
    "date32",
    "time",
    "timestamp",
    "duration",
    "list",
    "struct",
    "map",
    "json",
];

/// A column by its name and the text of its type.
pub fn field(name: &str, text: &str) -> Result<Field, TypeError> {
    let mut reading = Reading { text, at: 0, depth: 0 };
    let found = reading.whole();
    let error = |what| TypeError { text: text.to_owned(), at: text[..reading.at].chars().count(), what };
    Ok(found.map_err(error)?.field(name))
}

/// The text of a column's type, which [`field`] reads again; none if it has no such text.
pub fn text(field: &Field) -> Option<String> {
    use DataType::*;
    if is_json(field) {
        return Some("json".into());
    }
    Some(match field.data_type() {
        Boolean => "bool".into(),
        Utf8 => "string".into(),
        Binary => "binary".into(),
        FixedSizeBinary(bytes) => format!("binary[{bytes}]"),
        Decimal128(precision, scale) if *precision <= DIGITS_128 => format!("decimal({precision},{scale})"),
        Decimal256(precision, scale) if *precision > DIGITS_128 => format!("decimal({precision},{scale})"),
        Time32(unit @ (TimeUnit::Second | TimeUnit::Millisecond)) => format!("time[{}]", unit_text(*unit)),
        Time64(unit @ (TimeUnit::Microsecond | TimeUnit::Nanosecond)) => format!("time[{}]", unit_text(*unit)),
        Timestamp(unit, None) => format!("timestamp[{}]", unit_text(*unit)),
        Timestamp(unit, Some(zone)) => format!("timestamp[{}, {zone}]", unit_text(*unit)),
        Duration(unit) => format!("duration[{}]", unit_text(*unit)),
        List(item) => format!("list<{}>", self::text(item)?),
        Struct(fields) => struct_text(fields)?,
        Map(entries, false) => map_text(entries)?,
        Date32 | Float32 | Float64 => field.data_type().to_string().to_lowercase(),
        integer if integer.is_integer() => integer.to_string().to_lowercase(),
        _ => return None,
    })
}

/// A column of any values.
pub fn json_field(name: &str) -> Field {
    let metadata =
        HashMap::from([(EXTENSION.to_owned(), JSON.to_owned()), (EXTENSION_METADATA.to_owned(), String::new())]);
    Field::new(name, DataType::Utf8, true).with_metadata(metadata)
}

/// Whether a column's texts are JSON.
pub fn is_json(field: &Field) -> bool {
    let is_text = matches!(field.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    is_text && field.metadata().get(EXTENSION).is_some_and(|name| name.as_str() == JSON)
}

/// The first name that stands twice in one object.
pub(super) fn duplicate(fields: &Fields) -> Option<String> {
    let mut names = HashSet::new();
    let twice = fields.iter().find(|field| !names.insert(field.name())).map(|field| field.name().clone());
    twice.or_else(|| fields.iter().find_map(|field| duplicate_within(field.data_type())))
}

fn duplicate_within(data_type: &DataType) -> Option<String> {
    use DataType::*;
    match data_type {
        Struct(fields) => duplicate(fields),
        List(item) | LargeList(item) | FixedSizeList(item, _) | ListView(item) | LargeListView(item) | Map(item, _) => {
            duplicate_within(item.data_type())
        }
        Dictionary(_, values) => duplicate_within(values),
        _ => None,
    }
}

fn unit_text(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Second => "s",
        TimeUnit::Millisecond => "ms",
        TimeUnit::Microsecond => "us",
        TimeUnit::Nanosecond => "ns",
    }
}

fn struct_text(fields: &Fields) -> Option<String> {
    let member = |field: &Arc<Field>| Some(format!("{}: {}", name_text(field.name()), text(field)?));
    let members: Vec<String> = fields.iter().map(member).collect::<Option<_>>()?;
    Some(format!("struct<{}>", members.join(", ")))
}

fn map_text(entries: &Field) -> Option<String> {
    let DataType::Struct(fields) = entries.data_type() else { return None };
    match &fields[..] {
        [key, value] if key.data_type() == &DataType::Utf8 => Some(format!("map<string, {}>", text(value)?)),
        _ => None,
    }
}

fn name_text(name: &str) -> String {
    if !name.is_empty() && name.chars().all(is_name_char) {
        return name.to_owned();
    }
    let mut quoted = Vec::new();
    write_string(&mut quoted, name);
    String::from_utf8_lossy(&quoted).into_owned()
}

fn is_name_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '-'
}

/// A type without a name.
enum Type {
    Json,
    Arrow(DataType),
}

impl Type {
    fn field(self, name: &str) -> Field {
        match self {
            Type::Json => json_field(name),
            Type::Arrow(data_type) => Field::new(name, data_type, true),
        }
    }
}

struct Reading<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

type Parsed<T> = Result<T, String>;

impl<'a> Reading<'a> {
    fn whole(&mut self) -> Parsed<Type> {
        let found = self.one()?;
        self.space();
        if self.rest().is_empty() { Ok(found) } else { Err("there is more behind the type".into()) }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn expect(&mut self, sign: char) -> Parsed<()> {
        self.space();
        if !self.rest().starts_with(sign) {
            return Err(format!("here must be `{sign}`"));
        }
        self.at += sign.len_utf8();
        Ok(())
    }

    fn word(&mut self, is_part: impl Fn(char) -> bool) -> &'a str {
        self.space();
        let rest = self.rest();
        let word = &rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())];
        self.at += word.len();
        word
    }

    fn one(&mut self) -> Parsed<Type> {
        self.space();
        let start = self.at;
        let word = self.word(is_name_char);
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(format!("types are nested deeper than {DEPTH_MAX} levels"));
        }
        if word == "json" {
            self.depth -= 1;
            return Ok(Type::Json);
        }
        let found = self.simple_or_nested(word)?.ok_or_else(|| {
            self.at = start;
            format!("here must be a type: {}", WORDS.join(", "))
        })?;
        self.depth -= 1;
        Ok(Type::Arrow(found))
    }

    fn simple_or_nested(&mut self, word: &str) -> Parsed<Option<DataType>> {
        use DataType::*;
        Ok(Some(match word {
            "bool" => Boolean,
            "int8" => Int8,
            "int16" => Int16,
            "int32" => Int32,
            "int64" => Int64,
            "uint8" => UInt8,
            "uint16" => UInt16,
            "uint32" => UInt32,
            "uint64" => UInt64,
            "float32" => Float32,
            "float64" => Float64,
            "string" => Utf8,
            "date32" => Date32,
            "binary" => self.binary()?,
            "decimal" => self.decimal()?,
            "time" => self.time()?,
            "timestamp" => self.timestamp()?,
            "duration" => Duration(self.unit()?.0),
            "list" => self.list()?,
            "struct" => self.members()?,
            "map" => self.map()?,
            _ => return Ok(None),
        }))
    }

    fn binary(&mut self) -> Parsed<DataType> {
        self.space();
        if !self.rest().starts_with('[') {
            return Ok(DataType::Binary);
        }
        self.expect('[')?;
        let bytes = self.word(|c| c.is_ascii_digit()).parse().map_err(|_| "here must be a number of bytes")?;
        self.expect(']')?;
        Ok(DataType::FixedSizeBinary(bytes))
    }

    fn decimal(&mut self) -> Parsed<DataType> {
        self.expect('(')?;
        let precision: u8 = self.number(&format!("a number of digits, 1 to {DIGITS_256}"))?;
        self.expect(',')?;
        let scale: i8 = self.number("a number of digits behind the point")?;
        self.expect(')')?;
        let is_scale = i16::from(scale).abs() <= i16::from(precision);
        match precision {
            1..=DIGITS_128 if is_scale => Ok(DataType::Decimal128(precision, scale)),
            1..=DIGITS_256 if is_scale => Ok(DataType::Decimal256(precision, scale)),
            1..=DIGITS_256 => Err("there are more digits behind the point than digits".into()),
            _ => Err(format!("a decimal has 1 to {DIGITS_256} digits")),
        }
    }

    fn number<N: std::str::FromStr>(&mut self, what: &str) -> Parsed<N> {
        let word = self.word(|c| c.is_ascii_digit() || c == '-');
        word.parse().map_err(|_| format!("here must be {what}"))
    }

    fn time(&mut self) -> Parsed<DataType> {
        Ok(match self.unit()?.0 {
            unit @ (TimeUnit::Second | TimeUnit::Millisecond) => DataType::Time32(unit),
            unit => DataType::Time64(unit),
        })
    }

    fn timestamp(&mut self) -> Parsed<DataType> {
        let (unit, zone) = self.unit()?;
        Ok(DataType::Timestamp(unit, zone.map(Into::into)))
    }

    /// `[us]` or `[us, UTC]`.
    fn unit(&mut self) -> Parsed<(TimeUnit, Option<&'a str>)> {
        self.expect('[')?;
        let unit = match self.word(char::is_alphanumeric) {
            "s" => TimeUnit::Second,
            "ms" => TimeUnit::Millisecond,
            "us" => TimeUnit::Microsecond,
            "ns" => TimeUnit::Nanosecond,
            _ => return Err("here must be a unit: s, ms, us or ns".into()),
        };
        self.space();
        let zone = self.rest().starts_with(',').then(|| self.zone()).transpose()?;
        self.expect(']')?;
        Ok((unit, zone))
    }

    fn zone(&mut self) -> Parsed<&'a str> {
        self.expect(',')?;
        let zone = self.word(|c| c.is_ascii_alphanumeric() || "/_+-:".contains(c));
        if zone.is_empty() { Err("here must be a zone, UTC".into()) } else { Ok(zone) }
    }

    fn list(&mut self) -> Parsed<DataType> {
        self.expect('<')?;
        let item = self.one()?.field(Field::LIST_FIELD_DEFAULT_NAME);
        self.expect('>')?;
        Ok(DataType::List(Arc::new(item)))
    }

    fn members(&mut self) -> Parsed<DataType> {
        let mut fields = Vec::new();
        self.expect('<')?;
        loop {
            let name = self.name()?;
            self.expect(':')?;
            fields.push(self.one()?.field(&name));
            self.space();
            if !self.rest().starts_with(',') {
                break;
            }
            self.expect(',')?;
        }
        self.expect('>')?;
        let fields = Fields::from(fields);
        match duplicate(&fields) {
            Some(name) => Err(format!("the struct has `{name}` twice")),
            None => Ok(DataType::Struct(fields)),
        }
    }

    fn name(&mut self) -> Parsed<String> {
        self.space();
        if !self.rest().starts_with('"') {
            return Some(self.word(is_name_char).to_owned()).filter(|name| !name.is_empty()).ok_or_else(no_name);
        }
        let mut values = serde_json::Deserializer::from_str(self.rest()).into_iter::<String>();
        let name = values.next().and_then(Result::ok).ok_or_else(no_name)?;
        self.at += values.byte_offset();
        Ok(name)
    }

    fn map(&mut self) -> Parsed<DataType> {
        self.expect('<')?;
        if self.word(is_name_char) != "string" {
            return Err("the keys of a map are of the type string".into());
        }
        self.expect(',')?;
        let value = self.one()?.field("value");
        self.expect('>')?;
        let entries = Fields::from(vec![Field::new("key", DataType::Utf8, false), value]);
        Ok(DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false))
    }
}

fn no_name() -> String {
    "here must be a name, in double quotes if it has other signs than letters, digits, `_` and `-`".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_as_they_are_written() {
        let texts = [
            "bool",
            "int8",
            "int16",
            "int32",
            "int64",
            "uint8",
            "uint16",
            "uint32",
            "uint64",
            "float32",
            "float64",
            "decimal(12,2)",
            "decimal(38,-3)",
            "decimal(39,0)",
            "decimal(76,76)",
            "string",
            "binary",
            "binary[16]",
            "date32",
            "time[s]",
            "time[ms]",
            "time[us]",
            "time[ns]",
            "timestamp[s]",
            "timestamp[us, UTC]",
            "timestamp[ns, Europe/Berlin]",
            "timestamp[ms, +02:00]",
            "duration[ns]",
            "list<string>",
            "json",
            "list<list<json>>",
            "struct<a: int64, b: string>",
            "map<string, struct<a: json>>",
            "struct<\"\": bool, \"a b\": int8, \"\\\"\\u0001\": json, größe: int8, _-9: list<map<string, int8>>>",
        ];
        for text in texts {
            let field = field("x", text).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(super::text(&field).as_deref(), Some(text));
            assert!(field.is_nullable());
        }
        let spaced = field("x", " struct< a :list< int64 > , b: timestamp[ us ,UTC ] > ").unwrap();
        assert_eq!(text(&spaced).unwrap(), "struct<a: list<int64>, b: timestamp[us, UTC]>");
    }

    #[test]
    fn mistakes_have_a_place_and_say_what_must_be_there() {
        let told = |text: &str| {
            let error = field("x", text).unwrap_err();
            format!("{}: {}", error.at, error.what)
        };
        assert!(told("").starts_with("0: here must be a type: bool, int8"));
        assert!(told("list<Int64>").starts_with("5: here must be a type: bool, int8"));
        let rows = [
            ("list<int64", "10: here must be `>`"),
            ("int64 x", "6: there is more behind the type"),
            ("decimal(0,0)", "12: a decimal has 1 to 76 digits"),
            ("decimal(77,0)", "13: a decimal has 1 to 76 digits"),
            ("decimal(3,4)", "12: there are more digits behind the point than digits"),
            ("decimal(é,4)", "8: here must be a number of digits, 1 to 76"),
            ("timestamp", "9: here must be `[`"),
            ("timestamp[m]", "11: here must be a unit: s, ms, us or ns"),
            ("timestamp[s,]", "12: here must be a zone, UTC"),
            ("map<int64, string>", "9: the keys of a map are of the type string"),
            ("struct<a: int8, a: int8>", "24: the struct has `a` twice"),
        ];
        for (text, wanted) in rows {
            assert_eq!(told(text), wanted, "{text}");
        }
        assert!(told("struct<>").starts_with("7: here must be a name"));
        assert!(told("struct<\"a: int8>").starts_with("7: here must be a name"));
        let deep = "list<".repeat(100_000) + "int8";
        assert_eq!(field("x", &deep).unwrap_err().what, "types are nested deeper than 32 levels");
    }
}
