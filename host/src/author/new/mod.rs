//! A crate with one function that works: it can be built, tested and run as it is, and then changed.
//!
//! What it writes are the files in `templates`, which are kept compiling, with three words replaced: the crate's
//! name, the function's, and where the SDK is. The sample input is written from here.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};

use super::sample;
use crate::message::Refused;

/// Names the folder of the SDK.
const SDK_VARIABLE: &str = "WASMPIPE_SDK";
/// Where the SDK lies beside the package that this binary was built from.
const SDK_IN_SOURCES: &str = "../guest-sdk/rust";
const NAME_CHARS_MAX: usize = 64;
const SAMPLE_ROWS: i64 = 36;

const MANIFEST: &str = include_str!("templates/Cargo.toml");
const PIPELINE: &str = include_str!("templates/pipeline.toml");
const IGNORED: &str = include_str!("templates/gitignore");

/// What one row becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Another one.
    Map,
    /// One or none.
    Filter,
    /// Any number.
    FlatMap,
    /// Whole blocks at once.
    MapBatches,
}

/// A crate that is wanted.
pub struct New<'a> {
    /// The crate's name.
    pub name: &'a str,
    /// Of its function.
    pub kind: Kind,
    /// The folder to make; none for one of the crate's name.
    pub dir: Option<&'a Path>,
    /// The SDK's folder, if somebody said it.
    pub sdk: Option<&'a Path>,
}

/// A crate that was made.
#[derive(Debug)]
pub struct Made {
    /// Its folder.
    pub dir: PathBuf,
    /// The name of its function.
    pub function: String,
}

/// Makes the crate. Everything is checked before the folder is made.
pub fn new(wanted: &New<'_>) -> Result<Made, Refused> {
    check_name(wanted.name)?;
    let sdk = find_sdk(wanted.sdk)?;
    let dir = wanted.dir.map_or_else(|| wanted.name.into(), Path::to_owned);
    write_all(&dir, &texts(wanted, &sdk)).map_err(|error| not_made(&dir, &error))?;
    let sample = sample_rows();
    sample::write(&dir.join("sample.parquet"), &sample.schema(), [Ok(sample.clone())].into_iter())?;
    Ok(Made { dir, function: function_name(wanted.name) })
}

/// The crate's files.
fn texts(wanted: &New<'_>, sdk: &Path) -> [(&'static str, String); 4] {
    let New { name, kind, .. } = wanted;
    let (source, config) = template(*kind);
    let replaced = |text: &str| {
        text.replace("crate-name", name)
            .replace("function_name", &function_name(name))
            .replace("config-example", config)
    };
    [
        ("Cargo.toml", replaced(MANIFEST).replace("\"sdk-path\"", &quoted(sdk))),
        ("src/lib.rs", replaced(source)),
        ("pipeline.toml", replaced(PIPELINE)),
        (".gitignore", IGNORED.to_owned()),
    ]
}

fn write_all(dir: &Path, files: &[(&str, String)]) -> io::Result<()> {
    dir.parent().map_or(Ok(()), fs::create_dir_all)?;
    // Fails if there is such a folder, or file, or link.
    fs::create_dir(dir)?;
    fs::create_dir(dir.join("src"))?;
    files.iter().try_for_each(|(file, text)| fs::write(dir.join(file), text))
}

fn not_made(dir: &Path, error: &io::Error) -> Refused {
    let hint = match error.kind() {
        io::ErrorKind::AlreadyExists => {
            "choose another name, or another folder with --dir; what is there is not touched"
        }
        _ => "--dir names a folder that is not there yet, below one where this user may write",
    };
    Refused::new(format!("the folder {} cannot be made: {error}", dir.display()), hint)
}

/// The source, and a config for it that does something to the sample.
fn template(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Map => (include_str!("templates/map.rs"), "letters_min = 4"),
        Kind::Filter => (include_str!("templates/filter.rs"), "words_min = 8"),
        Kind::FlatMap => (include_str!("templates/flat_map.rs"), "words_max = 5"),
        Kind::MapBatches => (include_str!("templates/map_batches.rs"), "offset = 100.0, scale = 0.01"),
    }
}

fn function_name(name: &str) -> String {
    name.replace('-', "_")
}

fn check_name(name: &str) -> Result<(), Refused> {
    const HINT: &str =
        "a name starts with a small letter, and has small letters, digits, `-` and `_`, at most 64 of them";
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase());
    let goes_on = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_');
    if !begins || !goes_on || name.len() > NAME_CHARS_MAX {
        let what = format!("`{}` is no name for a crate and its function", name.escape_debug());
        return Err(Refused::new(what, HINT));
    }
    if TAKEN.contains(&function_name(name).as_str()) {
        let what = format!("`{name}` means something else to Rust or to cargo");
        return Err(Refused::new(what, format!("{HINT}, and is no word of the language")));
    }
    Ok(())
}

