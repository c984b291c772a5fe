//! The tree's own rules. The folder listing is the architecture, so which room may name which is a table, and the map of
//! acceptance cases names tests that exist.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Room -> rooms that it may name.
const ARROWS: &[(&str, &[&str])] = &[
    ("annotations", &[]),
    ("block", &["columns"]),
    ("columns", &[]),
    ("observe", &[]),
    ("panics", &[]),
    ("message", &[]),
    ("private", &[]),
    ("size", &[]),
    ("text", &[]),
    ("store", &["message"]),
    ("config", &["message", "size"]),
    ("format", &["annotations", "block", "columns", "panics"]),
    ("source", &["block", "columns", "format", "message", "store"]),
    ("filter", &["message", "private"]),
    ("udf", &["block", "columns", "message", "panics", "private", "size"]),
    ("sink", &["block", "format", "message", "store"]),
    ("commit", &["format", "message", "panics", "sink", "source", "store"]),
    (
        "plan",
        &[
            "annotations",
            "columns",
            "commit",
            "config",
            "filter",
            "format",
            "message",
            "sink",
            "source",
            "store",
            "text",
            "udf",
        ],
    ),
    ("exchange", &["block", "columns", "commit", "format", "message", "plan", "sink", "source", "store"]),
    ("stage", &["block", "columns", "message", "panics", "plan", "udf"]),
    (
        "pipeline",
        &["block", "commit", "filter", "message", "observe", "plan", "sink", "source", "stage", "store", "udf"],
    ),
    ("author", &["block", "columns", "format", "message", "plan", "source", "stage", "text", "udf"]),
    (
        "cli",
        &[
            "author", "block", "columns", "commit", "config", "exchange", "message", "observe", "pipeline", "plan",
            "private", "sink", "size", "stage", "store", "text", "udf",
        ],
    ),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().into()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// Every file of the product by its name, `udf/call.rs`.
fn product_files() -> Vec<(String, String)> {
    let folder = root().join("host/src");
    let name = |file: &Path| file.strip_prefix(&folder).unwrap().to_str().unwrap().to_string();
    rust_files(&folder).iter().map(|file| (name(file), std::fs::read_to_string(file).unwrap())).collect()
}

/// The same without tests.
fn product_code() -> Vec<(String, String)> {
    let files = product_files().into_iter().filter(|(name, _)| !name.ends_with("/tests.rs"));
    files.map(|(name, text)| (name, text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_string())).collect()
}

/// The first part of a file's name below `host/src`: `udf/call.rs` and `udf.rs` are of the room `udf`.
fn room_of(name: &str) -> &str {
    name.split('/').next().unwrap().trim_end_matches(".rs")
}

/// Rooms that a source text names as `crate::room`, in one line or in a list over several.
fn named_rooms(text: &str) -> BTreeSet<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>();
    let mut rooms = BTreeSet::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => drop(rooms.insert(word(rest))),
            Some(list) => {
                let list = list.split("};").next().unwrap();
                rooms.extend(list.split(',').map(|item| word(item.trim())));
            }
        }
    }
    rooms
}

