//! `wasmpipe checkpoint inspect`: what a checkpoint says, without changing it.

use std::sync::Arc;

use serde::Serialize;

use super::text::{bytes, counted, number};
use super::{FAILED, FINISHED, REFUSED, args, print_error};
use crate::commit::{
    Close, CommitError, FileEntry, Genesis, GroupCounts, LANE, LaneEntry, LaneState, Logged, Root, RowState, SideFile,
    read_lane,
};
use crate::message::Message;
use crate::store::{Store, Unwatched, Watch};

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
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime without threads starts");
    match runtime.block_on(report(options)) {
        Ok(Some(report)) if options.json => {
            out!("{}", serde_json::to_string_pretty(&report).expect("plain values are JSON"));
            FINISHED
        }
        Ok(Some(report)) => {
            print(&report);
            FINISHED
        }
        Ok(None) => {
            let message = format!("{} is no checkpoint", options.path.display());
            say!("{}", Message::new(message).hint("name the folder that `path` under [checkpoint] names"));
            REFUSED
        }
        Err(error) => {
            print_error(&error);
            FAILED
        }
    }
}

async fn report(options: &args::Inspect) -> Result<Option<Report>, CommitError> {
    let watch: Arc<dyn Watch> = Arc::new(Unwatched);
    let opened = Store::local("checkpoint", &options.path, &watch);
    let store =
        opened.map_err(|cause| CommitError::Store { what: "open", name: options.path.display().to_string(), cause })?;
    let Some(root) = Root::read(&store).await? else { return Ok(None) };
    let entries = read_lane(&store, LANE, None).await?;
    let state = LaneState::replay(&store, &entries, &root.pinned(&store).await?).await?;
    Ok(Some(make(&root.genesis, state, entries)))
}

fn make(genesis: &Genesis, state: LaneState, entries: Vec<Logged>) -> Report {
    let rows = |row_state| state.objects.values().map(|object| object.coverage.count(row_state)).sum();
    let (rows_done, rows_known, rows_failed) = (rows(RowState::Done), rows(RowState::Known), rows(RowState::Failed));
    let ids = genesis.ids.iter().flatten();
    Report {
        job: genesis.job.clone(),
        source: genesis.source.clone(),
        sink: genesis.sink.clone(),
        id_columns: ids.map(|column| format!("{}: {}", column.name, column.data_type)).collect(),
        commits: state.segments,
        rows_committed: rows_done + rows_known + rows_failed,
        rows_done,
        rows_known,
        rows_failed,
        counts: state.counts,
        closed: state.closed,
        id_files: state.ids.into_iter().map(|(_, file)| file).collect(),
        files: state.files,
        entries: entries.into_iter().map(|Logged { number, entry }| Entry { lane: LANE, number, entry }).collect(),
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
