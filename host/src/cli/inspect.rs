//! `wasmpipe checkpoint inspect`: what a checkpoint says, without changing it.

use serde::Serialize;

use super::text::{bytes, counted, number};
use super::{FAILED, FINISHED, args, look, print_error};
use crate::commit::{
    Close, CommitError, FileEntry, GroupCounts, LaneEntry, LaneView, Logged, RowState, SideFile, View,
};
use crate::sink::OutputKind;

/// Everything that is printed.
#[derive(Serialize)]
struct Report {
    job: String,
    lanes: u32,
    source: String,
    sink: String,
    id_columns: Vec<String>,
    /// Groups that count.
    commits: u64,
    /// Source rows with a state: done, known, failed or dead-lettered.
    rows_committed: u64,
    rows_done: u64,
    rows_known: u64,
    rows_failed: u64,
    rows_dead_lettered: u64,
    /// Over all segments.
    counts: GroupCounts,
    closed: Option<Close>,
    /// Lanes that were closed as finished.
    lanes_finished: u32,
    /// What is left to do; none if the job is finished.
    unfinished: Option<String>,
    files: Vec<FileEntry>,
    dead_letters: Vec<FileEntry>,
    id_files: Vec<SideFile>,
    /// Ids that were done elsewhere, before the job began.
    imported: Vec<SideFile>,
    entries: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    lane: u32,
    number: u64,
    format: u32,
    #[serde(flatten)]
    entry: LaneEntry,
}

impl Entry {
    fn of(lane: u32, Logged { number, entry, format, .. }: Logged) -> Entry {
        Entry { lane, number, format, entry }
    }
}

pub(super) fn inspect(options: &args::Inspect) -> u8 {
    let report = match look::checkpoint(&options.path, &look::runtime()) {
        Ok(looked) => match make(looked.view) {
            Ok(report) => report,
            Err(error) => {
                print_error(&error);
                return FAILED;
            }
        },
        Err(code) => return code,
    };
    if options.json {
        out!("{}", super::json(&report));
    } else {
        print(&report);
    }
    FINISHED
}

fn make(view: View) -> Result<Report, CommitError> {
    let (rows_done, rows_known) = (view.rows(RowState::Done)?, view.rows(RowState::Known)?);
    let (rows_failed, rows_dead_lettered) = (view.rows(RowState::Failed)?, view.rows(RowState::DeadLettered)?);
    let (commits, counts, closed) = (view.groups(), view.counts(), view.closed());
    let lanes_finished = view.lanes.iter().filter(|lane| lane.state.closed == Some(Close::Finished)).count() as u32;
    let unfinished = view.unfinished()?;
    let [files, dead_letters] = OutputKind::ALL.map(|kind| view.files_of(kind).cloned().collect());
    let (genesis, places) = (view.root.genesis, view.root.places);
    let ids = genesis.ids.iter().flatten();
    let id_columns = ids.map(|column| format!("{}: {}", column.name, column.data_type)).collect();
    let (mut id_files, mut entries) = (Vec::new(), Vec::new());
    for LaneView { lane, entries: own, state } in view.lanes {
        id_files.extend(state.ids.into_iter().map(|ids| ids.file));
        entries.extend(own.into_iter().map(|logged| Entry::of(lane, logged)));
    }
    Ok(Report {
        job: genesis.job,
        lanes: genesis.lanes,
        source: places.source,
        sink: places.sink,
        id_columns,
        commits,
        rows_committed: rows_done + rows_known + rows_failed + rows_dead_lettered,
        rows_done,
        rows_known,
        rows_failed,
        rows_dead_lettered,
        counts,
        closed,
        lanes_finished,
        unfinished,
        files,
        dead_letters,
        id_files,
        imported: genesis.imported,
        entries,
    })
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
        "rows      {} committed: {} done, {} known, {} failed, {} dead-lettered",
        number(report.rows_committed),
        number(report.rows_done),
        number(report.rows_known),
        number(report.rows_failed),
        number(report.rows_dead_lettered)
    );
    let size: u64 = report.files.iter().map(|file| file.bytes).sum();
    out!(
        "output    {} in {}, {}",
        counted(report.counts.rows_written, "row"),
        counted(report.files.len() as u64, "file"),
        bytes(size)
    );
    out!("commits   {}", number(report.commits));
    let state =
        report.unfinished.as_deref().map_or("the job is finished".to_owned(), |what| format!("not finished: {what}"));
    out!("state     {state}; {} of {} finished", report.lanes_finished, counted(u64::from(report.lanes), "lane"));
    for Entry { lane, number, entry, .. } in &report.entries {
        let lane = if report.lanes == 1 { String::new() } else { format!("lane {lane}") };
        out!("  {lane:<8}{number:>6}  {}", line(entry));
    }
}

fn line(entry: &LaneEntry) -> String {
    match entry {
        LaneEntry::Open { token, host, pid, .. } => format!("open     {token} on {host}, process {pid}"),
        LaneEntry::Compaction(compaction) => {
            format!("compact  {}", counted(compaction.groups.rows, "group"))
        }
        LaneEntry::Withdraw { numbers, reason, .. } => {
            format!("withdraw {}: {reason}", numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(", "))
        }
        LaneEntry::Close { how, .. } => format!("close    {how:?}").to_lowercase(),
        LaneEntry::Segment(segment) => format!(
            "segment  {} read, {} written, {} failed, {} dead-lettered, {}",
            counted(segment.counts.rows_read, "row"),
            number(segment.counts.rows_written),
            number(segment.counts.rows_failed),
            number(segment.counts.rows_dead_lettered),
            counted(segment.files.len() as u64, "file")
        ),
    }
}
