//! Metadata of whole files. Of several files what all agree on goes out. Three keys speak of columns one by one: pandas's,
//! Hugging Face's and GeoParquet's; those are agreed column by column, and cut to the columns that are written. Keys that
//! hold a whole schema go out with exactly the source's columns only. What is true of one file alone does not go out: an
//! index of pandas that is a range and no column, but the usual one from 0; the bounds of geometries.

use std::collections::HashSet;

use arrow::datatypes::{Metadata, Schema, SchemaRef};
use parquet::arrow::ARROW_SCHEMA_META_KEY;
use serde_json::{Map, Value};

/// Schemas of other systems, which they take for the file's.
const SCHEMAS: [&str; 8] = [
    "org.apache.spark.sql.parquet.row.metadata",
    "parquet.avro.schema",
    "avro.schema",
    "iceberg.schema",
    "thrift.class",
    "thrift.descriptor",
    "parquet.proto.class",
    "parquet.proto.descriptor",
];

/// Whose key it is that speaks of columns one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Pandas,
    HuggingFace,
    Geo,
}

impl Kind {
    fn of(key: &str) -> Option<Kind> {
        match key {
            "pandas" => Some(Kind::Pandas),
            "huggingface" => Some(Kind::HuggingFace),
            "geo" => Some(Kind::Geo),
            _ => None,
        }
    }

    /// Leaves only the columns for which `keep` answers true.
    fn retain(self, value: &mut Value, keep: impl Fn(&str, &Value) -> bool) {
        let columns = value.pointer_mut(self.columns());
        match columns {
            Some(Value::Array(list)) => {
                list.retain(|column| pandas_name(column).is_some_and(|name| keep(name, column)));
            }
            Some(Value::Object(map)) => retain_named(map, keep),
            _ => {}
        }
    }

    /// What it says of a column.
    fn entry<'a>(self, value: &'a Value, name: &str) -> Option<&'a Value> {
        match value.pointer(self.columns())? {
            Value::Array(list) => list.iter().find(|column| pandas_name(column) == Some(name)),
            columns => columns.get(name),
        }
    }

    /// Where columns stand: a list for pandas, else by name.
    fn columns(self) -> &'static str {
        match self {
            Kind::Pandas | Kind::Geo => "/columns",
            Kind::HuggingFace => "/info/features",
        }
    }

    /// A part that has to be the same for columns to mean the same.
    fn common_part(self) -> &'static str {
        match self {
            Kind::Pandas => "/index_columns",
            Kind::HuggingFace => "/info/version",
            Kind::Geo => "/primary_column",
        }
    }
}

fn retain_named(map: &mut Map<String, Value>, keep: impl Fn(&str, &Value) -> bool) {
    map.retain(|name, value| keep(name, value));
}

fn pandas_name(column: &Value) -> Option<&str> {
    column.get("field_name").or_else(|| column.get("name")).and_then(Value::as_str)
}

/// Of pandas's indexes, by the name of their column; a range has none.
fn keep_indexes(value: &mut Value, keep: impl Fn(Option<&str>) -> bool) {
    if let Some(Value::Array(indexes)) = value.get_mut("index_columns") {
        indexes.retain(|index| keep(index.as_str()));
    }
}

/// The text after a change; as it was, letter by letter, if nothing changed or it is of another form.
fn changed(text: &str, change: impl FnOnce(&mut Value)) -> String {
    let Ok(before) = serde_json::from_str::<Value>(text) else { return text.to_owned() };
    let mut after = before.clone();
    change(&mut after);
    if after == before { text.to_owned() } else { after.to_string() }
}

/// What is true of any file with these columns.
pub(super) fn of_file(metadata: &Metadata) -> Metadata {
    let kept = metadata.iter().filter(|(key, _)| *key != ARROW_SCHEMA_META_KEY);
    kept.map(|(key, value)| (key.clone(), general(key, value))).collect()
}

fn general(key: &str, value: &str) -> String {
    match Kind::of(key) {
        Some(Kind::Pandas) => changed(value, drop_ranges),
        Some(Kind::Geo) => changed(value, drop_bounds),
        Some(Kind::HuggingFace) | None => value.to_owned(),
    }
}

