//! I3 and P: whose a sink is. Jobs that begin at once in one sink, step by step and as real processes that are killed; copies
//! of a checkpoint; manifests that land late; a repair beside a deletion; and a stop before any row is read.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use expect_test::expect;
use wasmpipe::commit::{self, CommitError, Manifest, Root, Verified};
use wasmpipe::observe::Outcome;
use wasmpipe::store::{Unwatched, Watch};
use wasmpipe_s3::{Fault, Op, What};

use crate::support::forge::resealed;
use crate::support::pipeline::{pipeline, twice};
use crate::support::place::{Kind, Objects, Place, wait};
use crate::support::process::{Ended, Process, until};
use crate::support::random::Random;
use crate::support::seam::{Crash, Gate, Pause, Steps, Stop};
use crate::support::{
    Ran, Said, Workdir, assert_mentions, at_once, each_twice, is_soak, number_batch, run_as, write_parquet,
};

fn workdir() -> Workdir {
    let workdir = Workdir::with(&twice(), &[("a.parquet", 0..25, 10), ("b.parquet", 25..40, 10)]);
    workdir.pipeline_at("second.toml", &twice().checkpoint("path = \"second\""));
    workdir
}

fn run_of<W: Watch + 'static>(workdir: &Workdir, pipeline: &str, watch: &Arc<W>, said: Said) -> Ran {
    run_as(&workdir.path(pipeline), watch, said)
}

fn run(workdir: &Workdir, pipeline: &str) -> Ran {
    run_of(workdir, pipeline, &Arc::new(Unwatched), Said { take_over: true, ..Said::default() })
}

fn relocating() -> Said {
    Said { relocate: true, take_over: true, ..Said::default() }
}

/// Jobs of which there are output files.
fn jobs(names: impl IntoIterator<Item = String>) -> usize {
    let of_job = |name: String| Path::new(&name).file_name()?.to_str()?.split_once('-').map(|(job, _)| job.to_owned());
    let files = names.into_iter().filter(|name| name.ends_with(".parquet"));
    files.filter_map(of_job).collect::<std::collections::BTreeSet<_>>().len()
}

// --- jobs that begin at once ---

