//! The functions of `udfs/` in pipelines, through the real host: one small input each, and exactly what comes of it.
//! What each function does with odd inputs is tested in its own folder.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};

use crate::support::{Workdir, assert_mentions, once};

/// A pipeline over `in/a.parquet` with these stages, each `component.function` and more lines of its section.
fn workdir(input: &RecordBatch, stages: &[(&str, &str)], columns: &[&str]) -> Workdir {
    let workdir = Workdir::new();
    workdir.file("a.parquet", input, 100);
    let stages: String = stages.iter().map(|(function, more)| stage(function, more)).collect();
    workdir.pipeline(&format!(
        "[source]\npath = \"in\"\n{stages}[sink]\npath = \"out\"\ncolumns = {columns:?}\n[run]\nblock_rows_max = 3\n"
    ));
    workdir
}

fn stage(function: &str, more: &str) -> String {
    let (component, function) = function.split_once('.').unwrap();
    format!("[[stage]]\ncomponent = \"{{guests}}/{component}.wasm\"\nfunction = \"{function}\"\n{more}\n")
}

/// Rows of `id` (0, 1, ...) and one string column.
fn strings(name: &str, values: &[Option<&str>]) -> RecordBatch {
    let ids: ArrayRef = Arc::new(StringArray::from_iter_values((0..values.len()).map(|id| id.to_string())));
    let values: ArrayRef = Arc::new(StringArray::from(values.to_vec()));
    RecordBatch::try_from_iter_with_nullable([("id", ids, false), (name, values, true)]).unwrap()
}

fn texts(texts: &[&str]) -> RecordBatch {
    strings("text", &texts.iter().copied().map(Some).collect::<Vec<_>>())
}

/// The job finishes, and its output is these rows.
#[track_caller]
fn gives(workdir: &Workdir, rows: &[&str]) {
    workdir.run().finished();
    assert_eq!(workdir.output("out"), once(rows.iter().map(|row| (*row).to_string())));
}

/// The job is refused with a message that holds these words.
#[track_caller]
fn refused(workdir: &Workdir, words: &[&str]) {
    assert_mentions(workdir.run().refused(), words);
}

const PROSE: &str = "The old bridge has stood over the river for centuries, and people still cross it every day.\n\
    Nobody knows who built that bridge, or with which stones, but many travellers have admired it.\n\
    In summer children jump from the middle arch to swim in the cool green water of the river below.";

#[test]
fn quality_keeps_what_gopher_and_c4_keep() {
    let repeated = [PROSE, PROSE].join("\n");
    let code = format!("{PROSE}\nfn main() {{}}");
    let input = texts(&["Too short.", PROSE, &repeated, &code]);
    let stages = [("quality.gopher", ""), ("quality.gopher_repetition", ""), ("quality.c4", "")];
    gives(&workdir(&input, &stages, &["id"]), &["1"]);
    let loose = [
        ("quality.gopher", "config = { words_min = 1, stop_words_min = 0 }"),
        ("quality.c4", "config = { words_per_line_min = 1, sentences_min = 1 }"),
    ];
    gives(&workdir(&input, &loose, &["id"]), &["0", "1", "2"]);
}

#[test]
fn quality_tells_why() {
    let repeated = [PROSE, PROSE].join("\n");
    let code = format!("{PROSE}\nfn main() {{}}");
    let input = texts(&["Too short.", PROSE, &repeated, &code]);
    let stages = [("quality.gopher_reason", ""), ("quality.gopher_repetition_reason", ""), ("quality.c4_reason", "")];
    let columns = ["id", "gopher_reason", "gopher_repetition_reason", "c4_reason"];
    let rows = [
        "0|words_min|null|sentences_min",
        "1|null|null|null",
        "2|null|duplicate_lines_max|null",
        "3|null|null|curly_bracket",
    ];
    gives(&workdir(&input, &stages, &columns), &rows);
}

#[test]
fn quality_gives_statistics_and_clean_lines() {
    let input =
        texts(&["- The #cat…\nand of it all, we say.[1]", "Home\nWe use cookies to be good.\nIt was the end of all."]);
    let stats = ["id", "words", "word_length_mean", "hash_ratio", "ellipsis_ratio", "bullet_lines", "ellipsis_lines"];
    let columns = [stats.as_slice(), &["alphabetic_words", "stop_words"]].concat();
    let rows = [
        "0|9|3.2222222222222223|0.1111111111111111|0.1111111111111111|0.5|0.5|0.8888888888888888|3",
        "1|13|3.230769230769231|0.0|0.0|0.0|0.0|1.0|4",
    ];
    gives(&workdir(&input, &[("quality.gopher_stats", "")], &columns), &rows);
    let rows = ["0|and of it all, we say.", "1|It was the end of all."];
    gives(&workdir(&input, &[("quality.c4_lines", "")], &["id", "c4_lines"]), &rows);
}

