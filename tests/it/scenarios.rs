//! P and K, one scenario at a time: two or three writers, each stopped where it hurts, locally and in a bucket. The oracle is
//! the output of an undisturbed job. What happens at each single durable step is in `protocol`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use object_store::{Error, Result};
use wasmpipe::commit::{self, Close, CommitError, Lane, LaneEntry, LaneLog, Root, Verified, Writer, lane_of};
use wasmpipe::observe::Outcome;
use wasmpipe::sink::FileName;
use wasmpipe::store::{Act, Unwatched, Watch};
use wasmpipe_s3::{Fault, Op, What};

use crate::support::pipeline::{Pipeline, pipeline as unstaged, twice};
use crate::support::place::{Kind, Objects, Place, here, wait};
use crate::support::seam::{Crash, Gate, Pause, Reads, Steps, Stop, Unreliable};
use crate::support::{
    Multiset, Said, Workdir, at_once, each_twice, number_batch, once, read_files, run_as, write_parquet,
};

const KINDS: [Kind; 2] = [Kind::Local, Kind::S3];

/// Every number twice, in blocks of five. `more` stands under [checkpoint].
fn pipeline(more: &str) -> Pipeline {
    twice().checkpoint(more).run("block_rows_max = 5").anywhere()
}

/// Forty rows, in one lane.
fn job(kind: Kind, more: &str) -> Place {
    let place = Place::new(kind, &pipeline(more));
    place.numbers("a.parquet", 0..25, 10);
    place.numbers("b.parquet", 25..40, 10);
    place
}

/// Ten rows in two groups in each of so many lanes.
fn job_of_lanes(kind: Kind, lanes: u32) -> Place {
    let place = Place::new(kind, &pipeline(&format!("lanes = {lanes}\ngroup_rows_max = 5")));
    for lane in 0..lanes {
        let names = (0..).map(|number| format!("{number}.parquet"));
        let name = names.into_iter().find(|name| lane_of(name, 0, lanes) == lane).unwrap();
        place.numbers(&name, i64::from(lane) * 10..i64::from(lane + 1) * 10, 10);
    }
    place
}

#[track_caller]
fn assert_exactly_once(place: &Place, rows: std::ops::Range<i64>, context: &str) {
    assert_eq!(place.output(), each_twice(rows), "{context}");
    place.assert_manifest_is_folder(&place.view(), context);
    place.assert_settled(context);
}

fn taking_over() -> Said {
    Said { take_over: true, ..Said::default() }
}

fn lanes(set: &str) -> Said {
    Said { lanes: set.parse().unwrap(), ..Said::default() }
}

fn die_after_commits(place: &Place, commits: u64) {
    place.run_as(&Arc::new(Crash::at(Stop::Committed(commits))), taking_over());
}

/// Takes every lane, appends entries that say nothing, and compacts, as a command would.
fn compact<W: Watch + 'static>(place: &Place, entries: usize, watch: &Arc<W>) -> Result<(), CommitError> {
    let store = place.store_with("checkpoint", "checkpoint", watch);
    wait(async {
        let root = Root::read(&store).await?.expect("a job");
        for number in 0..root.genesis.lanes {
            let how = commit::last_open(&store, &root, number).await?.closed.unwrap_or(Close::Stopped);
            let mut lane = Lane::open(&store, number, &Writer::new(), async || Root::last_link(&store).await).await?;
            for _ in 0..entries {
                lane.withdraw(Vec::new(), false, "nothing").await?;
            }
            lane.compact(&root, LaneLog::default()).await?;
            lane.close(how).await?;
        }
        Ok(())
    })
}

/// As `checkpoint verify --repair`.
fn repair(place: &Place) -> Verified {
    let (store, sink) = (place.store("checkpoint", "checkpoint"), place.store("sink", "out"));
    wait(async {
        let root = Root::read(&store).await.unwrap().expect("a job");
        commit::repair(&store, &root, &sink).await.unwrap()
    })
}

/// Sink files that are complete, of writers of these lanes.
fn files_of_lanes(place: &Place, lanes: std::ops::Range<u32>) -> BTreeSet<String> {
    let names = place.objects("out/").into_keys().map(|name| name["out/".len()..].to_owned());
    names.filter(|name| FileName::parse(name).is_some_and(|file| lanes.contains(&file.lane))).collect()
}

#[test]
fn p2_a_task_that_restarts_leaves_alone_what_others_have_not_committed_yet() {
    for kind in KINDS {
        let place = job_of_lanes(kind, 4);
        place.run_as(&Arc::new(Crash::at(Stop::Committed(1))), lanes("0"));
        let gates: Vec<_> =
            (1..4).map(|lane| Pause::before(&format!("checkpoint Put lane/{lane}/0000000001"))).collect();
        std::thread::scope(|threads| {
            let task = |(number, gate): (usize, &Arc<Pause>)| {
                let (place, gate, said) = (&place, Arc::clone(gate), lanes(&format!("{}/4", number + 1)));
                threads.spawn(move || place.run_as(&gate, said))
            };
            let tasks: Vec<_> = gates.iter().enumerate().map(task).collect();
            gates.iter().for_each(|gate| gate.wait_until_paused());
            let uploaded = files_of_lanes(&place, 1..4);
            assert!(uploaded.len() >= 3, "{kind:?}: {uploaded:?}");
            place.run_as(&Arc::new(Unwatched), lanes("0/4")).finished();
            let left = files_of_lanes(&place, 1..4);
            assert!(left.is_superset(&uploaded), "{kind:?}: files of living tasks are gone: {uploaded:?}, {left:?}");
            gates.iter().for_each(|gate| gate.go_on());
            for task in tasks {
                task.join().unwrap().finished();
            }
        });
        assert_exactly_once(&place, 0..40, &format!("{kind:?}"));
    }
}

