//! I2: entries and side files that are not what was written: swapped, removed, of another job, of an older copy or a fork of the
//! same. Each is named, or changes nothing. What only a loss of the newest entries can do is tried with whole runs: it is told
//! where anything is left that knows more than the log does, and else the output is the undisturbed one all the same.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use arrow::array::RecordBatch;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use serde_json::{Value, json};
use wasmpipe::commit::{self, LaneState, LaneView, Listing, Root, View};
use wasmpipe::store::Store;

use crate::support::attacked::{Attacked, Changes, Mend, Met, named, on_threads};
use crate::support::everything::{self, Size, Snapshot};
use crate::support::forge::{Forge, doubled_row, number_at, text_at, without_row};
use crate::support::place::{Objects, Place, wait};
use crate::support::{is_soak, told};

/// The files of a checkpoint, and what they say.
struct Sound {
    files: Objects,
    view: View,
}

impl Sound {
    fn new(Snapshot { files, view }: &Snapshot) -> Sound {
        let of_checkpoint = files.iter().filter(|(name, _)| name.starts_with("checkpoint/"));
        let files = of_checkpoint.map(|(name, bytes)| (name.clone(), bytes.clone())).collect();
        Sound { files, view: view.clone() }
    }

    fn of(place: &Place) -> Sound {
        Sound::new(&Snapshot::of(place))
    }

    /// What is wrong with how a checkpoint is read whose files were changed.
    fn fault(&self, changes: &Changes) -> Option<String> {
        let mut files = self.files.clone();
        for (name, bytes) in changes {
            match bytes {
                Some(bytes) => drop(files.insert(name.clone(), bytes.clone())),
                None => drop(files.remove(name)),
            }
        }
        let store = store_of(&files);
        match catch_unwind(AssertUnwindSafe(|| wait(commit::view(&store)))) {
            Err(_) => Some("a panic".into()),
            Ok(Ok(Some(view))) if said(&view) == said(&self.view) => None,
            Ok(Ok(_)) => Some("it reads otherwise".into()),
            Ok(Err(error)) => named(&told(&error), &names_of(changes)),
        }
    }

    /// Names of entries of a log that count: of what lies below a compaction nothing is read.
    fn entries(&self, log: &str) -> Vec<String> {
        let compacted = |name: &str| {
            let lane = self.view.lanes.iter().find(|lane| name.starts_with(&format!("checkpoint/lane/{}/", lane.lane)));
            lane.and_then(|lane| lane.state.compacted).unwrap_or(0)
        };
        let names = self.files.keys().filter(|name| name.starts_with(&format!("checkpoint/{log}/")));
        names.filter(|name| number(name) >= compacted(name)).cloned().collect()
    }
}

/// What counts: an entry that was withdrawn says nothing any more.
fn said(view: &View) -> (&Root, &Listing, Vec<&LaneState>) {
    (&view.root, &view.listing, view.lanes.iter().map(|lane| &lane.state).collect())
}

fn number(name: &str) -> u64 {
    name.rsplit('/').next().unwrap().parse().unwrap()
}

fn store_of(files: &Objects) -> Store {
    let store = Store::memory("checkpoint");
    for (name, bytes) in files {
        let name = Path::from(&name["checkpoint/".len()..]);
        wait(store.objects().put(&name, PutPayload::from(bytes.clone()))).unwrap();
    }
    store
}

/// As errors say them. An entry may be accused in the place of the one below or above it.
fn names_of(changes: &Changes) -> Vec<String> {
    let own = changes.keys().map(|name| name["checkpoint/".len()..].to_owned());
    let above = changes.keys().filter_map(|name| {
        let (log, number) = name["checkpoint/".len()..].rsplit_once('/')?;
        Some(format!("{log}/{:010}", number.parse::<u64>().ok()? + 1))
    });
    own.chain(above).collect()
}

