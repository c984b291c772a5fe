//! `wasmpipe checkpoint inspect`: what a checkpoint says, without changing it.

use serde::Serialize;

use super::text::{bytes, counted, number};
use super::{FINISHED, args, look};
use crate::commit::{Close, FileEntry, GroupCounts, LaneEntry, LaneView, Logged, RowState, SideFile, View};

/// Everything that is printed.
#[derive(Serialize)]
struct Report {
    job: String,
    source: String,
    sink: String,
    id_columns: Vec<String>,
    /// Segments.
    commits: u64,
    /// Source rows with a state: done, known or failed.
    rows_committed: u64,
    rows_done: u64,
    rows_known: u64,
    rows_failed: u64,
    /// Over all segments.
    counts: GroupCounts,
    closed: Option<Close>,
    files: Vec<FileEntry>,
    id_files: Vec<SideFile>,
    /// Ids that were done elsewhere, before the job began.
    imported: Vec<SideFile>,
    entries: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    lane: u32,
    number: u64,
    #[serde(flatten)]
    entry: LaneEntry,
}

pub(super) fn inspect(options: &args::Inspect) -> u8 {
    let report = match look::checkpoint(&options.path, &look::runtime()) {
        Ok(looked) => make(looked.view),
        Err(code) => return code,
    };
    if options.json {
        out!("{}", serde_json::to_string_pretty(&report).expect("plain values are JSON"));
    } else {
        print(&report);
    }
    FINISHED
}

fn make(view: View) -> Report {
    let [rows_done, rows_known, rows_failed] =
        [RowState::Done, RowState::Known, RowState::Failed].map(|state| view.rows(state));
    let (commits, counts, closed) = (view.segments(), view.counts(), view.closed());
    let genesis = view.root.genesis;
    let ids = genesis.ids.iter().flatten();
    let id_columns = ids.map(|column| format!("{}: {}", column.name, column.data_type)).collect();
    let (mut files, mut id_files, mut entries) = (Vec::new(), Vec::new(), Vec::new());
    for LaneView { lane, entries: own, state } in view.lanes {
        files.extend(state.files);
        id_files.extend(state.ids.into_iter().map(|(_, file)| file));
        entries.extend(own.into_iter().map(|Logged { number, entry }| Entry { lane, number, entry }));
    }
    Report {
        job: genesis.job,
        source: genesis.source,
        sink: genesis.sink,
        id_columns,
        commits,
        rows_committed: rows_done + rows_known + rows_failed,
        rows_done,
        rows_known,
        rows_failed,
        counts,
        closed,
        files,
        id_files,
        imported: genesis.imported,
        entries,
    }
}

fn print(report: &Report) {
    out!("job       {}", report.job);
    out!("source    {}", report.source);
    out!("sink      {}", report.sink);
    out!(
        "ids       {}",
        if report.id_columns.is_empty() { "by position".into() } else { report.id_columns.join(", ") }
    );
    if !report.imported.is_empty() {
        out!("imported  {}", counted(report.imported.iter().map(|file| file.rows).sum(), "id"));
    }
    out!(
        "rows      {} committed: {} done, {} known, {} failed",
        number(report.rows_committed),
        number(report.rows_done),
        number(report.rows_known),
        number(report.rows_failed)
    );
    let size: u64 = report.files.iter().map(|file| file.bytes).sum();
    out!(
        "output    {} in {}, {}",
        counted(report.counts.rows_written, "row"),
        counted(report.files.len() as u64, "file"),
        bytes(size)
    );
    out!("commits   {}", number(report.commits));
    for Entry { number, entry, .. } in &report.entries {
        out!("  {number:>6}  {}", line(entry));
    }
}

fn line(entry: &LaneEntry) -> String {
    match entry {
        LaneEntry::Open { token, host, pid, .. } => format!("open     {token} on {host}, process {pid}"),
        LaneEntry::Close { how, .. } => format!("close    {how:?}").to_lowercase(),
        LaneEntry::Segment(segment) => format!(
            "segment  {} read, {} written, {} failed, {}",
            counted(segment.counts.rows_read, "row"),
            number(segment.counts.rows_written),
            number(segment.counts.rows_failed),
            counted(segment.files.len() as u64, "file")
        ),
    }
}
