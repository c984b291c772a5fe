//! A checkpoint as bytes: entries and side files by name, put into a store in memory. Of what they mean nothing is known here
//! but the name of the job, which entries of format 2 carry.

use std::collections::BTreeMap;

use blake3::Hash;
use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use wasmpipe::commit::{FORMAT, FORMAT_1, RootEntry, number_name};
use wasmpipe::store::Store;

use crate::frozen::try_entry;
use crate::seal::{self, Place};
use crate::{frozen, plain};

/// The most documents that bytes are cut into.
const DOCUMENTS_MAX: usize = 48;
/// The longest hole, longer than what is read at a time. Longer ones only take longer.
const HOLE_MAX: u64 = 300;
/// What ends a document. JSON has no such byte.
const END: u8 = 0;

/// An entry of a log.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    /// As it is stored.
    Stored(Bytes),
    /// Of format 2, sealed when it is stored.
    Draft(Bytes),
}

impl Entry {
    /// As it is, sealed or not.
    pub(crate) fn bytes(&self) -> &Bytes {
        let (Entry::Stored(bytes) | Entry::Draft(bytes)) = self;
        bytes
    }

    pub(crate) fn names(&self, file: &str) -> bool {
        self.bytes().windows(file.len()).any(|window| window == file.as_bytes())
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Checkpoint {
    /// Entries of the root, by number.
    pub(crate) root: Vec<Entry>,
    /// Entries by lane and number.
    pub(crate) lanes: BTreeMap<u32, BTreeMap<u64, Entry>>,
    /// Side files by name.
    pub(crate) side: BTreeMap<String, Bytes>,
}

impl Checkpoint {
    pub(crate) fn of_entries(data: &[u8]) -> Checkpoint {
        let documents = || data.split(|byte| *byte == END).take(DOCUMENTS_MAX);
        let has_drafts = documents().any(|document| document.first().is_some_and(u8::is_ascii_uppercase));
        let root = plain::job(if has_drafts { FORMAT } else { FORMAT_1 }).checkpoint.root[..1].to_vec();
        let mut checkpoint = Checkpoint { root, lanes: BTreeMap::new(), side: frozen::side() };
        checkpoint.side.extend(plain::side());
        let mut next: BTreeMap<u32, u64> = BTreeMap::new();
        documents().for_each(|document| checkpoint.push(document, &mut next));
        checkpoint
    }

    /// Adds a document, led by its place.
    fn push(&mut self, document: &[u8], next: &mut BTreeMap<u32, u64>) {
        let Some((place, rest)) = document.split_first() else { return };
        let bytes = Bytes::copy_from_slice(rest);
        match place {
            b'g' => self.root[0] = Entry::Stored(bytes),
            b'G' => self.root[0] = Entry::Draft(bytes),
            b'r' => self.root.push(Entry::Stored(bytes)),
            b'R' => self.root.push(Entry::Draft(bytes)),
            b'0'..=b'9' => self.push_to_lane(place - b'0', Entry::Stored(bytes), next),
            b'A'..=b'F' => self.push_to_lane(place - b'A', Entry::Draft(bytes), next),
            b'h' => skip(rest, next),
            _ => {}
        }
    }

    fn push_to_lane(&mut self, lane: u8, entry: Entry, next: &mut BTreeMap<u32, u64>) {
        let next = next.entry(lane.into()).or_default();
        self.lanes.entry(lane.into()).or_default().insert(*next, entry);
        *next += 1;
    }

    /// The same as bytes that [`Checkpoint::of_entries`] reads.
    pub(crate) fn to_entries(&self) -> Vec<u8> {
        let mut data = Vec::new();
        let mut push = |places: [u8; 2], entry: &Entry| {
            data.push(places[usize::from(matches!(entry, Entry::Draft(_)))]);
            data.extend_from_slice(entry.bytes());
            data.push(END);
        };
        for (at, entry) in self.root.iter().enumerate() {
            push(if at == 0 { *b"gG" } else { *b"rR" }, entry);
        }
        for (lane, entries) in &self.lanes {
            let digit = u8::try_from(*lane).expect("few lanes");
            let mut next = 0;
            for (number, entry) in entries {
                if *number > next {
                    push(*b"hh", &Entry::Stored(format!("{lane}{}", number - next).into()));
                }
                push([b'0' + digit, b'A' + digit], entry);
                next = number + 1;
            }
        }
        data
    }

    /// The same without what lanes hold at `number` and above.
    pub(crate) fn below(&self, number: u64) -> Checkpoint {
        let mut below = self.clone();
        below.lanes.values_mut().for_each(|entries| drop(entries.split_off(&number)));
        below
    }

    pub(crate) async fn store(&self) -> Store {
        let store = Store::memory("checkpoint");
        for (name, bytes) in self.stored() {
            put(&store, name, &bytes).await;
        }
        for (name, bytes) in &self.side {
            put(&store, name.clone(), bytes).await;
        }
        store
    }

    /// Entries of all logs by name, drafts sealed.
    fn stored(&self) -> Vec<(String, Bytes)> {
        let genesis = self.root.first().and_then(|entry| try_entry(entry.bytes()).ok());
        let job = match genesis {
            Some(RootEntry::Genesis(genesis)) => genesis.job,
            _ => String::new(),
        };
        let mut stored = Vec::new();
        let roots = store_log(&job, "root", (0..).zip(&self.root), &[], &mut stored);
        for (lane, entries) in &self.lanes {
            let entries = entries.iter().map(|(number, entry)| (*number, entry));
            store_log(&job, &format!("lane/{lane}"), entries, &roots, &mut stored);
        }
        stored
    }
}

/// Gives the digests of its entries, in order.
fn store_log<'a>(
    job: &str,
    log: &str,
    entries: impl Iterator<Item = (u64, &'a Entry)>,
    roots: &[Hash],
    stored: &mut Vec<(String, Bytes)>,
) -> Vec<Hash> {
    let mut digests: Vec<Hash> = Vec::new();
    for (number, entry) in entries {
        // What a compaction has taken away is not compared.
        let below = (number > 0).then(|| digests.last().copied().unwrap_or(blake3::hash(b"")));
        let bytes = match entry {
            Entry::Stored(bytes) => bytes.clone(),
            Entry::Draft(draft) => seal::seal(draft, &Place { job, log, number, below, roots }),
        };
        digests.push(blake3::hash(&bytes));
        stored.push((format!("{log}/{}", number_name(number)), bytes));
    }
    digests
}

/// A hole: the digit of a lane, and how many numbers of it are left out.
fn skip(hole: &[u8], next: &mut BTreeMap<u32, u64>) {
    let Some((lane @ b'0'..=b'9', digits)) = hole.split_first() else { return };
    let length = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u64>().ok());
    *next.entry(u32::from(lane - b'0')).or_default() += length.unwrap_or(1).min(HOLE_MAX);
}

async fn put(store: &Store, name: String, bytes: &Bytes) {
    let put = store.objects().put(&Path::from(name), PutPayload::from(bytes.clone())).await;
    put.expect("memory takes everything");
}