#[test]
fn chunks_overlap_and_say_where_they_were() {
    let input = texts(&["One two. Three four five six.", " \n", "größe über alles"]);
    let by_character = "config = { size_max = 15, overlap = 5, offsets = \"characters\" }";
    let columns = ["id", "chunk_index", "start", "end", "chunk"];
    let rows = [
        "0|0|0|14|One two. Three",
        "0|1|9|24|Three four five",
        "0|2|20|29|five six.",
        "2|0|0|10|größe über",
        "2|1|6|16|über alles",
    ];
    gives(&workdir(&input, &[("chunks.chunks", by_character)], &columns), &rows);
    let by_word = "config = { unit = \"words\", size_max = 4, overlap = 2 }";
    let rows = ["0|0|0|19|One two. Three four", "0|1|9|29|Three four five six.", "2|0|0|19|größe über alles"];
    gives(&workdir(&input, &[("chunks.chunks", by_word)], &columns), &rows);
    let too_much = workdir(&input, &[("chunks.chunks", "config = { size_max = 4, overlap = 3 }")], &["id"]);
    refused(&too_much, &["overlap: 3 is more than half of size_max, which is 4"]);
}

#[test]
fn redact_replaces_and_counts() {
    let input = texts(&[
        "Mail ann@example.org or call +49 30 1234567.",
        "Pay 4111 1111 1111 1111 from NO9386011117947, not 4111 1111 1111 1112.",
        "192.0.2.1 and 2001:db8::1 run version 1.2.3.",
    ]);
    let columns = ["id", "text", "mails", "phones", "cards", "ibans", "ipv4s", "ipv6s"];
    let rows = [
        "0|Mail [mail] or call [phone].|1|1|0|0|0|0",
        "1|Pay [card] from [iban], not 4111 1111 1111 1112.|0|0|1|1|0|0",
        "2|[ipv4] and [ipv6] run version 1.2.3.|0|0|0|0|1|1",
    ];
    gives(&workdir(&input, &[("redact.redact", "")], &columns), &rows);
    let mail_only = "config = { kinds = [\"mail\"], replacement = \"***\" }";
    let rows = [
        "Mail *** or call +49 30 1234567.",
        "Pay 4111 1111 1111 1111 from NO9386011117947, not 4111 1111 1111 1112.",
        "192.0.2.1 and 2001:db8::1 run version 1.2.3.",
    ];
    gives(&workdir(&input, &[("redact.redact", mail_only)], &["text"]), &rows);
    // What follows reads the text that is left.
    let stages = [("redact.redact", ""), ("chunks.chunks", "")];
    let rows = [
        "Mail [mail] or call [phone].",
        "Pay [card] from [iban], not 4111 1111 1111 1112.",
        "[ipv4] and [ipv6] run version 1.2.3.",
    ];
    gives(&workdir(&input, &stages, &["chunk"]), &rows);
}

