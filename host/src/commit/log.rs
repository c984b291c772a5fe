//! One numbered, create-only log: create an entry, list, read. What the entries mean is not known here.
//!
//! Numbers are the truth. At or below what the newest compaction covers everything is ignored; above, entries are dense: a
//! hole means list again, then an error, unless a later entry withdraws that number.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::PutMode;
use object_store::path::Path;

use super::CommitError;
use super::entry::{FORMAT, LaneEntry, number_name};
use crate::store::{Store, staged_for};

/// Entries read at a time.
const READS_MAX: usize = 64;
/// Entries of the first portion that is read from the end; each portion is twice as long as the one before.
const PORTION: usize = 256;
/// Numbers without an entry at which a lane is given up: all that is missing below them is not looked for.
pub(super) const DEFECTS_MAX: usize = 10_000;
/// The last number that has a name.
pub(super) const NUMBER_MAX: u64 = 9_999_999_999;
/// Attempts to read a log without a hole.
const READ_ATTEMPTS: u32 = 4;
/// Attempts to find out what became of an append, or to send it again.
const APPEND_ATTEMPTS: u32 = 6;

/// One entry of a lane, and its number.
#[derive(Clone, Debug, PartialEq)]
pub struct Logged {
    /// Its place in the lane.
    pub number: u64,
    /// What it says.
    pub entry: LaneEntry,
}

/// A number of a lane at which there is nothing to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defect {
    /// The number.
    pub number: u64,
    /// The entry's name relative to the checkpoint.
    pub name: String,
    /// What is wrong.
    pub message: String,
    /// Whether there is no such object.
    pub is_missing: bool,
}

impl From<Defect> for CommitError {
    fn from(defect: Defect) -> CommitError {
        CommitError::damaged(defect.name, defect.message)
    }
}

/// What a lane holds from its newest compaction on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LaneLog {
    /// In order; the first is number 0 or a compaction.
    pub entries: Vec<Logged>,
    /// Numbers that cannot be read and are not withdrawn. If they are very many, nothing below the last ones was read.
    pub defects: Vec<Defect>,
    /// Numbers below the compaction that are still there.
    pub covered: Vec<u64>,
}

impl LaneLog {
    /// The last entry's number.
    pub fn last(&self) -> Option<u64> {
        let defect = self.defects.iter().map(|defect| defect.number).max();
        self.entries.last().map(|logged| logged.number).max(defect)
    }

    /// The first and the last number, and how many entries there are.
    pub(super) fn extent(&self) -> (Option<u64>, Option<u64>, usize) {
        (self.entries.first().map(|logged| logged.number), self.last(), self.entries.len())
    }

    /// The same below a number.
    #[must_use]
    pub fn below(mut self, number: u64) -> LaneLog {
        self.entries.retain(|logged| logged.number < number);
        self.defects.retain(|defect| defect.number < number);
        self.covered.retain(|covered| *covered < number);
        self
    }
}

/// Whose entry stands at a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    Mine,
    Foreign,
}

pub(super) fn entry_name(lane: u32, number: u64) -> String {
    format!("lane/{lane}/{}", number_name(number))
}

/// Creates an entry. After an unclear answer it reads the number: the same bytes are mine, others are foreign, and if
/// there is nothing the same bytes go to the same number again.
pub(super) async fn create(store: &Store, name: &str, bytes: &Bytes) -> Result<Put, CommitError> {
    let path = Path::from(name);
    let mut unclear = None;
    for attempt in 0..APPEND_ATTEMPTS {
        if attempt > 0 {
            store.pause(Duration::from_millis(25 << attempt)).await;
        }
        let put = store.objects().put_opts(&path, bytes.clone().into(), PutMode::Create.into()).await;
        let Err(cause) = put else { return Ok(Put::Mine) };
        match get(store, name).await {
            Ok(Some(found)) if found == *bytes => return Ok(Put::Mine),
            Ok(Some(_)) => return Ok(Put::Foreign),
            Ok(None) | Err(_) => unclear = Some(cause),
        }
    }
    Err(CommitError::store("create", name, unclear.expect("at least one attempt")))
}