#[test]
fn i3_who_is_refused_names_the_other_and_leaves_nothing() {
    let workdir = workdir();
    // One stands still before its first file, the other before its claim.
    let claiming = Pause::before("sink Put _wasmpipe/claim/");
    let after_claim = Pause::after_passing("sink Put ", 2);
    std::thread::scope(|threads| {
        let late = threads.spawn(|| run_of(&workdir, "second.toml", &claiming, Said::default()));
        claiming.wait_until_paused();
        assert!(workdir.path("second/root/0000000000").exists());
        let first = threads.spawn(|| run_of(&workdir, "pipeline.toml", &after_claim, Said::default()));
        after_claim.wait_until_paused();
        claiming.go_on();
        let refused = late.join().unwrap();
        assert_mentions(refused.error(), &["belongs to another job", "/checkpoint on this machine", "hint: "]);
        assert!(!workdir.path("second").exists(), "the genesis that nothing followed is gone");
        let job = workdir.inspect()["job"].as_str().unwrap().to_owned();
        let said = workdir.said(&["run", "second.toml"], 2).replace(&job, "JOB");
        expect![[r#"
            second.toml:8:8: the sink file:///out belongs to another job (JOB): its checkpoint is file:///checkpoint on this machine
                 8 | path = "out"
                   |        ^^^^^
              hint: choose another folder; or go on with that job from its own checkpoint (`shared = true` under [sink] would keep both outputs side by side). It has no output here yet: if nobody will go on with it, remove _wasmpipe/claim/0000000000

            1 problem in second.toml
        "#]]
        .assert_eq(&said);
        assert!(!workdir.path("second").exists(), "who is refused while it is planned writes nothing");
        after_claim.go_on();
        first.join().unwrap().finished();
    });
    assert_eq!(workdir.output("out"), each_twice(0..40));
    workdir.assert_manifest_is_folder();
    let refused = run(&workdir, "second.toml");
    assert_mentions(refused.refused(), &["holds output of another job", "/checkpoint on this machine"]);
}

#[test]
fn i3_every_durable_step_of_two_starters_is_a_safe_place_to_die() {
    // One stands still before its claim, while the other begins and does all it can; then it goes on.
    let play = |workdir: &Workdir, steps: &Arc<Steps>| {
        let gate = Gate::before("sink Put _wasmpipe/claim/");
        let stopped = Arc::new(Crash::of(steps).behind(&gate));
        std::thread::scope(|threads| {
            let first = threads.spawn(|| run_of(workdir, "pipeline.toml", &stopped, Said::default()));
            gate.wait(|| first.is_finished());
            run_of(workdir, "second.toml", &Arc::new(Crash::of(steps)), Said::default());
            gate.go_on();
            first.join().unwrap();
        });
    };
    let undisturbed = Steps::until(None);
    play(&workdir(), &undisturbed);
    let is_beginning = |seen: &String| !seen.contains("lane/0/0000000002");
    let steps = undisturbed.seen().iter().take_while(|seen| is_beginning(seen)).count() as u64;
    let all = undisturbed.count();
    assert!(steps > 8 && all > steps + 5, "{:?}", undisturbed.seen());
    // How it begins, and how the one that was late goes away.
    let stops: Vec<Stop> = Stop::all(0..steps).into_iter().chain(Stop::all(all - 6..all)).collect();
    at_once(&stops, |&stop| {
        let workdir = workdir();
        let steps = Steps::until(Some(stop));
        play(&workdir, &steps);
        let ran = ["pipeline.toml", "second.toml"].map(|pipeline| run(&workdir, pipeline));
        let context = format!("{stop:?}: {ran:?}");
        assert_eq!(ran.iter().filter(|ran| ran.error.is_none()).count(), 1, "{context}");
        assert_eq!(workdir.output("out"), each_twice(0..40), "{context}");
        assert_eq!(jobs(workdir.objects("out").into_keys()), 1, "{context}");
    });
    println!("{} points of two starters", stops.len());
}

fn objects_of_forty() -> Objects {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    write_parquet(&path, &number_batch(0..40), 10);
    [("in/a.parquet".to_owned(), std::fs::read(path).unwrap().into())].into()
}

/// A place with so many pipeline files, each of a job of its own, that differ by their checkpoint.
fn place_of(kind: Kind, jobs: usize) -> (Place, Vec<PathBuf>) {
    let place = Place::with(kind, &objects_of_forty(), &twice().anywhere());
    let text = std::fs::read_to_string(place.workdir().path("pipeline.toml")).unwrap();
    let write = |job: usize| {
        let text = text.replace("checkpoint\"", &format!("checkpoint{job}\""));
        place.workdir().pipeline_at(&format!("{job}.toml"), &text)
    };
    let files = (0..jobs).map(write).collect();
    (place, files)
}

fn start(place: &Place, pipeline: &Path) -> Process {
    Process::start(place.command(&["run", pipeline.to_str().unwrap(), "--quiet"]))
}

/// So many jobs begin at once, and some are killed; then each is started again, one after the other.
fn begin_at_once(kind: Kind, jobs: usize, random: &mut Random) -> (usize, usize) {
    let (place, files) = place_of(kind, jobs);
    let running: Vec<Process> = files.iter().map(|file| start(&place, file)).collect();
    let mut ended: Vec<Ended> = Vec::new();
    for process in running {
        if random.below(2) == 0 {
            std::thread::sleep(Duration::from_micros(random.below(40_000)));
            ended.push(process.kill());
        } else {
            ended.push(process.wait());
        }
    }
    if let Place::S3(job) = &place {
        job.server.settle();
    }
    let context = |after: &[Ended]| format!("{kind:?}, {jobs} jobs: first {ended:?}, then {after:?}");
    let first = ended.iter().filter(|ended| ended.code == Some(0)).count();
    assert!(first <= 1 && ended.iter().all(|ended| matches!(ended.code, None | Some(0 | 2))), "{}", context(&[]));
    let after: Vec<Ended> = files.iter().map(|file| start(&place, file).wait()).collect();
    let went_on = after.iter().filter(|ended| ended.code == Some(0)).count();
    let refused = after.iter().filter(|ended| ended.code == Some(2)).count();
    assert!(went_on == 1 && went_on + refused == jobs, "{}", context(&after));
    assert_eq!(place.output(), each_twice(0..40), "{}", context(&after));
    assert_eq!(self::jobs(place.names("out")), 1, "{}", context(&after));
    (ended.iter().filter(|ended| ended.code.is_none()).count(), first)
}

#[test]
fn i3_jobs_that_begin_at_once_in_one_sink_one_goes_on_and_no_dead_one_locks_it() {
    let is_soak = is_soak();
    let mut random = Random::of("jobs that begin at once");
    for (kind, small) in [(Kind::Local, 4), (Kind::S3, 3)] {
        let rounds = if is_soak { 100 } else { small };
        let (mut killed, mut undisturbed) = (0, 0);
        for _ in 0..rounds {
            let (dead, first) = begin_at_once(kind, 2 + random.below(7) as usize, &mut random);
            killed += dead;
            undisturbed += first;
        }
        println!("{kind:?}: {rounds} rounds, {killed} killed; in {undisturbed} one came to its end at once");
    }
}

// --- claims that are void ---

/// Dies after the durable step whose words contain this.
fn die_after(workdir: &Workdir, pipeline: &str, step: &str, said: Said) {
    let pause = Gate::before(step);
    let steps = Steps::until(None);
    let watch = Arc::new(Crash::of(&steps).behind(&pause));
    std::thread::scope(|threads| {
        let running = threads.spawn(|| run_of(workdir, pipeline, &watch, said));
        pause.wait(|| running.is_finished());
        let before = steps.count();
        pause.go_on();
        until("it goes on", || steps.count() > before || running.is_finished());
        watch.kill();
        running.join().unwrap();
    });
}

#[test]
fn p20_a_checkpoint_that_was_removed_is_replaced_before_its_job_had_output_and_not_after() {
    let workdir = workdir();
    die_after(&workdir, "pipeline.toml", "checkpoint Put lane/0/0000000000", Said::default());
    assert_eq!(jobs(workdir.objects("out").into_keys()), 0);
    assert!(run(&workdir, "second.toml").refused().contains("belongs to another job"));
    std::fs::remove_dir_all(workdir.path("checkpoint")).unwrap();
    assert!(run(&workdir, "second.toml").refused().contains("belongs to another job"), "it may be elsewhere");
    run(&workdir, "pipeline.toml").finished();
    assert_eq!(workdir.output("out"), each_twice(0..40));
    workdir.assert_manifest_is_folder();
    // Now there is output.
    std::fs::remove_dir_all(workdir.path("checkpoint")).unwrap();
    workdir.numbers("c.parquet", 40..41, 10);
    assert!(run(&workdir, "pipeline.toml").refused().contains("holds output of another job"));
}

#[test]
fn p20_a_job_without_a_checkpoint_that_failed_or_was_killed_keeps_nobody_out() {
    for kind in [Kind::Local, Kind::S3] {
        let without = twice().anywhere().without_checkpoint();
        let place = Place::with(kind, &objects_of_forty(), &without);
        let path = place.workdir().path("pipeline.toml");
        let right = std::fs::read_to_string(&path).unwrap();
        let failing = right.replace("function = \"twice\"", "function = \"errors_on\"\nconfig = { at = [0] }");
        std::fs::write(&path, failing.replace(", \"twice\"]", "]")).unwrap();
        for _ in 0..2 {
            let said = place.start(&[]).wait().expect(1);
            assert!(said.contains("row 0"), "{said}");
        }
        // It is killed before it has written; that shows where there are locks.
        std::fs::write(
            &path,
            right.replace("function = \"twice\"", "function = \"spin\"").replace(", \"twice\"]", "]"),
        )
        .unwrap();
        let claims = || place.names("out/_wasmpipe/claim").len();
        let before = claims();
        let spinning = place.start(&[]);
        until("it claims the sink", || claims() > before);
        let refused = place.start(&[]).wait().expect(2);
        assert_mentions(&refused, &["belongs to another job", "it has no checkpoint, and began on this machine"]);
        spinning.kill();
        std::fs::write(&path, &right).unwrap();
        if kind == Kind::Local {
            place.start(&[]).wait().expect(0);
            assert_eq!(place.output(), each_twice(0..40), "{kind:?}");
            place.start(&[]).wait().expect(2);
        } else {
            let refused = place.start(&[]).wait().expect(2);
            assert!(refused.contains("if nobody will go on with it, remove _wasmpipe/claim/"), "{refused}");
        }
    }
}

// --- copies ---

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else if let Err(error) = std::fs::copy(entry.path(), target) {
            // Signs of life come and go.
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
        }
    }
}

