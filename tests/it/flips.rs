//! I1: one bit is flipped, anywhere in a checkpoint that has some of everything. Whoever reads the file names it, or reads what
//! was there before; and a run that goes on gives the output of an undisturbed one, or refuses by name. Every bit is flipped
//! with WASMPIPE_SOAK; else some of every file.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use wasmpipe::commit::{
    self, CommitError, Depth, Found, Known, LaneState, Listing, Root, View, Writer, find_alive, read_state,
};
use wasmpipe::store::Store;

use crate::support::attacked::{Attacked, Changes, Mend, named, on_threads};
use crate::support::everything::{self, Snapshot};
use crate::support::place::{Objects, wait};
use crate::support::random::Random;

/// Flips that are read in this process, and that whole runs meet; of all runs of the tests but long ones.
const READ: usize = 2000;
const RUN: usize = 16;
const SEED: u64 = 1_795_823_560_703_914_809;
/// Of long ones: every flip is read, so many meet runs.
const RUN_SOAK: usize = 2000;

fn is_soak() -> bool {
    std::env::var_os("WASMPIPE_SOAK").is_some()
}

/// One bit of one file.
#[derive(Clone, Debug)]
struct Flip {
    file: String,
    bit: usize,
}

impl Flip {
    fn of(&self, bytes: &Bytes) -> Bytes {
        let mut flipped = bytes.to_vec();
        flipped[self.bit / 8] ^= 1 << (self.bit % 8);
        flipped.into()
    }
}

/// Long runs flip other bits each time.
fn random(name: &str) -> Random {
    if is_soak() { Random::of(name) } else { Random::fixed(name, SEED) }
}

/// About so many bits of all files, of each at least a few.
fn some(files: &Objects, count: usize) -> Vec<Flip> {
    let mut random = random(&format!("{count} flips of {} files", files.len()));
    let bits: usize = files.values().map(|bytes| bytes.len() * 8).sum();
    let few = (count / files.len() / 4).max(1);
    let of_file = |(file, bytes): (&String, &Bytes)| {
        let own = bytes.len() * 8;
        let wanted = (count * own / bits).max(few).min(own);
        let mut at = || Flip { file: file.clone(), bit: random.below(own as u64) as usize };
        (0..wanted).map(|_| at()).collect::<Vec<_>>()
    };
    files.iter().filter(|(_, bytes)| !bytes.is_empty()).flat_map(of_file).collect()
}

fn all(files: &Objects) -> Vec<Flip> {
    let of_file = |(file, bytes): (&String, &Bytes)| {
        (0..bytes.len() * 8).map(|bit| Flip { file: file.clone(), bit }).collect::<Vec<_>>()
    };
    files.iter().flat_map(of_file).collect()
}

/// Who reads files of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reader {
    Root,
    Listing,
    Lane(u32),
    /// Of ids that are done: the how-manieth of the view.
    Ids(usize),
    /// Everything, as commands that only look do.
    View,
}

/// What was read.
#[derive(Debug, PartialEq)]
enum Reading {
    Root(Option<Root>),
    Listing(Listing),
    Lane(Box<LaneState>),
    Ids(Vec<RecordBatch>),
    View(Option<View>),
}

const FOLDER: &str = "checkpoint/";

/// A checkpoint, and what is read of it.
struct Sound {
    /// By their names relative to the checkpoint.
    files: Objects,
    view: View,
    readings: BTreeMap<Reader, Reading>,
}

impl Sound {
    fn new(snapshot: &Snapshot) -> Sound {
        let files = snapshot.files.iter().filter(|(name, _)| name.starts_with(FOLDER));
        let files = files.map(|(name, bytes)| (name[FOLDER.len()..].to_owned(), bytes.clone())).collect();
        let view = snapshot.view.clone();
        let mut sound = Sound { files, view, readings: BTreeMap::new() };
        let store = sound.store();
        let lanes = (0..2).map(Reader::Lane);
        let ids = (0..sound.view.ids().count()).map(Reader::Ids);
        for reader in [Reader::Root, Reader::Listing, Reader::View].into_iter().chain(lanes).chain(ids) {
            let reading = wait(sound.read(&reader, &store)).unwrap();
            sound.readings.insert(reader, reading);
        }
        sound
    }