#[test]
fn every_room_names_only_the_rooms_that_it_may() {
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let mut wrong = Vec::new();
    for (name, text) in product_files() {
        let room = room_of(&name);
        if room == "lib" || room == "main" {
            continue;
        }
        let allowed = arrows.get(room).unwrap_or_else(|| panic!("the room `{room}` is not in the table"));
        for named in named_rooms(&text) {
            if arrows.contains_key(named.as_str()) && named != room && !allowed.contains(&named.as_str()) {
                wrong.push(format!("{name} names crate::{named}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Words, and the files or folders that may say them. `println!(` is also in `eprintln!(`.
const WORDS: &[(&str, &[&str])] = &[
    ("wasmtime::", &["udf/"]),
    ("print!(", &[]),
    ("println!(", &[]),
    ("out!(", &["cli/"]),
    ("say!(", &["cli/"]),
    ("io::stdout", &["cli/mod.rs"]),
    ("stdout()", &["cli/mod.rs"]),
    ("io::stderr", &["cli/screen.rs"]),
    ("stderr()", &["cli/progress.rs", "cli/screen.rs"]),
    ("thread::Builder", &["pipeline.rs"]),
    ("thread::spawn", &[]),
    ("thread::scope", &["exchange/crew.rs"]),
    ("tokio::spawn", &[]),
    ("spawn_blocking", &["pipeline/asked.rs", "pipeline/commits.rs", "store/local.rs"]),
    (".spawn(", &["exchange/crew.rs", "pipeline.rs", "pipeline/beating.rs", "sink/file.rs", "udf/compile.rs"]),
    ("LocalFileSystem::new", &["store/"]),
    ("AmazonS3Builder", &["store/"]),
    ("AwsCredential", &["store/"]),
];

#[test]
fn some_words_are_said_in_few_files_only() {
    let (mut wrong, mut used) = (Vec::new(), BTreeSet::new());
    for (name, code) in product_code() {
        for &(word, files) in WORDS.iter().filter(|(word, _)| code.contains(word)) {
            let is_it = |file: &&&str| name == **file || (file.ends_with('/') && name.starts_with(**file));
            match files.iter().find(is_it) {
                Some(file) => drop(used.insert((word, *file))),
                None => wrong.push(format!("{name} says {word}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let allowed = WORDS.iter().flat_map(|(word, files)| files.iter().map(move |file| (*word, *file)));
    assert_eq!(used, allowed.collect(), "the list is no longer than it must be");
}

/// One printer: an error knows its hint as a value, and no text of an error holds one.
#[test]
fn hints_are_put_into_text_in_one_file() {
    for (name, code) in product_code().into_iter().filter(|(name, _)| name != "message.rs") {
        // A literal goes on in the next line behind a backslash.
        let parts: Vec<&str> = code.split("\\\n").map(str::trim_start).collect();
        let joined = parts.concat();
        let said = ["\\nhint: ", "\\n hint: ", "\\n  hint: "].iter().find(|words| joined.contains(**words));
        assert_eq!(said, None, "{name}: an error says what to do with `Hint`, and `Message` prints it");
    }
}

/// Files in which words of an error are looked for, and whose words these are: others give errors no other kind.
const WORDS_OF_OTHERS: &[(&str, &str)] = &[
    ("config/read.rs", "the TOML parser's"),
    ("format/parquet/mod.rs", "the Parquet crate's"),
    ("message.rs", "those of causes, of which none is said twice"),
    ("udf/trap.rs", "the engine's"),
];

/// What looks into a text.
const LOOKS: &[&str] = &[
    ".contains(",
    ".starts_with(",
    ".ends_with(",
    ".strip_prefix(",
    ".strip_suffix(",
    ".split_once(",
    ".trim_start_matches(",
    ".trim_end_matches(",
    ".matches(",
    " == ",
    " != ",
    " {\n                \"",
    " {\n            \"",
    " {\n        \"",
];

/// What the text of an error is called.
const TEXTS_OF_ERRORS: &[&str] = &[
    "cause",
    "error",
    "hint",
    "line()",
    "message",
    "message()",
    "problem",
    "reason",
    "refusal",
    "refused",
    "said",
    "text()",
    "to_string()",
    "told",
    "what",
    "words",
];

/// The last word before this place: `to_string()` of `error.to_string()`.
fn receiver(before: &str) -> String {
    let before = before.trim_end();
    let is_of_word = |c: char| c.is_ascii_alphanumeric() || "_()".contains(c);
    before[before.trim_end_matches(is_of_word).len()..].to_string()
}

/// Errors are told apart by their kinds.
#[test]
fn nobody_looks_for_words_in_an_error() {
    let mut used = BTreeSet::new();
    for (name, code) in product_code() {
        let looks =
            LOOKS.iter().flat_map(|look| code.match_indices(look).map(|(at, look)| (receiver(&code[..at]), look)));
        let Some((text, look)) = looks.into_iter().find(|(text, _)| TEXTS_OF_ERRORS.contains(&text.as_str())) else {
            continue;
        };
        let is_allowed = WORDS_OF_OTHERS.iter().any(|(allowed, _)| *allowed == name);
        assert!(is_allowed, "{name} looks for words in an error: {text}{look}");
        used.insert(name);
    }
    let allowed: BTreeSet<String> = WORDS_OF_OTHERS.iter().map(|(name, _)| (*name).to_string()).collect();
    assert_eq!(used, allowed, "the list is no longer than it must be");
}

/// Files of the rooms that work with stores which may touch this machine's folders past the storage seam, and what for.
const PAST_THE_SEAM: &[(&str, &str)] = &[
    ("commit/delete.rs", "folders that are empty, and lock files"),
    ("commit/give_up.rs", "folders that are empty"),
    ("commit/lane.rs", "this machine's name, boot and mounts"),
    ("commit/liveness.rs", "locks"),
    ("filter/cache.rs", "the cache of ids"),
    ("filter/done.rs", "the cache of ids"),
    ("source/list.rs", "what a path or glob on this machine names"),
];

/// Tests stop the world at the seam, so nothing durable may happen beside it.
#[test]
fn no_other_code_touches_a_store() {
    let builders = [
        "LocalFileSystem::",
        "InMemory::",
        "PrefixStore",
        "AmazonS3",
        "GoogleCloud",
        "MicrosoftAzure",
        "parse_url",
        "HttpBuilder",
    ];
    let file_words = ["std::fs", "tokio::fs", "OpenOptions", "tempfile::", "memmap2::"];
    let rooms = ["commit", "exchange", "filter", "pipeline", "sink", "source"];
    let mut used = BTreeSet::new();
    for (name, code) in product_code() {
        let room = room_of(&name);
        let said = builders.iter().find(|word| room != "store" && code.contains(**word));
        assert_eq!(said, None, "{name}: stores are built in host/src/store");
        let said = file_words.iter().find(|word| code.contains(**word));
        let Some(word) = said.filter(|_| rooms.contains(&room)) else { continue };
        assert!(PAST_THE_SEAM.iter().any(|(allowed, _)| *allowed == name), "{name} says {word}, past the storage seam");
        used.insert(name);
    }
    let allowed: BTreeSet<String> = PAST_THE_SEAM.iter().map(|(name, _)| (*name).to_string()).collect();
    assert_eq!(used, allowed, "the list is no longer than it must be");
}

#[test]
fn the_map_of_cases_names_tests_that_exist_and_run() {
    let text = std::fs::read_to_string(root().join("tests/cases.toml")).unwrap();
    let map: BTreeMap<String, Vec<String>> = toml::from_str(&text).unwrap();
    let tests = all_tests();
    for (case, named) in &map {
        assert!(!named.is_empty(), "{case} names no test");
        for test in named {
            assert!(tests.contains(test), "{case} names {test}, which is no test that runs");
        }
    }
    let landed = [
        "D1", "E2", "E4", "E5", "R1", "R2", "R3", "R4", "R5", "R6", "R8", "R9", "R10", "R11", "E1", "F1", "F2", "F3",
        "F4", "F5", "F6", "F7", "F8", "F9", "F10", "F11", "F12", "C1", "C2", "C3", "C4", "C5", "C6", "K1", "K2", "K3",
        "K4", "K5", "K6", "K7", "K8", "K9", "K10", "K11", "K12", "K13", "K14", "E3", "S1", "S3", "S5", "S11", "S12",
        "S16", "S18", "X2", "X4", "P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "P9", "P10", "P11", "P12", "P13",
        "P14", "P15", "P16", "P17", "P18", "I1", "I2", "I4", "I5", "P19", "P20", "P21", "P22", "P23", "P24", "P25",
        "I3", "P26", "P27",
    ];
    for case in landed {
        assert!(map.contains_key(case), "{case} is missing in tests/cases.toml");
    }
}

/// `crash::p1_...` for every function under `#[test]` that is not ignored, in the integration tests.
fn all_tests() -> BTreeSet<String> {
    let mut tests = BTreeSet::new();
    for file in rust_files(&root().join("tests/it")) {
        let module = file.file_stem().unwrap().to_str().unwrap().to_string();
        let text = std::fs::read_to_string(&file).unwrap();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for pair in lines.windows(2) {
            if let ("#[test]", Some(rest)) = (pair[0], pair[1].strip_prefix("fn ")) {
                tests.insert(format!("{module}::{}", rest.split('(').next().unwrap()));
            }
        }
    }
    tests
}
