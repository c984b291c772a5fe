//! The sections of a pipeline file, key by key.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::holds_secret;
use super::section::{Report, Section, Value, shown};
use super::settings::settings;
use super::shape::{CHECKPOINT, DEAD_LETTERS, FILE, RUN, SINK, SOURCE, STAGE, STORE, Shape, section_name};
use super::value::{
    at_most, boolean, bytes, choice, column_or_columns, columns, count, kind, path, place, schema, seconds,
    seconds_of_a_minute, seconds_or_zero, text, whole, wrong_type,
};
use super::{
    At, Checkpoint, Compression, Config, DeadLetters, ExtraKeys, Format, Nulls, OnError, OnUnseparated, PipelineFile,
    Problems, Run, Sink, Source, Stage, Store,
};

/// The most threads, and the most units open at once. More than this is a slip of the finger.
const THREADS_MAX: u32 = 4096;
/// The most lanes: each is a folder with at least two entries.
const LANES_MAX: u32 = 65_536;

/// The most bytes of a line.
const RECORD_BYTES_MAX: u64 = 1 << 30;

/// The most requests at once, and the most times that one is sent again.
const REQUESTS_MAX: u32 = 4096;
const RETRIES_MAX: u32 = 1000;

/// Reads the whole file, and reports all that is wrong with it. Of a file that is not TOML nothing more can be said: what
/// the parser made of it is a guess.
pub(super) fn config(file: PipelineFile) -> Result<Config, Problems> {
    let mut report = Report::new(&file);
    let (root, errors) = DeTable::parse_recoverable(file.text());
    let is_toml = errors.is_empty();
    for error in errors {
        not_toml(&error, &mut report);
    }
    let (source, stages, sink, checkpoint, dead_letters, run) = parts(root.get_ref(), &mut report);
    let problems = report.problems;
    if !is_toml {
        return Err(Problems(problems));
    }
    Ok(Config { source, stages, sink, checkpoint, dead_letters, run, file, problems })
}

fn not_toml(error: &toml::de::Error, report: &mut Report<'_>) {
    let span = error.span().unwrap_or_default();
    let (message, hint) = match error.message() {
        "duplicate key" => {
            let key = report.file.text().get(span.clone()).unwrap_or_default();
            let hint = "each section, and each key in it, is written once; only [[stage]] may repeat";
            (format!("`{key}` is already there"), hint.to_owned())
        }
        other => unquoted(report.file, &span).unwrap_or_else(|| {
            let hint = "write key = value; strings stand in quotes, sections in [brackets]; see https://toml.io";
            (format!("not TOML: {other}"), hint.to_owned())
        }),
    };
    report.not_toml(&span, message, hint);
}

/// The slips that people make most, in plain words: no quotes, one quote, no value, an open bracket.
fn unquoted(file: &PipelineFile, span: &Range<usize>) -> Option<(String, String)> {
    let line = file.text_of_line(span.start).trim();
    if holds_secret(line) {
        return None;
    }
    if line.starts_with('[') && !line.contains(']') && !line.contains('=') {
        let (open, close) = if line.starts_with("[[") { ("[[", "]]") } else { ("[", "]") };
        let name = line.trim_start_matches('[');
        return Some((
            format!("the brackets of `{}` are not closed", shown(line)),
            format!("write {open}{}{close}", shown(name.trim())),
        ));
    }
    let (key, rest) = line.split_once('=')?;
    let (key, value) = (shown(key.trim()), rest.split(" #").next().unwrap_or_default().trim());
    if value.is_empty() {
        return Some((
            format!("`{key}` has no value"),
            format!("write it behind the =, or remove the line: {key} = \"...\""),
        ));
    }
    if is_unclosed(rest.trim()) {
        let quote = &value[..1];
        return Some((
            format!("the text of `{key}` has no closing quote"),
            format!("write {key} = {}{quote}", shown(value)),
        ));
    }
    let is_bare = value.starts_with(|c: char| c.is_alphabetic() || "./~*_".contains(c)) && !value.contains('"');
    let hint = format!("write {key} = \"{}\"", shown(value));
    (is_bare && value != "true" && value != "false")
        .then(|| (format!("the text of `{key}` stands without quotes"), hint))
}

/// Whether it is a text without its second quote.
fn is_unclosed(value: &str) -> bool {
    let mut chars = value.chars();
    match chars.next() {
        Some('\'') => !chars.any(|c| c == '\''),
        Some('"') => {
            let mut is_escaped = false;
            !chars.any(|c| {
                let is_end = c == '"' && !is_escaped;
                is_escaped = c == '\\' && !is_escaped;
                is_end
            })
        }
        _ => false,
    }
}