#[track_caller]
fn assert_all_told(sound: &Sound, what: &str, attacks: &[Changes]) {
    let faults = Mutex::new(Vec::new());
    let attack = |(): &mut (), changes: &Changes| {
        if let Some(fault) = sound.fault(changes) {
            faults.lock().unwrap().push(format!("{:?}: {fault}", changes.keys().collect::<Vec<_>>()));
        }
    };
    on_threads(2, attacks, || (), attack);
    let faults = faults.into_inner().unwrap();
    println!("{what}: {} attacks, {} faults", attacks.len(), faults.len());
    assert!(!attacks.is_empty() && faults.is_empty(), "{what}:\n{}", faults.join("\n"));
}

/// Long runs try all; others every third.
fn thinned<T>(attacks: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
    attacks.step_by(if is_soak() { 1 } else { 3 })
}

fn swapped(files: &Objects, a: &String, b: &String) -> Changes {
    [(a.clone(), Some(files[b].clone())), (b.clone(), Some(files[a].clone()))].into()
}

fn pairs(names: &[String]) -> impl Iterator<Item = (&String, &String)> {
    names.iter().enumerate().flat_map(move |(at, a)| names[at + 1..].iter().map(move |b| (a, b)))
}

/// Within a log, between logs, and side files.
#[test]
fn i2_entries_and_side_files_that_are_swapped_are_named() {
    let sound = Sound::new(everything::snapshot());
    for log in ["root", "lane/0", "lane/1"] {
        let attacks: Vec<Changes> =
            thinned(pairs(&sound.entries(log))).map(|(a, b)| swapped(&sound.files, a, b)).collect();
        assert_all_told(&sound, &format!("swapped in {log}"), &attacks);
    }
    let (first, second) = (sound.entries("lane/0"), sound.entries("lane/1"));
    let between = first.iter().flat_map(|a| second.iter().map(move |b| (a, b)));
    let attacks: Vec<Changes> = thinned(between).map(|(a, b)| swapped(&sound.files, a, b)).collect();
    assert_all_told(&sound, "swapped between lanes", &attacks);
    let attacks: Vec<Changes> = thinned(pairs(&sound.side_files())).map(|(a, b)| swapped(&sound.files, a, b)).collect();
    assert_all_told(&sound, "swapped side files", &attacks);
}

impl Sound {
    fn side_files(&self) -> Vec<String> {
        self.files.keys().filter(|name| name.starts_with("checkpoint/side/")).cloned().collect()
    }

    /// All entries but the newest of each log.
    fn not_newest(&self) -> Vec<String> {
        let logs = ["root", "lane/0", "lane/1"].map(|log| self.entries(log));
        logs.into_iter()
            .flat_map(|mut entries| {
                entries.pop();
                entries
            })
            .collect()
    }
}

#[test]
fn i2_an_entry_or_side_file_that_is_gone_is_named() {
    let sound = Sound::new(everything::snapshot());
    let gone = sound.not_newest().into_iter().chain(sound.side_files());
    let attacks: Vec<Changes> = gone.map(|name| Changes::from([(name, None)])).collect();
    assert_all_told(&sound, "gone", &attacks);
}

/// Of another job of the same pipeline file, and of the same job as it went on in another place.
#[test]
fn i2_entries_of_another_job_or_of_a_fork_are_named() {
    let sound = Sound::new(everything::snapshot());
    let other = Sound::of(&everything::make(Size::Small));
    let of_other = |files: &Objects| {
        let names =
            sound.not_newest().into_iter().filter(|name| files.contains_key(name) && files[name] != sound.files[name]);
        names.map(|name| Changes::from([(name.clone(), Some(files[&name].clone()))])).collect::<Vec<_>>()
    };
    assert_all_told(&sound, "of another job", &of_other(&other.files));
    let (place, fork) = forked();
    let sound = Sound::of(&place);
    let of_fork = |name: &String| fork.get(name).is_some_and(|bytes| *bytes != sound.files[name]);
    let names: Vec<String> = sound.not_newest().into_iter().filter(of_fork).collect();
    let attacks: Vec<Changes> =
        names.iter().map(|name| Changes::from([(name.clone(), Some(fork[name].clone()))])).collect();
    assert_all_told(&sound, "of a fork", &attacks);
}

/// A job, and the checkpoint of another copy of it that has gone on from the same moment.
fn forked() -> (Place, Objects) {
    let (place, moments) = with_moments();
    let fork = place.objects("checkpoint");
    everything::put_back(&place, &moments[FORKED - 1]);
    everything::make_again(&place, Size::Small, FORKED);
    (place, fork)
}

