//! The schemas of a file to write: Parquet's types with the logical ones that came in, and the Arrow schema that readers of
//! Arrow take from it.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Metadata, Schema};
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::{ARROW_SCHEMA_META_KEY, ArrowSchemaConverter, encode_arrow_schema};
use parquet::basic::{ConvertedType, Type as Physical};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterPropertiesBuilder;
use parquet::schema::types::{SchemaDescriptor, Type, TypePtr};

use super::{ArrowType, AsRead, Index, KEY, Mark, ParquetType, map_children, retyped};

/// The key of a field's metadata that names its extension type.
const EXTENSION: &str = "ARROW:extension:name";
const EXTENSION_METADATA: &str = "ARROW:extension:metadata";

/// What a file says of its columns.
#[derive(Clone, Debug)]
pub struct Written {
    parquet: SchemaDescriptor,
    keys: Vec<KeyValue>,
    narrow: Vec<(usize, usize)>,
}

impl Written {
    /// For batches of `schema`, whose annotations become the file's.
    pub fn new(schema: &Schema) -> Result<Written, ParquetError> {
        let as_read: Vec<AsRead> = schema.fields().iter().map(|field| as_written(field)).collect();
        let own = ArrowSchemaConverter::new().convert(schema)?;
        let columns = own.root_schema().get_fields().iter().zip(&as_read);
        let columns = columns.map(|(own, as_read)| parquet_type(own, &mut Vec::new(), &as_read.parquet));
        let columns = columns.collect::<Result<Vec<TypePtr>, _>>()?;
        let root = Type::group_type_builder(own.root_schema().name()).with_fields(columns).build()?;
        let arrow = needs_arrow_schema(schema, &as_read).then(|| arrow_schema(schema, &as_read));
        let arrow = arrow.map(|arrow| key_value(ARROW_SCHEMA_META_KEY, &encode_arrow_schema(&arrow)));
        let keys = schema.metadata().iter().map(|(key, value)| key_value(key, value));
        let (keys, narrow) = (keys.chain(arrow).collect(), narrow(&as_read));
        Ok(Written { parquet: SchemaDescriptor::new(Arc::new(root)), keys, narrow })
    }

    /// Columns of which a row group may hold only so many different values: more, and readers of its Arrow schema fail.
    pub fn values_max(&self) -> &[(usize, usize)] {
        &self.narrow
    }

    /// How a writer of batches makes such a file.
    pub fn options(&self, properties: WriterPropertiesBuilder) -> ArrowWriterOptions {
        let keys = Some(self.keys.clone()).filter(|keys| !keys.is_empty());
        ArrowWriterOptions::new()
            .with_properties(properties.set_key_value_metadata(keys).build())
            .with_skip_arrow_metadata(true)
            .with_parquet_schema(self.parquet.clone())
    }
}

fn key_value(key: &str, value: &str) -> KeyValue {
    KeyValue::new(key.to_owned(), value.to_owned())
}

/// Extension types that Parquet has a type for are written as such, whoever made the column.
fn as_written(field: &Field) -> AsRead {
    let mut as_read = AsRead::of(field);
    let is = match (field.metadata().get(EXTENSION).map(String::as_str), field.data_type()) {
        (Some("arrow.uuid"), DataType::FixedSizeBinary(16)) => Some(ParquetType::Uuid),
        (Some("arrow.json"), DataType::Utf8 | DataType::LargeUtf8) => Some(ParquetType::Json),
        _ => None,
    };
    let is = is.filter(|is| !as_read.parquet.iter().any(|mark| mark.at.is_empty() && mark.is == *is));
    as_read.parquet.extend(is.map(|is| Mark { at: Vec::new(), is }));
    as_read
}

/// A file whose columns all came from files without one is read as those are.
fn needs_arrow_schema(schema: &Schema, as_read: &[AsRead]) -> bool {
    let has_own = |field: &FieldRef| field.metadata().keys().any(|key| key != KEY && key != FIELD_ID);
    as_read.iter().any(|as_read| !as_read.is_plain) || schema.fields().iter().any(has_own)
}

/// The key of a field's metadata that Parquet has a place for.
const FIELD_ID: &str = "PARQUET:field_id";

fn parquet_type(own: &TypePtr, at: &mut Vec<usize>, marks: &[Mark<ParquetType>]) -> Result<TypePtr, ParquetError> {
    let mark = marks.iter().find(|mark| mark.at == *at).map(|mark| &mark.is).filter(|is| is.may_be_of(own));
    match own.as_ref() {
        _ if !marks.iter().any(|mark| mark.at.starts_with(at)) => Ok(Arc::clone(own)),
        Type::PrimitiveType { .. } => mark.map_or(Ok(Arc::clone(own)), |is| primitive(own, is).map(Arc::new)),
        Type::GroupType { .. } => {
            let mut fields = Vec::with_capacity(own.get_fields().len());
            for (place, field) in own.get_fields().iter().enumerate() {
                at.push(place);
                fields.push(parquet_type(field, at, marks)?);
                at.pop();
            }
            group(own, fields, mark).map(Arc::new)
        }
    }
}