type Parts = (Source, Vec<Stage>, Sink, Option<Checkpoint>, DeadLetters, Run);

fn parts(root: &DeTable<'_>, report: &mut Report<'_>) -> Parts {
    let root = Section::new(&FILE, 0..0, root, report);
    require(&root, "source", report);
    require(&root, "sink", report);
    let source = one(&root, "source", &SOURCE, report).map(|section| source(&section, report));
    let problems_before = report.problems.len();
    let stages = stages(&root, report);
    let is_any_read = report.problems.len() == problems_before;
    let sink = one(&root, "sink", &SINK, report).map(|section| sink(&section, report));
    let checkpoint = one(&root, "checkpoint", &CHECKPOINT, report).map(|section| checkpoint(&section, report));
    let dead_letters = one(&root, "dead_letters", &DEAD_LETTERS, report).map(|section| {
        if is_any_read {
            refuse_unused(source.as_ref(), &stages, &section, report);
        }
        dead_letters(&section, report)
    });
    let run = one(&root, "run", &RUN, report).map(|section| run(&section, report));
    let (source, sink) = (source.unwrap_or_default(), sink.unwrap_or_default());
    (source, stages, sink, checkpoint, dead_letters.unwrap_or_default(), run.unwrap_or_default())
}

fn require(root: &Section<'_>, key: &'static str, report: &mut Report<'_>) {
    if root.get(key).is_none() {
        report.missing(
            None,
            format!("has no {}", section_name(key)),
            format!("add it, for example {}", FILE.example(key)),
        );
    }
}

/// A section that may stand once.
fn one<'a>(
    root: &Section<'a>,
    key: &'static str,
    shape: &'static Shape,
    report: &mut Report<'_>,
) -> Option<Section<'a>> {
    let value = root.get(key)?;
    if let Some(table) = value.get_ref().as_table() {
        return Some(Section::new(shape, value.span(), table, report));
    }
    not_a_section(key, value, report);
    None
}

/// The sections that may stand any number of times.
fn stages(root: &Section<'_>, report: &mut Report<'_>) -> Vec<Stage> {
    let Some(value) = root.get("stage") else {
        return Vec::new();
    };
    match value.get_ref() {
        DeValue::Array(items) => items.iter().filter_map(|item| one_stage(item, report)).collect(),
        DeValue::Table(_) => {
            report.wrong(&value.span(), "there may be several stages, so each is a [[stage]]", "write [[stage]]");
            one_stage(value, report).into_iter().collect()
        }
        _ => {
            not_a_section("stage", value, report);
            Vec::new()
        }
    }
}

fn one_stage(value: &Spanned<DeValue<'_>>, report: &mut Report<'_>) -> Option<Stage> {
    let Some(table) = value.get_ref().as_table() else {
        not_a_section("stage", value, report);
        return None;
    };
    Some(stage(&Section::new(&STAGE, value.span(), table, report), report))
}

fn not_a_section(key: &str, value: &Spanned<DeValue<'_>>, report: &mut Report<'_>) {
    let name = section_name(key);
    let (message, hint) = match value.get_ref() {
        DeValue::Array(items) if items.iter().all(|item| item.get_ref().is_table()) => {
            (format!("there is one {name} only"), format!("write {name}"))
        }
        other => (format!("`{key}` must be a section, not {}", kind(other)), format!("write {}", FILE.example(key))),
    };
    report.wrong(&value.span(), message, hint);
}

fn source(section: &Section<'_>, report: &mut Report<'_>) -> Source {
    let path = section.required("path", report, place);
    let id = section.optional("id", report, column_or_columns);
    let format = section.optional("format", report, format);
    let schema = section.optional("schema", report, schema);
    let extra_keys = section.optional("extra_keys", report, extra_keys);
    let on_bad_line = section.optional("on_bad_line", report, on_error);
    let record_bytes_max = section.optional("record_bytes_max", report, record_bytes);
    let footers_max = section.optional("footers_max", report, |value, report| whole(value, 1..=u64::MAX, report));
    let store = section.optional("store", report, store);
    Source { path, id, format, schema, extra_keys, on_bad_line, record_bytes_max, footers_max, store }
}