#[test]
fn p21_a_copy_that_is_moved_here_keeps_the_original_out_until_that_is_moved_back() {
    let workdir = workdir();
    let pause = Pause::before("checkpoint Put lane/0/0000000003");
    std::thread::scope(|threads| {
        // The original is at work when its checkpoint is copied and moved, and the copy claims the sink.
        let original = threads.spawn(|| run_of(&workdir, "pipeline.toml", &pause, Said::default()));
        pause.wait_until_paused();
        copy_folder(&workdir.path("checkpoint"), &workdir.path("second"));
        die_after(&workdir, "second.toml", "sink Put _wasmpipe/claim/", relocating());
        pause.go_on();
        let original = original.join().unwrap();
        assert_mentions(
            original.error(),
            &["the job was moved while this run was at work", "/second on this machine", "--relocate"],
        );
    });
    let manifests = |workdir: &Workdir| {
        let names = workdir.objects("out/_wasmpipe").into_keys();
        names.filter(|name| name.ends_with(".json")).collect::<Vec<_>>()
    };
    assert_eq!(manifests(&workdir), [""; 0], "nobody says that the job is finished");
    let refused = run(&workdir, "pipeline.toml");
    assert_mentions(refused.error(), &["gone on elsewhere", "/second on this machine", "--relocate"]);
    assert_eq!(manifests(&workdir), [""; 0]);
    // A person says that it lives where it was.
    run_of(&workdir, "pipeline.toml", &Arc::new(Unwatched), relocating()).finished();
    assert_eq!(workdir.output("out"), each_twice(0..40));
    workdir.assert_manifest_is_folder();
    let copy = run_of(&workdir, "second.toml", &Arc::new(Unwatched), Said::default());
    assert!(copy.error.is_some(), "{copy:?}");
    assert_eq!(run(&workdir, "pipeline.toml").finished().run, None);
}

