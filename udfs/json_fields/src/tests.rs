//! JSON texts and the columns that come of them.

use serde_json::{Value, json};
use wasmpipe_sdk::arrow_array::{BooleanArray, Float64Array, Int64Array};

use super::*;

fn config(config: Value) -> FieldsConfig {
    serde_json::from_value(config).expect("a config")
}

fn run(config: &FieldsConfig, texts: &[Option<&str>]) -> Answer {
    let input = Schema::new(vec![Field::new(&config.column, DataType::Utf8, true)]);
    let Schemas { needs, adds } = schemas(&input, config).expect("schemas");
    let column = Arc::new(StringArray::from(texts.to_vec()));
    let batch = RecordBatch::try_new(needs.into(), vec![column]).expect("a batch");
    let wanted = Wanted::new(config.clone()).expect("paths");
    let answer = json_fields(&batch, config, &wanted).expect("works");
    assert_eq!(answer.batch.schema().as_ref(), &adds);
    answer
}

/// A column's values as JSON.
fn values(answer: &Answer, name: &str) -> Vec<Value> {
    let column = answer.batch.column_by_name(name).expect("a column").as_any();
    if let Some(column) = column.downcast_ref::<StringArray>() {
        column.iter().map(|value| json!(value)).collect()
    } else if let Some(column) = column.downcast_ref::<Int64Array>() {
        column.iter().map(|value| json!(value)).collect()
    } else if let Some(column) = column.downcast_ref::<Float64Array>() {
        column.iter().map(|value| json!(value)).collect()
    } else {
        column.downcast_ref::<BooleanArray>().expect("booleans").iter().map(|value| json!(value)).collect()
    }
}

/// What one field finds in one text.
#[track_caller]
fn check(path: &str, kind: &str, text: &str, expected: Value) {
    let config = config(json!({ "fields": { "x": { "path": path, "type": kind } } }));
    let answer = run(&config, &[Some(text)]);
    assert!(answer.errors.is_empty(), "{path} {kind} {text}: {:?}", answer.errors);
    assert_eq!(values(&answer, "x"), [expected], "{path} {kind} {text}");
}

/// Why one field refuses one text.
#[track_caller]
fn check_error(path: &str, kind: &str, text: &str, expected: &str) {
    let config = config(json!({ "fields": { "x": { "path": path, "type": kind } } }));
    let answer = run(&config, &[Some("{}"), Some(text)]);
    assert_eq!(answer.errors, [RowError { row: 1, message: expected.to_owned() }]);
}

