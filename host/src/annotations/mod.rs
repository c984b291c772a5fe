//! What a column is beyond the type that the job works with: metadata of fields and files, extension types, Parquet's
//! logical types that no Arrow type has, and the Arrow types (dictionaries, views) that the job reads as plain ones. It is
//! taken when a file is opened, agreed among the files of a source, kept in the job's schema, and given back to the files
//! that are written: what came is what goes out. Columns that a stage adds have none but what the function says.
//!
//! * `keys` - metadata of whole files: which keys go out, and what is cut from those that speak of columns.
//! * `written` - the schemas of a file to write.
//!
//! A field of the job's schema keeps all this as its metadata: that of the file's field, and under `KEY` a JSON object
//! of what metadata does not say. The key is in the job's schema only, never in a file that is written:
//!
//! ```text
//! {"is_plain": false,                            the file has no Arrow schema of its own (ARROW:schema)
//!  "arrow":   [{"at": [], "is": "view"}],        places are child numbers from the column down: a list has one child, a map
//!  "parquet": [{"at": [0, 0], "is": "uuid"}]}    as well; in Parquet's types a list has a repeated group in between
//! ```

mod keys;
mod written;

use std::str::FromStr;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Metadata, Schema, SchemaRef};
use parquet::arrow::{ARROW_SCHEMA_META_KEY, ArrowSchemaConverter};
use parquet::basic::{ConvertedType, LogicalType};
use parquet::errors::ParquetError;
use parquet::file::metadata::FileMetaData;
use parquet::schema::types::Type;
use serde::{Deserialize, Serialize};

pub use keys::keys_for;
pub use written::Written;

/// The key of a field's metadata under which the rest stands.
const KEY: &str = "wasmpipe:as-read";

/// What the types of a column do not say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct AsRead {
    is_plain: bool,
    arrow: Vec<Mark<ArrowType>>,
    parquet: Vec<Mark<ParquetType>>,
}

/// Something about one type within a column's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Mark<T> {
    at: Vec<usize>,
    is: T,
}

/// Arrow types of values that the job has in a plain type.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ArrowType {
    Dictionary { index: Index, of_views: bool },
    View,
}

/// The type of a dictionary's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Index {
    Int8,
    Int16,
    Int32,
    Int64,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
}

/// Parquet's types that do not follow from the job's Arrow types.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ParquetType {
    Uuid,
    Json,
    Bson,
    Enum,
    /// Times of day in UTC.
    UtcTime,
    /// Days, which Arrow has in milliseconds.
    Date,
    /// Months, days and milliseconds, of which Arrow has the bytes.
    Interval,
    /// A whole number that is said to be one.
    Signed,
    Variant {
        version: Option<i8>,
    },
    Geometry {
        crs: Option<String>,
    },
    Geography {
        crs: Option<String>,
        algorithm: Option<String>,
    },
}

impl AsRead {
    fn of(field: &Field) -> AsRead {
        field.metadata().get(KEY).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }
}

/// The schema of one file in the job's types `plain`, with everything else that the file says of its columns. `original` has
/// the types that its own Arrow schema gives, if it has one.
pub fn annotated(plain: &Schema, original: &Schema, file: &FileMetaData) -> Result<SchemaRef, ParquetError> {
    let is_plain = !has_arrow_schema(file);
    let own = ArrowSchemaConverter::new().convert(plain)?;
    let roots = own.root_schema().get_fields().iter().zip(file.schema_descr().root_schema().get_fields());
    let columns = plain.fields().iter().zip(original.fields()).zip(roots);
    let fields = columns.map(|((plain, original), (own, theirs))| {
        let mut as_read = AsRead { is_plain, ..AsRead::default() };
        mark_arrow(original.data_type(), &mut Vec::new(), &mut as_read.arrow);
        mark_parquet(own, theirs, &mut Vec::new(), &mut as_read.parquet);
        plain.as_ref().clone().with_metadata(with_key(original.metadata(), &as_read))
    });
    Ok(Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), keys::of_file(original.metadata()))))
}

/// Whether a file says of which Arrow types its columns are.
pub fn has_arrow_schema(file: &FileMetaData) -> bool {
    file.key_value_metadata().is_some_and(|keys| keys.iter().any(|pair| pair.key == ARROW_SCHEMA_META_KEY))
}