/// Finds out whether the store honours "create, else fail": the bytes that stand at a name already are sent there again,
/// which must be refused. They are the same bytes, so nothing changes either way.
pub(super) async fn probe(store: &Store, name: &str, bytes: &Bytes) -> Result<(), CommitError> {
    let put = store.objects().put_opts(&Path::from(name), bytes.clone().into(), PutMode::Create.into()).await;
    match put {
        Ok(_) => Err(CommitError::Refused(format!(
            "the store {} replaces an object where it was asked to create one only if there is none, so two runs at once could \
             lose rows\nhint: put the checkpoint on a store with conditional writes (S3, GCS, Azure, a local disk)",
            store.url()
        ))),
        // A failure of another kind says nothing about the store; the next append will meet it, too.
        Err(_) => Ok(()),
    }
}

/// The bytes of an object, or none if there is no such object.
pub(super) async fn get(store: &Store, name: &str) -> Result<Option<Bytes>, CommitError> {
    match store.whole(name).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(cause) => Err(CommitError::store("read", name, cause)),
    }
}

/// The numbers of a log, ascending.
pub(super) async fn list(store: &Store, folder: &str) -> Result<Vec<u64>, CommitError> {
    let names = store.names(folder).await.map_err(|cause| CommitError::store("list", folder, cause))?;
    let mut numbers = Vec::with_capacity(names.len());
    // A checkpoint that was copied from a local folder into a bucket may show what was staged there.
    for name in names.iter().filter(|name| staged_for(name).is_none()) {
        let is_number = name.len() == 10 && name.bytes().all(|byte| byte.is_ascii_digit());
        let number = is_number.then(|| name.parse().ok()).flatten();
        let no_entry = || CommitError::damaged(format!("{folder}/{name}"), "it is not an entry of the log");
        numbers.push(number.ok_or_else(no_entry)?);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The last number of a lane, by a listing.
pub async fn last(store: &Store, lane: u32) -> Result<Option<u64>, CommitError> {
    Ok(list(store, &format!("lane/{lane}")).await?.last().copied())
}

/// What a lane says now. `known` is what was read before: entries never change, so only what came since is read.
pub async fn read_lane(store: &Store, lane: u32, known: LaneLog) -> Result<LaneLog, CommitError> {
    let mut cache: BTreeMap<u64, LaneEntry> =
        known.entries.into_iter().map(|logged| (logged.number, logged.entry)).collect();
    let mut log = LaneLog::default();
    for attempt in 0..READ_ATTEMPTS {
        if attempt > 0 {
            store.pause(Duration::from_millis(100 << attempt)).await;
        }
        log = read_once(store, lane, &mut cache).await?;
        // Something that is missing may have been compacted meanwhile, or a listing was late.
        if log.defects.iter().all(|defect| !defect.is_missing) {
            return Ok(log);
        }
    }
    Ok(log)
}

/// As [`read_lane`], for who cannot go on with a defect.
pub async fn read_sound_lane(store: &Store, lane: u32, known: LaneLog) -> Result<LaneLog, CommitError> {
    let mut log = read_lane(store, lane, known).await?;
    if log.defects.is_empty() {
        return Ok(log);
    }
    // Where a compaction cannot be read, what it covers is missing for good reason.
    let first = log.defects.iter().position(|defect| !defect.is_missing).unwrap_or(0);
    Err(log.defects.swap_remove(first).into())
}

async fn read_once(store: &Store, lane: u32, cache: &mut BTreeMap<u64, LaneEntry>) -> Result<LaneLog, CommitError> {
    let numbers: BTreeSet<u64> = list(store, &format!("lane/{lane}")).await?.into_iter().collect();
    let Some(&last) = numbers.last() else { return Ok(LaneLog::default()) };
    let mut entries = Vec::new();
    let mut defects = Vec::new();
    let (mut end, mut portion) = (last + 1, PORTION as u64);
    let mut compacted = None;
    while end > 0 && compacted.is_none() && defects.len() <= DEFECTS_MAX {
        let portion_max = (DEFECTS_MAX as u64).max(2 * entries.len() as u64);
        let start = end.saturating_sub(portion.min(portion_max));
        for read in read_portion(store, lane, start..end, &numbers, cache).await?.into_iter().rev() {
            match read {
                Ok(logged) if compacted.is_none() => {
                    compacted = matches!(logged.entry, LaneEntry::Compaction(_)).then_some(logged.number);
                    entries.push(logged);
                }
                Err(defect) if compacted.is_none() => defects.push(defect),
                _ => {}
            }
        }
        (end, portion) = (start, portion * 2);
    }
    entries.reverse();
    let withdrawn: BTreeSet<u64> = withdrawn(&entries).collect();
    defects.retain(|defect| !withdrawn.contains(&defect.number));
    defects.reverse();
    let covered = numbers.range(..compacted.unwrap_or(0)).copied().collect();
    Ok(LaneLog { entries, defects, covered })
}

/// Numbers that entries withdraw.
pub(super) fn withdrawn(entries: &[Logged]) -> impl Iterator<Item = u64> + '_ {
    entries
        .iter()
        .flat_map(|logged| match &logged.entry {
            LaneEntry::Withdraw { numbers, .. } => numbers.as_slice(),
            _ => &[],
        })
        .copied()
}

async fn read_portion(
    store: &Store,
    lane: u32,
    range: std::ops::Range<u64>,
    listed: &BTreeSet<u64>,
    cache: &mut BTreeMap<u64, LaneEntry>,
) -> Result<Vec<Result<Logged, Defect>>, CommitError> {
    let reads: Vec<_> = range
        .map(|number| {
            let (known, is_listed) = (cache.remove(&number), listed.contains(&number));
            async move {
                match known {
                    Some(entry) => Ok(Ok(Logged { number, entry })),
                    None if is_listed => read_entry(store, lane, number).await,
                    None => Ok(Err(missing(lane, number, "it is missing, but later entries are there"))),
                }
            }
        })
        .collect();
    futures::stream::iter(reads).buffered(READS_MAX).try_collect().await
}

fn missing(lane: u32, number: u64, message: &str) -> Defect {
    Defect { number, name: entry_name(lane, number), message: message.into(), is_missing: true }
}

async fn read_entry(store: &Store, lane: u32, number: u64) -> Result<Result<Logged, Defect>, CommitError> {
    let name = entry_name(lane, number);
    let Some(bytes) = get(store, &name).await? else {
        return Ok(Err(missing(lane, number, "it was listed, but is gone")));
    };
    Ok(match parse(&bytes) {
        Ok(entry) => Ok(Logged { number, entry }),
        Err(message) => Err(Defect { number, name, message, is_missing: false }),
    })
}

/// Reads a document of the log. What another build wrote in a format that this one does not know is refused, and so is
/// what is no entry at all.
pub(super) fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    #[derive(serde::Deserialize)]
    struct Head {
        format: u32,
    }
    if bytes.is_empty() {
        return Err("it has no bytes".into());
    }
    let head: Head = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if head.format != FORMAT {
        return Err(format!("it has format {}, this build of wasmpipe knows {FORMAT}", head.format));
    }
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;

    use super::*;

    fn wait<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    fn with_entry(name: &str) -> Store {
        let store = Store::memory("checkpoint");
        wait(store.objects().put(&Path::from(name), r#"{"entry":"close"}"#.into())).unwrap();
        store
    }

    #[test]
    fn a_lane_that_lost_billions_of_entries_is_refused_at_once() {
        let store = with_entry(&entry_name(0, NUMBER_MAX));
        let log = wait(read_lane(&store, 0, LaneLog::default())).unwrap();
        assert!((DEFECTS_MAX..4 * DEFECTS_MAX).contains(&log.defects.len()), "{}", log.defects.len());
        assert!(wait(read_sound_lane(&store, 0, LaneLog::default())).is_err());
    }

    #[test]
    fn ten_characters_that_are_no_digits_are_no_number() {
        let error = wait(list(&with_entry("lane/0/+000000001"), "lane/0")).unwrap_err().to_string();
        assert!(error.contains("lane/0/+000000001 is damaged: it is not an entry of the log"), "{error}");
    }
}
