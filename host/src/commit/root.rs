//! The root: what the job is, and what was appended to that since. Appending to the root is create-only, like a lane, but
//! nobody owns it: who finds a foreign entry at the number it wanted reads the root again and decides anew.

use arrow::datatypes::{Schema, SchemaRef};
use arrow_ipc::convert::try_schema_from_ipc_buffer;
use arrow_ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions, write_message};
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path;

use super::entry::{Fingerprint, Genesis, RootEntry, SideFile, number_name};
use super::lane::{Put, create};
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
#[derive(Clone, Debug)]
pub struct Root {
    /// Entry 0.
    pub genesis: Genesis,
    /// Number of the last entry.
    pub last: u64,
    /// What the job computes now.
    pub fingerprint: Fingerprint,
    /// The pinned listing.
    pub listing: SideFile,
    /// Ids of segments that were written under an earlier root entry than this are asked for every uncovered row.
    pub asked_below: Option<u64>,
    /// Side files that any root entry names.
    pub side_files: Vec<String>,
}

/// A random name of 16 hexadecimal digits.
pub fn random_name() -> String {
    let random = getrandom::u64().expect("the operating system gives random bytes");
    format!("{random:016x}")
}

impl Root {
    /// The root as it stands, or none if there is no job here.
    pub async fn read(store: &Store) -> Result<Option<Root>, CommitError> {
        let mut root: Option<Root> = None;
        for number in 0.. {
            let Some(bytes) = get(store, &name(number)).await? else { break };
            let entry = parse(&name(number), &bytes)?;
            root = Some(follow(root, number, entry)?);
        }
        if root.is_none() {
            refuse_headless(store).await?;
        }
        Ok(root)
    }

    /// Makes the job. `false` if there is one already.
    pub async fn create(store: &Store, genesis: Genesis) -> Result<bool, CommitError> {
        append(store, 0, &RootEntry::Genesis(Box::new(genesis))).await
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
        (None, RootEntry::Genesis(genesis)) => Ok(Root {
            last: 0,
            fingerprint: genesis.fingerprint.clone(),
            listing: genesis.listing.clone(),
            asked_below: None,
            side_files: genesis.imported.iter().chain([&genesis.listing]).map(|file| file.path.clone()).collect(),
            genesis: *genesis,
        }),
        (Some(root), RootEntry::Change { fingerprint, .. }) => Ok(Root { last: number, fingerprint, ..root }),
        (Some(mut root), RootEntry::Source { listing, rewritten, .. }) => {
            root.side_files.push(listing.path.clone());
            let asked_below = if rewritten { Some(number) } else { root.asked_below };
            Ok(Root { last: number, listing, asked_below, ..root })
        }
        (None, _) => Err(CommitError::damaged(name(number), "the first entry is not a genesis")),
        (Some(_), _) => Err(CommitError::damaged(name(number), "a second genesis")),
    }
}

fn parse(name: &str, bytes: &Bytes) -> Result<RootEntry, CommitError> {
    super::lane::check_format(name, bytes)?;
    serde_json::from_slice(bytes).map_err(|error| CommitError::damaged(name, error))
}

async fn append(store: &Store, number: u64, entry: &RootEntry) -> Result<bool, CommitError> {
    let bytes = Bytes::from(serde_json::to_vec_pretty(entry).expect("entries are JSON"));
    Ok(create(store, &name(number), &bytes).await? == Put::Mine)
}

pub(super) async fn get(store: &Store, name: &str) -> Result<Option<Bytes>, CommitError> {
    match store.objects().get(&Path::from(name)).await {
        Ok(got) => got.bytes().await.map(Some).map_err(|cause| CommitError::store("read", name, cause)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(cause) => Err(CommitError::store("read", name, cause)),
    }
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