fn primitive(own: &Type, is: &ParquetType) -> Result<Type, ParquetError> {
    let Type::PrimitiveType { basic_info: info, physical_type, type_length, .. } = own else {
        return Ok(own.clone());
    };
    let physical = if *is == ParquetType::Date { Physical::INT32 } else { *physical_type };
    Type::primitive_type_builder(info.name(), physical)
        .with_repetition(info.repetition())
        .with_length(*type_length)
        .with_id(info.has_id().then(|| info.id()))
        .with_logical_type(is.logical(own))
        .with_converted_type(if *is == ParquetType::Interval { ConvertedType::INTERVAL } else { ConvertedType::NONE })
        .build()
}

fn group(own: &Type, fields: Vec<TypePtr>, is: Option<&ParquetType>) -> Result<Type, ParquetError> {
    let info = own.get_basic_info();
    let logical = is.and_then(|is| is.logical(own)).or_else(|| info.logical_type_ref().cloned());
    let builder = Type::group_type_builder(info.name())
        .with_repetition(info.repetition())
        .with_converted_type(info.converted_type())
        .with_id(info.has_id().then(|| info.id()));
    builder.with_logical_type(logical).with_fields(fields).build()
}

fn arrow_schema(schema: &Schema, as_read: &[AsRead]) -> Schema {
    let columns = schema.fields().iter().zip(as_read);
    let fields = columns.map(|(field, as_read)| {
        let data_type = arrow_type(field.data_type(), &mut Vec::new(), &as_read.arrow);
        retyped(field, data_type).with_metadata(field_metadata(field, as_read))
    });
    Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone())
}

/// Of a file without an Arrow schema, readers know by the Parquet type what the Arrow schema beside it must say, too.
fn field_metadata(field: &Field, as_read: &AsRead) -> Metadata {
    let mut metadata = field.metadata().clone();
    metadata.remove(KEY);
    let whole = as_read.parquet.iter().find(|mark| mark.at.is_empty()).filter(|_| as_read.is_plain);
    let extension = match whole.map(|mark| &mark.is) {
        Some(ParquetType::Uuid) => Some("arrow.uuid"),
        Some(ParquetType::Json) => Some("arrow.json"),
        _ => None,
    };
    if let Some(extension) = extension.filter(|_| !metadata.contains_key(EXTENSION)) {
        metadata.insert(EXTENSION, extension);
        metadata.insert(EXTENSION_METADATA, "");
    }
    metadata
}

fn arrow_type(data_type: &DataType, at: &mut Vec<usize>, marks: &[Mark<ArrowType>]) -> DataType {
    let Some(mark) = marks.iter().find(|mark| mark.at == *at) else {
        return with_children(data_type, at, marks);
    };
    match mark.is {
        ArrowType::View => view(data_type),
        ArrowType::Dictionary { index, of_views } => {
            let value = if of_views { view(data_type) } else { data_type.clone() };
            DataType::Dictionary(Box::new(numbers(index, at)), Box::new(value))
        }
    }
}

/// Values within other values are not counted, so there may be more than a narrow type tells apart.
fn numbers(index: Index, at: &[usize]) -> DataType {
    if at.is_empty() || index.values_max().is_none() { index.data_type() } else { DataType::Int32 }
}

/// Columns that are dictionaries with narrow numbers, and how many values these tell apart.
fn narrow(as_read: &[AsRead]) -> Vec<(usize, usize)> {
    let whole = |as_read: &AsRead| match as_read.arrow.iter().find(|mark| mark.at.is_empty())?.is {
        ArrowType::Dictionary { index, .. } => index.values_max(),
        ArrowType::View => None,
    };
    as_read.iter().enumerate().filter_map(|(column, as_read)| Some((column, whole(as_read)?))).collect()
}

fn view(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8 => DataType::Utf8View,
        DataType::Binary => DataType::BinaryView,
        other => other.clone(),
    }
}

fn with_children(data_type: &DataType, at: &mut Vec<usize>, marks: &[Mark<ArrowType>]) -> DataType {
    map_children(data_type, |place, field| {
        at.push(place);
        let data_type = arrow_type(field.data_type(), at, marks);
        at.pop();
        retyped(field, data_type)
    })
}
