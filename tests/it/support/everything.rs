//! A job in whose checkpoint there is some of everything: two lanes, segments, dead letters, failed rows, imported ids, an
//! accepted change, a group that was withdrawn, failed rows that were done again, a compaction, a source that grew and one that
//! was rewritten, coverage that is too long for an entry; at last a run that was killed in the middle, and asked to stop. Its
//! files are few and small.

use std::collections::BTreeMap;
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

use super::place::{Kind, Objects, Place};
use super::{Multiset, Said, Workdir, number_batch, write_parquet};

/// Sizes of groups and blocks are set by each run.
const PIPELINE: &str = r#"
[source]
path = "{root}in/"
id = "id"
{store}
[[stage]]
component = "{guests}/hostile.wasm"
function = "errors_on"
config = { at = [AT] }
on_error = "skip"
[[stage]]
component = "{guests}/bare.wasm"
function = "negate"
on_error = "dead-letter"
[[stage]]
component = "{guests}/hostile.wasm"
function = "twice"
[sink]
path = "{root}out/"
columns = ["id", "negated"]
{store}
[checkpoint]
path = "{root}checkpoint"
lanes = 2
group_rows_max = GROUP
heartbeat_seconds = 0.02
{store}
[run]
workers = 1
readers = 1
block_rows_max = GROUP
"#;

/// What the first stage leaves out: before the change that was accepted, and since.
const FAILING: [&[i64]; 2] = [&[3, 4, 103], &[3, 103]];
/// What becomes a dead letter: it has no negative.
const DEAD: i64 = i64::MIN;
/// Done before the job began; of the long object every second row.
const IMPORTED: [i64; 2] = [1, 101];
const LONG: std::ops::Range<i64> = 1000..7400;

fn pipeline(change: bool, group: u64) -> String {
    let at = FAILING[usize::from(change)].iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
    let text = PIPELINE.replace("AT", &at).replace("GROUP", &group.to_string());
    text.replace("{root}", "").replace("{store}\n", "")
}

/// The `nth` name of an object that lies in this lane.
pub fn name(lane: u32, nth: usize) -> String {
    let names = (0..).map(|number| format!("{number}.parquet"));
    names.filter(|name| lane_of(name, 0, 2) == lane).nth(nth).unwrap()
}

fn is_imported(n: i64) -> bool {
    IMPORTED.contains(&n) || (LONG.contains(&n) && n % 2 == 0)
}

/// The source as it is at last.
fn source() -> BTreeMap<String, Vec<i64>> {
    let mut first: Vec<i64> = (0..16).collect();
    first[9] = DEAD;
    let mut rewritten: Vec<i64> = (100..124).rev().collect();
    rewritten.push(125);
    let objects = [first, rewritten, LONG.collect(), (200..212).collect(), (300..308).collect()];
    [name(0, 0), name(1, 0), name(0, 1), name(1, 1), name(1, 2)].into_iter().zip(objects).collect()
}

/// What the output holds when the job is finished.
pub fn output() -> Multiset {
    let numbers = source().into_values().flatten();
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
const STEPS: [fn(&Place); 8] = [begin, run, withdraw, accept_change, retry, compact, grow, die_over_a_rewritten_source];

/// Makes it, in a folder of its own. The rest of its rows is for who goes on.
pub fn make() -> Place {
    make_noting(&mut |_| ())
}

/// As [`make`]; somebody looks at it after each step.
pub fn make_noting(note: &mut dyn FnMut(&Place)) -> Place {
    made(Place::new(Kind::Local, &pipeline(false, 8)), note)
}

/// As [`make`], in this folder.
pub fn make_in(workdir: Workdir) -> Place {
    workdir.pipeline(&pipeline(false, 8));
    made(Place::Local(workdir), &mut |_| ())
}

fn made(place: Place, note: &mut dyn FnMut(&Place)) -> Place {
    for step in STEPS {
        step(&place);
        note(&place);
    }
    place
}

/// The pipeline file of who goes on with it.
pub fn last_pipeline() -> String {
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

/// One for all tests that only look.
pub fn snapshot() -> &'static Snapshot {
    static SNAPSHOT: OnceLock<Snapshot> = OnceLock::new();
    SNAPSHOT.get_or_init(|| Snapshot::of(&make()))
}

/// From what it was after so many steps to the end, once more.
pub fn make_again(place: &Place, steps: usize) {
    STEPS[steps..].iter().for_each(|step| step(place));
}

fn begin(place: &Place) {
    put_first_objects(place);
    import(place);
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

fn import(place: &Place) {
    let done = IMPORTED.into_iter().chain(LONG.step_by(2));
    let path = place.workdir().path("done.parquet");
    write_parquet(&path, &number_batch(done).project(&[0]).unwrap(), 10_000);
    place.workdir().said(&["checkpoint", "import", "pipeline.toml", "done.parquet"], 0);
}

fn put_first_objects(place: &Place) {
    place.numbers(&name(0, 0), source()[&name(0, 0)].iter().copied(), 8);
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

/// One object is so long, and every second row of it known, that its coverage lies in a side file.
fn grow(place: &Place) {
    write_packed(&place.workdir().path("in").join(name(0, 1)), &number_batch(LONG));
    place.workdir().pipeline(&pipeline(true, 10_000));
    place.run().finished();
    assert!(place.names("checkpoint").iter().any(|name| name.contains("-coverage-")), "its coverage is too short");
    place.workdir().pipeline(&pipeline(true, 8));
    place.numbers(&name(1, 1), source()[&name(1, 1)].iter().copied(), 8);
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

fn die_over_a_rewritten_source(place: &Place) {
    place.numbers(&name(1, 0), source()[&name(1, 0)].iter().copied(), 8);
    place.numbers(&name(1, 2), source()[&name(1, 2)].iter().copied(), 8);
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