/// Keywords, crates that the new one depends on, and names that cargo refuses or that the templates use.
const TAKEN: &[&str] = &[
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "bool",
    "box",
    "break",
    "build",
    "char",
    "config",
    "const",
    "continue",
    "core",
    "crate",
    "deps",
    "do",
    "dyn",
    "else",
    "enum",
    "examples",
    "extern",
    "f32",
    "f64",
    "false",
    "filter",
    "final",
    "flat_map",
    "fn",
    "for",
    "gen",
    "i128",
    "i16",
    "i32",
    "i64",
    "i8",
    "if",
    "impl",
    "in",
    "incremental",
    "isize",
    "let",
    "loop",
    "macro",
    "map",
    "map_batches",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc_macro",
    "pub",
    "ref",
    "return",
    "schemars",
    "self",
    "serde",
    "static",
    "std",
    "str",
    "struct",
    "super",
    "test",
    "tests",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "u128",
    "u16",
    "u32",
    "u64",
    "u8",
    "union",
    "unsafe",
    "unsized",
    "use",
    "usize",
    "virtual",
    "wasmpipe_sdk",
    "where",
    "while",
    "yield",
];

/// What was said first, else what the environment says, else what lies beside the sources of this binary.
fn find_sdk(said: Option<&Path>) -> Result<PathBuf, Refused> {
    let variable = || env::var_os(SDK_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
    let (path, whence) = match (said, variable()) {
        (Some(path), _) => (path.to_owned(), "--sdk"),
        (None, Some(path)) => (path, SDK_VARIABLE),
        (None, None) => (Path::new(env!("CARGO_MANIFEST_DIR")).join(SDK_IN_SOURCES), ""),
    };
    let hint = "name the folder `guest-sdk/rust` of wasmpipe's sources with --sdk, or in WASMPIPE_SDK";
    match (fs::canonicalize(&path).ok().filter(|path| is_sdk(path)), whence) {
        (Some(path), _) => Ok(path),
        (None, "") => Err(Refused::new("the Rust SDK is not where this binary was built", hint)),
        (None, whence) => {
            Err(Refused::new(format!("{whence} names {}, which is not the Rust SDK", path.display()), hint))
        }
    }
}

fn is_sdk(path: &Path) -> bool {
    let manifest = fs::read_to_string(path.join("Cargo.toml")).unwrap_or_default();
    manifest.lines().any(|line| line.trim() == "name = \"wasmpipe-sdk\"")
}

/// As a TOML string; JSON's escapes are TOML's.
fn quoted(path: &Path) -> String {
    serde_json::Value::from(path.to_string_lossy()).to_string()
}

/// A few dozen rows that every template has something to do with: `id`, `text`, `n`.
fn sample_rows() -> RecordBatch {
    const SENTENCES: [&str; 6] = [
        "Call me Ishmael.",
        "It was the best of times, it was the worst of times, it was the age of wisdom.",
        "Happy families are all alike; every unhappy family is unhappy in its own way.",
        "",
        "Größe ist nicht alles: 数は力なり.",
        "It is a truth universally acknowledged, that a single man in possession of a good fortune, must be in want of a wife.",
    ];
    let numbers: Vec<i64> = (0..SAMPLE_ROWS).map(|row| row * row - 100).collect();
    let ids: ArrayRef = Arc::new((0..SAMPLE_ROWS).map(|row| Some(format!("row-{row:02}"))).collect::<StringArray>());
    let texts = (0..SAMPLE_ROWS as usize).map(|row| {
        let words = row % 5 + 1;
        let sentence = SENTENCES[row % SENTENCES.len()];
        if row < SENTENCES.len() { sentence.to_owned() } else { vec![sentence; words].join(" ").trim().to_owned() }
    });
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(texts));
    let columns = [("id", ids), ("text", texts), ("n", Arc::new(Int64Array::from(numbers)) as ArrayRef)];
    RecordBatch::try_from_iter(columns).expect("columns of one length")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Hint as _;

    #[test]
    fn names() {
        for good in ["words", "a", "long-enough", "w2_b"] {
            check_name(good).unwrap();
        }
        for bad in ["", "Words", "2words", "-a", "a b", "a.b", "fn", "map", "flat-map", "serde", "ä", &"a".repeat(65)]
        {
            assert!(check_name(bad).unwrap_err().hint().is_some(), "{bad}");
        }
    }

    #[test]
    fn the_sdk_is_found_or_asked_for() {
        assert!(find_sdk(None).unwrap().ends_with("guest-sdk/rust"));
        let empty = tempfile::tempdir().unwrap();
        let refused = find_sdk(Some(empty.path())).unwrap_err();
        assert!(refused.to_string().contains("--sdk names") && refused.hint().is_some(), "{refused}");
    }

    #[test]
    fn every_word_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        for (kind, name) in [(Kind::Map, "a"), (Kind::Filter, "b"), (Kind::FlatMap, "c"), (Kind::MapBatches, "d-e")] {
            let dir = folder.path().join("new").join(name);
            let wanted = New { name, kind, dir: Some(&dir), sdk: None };
            assert_eq!(new(&wanted).unwrap().dir, dir);
            for file in ["Cargo.toml", "src/lib.rs", "pipeline.toml"] {
                let text = fs::read_to_string(dir.join(file)).unwrap();
                for word in ["crate-name", "function_name", "config-example", "sdk-path"] {
                    assert!(!text.contains(word), "{word} in {file}");
                }
            }
            let again = new(&wanted).unwrap_err();
            assert!(again.hint().unwrap().contains("--dir"), "{again}");
        }
    }
}