    fn store(&self) -> Store {
        let store = Store::memory("checkpoint");
        self.files.iter().for_each(|(name, bytes)| put(&store, name, bytes.clone()));
        store
    }

    async fn read(&self, reader: &Reader, store: &Store) -> Result<Reading, CommitError> {
        Ok(match reader {
            Reader::Root => Reading::Root(Root::read(store).await?),
            Reader::Listing => Reading::Listing(self.view.root.pinned(store).await?),
            Reader::Lane(lane) => {
                Reading::Lane(Box::new(read_state(store, &self.view.root, *lane, Known::default(), None).await?.1))
            }
            Reader::Ids(at) => Reading::Ids(self.view.ids().nth(*at).unwrap().read(store).await?),
            Reader::View => Reading::View(commit::view(store).await?),
        })
    }

    /// Who reads a file. What nobody reads is shown to those who read all.
    fn readers(&self, file: &str) -> Vec<Reader> {
        let lanes = self.view.lanes.iter();
        let mut readers: Vec<Reader> = match file.split('/').collect::<Vec<_>>()[..] {
            ["root", _] => vec![Reader::Root],
            ["lane", lane, _] => vec![Reader::Lane(lane.parse().unwrap())],
            _ => {
                lanes.filter(|lane| lane.state.side_files.contains(file)).map(|lane| Reader::Lane(lane.lane)).collect()
            }
        };
        readers.extend((self.view.root.listing.path == file).then_some(Reader::Listing));
        let ids = self.view.ids().position(|ids| ids.file().path == file);
        if let Some(at) = ids {
            readers = vec![Reader::Ids(at)];
        }
        if readers.is_empty() { vec![Reader::View] } else { readers }
    }

    /// Names by which an error may accuse a file: its own, and those of entries that name it.
    fn names(&self, file: &str) -> Vec<String> {
        let names_it = |bytes: &Bytes| bytes.windows(file.len()).any(|window| window == file.as_bytes());
        let naming = self.files.iter().filter(|(name, bytes)| name.contains("/00") && names_it(bytes));
        naming.map(|(name, _)| name.clone()).chain([file.to_owned()]).collect()
    }

    /// What is wrong with how a flip is read.
    fn fault(&self, flip: &Flip, store: &Store) -> Option<String> {
        let bytes = &self.files[&flip.file];
        put(store, &flip.file, flip.of(bytes));
        let fault = self.readers(&flip.file).iter().find_map(|reader| {
            let read = catch_unwind(AssertUnwindSafe(|| wait(self.read(reader, store))));
            match read {
                Err(_) => Some("a panic".to_owned()),
                Ok(Ok(reading)) if reading == self.readings[reader] => None,
                Ok(Ok(_)) => Some(format!("{reader:?} reads something else")),
                Ok(Err(error)) => named(&error.to_string(), &self.names(&flip.file)),
            }
        });
        put(store, &flip.file, bytes.clone());
        fault
    }
}

fn put(store: &Store, name: &str, bytes: Bytes) {
    wait(store.objects().put(&Path::from(name), PutPayload::from(bytes))).unwrap();
}

/// Faults, by what they are.
#[track_caller]
fn assert_none<T: Debug>(what: &str, of: usize, begun: Instant, faults: Mutex<Vec<(T, String)>>) {
    let faults = faults.into_inner().unwrap();
    println!("{what}: {of} flips, {} faults, {:.1} s", faults.len(), begun.elapsed().as_secs_f64());
    let first: Vec<String> = faults.iter().take(20).map(|(flip, fault)| format!("{flip:?}: {fault}")).collect();
    assert!(faults.is_empty(), "{} faults, first\n{}", faults.len(), first.join("\n"));
}

