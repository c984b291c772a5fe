//! Compaction: all that a lane's entries say, in one entry and a few side files. Then the entries and what only they name
//! are deleted, except for opens: where a writer was fenced there must be something for ever that it runs into.
//!
//! Id files are merged while they are small, sorted, each row with its group; large ones stay as they are.

use std::collections::BTreeMap;

use object_store::path::Path;

use super::agreement::RowsSaid;
use super::coverage::ObjectCoverage;
use super::document::FORMAT_1;
use super::entry::{CompactionEntry, IdFile, LaneEntry, SideFile};
use super::lane::Lane;
use super::log::{LaneLog, entry_name, read_sound_lane};
use super::recover::delete;
use super::replay::LaneState;
use super::side::CoverageRow;
use super::{CommitError, Root, side};

/// Id files below this size are merged.
const IDS_MERGED_BYTES: u64 = 8 << 20;
/// A merged id file gets about this many rows at most.
const IDS_MERGED_ROWS: u64 = 4 << 20;

/// What a compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Compacted {
    /// Entries that it covers.
    pub entries: u64,
    /// Files that it made unnecessary, and deleted.
    pub deleted: u64,
}

impl Lane {
    /// Compacts the lane. It can be killed anywhere: before the entry nothing has happened, after it whoever opens the
    /// lane next deletes what is left. `known` is what was read of it before.
    pub async fn compact(&mut self, root: &Root, known: LaneLog) -> Result<Compacted, CommitError> {
        let log = read_sound_lane(&self.store, root, self.number(), known).await?;
        if log.last() != Some(self.next() - 1) {
            return Err(self.fenced());
        }
        let state = LaneState::replay(&self.store, root, self.number(), &log).await?;
        let rows = coverage_rows(&state);
        let entry = self.compaction(&state, &rows).await?;
        // As whoever reads it checks it, while what it is made of is still there. Rows of a merged file of ids that name no
        // group, for one, are left behind, and with them somebody's ids.
        let name = entry_name(self.number(), state.compacted.unwrap_or(0));
        let is_sound = state.check_compaction(root, &entry, &RowsSaid::by_group(&rows));
        is_sound.map_err(|message| CommitError::damaged(name, message))?;
        let kept = entry.ids.iter().map(|ids| ids.file.path.as_str());
        let old: Vec<Path> = state
            .side_files
            .iter()
            .filter(|path| !kept.clone().any(|kept| kept == *path))
            .map(|path| Path::from(path.as_str()))
            .collect();
        let number = self.append(&LaneEntry::Compaction(Box::new(entry))).await?;
        self.follow_compaction(number);
        let covered = log.entries.iter().map(|logged| logged.number).chain(log.covered);
        let mut names = entries_to_delete(self.number(), covered, &state);
        let entries = log.entries.len() as u64;
        names.extend(old);
        let deleted = names.len() as u64;
        delete(&self.store, names).await?;
        Ok(Compacted { entries, deleted })
    }

    async fn compaction(&self, state: &LaneState, rows: &[CoverageRow]) -> Result<CompactionEntry, CommitError> {
        let prefix = format!("side/{}-compaction-{}", self.token(), self.next());
        let root = self.root();
        let (groups, files) = side::write_groups(&self.store, &prefix, &state.groups, root.format).await?;
        Ok(CompactionEntry {
            token: self.token().into(),
            groups,
            files,
            coverage: side::write_coverage(&self.store, format!("{prefix}-coverage.parquet"), rows).await?,
            opens: side::write_opens(&self.store, &prefix, &state.opens).await?,
            ids: self.merge_ids(&prefix, state).await?,
            root: (root.format != FORMAT_1).then_some(root.number),
            root_digest: root.digest_text(),
        })
    }

    async fn merge_ids(&self, prefix: &str, state: &LaneState) -> Result<Vec<IdFile>, CommitError> {
        let (small, mut merged): (Vec<IdFile>, Vec<IdFile>) =
            state.ids.iter().cloned().partition(|ids| ids.file.bytes < IDS_MERGED_BYTES);
        for (index, portion) in portions(small).iter().enumerate() {
            let path = format!("{prefix}-ids-{index}.parquet");
            let file: Option<SideFile> = side::merge_ids(&self.store, path, portion, &state.groups).await?;
            merged.extend(file.map(|file| IdFile { group: None, file }));
        }
        Ok(merged)
    }
}

/// Files that are merged into one.
fn portions(files: Vec<IdFile>) -> Vec<Vec<IdFile>> {
    let (mut portions, mut rows) = (vec![Vec::new()], 0);
    for file in files {
        if rows > IDS_MERGED_ROWS {
            portions.push(Vec::new());
            rows = 0;
        }
        rows += file.file.rows;
        portions.last_mut().expect("there is one").push(file);
    }
    portions
}

/// Entries that a compaction covers, opens left out. What is no open of the replay lies there by mistake of a stopped
/// writer, whose open was void.
pub(super) fn entries_to_delete(lane: u32, covered: impl Iterator<Item = u64>, state: &LaneState) -> Vec<Path> {
    covered
        .filter(|number| !state.opens.contains_key(number))
        .map(|number| Path::from(entry_name(lane, number)))
        .collect()
}

fn coverage_rows(state: &LaneState) -> Vec<CoverageRow> {
    let mut rows = Vec::new();
    for (path, contents) in &state.objects {
        for content in contents {
            rows.extend(by_group(path, content));
        }
    }
    rows
}

/// A row per group whose state some rows still have, or that named the content and gave no row a state.
fn by_group(path: &str, content: &ObjectCoverage) -> Vec<CoverageRow> {
    let mut groups: BTreeMap<u64, ObjectCoverage> = BTreeMap::new();
    let empty = || content.without_rows();
    for (range, state, group) in content.coverage.given() {
        groups.entry(group).or_insert_with(empty).coverage.set(range, state);
    }
    for group in &content.named_by {
        groups.entry(*group).or_insert_with(empty);
    }
    let row =
        |(group, part): (u64, ObjectCoverage)| CoverageRow { group, root: content.root, object: part.to_entry(path) };
    groups.into_iter().map(row).collect()
}