#[test]
fn json_fields_become_columns() {
    let input = strings(
        "doc",
        &[
            Some(r#"{"title": "A \u00e4", "date": {"year": 1998, "score": 2.5}, "tags": ["x", "y"], "open": true}"#),
            Some(r#"{"tags": []}"#),
            None,
            Some(r#"{"title": 7}"#),
            Some(r#"{"title": "#),
        ],
    );
    let config = "on_error = \"skip\"\nconfig = { column = \"doc\", fields = { title = \"$.title\", \
        year = { path = \"/date/year\", type = \"integer\" }, score = { path = \"$.date['score']\", type = \"float\" }, \
        tag = \"$.tags[1]\", tags = { path = \"/tags\", type = \"json\" }, open = { path = \"/open\", type = \"boolean\" } } }";
    let workdir = workdir(
        &input,
        &[("json_fields.json_fields", config)],
        &["id", "title", "year", "score", "tag", "tags", "open"],
    );
    let ran = workdir.run();
    assert_eq!((ran.finished().rows_written, ran.finished().rows_failed), (3, 2));
    let rows =
        ["0|A ä|1998|2.5|y|[\"x\", \"y\"]|true", "1|null|null|null|null|[]|null", "2|null|null|null|null|null|null"];
    assert_eq!(workdir.output("out"), once(rows.map(str::to_string)));
}

#[test]
fn a_json_field_with_a_bad_path_is_refused() {
    let input = strings("json", &[Some("{}")]);
    let config = "config = { fields = { x = \"$.a[*]\" } }";
    let workdir = workdir(&input, &[("json_fields.json_fields", config)], &["id"]);
    refused(&workdir, &["fields.x", "$.a[*]", "from byte 3"]);
}

#[test]
fn fingerprints_are_equal_for_equal_words() {
    let input = strings("text", &[Some("a b"), Some(" a\n b "), Some("A b"), None]);
    let stages = [("fingerprint.fingerprint", ""), ("fingerprint.fingerprint_hex", "config = { fold_case = true }")];
    let workdir = workdir(&input, &stages, &["id", "fingerprint", "fingerprint_hex"]);
    workdir.run().finished();
    let rows: Vec<String> = workdir.output("out").into_keys().collect();
    let rows: Vec<Vec<&str>> = rows.iter().map(|row| row.split('|').collect()).collect();
    assert_eq!(rows.len(), 4);
    assert_eq!((rows[0][1], rows[0][1]), (rows[1][1], rows[0][2]), "white space does not count, and a b is folded");
    assert_ne!(rows[0][1], rows[2][1], "case counts");
    assert_eq!(rows[0][2], rows[2][2], "unless it is folded");
    assert_eq!((rows[0][1].len(), rows[3][1], rows[3][2]), (32, "null", "null"));
}

#[test]
fn numeric_maps() {
    let x: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.0), Some(2.0), None, Some(-40.0)]));
    let y: ArrayRef = Arc::new(Float64Array::from(vec![0.5, 1.0, 2.0, 0.0]));
    let input = RecordBatch::try_from_iter_with_nullable([("x", x, true), ("y", y, false)]).unwrap();
    let stages = [
        ("numeric.polynomial", "config = { output = \"p\", coefficients = [[1, 2], [0, 4], [3]] }"),
        (
            "numeric.standardise",
            "config = { column = \"p\", output = \"z\", mean = 6, deviation = 2, max = 10, nulls = \"fill\" }",
        ),
    ];
    let rows = ["1.0|0.5|7.0|0.5", "2.0|1.0|23.0|8.5", "null|2.0|null|0.0", "-40.0|0.0|4801.0|10.0"];
    gives(&workdir(&input, &stages, &["x", "y", "p", "z"]), &rows);
}

#[test]
fn lookup_asks_the_table() {
    let input = strings("key", &[Some("de"), Some("fr"), Some("xx"), None]);
    let table = |more: &str| format!("config = {{ pairs = [[\"de\", \"German\"], [\"fr\", \"French\"]]{more} }}");
    let run = |more: &str, rows: &[&str]| {
        gives(&workdir(&input, &[("lookup.lookup", &table(more))], &["id", "lookup"]), rows);
    };
    run("", &["0|German", "1|French", "2|null", "3|null"]);
    run(", misses = \"default\", default = \"?\"", &["0|German", "1|French", "2|?", "3|null"]);
    let failing = workdir(&input, &[("lookup.lookup", &table(", misses = \"error\""))], &["id", "lookup"]);
    let ran = failing.run();
    assert!(ran.error().contains("the key \"xx\" is not in the table"), "{}", ran.error());
    let doubled = "config = { pairs = [[\"a\", \"1\"], [\"a\", \"2\"]] }";
    refused(&workdir(&input, &[("lookup.lookup", doubled)], &["id"]), &["the key \"a\" is there twice"]);
}

#[test]
fn hostile_texts_cost_their_own_row_at_most() {
    let bytes = 1_000_000;
    let nested = ["[".repeat(bytes), "]".repeat(bytes)].concat();
    let json = strings("json", &[Some(&"[".repeat(bytes)), Some(&nested), Some("{\"a\": \"x\"}")]);
    let config = "on_error = \"skip\"\nconfig = { fields = { a = \"$.a\" } }";
    gives(&workdir(&json, &[("json_fields.json_fields", config)], &["id", "a"]), &["1|null", "2|x"]);
    let hostile: Vec<String> = ["x", "@", "1", ":", "\u{3000}"].map(|unit| unit.repeat(bytes)).to_vec();
    let input = texts(&hostile.iter().map(String::as_str).collect::<Vec<_>>());
    let keep_all = "config = { top_ngram_characters_max = [1, 1, 1] }";
    let stages = [
        ("redact.redact", ""),
        ("fingerprint.fingerprint", ""),
        ("quality.gopher_stats", ""),
        ("quality.gopher_repetition", keep_all),
    ];
    let rows = ["0|1|0", "1|1|0", "2|1|0", "3|1|0", "4|0|0"];
    gives(&workdir(&input, &stages, &["id", "words", "ipv6s"]), &rows);
    let sizes = "config = { size_max = 400000, overlap = 0 }";
    let rows = (0..4).flat_map(|id| (0..3).map(move |chunk| format!("{id}|{chunk}")));
    let chunks = workdir(&input, &[("chunks.chunks", sizes)], &["id", "chunk_index"]);
    chunks.run().finished();
    assert_eq!(chunks.output("out"), once(rows));
}