#[test]
fn i1_a_bit_that_is_flipped_is_named_by_who_reads_it_or_changes_nothing() {
    let (sound, begun) = (Sound::new(everything::snapshot()), Instant::now());
    // Heartbeats are for courtesy only, and reading one takes its time.
    let read: Objects = sound.files.clone().into_iter().filter(|(name, _)| !name.starts_with("heartbeat/")).collect();
    let flips = if is_soak() { all(&read) } else { some(&read, READ) };
    let faults = Mutex::new(Vec::new());
    let read = |store: &mut Store, flip: &Flip| {
        if let Some(fault) = sound.fault(flip, store) {
            faults.lock().unwrap().push((flip.clone(), fault));
        }
    };
    on_threads(2, &flips, || sound.store(), read);
    assert_none("read", flips.len(), begun, faults);
}

/// A dead run stays dead, however its last sign of life reads. A period that reads as a longer one is waited for.
#[test]
fn i1_a_flipped_bit_of_a_heartbeat_revives_nobody() {
    let sound = Sound::new(everything::snapshot());
    let beats: Objects = sound.files.clone().into_iter().filter(|(name, _)| name.starts_with("heartbeat/")).collect();
    let flips = if is_soak() { all(&beats) } else { some(&beats, 64) };
    assert!(!flips.is_empty());
    let states: Vec<&LaneState> = sound.view.lanes.iter().map(|lane| &lane.state).collect();
    let looking = Writer::new();
    let flipped = |flip: &Flip| {
        let store = sound.store();
        put(&store, &flip.file, flip.of(&sound.files[&flip.file]));
        store
    };
    let stores: Vec<Store> = flips.iter().map(flipped).collect();
    let alive = async |store: &Store| {
        let found = find_alive(store, states.iter().copied(), &looking);
        matches!(
            tokio::time::timeout(Duration::from_secs(2), found).await,
            Ok(Ok(Found { alive: Some(_), .. }) | Err(_))
        )
    };
    let alive = wait(futures::future::join_all(stores.iter().map(alive)));
    assert!(!alive.contains(&true), "{flips:?} {alive:?}");
}

/// A job that meets flips, one after the other.
struct Slot {
    job: Attacked,
    sound: Sound,
}

impl Slot {
    fn new() -> Slot {
        let job = Attacked::new(everything::make());
        Slot { sound: Sound::new(&Snapshot::of(&job.place)), job }
    }

    fn fault(&self, flip: &Flip) -> Option<String> {
        let name = format!("checkpoint/{}", flip.file);
        let changes = Changes::from([(name.clone(), Some(flip.of(&self.job.was[&name])))]);
        let names = self.sound.names(&flip.file);
        let met = catch_unwind(AssertUnwindSafe(|| {
            self.job.apply(&changes);
            self.looked(&names).or_else(|| self.job.go_on(&changes, &names, Mend::Repair).err())
        }));
        met.unwrap_or_else(|_| Some("a panic".into()))
    }

    /// What plan and commands that look say.
    fn looked(&self, names: &[String]) -> Option<String> {
        if let Some(fault) = self.job.planned().err().and_then(|error| named(&error, names)) {
            return Some(format!("plan: {fault}"));
        }
        let (store, sink) = self.job.stores();
        let view = match wait(commit::view(&store)) {
            Err(error) => return named(&error.to_string(), names).map(|fault| format!("view: {fault}")),
            Ok(None) => return Some("view: there is no job".into()),
            Ok(Some(view)) => view,
        };
        let is_same = view.files().eq(self.sound.view.files());
        let check = wait(commit::check_output(&view, &sink, Depth::Data)).unwrap();
        (!is_same || !check.wrong.is_empty()).then(|| format!("other files count: {check:?}"))
    }
}

/// Jobs that meet flips at the same time.
const SLOTS: usize = 2;

#[test]
fn i1_a_run_that_meets_a_flipped_bit_refuses_by_name_or_gives_the_undisturbed_output() {
    let begun = Instant::now();
    let count = if is_soak() { RUN_SOAK } else { RUN };
    let faults = Mutex::new(Vec::new());
    let shares: Vec<usize> = vec![count / SLOTS; SLOTS];
    let meet = |slot: &mut Slot, share: &usize| {
        for flip in some(&slot.sound.files, *share) {
            if let Some(fault) = slot.fault(&flip) {
                faults.lock().unwrap().push((flip, fault));
            }
        }
    };
    on_threads(SLOTS, &shares, Slot::new, meet);
    assert_none("run", count, begun, faults);
}
