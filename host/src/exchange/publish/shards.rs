//! Which rows of which files make up what file: all results of an object, in the order of its rows.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use super::super::ExchangeError;
use crate::commit::{FileEntry, Pinned, View};
use crate::format::compression::Compression;
use crate::sink::{FileName, Layout, OutputKind};
use crate::source::FileKind;

/// What is published.
pub(super) struct Shards<'a> {
    pub(super) all: Vec<Shard<'a>>,
    pub(super) compression: Compression,
    /// Objects that are left out.
    pub(super) elsewhere: u64,
}

/// What comes of one object.
#[derive(Debug)]
pub(super) struct Shard<'a> {
    pub(super) name: String,
    pub(super) rows: u64,
    /// In order.
    pub(super) runs: Vec<Run<'a>>,
}

/// Rows of a file that stand together in the object's order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Run<'a> {
    pub(super) file: &'a FileEntry,
    /// Which rows of the file.
    pub(super) rows: Range<u64>,
}

impl Run<'_> {
    pub(super) fn is_whole(&self) -> bool {
        self.rows == (0..self.file.rows)
    }
}

const PLACEHOLDER: &str = "{object}";

/// Of the objects that the job has results of. Those that were done `elsewhere`, before it began, are not among them.
pub(super) fn of<'a>(view: &'a View, elsewhere: &[Pinned], name: &str) -> Result<Shards<'a>, ExchangeError> {
    refuse_unjoinable(view)?;
    refuse_odd(name)?;
    let compression = compression(view, name)?;
    let mut files: BTreeMap<&str, Vec<&FileEntry>> =
        view.listing.iter().map(|pinned| (pinned.object.path.as_ref(), Vec::new())).collect();
    for file in view.files_of(OutputKind::Results) {
        let Some(holds) = &file.holds else { continue };
        files.entry(&holds.object).or_default().push(file);
    }
    let before = files.len();
    let elsewhere: HashSet<&str> = elsewhere.iter().map(|pinned| pinned.object.path.as_ref()).collect();
    files.retain(|object, files| !files.is_empty() || !elsewhere.contains(object));
    let elsewhere = (before - files.len()) as u64;
    let mut all = Vec::with_capacity(files.len());
    let mut named: HashMap<String, &str> = HashMap::new();
    for (object, files) in files {
        let pattern = name;
        let name = name_of(object, pattern);
        if let Some(other) = named.insert(name.clone(), object) {
            return Err(alike(pattern, &name, [other, object]));
        }
        all.push(Shard { name, rows: files.iter().map(|file| file.rows).sum(), runs: runs(object, files)? });
    }
    refuse_within(&named)?;
    Ok(Shards { all, compression, elsewhere })
}

/// Names of ours begin with a dot, and folders are those of the objects.
fn refuse_odd(name: &str) -> Result<(), ExchangeError> {
    if name.split('/').all(|part| !part.is_empty() && !part.starts_with('.')) {
        return Ok(());
    }
    let what = format!("--name {name} has a part that is empty or begins with a dot");
    Err(ExchangeError::refused(what, "write a name like part-{object}.jsonl.zst"))
}

fn alike(pattern: &str, name: &str, [one, other]: [&str; 2]) -> ExchangeError {
    let hint = match pattern.contains(PLACEHOLDER) {
        false => "write {object} into the --name where they differ",
        true => {
            "no --name tells them apart; `wasmpipe output list` names the files of each, which can be joined by hand"
        }
    };
    ExchangeError::refused(format!("{one} and {other} would both be {name}"), hint)
}

/// A file cannot be a folder of another.
fn refuse_within(named: &HashMap<String, &str>) -> Result<(), ExchangeError> {
    let folders = |name: &str| name.match_indices('/').map(|(at, _)| at).collect::<Vec<_>>();
    for (name, object) in named {
        let around = folders(name).into_iter().find_map(|at| named.get_key_value(&name[..at]));
        if let Some((folder, other)) = around {
            return Err(ExchangeError::refused(
                format!("{other} would be the file {folder}, and {object} lie in a folder of that name"),
                "give another --name, as in results-{object}.jsonl.zst",
            ));
        }
    }
    Ok(())
}

fn refuse_unjoinable(view: &View) -> Result<(), ExchangeError> {
    if view.root.genesis.layout != Layout::Mirror {
        return Err(ExchangeError::refused(
            "the files of this job hold rows of any objects, so that they cannot be joined by object",
            "write layout = \"mirror\" under [sink] of a new job; the files that count are what `wasmpipe output list` names",
        ));
    }
    let unfinished = view.unfinished()?;
    unfinished.map_or(Ok(()), |what| {
        Err(ExchangeError::refused(format!("the job is not finished: {what}"), "run it to its end first"))
    })
}

