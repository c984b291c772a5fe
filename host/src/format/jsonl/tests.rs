//! Lines of every kind against their values or refusals, in the manner of JSONTestSuite; batches that come back as they
//! were; lines that were changed at random, with serde_json as the judge.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::*;

use super::decode::{Decoder, Options};
use super::encode::{self, Nulls};
use super::infer::{InferError, Inference};
use super::refusal::Reason;
use super::{DEPTH_MAX, ExtraKeys, types};

fn schema(columns: &[(&str, &str)]) -> SchemaRef {
    let field = |(name, text): &(&str, &str)| types::field(name, text).unwrap();
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

fn decoder(columns: &[(&str, &str)], extra_keys: ExtraKeys) -> Decoder {
    Decoder::new(&schema(columns), &Options { extra_keys, columns: None }).unwrap()
}

fn written(batch: &RecordBatch, nulls: Nulls) -> String {
    encode::check(batch.schema_ref()).unwrap();
    let mut out = Vec::new();
    let refused = encode::encode(batch, nulls, &mut out);
    assert_eq!(refused, []);
    String::from_utf8(out).unwrap()
}

/// What one line becomes, written anew without nulls, or why it is none.
fn told(columns: &[(&str, &str)], extra_keys: ExtraKeys, line: &[u8]) -> Result<String, String> {
    let mut decoder = decoder(columns, extra_keys);
    decoder.push(line).map_err(|refusal| refusal.to_string())?;
    Ok(written(&decoder.finish(), Nulls::LeftOut).trim_end().to_owned())
}

// ---- Any JSON ------------------------------------------------------------------------------------------------------------

/// Values that are JSON.
const GOOD: &str = r#"
[] [[]] [[],[[]]] {} {"":0} {"a":{"a":{"a":1}}} [1,2.5,"x",null,true,false,{}] {"a":"b","c":"d"} {"a\u0000b":1}
0 -0 1 -1 10 123456789012345678901234567890 0.0 0.1 -0.1 -0.0 1e1 1E1 1e+1 1e-1 1E+1 1E-1 1.5e10 0e0 0e+1 0E-1 20e1 0.4e006
-0.000000000000000000000000000000000000000000000000000000000000000000000000000001 1.0000000000000000000001 9007199254740993
"" "a" "\u0060\u012a\u12AB" "\uD801\udc37" "\ud83d\ude39\ud83d\udc8d" "\uDBFF\uDFFF" "\"\\\/\b\f\n\r\t" "\\u0000" "\"" "a/*b*/c//d"
"\\a" "\\n" "\u0012" "\uFFFF" "\uFFFE" "\u0000" "\u002c" "\u0022" "\u005C" "new\u000Aline" "\u2028\u2029" "\u0821" "\uABCD" "\uabCd"
"é" "日本" "𝄞" "€𝄞" "\u200B" "\u2064" "\uFDD0" "\uD834\uDd1e" true false null [null] [true,[false]] [[[[[[[[]]]]]]]] {"x":[{"id":"x"}]}
"#;

/// Values that are none.
const BAD: &str = r#"
[ [1 [1, [,1] [1,,2] [1,] [,] ["x",,] [x [1]] ["a" [1}  [1:2] [1;2] [][] ["": ["a"b] [++1] [+1] [--1] [-] [-x] [1x] [01] [-01] [00] [012]
[1.] [.5] [-.5] [1.e1] [1e] [1e+] [1E-] [1ee2] [1e1.5] [1.5.5] [0x1] [0x] [1_000] [1+2] [0.e1] [.] [2.e3] [2.e-3] [9.e+] [1eE2] [-2.]
NaN [NaN] [-NaN] Infinity [Infinity] [-Infinity] [+Inf] [nan] [Inf] [nul] [tru] [fals] [True] [NULL] [nulll] [truth] truefalse [falsetrue] truenull nul tru n t f [undefined]
{"a" {"a": {"a":1 {"a":1, {"a":1,} {"a":1,,"b":2} {,} {a:1} {'a':1} {"a"} {"a",1} {"a"1} {"a"::1} {1:1} {null:1} {[]:1} {"a":} {"a":1 "b":2} {"a":1}}
{"a":1}x {"a":1}# {"a":1}{"b":2} {"a":1}, "abc "\" "\ "\u "\u0 "\u00A" "\u00" "\uD800" "\uDC00" "\uD800\u0041" "\uD800x" "\uDFAA" "\uD800\uD800" "\u00G0"
"\x00" "\a" "\'" "\0" "\u{41}" "\U0041" "\uD888\u12" "\uD834\uDd" "\ud8\"x" "a"" ""x 'a' "a\ \u000A <.> # // /*x*/1 1/*x*/ [1]//x ; , : } ] - . + * "\uqqqq"
"#;

/// Cases with white space, bytes that are no text, and depth.
fn odd_cases() -> Vec<(Vec<u8>, bool)> {
    let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
    let open = |text: &str, count: usize| text.repeat(count).into_bytes();
    let mut cases: Vec<(Vec<u8>, bool)> = [
        (&b" [ 1 , 2 ] "[..], true),
        (b"\t{\t\"a\"\t:\t1\t}\t", true),
        (b"[\r1\r]", true),
        (b"[\n1\n]", true),
        (b"\"\x7f\"", true),
        (b"\"\xc2\xa0\"", true),
        (b"", false),
        (b" ", false),
        (b"[\x0c]", false),
        (b"[\xc2\xa0]", false),
        (b"[\xe2\x81\xa0]", false),
        (b"\xef\xbb\xbf[]", false),
        (b"\"\x00\"", false),
        (b"\"\x1f\"", false),
        (b"\"\t\"", false),
        (b"\"a\nb\"", false),
        (b"\"\xff\"", false),
        (b"\"\xed\xa0\x80\"", false),
        (b"\"\xc0\xaf\"", false),
        (b"\"\xf4\xbf\xbf\xbf\"", false),
        (b"\"\xe0\xff\"", false),
        (b"\"\xc3", false),
        (b"[\xff]", false),
        (b"\xff\xfe[\x00]\x00", false),
        (b"\x00", false),
        (b"1\x00", false),
        (b"[\"\\u00A\xe5\"]", false),
        (b"\"\\\xe5\"", false),
    ]
    .map(|(text, is_good)| (text.to_vec(), is_good))
    .into();
    cases.push((nested(DEPTH_MAX - 1), true));
    cases.extend(
        [nested(DEPTH_MAX), nested(100_000), open("[", 100_000), open("{\"a\":", 100_000), open("[{\"\":", 50_000)]
            .map(|text| (text, false)),
    );
    cases
}

fn any_cases() -> Vec<(Vec<u8>, bool)> {
    let words =
        |text: &'static str, is_good| text.split_whitespace().map(move |word| (word.as_bytes().to_vec(), is_good));
    words(GOOD, true).chain(words(BAD, false)).chain(odd_cases()).collect()
}

/// A key within a line, in a column that takes all and as a key that no schema names.
fn lines_with(value: &[u8]) -> [(Vec<u8>, Decoder); 2] {
    let line = [b"{\"v\":", value, b"}"].concat();
    [(line.clone(), decoder(&[("v", "json")], ExtraKeys::Refuse)), (line, decoder(&[], ExtraKeys::Drop))]
}

#[test]
fn values_are_json_or_refused() {
    let cases = any_cases();
    assert!(cases.len() > 240, "{}", cases.len());
    for (value, is_good) in cases {
        for (line, mut decoder) in lines_with(&value) {
            let told = decoder.push(&line);
            assert_eq!(told.is_ok(), is_good, "{:?}: {told:?}", String::from_utf8_lossy(&value));
            assert_eq!(decoder.rows(), usize::from(is_good));
        }
    }
}

#[test]
fn a_json_column_has_the_text_as_it_stands() {
    for value in GOOD.split_whitespace().filter(|value| *value != "null") {
        let mut decoder = decoder(&[("v", "json")], ExtraKeys::Refuse);
        decoder.push(format!("{{ \"v\" : {value} }}").as_bytes()).unwrap();
        let batch = decoder.finish();
        assert_eq!(batch["v"].as_string::<i32>().value(0), value);
        assert_eq!(written(&batch, Nulls::Written), format!("{{\"v\":{value}}}\n"));
    }
}

#[test]
fn a_line_is_one_object() {
    let rows = [
        ("{}", Ok("{}")),
        (" \t{} \r", Ok("{}")),
        ("[]", Err("it must be one object, not a list")),
        ("1", Err("it must be one object, not a number")),
        ("\"{}\"", Err("it must be one object, not a string")),
        ("null", Err("it must be one object, not null")),
        ("true", Err("it must be one object, not true or false")),
        ("", Err("the line ends within a value")),
        ("NaN", Err("byte 0 must be a value, not `NaN`")),
        ("{}{}", Err("a second value begins at byte 2: `{}`")),
        ("{} x", Err("a second value begins at byte 3: `x`")),
        ("{},", Err("a second value begins at byte 2: `,`")),
        ("{", Err("the line ends within its object")),
        ("{\"a\":1", Err("the line ends within its object")),
        ("{\"a\":\"x", Err("`a`: the line ends within a string")),
        ("{\"a\":1,}", Err("byte 7 must be a key in double quotes, not `}`")),
    ];
    for (line, wanted) in rows {
        let wanted = wanted.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(told(&[], ExtraKeys::Drop, line.as_bytes()), wanted, "{line}");
    }
}

// ---- By type -------------------------------------------------------------------------------------------------------------

/// The type, a value, and the value as it is written or the refusal.
const BY_TYPE: &[(&str, &str, Result<&str, &str>)] = &[
    ("bool", "true", Ok("true")),
    ("bool", "1", Err("`v`: it must be bool, not `1`")),
    ("bool", "\"true\"", Err("`v`: it must be bool, not the string \"true\"")),
    ("bool", "tru", Err("`v`: byte 5 must be a value, not `tru`")),
    ("int64", "9223372036854775807", Ok("9223372036854775807")),
    ("int64", "-9223372036854775808", Ok("-9223372036854775808")),
    ("int64", "9223372036854775808", Err("`v`: `9223372036854775808` is no int64: it is out of range")),
    ("int64", "9007199254740993", Ok("9007199254740993")),
    ("int64", "9007199254740993.0", Ok("9007199254740993")),
    ("int64", "1e3", Ok("1000")),
    ("int64", "-0", Ok("0")),
    ("int64", "1.5", Err("`v`: `1.5` is no int64: it has a fraction")),
    ("int64", "1e-1", Err("`v`: `1e-1` is no int64: it has a fraction")),
    ("int64", "1e999", Err("`v`: `1e999` is no int64: it is out of range")),
    ("int64", "\"12\"", Err("`v`: it must be int64, not the string \"12\"")),
    ("int64", "01", Err("`v`: the number at byte 5 begins with a zero")),
    ("int64", "-", Err("`v`: the number at byte 6 has no digit")),
    ("int64", "[1]", Err("`v`: it must be int64, not a list")),
    ("int8", "-128", Ok("-128")),
    ("int8", "128", Err("`v`: `128` is no int8: it is out of range")),
    ("uint8", "255", Ok("255")),
    ("uint8", "-1", Err("`v`: `-1` is no uint8: it is out of range")),
    ("uint64", "18446744073709551615", Ok("18446744073709551615")),
    ("uint64", "18446744073709551616", Err("`v`: `18446744073709551616` is no uint64: it is out of range")),
    ("float64", "0.1", Ok("0.1")),
    ("float64", "1", Ok("1.0")),
    ("float64", "-0.0", Ok("-0.0")),
    ("float64", "1e308", Ok("1e308")),
    ("float64", "1e999", Err("`v`: `1e999` is no float64: it is out of range")),
    ("float64", "1e-999", Err("`v`: `1e-999` is no float64: it is out of range")),
    (
        "float64",
        "9007199254740993",
        Err("`v`: `9007199254740993` is no float64: it would be rounded to another whole number"),
    ),
    ("float64", "NaN", Err("`v`: byte 5 must be a value, not `NaN`")),
    ("float64", "-Infinity", Err("`v`: the number at byte 6 has no digit")),
    ("float64", "\"1\"", Err("`v`: it must be float64, not the string \"1\"")),
    ("float32", "0.1", Ok("0.1")),
    ("float32", "16777217", Err("`v`: `16777217` is no float32: it would be rounded to another whole number")),
    ("decimal(12,2)", "12.5", Ok("12.50")),
    ("decimal(12,2)", "-1e3", Ok("-1000.00")),
    ("decimal(12,2)", "1.239", Err("`v`: `1.239` is no decimal(12,2): it has more digits than the type holds")),
    ("decimal(4,2)", "123.4", Err("`v`: `123.4` is no decimal(4,2): it is out of range")),
    ("decimal(4,2)", "\"1.2\"", Err("`v`: it must be decimal(4,2), not the string \"1.2\"")),
    ("decimal(40,1)", "123456789012345678901234567890123456789.1", Ok("123456789012345678901234567890123456789.1")),
    ("string", "\"a\\u00e9\\n\"", Ok("\"aé\\n\"")),
    ("string", "1", Err("`v`: it must be string, not `1`")),
    ("string", "{}", Err("`v`: it must be string, not an object")),
    ("string", "\"\\ud800\"", Err("`v`: the escape at byte 6 is half of a surrogate pair")),
    ("string", "\"\\x\"", Err("`v`: the escape at byte 6 is none of JSON's: `\\x`")),
    ("string", "\"\t\"", Err("`v`: byte 6 is the control character 0x09, which must be escaped within a string")),
    ("binary", "\"AP9h\"", Ok("\"AP9h\"")),
    ("binary", "\"AA==\"", Ok("\"AA==\"")),
    ("binary", "\"AA\"", Err("`v`: \"AA\" is not bytes in base64, with `=` at its end")),
    ("binary[2]", "\"AAA=\"", Ok("\"AAA=\"")),
    ("binary[2]", "\"AA==\"", Err("`v`: it has 1 bytes or elements, not 2")),
    ("date32", "\"2024-02-29\"", Ok("\"2024-02-29\"")),
    ("date32", "\"2023-02-29\"", Err("`v`: \"2023-02-29\" is not a date like `2024-12-31`")),
    ("date32", "19782", Err("`v`: it must be a date like `2024-12-31`, not `19782`")),
    ("time[ms]", "\"23:59:59.5\"", Ok("\"23:59:59.500\"")),
    ("timestamp[us, UTC]", "\"2024-02-29T01:02:03+01:00\"", Ok("\"2024-02-29T00:02:03Z\"")),
    ("timestamp[us]", "\"2024-02-29 01:02:03.25\"", Ok("\"2024-02-29T01:02:03.250\"")),
    ("duration[us]", "-5", Ok("-5")),
    ("list<int64>", "[1, null, 3]", Ok("[1,null,3]")),
    ("list<int64>", "[1, [2]]", Err("`v[1]`: it must be int64, not a list")),
    ("list<int64>", "{}", Err("`v`: it must be a list, not an object")),
    ("list<list<string>>", "[[], null, [\"a\"]]", Ok("[[],null,[\"a\"]]")),
    ("struct<a: int64, b: string>", "{\"b\": \"x\"}", Ok("{\"b\":\"x\"}")),
    ("struct<a: int64, b: string>", "{\"a\": 1, \"a\": 1}", Err("`v.a`: the key stands twice in its object")),
    ("struct<a: int64, b: string>", "{\"c\": 1}", Err("`v.c`: the key is not in the schema")),
    (
        "struct<a: struct<b: list<int8>>>",
        "{\"a\":{\"b\":[1,300]}}",
        Err("`v.a.b[1]`: `300` is no int8: it is out of range"),
    ),
    ("map<string, int64>", "{\"x\": 1, \"\": null}", Ok("{\"x\":1,\"\":null}")),
    ("map<string, int64>", "{\"x\": 1, \"\\u0078\": 2}", Err("`v.x`: the key stands twice in its object")),
    ("json", "{\"a\": [1,  2]}", Ok("{\"a\": [1,  2]}")),
    ("json", "{\"a\": {\"b\": 1, \"b\": 2}}", Err("`v.a.b`: the key stands twice in its object")),
    ("json", "{\"a\": 1, \"\\u0061\": 2}", Err("`v.a`: the key stands twice in its object")),
    ("json", "NaN", Err("`v`: byte 5 must be a value, not `NaN`")),
    ("list<json>", "[1, \"x\", {}, null]", Ok("[1,\"x\",{},null]")),
];

#[test]
fn values_are_exactly_of_their_type_or_refused() {
    for (data_type, value, wanted) in BY_TYPE {
        let told = told(&[("v", data_type)], ExtraKeys::Refuse, format!("{{\"v\":{value}}}").as_bytes());
        let wanted = wanted.map(|value| format!("{{\"v\":{value}}}")).map_err(str::to_owned);
        assert_eq!(told, wanted, "{value} as {data_type}");
    }
}

#[test]
fn null_and_what_is_missing_are_null_where_they_may() {
    for (data_type, ..) in BY_TYPE {
        let mut decoder = decoder(&[("v", data_type)], ExtraKeys::Refuse);
        decoder.push(b"{\"v\":null}").unwrap();
        decoder.push(b"{}").unwrap();
        assert_eq!(decoder.finish()["v"].null_count(), 2, "{data_type}");
    }
    let needed = Arc::new(Schema::new(vec![types::field("v", "list<int8>").unwrap().with_nullable(false)]));
    let mut decoder = Decoder::new(&needed, &Options::default()).unwrap();
    for line in ["{}", "{\"v\":null}"] {
        assert!(matches!(decoder.push(line.as_bytes()).unwrap_err().reason(), Reason::Null));
    }
    decoder.push(b"{\"v\":[]}").unwrap();
    assert_eq!(decoder.finish().num_rows(), 1);
}

#[test]
fn keys_stand_once_in_any_order_and_spelling() {
    let columns = [("a", "int64"), ("b\"", "int64"), ("é", "int64")];
    for line in ["{\"é\":3,\"b\\\"\":2,\"a\":1}", "{\"\\u0061\":1,\"b\\u0022\":2,\"\\u00e9\":3}"] {
        assert_eq!(told(&columns, ExtraKeys::Refuse, line.as_bytes()).unwrap(), "{\"a\":1,\"b\\\"\":2,\"é\":3}");
    }
    let twice = "{\"a\":1,\"x\":1,\"b\\\"\":2,\"\\u0061\":1}";
    let error = told(&columns, ExtraKeys::Drop, twice.as_bytes()).unwrap_err();
    assert_eq!(error, "`a`: the key stands twice in its object");
    let extra = "{\"a\":1,\"x\":1,\"b\\\"\":2,\"\\u0078\":1}";
    let error = told(&columns, ExtraKeys::Drop, extra.as_bytes()).unwrap_err();
    assert_eq!(error, "`x`: the key stands twice in its object");
    let wide: Vec<String> = (0..100).map(|n| format!("k{n}")).collect();
    let columns: Vec<(&str, &str)> = wide.iter().map(|name| (name.as_str(), "int8")).collect();
    let lines = wide.iter().rev().map(|name| format!("\"{name}\":1")).collect::<Vec<_>>().join(",");
    let value = told(&columns, ExtraKeys::Refuse, format!("{{{lines}}}").as_bytes()).unwrap();
    assert_eq!(value.matches(":1").count(), 100);
}

#[test]
fn extra_keys_are_refused_dropped_or_kept_where_they_stood() {
    let columns =
        [("a", "int64"), ("s", "struct<b: int64, l: list<struct<c: int64>>>"), ("m", "map<string, struct<d: int64>>")];
    let line = r#"{"a":1,"x":{"y": [1]},"s":{"b":2,"u":3,"l":[{"c":1},{"c":2,"e":"\u0041"},{"f":null}],"w":4},"m":{"k":{"d":1,"g":2}},"z":5}"#;
    assert_eq!(told(&columns, ExtraKeys::Refuse, line.as_bytes()).unwrap_err(), "`x`: the key is not in the schema");
    let dropped = r#"{"a":1,"s":{"b":2,"l":[{"c":1},{"c":2},{}]},"m":{"k":{"d":1}}}"#;
    assert_eq!(told(&columns, ExtraKeys::Drop, line.as_bytes()).unwrap(), dropped);
    let mut decoder = decoder(&columns, ExtraKeys::Keep);
    let refused = decoder.push(br#"{"y":1,"s":{"q":1,"b":"x"}}"#).unwrap_err();
    assert_eq!(refused.to_string(), "`s.b`: it must be int64, not the string \"x\"");
    for line in [line, "{\"a\":1}", "{\"s\":{\"\\n\":{}}}"] {
        decoder.push(line.as_bytes()).unwrap();
    }
    let batch = decoder.finish();
    let kept = batch["_extra"].as_string::<i32>().iter().collect::<Vec<_>>();
    let first = r#"{"x":{"y": [1]},"s":{"u":3,"l":{"1":{"e":"\u0041"},"2":{"f":null}},"w":4},"m":{"k":{"g":2}},"z":5}"#;
    assert_eq!(kept, [Some(first), None, Some(r#"{"s":{"\n":{}}}"#)]);
    assert!(types::is_json(batch.schema_ref().field_with_name("_extra").unwrap()));
    let taken = schema(&[("_extra", "json")]);
    assert!(Decoder::new(&taken, &Options { extra_keys: ExtraKeys::Keep, columns: None }).is_err());
}

#[test]
fn columns_that_are_not_wanted_are_checked_but_not_built() {
    let all = schema(&[("a", "int64"), ("b", "list<string>"), ("c", "string")]);
    let options = Options { columns: Some(vec![0, 2]), ..Options::default() };
    let mut decoder = Decoder::new(&all, &options).unwrap();
    decoder.push(b"{\"b\":17,\"a\":1}").unwrap();
    assert!(decoder.push(b"{\"b\":[01],\"a\":1}").is_err());
    assert!(decoder.push(b"{\"b\":1,\"b\":1}").is_err());
    assert!(decoder.push(b"{\"d\":1}").is_err());
    decoder.push(b"{\"c\":\"x\"}").unwrap();
    assert_eq!(written(&decoder.finish(), Nulls::LeftOut), "{\"a\":1}\n{\"c\":\"x\"}\n");
    let mut none = Decoder::new(&all, &Options { columns: Some(Vec::new()), ..Options::default() }).unwrap();
    none.push(b"{\"c\":\"x\"}").unwrap();
    assert_eq!((none.finish().num_rows(), none.finish().num_rows()), (1, 0));
}

#[test]
fn schemas_that_no_line_can_have_are_refused() {
    let refused = |fields: Vec<Field>| Decoder::new(&Arc::new(Schema::new(fields)), &Options::default()).err();
    let odd = Field::new("v", DataType::new_list(DataType::Interval(IntervalUnit::DayTime), true), true);
    assert!(refused(vec![odd.clone()]).unwrap().to_string().starts_with("`v` is List("));
    assert!(encode::check(&Schema::new(vec![odd])).is_err());
    let twice = vec![types::field("a", "int8").unwrap(), types::field("a", "string").unwrap()];
    assert_eq!(refused(twice.clone()).unwrap().to_string(), "`a` stands twice in the schema");
    assert!(encode::check(&Schema::new(twice.clone())).is_err());
    assert!(refused(vec![Field::new("v", DataType::Struct(twice.into()), true)]).is_some());
}

// ---- Batches come back -----------------------------------------------------------------------------------------------

/// Numbers at random, the same in each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn text(&mut self) -> String {
        let odd = ['"', '\\', '\n', '\0', '\u{1f}', '/', 'é', '日', '\u{2028}', '\u{1F600}', '{', '\u{7f}'];
        (0..self.below(20)).map(|_| if self.below(3) == 0 { odd[self.below(odd.len())] } else { 'x' }).collect()
    }

    fn bits(&mut self) -> i64 {
        match self.below(5) {
            0 => i64::MAX,
            1 => i64::MIN,
            2 => self.below(10) as i64,
            _ => self.next().cast_signed(),
        }
    }

    fn float(&mut self) -> f64 {
        let float = f64::from_bits(self.next());
        if float.is_finite() { float } else { -0.0 }
    }

    fn json(&mut self) -> String {
        let values = ["1", "\"a\\u0041\"", "[1, 2]", "{\"a\": {\"b\": []}}", "true", "12345678901234567890.5e7"];
        values[self.below(values.len())].to_owned()
    }

    fn nulls(&mut self, len: usize) -> Option<NullBuffer> {
        Some((0..len).map(|_| self.below(4) > 0).collect::<Vec<_>>().into()).filter(|_| self.below(3) > 0)
    }

    fn offsets(&mut self, len: usize) -> OffsetBuffer<i32> {
        OffsetBuffer::from_lengths((0..len).map(|_| self.below(4)))
    }
}

/// Every type of one part, then those with parts.
const TYPES: [&str; 34] = [
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
    "string",
    "binary",
    "json",
    "date32",
    "time[s]",
    "time[ms]",
    "time[us]",
    "time[ns]",
    "timestamp[s]",
    "timestamp[ms, UTC]",
    "timestamp[us]",
    "timestamp[ns, Europe/Berlin]",
    "duration[s]",
    "duration[ns]",
    "decimal(38,0)",
    "decimal(5,-2)",
    "decimal(38,38)",
    "decimal(76,10)",
    "binary[3]",
    "list<?>",
    "struct<a: ?, \"b \\n\": ?>",
    "map<string, ?>",
    "list<list<?>>",
];

fn random_type(random: &mut Random, depth: usize) -> String {
    let text = TYPES[random.below(if depth > 2 { 30 } else { TYPES.len() })];
    let pieces: Vec<&str> = text.split('?').collect();
    let mut whole = pieces[0].to_owned();
    for piece in &pieces[1..] {
        whole += &random_type(random, depth + 1);
        whole += piece;
    }
    whole
}

fn random_array(random: &mut Random, field: &Field, len: usize) -> ArrayRef {
    use DataType::*;
    let nulls = random.nulls(len);
    match field.data_type() {
        Boolean => masked(BooleanArray::from((0..len).map(|_| random.below(2) == 0).collect::<Vec<_>>()), nulls),
        Utf8 if types::is_json(field) => masked(StringArray::from_iter_values((0..len).map(|_| random.json())), nulls),
        Utf8 => masked(StringArray::from_iter_values((0..len).map(|_| random.text())), nulls),
        Binary => masked(BinaryArray::from_iter_values((0..len).map(|_| random.text())), nulls),
        FixedSizeBinary(size) => {
            let values: Vec<Vec<u8>> = (0..len).map(|_| (0..*size).map(|_| random.next() as u8).collect()).collect();
            if len == 0 {
                return new_empty_array(field.data_type());
            }
            masked(FixedSizeBinaryArray::try_from_iter(values.into_iter()).unwrap(), nulls)
        }
        Float32 => masked(
            Float32Array::from_iter_values(
                (0..len).map(|_| random.float() as f32).map(|float| if float.is_finite() { float } else { 0.1 }),
            ),
            nulls,
        ),
        Float64 => masked(Float64Array::from_iter_values((0..len).map(|_| random.float())), nulls),
        Decimal128(precision, scale) => {
            let most = 10_i128.pow((*precision).into());
            let values = (0..len).map(|_| i128::from(random.bits()) * i128::from(random.bits()) % most);
            masked(
                Decimal128Array::from_iter_values(values).with_precision_and_scale(*precision, *scale).unwrap(),
                nulls,
            )
        }
        Decimal256(precision, scale) => {
            let values = (0..len).map(|_| i256::from_i128(i128::from(random.bits()) * i128::from(random.bits())));
            masked(
                Decimal256Array::from_iter_values(values).with_precision_and_scale(*precision, *scale).unwrap(),
                nulls,
            )
        }
        Time32(_) | Time64(_) => {
            let values = Int64Array::from_iter_values((0..len).map(|_| random.below(86_400) as i64));
            let values =
                if matches!(field.data_type(), Time32(_)) { cast(&values, &Int32).unwrap() } else { Arc::new(values) };
            masked(cast(&values, field.data_type()).unwrap(), nulls)
        }
        List(item) => {
            let offsets = random.offsets(len);
            let items = random_array(random, item, offsets.last() as usize);
            Arc::new(ListArray::new(item.clone(), offsets, items, nulls))
        }
        Struct(fields) => {
            let columns = fields.iter().map(|field| random_array(random, field, len)).collect();
            Arc::new(StructArray::new(fields.clone(), columns, nulls))
        }
        Map(entries, _) => random_map(random, entries, len, nulls),
        _ => {
            let values = Int64Array::from_iter_values((0..len).map(|_| random.bits()));
            let narrow = values.unary::<_, Int32Type>(|value| value as i32);
            match field.data_type() {
                Date32 => masked(cast(&narrow, &Date32).unwrap(), nulls),
                Int64 | Timestamp(..) | Duration(_) => masked(cast(&values, field.data_type()).unwrap(), nulls),
                UInt64 => masked(values.unary::<_, UInt64Type>(i64::cast_unsigned), nulls),
                other => {
                    let bits = 8 * other.primitive_width().unwrap() as u32;
                    let (is_signed, some) = (other.is_signed_integer(), 1_i64 << (bits - 1));
                    let fit = values
                        .unary::<_, Int64Type>(|value| value.rem_euclid(2 * some) - if is_signed { some } else { 0 });
                    masked(cast(&fit, other).unwrap(), nulls)
                }
            }
        }
    }
}

fn random_map(random: &mut Random, entries: &FieldRef, len: usize, nulls: Option<NullBuffer>) -> ArrayRef {
    let DataType::Struct(fields) = entries.data_type() else { panic!("a map has entries") };
    let offsets = random.offsets(len);
    let count = offsets.last() as usize;
    let keys = StringArray::from_iter_values((0..count).map(|n| format!("{}{n}", random.text())));
    let values = random_array(random, &fields[1], count);
    let columns: Vec<ArrayRef> = vec![Arc::new(keys), values];
    Arc::new(MapArray::new(entries.clone(), offsets, StructArray::new(fields.clone(), columns, None), nulls, false))
}

fn masked(array: impl Array, nulls: Option<NullBuffer>) -> ArrayRef {
    let data = array.to_data().into_builder().nulls(nulls).build().unwrap();
    make_array(data)
}

fn decoded(schema: &SchemaRef, text: &str) -> RecordBatch {
    let mut decoder = Decoder::new(schema, &Options::default()).unwrap();
    for line in text.lines() {
        decoder.push(line.as_bytes()).unwrap_or_else(|refusal| panic!("{refusal}: {line}"));
    }
    decoder.finish()
}

#[test]
fn batches_of_all_types_come_back_as_they_were() {
    let mut random = Random(7);
    let rounds = if std::env::var_os("WASMPIPE_SOAK").is_some() { 5_000 } else { 120 };
    for round in 0..rounds {
        let plain = TYPES[round % 30];
        let texts = [plain.to_owned(), random_type(&mut random, 0), random_type(&mut random, 1)];
        let fields: Vec<Field> =
            texts.iter().enumerate().map(|(n, text)| types::field(&format!("c{n}"), text).unwrap()).collect();
        let schema = Arc::new(Schema::new(fields));
        let len = 1 + random.below(20);
        let columns = schema.fields().iter().map(|field| random_array(&mut random, field, len)).collect();
        let batch = RecordBatch::try_new(schema.clone(), columns).unwrap();
        for nulls in [Nulls::Written, Nulls::LeftOut] {
            let text = written(&batch, nulls);
            assert_eq!(text.lines().count(), len);
            assert!(text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{text}");
            let back = decoded(&schema, &text);
            assert_eq!(back, batch, "{texts:?}\n{text}");
            assert_eq!(written(&back, nulls), text);
        }
    }
}

#[test]
fn other_layouts_of_the_same_values_have_the_same_text() {
    use DataType::*;
    let mut random = Random(11);
    let dictionary = |values: &DataType| Dictionary(Box::new(Int32), Box::new(values.clone()));
    let list = types::field("v", "list<int64>").unwrap();
    let DataType::List(item) = list.data_type() else { panic!() };
    let pairs = [
        ("string", vec![LargeUtf8, Utf8View, dictionary(&Utf8)]),
        ("binary", vec![LargeBinary, BinaryView, dictionary(&Binary)]),
        ("int64", vec![dictionary(&Int64)]),
        ("list<int64>", vec![LargeList(item.clone()), ListView(item.clone()), LargeListView(item.clone())]),
    ];
    for (text, others) in pairs {
        let field = types::field("v", text).unwrap();
        let plain = random_array(&mut random, &field, 50);
        let text = written(&RecordBatch::try_from_iter([("v", plain.clone())]).unwrap(), Nulls::Written);
        for other in others {
            let array = cast(&plain, &other).unwrap();
            let batch = RecordBatch::try_from_iter([("v", array.clone())]).unwrap();
            assert_eq!(written(&batch, Nulls::Written), text, "{other}");
            let rest = written(&batch.slice(7, 20), Nulls::Written);
            assert_eq!(rest.lines().collect::<Vec<_>>(), text.lines().skip(7).take(20).collect::<Vec<_>>(), "{other}");
        }
    }
    let narrow = |data_type: &DataType, text: &str| {
        let array = cast(&Float64Array::from(vec![Some(1.5), None]), data_type).unwrap();
        let batch = RecordBatch::try_from_iter([("v", array)]).unwrap();
        assert_eq!(written(&batch, Nulls::LeftOut), text, "{data_type}");
    };
    [Float16, Float32].iter().for_each(|data_type| narrow(data_type, "{\"v\":1.5}\n{}\n"));
    [Decimal32(5, 2), Decimal64(5, 2)].iter().for_each(|data_type| narrow(data_type, "{\"v\":1.50}\n{}\n"));
    let fixed = FixedSizeListArray::from_iter_primitive::<Int8Type, _, _>(
        [Some([Some(1), None]), None, Some([Some(2), Some(3)])],
        2,
    );
    let batch =
        RecordBatch::try_from_iter([("v", Arc::new(fixed) as ArrayRef), ("n", Arc::new(NullArray::new(3)))]).unwrap();
    let text = "{\"v\":[1,null],\"n\":null}\n{\"v\":null,\"n\":null}\n{\"v\":[2,3],\"n\":null}\n";
    assert_eq!(written(&batch, Nulls::Written), text);
    assert_eq!(written(&batch.slice(2, 1), Nulls::LeftOut), "{\"v\":[2,3]}\n");
}

#[test]
fn rows_without_a_text_are_left_out_and_named() {
    let floats = Float64Array::from(vec![f64::INFINITY, 1.0, 1.0, f64::NAN, 1.0, 1.0]);
    let json = StringArray::from(vec!["1", "{\"a\":\n1}\r\n", "{\"a\":1,\"a\":2}", "1", "1 2", "\"x"]);
    let times = Time32SecondArray::from(vec![0, 1, 1, 1, 1, 86_400]);
    let fields = [
        Field::new("f", DataType::Float64, false),
        types::json_field("j"),
        Field::new("t", DataType::Time32(TimeUnit::Second), false),
    ];
    let batch = RecordBatch::try_new(
        Arc::new(Schema::new(fields.to_vec())),
        vec![Arc::new(floats), Arc::new(json), Arc::new(times)],
    );
    let mut out = b"before\n".to_vec();
    let refused = encode::encode(&batch.unwrap(), Nulls::Written, &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), "before\n{\"f\":1.0,\"j\":{\"a\": 1},\"t\":\"00:00:01\"}\n");
    let told: Vec<String> = refused.iter().map(|(row, refusal)| format!("{row}: {refusal}")).collect();
    assert_eq!(
        told,
        [
            "0: `f`: an infinite number has no spelling in JSON",
            "2: `j`: its text is no JSON: `a`: the key stands twice in its object",
            "3: `f`: NaN has no spelling in JSON",
            "4: `j`: its text is no JSON: a second value begins at byte 2: `2`",
            "5: `j`: its text is no JSON: the line ends within a string",
        ]
    );
}

// ---- Lines that were changed -----------------------------------------------------------------------------------------

const EVERYTHING: &[(&str, &str)] = &[
    ("id", "int64"),
    ("text", "string"),
    ("score", "float64"),
    ("price", "decimal(12,2)"),
    ("at", "timestamp[us, UTC]"),
    ("tags", "list<string>"),
    ("meta", "struct<lang: string, n: uint8, inner: struct<b: binary, d: date32>>"),
    ("counts", "map<string, int32>"),
    ("any", "json"),
    ("ok", "bool"),
];

const SEEDS: [&str; 4] = [
    r#"{"id":9007199254740993,"text":"a \"quoted\" é\ud83d\ude00 text","score":-1.5e3,"price":12.50,"at":"2024-02-29T01:02:03.5Z","tags":["a","b",null],"meta":{"lang":"en","n":7,"inner":{"b":"AAA=","d":"2024-02-29"}},"counts":{"x":1,"y":-2},"any":{"k":[1,"2",{"z":null}]},"ok":true}"#,
    r#"{"ok":false,"any":"x","counts":{},"meta":{"inner":{}},"tags":[],"at":"1969-12-31T23:59:59+01:00","price":-0,"score":0.1,"text":"","id":-1}"#,
    r#"{"id":1, "more":{"a":1,"b":[{"c":2}]}, "meta":{"extra":[1,2],"lang":null}, "tags":[ "\u0000\\" ], "score":1E-7}"#,
    r#"{"any":[[],[[]],{},-0.0,1e5,true,false,null,"\u00e9\/"],"id":0,"score":9007199254740992,"price":9999999999.99}"#,
];

const PIECES: [&str; 28] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\\u",
    "\\ud800",
    "null",
    "true",
    "1e999",
    "-",
    "0",
    ".5",
    "e",
    "\"id\":1,",
    "\"a\":1,",
    "NaN",
    "\n",
    "\t",
    "\u{0}",
    "é",
    "\\n",
    "{\"a\":1}",
    "18446744073709551616",
    " ",
];

fn changed(random: &mut Random) -> Vec<u8> {
    let mut line = SEEDS[random.below(SEEDS.len())].as_bytes().to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(line.len().max(1)).min(line.len());
        let end = (at + random.below(9)).min(line.len());
        match random.below(6) {
            0 => drop(line.drain(at..end)),
            1 => line.truncate(at),
            2 if at < line.len() => line[at] ^= 1 << random.below(8),
            3 => {
                let copy = line[at..end].to_vec();
                let to = random.below(line.len() + 1);
                drop(line.splice(to..to, copy));
            }
            _ => {
                let piece = PIECES[random.below(PIECES.len())].bytes();
                drop(line.splice(at..(at + random.below(3)).min(line.len()), piece));
            }
        }
    }
    line
}

/// serde_json's word; it takes the last of equal keys, any value, and no number that a float cannot hold.
fn judge(line: &[u8], told: &Result<(), super::refusal::Refusal>) {
    let shown = String::from_utf8_lossy(line);
    match (told, serde_json::from_slice::<serde_json::Value>(line)) {
        (Ok(()), Err(error)) => assert!(error.to_string().starts_with("number out of range"), "{error}: {shown}"),
        (Ok(()), Ok(value)) => assert!(value.is_object(), "{shown}"),
        (Err(refusal), Ok(value)) => {
            let is_stricter = matches!(refusal.reason(), Reason::DuplicateKey) || !value.is_object();
            assert!(is_stricter, "{refusal}: {shown}");
        }
        (Err(_), Err(_)) => {}
    }
}

#[test]
fn changed_lines_are_values_or_refused_and_spoil_no_other() {
    let rounds = if std::env::var_os("WASMPIPE_SOAK").is_some() { 100_000 } else { 10_000 };
    let mut random = Random(3);
    let mut any = decoder(&[], ExtraKeys::Drop);
    let mut typed = decoder(EVERYTHING, ExtraKeys::Keep);
    let (mut good, mut refused) = (Vec::new(), 0);
    for _ in 0..rounds {
        let line = changed(&mut random);
        let is_json = any.push(&line);
        judge(&line, &is_json);
        match typed.push(&line) {
            Ok(()) => {
                assert!(is_json.is_ok(), "{}", String::from_utf8_lossy(&line));
                good.push(line);
            }
            Err(refusal) => {
                assert!(refusal.to_string().len() < 1000 && !refusal.to_string().contains('\n'), "{refusal}");
                refused += 1;
            }
        }
    }
    assert!(good.len() > rounds / 20 && refused > rounds / 4, "{} good, {refused} refused", good.len());
    let batch = typed.finish();
    let mut alone = decoder(EVERYTHING, ExtraKeys::Keep);
    good.iter().for_each(|line| alone.push(line).unwrap());
    assert_eq!(batch, alone.finish());
    let again = decoded(batch.schema_ref(), &written(&batch, Nulls::Written));
    assert_eq!(written(&again, Nulls::Written), written(&batch, Nulls::Written));
}

// ---- Schemas ---------------------------------------------------------------------------------------------------------

fn found(lines: &[&str]) -> Result<Vec<String>, InferError> {
    let mut inference = Inference::default();
    lines.iter().for_each(|line| inference.line(line.as_bytes()).unwrap());
    let schema = inference.schema()?;
    Ok(schema.fields().iter().map(|field| format!("{}: {}", field.name(), types::text(field).unwrap())).collect())
}

#[test]
fn lines_tell_their_types() {
    let rows: &[(&[&str], &str)] = &[
        (&["1", "-9223372036854775808"], "int64"),
        (&["9223372036854775808"], "json"),
        (&["1", "18446744073709551615"], "json"),
        (&["1.5", "2"], "float64"),
        (&["1.0"], "float64"),
        (&["1.5", "9007199254740993"], "json"),
        (&["1", "9007199254740993"], "int64"),
        (&["1e999"], "json"),
        (&["true", "null"], "bool"),
        (&["\"a\"", "\"2024-01-01\""], "string"),
        (&["1", "\"a\""], "json"),
        (&["{\"a\":1}", "\"a\""], "json"),
        (&["[1]", "1"], "json"),
        (&["null"], "json"),
        (&["[]"], "list<json>"),
        (&["[]", "[1,2.5]", "[null]"], "list<float64>"),
        (&["[1]", "[\"a\"]"], "list<json>"),
        (&["{}"], "json"),
        (&["{}", "{\"b\":1}", "{\"a\":[true],\"b\":null}"], "struct<b: int64, a: list<bool>>"),
        (&["[{\"a\":1},{\"b\":\"x\"}]"], "list<struct<a: int64, b: string>>"),
        (&["[[[[[[[[1]]]]]]]]"], "list<list<list<list<list<list<list<list<int64>>>>>>>>"),
        (&["[[[[[[[[[1]]]]]]]]]"], "list<list<list<list<list<list<list<list<json>>>>>>>>"),
    ];
    for (values, wanted) in rows {
        let mut lines: Vec<String> = values.iter().map(|value| format!("{{\"v\":{value}}}")).collect();
        for _ in 0..lines.len() {
            lines.rotate_left(1);
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let found = found(&lines).unwrap();
            let same = found[0].len() == wanted.len() + 3;
            assert!(found == [format!("v: {wanted}")] || same && wanted.starts_with("struct"), "{values:?}: {found:?}");
        }
    }
}

#[test]
fn a_schema_that_was_found_reads_the_lines_that_it_was_found_from() {
    let lines = SEEDS.map(|line| line.replace("9007199254740993", "1"));
    let mut inference = Inference::default();
    lines.iter().for_each(|line| inference.line(line.as_bytes()).unwrap());
    let schema = Arc::new(inference.schema().unwrap());
    let names: Vec<&String> = schema.fields().iter().map(|field| field.name()).collect();
    assert_eq!(names[..4], ["id", "text", "score", "price"]);
    assert_eq!(decoded(&schema, &lines.join("\n")).num_rows(), SEEDS.len());
    assert_eq!(inference.seen("any"), ["strings", "lists", "objects"]);
}

#[test]
fn schemas_have_bounds_that_do_not_depend_on_the_order() {
    let keys = |from: usize, to: usize| (from..to).map(|n| format!("\"k{n}\":1")).collect::<Vec<_>>().join(",");
    let within =
        [format!("{{\"v\":{{{}}}}}", keys(0, 200)), format!("{{\"v\":{{{}}}}}", keys(100, 300)), "{\"v\":{}}".into()];
    for order in [[0, 1, 2], [1, 2, 0], [2, 1, 0]] {
        assert_eq!(found(&order.map(|n| within[n].as_str())).unwrap(), ["v: json"]);
    }
    assert_eq!(found(&[&within[0]]).unwrap()[0].matches("int64").count(), 200);
    let many = format!("{{{}}}", keys(0, 5000));
    assert_eq!(found(&[&many]), Err(InferError::TooManyColumns));
    let nested = (0..100).map(|n| format!("\"k{n}\":{{{}}}", keys(0, 100))).collect::<Vec<_>>().join(",");
    let nested = found(&[&format!("{{{nested}}}")]).unwrap();
    assert!(nested.len() == 100 && nested.iter().all(|column| column.ends_with(": json")), "{nested:?}");
    assert_eq!(found(&[]), Err(InferError::NoLine));
}

#[test]
fn a_line_that_is_refused_tells_nothing() {
    let mut inference = Inference::default();
    for line in [&b"{\"a\":\"x\",\"b\":1"[..], b"{\"a\":\"x\",\"a\":1}", b"[]", b"{\"a\":\"\xff\"}"] {
        assert!(inference.line(line).is_err());
    }
    inference.line(b"{\"a\":1}").unwrap();
    assert_eq!(inference.lines(), 1);
    assert_eq!(types::text(inference.schema().unwrap().field(0)).unwrap(), "int64");
}
