//! A job in whose checkpoint there is some of everything: two lanes, segments, dead letters, failed rows, imported ids, an
//! accepted change, a group that was withdrawn, failed rows that were done again, a compaction, a source that grew and one that
//! was rewritten, coverage that is too long for an entry; at last a run that was killed in the middle, and asked to stop. Its
//! files are few and small.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arrow::array::RecordBatch;
use object_store::{Error, Result};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use wasmpipe::commit::{View, lane_of};
use wasmpipe::store::{Act, Unwatched, Watch};

use super::pipeline::{Pipeline, failing_twice};
use super::place::{Kind, Objects, Place};
use super::{Multiset, Said, Workdir, number_batch, write_parquet};

/// What the first stage leaves out: before the change that was accepted, and since.
const FAILING: [&[i64]; 2] = [&[3, 4, 103], &[3, 103]];
/// What becomes a dead letter: it has no negative.
const DEAD: i64 = i64::MIN;
/// Done before the job began; of the long object every second row. Its numbers begin here.
const IMPORTED: [i64; 2] = [1, 101];
const LONG: i64 = 1000;

/// How long that object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// No longer than what is read, flipped and run a thousand times should be.
    Small,
    /// Coverage of the long object is too long for an entry.
    Full,
}

impl Size {
    /// Of the long object.
    fn numbers(self) -> Range<i64> {
        match self {
            Size::Small => LONG..LONG + 12,
            Size::Full => LONG..LONG + 6400,
        }
    }
}

fn pipeline(change: bool, group: u64) -> Pipeline {
    let at = FAILING[usize::from(change)];
    failing_twice(at)
        .checkpoint(&format!("lanes = 2\ngroup_rows_max = {group}\nheartbeat_seconds = 0.02"))
        .run(&format!("workers = 1\nreaders = 1\nblock_rows_max = {group}"))
}

/// The `nth` name of an object that lies in this lane.
pub fn name(lane: u32, nth: usize) -> String {
    let names = (0..).map(|number| format!("{number}.parquet"));
    names.filter(|name| lane_of(name, 0, 2) == lane).nth(nth).unwrap()
}

fn is_imported(n: i64) -> bool {
    IMPORTED.contains(&n) || (n >= LONG && n % 2 == 0)
}

/// The source as it is at last.
fn source(size: Size) -> BTreeMap<String, Vec<i64>> {
    let mut first: Vec<i64> = (0..16).collect();
    first[9] = DEAD;
    let mut rewritten: Vec<i64> = (100..124).rev().collect();
    rewritten.push(125);
    let objects = [first, rewritten, size.numbers().collect(), (200..212).collect(), (300..308).collect()];
    [name(0, 0), name(1, 0), name(0, 1), name(1, 1), name(1, 2)].into_iter().zip(objects).collect()
}

/// What the output holds when the job is finished.
pub fn output(size: Size) -> Multiset {
    let numbers = source(size).into_values().flatten();
    let numbers = numbers.filter(|n| *n != DEAD && !FAILING[1].contains(n) && !is_imported(*n));
    numbers.map(|n| (format!("id-{n}|{}", -n), 2)).collect()
}

/// Ends as a process does that is killed, once so many entries of lanes were put.
#[derive(Debug)]
struct DiesAfter(AtomicU64);

impl DiesAfter {
    fn check(&self) -> Result<()> {
        let is_dead = self.0.load(Ordering::SeqCst) == 0;
        let dead = || Error::Generic { store: "everything", source: "the process is dead".into() };
        if is_dead { Err(dead()) } else { Ok(()) }
    }
}

impl Watch for DiesAfter {
    fn before(&self, _: Act, _: &str, _: &str) -> Result<()> {
        self.check()
    }

    fn after(&self, act: Act, _: &str, object: &str) -> Result<()> {
        if act == Act::Put && object.starts_with("lane/") && self.check().is_ok() {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
        Ok(())
    }
}

/// How it comes to be.
const STEPS: [fn(&Place, Size); 8] = [
    begin,
    |place, _| run(place),
    |place, _| withdraw(place),
    |place, _| accept_change(place),
    |place, _| retry(place),
    |place, _| compact(place),
    grow,
    die_over_a_rewritten_source,
];

/// Makes it, in a folder of its own. The rest of its rows is for who goes on.
pub fn make(size: Size) -> Place {
    make_noting(size, &mut |_| ())
}

/// As [`make`]; somebody looks at it after each step.
pub fn make_noting(size: Size, note: &mut dyn FnMut(&Place)) -> Place {
    let place = Place::new(Kind::Local, &pipeline(false, 8));
    for step in STEPS {
        step(&place, size);
        note(&place);
    }
    place
}

/// As [`make`], in this folder.
pub fn make_in(workdir: Workdir, size: Size) -> Place {
    workdir.pipeline(&pipeline(false, 8));
    let place = Place::Local(workdir);
    make_again(&place, size, 0);
    place
}

/// The pipeline file of who goes on with it.
pub fn last_pipeline() -> Pipeline {
    pipeline(true, 8)
}

/// A job's files, and what its checkpoint says.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub files: Objects,
    pub view: View,
}