/// It would do again what the copy does, and be told so at its end only.
#[test]
fn p21_a_run_whose_job_is_moved_away_stops() {
    let workdir = workdir();
    let slow = pipeline(&["hostile.sleepy\nconfig = { iterations = 50_000_000 }", "hostile.twice"]);
    let slow = slow.sink("columns = [\"id\", \"twice\"]").run("workers = 1\nblock_rows_max = 1");
    let at = |path| slow.clone().checkpoint(&format!("path = \"{path}\"\ngroup_rows_max = 1\nheartbeat_seconds = 0.1"));
    workdir.pipeline_at("slow.toml", &at("checkpoint"));
    workdir.pipeline_at("second.toml", &at("second"));
    let original = std::thread::scope(|threads| {
        let original = threads.spawn(|| run_of(&workdir, "slow.toml", &Arc::new(Unwatched), Said::default()));
        until("it commits", || workdir.path("checkpoint/lane/0/0000000001").exists());
        copy_folder(&workdir.path("checkpoint"), &workdir.path("second"));
        die_after(&workdir, "second.toml", "sink Put _wasmpipe/claim/", relocating());
        original.join().unwrap()
    });
    let summary = original.summary();
    assert!(summary.outcome == Outcome::Interrupted && summary.rows_read < 40, "{summary:?} {:?}", original.error);
}

#[test]
fn p21_of_two_copies_that_are_moved_at_once_one_goes_on() {
    let workdir = workdir();
    run_of(&workdir, "pipeline.toml", &Arc::new(Crash::at(Stop::Committed(1))), Said::default());
    workdir.pipeline_at("third.toml", &twice().checkpoint("path = \"third\""));
    ["second", "third"].iter().for_each(|copy| copy_folder(&workdir.path("checkpoint"), &workdir.path(copy)));
    let pause = Pause::before("sink Put _wasmpipe/claim/");
    std::thread::scope(|threads| {
        let late = threads.spawn(|| run_of(&workdir, "second.toml", &pause, relocating()));
        pause.wait_until_paused();
        run_of(&workdir, "third.toml", &Arc::new(Unwatched), relocating()).finished();
        pause.go_on();
        let late = late.join().unwrap();
        assert_mentions(late.error(), &["gone on elsewhere", "/third on this machine"]);
    });
    assert_eq!(run(&workdir, "third.toml").finished().run, None);
}

/// Says in the only claim that the checkpoint lies there.
fn claim_names(workdir: &Workdir, checkpoint: &str) {
    let path = workdir.path("out/_wasmpipe/claim/0000000000");
    let url = format!("file://{}", workdir.path(checkpoint).display());
    let forged = resealed(&std::fs::read(&path).unwrap(), |claim| claim["checkpoint"] = url.into());
    std::fs::write(path, forged).unwrap();
}