fn stage(section: &Section<'_>, report: &mut Report<'_>) -> Stage {
    let problems_before = report.problems.len();
    let component = section.required("component", report, path);
    let function = section.required("function", report, text);
    let config = section.optional("config", report, |value, report| Some(settings(value, report)));
    let on_error = section.optional("on_error", report, on_error);
    let memory_bytes_max = section.optional("memory_bytes_max", report, bytes);
    let block_seconds_max = section.optional("block_seconds_max", report, seconds);
    let row_output_bytes_max = section.optional("row_output_bytes_max", report, bytes);
    let isolate_calls_max =
        section.optional("isolate_calls_max", report, |value, report| whole(value, 0..=u64::MAX, report));
    let isolate_seconds_max = section.optional("isolate_seconds_max", report, seconds_or_zero);
    let isolate_hangs_max =
        section.optional("isolate_hangs_max", report, |value, report| count(value, u32::MAX, report));
    let isolate_run_seconds_max = section.optional("isolate_run_seconds_max", report, seconds_or_zero);
    let on_unseparated = section.optional("on_unseparated", report, on_unseparated);
    if report.problems.len() == problems_before {
        refuse_skip_under_fail(on_error.as_ref(), on_unseparated.as_ref(), report);
    }
    Stage {
        component,
        function,
        config,
        on_error,
        memory_bytes_max,
        block_seconds_max,
        row_output_bytes_max,
        isolate_calls_max,
        isolate_seconds_max,
        isolate_hangs_max,
        isolate_run_seconds_max,
        on_unseparated,
    }
}

/// Rows that fail unseparated are rows that fail.
fn refuse_skip_under_fail(
    on_error: Option<&At<OnError>>,
    on_unseparated: Option<&At<OnUnseparated>>,
    report: &mut Report<'_>,
) {
    let ends_the_run = on_error.is_none_or(|written| written.value == OnError::Fail);
    if let Some(written) = on_unseparated.filter(|written| ends_the_run && written.value == OnUnseparated::Skip) {
        let message = "`on_unseparated` leaves out rows in a stage whose first failed row ends the run";
        let hint = "write on_error = \"skip\" or \"dead-letter\", or remove on_unseparated";
        report.wrong(&written.span, message, hint);
    }
}

/// What the sink's format has not.
fn refuse_misfits(
    format: Option<&At<Format>>,
    compression: Option<&At<Compression>>,
    nulls: Option<&At<Nulls>>,
    report: &mut Report<'_>,
) {
    let is_parquet = format.is_none_or(|written| written.value == Format::Parquet);
    if let Some(nulls) = nulls.filter(|_| is_parquet) {
        report.wrong(
            &nulls.span,
            "`nulls` is for JSON Lines; Parquet has nulls of its own",
            "remove it, or write format = \"jsonl\"",
        );
    }
    let is_block = |compression: &&At<Compression>| matches!(compression.value, Compression::Snappy | Compression::Lz4);
    if let Some(compression) = compression.filter(is_block).filter(|_| !is_parquet) {
        let message = "JSON Lines are compressed as whole files, which this is not for";
        report.wrong(&compression.span, message, "compression = \"zstd\", \"gzip\" or \"none\"");
    }
}

fn sink(section: &Section<'_>, report: &mut Report<'_>) -> Sink {
    let path = section.required("path", report, place);
    let format = section.optional("format", report, format);
    let columns = section.optional("columns", report, columns);
    let compression = section.optional("compression", report, compression);
    let nulls = section.optional("nulls", report, nulls);
    let file_bytes_max = section.optional("file_bytes_max", report, bytes);
    refuse_misfits(format.as_ref(), compression.as_ref(), nulls.as_ref(), report);
    let store = section.optional("store", report, store);
    let shared = section.optional("shared", report, boolean);
    Sink { path, format, columns, compression, nulls, file_bytes_max, shared, store }
}

fn checkpoint(section: &Section<'_>, report: &mut Report<'_>) -> Checkpoint {
    let path = section.required("path", report, place);
    let store = section.optional("store", report, store);
    let lanes = section.optional("lanes", report, |value, report| count(value, LANES_MAX, report));
    let split_bytes = section.optional("split_bytes", report, bytes);
    let compact_entries =
        section.optional("compact_entries", report, |value, report| whole(value, 0..=u64::MAX, report));
    let heartbeat_seconds = section.optional("heartbeat_seconds", report, seconds_of_a_minute);
    let delete_on_success = section.optional("delete_on_success", report, boolean);
    let group_rows_max = section.optional("group_rows_max", report, |value, report| whole(value, 1..=u64::MAX, report));
    let group_bytes_max = section.optional("group_bytes_max", report, bytes);
    let group_seconds_max = section.optional("group_seconds_max", report, seconds);
    Checkpoint {
        path,
        store,
        lanes,
        split_bytes,
        compact_entries,
        heartbeat_seconds,
        delete_on_success,
        group_rows_max,
        group_bytes_max,
        group_seconds_max,
    }
}

fn dead_letters(section: &Section<'_>, report: &mut Report<'_>) -> DeadLetters {
    DeadLetters { full_row: section.optional("full_row", report, boolean) }
}