#[test]
fn p4_an_opener_that_was_held_up_while_others_wrote_and_compacted_opens_again() {
    for kind in KINDS {
        let place = job(kind, "compact_entries = 5");
        let (working, opening) = (Gate::before("lane/0/0000000002"), Pause::before("checkpoint Put lane/0/0000000002"));
        std::thread::scope(|threads| {
            let a = threads.spawn(|| place.run_with(&Arc::new(Crash::of(&Steps::until(None)).behind(&working))));
            working.wait(|| a.is_finished());
            let r = threads.spawn(|| place.run_as(&opening, taking_over()));
            opening.wait_until_paused();
            working.go_on();
            a.join().unwrap().finished();
            compact(&place, 300, &Arc::new(Unwatched)).unwrap();
            assert!(!place.objects("checkpoint/lane/").contains_key("checkpoint/lane/0/0000000002"), "{kind:?}");
            opening.go_on();
            r.join().unwrap().finished();
        });
        assert!(place.view().lanes[0].entries.len() < 10, "{kind:?}");
        assert_exactly_once(&place, 0..40, &format!("{kind:?}"));
    }
}

/// Loses the answer to one request, and holds up the question that comes next.
#[derive(Debug)]
struct LostThenPaused {
    put: &'static str,
    is_lost: AtomicBool,
    pause: Arc<Pause>,
}

impl Watch for LostThenPaused {
    fn before(&self, act: Act, store: &str, object: &str) -> Result<()> {
        self.pause.before(act, store, object)
    }

    fn after(&self, act: Act, _: &str, object: &str) -> Result<()> {
        let is_it = act == Act::Put && object == self.put && !self.is_lost.swap(true, Ordering::SeqCst);
        let lost = || Error::Generic { store: "test", source: "connection reset".into() };
        if is_it { Err(lost()) } else { Ok(()) }
    }
}

/// Z's second segment is there, but Z does not know it. R takes over and compacts, so that the number is free again, and Z's
/// segment goes there once more.
#[test]
fn p4_a_segment_whose_answer_was_lost_counts_once_though_it_is_sent_again_after_a_compaction() {
    for kind in KINDS {
        let place = job(kind, "");
        let pause = Pause::before("checkpoint Get lane/0/0000000002");
        let is_lost = AtomicBool::new(false);
        let watch = Arc::new(LostThenPaused { put: "lane/0/0000000002", is_lost, pause: Arc::clone(&pause) });
        std::thread::scope(|threads| {
            let z = threads.spawn(|| place.run_with(&watch));
            pause.wait_until_paused();
            place.take_over().finished();
            compact(&place, 0, &Arc::new(Unwatched)).unwrap();
            assert!(!place.objects("checkpoint/lane/").contains_key("checkpoint/lane/0/0000000002"), "{kind:?}");
            pause.go_on();
            assert_eq!(z.join().unwrap().summary().outcome, Outcome::Fenced, "{kind:?}");
        });
        assert_eq!(place.output(), each_twice(0..40), "{kind:?}");
        place.numbers("c.parquet", 40..41, 8);
        place.run().finished();
        assert_exactly_once(&place, 0..41, &format!("{kind:?}"));
    }
}

#[test]
fn p5_the_number_of_tasks_changes_while_old_tasks_run() {
    for kind in KINDS {
        let place = job_of_lanes(kind, 6);
        let gates = [0, 1].map(|task| Gate::before(&format!("checkpoint Put lane/{}/0000000001", task + 2)));
        std::thread::scope(|threads| {
            let task = |number: usize| {
                let process = Arc::new(Crash::never().behind(&gates[number]));
                let (place, said) = (&place, lanes(&format!("{number}/2")));
                threads.spawn(move || place.run_as(&process, said))
            };
            let old = [task(0), task(1)];
            gates.iter().zip(&old).for_each(|(gate, task)| gate.wait(|| task.is_finished()));
            for number in 0..2 {
                let said = Said { take_over: true, ..lanes(&format!("{number}/3")) };
                place.run_as(&Arc::new(Unwatched), said).finished();
            }
            gates.iter().for_each(|gate| gate.go_on());
            let outcomes = old.map(|task| task.join().unwrap().summary().outcome);
            assert!(outcomes.contains(&Outcome::Fenced), "{kind:?}: {outcomes:?}");
        });
        place.run_as(&Arc::new(Unwatched), lanes("2/3")).finished();
        place.run().finished();
        assert_exactly_once(&place, 0..60, &format!("{kind:?}"));
    }
}

#[test]
fn p8_killed_at_every_step_of_a_compaction() {
    for kind in KINDS {
        let begin = || {
            let place = job(kind, "");
            die_after_commits(&place, 3);
            place
        };
        let undisturbed = Arc::new(Crash::never());
        compact(&begin(), 0, &undisturbed).unwrap();
        let deletes = undisturbed.seen().iter().filter(|seen| seen.contains("Delete")).count();
        assert!(deletes >= 5, "{:?}", undisturbed.seen());
        let stops = Stop::all(0..undisturbed.steps());
        at_once(&stops, |&stop| {
            let place = begin();
            let died = compact(&place, 0, &Arc::new(Crash::at(stop)));
            // A second compaction on top of what the first left half done.
            if matches!(stop, Stop::After(_)) {
                compact(&place, 0, &Arc::new(Unwatched)).unwrap_or_else(|error| panic!("{kind:?} {stop:?}: {error}"));
            }
            place.run().finished();
            assert_exactly_once(&place, 0..40, &format!("{kind:?} {stop:?}, {died:?}"));
        });
        println!("compaction, {kind:?}: {} points", stops.len());
    }
}

#[test]
fn p8_killed_at_every_step_of_deleting_the_checkpoint() {
    for kind in KINDS {
        let begin = || job(kind, "delete_on_success = true");
        let undisturbed = Arc::new(Crash::never());
        let place = begin();
        place.run_with(&undisturbed).finished();
        assert_deleted(&place, "undisturbed");
        let seen = undisturbed.seen();
        let marked = seen.iter().position(|seen| seen.contains("Put root/0000000001")).unwrap() as u64;
        assert!(undisturbed.steps() > marked + 10, "{seen:?}");
        at_once(&Stop::all(marked..undisturbed.steps()), |&stop| {
            let place = begin();
            place.run_with(&Arc::new(Crash::at(stop)));
            // Either completes the deletion, or finds what the job has left in the sink; or both.
            place.run_as(&Arc::new(Unwatched), taking_over());
            let again = place.run();
            assert_eq!(again.finished().run, None, "{kind:?} {stop:?}: what is finished is not done again");
            assert_deleted(&place, &format!("{kind:?} {stop:?}"));
        });
    }
}