/// But those that pandas makes where it knows of none: where the number of rows is another, they are passed over.
fn drop_ranges(value: &mut Value) {
    let is_usual = |index: &Value| index["start"] == 0 && index["step"] == 1 && index["name"].is_null();
    if let Some(Value::Array(indexes)) = value.get_mut("index_columns") {
        indexes.retain(|index| index.is_string() || is_usual(index));
    }
}

fn drop_bounds(value: &mut Value) {
    let Some(Value::Object(columns)) = value.get_mut("columns") else { return };
    for column in columns.values_mut().filter_map(Value::as_object_mut) {
        column.remove("bbox");
    }
}

/// Keys on which all files agree. `files` have them as [`of_file`] gives them.
pub(super) fn agreed_keys(files: &[SchemaRef]) -> Metadata {
    let Some((first, others)) = files.split_first() else { return Metadata::default() };
    let agreed = first.metadata().iter().filter_map(|(key, value)| {
        let theirs: Option<Vec<&String>> = others.iter().map(|other| other.metadata().get(key)).collect();
        Some((key.clone(), agreed(key, value, &theirs?)?))
    });
    agreed.collect()
}

fn agreed(key: &str, value: &str, others: &[&String]) -> Option<String> {
    if others.iter().all(|other| *other == value) {
        return Some(value.to_owned());
    }
    let kind = Kind::of(key)?;
    others.iter().try_fold(value.to_owned(), |agreed, other| agreed_columns(kind, &agreed, other))
}

/// The first one's, with the columns of which both say the same; none if they mean other columns as pandas's index or as the
/// geometry.
fn agreed_columns(kind: Kind, one: &str, other: &str) -> Option<String> {
    let mut one: Value = serde_json::from_str(one).ok()?;
    let mut other: Value = serde_json::from_str(other).ok()?;
    [&mut one, &mut other].into_iter().for_each(|value| keep_indexes(value, |name| name.is_some()));
    if one.pointer(kind.common_part()) != other.pointer(kind.common_part()) {
        return None;
    }
    kind.retain(&mut one, |name, entry| kind.entry(&other, name).is_none_or(|other| other == entry));
    Some(one.to_string())
}

/// The keys of a source for a file with the columns of `sink`, of which `untouched` came as they are.
pub fn keys_for(source: &Schema, sink: &Schema, untouched: &HashSet<&str>) -> Metadata {
    let names = |schema: &Schema| schema.fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
    let is_all = untouched.len() == sink.fields().len() && names(source) == names(sink);
    let kept = source.metadata().iter().filter(|(key, _)| is_all || !SCHEMAS.contains(&key.as_str()));
    kept.filter_map(|(key, value)| Some((key.clone(), cut(key, value, untouched)?))).collect()
}

