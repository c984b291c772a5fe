//! Wrong programs: each file in `tests/wrong` is one mistake, and the file beside it is what its author reads.
//!
//! The compiler runs once over all of them. A message is kept as its headline, the author's line with what is underlined,
//! labels, and notes; what depends on paths, on the SDK's own lines or on lists of other types is left out.
//! `UPDATE_EXPECT=1 cargo test --test wrong` writes the messages anew: read them as someone who sees nothing else.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use expect_test::expect_file;
use serde::Deserialize;

#[derive(Deserialize)]
struct Line {
    reason: String,
    target: Option<Target>,
    message: Option<Message>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

#[derive(Deserialize)]
struct Message {
    level: String,
    message: String,
    spans: Vec<Span>,
    children: Vec<Message>,
}

#[derive(Deserialize)]
struct Span {
    file_name: String,
    is_primary: bool,
    label: Option<String>,
    text: Vec<Text>,
    expansion: Option<Box<Expansion>>,
}

#[derive(Deserialize)]
struct Expansion {
    span: Span,
}

#[derive(Deserialize)]
struct Text {
    text: String,
    highlight_start: usize,
    highlight_end: usize,
}

#[test]
fn every_mistake_is_explained_where_it_was_made() {
    let mut said = compile();
    for program in programs() {
        let name = program.file_stem().expect("a name").to_str().expect("UTF-8").to_owned();
        let messages = said.remove(&name).unwrap_or_default();
        assert!(!messages.is_empty(), "tests/wrong/{name}.rs compiles");
        expect_file![program.with_extension("stderr")].assert_eq(&messages.join("\n"));
    }
    assert_eq!(said.into_keys().collect::<Vec<_>>(), Vec::<String>::new(), "no such programs");
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn programs() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join("tests/wrong")).expect("a folder");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "rs"));
    files.sort();
    files
}

/// What the compiler says of each program.
fn compile() -> BTreeMap<String, Vec<String>> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("wrong");
    std::fs::create_dir_all(folder.join("src")).expect("writable");
    std::fs::write(folder.join("src/lib.rs"), "").expect("writable");
    std::fs::write(folder.join("Cargo.toml"), manifest()).expect("writable");
    std::fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).expect("copies");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["check", "--offline", "--examples", "--keep-going", "--message-format=json", "--quiet"]);
    // Not the folder in use: its lock is held while this test runs under `cargo test`.
    let output =
        cargo.current_dir(&folder).env("CARGO_TARGET_DIR", folder.join("target")).output().expect("cargo runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let mut said = BTreeMap::<String, Vec<String>>::new();
    for line in text.lines() {
        let line: Line = serde_json::from_str(line).expect("a message of cargo");
        let (Some(target), Some(message)) = (line.target, line.message) else { continue };
        let is_summary = message.spans.is_empty() && message.children.is_empty();
        if line.reason == "compiler-message" && message.level == "error" && !is_summary {
            said.entry(target.name).or_default().push(shown(&message));
        }
    }
    assert!(!said.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    said
}

fn manifest() -> String {
    let mut text = format!(
        "[package]\nname = \"wrong\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n[dependencies]\n\
         serde = {{ version = \"1\", features = [\"derive\"] }}\nwasmpipe-sdk = {{ path = {:?} }}\n",
        root()
    );
    for program in programs() {
        let name = program.file_stem().expect("a name").to_str().expect("UTF-8");
        write!(text, "[[example]]\nname = {name:?}\npath = {program:?}\ncrate-type = [\"lib\"]\n").expect("a string");
    }
    text
}

fn shown(message: &Message) -> String {
    let mut text = format!("error: {}\n", message.message);
    for span in message.spans.iter().filter(|span| span.is_primary).filter_map(authors) {
        for line in &span.text {
            let width = line.highlight_end.saturating_sub(line.highlight_start).max(1);
            let label = message.spans.iter().find(|span| span.is_primary).and_then(|span| span.label.as_deref());
            let marks = format!("{}{}", " ".repeat(line.highlight_start - 1), "^".repeat(width));
            write!(text, "  | {}\n  | {marks} {}\n", line.text.trim_end(), label.unwrap_or("")).expect("a string");
        }
    }
    let notes = message.children.iter().filter(|child| child.level == "note" && child.spans.is_empty());
    for note in notes.filter(|note| !NOISE.iter().any(|noise| note.message.starts_with(noise))) {
        writeln!(text, "  = {}", note.message).expect("a string");
    }
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Beginnings of notes that say how the compiler got there, and where its own files are.
const NOISE: &[&str] = &["required ", "the full name", "consider using `--verbose`", "this error originates"];

/// The place in the author's file, through the macros.
fn authors(span: &Span) -> Option<&Span> {
    match &span.expansion {
        _ if span.file_name.contains("tests/wrong/") => Some(span),
        Some(expansion) => authors(&expansion.span),
        None => None,
    }
}