#[test]
fn p20_a_copy_under_the_same_path_on_another_host_keeps_the_original_from_its_end() {
    let workdir = workdir();
    // The claim, the probe of that, and two files pass.
    let pause = Pause::after_passing("sink Put", 4);
    std::thread::scope(|threads| {
        let original = threads.spawn(|| run_of(&workdir, "pipeline.toml", &pause, Said::default()));
        pause.wait_until_paused();
        copy_folder(&workdir.path("checkpoint"), &workdir.path("second"));
        // On its own host the copy has the path that the claim names.
        claim_names(&workdir, "second");
        die_after(&workdir, "second.toml", "sink Put ", relocating());
        claim_names(&workdir, "checkpoint");
        pause.go_on();
        let original = original.join().unwrap();
        assert_eq!(original.summary().outcome, Outcome::Failed);
        assert_mentions(original.error(), &["lane 0", "does not know who wrote", "put the checkpoint back"]);
    });
    assert_mentions(run(&workdir, "pipeline.toml").error(), &["does not know who wrote"]);
    let manifests = workdir.objects("out/_wasmpipe").into_keys().filter(|name| name.ends_with(".json")).count();
    assert_eq!(manifests, 0, "nobody says that the job is finished");
}

#[test]
fn p20_a_job_that_goes_on_on_another_machine_says_so_once() {
    let workdir = workdir();
    run_of(&workdir, "pipeline.toml", &Arc::new(Crash::at(Stop::Committed(1))), Said::default());
    // It was begun elsewhere.
    let claim = workdir.path("out/_wasmpipe/claim/0000000000");
    let elsewhere = resealed(&std::fs::read(&claim).unwrap(), |claim| claim["host"] = "elsewhere".into());
    std::fs::write(&claim, elsewhere).unwrap();
    run(&workdir, "pipeline.toml").finished();
    let machine = std::fs::read(workdir.path("out/_wasmpipe/claim/0000000001")).unwrap();
    let machine: serde_json::Value = serde_json::from_slice(&machine).unwrap();
    assert_eq!(machine["entry"], "machine");
    assert_eq!(run(&workdir, "pipeline.toml").finished().run, None);
    assert!(!workdir.path("out/_wasmpipe/claim/0000000002").exists(), "it says so once");
}

// --- manifests ---

#[test]
fn p18_an_older_copy_of_a_log_that_was_finished_is_refused_by_its_manifest() {
    let workdir = workdir();
    let pause = Pause::before("checkpoint Put lane/0/0000000003");
    std::thread::scope(|threads| {
        let running = threads.spawn(|| run_of(&workdir, "pipeline.toml", &pause, Said::default()));
        pause.wait_until_paused();
        copy_folder(&workdir.path("checkpoint"), &workdir.path("older"));
        pause.go_on();
        running.join().unwrap().finished();
    });
    let before = workdir.objects("out");
    std::fs::rename(workdir.path("checkpoint"), workdir.path("younger")).unwrap();
    std::fs::rename(workdir.path("older"), workdir.path("checkpoint")).unwrap();
    let refused = run(&workdir, "pipeline.toml");
    assert_mentions(
        refused.error(),
        &["has a manifest of this job", "entries of it are lost", "put the checkpoint back"],
    );
    assert_eq!(workdir.objects("out"), before);
    std::fs::remove_dir_all(workdir.path("checkpoint")).unwrap();
    std::fs::rename(workdir.path("younger"), workdir.path("checkpoint")).unwrap();
    assert_eq!(run(&workdir, "pipeline.toml").finished().run, None);
}

fn manifest(workdir: &Workdir) -> Manifest {
    let sink = workdir.store("sink", "out", &(Arc::new(Unwatched) as Arc<dyn Watch>));
    wait(commit::manifest(&sink, &workdir.view().root.genesis.job)).unwrap().expect("a manifest")
}

