//! The frozen job with side files that are not compressed. They are read in a fraction of the time, most of which goes into
//! making decompressors, and a change of one of their bytes is a change of a value.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use arrow::compute::concat_batches;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use wasmpipe::commit::{FORMAT_1, LaneEntry, RootEntry, SideFile};

use crate::checkpoint::Checkpoint;
use crate::{frozen, rows};

/// All of it.
pub(crate) fn checkpoint() -> Checkpoint {
    static MADE: LazyLock<Checkpoint> = LazyLock::new(make);
    MADE.clone()
}

/// The name of a side file's uncompressed twin.
pub(crate) fn twin(name: &str) -> String {
    name.replacen("side/", "side/plain-", 1)
}

fn make() -> Checkpoint {
    let mut checkpoint = frozen::checkpoint();
    checkpoint.side = checkpoint.side.iter().map(|(name, packed)| (twin(name), unpacked(packed))).collect();
    let Checkpoint { root, lanes, side } = &mut checkpoint;
    root.iter_mut().for_each(|entry| *entry = root_entry(entry, side));
    lanes.values_mut().flat_map(BTreeMap::values_mut).for_each(|entry| *entry = lane_entry(entry, side));
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

fn root_entry(entry: &Bytes, side: &BTreeMap<String, Bytes>) -> Bytes {
    let mut entry: RootEntry = frozen::entry(entry);
    match &mut entry {
        RootEntry::Genesis(genesis) => name_twin(&mut genesis.listing, side),
        RootEntry::Source { listing, .. } => name_twin(listing, side),
        _ => {}
    }
    encode(&entry)
}

fn lane_entry(entry: &Bytes, side: &BTreeMap<String, Bytes>) -> Bytes {
    let mut entry: LaneEntry = frozen::entry(entry);
    match &mut entry {
        LaneEntry::Segment(entry) => entry.ids.iter_mut().for_each(|file| name_twin(file, side)),
        LaneEntry::Compaction(entry) => {
            let own = [&mut entry.groups, &mut entry.files, &mut entry.coverage, &mut entry.opens];
            own.into_iter().chain(entry.ids.iter_mut().map(|ids| &mut ids.file)).for_each(|file| name_twin(file, side));
        }
        _ => {}
    }
    encode(&entry)
}

fn name_twin(file: &mut SideFile, side: &BTreeMap<String, Bytes>) {
    let path = twin(&file.path);
    *file = side_file(&path, &side[&path], file.rows);
}

/// As an entry names these bytes.
pub(crate) fn side_file(path: &str, bytes: &Bytes, rows: u64) -> SideFile {
    let digest = blake3::hash(bytes).to_hex().to_string();
    SideFile { path: path.into(), rows, bytes: bytes.len() as u64, digest }
}

/// An entry as a document of format 1.
pub(crate) fn encode(entry: &impl serde::Serialize) -> Bytes {
    let mut document = serde_json::to_value(entry).expect("entries are JSON");
    document["format"] = FORMAT_1.into();
    Bytes::from(serde_json::to_vec_pretty(&document).expect("a value is JSON"))
}