/// A section about dead letters that nobody writes was written by somebody who expects some.
fn refuse_unused(source: Option<&Source>, stages: &[Stage], section: &Section<'_>, report: &mut Report<'_>) {
    let of_lines = source.and_then(|source| source.on_bad_line.as_ref());
    let mut written = stages.iter().filter_map(|stage| stage.on_error.as_ref()).chain(of_lines);
    if written.all(|written| written.value != OnError::DeadLetter) {
        let message = "[dead_letters] is there, but no stage makes any";
        let hint =
            "write on_error = \"dead-letter\" in the [[stage]] whose failed rows are to be kept, or remove the section";
        report.wrong(section.header(), message, hint);
    }
}

fn store(value: Value<'_>, report: &mut Report<'_>) -> Option<Store> {
    let Some(table) = value.toml.get_ref().as_table() else { return wrong_type(value, "a table", report) };
    let section = Section::new(&STORE, value.toml.span(), table, report);
    Some(Store {
        endpoint: section.optional("endpoint", report, text),
        region: section.optional("region", report, text),
        profile: section.optional("profile", report, text),
        allow_http: section.optional("allow_http", report, boolean),
        retries: section.optional("retries", report, |value, report| at_most(value, RETRIES_MAX, report)),
        timeout_seconds: section.optional("timeout_seconds", report, seconds),
        requests_max: section.optional("requests_max", report, |value, report| count(value, REQUESTS_MAX, report)),
    })
}

fn run(section: &Section<'_>, report: &mut Report<'_>) -> Run {
    Run {
        workers: section.optional("workers", report, |value, report| count(value, THREADS_MAX, report)),
        readers: section.optional("readers", report, |value, report| count(value, THREADS_MAX, report)),
        drain_seconds: section.optional("drain_seconds", report, seconds_or_zero),
        block_rows_max: section.optional("block_rows_max", report, |value, report| count(value, u32::MAX, report)),
        block_bytes_max: section.optional("block_bytes_max", report, bytes),
        memory_bytes_max: section.optional("memory_bytes_max", report, bytes),
        ids_memory_bytes_max: section.optional("ids_memory_bytes_max", report, bytes),
    }
}

fn format(value: Value<'_>, report: &mut Report<'_>) -> Option<Format> {
    choice(value, &[("parquet", Format::Parquet), ("jsonl", Format::JsonLines)], report)
}

fn extra_keys(value: Value<'_>, report: &mut Report<'_>) -> Option<ExtraKeys> {
    choice(value, &[("refuse", ExtraKeys::Refuse), ("drop", ExtraKeys::Drop), ("keep", ExtraKeys::Keep)], report)
}

/// Lines are in memory, and offsets of columns count to 2 GiB.
fn record_bytes(value: Value<'_>, report: &mut Report<'_>) -> Option<u64> {
    let written = bytes(value, report)?;
    if written > RECORD_BYTES_MAX {
        report.wrong(
            &value.toml.span(),
            format!("`{}` is more than 1 GiB, which no line is read with", value.key),
            "write at most \"1 GiB\"",
        );
        return None;
    }
    Some(written)
}

fn nulls(value: Value<'_>, report: &mut Report<'_>) -> Option<Nulls> {
    choice(value, &[("write", Nulls::Write), ("omit", Nulls::Omit)], report)
}

fn compression(value: Value<'_>, report: &mut Report<'_>) -> Option<Compression> {
    let choices = [
        ("zstd", Compression::Zstd),
        ("snappy", Compression::Snappy),
        ("lz4", Compression::Lz4),
        ("gzip", Compression::Gzip),
        ("none", Compression::None),
    ];
    choice(value, &choices, report)
}

fn on_unseparated(value: Value<'_>, report: &mut Report<'_>) -> Option<OnUnseparated> {
    choice(value, &[("fail", OnUnseparated::Fail), ("skip", OnUnseparated::Skip)], report)
}

fn on_error(value: Value<'_>, report: &mut Report<'_>) -> Option<OnError> {
    let choices = [("fail", OnError::Fail), ("skip", OnError::Skip), ("dead-letter", OnError::DeadLetter)];
    choice(value, &choices, report)
}

#[cfg(test)]
mod tests {
    use super::is_unclosed;

    #[test]
    fn a_text_ends_with_the_quote_that_it_begins_with() {
        for value in ["'in", "\"in", "'in\"", "\"it's", r#""in\""#, r#"""#] {
            assert!(is_unclosed(value), "{value}");
        }
        for value in ["'in'", "\"in\"", r#""in\\""#, "'in\\' x", "in", "3", ""] {
            assert!(!is_unclosed(value), "{value}");
        }
    }
}
