//! The frozen jobs with side files that are not compressed. They are read in a fraction of the time, most of which goes into
//! making decompressors, and a change of one of their bytes is a change of a value.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use arrow::compute::concat_batches;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Serialize;
use serde_json::{Value, json};
use wasmpipe::commit::{FORMAT, FORMAT_1, LaneEntry, RootEntry, SideFile};

use crate::checkpoint::{Checkpoint, Entry};
use crate::frozen::Job;
use crate::{frozen, rows};

/// The job of a format.
pub(crate) fn job(format: u32) -> &'static Job {
    static MADE: LazyLock<BTreeMap<u32, Job>> = LazyLock::new(|| {
        let made = |format| Job::of(unpacked_job(&frozen::job(format).checkpoint));
        (FORMAT_1..=FORMAT).map(|format| (format, made(format))).collect()
    });
    &MADE[&format]
}

/// Side files of all formats.
pub(crate) fn side() -> BTreeMap<String, Bytes> {
    (FORMAT_1..=FORMAT).flat_map(|format| job(format).checkpoint.side.clone()).collect()
}

/// The name of a side file's uncompressed twin.
pub(crate) fn twin(name: &str) -> String {
    name.replacen("side/", "side/plain-", 1)
}

fn unpacked_job(packed: &Checkpoint) -> Checkpoint {
    let mut checkpoint = packed.clone();
    checkpoint.side = checkpoint.side.iter().map(|(name, packed)| (twin(name), unpacked(packed))).collect();
    let Checkpoint { root, lanes, side } = &mut checkpoint;
    root.iter_mut().for_each(|entry| edit(entry, |entry| root_entry(entry, side)));
    let entries = lanes.values_mut().flat_map(BTreeMap::values_mut);
    entries.for_each(|entry| edit(entry, |entry| lane_entry(entry, side)));
    checkpoint
}

fn unpacked(packed: &Bytes) -> Bytes {
    let read = ParquetRecordBatchReaderBuilder::try_new(packed.clone()).and_then(|file| {
        let schema = Arc::clone(file.schema());
        Ok((schema, file.build()?.collect::<Result<Vec<_>, _>>()?))
    });
    let (schema, batches) = read.expect("the frozen job's side files are sound");
    rows::write(&concat_batches(&schema, &batches).expect("of one schema"), false)
}

fn root_entry(entry: &mut RootEntry, side: &BTreeMap<String, Bytes>) {
    match entry {
        RootEntry::Genesis(genesis) => {
            let imported = genesis.imported.iter_mut();
            imported.chain(&mut genesis.done).chain([&mut genesis.listing]).for_each(|file| name_twin(file, side));
        }
        RootEntry::Source { listing, .. } => name_twin(listing, side),
        _ => {}
    }
}

fn lane_entry(entry: &mut LaneEntry, side: &BTreeMap<String, Bytes>) {
    match entry {
        LaneEntry::Segment(entry) => {
            let files = entry.ids.iter_mut().chain(&mut entry.coverage_file).chain(&mut entry.files_table);
            files.for_each(|file| name_twin(file, side));
        }
        LaneEntry::Compaction(entry) => {
            let own = [&mut entry.groups, &mut entry.files, &mut entry.coverage, &mut entry.opens];
            own.into_iter().chain(entry.ids.iter_mut().map(|ids| &mut ids.file)).for_each(|file| name_twin(file, side));
        }
        _ => {}
    }
}

/// What was withdrawn may be gone.
fn name_twin(file: &mut SideFile, side: &BTreeMap<String, Bytes>) {
    let path = twin(&file.path);
    if let Some(bytes) = side.get(&path) {
        *file = side_file(&path, bytes, file.rows);
    }
}

/// As an entry names these bytes.
pub(crate) fn side_file(path: &str, bytes: &Bytes, rows: u64) -> SideFile {
    let digest = blake3::hash(bytes).to_hex().to_string();
    SideFile { path: path.into(), rows, bytes: bytes.len() as u64, digest }
}

/// Changes what an entry of the frozen job says.
pub(crate) fn edit<T: Serialize + serde::de::DeserializeOwned>(stored: &mut Entry, edit: impl FnOnce(&mut T)) {
    let mut entry: T = frozen::entry(stored);
    edit(&mut entry);
    *stored = match stored {
        Entry::Stored(_) => Entry::Stored(encode(&entry)),
        Entry::Draft(draft) => Entry::Draft(with_body(draft, &entry)),
    };
}

fn with_body(draft: &Bytes, entry: &impl Serialize) -> Bytes {
    let mut document: Value = serde_json::from_slice(draft).expect("a draft of ours");
    document["body"] = json!(entry);
    document.to_string().into()
}

/// An entry as a document of format 1.
pub(crate) fn encode(entry: &impl Serialize) -> Bytes {
    let mut document = serde_json::to_value(entry).expect("entries are JSON");
    document["format"] = FORMAT_1.into();
    Bytes::from(serde_json::to_vec_pretty(&document).expect("a value is JSON"))
}