#[test]
fn p22_a_manifest_that_lands_late_is_an_older_one_and_does_not_count() {
    // The claim and its probe pass; it stands still before the manifest, and before the copy.
    for passing in [2, 3] {
        let workdir = workdir();
        let pause = Pause::after_passing("sink Put _wasmpipe/", passing);
        std::thread::scope(|threads| {
            let suspended = threads.spawn(|| run_of(&workdir, "pipeline.toml", &pause, Said::default()));
            pause.wait_until_paused();
            workdir.numbers("c.parquet", 40..60, 10);
            run(&workdir, "pipeline.toml").finished();
            let newest = manifest(&workdir);
            assert_eq!(newest.rows, 120);
            pause.go_on();
            suspended.join().unwrap();
            assert_eq!(manifest(&workdir), newest, "passing {passing}");
        });
        assert_eq!(run(&workdir, "pipeline.toml").finished().run, None);
        let newest = workdir.inspect();
        let copy = std::fs::read(workdir.path(&format!("out/_wasmpipe/{}.json", newest["job"].as_str().unwrap())));
        let copy: serde_json::Value = serde_json::from_slice(&copy.unwrap()).unwrap();
        assert_eq!(copy["rows"], 120, "who looks at the job mends the copy");
        assert_eq!(workdir.output("out"), each_twice(0..60));
    }
}

#[test]
fn p23_a_finished_job_whose_checkpoint_is_gone_is_finished() {
    let workdir = workdir();
    workdir.pipeline(&twice().checkpoint("delete_on_success = true"));
    run(&workdir, "pipeline.toml").finished();
    assert!(!workdir.path("checkpoint").exists());
    let before = workdir.snapshot("out");
    for _ in 0..2 {
        let again = run(&workdir, "pipeline.toml");
        assert_eq!((again.finished().run.as_ref(), again.finished().rows_skipped), (None, 40));
    }
    let said = workdir.said(&["run", "pipeline.toml"], 0);
    assert_mentions(&said, &["finished before; nothing to do", "the checkpoint is gone", "choose an empty sink"]);
    assert!(workdir.said(&["plan", "pipeline.toml"], 0).contains("is finished"));
    let list = workdir.json(&["output", "list", "pipeline.toml", "--json"], 0);
    assert_eq!(list["rows"], 80);
    assert_eq!(workdir.snapshot("out"), before);
    assert!(!workdir.path("checkpoint").exists());
    // Another checkpoint, another function, another object, a file less: another job, or not finished.
    assert!(run(&workdir, "second.toml").refused().contains("holds output of another job"));
    workdir.pipeline(&twice().checkpoint("delete_on_success = true").sink("columns = [\"id\"]"));
    assert!(run(&workdir, "pipeline.toml").refused().contains("holds output of another job"));
    workdir.pipeline(&twice().checkpoint("delete_on_success = true"));
    workdir.numbers("c.parquet", 40..41, 10);
    assert!(run(&workdir, "pipeline.toml").refused().contains("holds output of another job"));
    std::fs::remove_file(workdir.path("in/c.parquet")).unwrap();
    assert_eq!(run(&workdir, "pipeline.toml").finished().run, None);
    let file = workdir.files("out").into_iter().find(|file| file.extension().is_some_and(|end| end == "parquet"));
    std::fs::remove_file(file.unwrap()).unwrap();
    assert!(run(&workdir, "pipeline.toml").refused().contains("holds output of another job"));
}

// --- a repair beside a deletion ---

fn repair<W: Watch + 'static>(workdir: &Workdir, watch: &Arc<W>) -> Result<Verified, CommitError> {
    let watch: Arc<dyn Watch> = Arc::<W>::clone(watch);
    let (store, sink) = (workdir.store("checkpoint", "checkpoint", &watch), workdir.store("sink", "out", &watch));
    wait(async {
        let root = Root::read(&store).await?.expect("a job");
        commit::repair(&store, &root, &sink).await
    })
}