/// The output is there once, the manifest tells of it, the checkpoint is gone.
#[track_caller]
fn assert_deleted(place: &Place, context: &str) {
    assert_eq!(place.output(), each_twice(0..40), "{context}");
    let left: Vec<_> = place.objects("checkpoint/").into_keys().collect();
    assert!(left.iter().all(|name| name.starts_with("checkpoint/heartbeat/")), "{context}: {left:?}");
    assert!(place.objects("out/_wasmpipe/").keys().any(|name| name.ends_with(".json")), "{context}");
}

const CHILDREN: &str = r#"
[source]
path = "in"
id = "id"
[[stage]]
component = "{guests}/chunks.wasm"
function = "chunks"
config = { unit = "words", size_max = 1, overlap = 0 }
[[stage]]
component = "{guests}/json_fields.wasm"
function = "json_fields"
config = { column = "chunk", mismatch = "error", fields = { number = { path = "$", type = "integer" } } }
on_error = "skip"
[sink]
path = "out"
columns = ["id", "number"]
[checkpoint]
path = "checkpoint"
"#;

/// Rows 1 and 3 have a child that fails; then the function is mended, and they are tried again.
fn retried() -> Workdir {
    let workdir = Workdir::new();
    let texts: StringArray = ["1 2", "3 true", "4", "true 5"].map(Some).into_iter().collect();
    let columns: [(&str, ArrayRef); 2] =
        [("id", Arc::new(Int64Array::from_iter_values(0..4))), ("text", Arc::new(texts))];
    workdir.file("a.parquet", &RecordBatch::try_from_iter(columns).unwrap(), 4);
    workdir.pipeline(CHILDREN);
    assert_eq!(workdir.run().finished().rows_failed, 2);
    assert_eq!(workdir.output("out"), once(["0|1", "0|2", "2|4"].map(str::to_string)), "3 and 5 are withheld");
    assert_eq!(workdir.run().finished().run, None, "what failed is left alone");
    workdir.pipeline(&CHILDREN.replace("mismatch = \"error\"", "mismatch = \"null\""));
    let said = Said { retry_failed: true, accept_change: true, ..Said::default() };
    let again = workdir.run_as(said);
    assert_eq!((again.finished().rows_read, again.finished().rows_failed_in_all), (2, 0));
    workdir
}

fn all_children() -> Multiset {
    once(["0|1", "0|2", "1|3", "1|null", "2|4", "3|null", "3|5"].map(str::to_string))
}

#[test]
fn p9_c6_a_retry_replaces_and_either_group_can_be_withdrawn_afterwards() {
    assert_eq!(retried().output("out"), all_children());
    for compacted in [false, true] {
        for (nth, redone) in [(0, 2), (1, 2)] {
            let workdir = retried();
            let place = Place::Local(workdir);
            if compacted {
                compact(&place, 0, &Arc::new(Unwatched)).unwrap();
            }
            let view = place.view();
            let file = view.lanes[0].state.groups.values().nth(nth).unwrap().files[0].path.clone();
            place.remove(&format!("out/{file}"));
            let verify = place.workdir().wasmpipe(&["checkpoint", "verify", "checkpoint", "--repair"]);
            assert!(verify.status.success(), "{}", String::from_utf8_lossy(&verify.stderr));
            let context = format!("group {nth}, compacted: {compacted}");
            let ran = place.run();
            assert_eq!(ran.finished().rows_read, redone, "{context}");
            assert_eq!(place.output(), all_children(), "{context}");
            place.assert_manifest_is_folder(&place.view(), &context);
            place.assert_settled(&context);
        }
    }
}

#[test]
fn p11_a_conflict_with_nothing_stored_and_an_entry_of_ones_own() {
    for fault in [What::Refuse(409), What::Lie(500), What::Lie(409), What::LoseAnswer] {
        let place = job(Kind::S3, "compact_entries = 3");
        let Place::S3(job) = &place else { unreachable!() };
        job.server.fault(Fault::of(Op::Put, fault).below("bucket/checkpoint/lane/").every(2));
        job.server.fault(Fault::of(Op::Put, fault).below("bucket/checkpoint/root/").every(2));
        place.run().finished();
        job.server.heal();
        assert_exactly_once(&place, 0..40, &format!("{fault:?}"));
    }
}