fn with_key(metadata: &Metadata, as_read: &AsRead) -> Metadata {
    let mut metadata = metadata.clone();
    metadata.remove(KEY);
    if *as_read != AsRead::default() {
        metadata.insert(KEY, serde_json::to_string(as_read).expect("plain values"));
    }
    metadata
}

/// `schema` with what all files agree on that have a column in the job's type. `files` are as [`annotated`] gives them.
pub fn agreed(schema: &Schema, files: &[SchemaRef]) -> SchemaRef {
    let fields = schema.fields().iter().enumerate().map(|(place, field)| {
        let theirs: Vec<&Field> = files.iter().filter_map(|file| named(file, field.name(), place)).collect();
        Arc::new(agreed_field(field, &theirs))
    });
    let metadata = keys::agreed_keys(files);
    Arc::new(Schema::new_with_metadata(fields.collect::<Fields>(), metadata))
}

/// Files of one source mostly have their columns at the same places.
fn named<'a>(file: &'a Schema, name: &str, place: usize) -> Option<&'a Field> {
    let there = file.fields().get(place).filter(|field| field.name() == name);
    there.map(AsRef::as_ref).or_else(|| file.field_with_name(name).ok())
}

fn agreed_field(field: &FieldRef, theirs: &[&Field]) -> Field {
    let Some((first, others)) = theirs.split_first() else { return field.as_ref().clone() };
    let mut metadata = first.metadata().clone();
    metadata.retain(|key, value| others.iter().all(|other| other.metadata().get(key) == Some(value)));
    metadata.remove(KEY);
    // What is converted into this type, nulls of no type among it, has no say in how it is written.
    let mut of_type = theirs.iter().filter(|other| other.data_type() == field.data_type());
    let Some(one) = of_type.next() else { return field.as_ref().clone().with_metadata(metadata) };
    let as_read = of_type.fold(AsRead::of(one), |one, other| common(one, AsRead::of(other)));
    let metadata = with_key(&metadata, &as_read);
    field.as_ref().clone().with_metadata(metadata)
}

fn common(one: AsRead, other: AsRead) -> AsRead {
    let AsRead { is_plain, mut arrow, mut parquet } = one;
    arrow.retain(|mark| other.arrow.contains(mark));
    parquet.retain(|mark| other.parquet.contains(mark));
    AsRead { is_plain: is_plain && other.is_plain, arrow, parquet }
}

/// A field that a function makes: it says nothing of files that were read.
pub fn made(field: &Field) -> Field {
    let mut metadata = field.metadata().clone();
    metadata.remove(KEY);
    field.clone().with_metadata(metadata)
}

/// A schema as functions see it: types alone.
pub fn bare(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_metadata(Metadata::default()));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn mark_arrow(data_type: &DataType, at: &mut Vec<usize>, marks: &mut Vec<Mark<ArrowType>>) {
    let is = match data_type {
        DataType::Dictionary(index, value) => {
            Index::of(index).map(|index| ArrowType::Dictionary { index, of_views: is_view(value) })
        }
        _ => is_view(data_type).then_some(ArrowType::View),
    };
    marks.extend(is.map(|is| Mark { at: at.clone(), is }));
    for (place, child) in children(data_type).enumerate() {
        at.push(place);
        mark_arrow(child.data_type(), at, marks);
        at.pop();
    }
}

impl Index {
    fn of(data_type: &DataType) -> Option<Index> {
        Some(match data_type {
            DataType::Int8 => Index::Int8,
            DataType::Int16 => Index::Int16,
            DataType::Int32 => Index::Int32,
            DataType::Int64 => Index::Int64,
            DataType::UInt8 => Index::Uint8,
            DataType::UInt16 => Index::Uint16,
            DataType::UInt32 => Index::Uint32,
            DataType::UInt64 => Index::Uint64,
            _ => return None,
        })
    }

