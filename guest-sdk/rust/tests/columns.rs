//! State, structs as columns, and what `describe` tells: functions bound and called over arrays, without a byte between.

use std::sync::Arc;

use expect_test::{Expect, expect};
use serde::Deserialize;
use wasmpipe_sdk::arrow_array::{
    Array, ArrayRef, Float64Array, Int64Array, ListArray, StringArray, StructArray, UInt32Array,
};
use wasmpipe_sdk::component::describe;
use wasmpipe_sdk::schemars::{self, JsonSchema};
use wasmpipe_sdk::{
    Columns, DataType, Exported, Field, RecordBatch, RowError, State, Struct, filter, flat_map, map, map_batches,
};

mod bound;
use bound::{batch, call, refusal};

/// What a table is made of.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TableConfig {
    /// Their ordinals are the numbers.
    names: Vec<String>,
}

struct Table(Vec<String>);

impl State for Table {
    type Config = TableConfig;

    fn new(config: TableConfig) -> Result<Table, String> {
        match config.names.is_empty() {
            true => Err("`names` is empty".to_owned()),
            false => Ok(Table(config.names)),
        }
    }
}

/// The number of a name.
#[map]
fn number(name: &str, #[state] table: &Table) -> Option<u32> {
    table.0.iter().position(|known| known == name).map(|at| at as u32)
}

#[map_batches(needs("n": i64), adds("m": Option<i64>))]
fn all(batch: &RecordBatch, #[state] _table: &Table, #[config] _config: &TableConfig) -> RecordBatch {
    batch.clone()
}

#[derive(Columns, Debug, Clone, PartialEq)]
struct Place<'a> {
    lat: f64,
    #[column("long name")]
    name: Option<&'a str>,
}

/// Several columns.
#[map]
fn place(lat: f64, name: Option<&str>) -> Result<Place<'_>, String> {
    if lat.abs() > 90.0 { Err(format!("{lat} is no latitude")) } else { Ok(Place { lat, name }) }
}

#[flat_map]
fn places<'a>(lat: f64, name: Option<&'a str>) -> Vec<Place<'a>> {
    [-1.0, 1.0].into_iter().filter(|sign| sign * lat > 0.0).map(|sign| Place { lat: sign, name }).collect()
}

