//! The root: what the job is, and what was appended to that since. Appending to the root is create-only, like a lane, but
//! nobody owns it: who finds a foreign entry at the number it wanted reads the root again and decides anew.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use arrow::datatypes::{Schema, SchemaRef};
use arrow_ipc::convert::try_schema_from_ipc_buffer;
use arrow_ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions, write_message};
use blake3::Hash;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;

use super::document::{FORMAT, FORMAT_1, Head, Stored, decode, encode};
use super::entry::{Fingerprint, Genesis, RootEntry, SideFile, number_name};
use super::log::{Put, create, get, list, probe};
use super::{CommitError, side};
use crate::sink::{FileName, Layout};
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
    /// What it computed before, with the number of the entry that changed it, ascending.
    pub before: Vec<(u64, Fingerprint)>,
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
    /// The format in which the job began.
    pub began_in: u32,
    /// The format in which entries are written now.
    pub format: u32,
    /// Number of the root entry that says the listing.
    pub listed: u64,
    /// All listings there were, by the number of the root entry that said them, ascending.
    pub listings: Vec<(u64, SideFile)>,
    /// Digests of the root's entries, by number.
    pub digests: Vec<Hash>,
}

/// A root entry as others name it, and how entries are written under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootLink {
    /// Its number.
    pub number: u64,
    /// Its digest.
    pub digest: Hash,
    /// The format of entries.
    pub format: u32,
    /// The job's name; empty where entries do not say it.
    pub job: String,
}

