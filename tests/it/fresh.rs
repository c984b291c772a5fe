//! `run --fresh`: a job is given up with all that it has done, and another begins anew in its place. What is not the job's own
//! stays, and who is killed on the way goes on with the same command.

use std::path::Path;
use std::sync::Arc;

use expect_test::expect;
use wasmpipe::store::Unwatched;

use crate::support::pipeline::{doubled, doubling, twice};
use crate::support::seam::{Crash, Pause, Stop};
use crate::support::{Ran, Said, Workdir, assert_mentions, at_once, each_twice, run_as};

const ROWS: std::ops::Range<i64> = 0..60;

/// A job that doubled numbers until it was finished, or killed; its pipeline file says something else now. Somebody keeps notes
/// in both folders.
fn begun(stop: Option<Stop>) -> Workdir {
    let workdir = Workdir::quick();
    workdir.numbers("a.parquet", ROWS, 20);
    workdir.pipeline(&doubling().run("workers = 1\nreaders = 1"));
    match stop {
        Some(stop) => drop(workdir.run_with(&Arc::new(Crash::at(stop)), false)),
        None => drop(workdir.run().finished()),
    }
    for folder in ["out", "checkpoint"] {
        std::fs::write(workdir.path(folder).join("notes.txt"), "mine").unwrap();
    }
    workdir.pipeline(&twice());
    workdir
}

fn fresh(workdir: &Workdir, crash: Crash) -> Ran {
    run_as(&workdir.path("pipeline.toml"), &Arc::new(crash), Said { fresh: true, ..Said::default() })
}

/// The second job alone has its output in the sink, and whose notes they are has them.
#[track_caller]
fn assert_anew(workdir: &Workdir) {
    for folder in ["out", "checkpoint"] {
        let notes = workdir.path(folder).join("notes.txt");
        assert_eq!(std::fs::read(&notes).unwrap(), b"mine");
        std::fs::remove_file(notes).unwrap();
    }
    assert_eq!(workdir.output("out"), each_twice(ROWS));
    workdir.assert_manifest_is_folder();
}