fn cut(key: &str, value: &str, untouched: &HashSet<&str>) -> Option<String> {
    let Some(kind) = Kind::of(key) else { return Some(value.to_owned()) };
    let is_untouched = |name: &str| untouched.contains(name);
    let cut = changed(value, |value| {
        kind.retain(value, |name, _| is_untouched(name));
        keep_indexes(value, |name| name.is_none_or(is_untouched));
    });
    let primary: Option<Value> = serde_json::from_str(&cut).ok().filter(|_| kind == Kind::Geo);
    let is_there = |value: &Value| value["primary_column"].as_str().is_some_and(is_untouched);
    primary.as_ref().is_none_or(is_there).then_some(cut)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field};
    use serde_json::json;

    use super::*;

    fn schema(names: &[&str], key: &str, value: &str) -> SchemaRef {
        let fields: Vec<Field> = names.iter().map(|name| Field::new(*name, DataType::Int64, true)).collect();
        let metadata = of_file(&Metadata::from([(key, value)]));
        Arc::new(Schema::new_with_metadata(fields, metadata))
    }

    /// The key in a sink of some columns, of which some came as they are; of a source of these files.
    #[track_caller]
    fn check(key: &str, files: &[Value], sink: &[&str], untouched: &[&str], expected: Option<Value>) {
        let files: Vec<SchemaRef> =
            files.iter().map(|value| schema(&["id", "doc", "x"], key, &value.to_string())).collect();
        let source = files[0].as_ref().clone().with_metadata(agreed_keys(&files));
        let sink = schema(sink, "other", "");
        let found = keys_for(&source, &sink, &untouched.iter().copied().collect());
        let found = found.get(key).map(|text| serde_json::from_str::<Value>(text).unwrap());
        assert_eq!(found, expected, "{key}");
    }

    fn pandas(index: &Value, columns: &[(&str, &str)]) -> Value {
        let column = |(name, kind): &(&str, &str)| json!({ "field_name": name, "pandas_type": kind });
        json!({ "index_columns": index, "columns": columns.iter().map(column).collect::<Vec<_>>() })
    }

    #[test]
    fn pandas_speaks_of_columns_that_are_there() {
        let doc = json!(["doc"]);
        let all = pandas(&doc, &[("id", "int64"), ("doc", "int64"), ("x", "int64")]);
        let (every, one) = (["id", "doc", "x"], std::slice::from_ref(&all));
        check("pandas", one, &every, &every, Some(all.clone()));
        check("pandas", one, &["x", "new"], &["x"], Some(pandas(&json!([]), &[("x", "int64")])));
        check("pandas", one, &every, &["id", "doc"], Some(pandas(&doc, &[("id", "int64"), ("doc", "int64")])));
        let other = pandas(&doc, &[("id", "int64"), ("doc", "int64"), ("x", "float64")]);
        let both = [all.clone(), other];
        check("pandas", &both, &every, &every, Some(pandas(&doc, &[("id", "int64"), ("doc", "int64")])));
        check("pandas", &[all.clone(), pandas(&json!([]), &[])], &every, &every, None);
        let range =
            |start: i64, stop: i64| json!([{ "kind": "range", "name": null, "start": start, "stop": stop, "step": 1 }]);
        let ranged = |start, stop| pandas(&range(start, stop), &[("id", "int64")]);
        check("pandas", &[ranged(0, 3)], &["id"], &["id"], Some(ranged(0, 3)));
        check("pandas", &[ranged(5, 8)], &["id"], &["id"], Some(pandas(&json!([]), &[("id", "int64")])));
        check("pandas", &[ranged(0, 3), ranged(0, 4)], &["id"], &["id"], Some(pandas(&json!([]), &[("id", "int64")])));
    }

    #[test]
    fn features_and_geometries_are_cut() {
        let features = json!({ "info": { "features": { "id": { "dtype": "int64" }, "x": { "_type": "Image" } } } });
        let one = std::slice::from_ref(&features);
        check(
            "huggingface",
            one,
            &["x"],
            &["x"],
            Some(json!({ "info": { "features": { "x": { "_type": "Image" } } } })),
        );
        let geo =
            |bounds: Value| json!({ "primary_column": "x", "columns": { "x": { "encoding": "WKB", "bbox": bounds } } });
        let without = json!({ "primary_column": "x", "columns": { "x": { "encoding": "WKB" } } });
        check("geo", &[geo(json!([0, 1])), geo(json!([2, 3]))], &["id", "x"], &["id", "x"], Some(without));
        check("geo", &[geo(json!([0, 1]))], &["id", "x"], &["id"], None);
    }

    #[test]
    fn other_keys_are_agreed_and_schemas_go_with_all_columns() {
        let spark = "org.apache.spark.sql.parquet.row.metadata";
        let every = ["id", "doc", "x"];
        check(spark, &[json!({})], &every, &every, Some(json!({})));
        check(spark, &[json!({})], &every, &["id", "doc"], None);
        check(spark, &[json!({})], &["id", "doc"], &["id", "doc"], None);
        check("owner", &[json!("me"), json!("me")], &["id"], &["id"], Some(json!("me")));
        check("owner", &[json!("me"), json!("you")], &["id"], &["id"], None);
        // Not of the form that the key has.
        check("pandas", &[json!("me")], &["id"], &["id"], Some(json!("me")));
    }
}
