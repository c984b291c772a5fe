//! I1: one bit is flipped, anywhere in a checkpoint that has some of everything. Whoever reads the file names it, or reads what
//! was there before; and a run that goes on gives the output of an undisturbed one, or refuses by name. `cargo xtask
//! soak` flips every bit; else some of every file are.

use std::collections::BTreeMap;
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

use crate::support::attacked::{Attacked, Changes, Mend, Met, named, on_threads};
use crate::support::everything::{self, Size, Snapshot};
use crate::support::place::{Objects, wait};
use crate::support::random::Random;
use crate::support::{is_soak, told};

/// Flips that are read in this process, and that whole runs meet; of all runs of the tests but long ones. Of each file at least
/// one is, so that more runs meet one than this says.
const READ: usize = 1500;
const READ_LONG: usize = 32;
const RUN: usize = 16;
const SEED: u64 = 1_795_823_560_703_914_809;
/// Of long ones: every flip is read, so many meet runs.
const RUN_SOAK: usize = 2000;

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
    /// Names by which an error may accuse a file: its own, and those of entries that name it.
    names: BTreeMap<String, Vec<String>>,
}

impl Sound {
    fn files_that(&self, is_it: impl Fn(&str) -> bool) -> Objects {
        self.files.clone().into_iter().filter(|(name, _)| is_it(name)).collect()
    }

    fn new(snapshot: &Snapshot) -> Sound {
        let files = snapshot.files.iter().filter(|(name, _)| name.starts_with(FOLDER));
        let files: Objects = files.map(|(name, bytes)| (name[FOLDER.len()..].to_owned(), bytes.clone())).collect();
        let names = files.keys().map(|file| (file.clone(), names(&files, file))).collect();
        let mut sound = Sound { files, view: snapshot.view.clone(), readings: BTreeMap::new(), names };
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

    /// How a flip is read; an error is a fault.
    fn met(&self, flip: &Flip, store: &Store) -> Result<Met, String> {
        let bytes = &self.files[&flip.file];
        put(store, &flip.file, flip.of(bytes));
        let met = self.readers(&flip.file).iter().try_fold(Met::Harmless, |met, reader| {
            let now = self.met_by(reader, &flip.file, store)?;
            Ok(if met == Met::Told { met } else { now })
        });
        put(store, &flip.file, bytes.clone());
        met
    }

    fn met_by(&self, reader: &Reader, file: &str, store: &Store) -> Result<Met, String> {
        match catch_unwind(AssertUnwindSafe(|| wait(self.read(reader, store)))) {
            Err(_) => Err("a panic".into()),
            Ok(Ok(reading)) if reading == self.readings[reader] => Ok(Met::Harmless),
            Ok(Ok(_)) => Err(format!("{reader:?} reads something else")),
            Ok(Err(error)) => named(&told(&error), &self.names[file]).map_or(Ok(Met::Told), Err),
        }
    }
}

fn names(files: &Objects, file: &str) -> Vec<String> {
    let names_it = |bytes: &Bytes| bytes.windows(file.len()).any(|window| window == file.as_bytes());
    let naming = files.iter().filter(|(name, bytes)| name.contains("/00") && names_it(bytes));
    naming.map(|(name, _)| name.clone()).chain([file.to_owned()]).collect()
}

fn put(store: &Store, name: &str, bytes: Bytes) {
    wait(store.objects().put(&Path::from(name), PutPayload::from(bytes))).unwrap();
}

/// What became of flips, on several threads.
struct Tally {
    begun: Instant,
    met: Mutex<Vec<(Flip, Result<Met, String>)>>,
}

impl Tally {
    fn begin() -> Tally {
        Tally { begun: Instant::now(), met: Mutex::default() }
    }

    fn note(&self, flip: &Flip, met: Result<Met, String>) {
        self.met.lock().unwrap().push((flip.clone(), met));
    }