#[test]
fn a_job_is_given_up_and_another_begins_in_its_place() {
    let workdir = begun(None);
    let (job, before) = (workdir.view().root.genesis.job, workdir.snapshot(""));
    let refused = workdir.said(&["run", "pipeline.toml", "--fresh"], 2).replace(&job, "JOB");
    assert!(workdir.snapshot("") == before, "who is only asked loses nothing");
    expect![[r#"
        --fresh gives up job JOB with all that it has done:
          deletes     its checkpoint file:///checkpoint
          deletes     6 files (7.0 KiB) of its output and dead letters in file:///out
          not touched the source file:///in
          not touched 1 other file (notes.txt) in file:///out
        error: --fresh asks before it gives a job up, and nobody is there to answer: stdin is no terminal
          hint: nothing was changed; say --fresh --yes
    "#]]
    .assert_eq(&refused);
    let said = workdir.said(&["run", "pipeline.toml", "--fresh", "--yes", "--quiet"], 0);
    assert_mentions(&said, &[&job, "not touched", "notes.txt"]);
    assert_anew(&workdir);
    assert_ne!(workdir.view().root.genesis.job, job);
    assert!(
        workdir.files("out").iter().all(|file| !workdir.name(file).contains(&job)),
        "of the old job's nothing is left"
    );
    // From here on it is a job like any other.
    let again = workdir.run();
    assert_eq!(again.finished().rows_read, 0);
}

#[test]
fn where_no_job_has_begun_nothing_is_asked() {
    let workdir = Workdir::with(&twice(), &[("a.parquet", ROWS, 20)]);
    let said = workdir.said(&["run", "pipeline.toml", "--fresh", "--quiet"], 0);
    assert_mentions(&said, &["there is no job to give up"]);
    assert_eq!(workdir.output("out"), each_twice(ROWS));
}

/// What the old job wrote in folders of its objects goes with its marks; a copy that somebody made stays.
#[test]
fn a_job_whose_results_lie_in_folders_is_given_up() {
    let workdir = Workdir::with(&doubling().sink("layout = \"mirror\""), &[("a.parquet", ROWS, 20)]);
    workdir.run().finished();
    let job = workdir.view().root.genesis.job;
    let file = workdir.files("out/a.parquet").into_iter().find(|file| workdir.name(file).contains(&job)).unwrap();
    let copy = workdir.path("out/backup").join(file.file_name().unwrap());
    std::fs::create_dir(workdir.path("out/backup")).unwrap();
    std::fs::copy(&file, &copy).unwrap();
    workdir.pipeline(&twice());
    fresh(&workdir, Crash::never()).finished();
    let of_old = |file: &&std::path::PathBuf| workdir.name(file).contains(&job) || file.ends_with("_SUCCESS");
    assert_eq!(workdir.files("out").iter().filter(of_old).collect::<Vec<_>>(), [&copy]);
    assert_eq!(workdir.output("out"), each_twice(ROWS));
}

/// Before and after each durable step, of a job that is finished and of one that was killed: the same command goes on, and a plain
/// run in between doubles nothing.
#[test]
fn who_is_killed_on_the_way_goes_on_with_the_same_command() {
    for first in [None, Some(Stop::After(14))] {
        let undisturbed = Crash::never();
        let watch = Arc::new(undisturbed);
        let workdir = begun(first);
        run_as(&workdir.path("pipeline.toml"), &watch, Said { fresh: true, ..Said::default() }).finished();
        assert_anew(&workdir);
        // What comes after its genesis is a run like any other.
        let seen = watch.seen();
        let begins = seen.iter().position(|step| step == "checkpoint Put root/0000000000").expect("it begins") as u64;
        let stops = (0..=begins).flat_map(|step| [Stop::Before(step), Stop::After(step)]).collect::<Vec<_>>();
        assert!(stops.len() > 20, "{seen:?}");
        at_once(&stops, |stop| killed_at(&begun(first), *stop));
        println!("{} points", stops.len());
    }
}

fn killed_at(workdir: &Workdir, stop: Stop) {
    fresh(workdir, Crash::at(stop));
    let between = workdir.run();
    if between.error.is_none() {
        assert_eq!(workdir.output("out"), each_twice(ROWS), "{stop:?}");
    }
    fresh(workdir, Crash::never()).finished();
    assert_anew(workdir);
}

#[test]
fn what_may_be_somebody_elses_is_not_given_up() {
    // The sink of another job.
    let workdir = begun(None);
    let before = workdir.snapshot("");
    workdir.pipeline(&twice().checkpoint("path = \"elsewhere\""));
    assert_mentions(fresh(&workdir, Crash::never()).refused(), &["holds output of another job", "empty"]);
    // A copy of its checkpoint.
    copy(&workdir.path("checkpoint"), &workdir.path("elsewhere"));
    assert_mentions(fresh(&workdir, Crash::never()).refused(), &["was copied or moved from", "--relocate"]);
    std::fs::remove_dir_all(workdir.path("elsewhere")).unwrap();
    // Without a checkpoint nobody knows whose output it is.
    workdir.pipeline(&twice().without_checkpoint());
    assert_mentions(fresh(&workdir, Crash::never()).refused(), &["--fresh", "has none"]);
    workdir.pipeline(&twice());
    assert!(workdir.snapshot("") == before, "nothing was deleted");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

#[test]
fn a_job_at_which_a_run_is_at_work_is_not_given_up_unless_its_lanes_are_taken() {
    let workdir = Workdir::quick();
    workdir.numbers("a.parquet", ROWS, 20);
    workdir.pipeline(&doubling().checkpoint("heartbeat_seconds = 0.05").run("workers = 1\nreaders = 1"));
    let pause = Pause::before("checkpoint Put lane/0/0000000002");
    std::thread::scope(|threads| {
        let first = threads.spawn(|| workdir.run_with(&pause, false));
        pause.wait_until_paused();
        workdir.pipeline(&twice());
        let refused = fresh(&workdir, Crash::never());
        assert_mentions(refused.error(), &["is working on lane 0", "--take-over"]);
        let said = Said { fresh: true, take_over: true, ..Said::default() };
        run_as(&workdir.path("pipeline.toml"), &Arc::new(Unwatched), said).finished();
        assert_eq!(workdir.output("out"), each_twice(ROWS));
        pause.go_on();
        assert!(first.join().unwrap().error.is_some(), "who lost its job does not finish it");
    });
    assert_eq!(workdir.output("out"), each_twice(ROWS), "and what it had begun is not left behind");
    assert_ne!(workdir.output("out"), doubled(ROWS));
}
