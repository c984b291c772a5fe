//! `json_fields`: values out of a column of JSON texts, by their paths, into columns of their own.
//!
//! One pass of serde_json over the text, without a tree: what is on no path is checked and skipped, strings without
//! escapes are not copied, and nothing recurses deeper than the paths are long.
//!
//! * `path.rs`: a path as written, JSON Pointer or JSONPath
//! * `tree.rs`: all paths as one tree, and a text along it
//! * `column.rs`: values become columns

mod column;
mod path;
mod tree;

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wasmpipe_sdk::arrow_array::{Array, StringArray};
use wasmpipe_sdk::{Answer, DataType, Field, Lineage, RecordBatch, RowError, Schema, Schemas, State, map_batches};

use column::Column;
use tree::{Found, Tree};

/// The config of [`json_fields`].
#[derive(Deserialize, JsonSchema, Clone)]
#[serde(deny_unknown_fields)]
pub struct FieldsConfig {
    /// The column that holds the JSON texts. `"json"` unless given.
    #[serde(default = "json")]
    pub column: String,
    /// The columns to add: name -> path, or name -> path and type.
    pub fields: BTreeMap<String, FieldConfig>,
    /// What a value of another type than its field's gives.
    #[serde(default)]
    pub mismatch: Mismatch,
}

fn json() -> String {
    "json".to_owned()
}

/// Where a field's value is, and what it is.
#[derive(Deserialize, JsonSchema, Clone)]
#[serde(untagged)]
pub enum FieldConfig {
    /// The path of a string.
    Path(String),
    /// The path of a value of any type.
    Typed(TypedConfig),
}

/// Where a field's value is, and what it is.
#[derive(Deserialize, JsonSchema, Clone)]
#[serde(deny_unknown_fields)]
pub struct TypedConfig {
    /// A JSON Pointer (RFC 6901), `"/authors/0/name"`, or the same as a JSONPath (RFC 9535) that names one place,
    /// `"$.authors[0].name"`. The whole text is `""` or `"$"`.
    pub path: String,
    /// The type of the value, and of the column.
    #[serde(rename = "type", default)]
    pub kind: FieldType,
}

/// The type of a value and its column.
#[derive(Deserialize, Serialize, JsonSchema, Default, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum FieldType {
    /// A JSON string; Utf8.
    #[default]
    String,
    /// A JSON number without a fraction, from -2^63 to 2^63 - 1; Int64.
    Integer,
    /// Any JSON number; Float64.
    Float,
    /// `true` or `false`; Boolean.
    Boolean,
    /// Any value, as its JSON text; Utf8.
    Json,
}

/// What a value of another type than its field's gives.
#[derive(Deserialize, Serialize, JsonSchema, Default, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Mismatch {
    /// A row error that names the field.
    #[default]
    Error,
    /// Null.
    Null,
}

/// Extracts fields of JSON texts into typed columns.
///
/// `column` holds the texts (`"json"` unless given). `fields` names the new columns and where their values are:
/// `{ title = "$.a.b[0]", year = { path = "/date/year", type = "integer" } }`, as JSONPath that names one place, or as
/// JSON Pointer. Types are `string` (unless given), `integer`, `float`, `boolean`, and `json` for the text of any value.
///
/// What is missing or `null` is null, and so is every field of a null text. A text that is no JSON is a row error; so is
/// a value of another type, unless `mismatch = "null"`. Of a key that an object has twice, the last one counts.
#[map_batches(schemas = schemas)]
pub fn json_fields(
    batch: &RecordBatch,
    #[config] config: &FieldsConfig,
    #[state] wanted: &Wanted,
) -> Result<Answer, String> {
    let texts = batch.column(0).as_any().downcast_ref::<StringArray>().ok_or("the column is no string column")?;
    let fields = &wanted.fields;
    let mut columns: Vec<Column> = fields.iter().map(|field| Column::new(field.kind, texts.len())).collect();
    let mut found = vec![Found::Nothing; fields.len()];
    let mut errors = Vec::new();
    for row in 0..texts.len() {
        let text = texts.is_valid(row).then(|| texts.value(row));
        if let Err(message) = extract(text, wanted, config.mismatch, &mut found, &mut columns) {
            errors.push(RowError { row: row as u32, message });
        }
    }
    let arrays = columns.into_iter().map(Column::finish).collect();
    let batch = RecordBatch::try_new(Arc::new(adds(fields)), arrays).map_err(|error| error.to_string())?;
    Ok(Answer { batch, lineage: Lineage::Same, errors })
}

/// Adds one value to each column, whatever the text is.
fn extract<'a>(
    text: Option<&'a str>,
    wanted: &Wanted,
    mismatch: Mismatch,
    found: &mut [Found<'a>],
    columns: &mut [Column],
) -> Result<(), String> {
    found.fill(Found::Nothing);
    let mut outcome =
        text.map_or(Ok(()), |text| wanted.tree.walk(text, found).map_err(|error| format!("no JSON: {error}")));
    for ((field, found), column) in wanted.fields.iter().zip(found).zip(columns) {
        if let Err(other) = column.push(found)
            && outcome.is_ok()
            && mismatch == Mismatch::Error
        {
            outcome = Err(format!("{}: {other} where {} was expected", field.name, field.kind.words()));
        }
    }
    outcome
}

/// What to look for: the paths, read once.
pub struct Wanted {
    fields: Vec<WantedField>,
    tree: Tree,
}

impl State for Wanted {
    type Config = FieldsConfig;

    fn new(config: FieldsConfig) -> Result<Wanted, String> {
        let fields = fields(&config)?;
        let tree = Tree::new(fields.iter().map(|field| (field.path.as_slice(), field.kind == FieldType::Json)));
        Ok(Wanted { fields, tree })
    }
}

/// A field whose path has been read.
struct WantedField {
    name: String,
    path: Vec<path::Step>,
    kind: FieldType,
}

fn fields(config: &FieldsConfig) -> Result<Vec<WantedField>, String> {
    config.fields.iter().map(|(name, field)| read_field(name, field)).collect()
}

fn read_field(name: &str, field: &FieldConfig) -> Result<WantedField, String> {
    let (path, kind) = match field {
        FieldConfig::Path(path) => (path, FieldType::String),
        FieldConfig::Typed(typed) => (&typed.path, typed.kind),
    };
    let path = path::parse(path).map_err(|error| format!("fields.{name}: {error}"))?;
    Ok(WantedField { name: name.to_owned(), path, kind })
}

fn schemas(input: &Schema, config: &FieldsConfig) -> Result<Schemas, String> {
    let column = input.field_with_name(&config.column).map_err(|_| {
        let columns: Vec<_> = input.fields().iter().map(|field| field.name().as_str()).collect();
        format!("there is no column `{}`; the columns here are {}", config.column, columns.join(", "))
    })?;
    if config.fields.is_empty() {
        return Err("fields: name at least one".to_owned());
    }
    let needs = Schema::new(vec![Field::new(&config.column, DataType::Utf8, column.is_nullable())]);
    Ok(Schemas { needs, adds: adds(&fields(config)?) })
}

fn adds(fields: &[WantedField]) -> Schema {
    let field = |field: &WantedField| Field::new(&field.name, field.kind.data_type(), true);
    Schema::new(fields.iter().map(field).collect::<Vec<_>>())
}

wasmpipe_sdk::export!(json_fields);

#[cfg(test)]
mod tests;