/// Steps after which the job forks: a group was withdrawn.
const FORKED: usize = 3;

/// A job, and its files after each step.
fn with_moments() -> (Place, Vec<Objects>) {
    let mut moments = Vec::new();
    let place = everything::make_noting(Size::Small, &mut |place| moments.push(everything::files(place)));
    (place, moments)
}

/// The newest entries of each log are lost, one more at a time.
#[test]
fn i2_a_log_without_its_newest_entries_is_told_by_what_they_left_or_redone() {
    let job = Attacked::new(Size::Small);
    let sound = Sound::of(&job.place);
    for log in ["root", "lane/0", "lane/1"] {
        let mut entries = sound.entries(log);
        let mut lost = Changes::new();
        while let Some(newest) = entries.pop() {
            lost.insert(newest, None);
            if !is_soak() && lost.len() > ALL_LOST_TO && !lost.len().is_multiple_of(3) {
                continue;
            }
            let met = job.meet(&lost, &ANYWHERE, Mend::PutBack).unwrap_or_else(|fault| panic!("{lost:?}: {fault}"));
            println!("{log} without its newest {}: {met:?}", lost.len());
            if is_told(&sound, &lost) {
                assert_eq!(met, Met::Told, "{log} without its newest {}", lost.len());
            }
        }
    }
}

/// Newest entries whose loss is tried one by one; of more, by three.
const ALL_LOST_TO: usize = 6;

/// What is lost is not there to be named; what is left can say that it misses something. The root's last entry but its
/// newest may be told by what the pipeline file says.
const ANYWHERE: [&str; 6] = ["root", "lane 0", "lane 1", "lane/0", "lane/1", "the job differs"];

/// Whether a mark of a rewritten source is lost, or the open of a writer whose files are in the sink.
fn is_told(sound: &Sound, lost: &Changes) -> bool {
    let is_lost = |lane: u32, number: u64| lost.contains_key(&format!("checkpoint/lane/{lane}/{number:010}"));
    sound.view.lanes.iter().any(|LaneView { lane, state, .. }| {
        let has_files = |token: &str| state.files().any(|file| file.path.contains(token));
        let of_writer = state.opens.iter().any(|(number, open)| is_lost(*lane, *number) && has_files(&open.token));
        let marks = sound.view.root.asked.iter().map(|asked| asked.opens[*lane as usize]);
        of_writer || marks.into_iter().any(|mark| is_lost(*lane, mark))
    })
}

/// A copy from after each step is put in the place of the checkpoint, beside the sink of the end.
#[test]
fn i2_an_older_copy_of_the_checkpoint_is_told_by_the_sink() {
    let (place, moments) = with_moments();
    let job = Attacked::of(place, Size::Small);
    for (step, moment) in moments[..moments.len() - 1].iter().enumerate() {
        let is_of_log = |name: &&String| name.starts_with("checkpoint/");
        let now = job.was.keys().filter(is_of_log).map(|name| (name.clone(), None));
        let then =
            moment.iter().filter(|(name, _)| is_of_log(name)).map(|(name, bytes)| (name.clone(), Some(bytes.clone())));
        let older: Changes = now.chain(then).collect();
        let met = job.meet(&older, &ANYWHERE, Mend::PutBack);
        assert_eq!(met, Ok(Met::Told), "as it was after step {step}");
    }
}