    #[track_caller]
    fn assert_no_faults(self, what: &str) {
        let met = self.met.into_inner().unwrap();
        let count = |wanted| met.iter().filter(|(_, met)| *met == Ok(wanted)).count();
        let (told, harmless) = (count(Met::Told) + count(Met::Repaired), count(Met::Harmless));
        let faults = met.iter().filter_map(|(flip, met)| Some(format!("{flip:?}: {}", met.as_ref().err()?)));
        let faults: Vec<String> = faults.collect();
        let seconds = self.begun.elapsed().as_secs_f64();
        println!(
            "{what}: {} flips, {told} refused by name, {harmless} changed nothing, {} faults, {seconds:.0} s",
            met.len(),
            faults.len()
        );
        let first: Vec<&str> = faults.iter().take(20).map(String::as_str).collect();
        assert!(!met.is_empty() && faults.is_empty(), "{} faults, first\n{}", faults.len(), first.join("\n"));
    }
}

fn assert_read(what: &str, sound: &Sound, flips: &[Flip]) {
    let tally = Tally::begin();
    on_threads(2, flips, || sound.store(), |store, flip| tally.note(flip, sound.met(flip, store)));
    tally.assert_no_faults(what);
}

#[test]
fn i1_a_bit_that_is_flipped_is_named_by_who_reads_it_or_changes_nothing() {
    let sound = Sound::new(everything::snapshot());
    // Heartbeats are for courtesy only, and reading one takes its time.
    let read = sound.files_that(|name| !name.starts_with("heartbeat/"));
    assert_read("read", &sound, &if is_soak() { all(&read) } else { some(&read, READ) });
}

#[test]
fn i1_a_flipped_bit_of_coverage_that_is_too_long_for_an_entry_is_named() {
    let sound = Sound::new(&Snapshot::of(&everything::make(Size::Full)));
    let read = sound.files_that(|name| name.contains("-coverage-"));
    assert_read("read", &sound, &if is_soak() { all(&read) } else { some(&read, READ_LONG) });
}

/// A dead run stays dead, however its last sign of life reads. A period that reads as a longer one is waited for.
#[test]
fn i1_a_flipped_bit_of_a_heartbeat_revives_nobody() {
    let sound = Sound::new(everything::snapshot());
    let beats = sound.files_that(|name| name.starts_with("heartbeat/"));
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
        let job = Attacked::new(Size::Small);
        Slot { sound: Sound::new(&Snapshot::of(&job.place)), job }
    }

    fn met(&self, flip: &Flip) -> Result<Met, String> {
        let name = format!("checkpoint/{}", flip.file);
        let changes = Changes::from([(name.clone(), Some(flip.of(&self.job.was[&name])))]);
        let names = &self.sound.names[&flip.file];
        let met = catch_unwind(AssertUnwindSafe(|| {
            self.job.apply(&changes);
            self.looked(names).map_or(Ok(()), Err)?;
            self.job.go_on(&changes, names, Mend::Repair)
        }));
        met.unwrap_or_else(|_| Err("a panic".into()))
    }

    /// What plan and commands that look say.
    fn looked(&self, names: &[String]) -> Option<String> {
        if let Some(fault) = self.job.planned().err().and_then(|error| named(&error, names)) {
            return Some(format!("plan: {fault}"));
        }
        let (store, sink) = self.job.stores();
        let view = match wait(commit::view(&store)) {
            Err(error) => return named(&told(&error), names).map(|fault| format!("view: {fault}")),
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
    let (tally, count) = (Tally::begin(), if is_soak() { RUN_SOAK } else { RUN });
    let meet = |slot: &mut Slot, share: &usize| {
        let flips = some(&slot.sound.files, count);
        // Files have other names in each job, and the same place among the others.
        flips.iter().skip(*share).step_by(SLOTS).for_each(|flip| tally.note(flip, slot.met(flip)));
    };
    on_threads(SLOTS, &(0..SLOTS).collect::<Vec<_>>(), Slot::new, meet);
    tally.assert_no_faults("run");
}
