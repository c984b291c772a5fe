//! A sample of lines becomes a schema.
//!
//! ```text
//! whole numbers of 64 bits              int64
//! with fractions or exponents           float64, also with whole numbers among them that a float holds exactly
//! true, false | strings                 bool | string
//! lists | objects                       list<...> of what all their elements are | struct<...> of all their keys
//! any other mixture, larger numbers, nulls alone, {} alone, what is too deep or has too many keys: json
//! ```
//!
//! Every key may be missing and every value null. The types do not depend on the order of the lines, nor on how they are
//! spread over objects; only the order of the columns does, which is that of their first appearance. Texts stay strings: what
//! looks like a date is one only if it is declared.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema};

use super::cursor::{Checked, Cursor, Kind, text};
use super::extra::Extra;
use super::refusal::Refusal;
use super::{numbers, types};

/// Columns of a schema that is found, with those within others; beyond, what is nested is `json`.
pub const COLUMNS_MAX: usize = 4096;
/// Keys of an object within a column; one with more has keys that are data, and is `json`.
const KEYS_MAX: usize = 256;
/// Lists and objects within a column; what is deeper is `json`.
const DEPTH_MAX: usize = 8;

/// Why no schema was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InferError {
    #[error("there is no line to find a schema from")]
    NoLine,
    #[error("the lines have more than {COLUMNS_MAX} keys")]
    TooManyColumns,
}

/// Lines on their way to a schema.
///
/// ```
/// use wasmpipe::format::jsonl::{infer::Inference, types};
///
/// let mut found = Inference::default();
/// found.line(br#"{"n": 1, "tags": ["a"], "meta": {"a": 1}, "id": 7}"#)?;
/// found.line(br#"{"n": 1.5, "tags": [], "meta": {"b": null}, "id": "x"}"#)?;
/// let schema = found.schema()?;
/// let texts: Vec<_> = schema.fields().iter().filter_map(|field| types::text(field)).collect();
/// assert_eq!(texts, ["float64", "list<string>", "struct<a: int64, b: json>", "json"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Inference {
    lines: u64,
    columns: Keyed,
}

impl Inference {
    /// Takes a line without its end into account; one that is refused is not.
    pub fn line(&mut self, line: &[u8]) -> Result<(), Refusal> {
        let line = text(line)?;
        check(line)?;
        self.lines += 1;
        let mut text = Cursor::new(line, Extra::default());
        text.space();
        self.columns.read(&mut text, 0, COLUMNS_MAX)
    }

    /// How many lines were taken into account.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// What the values of a column were, `whole numbers`, `strings`: why it is `json`.
    pub fn seen(&self, column: &str) -> Vec<&'static str> {
        self.columns.get(column).map(Shape::names).unwrap_or_default()
    }

    /// The schema of the lines. If it has too many columns, all deep ones are `json`, then all less deep ones.
    pub fn schema(&self) -> Result<Schema, InferError> {
        if self.lines == 0 {
            return Err(InferError::NoLine);
        }
        let mut depths = (0..=DEPTH_MAX).rev().map(|depth| self.columns.fields(depth));
        let fields = depths.find(|fields| !self.columns.is_wide && count(fields) <= COLUMNS_MAX);
        fields.map(Schema::new).ok_or(InferError::TooManyColumns)
    }
}

fn check(line: &str) -> Checked {
    let mut text = Cursor::new(line, Extra::default());
    text.space();
    text.object_begins()?;
    text.pass()?;
    text.end()
}

fn count(fields: &Fields) -> usize {
    let within = |data_type: &DataType| match data_type {
        DataType::Struct(fields) => count(fields),
        DataType::List(item) => count(&Fields::from(vec![item.clone()])),
        _ => 0,
    };
    fields.iter().map(|field| 1 + within(field.data_type())).sum()
}

/// Keys in the order of their first appearance.
#[derive(Debug, Default)]
struct Keyed {
    names: Vec<String>,
    shapes: HashMap<String, Shape>,
    /// There were too many; none is known any more.
    is_wide: bool,
}

impl Keyed {
    fn read(&mut self, text: &mut Cursor<'_>, depth: usize, keys_max: usize) -> Checked {
        text.object(|text| {
            let key = text.key()?;
            match self.shape(&key, keys_max) {
                Some(shape) => shape.read(text, depth),
                None => text.pass(),
            }
        })
    }

    fn shape(&mut self, key: &str, keys_max: usize) -> Option<&mut Shape> {
        if !self.is_wide && !self.shapes.contains_key(key) {
            self.names.push(key.to_owned());
            self.shapes.insert(key.to_owned(), Shape::default());
        }
        if self.names.len() > keys_max {
            *self = Keyed { is_wide: true, ..Keyed::default() };
        }
        self.shapes.get_mut(key)
    }