    fn data_type(self) -> DataType {
        match self {
            Index::Int8 => DataType::Int8,
            Index::Int16 => DataType::Int16,
            Index::Int32 => DataType::Int32,
            Index::Int64 => DataType::Int64,
            Index::Uint8 => DataType::UInt8,
            Index::Uint16 => DataType::UInt16,
            Index::Uint32 => DataType::UInt32,
            Index::Uint64 => DataType::UInt64,
        }
    }

    /// How many values it tells apart, if those of a row group may be more.
    fn values_max(self) -> Option<usize> {
        match self {
            Index::Int8 => Some(1 << 7),
            Index::Uint8 => Some(1 << 8),
            Index::Int16 => Some(1 << 15),
            Index::Uint16 => Some(1 << 16),
            _ => None,
        }
    }
}

fn is_view(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8View | DataType::BinaryView)
}

/// The type in which the job has values of `data_type`: what is encoded in it is decoded, at any depth.
pub fn plain_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, value) => plain_type(value),
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        nested => map_children(nested, |_, field| retyped(field, plain_type(field.data_type()))),
    }
}

/// The same field of another type. What it says of the order of a dictionary's values is left out: no file that is written
/// has them in that order.
pub fn retyped(field: &Field, data_type: DataType) -> Field {
    Field::new(field.name(), data_type, field.is_nullable()).with_metadata(field.metadata().clone())
}

/// A nested type with other fields in it, given by their place and what they were.
pub fn map_children(data_type: &DataType, mut map: impl FnMut(usize, &FieldRef) -> Field) -> DataType {
    use DataType::{FixedSizeList, LargeList, LargeListView, List, ListView, Map, Struct};
    let mut fields = children(data_type).enumerate().map(|(place, field)| Arc::new(map(place, field)));
    let mut only = || fields.next().expect("it has one child");
    match data_type {
        List(_) => List(only()),
        LargeList(_) => LargeList(only()),
        ListView(_) => ListView(only()),
        LargeListView(_) => LargeListView(only()),
        FixedSizeList(_, length) => FixedSizeList(only(), *length),
        Map(_, is_sorted) => Map(only(), *is_sorted),
        Struct(_) => Struct(fields.collect()),
        flat => flat.clone(),
    }
}

fn children(data_type: &DataType) -> impl Iterator<Item = &FieldRef> {
    use DataType::{FixedSizeList, LargeList, LargeListView, List, ListView, Map, Struct};
    match data_type {
        List(field) | LargeList(field) | ListView(field) | LargeListView(field) => std::slice::from_ref(field).iter(),
        FixedSizeList(field, _) | Map(field, _) => std::slice::from_ref(field).iter(),
        Struct(fields) => fields.iter(),
        _ => [].iter(),
    }
}

/// Whether a field, or one within it, is such a one.
pub fn any(field: &Field, is_it: &impl Fn(&Field) -> bool) -> bool {
    is_it(field) || children(field.data_type()).any(|child| any(child, is_it))
}

/// As far as both types have the same form. Lists of an old form have no place of their own for what is in them.
fn mark_parquet(own: &Type, theirs: &Type, at: &mut Vec<usize>, marks: &mut Vec<Mark<ParquetType>>) {
    let is = ParquetType::of(theirs).filter(|is| ParquetType::of(own).as_ref() != Some(is) && is.may_be_of(own));
    marks.extend(is.map(|is| Mark { at: at.clone(), is }));
    if own.is_primitive() || theirs.is_primitive() || own.get_fields().len() != theirs.get_fields().len() {
        return;
    }
    for (place, (own, theirs)) in own.get_fields().iter().zip(theirs.get_fields()).enumerate() {
        at.push(place);
        mark_parquet(own, theirs, at, marks);
        at.pop();
    }
}

impl ParquetType {
    fn of(parquet: &Type) -> Option<ParquetType> {
        let info = parquet.get_basic_info();
        match info.logical_type_ref() {
            Some(logical) => ParquetType::of_logical(logical),
            None => ParquetType::of_converted(info.converted_type()),
        }
    }

