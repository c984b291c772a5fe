//! The root: what the job is, and what was appended to that since. Appending to the root is create-only, like a lane, but
//! nobody owns it: who finds a foreign entry at the number it wanted reads the root again and decides anew.

use arrow::datatypes::{Schema, SchemaRef};
use arrow_ipc::convert::try_schema_from_ipc_buffer;
use arrow_ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions, write_message};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;

use super::entry::{Fingerprint, Genesis, RootEntry, SideFile, number_name};
use super::log::{Put, create, get, list, parse, probe};
use super::{CommitError, side};
use crate::source::Object;
use crate::store::Store;

/// An object of the pinned listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// As it was listed.
    pub object: Object,
    /// The root entry that brought this content: coverage from before it does not speak of it.
    pub since: u64,
}

/// The pinned listing.
pub type Listing = Vec<Pinned>;

/// The root as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Root {
    /// Entry 0.
    pub genesis: Genesis,
    /// Number of the last entry.
    pub last: u64,
    /// What the job computes now.
    pub fingerprint: Fingerprint,
    /// The pinned listing.
    pub listing: SideFile,
    /// Whether ids are asked, and which.
    pub asked: Option<Asked>,
    /// Where the job lives now.
    pub places: Places,
    /// Number of the last root entry that moved the job, or 0. Files of writers that opened before it are never deleted:
    /// the place that they were moved from may still be in use.
    pub relocated: u64,
    /// Side files that any root entry names.
    pub side_files: Vec<String>,
}

/// The ids of segments that were written under an earlier root entry than `below` are asked for every uncovered row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Number of the root entry that says so.
    pub below: u64,
    /// By lane, the open by which the writer of that entry held it.
    pub opens: Vec<u64>,
}

/// The roots of a job, as URLs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// What object paths are relative to.
    pub source: String,
    /// What sink file names are relative to.
    pub sink: String,
    /// The checkpoint itself.
    pub checkpoint: String,
}

/// A random name of 16 hexadecimal digits.
pub fn random_name() -> String {
    let random = getrandom::u64().expect("the operating system gives random bytes");
    format!("{random:016x}")
}

impl Root {
    /// The root as it stands, or none if there is no job here.
    pub async fn read(store: &Store) -> Result<Option<Root>, CommitError> {
        let numbers = list(store, "root").await?;
        let reads: Vec<_> = numbers.iter().map(|&number| read_entry(store, number)).collect();
        let entries: Vec<RootEntry> = futures::stream::iter(reads).buffered(READS_MAX).try_collect().await?;
        if matches!(entries.last(), Some(RootEntry::Deleted { .. })) {
            return Err(CommitError::Deleted);
        }
        let mut root: Option<Root> = None;
        for (expected, (number, entry)) in (0..).zip(numbers.into_iter().zip(entries)) {
            if number != expected {
                return Err(CommitError::damaged(name(expected), "it is missing, but later entries are there"));
            }
            root = Some(follow(root, number, entry)?);
        }
        if root.is_none() {
            refuse_headless(store).await?;
        }
        Ok(root)
    }

    /// Number of the last root entry, which is no deletion.
    pub async fn last_number(store: &Store) -> Result<u64, CommitError> {
        let last = list(store, "root").await?.last().copied().ok_or_else(CommitError::root_is_gone)?;
        match read_entry(store, last).await? {
            RootEntry::Deleted { .. } => Err(CommitError::Deleted),
            _ => Ok(last),
        }
    }

    /// Whether there is no root entry at all.
    pub async fn is_gone(store: &Store) -> Result<bool, CommitError> {
        Ok(list(store, "root").await?.is_empty())
    }

    /// Makes the job. `false` if there is one already.
    pub async fn create(store: &Store, genesis: Genesis) -> Result<bool, CommitError> {
        let bytes = encode(&RootEntry::Genesis(Box::new(genesis)));
        if create(store, &name(0), &bytes).await? == Put::Foreign {
            return Ok(false);
        }
        probe(store, &name(0), &bytes).await.map(|()| true)
    }

    /// Appends after the last entry seen. `false` if somebody else did first.
    pub async fn append(&self, store: &Store, entry: &RootEntry) -> Result<bool, CommitError> {
        append(store, self.last + 1, entry).await
    }

    /// The pinned listing's objects.
    pub async fn pinned(&self, store: &Store) -> Result<Listing, CommitError> {
        side::read_listing(store, &self.listing).await
    }
}

/// A schema as genesis keeps it: an Arrow IPC schema message in hexadecimal digits.
pub fn schema_to_hex(schema: &Schema) -> String {
    let tracker = &mut DictionaryTracker::new(false);
    let options = IpcWriteOptions::default();
    let encoded = IpcDataGenerator::default().schema_to_bytes_with_dictionary_tracker(schema, tracker, &options);
    let mut message = Vec::new();
    write_message(&mut message, encoded, &options).expect("writing to memory");
    message.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The schema that [`schema_to_hex`] wrote.
pub fn schema_from_hex(digits: &str) -> Result<SchemaRef, CommitError> {
    let damaged = |message: String| CommitError::damaged(name(0), format!("source_schema: {message}"));
    let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap_or("?"));
    let bytes: Result<Vec<u8>, _> = pairs.map(|pair| u8::from_str_radix(pair, 16)).collect();
    let bytes = bytes.map_err(|error| damaged(error.to_string()))?;
    let schema = try_schema_from_ipc_buffer(&bytes).map_err(|error| damaged(error.to_string()))?;
    Ok(SchemaRef::new(schema))
}