#[map]
fn as_struct(place: Place<'_>) -> Struct<Place<'_>> {
    Struct(Place { lat: place.lat + 1.0, name: place.name.and_then(|name| name.get(..1)) })
}

#[map]
fn maybe(place: Option<Place<'_>>) -> Option<Place<'_>> {
    place.filter(|place| place.lat > 0.0)
}

#[map(columns("lats", "all"))]
fn lists<'a>(places: Vec<Place<'a>>) -> (Vec<f64>, Vec<Place<'a>>) {
    (places.iter().map(|place| place.lat).collect(), places)
}

#[derive(Deserialize)]
struct Undescribed {
    limit: f64,
}

#[filter]
fn below(lat: f64, #[config] limit: &Undescribed) -> bool {
    lat < limit.limit
}

fn describes(functions: &[wasmpipe_sdk::Function], expected: Expect) {
    let described: serde_json::Value = serde_json::from_str(&describe(functions)).expect("JSON");
    expected.assert_eq(&serde_json::to_string_pretty(&described).expect("JSON"));
}

#[test]
fn describe_tells_config_and_columns() {
    describes(
        &[number::FUNCTION, below::FUNCTION, place::FUNCTION],
        expect![[r#"
        {
          "functions": [
            {
              "adds": [
                {
                  "name": "number",
                  "nullable": true,
                  "type": "UInt32"
                }
              ],
              "config": {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "additionalProperties": false,
                "description": "What a table is made of.",
                "properties": {
                  "names": {
                    "description": "Their ordinals are the numbers.",
                    "items": {
                      "type": "string"
                    },
                    "type": "array"
                  }
                },
                "required": [
                  "names"
                ],
                "title": "TableConfig",
                "type": "object"
              },
              "doc": "The number of a name.",
              "kind": "map",
              "name": "number",
              "needs": [
                {
                  "name": "name",
                  "nullable": false,
                  "type": "Utf8"
                }
              ]
            },
            {
              "adds": [],
              "doc": "",
              "kind": "filter",
              "name": "below",
              "needs": [
                {
                  "name": "lat",
                  "nullable": false,
                  "type": "Float64"
                }
              ]
            },
            {
              "adds": [
                {
                  "name": "lat",
                  "nullable": false,
                  "type": "Float64"
                },
                {
                  "name": "long name",
                  "nullable": true,
                  "type": "Utf8"
                }
              ],
              "config": {
                "additionalProperties": false,
                "properties": {},
                "type": "object"
              },
              "doc": "Several columns.",
              "kind": "map",
              "name": "place",
              "needs": [
                {
                  "name": "lat",
                  "nullable": false,
                  "type": "Float64"
                },
                {
                  "name": "name",
                  "nullable": true,
                  "type": "Utf8"
                }
              ]
            }
          ]
        }"#]],
    );
}

#[test]
fn state_is_built_from_the_config_or_refuses() {
    let block = batch([("name", Arc::new(StringArray::from(vec!["b", "x"])) as ArrayRef)]);
    let answer = call::<number>(r#"{"names": ["a", "b"]}"#, &block);
    assert_eq!(answer.arrays[0].as_ref(), &UInt32Array::from(vec![Some(1), None]) as &dyn Array);
    assert_eq!(refusal::<number>(r#"{"names": []}"#, &block), "config: `names` is empty");
    assert_eq!(refusal::<number>("{}", &block), "config: missing field `names`");
}

#[test]
fn state_and_config_are_both_read_from_the_config() {
    let block = batch([("n", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]);
    assert_eq!(call::<all>(r#"{"names": ["a"]}"#, &block).rows, 1);
}

fn latitudes() -> RecordBatch {
    batch([
        ("lat", Arc::new(Float64Array::from(vec![1.0, 91.0, -2.0])) as ArrayRef),
        ("name", Arc::new(StringArray::from(vec![Some("ab"), Some("c"), None]))),
    ])
}

#[test]
fn a_struct_makes_several_columns() {
    let answer = call::<place>("{}", &latitudes());
    let names: Vec<_> = answer.adds.iter().map(|field| (field.name().as_str(), field.is_nullable())).collect();
    assert_eq!(names, [("lat", false), ("long name", true)]);
    assert_eq!(answer.arrays[0].as_ref(), &Float64Array::from(vec![1.0, 0.0, -2.0]) as &dyn Array);
    assert_eq!(answer.arrays[1].as_ref(), &StringArray::from(vec![Some("ab"), None, None]) as &dyn Array);
    assert_eq!(answer.errors, [RowError { row: 1, message: "91 is no latitude".to_owned() }]);
    let answer = call::<places>("{}", &latitudes());
    assert_eq!(answer.arrays[0].as_ref(), &Float64Array::from(vec![1.0, 1.0, -1.0]) as &dyn Array);
    assert_eq!(answer.arrays.len(), 2);
}

fn structs() -> StructArray {
    let fields = vec![Field::new("other", DataType::Int64, true), Field::new("long name", DataType::Utf8, true)];
    let fields = [fields, vec![Field::new("lat", DataType::Float64, true)]].concat();
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![1, 2, 3])),
        Arc::new(StringArray::from(vec![Some("ab"), None, Some("")])),
        Arc::new(Float64Array::from(vec![Some(1.0), Some(-2.0), None])),
    ];
    StructArray::new(fields.into(), arrays, None)
}

#[test]
fn a_struct_is_one_column() {
    // As the host gives it: the fields that were asked for, in that order.
    let input = structs();
    let asked = (as_struct::FUNCTION.bind)(batch([("place", Arc::new(input) as ArrayRef)]).schema_ref(), "{}");
    let expected = DataType::Struct(
        vec![Field::new("lat", DataType::Float64, true), Field::new("long name", DataType::Utf8, true)].into(),
    );
    assert_eq!(asked.expect("binds").needs[0].data_type(), &expected);
}

#[test]
fn a_null_deep_inside_is_a_row_error() {
    let input = structs();
    let asked = StructArray::new(
        vec![Field::new("lat", DataType::Float64, true), Field::new("long name", DataType::Utf8, true)].into(),
        vec![Arc::clone(input.column(2)), Arc::clone(input.column(1))],
        None,
    );
    let block = batch([("place", Arc::new(asked.clone()) as ArrayRef)]);
    let answer = call::<as_struct>("{}", &block);
    let message = "column `place`: `lat`: a null in it, where the function allows none".to_owned();
    assert_eq!(answer.errors, [RowError { row: 2, message: message.clone() }]);
    let out = answer.arrays[0].as_any().downcast_ref::<StructArray>().expect("a struct");
    assert_eq!(out.column(0).as_ref(), &Float64Array::from(vec![2.0, -1.0, 0.0]) as &dyn Array);

    let nullable =
        StructArray::new(asked.fields().clone(), asked.columns().to_vec(), Some(vec![true, true, false].into()));
    let answer = call::<maybe>("{}", &batch([("place", Arc::new(nullable) as ArrayRef)]));
    assert_eq!(answer.errors, []);
    assert_eq!(answer.arrays[0].nulls().expect("nulls").iter().collect::<Vec<_>>(), [true, false, false]);
}

#[test]
fn structs_stand_in_lists() {
    let fields = vec![Field::new("lat", DataType::Float64, false), Field::new("long name", DataType::Utf8, true)];
    let arrays: Vec<ArrayRef> =
        vec![Arc::new(Float64Array::from(vec![1.0, 2.0])), Arc::new(StringArray::from(vec![Some("a"), None]))];
    let values: ArrayRef = Arc::new(StructArray::new(fields.into(), arrays, None));
    let field = Arc::new(Field::new_list_field(values.data_type().clone(), false));
    let offsets = wasmpipe_sdk::arrow_buffer::OffsetBuffer::new(vec![0, 2, 2].into());
    let list = ListArray::new(field, offsets, values, None);
    let answer = call::<lists>("{}", &batch([("places", Arc::new(list.clone()) as ArrayRef)]));
    assert_eq!(answer.arrays[1].as_ref(), &list as &dyn Array);
}