    fn of_logical(logical: &LogicalType) -> Option<ParquetType> {
        Some(match logical {
            LogicalType::Uuid => ParquetType::Uuid,
            LogicalType::Json => ParquetType::Json,
            LogicalType::Bson => ParquetType::Bson,
            LogicalType::Enum => ParquetType::Enum,
            LogicalType::Time(time) if time.is_adjusted_to_u_t_c => ParquetType::UtcTime,
            LogicalType::Date => ParquetType::Date,
            LogicalType::Integer(number) if number.is_signed && number.bit_width >= 32 => ParquetType::Signed,
            LogicalType::Variant(variant) => ParquetType::Variant { version: variant.specification_version },
            LogicalType::Geometry(geometry) => ParquetType::Geometry { crs: geometry.crs.clone() },
            LogicalType::Geography(geography) => ParquetType::Geography {
                crs: geography.crs.clone(),
                algorithm: geography.algorithm.map(|algorithm| algorithm.to_string()),
            },
            _ => return None,
        })
    }

    /// Types of before there were logical ones.
    fn of_converted(converted: ConvertedType) -> Option<ParquetType> {
        Some(match converted {
            ConvertedType::JSON => ParquetType::Json,
            ConvertedType::BSON => ParquetType::Bson,
            ConvertedType::ENUM => ParquetType::Enum,
            ConvertedType::TIME_MILLIS | ConvertedType::TIME_MICROS => ParquetType::UtcTime,
            ConvertedType::DATE => ParquetType::Date,
            ConvertedType::INTERVAL => ParquetType::Interval,
            ConvertedType::INT_32 | ConvertedType::INT_64 => ParquetType::Signed,
            _ => return None,
        })
    }

    /// Whether a column that would be written as `own` can be written so instead.
    fn may_be_of(&self, own: &Type) -> bool {
        use parquet::basic::Type::{BYTE_ARRAY, FIXED_LEN_BYTE_ARRAY, INT32, INT64};
        let Type::PrimitiveType { physical_type, type_length, .. } = own else {
            return matches!(self, ParquetType::Variant { .. }) && ParquetType::is_struct(own);
        };
        let logical = own.get_basic_info().logical_type_ref();
        match self {
            ParquetType::Uuid => *physical_type == FIXED_LEN_BYTE_ARRAY && *type_length == 16 && logical.is_none(),
            ParquetType::Json => *physical_type == BYTE_ARRAY && matches!(logical, Some(LogicalType::String)),
            ParquetType::UtcTime => matches!(logical, Some(LogicalType::Time(_))),
            ParquetType::Date => *physical_type == INT64 && logical.is_none(),
            ParquetType::Interval => *physical_type == FIXED_LEN_BYTE_ARRAY && *type_length == 12 && logical.is_none(),
            ParquetType::Signed => matches!(*physical_type, INT32 | INT64) && logical.is_none(),
            ParquetType::Variant { .. } => false,
            ParquetType::Bson | ParquetType::Enum | ParquetType::Geometry { .. } | ParquetType::Geography { .. } => {
                *physical_type == BYTE_ARRAY && logical.is_none()
            }
        }
    }

    fn is_struct(own: &Type) -> bool {
        let info = own.get_basic_info();
        info.logical_type_ref().is_none() && info.converted_type() == ConvertedType::NONE
    }

    fn logical(&self, own: &Type) -> Option<LogicalType> {
        Some(match self {
            ParquetType::Uuid => LogicalType::Uuid,
            ParquetType::Json => LogicalType::Json,
            ParquetType::Bson => LogicalType::Bson,
            ParquetType::Enum => LogicalType::Enum,
            ParquetType::UtcTime => match own.get_basic_info().logical_type_ref() {
                Some(LogicalType::Time(time)) => LogicalType::time(true, time.unit),
                _ => return None,
            },
            ParquetType::Date => LogicalType::Date,
            ParquetType::Interval => return None,
            ParquetType::Signed => match own.get_physical_type() {
                parquet::basic::Type::INT64 => LogicalType::integer(64, true),
                _ => LogicalType::integer(32, true),
            },
            ParquetType::Variant { version } => LogicalType::variant(*version),
            ParquetType::Geometry { crs } => LogicalType::geometry(crs.clone()),
            ParquetType::Geography { crs, algorithm } => {
                let algorithm = algorithm.as_deref().and_then(|name| FromStr::from_str(name).ok());
                LogicalType::geography(crs.clone(), algorithm)
            }
        })
    }
}