#[test]
fn p24_a_repair_and_a_deletion_do_not_pass_each_other() {
    for is_repair_first in [true, false] {
        let workdir = workdir();
        workdir.pipeline(&twice().checkpoint("delete_on_success = true"));
        let (deleting, repairing) = (Pause::before("Put root/0000000001"), Pause::before("Put root/0000000001"));
        std::thread::scope(|threads| {
            let deletes = threads.spawn(|| run_of(&workdir, "pipeline.toml", &deleting, Said::default()));
            // It has looked at every lane for the last time.
            deleting.wait_until_paused();
            let file = workdir.view().files().next().unwrap().path.clone();
            std::fs::rename(workdir.path("out").join(&file), workdir.path("lost")).unwrap();
            let repairs = threads.spawn(|| repair(&workdir, &repairing));
            repairing.wait_until_paused();
            if is_repair_first {
                repairing.go_on();
                assert_eq!(repairs.join().unwrap().unwrap().findings.len(), 1);
                deleting.go_on();
                deletes.join().unwrap().finished();
                assert!(workdir.path("checkpoint").exists(), "what was given up is to be done again");
                assert!(run(&workdir, "pipeline.toml").finished().rows_read > 0);
                assert_eq!(workdir.output("out"), each_twice(0..40));
            } else {
                deleting.go_on();
                deletes.join().unwrap().finished();
                repairing.go_on();
                assert!(repairs.join().unwrap().is_err(), "there is nothing to repair any more");
                std::fs::rename(workdir.path("lost"), workdir.path("out").join(&file)).unwrap();
            }
        });
        let left = workdir.objects("checkpoint");
        assert!(left.is_empty(), "{:?}", left.keys());
        assert_eq!(run(&workdir, "pipeline.toml").finished().run, None);
    }
}

// --- a stop before any row is read ---

/// Ends at once, with the code for that.
fn stopped(process: Process) -> String {
    let since = Instant::now();
    process.terminate();
    let said = process.wait().expect(4);
    assert!(since.elapsed() < Duration::from_secs(4), "after {:?}: {said}", since.elapsed());
    said
}

fn on_s3() -> Place {
    Place::with(Kind::S3, &objects_of_forty(), &twice().checkpoint("heartbeat_seconds = 5").anywhere())
}

fn late(op: Op) -> Fault {
    Fault::of(op, What::Delay(Duration::from_secs(6)))
}

#[test]
fn o4_a_stop_is_heard_while_a_start_plans() {
    let place = on_s3();
    place.server().fault(late(Op::List).below("bucket/in/"));
    let planning = place.start(&[]);
    until("it lists the source", || place.server().count(Op::List, "bucket/in/") > 0);
    assert!(stopped(planning).contains("stopped while it was planned"));
    place.server().heal();
    assert_eq!((place.names("checkpoint"), place.names("out")), (vec![], vec![]));
    place.finish(&[]);
}

#[test]
fn o4_a_stop_is_heard_while_a_start_waits_for_a_heartbeat() {
    let place = on_s3();
    place.server().fault(late(Op::Put).below("bucket/checkpoint/lane/0/0000000001"));
    let first = place.start(&[]);
    until("it is at work", || place.server().count(Op::Put, "bucket/checkpoint/lane/0/0000000001") > 0);
    first.kill();
    place.server().heal();
    place.server().settle();
    let before = place.objects("");
    let beats = || place.server().count(Op::Get, "bucket/checkpoint/heartbeat/");
    let seen = beats();
    let waiting = place.start(&[]);
    until("it looks at the heartbeat", || beats() > seen);
    assert!(stopped(waiting).contains("while it waited for the heartbeat of another run"));
    assert!(place.objects("") == before, "it has opened or written something");
    place.finish(&["--take-over"]);
    place.assert_exactly_once(&each_twice(0..40), "after a stop");
}

#[test]
fn o4_a_stop_closes_the_lanes_that_were_opened() {
    let place = on_s3();
    // The last thing before the work begins.
    place.server().fault(late(Op::Put).below("bucket/checkpoint/runs/"));
    let opening = place.start(&[]);
    until("it has opened its lanes", || place.server().count(Op::Put, "bucket/checkpoint/runs/") > 0);
    assert!(stopped(opening).contains("while it read the log"));
    place.server().heal();
    assert_eq!(place.inspect()["closed"], "stopped");
    assert_eq!(place.names("checkpoint/heartbeat"), [""; 0]);
    place.finish(&[]);
    place.assert_exactly_once(&each_twice(0..40), "after a stop");
}

#[test]
fn a_sink_that_ignores_create_only_is_refused() {
    let place = on_s3();
    place.server().ignore_create_only();
    let path = place.workdir().path("pipeline.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, after) = text.split_once("[checkpoint]").unwrap();
    let run = after.split_once("[run]").unwrap().1;
    // The checkpoint is a folder, which honours it.
    std::fs::write(&path, format!("{before}[checkpoint]\npath = \"checkpoint\"\n[run]{run}")).unwrap();
    for _ in 0..2 {
        let said = place.start(&[]).wait().expect(2);
        assert_mentions(&said, &["replaces an object where it was asked to create one", "conditional writes"]);
    }
    assert_eq!(jobs(place.names("out")), 0);
}
