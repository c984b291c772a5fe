//! A pipeline file as a whole: what is no TOML, the sections, and what keys say about each other.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::FILE;
use super::problem::holds_secret;
use super::section::{Report, Section, section_name, shown};
use super::shape::Shape;
use super::value::kind;
use super::{
    At, Checkpoint, Compression, Config, DeadLetters, Format, OnError, OnUnseparated, PipelineFile, Problems, Run,
    Sink, Source, Stage,
};

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
    let source = one(&root, "source", &Source::SHAPE, report).map(|section| Source::read(&section, report));
    let problems_before = report.problems.len();
    let stages = stages(&root, report);
    let is_any_read = report.problems.len() == problems_before;
    let sink = one(&root, "sink", &Sink::SHAPE, report).map(|section| sink(&section, report));
    let checkpoint =
        one(&root, "checkpoint", &Checkpoint::SHAPE, report).map(|section| Checkpoint::read(&section, report));
    let dead_letters = one(&root, "dead_letters", &DeadLetters::SHAPE, report).map(|section| {
        if is_any_read {
            refuse_unused(source.as_ref(), &stages, &section, report);
        }
        DeadLetters::read(&section, report)
    });
    let run = one(&root, "run", &Run::SHAPE, report).map(|section| Run::read(&section, report));
    let (source, sink) = (source.unwrap_or_default(), sink.unwrap_or_default());
    (source, stages, sink, checkpoint, dead_letters.unwrap_or_default(), run.unwrap_or_default())
}

fn require(root: &Section<'_>, key: &'static str, report: &mut Report<'_>) {
    if root.get(key).is_none() {
        report.missing(
            None,
            format!("has no {}", section_name(key)),
            format!("add it, for example {}", FILE.key(key).example),
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
    Some(stage(&Section::new(&Stage::SHAPE, value.span(), table, report), report))
}

fn not_a_section(key: &str, value: &Spanned<DeValue<'_>>, report: &mut Report<'_>) {
    let name = section_name(key);
    let (message, hint) = match value.get_ref() {
        DeValue::Array(items) if items.iter().all(|item| item.get_ref().is_table()) => {
            (format!("there is one {name} only"), format!("write {name}"))
        }
        other => {
            (format!("`{key}` must be a section, not {}", kind(other)), format!("write {}", FILE.key(key).example))
        }
    };
    report.wrong(&value.span(), message, hint);
}

fn stage(section: &Section<'_>, report: &mut Report<'_>) -> Stage {
    let problems_before = report.problems.len();
    let stage = Stage::read(section, report);
    if report.problems.len() == problems_before {
        refuse_skip_under_fail(&stage, report);
    }
    stage
}

/// Rows that fail unseparated are rows that fail.
fn refuse_skip_under_fail(stage: &Stage, report: &mut Report<'_>) {
    let ends_the_run = stage.on_error() == OnError::Fail;
    let written = stage.on_unseparated.as_ref();
    if let Some(written) = written.filter(|written| ends_the_run && written.value == OnUnseparated::Skip) {
        let message = "`on_unseparated` leaves out rows in a stage whose first failed row ends the run";
        let hint = "write on_error = \"skip\" or \"dead-letter\", or remove on_unseparated";
        report.wrong(&written.span, message, hint);
    }
}

fn sink(section: &Section<'_>, report: &mut Report<'_>) -> Sink {
    let sink = Sink::read(section, report);
    refuse_misfits(&sink, report);
    sink
}

/// What the sink's format has not.
fn refuse_misfits(sink: &Sink, report: &mut Report<'_>) {
    let is_parquet = sink.format() == Format::Parquet;
    if let Some(nulls) = sink.nulls.as_ref().filter(|_| is_parquet) {
        report.wrong(
            &nulls.span,
            "`nulls` is for JSON Lines; Parquet has nulls of its own",
            "remove it, or write format = \"jsonl\"",
        );
    }
    let is_block = |compression: &&At<Compression>| matches!(compression.value, Compression::Snappy | Compression::Lz4);
    if let Some(compression) = sink.compression.as_ref().filter(is_block).filter(|_| !is_parquet) {
        let message = "JSON Lines are compressed as whole files, which this is not for";
        report.wrong(&compression.span, message, "compression = \"zstd\", \"gzip\" or \"none\"");
    }
}

/// A section about dead letters that nobody writes was written by somebody who expects some.
fn refuse_unused(source: Option<&Source>, stages: &[Stage], section: &Section<'_>, report: &mut Report<'_>) {
    let of_lines = source.map(Source::on_bad_line);
    let mut written = stages.iter().map(Stage::on_error).chain(of_lines);
    if written.all(|on_error| on_error != OnError::DeadLetter) {
        let message = "[dead_letters] is there, but no stage makes any";
        let hint = "write on_error = \"dead-letter\" in the [[stage]] whose failed rows are to be kept, or on_bad_line = \
                    \"dead-letter\" under [source]; or remove the section";
        report.wrong(section.header(), message, hint);
    }
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