#[test]
fn every_type() {
    check("$.a", "string", r#"{"a": "x y"}"#, json!("x y"));
    check("$.a", "string", r#"{"a": "\u00e4\n\ud83d\ude00"}"#, json!("ä\n😀"));
    check("$.a", "integer", r#"{"a": -9223372036854775808}"#, json!(i64::MIN));
    check("$.a", "integer", r#"{"a": 9223372036854775807}"#, json!(i64::MAX));
    check("$.a", "integer", r#"{"a": 1e3}"#, json!(1000));
    check("$.a", "float", r#"{"a": 0.1}"#, json!(0.1));
    check("$.a", "float", r#"{"a": 3}"#, json!(3.0));
    check("$.a", "boolean", r#"{"a": false}"#, json!(false));
    check("$.a", "json", r#"{"a": {"b" : [1, "2"]} }"#, json!(r#"{"b" : [1, "2"]}"#));
    check("$", "json", " [1] ", json!("[1]"));
    check("", "string", "\"all\"", json!("all"));
}

#[test]
fn paths_lead_into_objects_and_arrays() {
    let text = r#"{"skip": [{"a": 1}], "a": {"b": [10, {"c": 20}, [30]], "0": 40}, "a.b": 50}"#;
    check("$.a.b[0]", "integer", text, json!(10));
    check("/a/b/1/c", "integer", text, json!(20));
    check("$.a.b[2][0]", "integer", text, json!(30));
    check("/a/0", "integer", text, json!(40));
    check("$.a['0']", "integer", text, json!(40));
    check("$['a.b']", "integer", text, json!(50));
}

#[test]
fn what_is_missing_or_null_is_null() {
    let text = r#"{"a": null, "b": [1]}"#;
    for path in ["$.a", "$.a.b", "$.b[1]", "$.c", "$[0]", "$.b.c", "/b/00"] {
        check(path, "integer", text, Value::Null);
        check(path, "json", text, Value::Null);
    }
    let config = config(json!({ "fields": { "x": "$" } }));
    let answer = run(&config, &[None, Some("null"), Some("\"\"")]);
    assert!(answer.errors.is_empty());
    assert_eq!(values(&answer, "x"), [Value::Null, Value::Null, json!("")]);
}

#[test]
fn many_fields_in_one_walk() {
    let config = config(json!({ "column": "doc", "fields": {
        "all": { "path": "$.a", "type": "json" },
        "deep": { "path": "$.a.b", "type": "integer" },
        "deeper": { "path": "/a/c/0", "type": "string" },
        "same": { "path": "$.a.c[0]" },
        "key": { "path": "/k/0", "type": "integer" },
        "other_key": { "path": "$.k['0']", "type": "integer" },
    } }));
    let answer = run(&config, &[Some(r#"{"a": {"b": 1, "c": ["x"]}, "k": {"0": 7}}"#), Some(r#"{"k": [8]}"#)]);
    assert!(answer.errors.is_empty());
    assert_eq!(values(&answer, "all"), [json!(r#"{"b": 1, "c": ["x"]}"#), Value::Null]);
    assert_eq!(values(&answer, "deep"), [json!(1), Value::Null]);
    assert_eq!(values(&answer, "deeper"), [json!("x"), Value::Null]);
    assert_eq!(values(&answer, "same"), [json!("x"), Value::Null]);
    assert_eq!(values(&answer, "key"), [json!(7), json!(8)]);
    assert_eq!(values(&answer, "other_key"), [json!(7), Value::Null]);
}

#[test]
fn of_a_doubled_key_the_last_counts() {
    check("$.a.b", "integer", r#"{"a": {"b": 1}, "a": {"c": 2}}"#, Value::Null);
    check("$.a", "integer", r#"{"a": "x", "a": 2}"#, json!(2));
    check("$.a", "json", r#"{"a": 1, "a": null}"#, Value::Null);
}

#[test]
fn row_errors() {
    check_error("$.a", "string", r#"{"a": 1}"#, "x: a number where a string was expected");
    check_error("$.a", "integer", r#"{"a": 1.5}"#, "x: a number where a 64-bit integer was expected");
    check_error("$.a", "integer", r#"{"a": 9223372036854775808}"#, "x: a number where a 64-bit integer was expected");
    check_error("$.a", "boolean", r#"{"a": "true"}"#, "x: a string where true or false was expected");
    check_error("$.a", "float", r#"{"a": []}"#, "x: an array where a number was expected");
    check_error("$.a", "string", r#"{"a": {}}"#, "x: an object where a string was expected");
    check_error("$.a", "string", "", "no JSON: EOF while parsing a value at line 1 column 0");
    check_error("$.a", "string", r#"{"a": "x"} x"#, "no JSON: trailing characters at line 1 column 12");
    check_error("$.b", "string", r#"{"a": [1,]}"#, "no JSON: expected value at line 1 column 10");
    check_error("$.a", "json", r#"{"a": [1"#, "no JSON: EOF while parsing a list at line 1 column 8");
}

#[test]
fn a_mismatch_may_be_null() {
    let config = config(json!({ "fields": { "x": "$.a" }, "mismatch": "null" }));
    let answer = run(&config, &[Some(r#"{"a": 1}"#), Some(r#"{"a": "b"}"#), Some("{")]);
    assert_eq!(values(&answer, "x"), [Value::Null, json!("b"), Value::Null]);
    assert_eq!(answer.errors.iter().map(|error| error.row).collect::<Vec<_>>(), [2]);
}

#[test]
fn what_is_refused() {
    let input = Schema::new(vec![Field::new("json", DataType::Utf8, true)]);
    let check = |text: Value, expected: &str| {
        assert_eq!(schemas(&input, &config(text)).expect_err("refused"), expected);
    };
    check(json!({ "fields": {} }), "fields: name at least one");
    check(json!({ "column": "doc", "fields": { "x": "$" } }), "there is no column `doc`; the columns here are json");
    check(
        json!({ "fields": { "x": "a.b" } }),
        "fields.x: the path \"a.b\" begins neither with / (JSON Pointer) nor with $ (JSONPath)",
    );
}

#[test]
fn time_is_linear_and_the_stack_is_safe_in_hostile_texts() {
    let config = config(json!({ "fields": {
        "x": { "path": "/a/0/0", "type": "json" },
        "y": { "path": "$[0][0][0]", "type": "json" },
        "z": { "path": "$[1]", "type": "integer" },
    } }));
    let bytes = 4_000_000;
    let nested = |open: &str, inner: &str, close: &str, depth: usize| {
        [open.repeat(depth), inner.to_owned(), close.repeat(depth)].concat()
    };
    let texts = [
        "[".repeat(bytes),
        "{\"a\":".repeat(bytes / 5),
        nested("[", "", "]", bytes / 2),
        nested("{\"a\":[", "1", "]}", bytes / 8),
        format!("[{}0]", "0,".repeat(bytes / 2)),
        format!("{{{}\"b\":0}}", "\"a\":[[1]],".repeat(bytes / 10)),
        format!("\"{}\"", "\\\\".repeat(bytes / 2)),
    ];
    for text in &texts {
        std::hint::black_box(run(&config, &[Some(text)]));
    }
}