impl Snapshot {
    pub fn of(place: &Place) -> Snapshot {
        Snapshot { files: files(place), view: place.view() }
    }
}

/// A small one for all tests that only look.
pub fn snapshot() -> &'static Snapshot {
    static SNAPSHOT: OnceLock<Snapshot> = OnceLock::new();
    SNAPSHOT.get_or_init(|| Snapshot::of(&make(Size::Small)))
}

/// From what it was after so many steps to the end, once more.
pub fn make_again(place: &Place, size: Size, steps: usize) {
    STEPS[steps..].iter().for_each(|step| step(place, size));
}

fn begin(place: &Place, size: Size) {
    put_first_objects(place, &source(size));
    import(place, size);
}

fn run(place: &Place) {
    place.run().finished();
}

fn accept_change(place: &Place) {
    place.workdir().pipeline(&pipeline(true, 8));
    place.run_as(&Arc::new(Unwatched), Said { accept_change: true, ..Said::default() }).finished();
}

/// One of the rows that failed does not any more.
fn retry(place: &Place) {
    place.run_as(&Arc::new(Unwatched), Said { retry_failed: true, ..Said::default() }).finished();
}

fn compact(place: &Place) {
    place.workdir().said(&["checkpoint", "compact", "--lane", "0", "checkpoint"], 0);
}

fn import(place: &Place, size: Size) {
    let done = IMPORTED.into_iter().chain(size.numbers().step_by(2));
    let path = place.workdir().path("done.parquet");
    write_parquet(&path, &number_batch(done).project(&[0]).unwrap(), 10_000);
    place.workdir().said(&["checkpoint", "import", "pipeline.toml", "done.parquet"], 0);
}

fn put_first_objects(place: &Place, source: &BTreeMap<String, Vec<i64>>) {
    place.numbers(&name(0, 0), source[&name(0, 0)].iter().copied(), 8);
    let mut second: Vec<i64> = (100..116).collect();
    second[5] = DEAD;
    place.numbers(&name(1, 0), second, 8);
}

/// A sink file of lane 1 is lost, and its group given up.
fn withdraw(place: &Place) {
    let view = place.view();
    let lost = &view.lanes[1].state.groups.values().next().unwrap().files[0];
    place.remove(&format!("out/{}", lost.path));
    place.workdir().said(&["checkpoint", "verify", "--repair", "checkpoint"], 0);
}

/// One object comes whose every second row is known.
fn grow(place: &Place, size: Size) {
    write_packed(&place.workdir().path("in").join(name(0, 1)), &number_batch(size.numbers()));
    place.workdir().pipeline(&pipeline(true, 10_000));
    place.run().finished();
    let is_aside = place.names("checkpoint").iter().any(|name| name.contains("-coverage-"));
    assert_eq!(is_aside, size == Size::Full, "coverage in a side file");
    place.workdir().pipeline(&pipeline(true, 8));
    place.numbers(&name(1, 1), source(size)[&name(1, 1)].iter().copied(), 8);
    place.run().finished();
}

fn write_packed(path: &Path, batch: &RecordBatch) {
    let zstd = Compression::ZSTD(ZstdLevel::default());
    let properties = WriterProperties::builder().set_compression(zstd).build();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
}

fn die_over_a_rewritten_source(place: &Place, size: Size) {
    for name in [name(1, 0), name(1, 2)] {
        place.numbers(&name, source(size)[&name].iter().copied(), 8);
    }
    let dying = Arc::new(DiesAfter(AtomicU64::new(4)));
    let died = place.run_with(&dying);
    assert!(died.error.is_some(), "it was killed");
    place.workdir().said(&["checkpoint", "stop", "checkpoint"], 0);
}

/// Puts files back as they were, and takes away what came since.
pub fn put_back(place: &Place, was: &Objects) {
    for folder in ["in", "out", "checkpoint"] {
        for path in place.workdir().files(folder) {
            let name = place.workdir().name(&path);
            match was.get(&name) {
                Some(bytes) if std::fs::read(&path).is_ok_and(|now| now == *bytes) => {}
                Some(bytes) => std::fs::write(&path, bytes).unwrap(),
                None => std::fs::remove_file(&path).unwrap(),
            }
        }
    }
    for (name, bytes) in was.iter().filter(|(name, _)| !place.workdir().path(name).exists()) {
        place.overwrite(name, bytes.clone());
    }
}

/// All files of source, sink and checkpoint.
pub fn files(place: &Place) -> Objects {
    ["in", "out", "checkpoint"].into_iter().flat_map(|folder| place.objects(folder)).collect()
}