impl RootLink {
    /// The digest as entries say it, if they do.
    pub(super) fn digest_text(&self) -> Option<String> {
        (self.format != FORMAT_1).then(|| self.digest.to_hex().to_string())
    }
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
    /// What a name in the sink says, if it is one of this job's files: in folders of objects only where the job has such.
    pub fn file_name<'a>(&self, name: &'a str) -> Option<FileName<'a>> {
        let is_here = |name: &FileName| name.folder.is_empty() || self.genesis.layout == Layout::Mirror;
        FileName::parse(name).filter(|name| name.job == self.genesis.job).filter(is_here)
    }

    /// The root as it stands, or none if there is no job here.
    pub async fn read(store: &Store) -> Result<Option<Root>, CommitError> {
        let (numbers, entries): (Vec<u64>, Vec<_>) = read_entries(store, |numbers| numbers).await?.into_iter().unzip();
        // Who completes a deletion removes entries from the first on.
        if entries.last().is_some_and(|last| matches!(last.entry, RootEntry::Deleted {})) {
            return Err(CommitError::Deleted);
        }
        let mut root: Option<Root> = None;
        for (expected, (number, stored)) in (0..).zip(numbers.into_iter().zip(entries)) {
            if number != expected {
                return Err(CommitError::damaged(name(expected), "it is missing, but later entries are there"));
            }
            root = Some(follow(root, number, stored)?);
        }
        if root.is_none() {
            refuse_headless(store).await?;
        }
        Ok(root)
    }

    /// The last root entry, which is no deletion.
    pub async fn last_link(store: &Store) -> Result<RootLink, CommitError> {
        let last = read_entries(store, |numbers| &numbers[numbers.len().saturating_sub(1)..]).await?.pop();
        let (number, Stored { entry, format, job, digest, .. }) = last.ok_or_else(CommitError::root_is_gone)?;
        match entry {
            RootEntry::Deleted {} => Err(CommitError::Deleted),
            _ => Ok(RootLink { number, digest, format, job: job.unwrap_or_default() }),
        }
    }

    /// Whether there is no root entry at all.
    pub async fn is_gone(store: &Store) -> Result<bool, CommitError> {
        Ok(list(store, LOG).await?.is_empty())
    }

    /// Makes the job. `false` if there is one already.
    pub async fn create(store: &Store, genesis: Genesis) -> Result<bool, CommitError> {
        let job = genesis.job.clone();
        let head = Head { format: FORMAT, job: &job, log: LOG, number: 0, below: None };
        let bytes = encode(&head, &RootEntry::Genesis(Box::new(genesis)));
        if create(store, &name(0), &bytes).await? == Put::Foreign {
            return Ok(false);
        }
        probe(store, &name(0), &bytes).await.map(|()| true)
    }

    /// Appends after the last entry seen. `false` if somebody else did first.
    pub async fn append(&self, store: &Store, entry: &RootEntry) -> Result<bool, CommitError> {
        let format = if matches!(entry, RootEntry::Upgrade { .. }) { FORMAT } else { self.format };
        let number = self.last + 1;
        let head = Head { format, job: &self.genesis.job, log: LOG, number, below: self.digests.last().copied() };
        Ok(create(store, &name(number), &encode(&head, entry)).await? == Put::Mine)
    }

    /// Lets entries be written in format 2 from here on. `false` if somebody else has appended to the root.
    pub async fn upgrade(&self, store: &Store) -> Result<bool, CommitError> {
        let below = self.digests.iter().map(|digest| digest.to_hex().to_string()).collect();
        self.append(store, &RootEntry::Upgrade { below }).await
    }

    /// The last entry.
    pub fn link(&self) -> RootLink {
        let digest = *self.digests.last().expect("a root has a genesis");
        let job = if self.format == FORMAT_1 { String::new() } else { self.genesis.job.clone() };
        RootLink { number: self.last, digest, format: self.format, job }
    }

    /// Says what is wrong if an entry names a root entry by another digest than it has. One that is not there yet is no
    /// matter of this root.
    pub(super) fn check_link(&self, number: u64, digest: Option<&str>) -> Result<(), String> {
        let (Ok(at), Some(named)) = (usize::try_from(number), digest) else { return Ok(()) };
        match self.digests.get(at) {
            Some(digest) if digest.to_hex().as_str() != named => {
                Err(format!("it was written under another {} than the one that is there", name(number)))
            }
            _ => Ok(()),
        }
    }

    /// Number of the entry that said the listing under an entry.
    pub(super) fn listed_under(&self, entry: u64) -> u64 {
        let listed = self.listings.iter().map(|(number, _)| *number);
        listed.take_while(|number| *number <= entry).last().unwrap_or(0)
    }

    /// Whether the job computed under an earlier entry what it computes now.
    pub fn computed_the_same(&self, entry: u64) -> bool {
        let then = self.before.iter().find(|(changed, _)| entry < *changed);
        then.is_none_or(|(_, then)| *then == self.fingerprint)
    }

    /// The pinned listing's objects.
    pub async fn pinned(&self, store: &Store) -> Result<Listing, CommitError> {
        let listing = side::read_listing(store, &self.listing).await?;
        self.check_listing(&listing).map_err(|message| CommitError::damaged(&self.listing.path, message))?;
        Ok(listing)
    }

    /// Objects that were done before the job began.
    pub async fn done_elsewhere(&self, store: &Store) -> Result<Vec<Pinned>, CommitError> {
        match &self.genesis.done {
            Some(file) => side::read_listing(store, file).await,
            None => Ok(Vec::new()),
        }
    }

    /// An object that is listed twice would be done twice.
    fn check_listing(&self, listing: &[Pinned]) -> Result<(), String> {
        let mut paths = HashSet::with_capacity(listing.len());
        for Pinned { object, since } in listing {
            if !paths.insert(object.path.as_ref()) {
                return Err(format!("{} is in it twice", object.path));
            }
            if *since > self.last {
                return Err(format!("{} has its content since root entry {since}, which is not there", object.path));
            }
        }
        Ok(())
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

fn follow(root: Option<Root>, number: u64, stored: Stored<RootEntry>) -> Result<Root, CommitError> {
    let (format, digest) = (stored.format, stored.digest);
    let damaged = |message: String| CommitError::damaged(name(number), message);
    let mut root = match root {
        None => begin(number, stored)?,
        Some(root) => {
            check_place(&root, &stored).map_err(damaged)?;
            if stored.below.is_some_and(|below| Some(&below) != root.digests.last()) {
                let message = format!("it is not the entry above which {} was written", name(number));
                return Err(CommitError::damaged(name(root.last), message));
            }
            go_on(root, number, stored.entry)?
        }
    };
    root.format = format;
    root.digests.push(digest);
    Ok(root)
}

fn begin(number: u64, stored: Stored<RootEntry>) -> Result<Root, CommitError> {
    let damaged = |message: String| CommitError::damaged(name(number), message);
    let RootEntry::Genesis(genesis) = stored.entry else {
        return Err(damaged("the first entry is not a genesis".into()));
    };
    if !(1..=LANES_MAX).contains(&genesis.lanes) {
        return Err(damaged(format!("it says {} lanes; a job has 1 to {LANES_MAX}", genesis.lanes)));
    }
    if stored.job.as_ref().is_some_and(|job| *job != genesis.job) {
        return Err(damaged("it names two jobs".into()));
    }
    Ok(Root {
        last: 0,
        fingerprint: genesis.fingerprint.clone(),
        before: Vec::new(),
        listing: genesis.listing.clone(),
        asked: None,
        places: Places {
            source: genesis.source.clone(),
            sink: genesis.sink.clone(),
            checkpoint: genesis.checkpoint.clone(),
        },
        relocated: 0,
        side_files: genesis.side_files().map(|file| file.path.clone()).collect(),
        began_in: stored.format,
        format: stored.format,
        listed: 0,
        listings: vec![(0, genesis.listing.clone())],
        digests: Vec::new(),
        genesis: *genesis,
    })
}

/// Whether an entry may follow what the root holds.
fn check_place(root: &Root, stored: &Stored<RootEntry>) -> Result<(), String> {
    match &stored.job {
        Some(job) if *job != root.genesis.job => Err(format!("it is of job {job}, not of {}", root.genesis.job)),
        Some(_) if stored.below.is_none() => Err("it does not say above which entry it was written".into()),
        None if root.format != FORMAT_1 => {
            Err(format!("it has format {FORMAT_1}, the entry below has {}", root.format))
        }
        Some(_) if root.format == FORMAT_1 && !matches!(stored.entry, RootEntry::Upgrade { .. }) => {
            Err(format!("it has format {FORMAT}, the entry below has {FORMAT_1}"))
        }
        _ => Ok(()),
    }
}

fn go_on(mut root: Root, number: u64, entry: RootEntry) -> Result<Root, CommitError> {
    root.last = number;
    match entry {
        RootEntry::Genesis(_) => return Err(CommitError::damaged(name(number), "a second genesis")),
        RootEntry::Change { fingerprint } => {
            root.before.push((number, std::mem::replace(&mut root.fingerprint, fingerprint)));
        }
        RootEntry::Source { listing, rewritten, opens } => {
            root.side_files.push(listing.path.clone());
            root.listings.push((number, listing.clone()));
            root.listing = listing;
            root.listed = number;
            if rewritten {
                root.asked = Some(Asked { below: number, opens: opens.unwrap_or_default() });
            }
        }
        RootEntry::Relocate { source, sink, checkpoint } => {
            root.places = Places { source, sink, checkpoint };
            root.relocated = number;
        }
        RootEntry::Upgrade { below } => refuse_other_entries(&root, number, &below)?,
        RootEntry::Deleted {} => return Err(CommitError::damaged(name(number), "entries follow a deletion")),
    }
    Ok(root)
}

/// Entries of format 1 prove nothing themselves; the one that lifted the job says what they were.
fn refuse_other_entries(root: &Root, number: u64, below: &[String]) -> Result<(), CommitError> {
    if root.format != FORMAT_1 || below.len() != root.digests.len() {
        return Err(CommitError::damaged(name(number), "it lifts a job of other entries"));
    }
    let is_other = |(digest, said): (&Hash, &String)| digest.to_hex().as_str() != said;
    match root.digests.iter().zip(below).position(is_other) {
        Some(other) => {
            let message = format!("it is not what it was when {} was written", name(number));
            Err(CommitError::damaged(name(other as u64), message))
        }
        None => Ok(()),
    }
}

/// The log's name.
const LOG: &str = "root";
/// The most lanes that a job can have.
const LANES_MAX: u32 = 65_536;
/// Entries read at a time.
const READS_MAX: usize = 16;

/// Attempts to read entries that are listed.
const READ_ATTEMPTS: u32 = 4;

/// Those of the listed entries that are wanted. One that is gone since it was listed is no damage: another process may be
/// deleting the checkpoint of the finished job, the root last. So all is read again.
async fn read_entries(
    store: &Store,
    wanted: impl Fn(&[u64]) -> &[u64],
) -> Result<Vec<(u64, Stored<RootEntry>)>, CommitError> {
    let mut gone = 0;
    for attempt in 0..READ_ATTEMPTS {
        if attempt > 0 {
            store.pause(Duration::from_millis(100 << attempt)).await;
        }
        let numbers = list(store, LOG).await?;
        let reads: Vec<_> = wanted(&numbers).iter().map(|&number| read_entry(store, number)).collect();
        let read: Vec<_> = futures::stream::iter(reads).buffered(READS_MAX).try_collect().await?;
        match read.into_iter().collect() {
            Ok(entries) => return Ok(entries),
            Err(Gone(number)) => gone = number,
        }
    }
    Err(CommitError::Gone { name: name(gone) })
}

/// The job of a log that may be half deleted, if its first entry is there.
pub(super) async fn genesis_job(store: &Store) -> Result<Option<String>, CommitError> {
    match read_entry(store, 0).await? {
        Ok((_, Stored { entry: RootEntry::Genesis(genesis), .. })) => Ok(Some(genesis.job)),
        _ => Ok(None),
    }
}

/// Every object that a log, which may be half deleted, ever listed.
pub(super) async fn objects_listed(store: &Store) -> Result<BTreeSet<String>, CommitError> {
    let mut objects = BTreeSet::new();
    for (_, Stored { entry, .. }) in read_entries(store, |numbers| numbers).await? {
        let listing = match entry {
            RootEntry::Genesis(genesis) => genesis.listing,
            RootEntry::Source { listing, .. } => listing,
            _ => continue,
        };
        match side::read_listing(store, &listing).await {
            Err(error) if error.is_not_found() => {}
            listed => objects.extend(listed?.into_iter().map(|pinned| pinned.object.path.to_string())),
        }
    }
    Ok(objects)
}

/// That there is no entry of this number.
struct Gone(u64);

async fn read_entry(store: &Store, number: u64) -> Result<Result<(u64, Stored<RootEntry>), Gone>, CommitError> {
    let name = name(number);
    let Some(bytes) = get(store, &name).await? else { return Ok(Err(Gone(number))) };
    let stored = decode(&bytes, LOG, number).map_err(|unreadable| unreadable.into_error(name))?;
    Ok(Ok((number, stored)))
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

/// A job of which only the root matters.
#[cfg(test)]
pub(super) mod testing {
    use super::*;

    pub(in crate::commit) fn genesis(job: &str, lanes: u32) -> Genesis {
        let listing = SideFile { path: "side/l".into(), rows: 0, bytes: 0, digest: String::new() };
        Genesis {
            job: job.into(),
            created_ms: 0,
            lanes,
            split_bytes: 9,
            ids: None,
            source_schema: String::new(),
            source: String::new(),
            sink: String::new(),
            checkpoint: String::new(),
            listing,
            imported: vec![],
            done: None,
            fingerprint: fingerprint(1),
            layout: Layout::Flat,
        }
    }

    pub(in crate::commit) fn fingerprint(semantics: u32) -> Fingerprint {
        Fingerprint {
            semantics,
            source_format: "parquet".into(),
            ids: vec![],
            stages: vec![],
            sink_format: "parquet".into(),
            sink_columns: vec![],
        }
    }

    /// Begins a job of one lane, by position.
    pub(in crate::commit) async fn begin(store: &Store) -> Root {
        assert!(Root::create(store, genesis("j", 1)).await.unwrap());
        Root::read(store).await.unwrap().expect("just made")
    }
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;

    use super::testing::{fingerprint, genesis};
    use super::*;

    fn change(semantics: u32) -> RootEntry {
        RootEntry::Change { fingerprint: fingerprint(semantics) }
    }

    fn wait<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    fn read(store: &Store) -> Result<Root, String> {
        wait(Root::read(store)).map(|root| root.expect("a job")).map_err(|error| error.to_string())
    }

    fn put(store: &Store, number: u64, bytes: bytes::Bytes) {
        wait(store.objects().put(&Path::from(name(number)), bytes.into())).unwrap();
    }

    fn bytes(store: &Store, number: u64) -> bytes::Bytes {
        wait(get(store, &name(number))).unwrap().unwrap()
    }

    /// A job with entries above its genesis that say these semantics.
    fn job(name: &str, semantics: &[u32]) -> Store {
        let store = Store::memory("checkpoint");
        assert!(wait(Root::create(&store, genesis(name, 1))).unwrap());
        for semantics in semantics {
            assert!(wait(read(&store).unwrap().append(&store, &change(*semantics))).unwrap());
        }
        store
    }

    #[test]
    fn what_was_computed_under_each_entry_is_known() {
        let root = read(&job("j", &[2, 3, 1, 1])).unwrap();
        let same: Vec<bool> = (0..5).map(|entry| root.computed_the_same(entry)).collect();
        assert_eq!(same, [true, false, false, true, true]);
    }

    #[test]
    fn a_job_has_lanes_but_not_billions() {
        let of = |lanes| {
            let store = Store::memory("checkpoint");
            wait(Root::create(&store, genesis("j", lanes))).unwrap();
            read(&store)
        };
        assert!(of(1).is_ok() && of(LANES_MAX).is_ok() && of(0).is_err());
        let error = of(u32::MAX).unwrap_err();
        assert!(error.contains("it says 4294967295 lanes; a job has 1 to 65536"), "{error}");
    }

    #[test]
    fn a_root_entry_that_was_replaced_is_told_by_the_next() {
        let (store, fork, other) = (job("j", &[2, 3]), job("j", &[7, 8]), job("k", &[2]));
        assert_eq!(read(&store).unwrap().fingerprint.semantics, 3);
        put(&store, 1, bytes(&fork, 1));
        assert!(read(&store).unwrap_err().contains("root/0000000001 is damaged: it is not the entry above which"));
        put(&store, 1, bytes(&other, 1));
        assert!(read(&store).unwrap_err().contains("root/0000000001 is damaged: it is of job k, not of j"));
    }

    #[test]
    fn a_listing_has_each_object_once_and_names_root_entries_that_are_there() {
        let root = read(&job("j", &[2])).unwrap();
        let pinned = |path: &str, since| {
            let object = Object { path: path.into(), size: 1, etag: None, modified_ms: 0 };
            Pinned { object, since }
        };
        assert_eq!(root.check_listing(&[pinned("a", 0), pinned("b", 1)]), Ok(()));
        assert_eq!(root.check_listing(&[pinned("a", 0), pinned("a", 1)]), Err("a is in it twice".into()));
        assert!(root.check_listing(&[pinned("a", 2)]).is_err());
    }

    /// A job of format 1, as a build of then left it.
    fn of_format_1(semantics: &[u32]) -> Store {
        let store = Store::memory("checkpoint");
        let genesis = RootEntry::Genesis(Box::new(genesis("j", 1)));
        for (number, entry) in (0..).zip([genesis].into_iter().chain(semantics.iter().map(|n| change(*n)))) {
            put(&store, number, encode(&Head { format: FORMAT_1, job: "", log: LOG, number, below: None }, &entry));
        }
        store
    }

    #[test]
    fn a_job_of_format_1_stays_so_until_it_is_lifted() {
        let store = of_format_1(&[2]);
        assert!(wait(read(&store).unwrap().append(&store, &change(3))).unwrap());
        let root = read(&store).unwrap();
        assert_eq!((root.format, root.fingerprint.semantics, root.link().digest_text()), (FORMAT_1, 3, None));
        assert_eq!(wait(Root::last_link(&store)).unwrap(), root.link());
        assert!(wait(root.upgrade(&store)).unwrap());
        assert!(wait(read(&store).unwrap().append(&store, &change(4))).unwrap());
        let root = read(&store).unwrap();
        assert_eq!(wait(Root::last_link(&store)).unwrap(), root.link());
        assert_eq!((root.began_in, root.format, root.fingerprint.semantics), (FORMAT_1, FORMAT, 4));
        put(&store, 1, bytes(&of_format_1(&[9]), 1));
        assert!(read(&store).unwrap_err().contains("root/0000000001 is damaged: it is not what it was when"));
    }
}
