//! What `checkpoint verify --repair` gives up counts no more, whatever it was, and what it must not touch stays: entries in
//! whose place others were put, older copies of a log, rows that two groups did. And a root that goes away while it is read.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use object_store::{Error, Result};
use serde_json::Value;
use wasmpipe::commit::{self, Lane, Root, Writer};
use wasmpipe::store::{Act, Unwatched, Watch};

use crate::support::attacked::{Attacked, Changes, on_threads};
use crate::support::everything::{self, Size};
use crate::support::forge::{Forge, resealed, without_row};
use crate::support::pipeline::twice;
use crate::support::place::{Kind, Objects, Place, wait};
use crate::support::seam::{Crash, Stop};
use crate::support::{Ran, Said, assert_mentions, each_twice};

/// Forty rows, done.
fn finished() -> Place {
    let place = Place::new(Kind::Local, &twice());
    place.numbers("a.parquet", 0..40, 10);
    place.run().finished();
    place
}

const REPAIR: [&str; 4] = ["checkpoint", "verify", "--repair", "checkpoint"];

/// A group of these, by its number in the order of the log, loses its file and is given up. Gives the file's name.
fn give_up(place: &Place, nth: usize) -> String {
    let group = place.view().lanes[0].state.groups.values().nth(nth).unwrap().clone();
    let name = format!("out/{}", group.files[0].path);
    place.remove(&name);
    place.workdir().said(&REPAIR, 0);
    name
}

/// A lane with some of everything above its compaction, and below.
fn with_everything() -> Place {
    let place = finished();
    give_up(&place, 1);
    place.run().finished();
    place.workdir().said(&["checkpoint", "compact", "checkpoint"], 0);
    place.numbers("b.parquet", 40..70, 10);
    place.run().finished();
    give_up(&place, 4);
    place.run().finished();
    assert_eq!(place.output(), each_twice(0..70));
    place
}

