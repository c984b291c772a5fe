//! Files that a pipeline file names and that are not there. `plan` finds them too, but a file with other mistakes never
//! gets that far, and all mistakes belong into one report.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{PipelineFile, Problem};

/// A problem for every missing file, save at places that have a problem already.
pub(super) fn missing(file: &PipelineFile, known: &[Problem]) -> Vec<Problem> {
    let (root, errors) = DeTable::parse_recoverable(file.text());
    if !errors.is_empty() {
        return Vec::new();
    }
    let root = root.get_ref();
    let stages = root.get("stage").and_then(|stages| stages.get_ref().as_array()).into_iter().flatten();
    let components = stages.filter_map(|stage| key(stage, "component"));
    let source = root.get("source").and_then(|source| key(source, "path"));
    let is_known =
        |problem: &Problem| known.iter().any(|other| (other.line, other.column) == (problem.line, problem.column));
    components.chain(source).filter_map(|value| absent(file, value)).filter(|problem| !is_known(problem)).collect()
}

fn key<'a>(section: &'a Spanned<DeValue<'a>>, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
    section.get_ref().as_table()?.get(key)
}

fn absent(file: &PipelineFile, value: &Spanned<DeValue<'_>>) -> Option<Problem> {
    let written = value.get_ref().as_str()?;
    let is_checked = !written.is_empty() && !written.contains(['*', '?', '[', '{']);
    let path = written.strip_prefix("file://").unwrap_or(written);
    let folder = file.path().parent().unwrap_or(Path::new(""));
    if !is_checked || folder.join(path).exists() {
        return None;
    }
    let problem = file.problem_at(&value.span(), format!("there is no {written}"));
    Some(problem.hint("check the path; a relative one starts at the pipeline file's folder"))
}