/// Who lies, and what an error may accuse: the entry, or what it contradicts.
type Lie = (&'static str, fn(&mut Forge) -> Vec<String>);

/// Lies of a segment that says everything: done, known, failed and dead-lettered rows.
const OF_A_SEGMENT: &[Lie] = &[
    ("one more row read", |forge| count(forge, "rows_read")),
    ("one more row written", |forge| count(forge, "rows_written")),
    ("one more row failed", |forge| count(forge, "rows_failed")),
    ("one more dead letter", |forge| count(forge, "rows_dead_lettered")),
    ("one more row known", |forge| count(forge, "rows_known")),
    ("more rows dropped than there are", |forge| in_segment(forge, |body| body["counts"]["rows_dropped"] = 99.into())),
    ("a file of more rows", |forge| in_segment(forge, |body| more(&mut body["files"][0]["rows"]))),
    ("dead letters of more rows", |forge| in_segment(forge, |body| more(&mut body["dead_letters"][0]["rows"]))),
    ("no file", |forge| in_segment(forge, |body| body["files"] = json!([]))),
    ("a file twice", |forge| in_segment(forge, |body| twice(&mut body["files"]))),
    ("no dead letters", |forge| in_segment(forge, |body| drop(body.as_object_mut().unwrap().remove("dead_letters")))),
    ("one more row done", |forge| in_segment(forge, |body| more(&mut body["coverage"][0]["done"][0][1]))),
    ("known rows done", |forge| in_segment(forge, |body| rename(&mut body["coverage"][0], "known", "failed"))),
    ("an object twice", |forge| in_segment(forge, |body| twice(&mut body["coverage"]))),
    ("an object of more rows", |forge| in_segment(forge, |body| more(&mut body["coverage"][0]["rows"]))),
    ("an object of another content", |forge| in_segment(forge, |body| body["coverage"][0]["digest"] = "00".into())),
    ("an object of another lane", |forge| {
        in_segment(forge, |body| body["coverage"][0]["object"] = everything::name(0, 0).into())
    }),
    ("a piece that there is not", |forge| in_segment(forge, |body| body["coverage"][0]["piece"] = 5.into())),
    ("no ids", |forge| in_segment(forge, |body| body["ids"] = Value::Null)),
    ("under a root entry that is to come", |forge| in_segment(forge, |body| body["root"] = 99.into())),
    ("under a root entry before its open's", |forge| {
        let newest = forge.entries("lane/1", "segment").pop().unwrap();
        forge.body(&newest)["root"] = 0.into();
        vec![newest]
    }),
    ("a file of another group", |forge| {
        let (a, b) = two_of_one_writer(forge);
        forge.body(&a)["files"] = forge.body(&b)["files"].clone();
        vec![a, b]
    }),
    ("a file of another writer's name", |forge| in_segment(forge, |body| other_writer(&mut body["files"][0]["path"]))),
    ("ids of another group", |forge| {
        let (a, b) = two_of_one_writer(forge);
        forge.body(&a)["ids"] = forge.body(&b)["ids"].clone();
        vec![a, b]
    }),
];

const OF_OTHERS: &[Lie] = &[
    ("a later entry is withdrawn", |forge| {
        let withdraw = forge.entries("lane/1", "withdraw").remove(0);
        let later = number(&withdraw) + 4;
        forge.body(&withdraw)["numbers"].as_array_mut().unwrap().push(later.into());
        vec![withdraw]
    }),
    ("an open with the token of another", |forge| {
        let opens = forge.entries("lane/1", "open");
        forge.body(&opens[2])["token"] = forge.body(&opens[0])["token"].clone();
        opens
    }),
    ("an open under a root entry that is to come", |forge| {
        let open = forge.entries("lane/1", "open").pop().unwrap();
        forge.body(&open)["root"] = 99.into();
        vec![open]
    }),
    ("more lanes", |forge| in_genesis(forge, |body| body["lanes"] = 3.into())),
    ("fewer lanes", |forge| in_genesis(forge, |body| body["lanes"] = 1.into())),
    ("smaller pieces", |forge| in_genesis(forge, |body| body["split_bytes"] = 100.into())),
    ("another job", |forge| in_genesis(forge, |body| body["job"] = "0123456789abcdef".into())),
    ("no ids", |forge| in_genesis(forge, |body| body["ids"] = Value::Null)),
    ("ids of another type", |forge| in_genesis(forge, |body| body["ids"][0]["data_type"] = "Int64".into())),
    ("a mark that is to come", |forge| in_source(forge, |body| body["opens"][1] = 99.into())),
    ("a mark too few", |forge| in_source(forge, |body| body["opens"] = json!([3]))),
    ("no marks", |forge| in_source(forge, |body| body["opens"] = Value::Null)),
    ("a listing without an object", |forge| in_listing(forge, without_row)),
    ("a listing with an object twice", |forge| in_listing(forge, doubled_row)),
    ("a larger object", |forge| in_listing(forge, |rows| number_at(rows, "size", 0, |size| size + 1))),
    ("an object that is to come", |forge| in_listing(forge, |rows| number_at(rows, "since", 0, |_| 99))),
];

const OF_A_COMPACTION: &[Lie] = &[
    ("a group of fewer rows", |forge| in_table(forge, "groups", |rows| text_at(rows, "counts", 0, one_less))),
    ("a group under a root entry that is to come", |forge| {
        in_table(forge, "groups", |rows| number_at(rows, "root", 0, |_| 99))
    }),
    ("a group twice", |forge| in_table(forge, "groups", doubled_row)),
    ("a group less", |forge| in_table(forge, "groups", without_row)),
    ("a file of more rows", |forge| in_table(forge, "files", |rows| number_at(rows, "rows", 0, |count| count + 1))),
    ("a file twice", |forge| in_table(forge, "files", doubled_row)),
    ("a file less", |forge| in_table(forge, "files", without_row)),
    ("a file of another writer", |forge| {
        in_table(forge, "files", |rows| text_at(rows, "path", 0, |path| path.replace("-0-", "-1-")))
    }),
    ("more rows covered", |forge| in_table(forge, "coverage", |rows| number_at(rows, "end", 0, |end| end + 1))),
    ("rows covered twice", |forge| in_table(forge, "coverage", doubled_row)),
    ("rows of another state", |forge| in_table(forge, "coverage", |rows| text_at(rows, "state", 0, |_| "dead".into()))),
    ("rows of an object of another lane", |forge| {
        in_table(forge, "coverage", |rows| text_at(rows, "object", 0, |_| everything::name(1, 0)))
    }),
    ("an open twice", |forge| in_table(forge, "opens", doubled_row)),
    ("an open above it", |forge| in_table(forge, "opens", |rows| number_at(rows, "number", 0, |_| 9999))),
];

/// Those of lane 1 that are not withdrawn, with rows in all states but one at least.
fn segment(forge: &mut Forge) -> String {
    let mut segments = forge.entries("lane/1", "segment").into_iter().rev();
    let has = |object: &Value, state: &str| object.get(state).is_some();
    segments.find(|name| ["known", "dead"].iter().all(|state| has(&forge.body(name)["coverage"][0], state))).unwrap()
}

fn in_segment(forge: &mut Forge, lie: impl FnOnce(&mut Value)) -> Vec<String> {
    let name = segment(forge);
    lie(forge.body(&name));
    vec![name]
}

fn count(forge: &mut Forge, what: &str) -> Vec<String> {
    in_segment(forge, |body| more(&mut body["counts"][what]))
}

fn in_genesis(forge: &mut Forge, lie: impl FnOnce(&mut Value)) -> Vec<String> {
    let name = "checkpoint/root/0000000000".to_owned();
    lie(forge.body(&name));
    vec![name, "checkpoint/lane".into()]
}

fn in_source(forge: &mut Forge, lie: impl FnOnce(&mut Value)) -> Vec<String> {
    let name = forge.entries("root", "source").pop().unwrap();
    lie(forge.body(&name));
    vec![name, "checkpoint/lane".into()]
}

fn in_listing(forge: &mut Forge, lie: impl FnOnce(&RecordBatch) -> RecordBatch) -> Vec<String> {
    let name = forge.entries("root", "source").pop().unwrap();
    let table = forge.table(&name, "listing", lie);
    vec![name, table]
}

fn in_table(forge: &mut Forge, key: &str, lie: impl FnOnce(&RecordBatch) -> RecordBatch) -> Vec<String> {
    let name = forge.entries("lane/0", "compaction").pop().unwrap();
    let table = forge.table(&name, key, lie);
    vec![name, table]
}

fn two_of_one_writer(forge: &mut Forge) -> (String, String) {
    let segments = forge.entries("lane/1", "segment");
    let pair = segments.windows(2).rev().find(|pair| forge.token(&pair[0]) == forge.token(&pair[1]));
    let pair = pair.expect("a writer of two groups");
    (pair[1].clone(), pair[0].clone())
}

fn more(number: &mut Value) {
    *number = (number.as_u64().unwrap() + 1).into();
}

fn twice(list: &mut Value) {
    let list = list.as_array_mut().unwrap();
    list.push(list[0].clone());
}

fn rename(object: &mut Value, from: &str, to: &str) {
    let object = object.as_object_mut().unwrap();
    let value = object.remove(from).unwrap();
    object.insert(to.into(), value);
}

fn other_writer(path: &mut Value) {
    let (before, number) = path.as_str().unwrap().rsplit_once('-').unwrap();
    let (before, _) = before.rsplit_once('-').unwrap();
    *path = format!("{before}-0123456789abcdef-{number}").into();
}

fn one_less(counts: &str) -> String {
    let mut counts: Value = serde_json::from_str(counts).unwrap();
    counts["rows_read"] = (counts["rows_read"].as_u64().unwrap() - 1).into();
    counts.to_string()
}

/// What the log says twice is compared, however well each of the two is sealed. What contradicts nothing does no harm.
#[test]
fn i2_lies_of_who_takes_every_digest_anew_are_named_by_what_they_contradict() {
    let job = Attacked::new(Size::Small);
    let sound = Sound::of(&job.place);
    let mut faults = Vec::new();
    let of_segment = OF_A_SEGMENT.iter().map(|lie| (lie, Mend::Repair));
    let of_others = OF_A_COMPACTION.iter().chain(OF_OTHERS).map(|lie| (lie, Mend::PutBack));
    for ((what, lie), mend) in of_segment.chain(of_others) {
        let mut forge = Forge::new(&sound.files);
        let names = lie(&mut forge);
        let names = names.iter().map(|name| &name["checkpoint/".len()..]);
        let names: Vec<&str> = names
            .chain([
                "lane 0",
                "lane 1",
                "lane/0/",
                "lane/1/",
                "side/",
                ".parquet: it is missing",
                "in the sink",
                "sink file(s)",
            ])
            .collect();
        match job.meet(&forge.sealed(), &names, mend) {
            // A group can be given up, whatever it says.
            Ok(Met::Told) if mend == Mend::Repair => faults.push(format!("{what}: no repair mends it")),
            Ok(met) => println!("{what}: {met:?}"),
            Err(fault) => faults.push(format!("{what} ({}): {fault}", names[0])),
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// The forger's tools are sharp: what is sealed anew without a lie reads as before.
#[test]
fn a_log_that_is_sealed_anew_as_it_was_is_sound() {
    let sound = Sound::new(everything::snapshot());
    let mut forge = Forge::new(&sound.files);
    let compaction = forge.entries("lane/0", "compaction").pop().unwrap();
    forge.table(&compaction, "files", RecordBatch::clone);
    let changes = forge.sealed();
    assert!(changes.len() > 20, "{:?}", changes.keys());
    let files: Objects = sound
        .files
        .clone()
        .into_iter()
        .chain(changes.into_iter().map(|(name, bytes)| (name, bytes.unwrap())))
        .collect();
    let view = wait(commit::view(&store_of(&files))).unwrap().unwrap();
    assert!(view.files().eq(sound.view.files()), "other files");
    assert_eq!(view.counts(), sound.view.counts());
}

/// What a later build writes is named, and nothing is done about it.
#[test]
fn i5_an_entry_of_a_newer_format_is_named_and_nothing_is_changed() {
    let job = Attacked::new(Size::Small);
    let newest = |log: &str| Sound::of(&job.place).entries(log).pop().unwrap();
    for name in [newest("root"), newest("lane/0"), newest("lane/1")] {
        for newer in [
            |document: &mut Value| document["format"] = 3.into(),
            |document: &mut Value| document["body"]["epoch"] = 1.into(),
        ] {
            let mut forge = Forge::new(&job.was);
            newer(forge.document(&name));
            job.apply(&forge.sealed());
            let before = everything::files(&job.place);
            let (ran, planned) = (job.run(), job.planned());
            let name = &name["checkpoint/".len()..];
            assert!(ran.error().contains(name), "{}", ran.error());
            assert!(planned.is_ok() || planned.clone().is_err_and(|error| error.contains(name)), "{planned:?}");
            assert!(everything::files(&job.place) == before, "{name}: something was changed");
        }
    }
}