    fn get(&self, key: &str) -> Option<&Shape> {
        self.shapes.get(key)
    }

    /// With types so deep.
    fn fields(&self, depth: usize) -> Fields {
        let shapes = self.names.iter().filter_map(|name| Some((name, self.get(name)?)));
        shapes.map(|(name, shape)| shape.field(name, depth)).collect::<Vec<_>>().into()
    }
}

/// What the values under one key were.
#[derive(Debug, Default)]
struct Shape {
    /// Of [`Seen`], a bit each.
    seen: u8,
    keys: Keyed,
    items: Option<Box<Shape>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Bool = 1,
    String = 2,
    /// Of 64 bits, and exact in a float.
    Whole = 4,
    /// Of 64 bits, and not exact in a float.
    LongWhole = 8,
    Float = 16,
    /// Beyond 64 bits, or what a float.
    OddNumber = 32,
    List = 64,
    Object = 128,
}

const NAMES: [(Seen, &str); 8] = [
    (Seen::Bool, "true and false"),
    (Seen::String, "strings"),
    (Seen::Whole, "whole numbers"),
    (Seen::LongWhole, "whole numbers that no float holds"),
    (Seen::Float, "numbers with a fraction or exponent"),
    (Seen::OddNumber, "numbers beyond 64 bits"),
    (Seen::List, "lists"),
    (Seen::Object, "objects"),
];

impl Shape {
    fn read(&mut self, text: &mut Cursor<'_>, depth: usize) -> Checked {
        let (kind, is_deep) = (text.kind()?, depth >= DEPTH_MAX);
        let seen = match kind {
            Kind::Null => return text.pass(),
            Kind::Number => number(text)?,
            Kind::Bool => Seen::Bool,
            Kind::String => Seen::String,
            Kind::List => Seen::List,
            Kind::Object => Seen::Object,
        };
        self.seen |= seen as u8;
        match kind {
            Kind::Number => Ok(()),
            Kind::List if !is_deep => {
                let items = self.items.get_or_insert_default();
                text.list(|text| items.read(text, depth + 1))
            }
            Kind::Object if !is_deep => self.keys.read(text, depth + 1, KEYS_MAX),
            _ => text.pass(),
        }
    }

    /// A column with types so deep.
    fn field(&self, name: &str, depth: usize) -> Field {
        match self.data_type(depth) {
            Some(data_type) => Field::new(name, data_type, true),
            None => types::json_field(name),
        }
    }

    /// None if it is `json`.
    fn data_type(&self, depth: usize) -> Option<DataType> {
        const BOOL: u8 = Seen::Bool as u8;
        const STRING: u8 = Seen::String as u8;
        const WHOLE: u8 = Seen::Whole as u8;
        const LONG: u8 = Seen::LongWhole as u8;
        const FLOAT: u8 = Seen::Float as u8;
        const LIST: u8 = Seen::List as u8;
        const OBJECT: u8 = Seen::Object as u8;
        match self.seen {
            BOOL => Some(DataType::Boolean),
            STRING => Some(DataType::Utf8),
            seen if seen != 0 && seen & !(WHOLE | LONG) == 0 => Some(DataType::Int64),
            seen if seen & FLOAT != 0 && seen & !(FLOAT | WHOLE) == 0 => Some(DataType::Float64),
            LIST if depth > 0 => {
                let item = self.items.as_ref()?.field(Field::LIST_FIELD_DEFAULT_NAME, depth - 1);
                Some(DataType::List(Arc::new(item)))
            }
            OBJECT if depth > 0 && !self.keys.names.is_empty() => Some(DataType::Struct(self.keys.fields(depth - 1))),
            _ => None,
        }
    }

    fn names(&self) -> Vec<&'static str> {
        NAMES.iter().filter(|(seen, _)| self.seen & *seen as u8 != 0).map(|(_, name)| *name).collect()
    }
}

fn number(text: &mut Cursor<'_>) -> Checked<Seen> {
    let number = text.number()?;
    let float = numbers::float64(number);
    if !number.is_whole {
        return Ok(if float.is_ok() { Seen::Float } else { Seen::OddNumber });
    }
    let whole = numbers::integer(number).ok().and_then(|whole| i64::try_from(whole).ok());
    Ok(match whole {
        Some(_) if float.is_ok() => Seen::Whole,
        Some(_) => Seen::LongWhole,
        None => Seen::OddNumber,
    })
}