fn name(number: u64) -> String {
    format!("root/{}", number_name(number))
}

fn follow(root: Option<Root>, number: u64, entry: RootEntry) -> Result<Root, CommitError> {
    match (root, entry) {
        (None, RootEntry::Genesis(genesis)) if !(1..=LANES_MAX).contains(&genesis.lanes) => Err(CommitError::damaged(
            name(number),
            format!("it says {} lanes; a job has 1 to {LANES_MAX}", genesis.lanes),
        )),
        (None, RootEntry::Genesis(genesis)) => Ok(Root {
            last: 0,
            fingerprint: genesis.fingerprint.clone(),
            listing: genesis.listing.clone(),
            asked: None,
            places: Places {
                source: genesis.source.clone(),
                sink: genesis.sink.clone(),
                checkpoint: genesis.checkpoint.clone(),
            },
            relocated: 0,
            side_files: genesis.imported.iter().chain([&genesis.listing]).map(|file| file.path.clone()).collect(),
            genesis: *genesis,
        }),
        (Some(root), RootEntry::Change { fingerprint, .. }) => Ok(Root { last: number, fingerprint, ..root }),
        (Some(mut root), RootEntry::Source { listing, rewritten, opens, .. }) => {
            root.side_files.push(listing.path.clone());
            let asked = Asked { below: number, opens: opens.unwrap_or_default() };
            let asked = if rewritten { Some(asked) } else { root.asked };
            Ok(Root { last: number, listing, asked, ..root })
        }
        (Some(root), RootEntry::Relocate { source, sink, checkpoint, .. }) => {
            let places = Places { source, sink, checkpoint };
            Ok(Root { last: number, places, relocated: number, ..root })
        }
        (_, RootEntry::Deleted { .. }) => Err(CommitError::damaged(name(number), "entries follow a deletion")),
        (None, _) => Err(CommitError::damaged(name(number), "the first entry is not a genesis")),
        (Some(_), _) => Err(CommitError::damaged(name(number), "a second genesis")),
    }
}

/// The most lanes that a job can have.
const LANES_MAX: u32 = 65_536;
/// Entries read at a time.
const READS_MAX: usize = 16;

async fn read_entry(store: &Store, number: u64) -> Result<RootEntry, CommitError> {
    let name = name(number);
    let bytes = get(store, &name).await?.ok_or_else(|| CommitError::damaged(&name, "it was listed, but is gone"))?;
    parse(&bytes).map_err(|message| CommitError::damaged(name, message))
}

fn encode(entry: &RootEntry) -> Bytes {
    Bytes::from(serde_json::to_vec_pretty(entry).expect("entries are JSON"))
}

async fn append(store: &Store, number: u64, entry: &RootEntry) -> Result<bool, CommitError> {
    Ok(create(store, &name(number), &encode(entry)).await? == Put::Mine)
}

/// A log without a root is a checkpoint that lost its head: to begin a new job over it would double its output.
async fn refuse_headless(store: &Store) -> Result<(), CommitError> {
    let mut entries = store.objects().list(Some(&Path::from("lane")));
    let first = entries.try_next().await.map_err(|cause| CommitError::store("list", "lane", cause))?;
    match first {
        None => Ok(()),
        Some(_) => Err(CommitError::damaged(name(0), "it is missing, but there are lanes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn genesis(lanes: u32) -> RootEntry {
        let listing = SideFile { path: "side/l".into(), rows: 0, bytes: 0, digest: String::new() };
        let fingerprint = Fingerprint {
            semantics: 1,
            source_format: "parquet".into(),
            ids: vec![],
            stages: vec![],
            sink_format: "parquet".into(),
            sink_columns: vec![],
        };
        RootEntry::Genesis(Box::new(Genesis {
            format: 1,
            job: "j".into(),
            created_ms: 0,
            lanes,
            split_bytes: 1,
            ids: None,
            source_schema: String::new(),
            source: String::new(),
            sink: String::new(),
            checkpoint: String::new(),
            listing,
            imported: vec![],
            fingerprint,
        }))
    }

    #[test]
    fn a_job_has_lanes_but_not_billions() {
        assert!(follow(None, 0, genesis(1)).is_ok() && follow(None, 0, genesis(LANES_MAX)).is_ok());
        let error = follow(None, 0, genesis(u32::MAX)).unwrap_err().to_string();
        assert!(error.contains("it says 4294967295 lanes; a job has 1 to 65536"), "{error}");
        assert!(follow(None, 0, genesis(0)).is_err());
    }
}