/// What the client gave up on is done by the store much later.
#[test]
fn p11_a_put_that_lands_after_the_takeover_finds_its_number_taken() {
    let place = job(Kind::S3, "");
    let Place::S3(job) = &place else { unreachable!() };
    let text = std::fs::read_to_string(job.workdir.path("pipeline.toml")).unwrap();
    let text = text.replace("retries = 5, timeout_seconds = 20", "retries = 0, timeout_seconds = 1");
    std::fs::write(job.workdir.path("pipeline.toml"), text).unwrap();
    let late = Fault::of(Op::Put, What::Delay(Duration::from_millis(2500)));
    job.server.fault(late.below("bucket/checkpoint/lane/0/0000000002").times(1));
    // The first answer comes too late, and then the process is dead.
    let put = Pause::before("checkpoint Get lane/0/0000000002");
    std::thread::scope(|threads| {
        let z = threads.spawn(|| place.run_with(&put));
        put.wait_until_paused();
        place.take_over().finished();
        job.server.settle();
        put.go_on();
        assert_eq!(z.join().unwrap().summary().outcome, Outcome::Fenced);
    });
    assert_eq!(place.output(), each_twice(0..40));
    place.numbers("c.parquet", 40..41, 8);
    place.run().finished();
    assert_exactly_once(&place, 0..41, "after a late put");
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn p14_a_copied_data_set_is_not_taken_for_changed() {
    for id in [true, false] {
        let place = job(Kind::Local, "");
        let workdir = place.workdir();
        let text = std::fs::read_to_string(workdir.path("pipeline.toml")).unwrap();
        workdir.pipeline(&if id { text } else { text.replace("id = \"id\"\n", "") });
        die_after_commits(&place, 2);
        copy_folder(&workdir.path("in"), &workdir.path("copy"));
        std::fs::remove_dir_all(workdir.path("in")).unwrap();
        std::fs::rename(workdir.path("copy"), workdir.path("in")).unwrap();
        let ran = place.run();
        assert_eq!((ran.finished().rows_skipped, ran.finished().rows_read), (20, 20), "by id: {id}");
        assert_exactly_once(&place, 0..40, "a copied source");
    }
}

#[test]
fn p14_another_sink_and_a_copied_checkpoint_are_refused() {
    let place = job(Kind::Local, "");
    let workdir = place.workdir();
    die_after_commits(&place, 2);
    let text = std::fs::read_to_string(workdir.path("pipeline.toml")).unwrap();
    copy_folder(&workdir.path("checkpoint"), &workdir.path("copied"));
    let before = (workdir.snapshot("checkpoint"), workdir.snapshot("copied"), workdir.snapshot("out"));
    for (was, is) in [("\"out/\"", "\"elsewhere/\""), ("\"checkpoint\"", "\"copied\"")] {
        workdir.pipeline(&text.replace(was, is));
        for _ in 0..2 {
            let ran = place.run();
            assert!(
                ran.refused().contains("other places") && ran.refused().contains("--relocate"),
                "{}",
                ran.refused()
            );
        }
    }
    assert_eq!((workdir.snapshot("checkpoint"), workdir.snapshot("copied"), workdir.snapshot("out")), before);
    assert!(!workdir.path("elsewhere").exists());
    // A sink that does not hold the files is no new place.
    workdir.pipeline(&text.replace("\"out/\"", "\"elsewhere/\""));
    let ran = place.run_as(&Arc::new(Unwatched), Said { relocate: true, ..Said::default() });
    assert!(ran.error().contains("is missing"), "{}", ran.error());
    workdir.pipeline(&text);
    place.run().finished();
    assert_exactly_once(&place, 0..40, "at the old place");
}

/// A copy of the checkpoint goes on with the sink of the first: neither deletes what the other counts.
#[test]
fn p14_a_checkpoint_that_was_copied_and_relocated_deletes_nothing_of_the_other() {
    let place = job(Kind::Local, "");
    let workdir = place.workdir();
    die_after_commits(&place, 2);
    copy_folder(&workdir.path("checkpoint"), &workdir.path("copied"));
    let text = std::fs::read_to_string(workdir.path("pipeline.toml")).unwrap();
    // The first may be about to commit this.
    let file = place.view().files().next().unwrap().path.clone();
    let not_yet = workdir.path("out").join(file.replace("-00000", "-99999"));
    std::fs::copy(workdir.path("out").join(&file), &not_yet).unwrap();
    workdir.pipeline(&text.replace("\"checkpoint\"", "\"copied\""));
    let moved = || place.run_as(&Arc::new(Unwatched), Said { relocate: true, ..Said::default() });
    assert_eq!(moved().finished().rows_skipped, 20);
    assert!(not_yet.exists());
    // The first goes on, and finds what the copy did beside its own.
    workdir.pipeline(&text);
    let before = place.objects("out");
    let refused = place.take_over();
    assert!(refused.error().contains("gone on elsewhere"), "{refused:?}");
    assert_eq!(place.objects("out"), before);
    // It is kept out even where a person says that the job lives here; all that it may write is that claim.
    let refused = moved();
    assert!(refused.error().contains("does not know who wrote"), "{refused:?}");
    let but_claims = |objects: Objects| -> Objects {
        objects.into_iter().filter(|(name, _)| !name.starts_with("out/_wasmpipe/claim/")).collect()
    };
    assert_eq!(but_claims(place.objects("out")), but_claims(before));
}

#[test]
fn p17_a_fenced_writer_that_still_shows_signs_of_life_holds_nobody_up() {
    for kind in KINDS {
        let place = job(kind, "");
        let pause = Pause::before("checkpoint Put lane/0/0000000002");
        std::thread::scope(|threads| {
            let z = threads.spawn(|| place.run_with(&pause));
            pause.wait_until_paused();
            place.run_as(&Arc::new(Crash::at(Stop::Committed(3))), taking_over());
            place.run().finished();
            pause.go_on();
            assert_eq!(z.join().unwrap().summary().outcome, Outcome::Fenced, "{kind:?}");
        });
        assert_exactly_once(&place, 0..40, &format!("{kind:?}"));
    }
}

/// Z saw an object that is gone again, and is about to pin it, when R takes over and removes what Z left.
#[test]
fn p6_a_listing_that_a_zombie_pins_late_can_be_read() {
    for kind in KINDS {
        let place = job(kind, "");
        die_after_commits(&place, 1);
        place.numbers("c.parquet", 100..101, 8);
        let pause = Pause::before("checkpoint Put root/0000000001");
        std::thread::scope(|threads| {
            let z = threads.spawn(|| place.run_as(&pause, taking_over()));
            pause.wait_until_paused();
            place.remove("in/c.parquet");
            place.take_over().finished();
            pause.go_on();
            assert_eq!(z.join().unwrap().summary().outcome, Outcome::Fenced, "{kind:?}");
        });
        place.run().finished();
        assert_exactly_once(&place, 0..40, &format!("{kind:?}"));
    }
}

#[test]
fn r9_a_second_run_while_one_is_alive_is_refused_and_the_first_is_undisturbed() {
    for kind in KINDS {
        let place = job(kind, "");
        let pause = Pause::before("checkpoint Put lane/0/0000000002");
        std::thread::scope(|threads| {
            let first = threads.spawn(|| place.run_with(&pause));
            pause.wait_until_paused();
            let without_beats = |place: &Place| {
                let mut objects = place.objects("");
                objects.retain(|name, _| !name.starts_with("checkpoint/heartbeat/"));
                objects
            };
            // Files of groups that wait for the one that is held up are put meanwhile.
            let mut before = without_beats(&place);
            loop {
                std::thread::sleep(Duration::from_millis(300));
                let now = without_beats(&place);
                if std::mem::replace(&mut before, now.clone()) == now {
                    break;
                }
            }
            let second = place.run();
            assert!(second.error().contains("is working on lane 0"), "{kind:?}: {}", second.error());
            assert!(second.error().contains("--take-over"), "{kind:?}: {}", second.error());
            assert!(without_beats(&place) == before, "{kind:?}: the second run wrote");
            pause.go_on();
            first.join().unwrap().finished();
        });
        assert_exactly_once(&place, 0..40, &format!("{kind:?}"));
    }
}

#[test]
fn f9_nothing_of_finished_objects_is_asked_of_the_bucket() {
    let place = job(Kind::S3, "");
    place.run().finished();
    for name in 0..20 {
        place.numbers(&format!("more-{name}.parquet"), 40 + name * 5..45 + name * 5, 5);
    }
    place.run().finished();
    place.numbers("z.parquet", 140..150, 5);
    let Place::S3(job) = &place else { unreachable!() };
    job.server.forget();
    place.run().finished();
    let of_source = job.server.requests().into_iter().filter(|request| request.name.starts_with("bucket/in/"));
    let named: BTreeSet<String> =
        of_source.filter(|request| request.op != Op::List).map(|request| request.name).collect();
    assert_eq!(named, BTreeSet::from(["bucket/in/z.parquet".to_string()]));
    assert_exactly_once(&place, 0..150, "one new object");
}

/// One way to damage an entry: what it is called, and its bytes; none: it is gone.
const DAMAGES: [(&str, Option<&[u8]>); 4] = [
    ("no bytes", Some(b"")),
    ("torn", Some(b"{\"entry\": \"segment\", \"format\": 1, \"tok")),
    ("foreign", Some(b"\x89PNG\r\n")),
    ("gone", None),
];

#[test]
fn k6_an_entry_that_cannot_be_read_is_named_and_withdrawn_by_repair() {
    for kind in KINDS {
        at_once(&DAMAGES, |&(what, bytes)| {
            let place = job(kind, "");
            die_after_commits(&place, 3);
            let name = "checkpoint/lane/0/0000000002";
            match bytes {
                Some(bytes) => place.overwrite(name, bytes.to_vec()),
                None => place.remove(name),
            }
            let before = (place.objects("checkpoint/lane/"), place.objects("out/"));
            for _ in 0..2 {
                let ran = place.run_as(&Arc::new(Unwatched), taking_over());
                assert!(ran.error().contains("lane/0/0000000002"), "{kind:?} {what}: {}", ran.error());
            }
            let after = (place.objects("checkpoint/lane/"), place.objects("out/"));
            assert!(after.1 == before.1, "{kind:?} {what}: a sink file was touched");
            let found = repair(&place);
            let names: Vec<_> = found.findings.iter().map(|finding| (finding.number, finding.name.as_str())).collect();
            assert_eq!(names, [(2, "lane/0/0000000002")], "{kind:?} {what}");
            let kept = place.objects("checkpoint/runs/").into_iter().find(|(name, _)| name.contains("withdrawn-0-2"));
            assert_eq!(kept.map(|(_, kept)| kept.to_vec()), bytes.map(<[u8]>::to_vec), "{kind:?} {what}");
            let ran = place.run();
            assert_eq!((ran.finished().rows_skipped, ran.finished().rows_read), (20, 20), "{kind:?} {what}");
            assert_exactly_once(&place, 0..40, &format!("{kind:?} {what}"));
        });
    }
}

#[test]
fn i5_an_entry_of_a_newer_build_is_said_to_be_that_and_is_never_given_up() {
    for kind in KINDS {
        let place = job(kind, "");
        die_after_commits(&place, 3);
        place.overwrite("checkpoint/lane/0/0000000002", b"{\"format\": 99, \"what\": \"ever\"}".to_vec());
        let before = place.objects("");
        let refused = place.run_as(&Arc::new(Unwatched), taking_over());
        assert_eq!(refused.summary().outcome, Outcome::Failed, "{kind:?}");
        let said =
            "lane/0/0000000002 was written by a newer wasmpipe: it has format 99, this build knows formats 1 and 2";
        assert!(refused.error().contains(said), "{kind:?}: {}", refused.error());
        assert!(place.objects("") == before, "{kind:?}: something was touched");
        let (store, sink) = (place.store("checkpoint", "checkpoint"), place.store("sink", "out"));
        let repaired = wait(async {
            let root = Root::read(&store).await.unwrap().expect("a job");
            commit::repair(&store, &root, &sink).await
        });
        let repaired = repaired.unwrap_err().to_string();
        assert!(repaired.contains(said), "{kind:?}: {repaired}");
        let entry = |objects: &Objects| objects.get("checkpoint/lane/0/0000000002").cloned();
        assert_eq!(entry(&place.objects("")), entry(&before), "{kind:?}");
    }
}

/// Opens, closes and compactions too: whatever it was, nothing is lost by giving it up.
#[test]
fn k6_every_entry_of_a_lane_can_be_given_up() {
    for compacted in [false, true] {
        let begin = || {
            let place = job(Kind::Local, "");
            die_after_commits(&place, 2);
            if compacted {
                compact(&place, 0, &Arc::new(Unwatched)).unwrap();
            }
            place.take_over().finished();
            place
        };
        let names: Vec<String> = begin().objects("checkpoint/lane/").into_keys().collect();
        at_once(&names, |name| {
            let place = begin();
            let number: u64 = name.rsplit('/').next().unwrap().parse().unwrap();
            let is_below = place.view().lanes[0].state.compacted.is_some_and(|compaction| number < compaction);
            place.overwrite(name, &b"{"[..]);
            if !is_below {
                assert!(place.run().error().contains(&name["checkpoint/".len()..]), "{name}");
            }
            repair(&place);
            place.run().finished();
            assert_exactly_once(&place, 0..40, &format!("{name}, compacted: {compacted}"));
        });
    }
}

#[test]
fn k8_what_a_group_lost_is_found_by_verify_and_redone_after_repair() {
    for kind in KINDS {
        at_once(&["sink file gone", "sink file cut", "ids gone", "ids altered"], |&what| {
            let place = job(kind, "");
            place.run().finished();
            let view = place.view();
            let (&number, group) = view.lanes[0].state.groups.iter().nth(1).unwrap();
            let file = format!("out/{}", group.files[0].path);
            let of_group = |ids: &&commit::IdFile| ids.group == Some(number);
            let ids = format!("checkpoint/{}", view.lanes[0].state.ids.iter().find(of_group).unwrap().file.path);
            let altered = |name: &str, cut: usize| {
                let mut bytes = place.objects("")[name].to_vec();
                bytes[10] ^= 1;
                bytes.truncate(bytes.len() - cut);
                bytes
            };
            match what {
                "sink file gone" => place.remove(&file),
                "sink file cut" => place.overwrite(&file, altered(&file, 1)),
                "ids gone" => place.remove(&ids),
                _ => place.overwrite(&ids, altered(&ids, 0)),
            }
            let found = repair(&place);
            let numbers: BTreeSet<u64> = found.findings.iter().map(|finding| finding.number).collect();
            assert_eq!(numbers, BTreeSet::from([number]), "{kind:?} {what}: {found:?}");
            let ran = place.run();
            assert_eq!((ran.finished().rows_skipped, ran.finished().rows_read), (30, 10), "{kind:?} {what}");
            assert_exactly_once(&place, 0..40, &format!("{kind:?} {what}"));
        });
    }
}

/// Two jobs with one sink; both die with orphans in it, and finish in turn.
#[test]
fn k9_k11_two_jobs_share_a_sink_and_touch_only_their_own_files() {
    let workdir = Workdir::new();
    workdir.numbers("a.parquet", 0..40, 8);
    std::fs::create_dir(workdir.path("in2")).unwrap();
    write_parquet(&workdir.path("in2/a.parquet"), &number_batch(100..140), 8);
    let text = here(&pipeline(""));
    let second = text.replace("\"in/\"", "\"in2/\"").replace("\"checkpoint\"", "\"checkpoint2\"");
    let shared = |text: &str| text.replace("[sink]", "[sink]\nshared = true");
    let first = workdir.pipeline_at("first.toml", &shared(&text));
    let refused = workdir.pipeline_at("refused.toml", &second);
    let second = workdir.pipeline_at("second.toml", &shared(&second));
    let dies = || Arc::new(Crash::at(Stop::Before(16)));
    let run = |pipeline, said| run_as(pipeline, &Arc::new(Unwatched), said);
    assert!(run_as(&first, &dies(), taking_over()).error.is_some());
    let is_of_rows = |path: &&std::path::PathBuf| path.extension().is_some_and(|end| end == "parquet");
    let files_of_rows = || workdir.files("out").iter().filter(is_of_rows).count();
    let orphans = files_of_rows();
    assert!(orphans > 0);
    assert!(run(&refused, taking_over()).refused().contains("shared = true"));
    assert!(run_as(&second, &dies(), taking_over()).error.is_some());
    assert!(files_of_rows() > orphans);
    run(&second, taking_over()).finished();
    run(&first, taking_over()).finished();
    assert_eq!(workdir.output("out"), each_twice((0..40).chain(100..140)));
    let before = workdir.snapshot("out");
    let files = |pipeline: &str| {
        let list = workdir.wasmpipe(&["output", "list", pipeline, "--json"]);
        let list: serde_json::Value = serde_json::from_slice(&list.stdout).unwrap();
        list["files"].as_array().unwrap().len()
    };
    assert_eq!(
        files("first.toml") + files("second.toml") + 6,
        before.len(),
        "and claims, manifests, and copies of these"
    );
    for pipeline in [&first, &second] {
        assert_eq!(run(pipeline, Said::default()).finished().run, None);
    }
    assert_eq!(workdir.snapshot("out"), before);
}

#[test]
fn k12_other_workers_blocks_and_lanes_do_not_matter_to_a_resume() {
    for kind in KINDS {
        let place = job_of_lanes(kind, 4);
        place.run_as(&Arc::new(Crash::at(Stop::Committed(1))), lanes("0-1"));
        let (path, committed) = (place.workdir().path("pipeline.toml"), place.view().groups());
        assert!(committed >= 1, "{kind:?}");
        let text = std::fs::read_to_string(&path).unwrap();
        let other = text
            .replace("workers = 1\nreaders = 1\nblock_rows_max = 5", "workers = 3\nreaders = 2\nblock_rows_max = 3");
        std::fs::write(&path, other.replace("group_rows_max = 5", "group_rows_max = 7")).unwrap();
        let mut read = 0;
        for set in ["1,3", "0,2"] {
            read += place.run_as(&Arc::new(Unwatched), Said { take_over: true, ..lanes(set) }).finished().rows_read;
        }
        assert_eq!(read, 40 - 5 * committed, "{kind:?}: nothing that was done is redone");
        assert_eq!(place.run().finished().run, None, "{kind:?}");
        assert_exactly_once(&place, 0..40, &format!("{kind:?}"));
    }
}

#[test]
fn k12_a_job_that_was_moved_goes_on_with_relocate() {
    for id in [true, false] {
        let place = job(Kind::Local, "compact_entries = 3");
        let workdir = place.workdir();
        let text = std::fs::read_to_string(workdir.path("pipeline.toml")).unwrap();
        let text = if id { text } else { text.replace("id = \"id\"\n", "") };
        workdir.pipeline(&text);
        die_after_commits(&place, 2);
        for name in ["in", "out", "checkpoint"] {
            copy_folder(&workdir.path(name), &workdir.path("moved").join(name));
            std::fs::remove_dir_all(workdir.path(name)).unwrap();
        }
        let moved = text.replace("= \"in/", "= \"moved/in/").replace("= \"out/", "= \"moved/out/");
        let moved = workdir.pipeline(&moved.replace("= \"checkpoint\"", "= \"moved/checkpoint\""));
        let run = |said| run_as(&moved, &Arc::new(Unwatched), said);
        assert!(run(taking_over()).refused().contains("--relocate"));
        let ran = run(Said { relocate: true, take_over: true, ..Said::default() });
        assert_eq!((ran.finished().rows_skipped, ran.finished().rows_read), (20, 20), "by id: {id}");
        // What a run left before the move is not deleted: where it was moved from, that run may live on. So the manifest tells.
        let output = || {
            let list = workdir.wasmpipe(&["output", "list", "moved/checkpoint", "--json"]);
            let list: serde_json::Value = serde_json::from_slice(&list.stdout).unwrap();
            let names = list["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap());
            read_files(&workdir.path("moved/out"), names)
        };
        assert_eq!(output(), each_twice(0..40), "by id: {id}");
        for said in [Said::default(), Said { relocate: true, ..Said::default() }] {
            run(said).finished();
            assert_eq!(output(), each_twice(0..40), "by id: {id}");
        }
        assert!(!workdir.path("out").exists() && !workdir.path("checkpoint").exists());
    }
}

/// From its n-th write on, a store has no room, or takes nothing.
#[derive(Debug)]
struct Full {
    store: &'static str,
    kind: std::io::ErrorKind,
    writes: std::sync::atomic::AtomicUsize,
}

impl Watch for Full {
    fn before(&self, act: Act, store: &str, _: &str) -> Result<()> {
        if store != self.store || !act.is_durable() || act == Act::Delete {
            return Ok(());
        }
        let left = self.writes.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        left.map(drop)
            .map_err(|_| Error::Generic { store: "LocalFileSystem", source: std::io::Error::from(self.kind).into() })
    }

    fn after(&self, _: Act, _: &str, _: &str) -> Result<()> {
        Ok(())
    }
}

#[test]
fn k14_a_full_disk_and_a_read_only_folder_end_the_run_resumably() {
    use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem, StorageFull};
    for kind in [StorageFull, PermissionDenied, ReadOnlyFilesystem] {
        for store in ["sink", "checkpoint"] {
            for writes in [0, 1, 3] {
                let place = job(Kind::Local, "");
                let full = Full { store, kind, writes: writes.into() };
                let ran = place.run_with(&Arc::new(full));
                let words = std::io::Error::from(kind).to_string();
                let context = format!("{store}, {kind:?} after {writes}");
                assert!(ran.error().contains(&words), "{context}: {}", ran.error());
                assert!(ran.error().contains("hint: "), "{context}: {}", ran.error());
                place.run().finished();
                assert_exactly_once(&place, 0..40, &context);
            }
        }
    }
}

#[test]
fn k3_k4_k13_a_store_that_is_slow_and_fails_at_random_loses_nothing() {
    let mut failures = 0;
    for seed in 0..12 {
        let kind = KINDS[seed as usize % 2];
        let place = job(kind, "compact_entries = 4");
        let runs = (0..40).find(|run| {
            let unreliable = Arc::new(Unreliable::new(seed * 1000 + run, 80));
            let ran = place.run_as(&unreliable, taking_over());
            failures += unreliable.failed.load(Ordering::SeqCst);
            ran.error.is_none()
        });
        assert!(runs.is_some(), "{kind:?}, seed {seed}: never finished");
        place.run().finished();
        assert_exactly_once(&place, 0..40, &format!("{kind:?}, seed {seed}"));
    }
    println!("{failures} requests failed at random");
    assert!(failures >= 20, "{failures}");
}

/// A run reads at most so many entries of the lane, and so many other objects of the checkpoint. It finds so many rows to do.
#[track_caller]
fn assert_reads(place: &Place, entries_max: usize, others_max: usize, rows: u64) {
    let reads = Arc::new(Reads::default());
    let ran = place.run_with(&reads);
    assert_eq!(ran.finished().rows_read, rows);
    let entries = reads.of_checkpoint("lane/");
    // How often a heart beats meanwhile depends on the machine.
    let signs_of_life = reads.of_checkpoint("heartbeat/") + reads.of_checkpoint("stop/");
    let others = reads.of_checkpoint("") - entries - signs_of_life;
    println!("{entries} reads of entries and {others} others, to do {rows} rows");
    assert!(entries <= entries_max && others <= others_max, "{entries} reads of entries, {others} others");
}

/// The small variant: what a start costs grows with the entries that there are, and compaction bounds them. What a run does
/// itself, it reads again: three groups here.
#[test]
fn x2_a_start_reads_each_of_many_small_segments_once_and_a_compacted_log_in_a_few_reads() {
    let rows = 1500;
    for (most, entries) in [(0, 1500..1510), (100, 1..110)] {
        let place = Place::new(Kind::Local, &pipeline(&format!("compact_entries = {most}\ngroup_rows_max = 1")));
        place.numbers("a.parquet", 0..rows, 500);
        place.run().finished();
        let view = place.view();
        let logged = view.lanes[0].entries.len();
        assert!(entries.contains(&logged), "{logged}");
        assert_eq!(view.groups(), rows as u64);
        assert_reads(&place, logged, 20, 0);
        place.numbers("b.parquet", rows..rows + 3, 3);
        assert_reads(&place, logged + 16, 40, 3);
        assert_exactly_once(&place, 0..rows + 3, &format!("compaction after {most}"));
        compact(&place, 0, &Arc::new(Unwatched)).unwrap();
        let compacted = place.view();
        assert!(compacted.lanes[0].entries.iter().any(|logged| matches!(logged.entry, LaneEntry::Compaction(_))));
        assert!(compacted.lanes[0].entries.len() <= 3);
        assert_reads(&place, 8, 20, 0);
        place.numbers("c.parquet", rows + 3..rows + 6, 3);
        assert_reads(&place, 26, 40, 3);
        assert_exactly_once(&place, 0..rows + 6, "compacted");
    }
}

/// What a log forgot must not be done again beside what the sink still holds of it.
#[test]
fn a_log_that_lost_entries_is_refused_until_its_files_are_moved_away() {
    for kind in KINDS {
        let place = job_of_lanes(kind, 2);
        place.run().finished();
        for name in place.objects("checkpoint/lane/1/").keys() {
            place.remove(name);
        }
        let before = (place.objects("checkpoint"), place.objects("out"));
        let refused = place.take_over();
        assert!(refused.error().contains("lane 1 of the checkpoint does not know who wrote 2 file(s)"), "{refused:?}");
        assert_eq!((place.objects("checkpoint"), place.objects("out")), before, "{kind:?}");
        let names: Vec<String> = place.objects("out/").into_keys().filter(|name| name.contains("-1-")).collect();
        assert_eq!(names.len(), 2);
        names.iter().for_each(|name| place.remove(name));
        assert!(place.take_over().error().contains("has a manifest of this job"), "{kind:?}");
        for name in place.objects("out/_wasmpipe/").keys().filter(|name| name.ends_with(".json")) {
            place.remove(name);
        }
        place.run().finished();
        assert_exactly_once(&place, 0..20, &format!("{kind:?}, without the files of the lane"));
    }
}

#[test]
fn a_root_that_lost_its_last_entries_is_refused() {
    for kind in KINDS {
        let place = job(kind, "");
        place.run().finished();
        place.numbers("c.parquet", 40..50, 10);
        place.run().finished();
        place.remove("checkpoint/root/0000000001");
        place.numbers("d.parquet", 50..60, 10);
        let before = place.objects("");
        let refused = place.take_over();
        assert!(refused.error().contains("lane 0 was written under root entry 1"), "{refused:?}");
        assert_eq!(place.objects(""), before, "{kind:?}");
    }
}

/// A backup of the checkpoint that was taken while the job was young, put back when it was older.
#[test]
fn an_older_copy_of_a_log_is_refused() {
    for kind in KINDS {
        let place = job(kind, "");
        die_after_commits(&place, 1);
        let young = place.objects("checkpoint/lane/");
        place.take_over().finished();
        for name in place.objects("checkpoint/lane/").keys().filter(|name| !young.contains_key(*name)) {
            place.remove(name);
        }
        let refused = place.take_over();
        assert!(refused.error().contains("lane 0 of the checkpoint does not know who wrote"), "{refused:?}");
        assert!(refused.error().contains("it is an older copy"), "{refused:?}");
        assert_eq!(place.output(), each_twice(0..40), "{kind:?}");
    }
}

#[test]
fn who_closes_the_last_lane_writes_the_manifest_even_if_it_lost_another() {
    for kind in KINDS {
        let place = job_of_lanes(kind, 2);
        let pause = Pause::before("checkpoint Put lane/1/0000000001");
        std::thread::scope(|threads| {
            let a = threads.spawn(|| place.run_with(&pause));
            pause.wait_until_paused();
            place.run_as(&Arc::new(Unwatched), Said { take_over: true, ..lanes("0") }).finished();
            pause.go_on();
            assert_eq!(a.join().unwrap().summary().outcome, Outcome::Fenced, "{kind:?}");
        });
        place.assert_manifest_is_folder(&place.view(), &format!("{kind:?}"));
        assert_exactly_once(&place, 0..20, &format!("{kind:?}"));
    }
}

/// Holds the first upload in parts of lane 0 until somebody has taken the lane, and then cannot find it any more.
#[derive(Debug)]
struct UploadLost {
    wants: AtomicBool,
    is_taken: AtomicBool,
}

impl Watch for UploadLost {
    fn before(&self, act: Act, _: &str, object: &str) -> Result<()> {
        if act != Act::UploadStart || !object.contains("-0-") {
            return Ok(());
        }
        self.wants.store(true, Ordering::SeqCst);
        while !self.is_taken.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(Error::NotFound { path: object.into(), source: "the upload was given up".into() })
    }
    fn after(&self, _: Act, _: &str, _: &str) -> Result<()> {
        Ok(())
    }
}

/// A file of lane 0 breaks in the hands of a worker; lane 1 has nothing to do with that.
#[test]
fn a_file_that_breaks_in_a_lost_lane_costs_the_other_lanes_nothing() {
    let place = Place::new(Kind::Local, &wide());
    // A worker begins to send a file when a row group of it is full, which takes 64 MiB.
    let texts = |lane: u32, rows: usize| {
        let name = (0..).map(|number| format!("{number}.parquet")).find(|name| lane_of(name, 0, 2) == lane).unwrap();
        let texts = StringArray::from_iter_values((0..rows).map(|n| format!("{lane}-{n:02}-").repeat(1 << 18)));
        write_parquet(
            &place.workdir().path("in").join(name),
            &RecordBatch::try_from_iter([("text", Arc::new(texts) as ArrayRef)]).unwrap(),
            rows,
        );
    };
    texts(0, 50);
    texts(1, 12);
    let lost = Arc::new(UploadLost { wants: AtomicBool::new(false), is_taken: AtomicBool::new(false) });
    std::thread::scope(|threads| {
        let a = threads.spawn(|| place.run_with(&lost));
        while !lost.wants.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
        place.run_as(&Arc::new(Unwatched), Said { take_over: true, ..lanes("0") }).finished();
        lost.is_taken.store(true, Ordering::SeqCst);
        let a = a.join().unwrap();
        assert_eq!(a.summary().outcome, Outcome::Fenced, "{a:?}");
        assert_eq!(a.summary().rows_committed, 12, "those of lane 1");
    });
    place.assert_manifest_is_folder(&place.view(), "one file broke");
    place.assert_settled("one file broke");
    assert_eq!(place.output().values().sum::<u64>(), 62);
}

fn wide() -> Pipeline {
    let wide = unstaged(&[]).by_position().sink("compression = \"none\"");
    let wide = wide.checkpoint("lanes = 2\nheartbeat_seconds = 0.05\ngroup_bytes_max = \"256 MiB\"");
    wide.run("workers = 1\nreaders = 1\nblock_rows_max = 1").anywhere()
}

/// A wants to move the job, waits to see whether somebody is alive, and meanwhile B moves it elsewhere.
#[test]
fn a_move_that_another_run_has_overtaken_is_refused() {
    let place = job(Kind::Local, "");
    let workdir = place.workdir();
    die_after_commits(&place, 1);
    let text = std::fs::read_to_string(workdir.path("pipeline.toml")).unwrap();
    let moved_to = |name: &str| {
        copy_folder(&workdir.path("out"), &workdir.path(name));
        workdir.pipeline(&text.replace("\"out/\"", &format!("\"{name}/\"")));
    };
    moved_to("first");
    let relocating = || Said { relocate: true, take_over: true, ..Said::default() };
    let pause = Pause::before("checkpoint Put heartbeat/");
    std::thread::scope(|threads| {
        let a = threads.spawn(|| place.run_as(&pause, relocating()));
        pause.wait_until_paused();
        moved_to("second");
        place.run_as(&Arc::new(Unwatched), relocating()).finished();
        pause.go_on();
        let a = a.join().unwrap();
        assert!(a.error().contains("the job was moved by another run just now"), "{a:?}");
    });
    assert_eq!(place.run().finished().run, None, "it is finished where the second run moved it");
    // What the dead run left before the move is not deleted where it was moved to.
    let view = place.view();
    let files = read_files(&workdir.path("second"), view.results().map(|file| file.path.as_str()));
    assert_eq!(files, each_twice(0..40));
}