/// How files are compressed: all in one way, which the name says, too.
fn compression(view: &View, name: &str) -> Result<Compression, ExchangeError> {
    let extensions = view.results().filter_map(|file| Some(FileName::parse(&file.path)?.extension));
    let mut extensions: Vec<&str> = extensions.collect();
    extensions.sort_unstable();
    extensions.dedup();
    let extension = match extensions.as_slice() {
        [one] => one,
        // Nothing came of any row.
        [] => KINDS.iter().map(|(extension, _)| extension).find(|one| ends_with(name, one)).unwrap_or(&KINDS[0].0),
        [one, another, ..] => {
            return Err(ExchangeError::refused(
                format!("the job has written .{one} and .{another}, which cannot be joined"),
                "files that count are what `wasmpipe output list` names",
            ));
        }
    };
    let kind = KINDS.iter().find(|(known, _)| known == extension);
    let Some((_, compression)) = kind else {
        return Err(ExchangeError::refused(
            format!(".{extension} files cannot be joined"),
            "write format = \"jsonl\" under [sink] of a new job; the files that count are what `wasmpipe output list` names",
        ));
    };
    if !ends_with(name, extension) {
        return Err(ExchangeError::refused(
            format!("--name '{name}' does not end in .{extension}, which the files are"),
            "let it end as they do",
        ));
    }
    Ok(*compression)
}

/// Formats whose files can be joined, by the ends of their names.
const KINDS: [(&str, Compression); 3] =
    [("jsonl", Compression::None), ("jsonl.gz", Compression::Gzip), ("jsonl.zst", Compression::Zstd)];

fn ends_with(name: &str, extension: &str) -> bool {
    name.strip_suffix(extension).is_some_and(|rest| rest.ends_with('.'))
}

/// The folders of the object, and its name as it stands in the new one.
fn name_of(object: &str, name: &str) -> String {
    let (folder, object) = object.rsplit_once('/').map_or(("", object), |(folder, object)| (folder, object));
    let name = name.replace(PLACEHOLDER, FileKind::stem(object));
    if folder.is_empty() { name } else { format!("{folder}/{name}") }
}

/// The rows of an object's files in the order of the source rows that they came of.
fn runs<'a>(object: &str, files: Vec<&'a FileEntry>) -> Result<Vec<Run<'a>>, ExchangeError> {
    let mut spans = Vec::new();
    for file in files {
        let mut at = 0;
        for span in file.holds.iter().flat_map(|holds| &holds.spans) {
            spans.push((span.start..span.end, Run { file, rows: at..at + span.rows }));
            at += span.rows;
        }
    }
    spans.sort_by_key(|(source, _)| source.start);
    if spans.windows(2).any(|pair| pair[0].0.end > pair[1].0.start) {
        return Err(ExchangeError::refused(
            format!("the output holds results of two contents of {object}, whose rows have no common order"),
            "files that count are what `wasmpipe output list` names",
        ));
    }
    let mut runs: Vec<Run<'a>> = Vec::new();
    for (_, run) in spans {
        match runs.last_mut() {
            Some(last) if last.file.path == run.file.path && last.rows.end == run.rows.start => {
                last.rows.end = run.rows.end;
            }
            _ => runs.push(run),
        }
    }
    runs.retain(|run| !run.rows.is_empty());
    Ok(runs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::{Holds, Span};

    #[test]
    fn names_keep_folders_and_lose_endings() {
        for (object, name) in [
            ("a.jsonl.gz", "part-a.jsonl"),
            ("x/y/a.b.parquet", "x/y/part-a.b.jsonl"),
            ("a.json.zst", "part-a.jsonl"),
            ("notes.txt.gz", "part-notes.txt.gz.jsonl"),
        ] {
            assert_eq!(name_of(object, "part-{object}.jsonl"), name);
        }
    }

    fn file(path: &str, spans: &[(u64, u64, u64)]) -> FileEntry {
        let spans: Vec<Span> = spans.iter().map(|&(start, end, rows)| Span { start, end, rows }).collect();
        let rows = spans.iter().map(|span| span.rows).sum();
        let holds = Some(Holds { object: "a".into(), spans });
        FileEntry { path: path.into(), rows, bytes: 1, digest: None, holds }
    }

    /// Row 37 failed and was retried; rows 50 to 60 were another reader's; none came of rows 80 to 90.
    #[test]
    fn rows_stand_in_the_order_of_the_source() {
        let x = file("x", &[(0, 37, 74), (38, 50, 24), (60, 100, 80)]);
        let (y, z) = (file("y", &[(50, 60, 20)]), file("z", &[(37, 38, 2)]));
        let joined = runs("a", vec![&y, &z, &x]).unwrap();
        let expected = [(&x, 0..74), (&z, 0..2), (&x, 74..98), (&y, 0..20), (&x, 98..178)];
        assert_eq!(joined, expected.map(|(file, rows)| Run { file, rows }));
        assert_eq!(joined.iter().map(Run::is_whole).collect::<Vec<_>>(), [false, true, false, true, false]);
        let twice = file("t", &[(99, 101, 1)]);
        assert!(runs("a", vec![&x, &twice]).unwrap_err().to_string().contains("two contents of a"));
    }
}