/// Puts another sound entry in the place of one.
type Fork = (&'static str, fn(&Objects) -> Changes);

const FORKS: &[Fork] = &[
    ("a compaction that covers less", |files| {
        let mut forge = Forge::new(files);
        let name = forge.entries(LANE, "compaction").pop().unwrap();
        let table = forge.table(&name, "coverage", without_row);
        let sealed = forge.sealed().into_iter();
        sealed.filter(|(changed, _)| *changed == name || *changed == table).collect()
    }),
    ("an open of another writer", |files| of_kind(files, "open", 0, |body| body["token"] = OTHER.into())),
    ("an open under a root entry that is to come", |files| of_kind(files, "open", 0, |body| body["root"] = 99.into())),
    ("a group under a root entry that is to come", |files| {
        of_kind(files, "segment", 1, |body| body["root"] = 99.into())
    }),
    ("a group that was there already", |files| {
        let first = &entries(files, "segment")[0];
        let first: Value = serde_json::from_slice(&files[first]).unwrap();
        of_kind(files, "segment", 1, move |body| *body = first["body"].clone())
    }),
    ("a close of another writer", |files| of_kind(files, "close", 1, |body| body["token"] = OTHER.into())),
    ("a withdraw of another group", |files| {
        let other = number(&entries(files, "segment")[0]);
        of_kind(files, "withdraw", 0, move |body| body["numbers"] = vec![other].into())
    }),
];

const LANE: &str = "lane/0";
const OTHER: &str = "0123456789abcdef";

fn number(name: &str) -> u64 {
    name.rsplit('/').next().unwrap().parse().unwrap()
}

/// Entries of a kind above the compaction.
fn entries(files: &Objects, kind: &str) -> Vec<String> {
    let forge = Forge::new(files);
    let compaction = forge.entries(LANE, "compaction").pop().unwrap();
    forge.entries(LANE, kind).into_iter().filter(|name| *name > compaction).collect()
}

fn of_kind(files: &Objects, kind: &str, nth: usize, edit: impl FnOnce(&mut Value)) -> Changes {
    let name = entries(files, kind)[nth].clone();
    let forged = resealed(&files[&name], |document| edit(&mut document["body"]));
    [(name, Some(forged))].into()
}

/// Nothing is wrong with the checkpoint any more, and it gives each row exactly once.
#[track_caller]
fn assert_mended(place: &Place, rows: std::ops::Range<i64>, context: &str) {
    let (code, said) = verify(place, &[]);
    assert_eq!(code, Some(0), "{context}: {said}");
    place.assert_manifest_is_folder(&place.view(), context);
    assert_eq!(place.output(), each_twice(rows), "{context}");
    place.assert_settled(context);
}

fn verify(place: &Place, more: &[&str]) -> (Option<i32>, String) {
    let output = place.workdir().wasmpipe(&[&["checkpoint", "verify", "checkpoint"], more].concat());
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn i2_an_entry_in_whose_place_another_was_put_counts_no_more_once_it_was_given_up() {
    // Most of the time it waits: what was replaced is read again and again.
    on_threads(4, FORKS, || Attacked::of(with_everything(), Size::Small), give_up_a_fork);
}

fn give_up_a_fork(job: &mut Attacked, (what, fork): &Fork) {
    let changes = fork(&job.was);
    job.apply(&changes);
    let name = changes.keys().find(|name| name.starts_with("checkpoint/lane/")).unwrap();
    assert_mentions(job.run().error(), &[&name["checkpoint/".len()..]]);
    let (code, said) = verify(&job.place, &["--repair"]);
    assert_eq!(code, Some(0), "{what}: {said}");
    assert_mentions(&said, &[&name["checkpoint/".len()..]]);
    let (code, said) = verify(&job.place, &[]);
    assert_eq!(code, Some(0), "{what}: {said}");
    job.run().finished();
    assert_mended(&job.place, 0..70, what);
    job.place.workdir().said(&["checkpoint", "compact", "checkpoint"], 0);
    job.run().finished();
    assert_mended(&job.place, 0..70, &format!("{what}, compacted"));
}

/// The withdraw is lost, and with it the word that these rows were done twice.
#[test]
fn k8_rows_that_two_groups_did_are_found_and_given_up() {
    for (is_compacted, is_put_back) in [(false, false), (false, true), (true, false), (true, true)] {
        let place = finished();
        if is_compacted {
            place.workdir().said(&["checkpoint", "compact", "checkpoint"], 0);
        }
        let file = place.view().lanes[0].state.groups.values().nth(1).unwrap().files[0].path.clone();
        let bytes = place.objects("out")[&format!("out/{file}")].clone();
        let file = give_up(&place, 1);
        assert_eq!(place.run().finished().rows_read, 10);
        if is_put_back {
            place.overwrite(&file, bytes);
        }
        let withdraw = Forge::new(&everything::files(&place)).entries(LANE, "withdraw").pop().unwrap();
        place.overwrite(&withdraw, &b"{"[..]);
        let context = format!("compacted: {is_compacted}, put back: {is_put_back}");
        let (code, said) = verify(&place, &["--repair"]);
        assert_eq!(code, Some(0), "{context}: {said}");
        assert_mentions(&said, &[&withdraw["checkpoint/".len()..], "group"]);
        let again = place.run();
        // A group whose ids were removed with it is known to count no more; of two that have theirs, neither is known to be right.
        assert_eq!(again.finished().rows_read, if is_compacted { 10 } else { 0 }, "{context}");
        assert_mended(&place, 0..40, &context);
    }
}

/// The source has these rows no more, so that nobody would do them again.
#[test]
fn k8_of_rows_of_an_object_that_is_gone_the_newer_stay() {
    let place = Place::new(Kind::Local, &twice().by_position());
    place.numbers("a.parquet", 0..40, 10);
    place.run().finished();
    let first = place.view().lanes[0].state.groups.values().nth(1).unwrap().files[0].path.clone();
    let bytes = place.objects("out")[&format!("out/{first}")].clone();
    let file = give_up(&place, 1);
    place.run().finished();
    place.overwrite(&file, bytes);
    place.remove("in/a.parquet");
    place.numbers("b.parquet", 40..50, 10);
    place.run_as(&Arc::new(Unwatched), Said { accept_change: true, ..Said::default() }).finished();
    let withdraw = Forge::new(&everything::files(&place)).entries(LANE, "withdraw").pop().unwrap();
    place.overwrite(&withdraw, &b"{"[..]);
    let (code, said) = verify(&place, &["--repair"]);
    assert_eq!(code, Some(0), "{said}");
    place.run().finished();
    assert_mended(&place, 0..50, &said);
}

/// What a repair appends would take the number of the root entry that is lost.
#[test]
fn p18_a_repair_begins_on_no_log_that_lost_root_entries() {
    let place = finished();
    place.numbers("b.parquet", 40..60, 10);
    place.run().finished();
    for manifest in files_of(&place, ".json").into_keys() {
        place.remove(&manifest);
    }
    let root = "checkpoint/root/0000000001";
    let (entry, file) = (place.objects("checkpoint")[root].clone(), place.view().files().next().unwrap().path.clone());
    place.remove(root);
    place.remove(&format!("out/{file}"));
    let before = everything_of(&place);
    let (code, said) = verify(&place, &["--repair"]);
    assert_eq!(code, Some(2), "{said}");
    assert_mentions(&said, &["was written under root entry 1 of the checkpoint, which is not there"]);
    assert!(everything_of(&place) == before, "{said}");
    place.overwrite(root, entry);
    let said = place.workdir().said(&REPAIR, 0);
    place.run().finished();
    assert_mended(&place, 0..60, &said);
}

// --- older copies ---

fn copy(place: &Place, from: &str, to: &str) {
    for (name, bytes) in place.objects(from) {
        place.overwrite(&format!("{to}{}", &name[from.len()..]), bytes);
    }
}

fn rename(place: &Place, from: &str, to: &str) {
    std::fs::rename(place.workdir().path(from), place.workdir().path(to)).unwrap();
}

/// A finished job that has grown and was finished again, with its checkpoint from before in the place of `younger`.
fn put_back_too_early() -> Place {
    let place = finished();
    copy(&place, "checkpoint", "older");
    place.numbers("b.parquet", 40..60, 10);
    place.run().finished();
    rename(&place, "checkpoint", "younger");
    rename(&place, "older", "checkpoint");
    place
}

/// What lies in the sink is what the younger log says.
#[track_caller]
fn assert_younger_is_whole(place: &Place) {
    std::fs::remove_dir_all(place.workdir().path("checkpoint")).unwrap();
    rename(place, "younger", "checkpoint");
    assert_mended(place, 0..60, "the younger log");
}

fn tear(place: &Place) {
    place.overwrite("checkpoint/lane/0/0000000001", &b"{"[..]);
}

fn everything_of(place: &Place) -> (Objects, Objects) {
    (place.objects("checkpoint"), place.objects("out"))
}

#[test]
fn p18_a_repair_leaves_an_older_copy_as_it_is_and_the_files_of_the_younger_log_alone() {
    let place = put_back_too_early();
    tear(&place);
    let before = everything_of(&place);
    let (code, said) = verify(&place, &["--repair"]);
    assert_eq!(code, Some(2), "{said}");
    assert_mentions(&said, &["has a manifest of this job", "put the checkpoint back as it was"]);
    assert!(everything_of(&place) == before, "{said}");
    assert_younger_is_whole(&place);
}

/// A build from before has opened its lanes so often that it is no shorter than the younger log was.
#[test]
fn p18_a_repair_of_an_older_copy_that_was_used_leaves_files_that_the_manifest_names() {
    let place = put_back_too_early();
    let store = place.store("checkpoint", "checkpoint");
    for _ in 0..10 {
        let writer = Writer::new();
        let open = Lane::open(&store, 0, &writer, async || Root::last_link(&store).await);
        wait(async { open.await?.close(commit::Close::Stopped).await }).unwrap();
    }
    tear(&place);
    let before = place.objects("out");
    let (code, said) = verify(&place, &["--repair"]);
    assert_eq!(code, Some(1), "{said}");
    assert_mentions(&said, &["is named by the job's manifest", "the rest was mended", "put the checkpoint back"]);
    assert!(place.objects("out") == before, "{said}");
    assert_younger_is_whole(&place);
}

#[test]
fn p20_a_run_on_another_machine_whose_open_was_given_up_is_in_nobodys_way() {
    let place = finished();
    let claim = "out/_wasmpipe/claim/0000000000";
    let begun_elsewhere = resealed(&place.objects("out")[claim], |claim| claim["host"] = "elsewhere".into());
    place.overwrite(claim, begun_elsewhere);
    place.numbers("b.parquet", 40..50, 10);
    place.run().finished();
    let open = Forge::new(&place.objects("checkpoint")).entries(LANE, "open").pop().unwrap();
    place.overwrite(&open, &b"{"[..]);
    let said = place.workdir().said(&REPAIR, 0);
    place.run().finished();
    assert_mended(&place, 0..50, &said);
}

/// The entry that could not be read was withdrawn, and what its writer had left was not removed any more.
#[test]
fn k9_a_repair_that_was_killed_is_completed_by_the_next() {
    let place = finished();
    let name = format!("out/{}", place.view().lanes[0].state.groups.values().next().unwrap().files[0].path);
    place.overwrite(&name.replace("-000", "-999"), place.objects("out")[&name].clone());
    let open = Forge::new(&place.objects("checkpoint")).entries(LANE, "open").remove(0);
    place.overwrite(&open, &b"{"[..]);
    let store = place.store("checkpoint", "checkpoint");
    let writer = Writer::new();
    wait(async {
        let mut lane = Lane::open(&store, 0, &writer, async || Root::last_link(&store).await).await?;
        lane.withdraw(vec![number(&open)], true, "it cannot be read").await
    })
    .unwrap();
    assert_mentions(place.run().error(), &["does not know who wrote 1 file(s)"]);
    let (code, said) = verify(&place, &[]);
    assert_eq!(code, Some(1), "{said}");
    assert_mentions(&said, &["a repair was not completed", "--repair"]);
    let said = place.workdir().said(&REPAIR, 0);
    place.run().finished();
    assert_mended(&place, 0..40, &said);
    // That repair is over: files of others that the log does not know may be those of a younger one.
    let (start, end) = (name.rfind('-').unwrap() - 16, name.rfind('-').unwrap());
    let younger = format!("{}{}{}", &name[..start], "0".repeat(16), &name[end..]);
    place.overwrite(&younger, &b"rows"[..]);
    let (code, said) = verify(&place, &["--repair"]);
    assert_eq!(code, Some(1), "{said}");
    assert_mentions(&said, &["does not know who wrote 1 file(s)", "nothing was changed"]);
    assert!(place.objects("out").contains_key(&younger));
}

/// The open that cannot be read is of a writer with a file that does not count, and a group lost its file.
#[test]
fn k9_every_durable_step_of_a_repair_is_a_safe_place_to_stop() {
    let damaged = || {
        let job = Attacked::of(finished(), Size::Small);
        let groups = &job.place.view().lanes[0].state.groups;
        let file = |nth| format!("out/{}", groups.values().nth(nth).unwrap().files[0].path);
        let open = Forge::new(&job.was).entries(LANE, "open").remove(0);
        let uncounted = (file(0).replace("-000", "-999"), Some(job.was[&file(0)].clone()));
        let changes = Changes::from([uncounted, (file(2), None), (open, Some(b"{"[..].into()))]);
        job.apply(&changes);
        (job, changes)
    };
    let repair = |place: &Place, watch: &Arc<Crash>| {
        let (store, sink) =
            (place.store_with("checkpoint", "checkpoint", watch), place.store_with("sink", "out", watch));
        wait(async {
            let root = Root::read(&store).await?.expect("a job");
            commit::repair(&store, &root, &sink).await
        })
    };
    let counted = Arc::new(Crash::never());
    repair(&damaged().0.place, &counted).unwrap();
    assert!(counted.steps() > 5, "{:?}", counted.seen());
    on_threads(4, &Stop::all(0..counted.steps()), damaged, |(job, changes), stop| {
        job.apply(changes);
        let killed = repair(&job.place, &Arc::new(Crash::at(*stop)));
        let context = format!("{stop:?}, {:?}", killed.err().map(|error| error.to_string()));
        let (code, said) = verify(&job.place, &["--repair"]);
        assert_eq!(code, Some(0), "{context}: {said}");
        job.run().finished();
        assert_mended(&job.place, 0..40, &context);
    });
}

fn refused_compaction(place: &Place, words: &[&str]) {
    let before = everything_of(place);
    let said = place.workdir().said(&["checkpoint", "compact", "--take-over", "checkpoint"], 2);
    assert_mentions(&said, words);
    assert!(everything_of(place) == before, "{said}");
}

#[test]
fn p18_an_older_copy_is_not_compacted() {
    let place = put_back_too_early();
    let unknown = ["does not know who wrote", "put the checkpoint back as it was"];
    refused_compaction(&place, &unknown);
    let (manifests, of_writer) = (files_of(&place, ".json"), files_of(&place, ".parquet"));
    let known = place.view();
    let is_known = |name: &String| known.files().any(|file| name.ends_with(&file.path));
    let (unknown, _) = of_writer.into_iter().partition::<Objects, _>(|(name, _)| !is_known(name));
    unknown.keys().for_each(|name| place.remove(name));
    refused_compaction(&place, &["has a manifest of this job"]);
    manifests.keys().for_each(|name| place.remove(name));
    place.workdir().said(&["checkpoint", "compact", "checkpoint"], 0);
    manifests.into_iter().chain(unknown).for_each(|(name, bytes)| place.overwrite(&name, bytes));
    assert_younger_is_whole(&place);
    place.remove("checkpoint/root/0000000001");
    refused_compaction(&place, &["was written under root entry 1"]);
}

fn files_of(place: &Place, end: &str) -> Objects {
    place.objects("out").into_iter().filter(|(name, _)| name.ends_with(end)).collect()
}

/// Without the sink nothing can be said about it, and the log is compacted all the same.
#[test]
fn a_log_is_compacted_where_its_sink_is_not_reached() {
    let place = finished();
    rename(&place, "out", "elsewhere");
    std::fs::write(place.workdir().path("out"), "no folder").unwrap();
    place.workdir().said(&["checkpoint", "compact", "checkpoint"], 0);
    std::fs::remove_file(place.workdir().path("out")).unwrap();
    rename(&place, "elsewhere", "out");
    place.run().finished();
    assert_mended(&place, 0..40, "compacted");
}

// --- a root that goes away ---

/// Something happens to the root's entries when they were listed and are about to be read, so many times.
#[derive(Debug)]
struct Vanishing {
    root: std::path::PathBuf,
    is_deleted: bool,
    times: AtomicU64,
}

impl Watch for Vanishing {
    fn before(&self, act: Act, store: &str, object: &str) -> Result<()> {
        let is_it = act == Act::Get && store == "checkpoint" && object == "root/0000000000";
        let is_now = |times: u64| if is_it { times.checked_sub(1) } else { None };
        if self.times.fetch_update(Ordering::SeqCst, Ordering::SeqCst, is_now).is_err() {
            return Ok(());
        }
        if self.is_deleted {
            std::fs::remove_dir_all(&self.root).unwrap();
        }
        Err(Error::NotFound { path: object.into(), source: "it is gone".into() })
    }

    fn after(&self, _: Act, _: &str, _: &str) -> Result<()> {
        Ok(())
    }
}

fn read_while_it_goes(place: &Place, is_deleted: bool, times: u64) -> Ran {
    let root: &Path = &place.workdir().path("checkpoint");
    place.run_with(&Arc::new(Vanishing { root: root.into(), is_deleted, times: AtomicU64::new(times) }))
}

#[test]
fn a_root_entry_that_is_gone_since_it_was_listed_is_read_again() {
    let place = finished();
    assert_eq!(read_while_it_goes(&place, false, 1).finished().run, None);
    let gone = read_while_it_goes(&place, false, u64::MAX);
    assert_mentions(gone.error(), &["root/0000000000", "run the same command again"]);
    assert!(!gone.error().contains("begin a new job"), "{}", gone.error());
    // By the manifest, the job is finished.
    assert_eq!(read_while_it_goes(&place, true, 1).finished().run, None);
    assert_eq!(place.run_with(&Arc::new(Unwatched)).finished().run, None);
}
