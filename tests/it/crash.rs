//! K and P: kills at every durable step, other writers, stores that fail, and SIGKILL of the real binary at random moments.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Array, ArrayRef, DictionaryArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int32Type;
use object_store::Result;
use wasmpipe::observe::Outcome;
use wasmpipe::store::{Act, Watch};

use crate::support::pipeline::{Pipeline, pipeline};
use crate::support::random::Random;
use crate::support::seam::{Crash, Pause, Reads, Stop};
use crate::support::{Said, Workdir, each_twice, id_files, is_soak, number_batch, run, run_as};

/// Every number twice, in groups of ten rows.
fn twice() -> Pipeline {
    let twice = pipeline(&["hostile.twice"]).sink("columns = [\"id\", \"twice\"]").checkpoint("group_rows_max = 10");
    twice.run("workers = 2\nreaders = 2\nblock_rows_max = 4")
}

fn by_one_reader() -> Pipeline {
    twice().run("readers = 1")
}

fn workdir(pipeline: &Pipeline) -> Workdir {
    Workdir::with(pipeline, &[("a.parquet", 0..25, 8), ("b.parquet", 25..40, 6)])
}

/// As [`workdir`], with a column that nothing reads, so wide that the first read of an object takes its ends only: row groups
/// between them are read one by one.
fn workdir_of_large_objects(pipeline: &Pipeline) -> Workdir {
    let workdir = Workdir::new();
    for (name, numbers, group) in [("a.parquet", 0..25, 8), ("b.parquet", 25..40, 6)] {
        let wide = numbers.clone().map(|number| Some(format!("{number:040000}")));
        let batch = number_batch(numbers);
        let wide: ArrayRef = Arc::new(wide.collect::<StringArray>());
        let columns = [("id", batch["id"].clone()), ("n", batch["n"].clone()), ("wide", wide)];
        workdir.file(name, &RecordBatch::try_from_iter(columns).unwrap(), group);
    }
    workdir.pipeline(pipeline);
    workdir
}

/// Everything that must hold after a job ended in order, however it got there.
#[track_caller]
fn assert_exactly_once(workdir: &Workdir, context: &str) {
    assert_eq!(workdir.output("out"), each_twice(0..40), "{context}");
    workdir.assert_manifest_is_folder();
    let before = (workdir.snapshot("checkpoint"), workdir.snapshot("out"));
    assert_eq!(workdir.run().finished().run, None, "{context}");
    assert_eq!((workdir.snapshot("checkpoint"), workdir.snapshot("out")), before, "{context}");
}

#[test]
fn k1_k2_every_durable_step_is_a_safe_place_to_die() {
    for job in [twice(), twice().by_position()] {
        let undisturbed = Arc::new(Crash::never());
        workdir(&job).run_with(&undisturbed, false).finished();
        let steps = undisturbed.steps();
        for (step, stop) in (0..steps).flat_map(|step| [(step, Stop::Before(step)), (step, Stop::After(step))]) {
            let workdir = workdir(&job);
            let crash = Arc::new(Crash::at(stop));
            let died = workdir.run_with(&crash, false);
            // How rows fall into files varies a little, so a run may have fewer steps; and signs of life are courtesy.
            let seen = crash.seen();
            let is_courtesy =
                seen.get(step as usize).is_some_and(|seen| seen.contains("heartbeat/") || seen.contains("stop/"));
            assert!(
                died.error.is_some() || is_courtesy || crash.steps() <= step + 1,
                "{stop:?} of {steps} was not noticed: {:?}",
                seen.get(step as usize)
            );
            workdir.run().finished();
            assert_exactly_once(&workdir, &format!("{stop:?} of {steps}"));
        }
        println!("{} points, none lost, none doubled", steps * 2);
    }
}

#[test]
fn k1_large_files_are_uploaded_in_parts_and_a_half_written_one_is_removed() {
    let text: ArrayRef = Arc::new((0..3000).map(|n| Some(pseudo_random_text(n))).collect::<StringArray>());
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..3000));
    let batch = RecordBatch::try_from_iter([("n", numbers), ("text", text)]).unwrap();
    let job = "[source]\npath = \"in\"\n[sink]\npath = \"out\"\ncompression = \"none\"\n[checkpoint]\npath = \"checkpoint\"\n";
    let make = || {
        let workdir = Workdir::new();
        workdir.file("a.parquet", &batch, 500);
        workdir.pipeline(job);
        workdir
    };
    let crash = Arc::new(Crash::never());
    let undisturbed = make();
    undisturbed.run_with(&crash, false).finished();
    let parts = |seen: &String| seen.starts_with("sink UploadPart");
    assert!(crash.seen().iter().filter(|seen| parts(seen)).count() >= 2, "{:?}", crash.seen());
    let step = crash.seen().iter().rposition(parts).unwrap() as u64;
    for stop in [Stop::Before(step), Stop::After(step), Stop::After(step + 1), Stop::Before(step + 2)] {
        let workdir = make();
        workdir.run_with(&Arc::new(Crash::at(stop)), false);
        workdir.run().finished();
        assert_eq!(workdir.output("out"), undisturbed.output("out"));
        workdir.assert_manifest_is_folder();
    }
}

/// About 10 kB that do not compress.
fn pseudo_random_text(seed: u64) -> String {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'!' + (state % 90) as u8)
    };
    (0..10_000).map(|_| next()).collect()
}

#[test]
fn p15_killed_between_open_and_first_commit_ten_times_and_before_close() {
    let undisturbed = Arc::new(Crash::never());
    workdir(&twice()).run_with(&undisturbed, false).finished();
    let is = |what: &'static str| move |seen: &String| seen.contains(what);
    let open = undisturbed.seen().iter().position(is("Put lane/0/0000000000")).unwrap() as u64;
    let workdir = workdir(&twice());
    workdir.run_with(&Arc::new(Crash::at(Stop::After(open))), false);
    for _ in 0..9 {
        // The first step is a sign of life, the second is the open.
        workdir.run_with(&Arc::new(Crash::at(Stop::After(1))), false);
    }
    assert_eq!(workdir.inspect()["entries"].as_array().unwrap().len(), 10);
    workdir.run().finished();
    assert_exactly_once(&workdir, "after ten kills");

    // Two readers make more or fewer files of the same rows, as it happens.
    let undisturbed = Arc::new(Crash::never());
    self::workdir(&by_one_reader()).run_with(&undisturbed, false).finished();
    let before_close = undisturbed.seen().iter().rposition(is("Put lane/0/")).unwrap() as u64;
    let second = self::workdir(&by_one_reader());
    second.run_with(&Arc::new(Crash::at(Stop::Before(before_close))), false);
    assert_eq!(second.inspect()["rows_committed"], 40);
    let resumed = second.run();
    assert_eq!((resumed.finished().rows_skipped, resumed.finished().rows_read), (40, 0));
    assert_exactly_once(&second, "after a kill before close");
}

/// Before the first file of rows: the claim of the sink, and the probe of that, pass.
fn before_output() -> Arc<Pause> {
    Pause::after_passing("sink Put", 2)
}

/// Z stops before its second entry; R does the whole job; Z goes on.
fn zombie(pause: &Arc<Pause>) {
    let workdir = workdir(&twice());
    let (pipeline, watch) = (workdir.path("pipeline.toml"), Arc::clone(pause));
    let stopped = std::thread::spawn(move || run(&pipeline, &watch, false));
    pause.wait_until_paused();
    workdir.take_over().finished();
    let manifest = workdir.inspect()["files"].clone();
    pause.go_on();
    let fenced = stopped.join().unwrap();
    assert_eq!(fenced.summary().outcome, Outcome::Fenced, "{:?}", fenced.error);
    assert!(fenced.error().contains("another run has taken over"), "{}", fenced.error());
    assert_eq!(workdir.inspect()["files"], manifest);
    assert!(workdir.output("out").values().sum::<u64>() >= 80);
    // What the zombie wrote late is gone at the latest after the next open.
    workdir.numbers("c.parquet", 40..41, 10);
    workdir.run().finished();
    assert_eq!(workdir.output("out"), each_twice(0..41));
    workdir.assert_manifest_is_folder();
}

#[test]
fn p1_a_writer_that_was_stopped_before_its_segment_is_fenced() {
    zombie(&Pause::before("checkpoint Put lane/0/0000000001"));
}

#[test]
fn p3_a_late_upload_of_a_stopped_writer_lands_on_a_name_of_its_own() {
    zombie(&before_output());
}

/// What a pause holds up fails when it goes on: its staged file is gone.
#[derive(Debug)]
struct PauseThenFail(Arc<Pause>);

impl Watch for PauseThenFail {
    fn before(&self, act: Act, store: &str, object: &str) -> Result<()> {
        let before = self.0.is_paused();
        self.0.before(act, store, object)?;
        match !before && self.0.is_paused() {
            true => Err(object_store::Error::Generic { store: "test", source: "no such file".into() }),
            false => Ok(()),
        }
    }

    fn after(&self, _: Act, _: &str, _: &str) -> Result<()> {
        Ok(())
    }
}

#[test]
fn p3_a_sink_that_fails_because_another_run_took_over_is_no_sink_error() {
    let workdir = workdir(&twice());
    let pause = before_output();
    let (pipeline, watch) = (workdir.path("pipeline.toml"), Arc::new(PauseThenFail(Arc::clone(&pause))));
    let stopped = std::thread::spawn(move || run(&pipeline, &watch, false));
    pause.wait_until_paused();
    workdir.take_over().finished();
    pause.go_on();
    let fenced = stopped.join().unwrap();
    assert_eq!(fenced.summary().outcome, Outcome::Fenced, "{:?}", fenced.error);
    assert_exactly_once(&workdir, "after a run that was fenced in the sink");
}

/// Z's sink file lands after its successor has looked for what Z left; its side file, which the successor took away while it
/// was staged, does not.
#[derive(Debug)]
struct LateFileThenNoSideFile(Arc<Pause>);

impl Watch for LateFileThenNoSideFile {
    fn before(&self, act: Act, store: &str, object: &str) -> Result<()> {
        self.0.before(act, store, object)?;
        match self.0.is_paused() && act == Act::Put && object.starts_with("side/") {
            true => Err(object_store::Error::NotFound { path: object.into(), source: "no such file".into() }),
            false => Ok(()),
        }
    }

    fn after(&self, _: Act, _: &str, _: &str) -> Result<()> {
        Ok(())
    }
}

#[test]
fn p3_a_side_file_that_another_run_took_away_leaves_no_sink_file_behind() {
    let workdir = workdir(&by_one_reader());
    let pause = before_output();
    let (pipeline, watch) = (workdir.path("pipeline.toml"), Arc::new(LateFileThenNoSideFile(Arc::clone(&pause))));
    let stopped = std::thread::spawn(move || run(&pipeline, &watch, false));
    pause.wait_until_paused();
    workdir.take_over().finished();
    pause.go_on();
    let fenced = stopped.join().unwrap();
    assert_eq!(fenced.summary().outcome, Outcome::Fenced, "{:?}", fenced.error);
    assert_exactly_once(&workdir, "after a run that was fenced at its side file");
}

#[test]
fn p6_an_open_that_lands_after_another_commit_sees_it() {
    let workdir = workdir(&twice());
    // A stops before its third entry; R wants to open, but A's second commit lands first.
    let (first, second) = (Pause::before("Put lane/0/0000000002"), Pause::before("Put lane/0/0000000002"));
    let start = |pause: &Arc<Pause>, take_over| {
        let (pipeline, watch) = (workdir.path("pipeline.toml"), Arc::clone(pause));
        std::thread::spawn(move || run_as(&pipeline, &watch, Said { take_over, ..Said::default() }))
    };
    let a = start(&first, false);
    first.wait_until_paused();
    let r = start(&second, true);
    second.wait_until_paused();
    first.go_on();
    let until = Instant::now() + Duration::from_secs(60);
    while workdir.inspect()["entries"].as_array().unwrap().len() < 3 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
    second.go_on();
    let outcomes = [a.join().unwrap().summary().outcome, r.join().unwrap().summary().outcome];
    assert!(outcomes.contains(&Outcome::Finished), "{outcomes:?}");
    workdir.run().finished();
    assert_exactly_once(&workdir, "two writers");
}

#[test]
fn p7_a_new_job_in_the_same_place_does_not_use_the_old_id_file() {
    let workdir = workdir(&by_one_reader());
    let until_first_commits = |workdir: &Workdir| {
        workdir.run_with(&Arc::new(Crash::at(Stop::Committed(1))), false);
        workdir.inspect()["rows_committed"].as_u64().unwrap()
    };
    let repack = |workdir: &Workdir, name: &str| {
        for file in workdir.snapshot("in").keys() {
            std::fs::remove_file(file).unwrap();
        }
        workdir.file(name, &number_batch((0..40).rev()), 9);
    };
    assert!(until_first_commits(&workdir) > 0);
    repack(&workdir, "p.parquet");
    workdir.run().finished();
    assert_eq!(id_files(workdir.inspect()["job"].as_str().unwrap()), 1, "an id file was built");
    for folder in ["checkpoint", "out", "in"] {
        std::fs::remove_dir_all(workdir.path(folder)).unwrap();
    }
    std::fs::create_dir(workdir.path("in")).unwrap();
    workdir.numbers("a.parquet", (0..40).rev(), 8);
    assert!(until_first_commits(&workdir) > 0);
    repack(&workdir, "q.parquet");
    workdir.run().finished();
    assert_exactly_once(&workdir, "the second job");
}

#[test]
fn p10_blocks_of_one_unit_reach_several_files_and_small_blocks_pass_after_a_filter() {
    let job = pipeline(&["hostile.drop_odd", "hostile.twice"])
        .sink("columns = [\"id\", \"twice\"]\nfile_bytes_max = 1")
        .checkpoint("group_rows_max = 30")
        .run("workers = 2\nreaders = 2\nblock_rows_max = 4");
    let workdir = Workdir::with(&job, &[("a.parquet", 0..100, 100)]);
    workdir.run().finished();
    assert_eq!(workdir.output("out"), each_twice((0..100).filter(|n| n % 2 == 0)));
    let files = workdir.inspect()["files"].as_array().unwrap().len();
    assert!(files > 10, "{files} files of one unit");
}

/// Reads of the source by a run that nothing disturbs.
fn reads_of_large_objects() -> usize {
    let reads = Arc::new(Reads::default());
    workdir_of_large_objects(&by_one_reader()).run_with(&reads, false).finished();
    assert!(reads.all() > 7, "row groups are read by themselves: {} reads", reads.all());
    reads.all()
}

#[test]
fn p12_a_lost_connection_in_the_middle_of_a_unit_goes_on_where_it_was() {
    let each = (0..reads_of_large_objects()).map(|ordinal| vec![ordinal]);
    for failing in each.chain([vec![2, 3, 4], vec![3, 5, 7]]) {
        let workdir = workdir_of_large_objects(&by_one_reader());
        let reads = Arc::new(Reads::failing(failing.clone()));
        workdir.run_with(&reads, false).finished();
        assert!(failing.iter().all(|ordinal| *ordinal < reads.all()), "{failing:?} of {} reads", reads.all());
        assert_exactly_once(&workdir, &format!("reads {failing:?} failed"));
    }
}

#[test]
fn p12_a_store_that_stays_away_fails_the_run_resumably() {
    let last = reads_of_large_objects() - 1;
    let workdir = workdir_of_large_objects(&by_one_reader());
    let failed = workdir.run_with(&Arc::new(Reads::failing(last..last + 100)), false);
    assert!(failed.error().contains("connection reset") && failed.error().contains("hint:"), "{}", failed.error());
    assert!(failed.summary().commits > 0);
    workdir.run().finished();
    assert_exactly_once(&workdir, "after the store came back");
}

#[test]
fn p13_ids_of_other_but_convertible_types_are_the_same_ids() {
    let workdir = Workdir::new();
    let batch = |ids: ArrayRef, k: ArrayRef| {
        let n: ArrayRef = Arc::new(Int64Array::from_iter_values(0..ids.len() as i64));
        RecordBatch::try_from_iter([("id", ids), ("k", k), ("n", n)]).unwrap()
    };
    let strings = || (0..20).map(|n| Some(format!("id-{n}"))).collect::<StringArray>();
    workdir.file("a.parquet", &batch(Arc::new(strings()), Arc::new(Int64Array::from_iter_values(0..20))), 7);
    workdir.pipeline(&twice().source("id = [\"id\", \"k\"]"));
    workdir.run().finished();
    std::fs::remove_file(workdir.path("in/a.parquet")).unwrap();
    let names = strings();
    let dictionary: DictionaryArray<Int32Type> = names.iter().flatten().collect();
    workdir.file("b.parquet", &batch(Arc::new(dictionary), Arc::new(Int32Array::from_iter_values(0..20))), 5);
    let second = workdir.run();
    assert_eq!((second.finished().rows_known, second.finished().rows_read), (20, 0));
}

#[test]
fn p16_an_id_in_two_objects_is_two_rows_until_the_source_is_repacked() {
    let workdir = Workdir::new();
    workdir.numbers("p.parquet", [7, 1], 10);
    workdir.numbers("q.parquet", [7, 2], 10);
    workdir.pipeline(&by_one_reader().checkpoint("group_rows_max = 2"));
    let died = workdir.run_with(&Arc::new(Crash::at(Stop::Committed(1))), false);
    assert_eq!(died.summary().rows_committed, 2);
    let resumed = workdir.run();
    assert_eq!(
        (resumed.finished().rows_known, resumed.finished().rows_read),
        (0, 2),
        "within one listing each row is its own"
    );
    assert_eq!(workdir.output("out")["id-7|7"], 4);
    std::fs::rename(workdir.path("in/p.parquet"), workdir.path("in/p2.parquet")).unwrap();
    let repacked = workdir.run();
    assert_eq!((repacked.finished().rows_known, repacked.finished().rows_read), (2, 0));
    assert_eq!(workdir.output("out").values().sum::<u64>(), 8);
}

#[test]
fn k9_orphans_are_removed_and_other_files_are_not() {
    let workdir = workdir(&twice());
    let crash = Arc::new(Crash::never());
    self::workdir(&twice()).run_with(&crash, false).finished();
    let segment = crash.seen().iter().position(|seen| seen.contains("Put lane/0/0000000002")).unwrap() as u64;
    workdir.run_with(&Arc::new(Crash::at(Stop::Before(segment))), false);
    let job = workdir.inspect()["job"].as_str().unwrap().to_string();
    let dead = workdir.inspect()["entries"][0]["token"].as_str().unwrap().to_string();
    let staged = workdir.path(&format!("out/{job}-0-{dead}-000777.parquet#1"));
    let kept = [
        workdir.path("out/notes.txt"),
        workdir.path(&format!("out/{job}.parquet.txt")),
        workdir.path(&format!("out/{job}-0-{dead}-000001.parquet.bak")),
        workdir.path("out/other.parquet#1"),
    ];
    std::fs::write(&staged, "half").unwrap();
    kept.iter().for_each(|path| std::fs::write(path, "mine").unwrap());
    workdir.run().finished();
    assert!(!staged.exists());
    for path in &kept {
        assert_eq!(std::fs::read(path).unwrap(), b"mine", "{}", path.display());
        std::fs::remove_file(path).unwrap();
    }
    assert_exactly_once(&workdir, "after the sweep");
}

#[test]
fn a_damaged_log_is_named_and_never_guessed_at() {
    let cases: [(&str, &[u8], &str); 4] = [
        ("zero bytes", b"", "it has no bytes"),
        ("torn", b"{\"entry\": \"segment\", \"for", "is damaged"),
        ("newer", b"{\"entry\": \"segment\", \"format\": 99}", "format 99"),
        ("foreign", b"hello", "is damaged"),
    ];
    for (what, bytes, words) in cases {
        let workdir = workdir(&twice());
        workdir.run_with(&Arc::new(Crash::at(Stop::Committed(1))), false);
        let entry = workdir.path("checkpoint/lane/0/0000000001");
        assert!(entry.exists());
        std::fs::write(&entry, bytes).unwrap();
        let before = workdir.snapshot("out");
        let failed = workdir.run();
        assert!(
            failed.error().contains("lane/0/0000000001") && failed.error().contains(words),
            "{what}: {}",
            failed.error()
        );
        assert_eq!(workdir.snapshot("out"), before, "{what}: nothing is deleted");
    }
    let workdir = workdir(&twice());
    workdir.run().finished();
    std::fs::remove_file(workdir.path("checkpoint/lane/0/0000000001")).unwrap();
    assert!(workdir.run().error().contains("lane/0/0000000001"));
    std::fs::remove_file(workdir.path("checkpoint/root/0000000000")).unwrap();
    assert!(workdir.run().refused().contains("root/0000000000"), "a log without a root is not a new job");
}

#[test]
fn a_sink_file_that_was_deleted_or_cut_is_noticed() {
    let workdir = workdir(&twice());
    workdir.run().finished();
    let name = workdir.inspect()["files"][0]["path"].as_str().unwrap().to_string();
    std::fs::write(workdir.path("out").join(&name), "x").unwrap();
    assert!(workdir.run().error().contains(&name));
    std::fs::remove_file(workdir.path("out").join(&name)).unwrap();
    assert!(workdir.run().error().contains(&format!("{name} is missing")));
}

/// SIGKILL of the real binary at random moments, many times, then a finish.
fn random_kills(name: &str, job: &Pipeline, rows: i64, kills: usize, least_after_commit: usize) {
    let mut random = Random::of(name);
    let workdir = Workdir::new();
    for file in 0..4 {
        workdir.numbers(&format!("{file}.parquet"), rows / 4 * file..rows / 4 * (file + 1), 97);
    }
    workdir.pipeline(job);
    let (mut after_commit, mut last) = (0, 0);
    for kill in 0..kills {
        let before = last;
        let mut child = workdir
            .command(&["run", "pipeline.toml", "--quiet"])
            .env("WASMPIPE_LOG", "wasmpipe::pipeline=info")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Most pauses begin when this run has committed something; some hit the start and the recovery.
        let stderr = child.stderr.take().unwrap();
        let is_early = kill % 7 == 3;
        let mut lines = BufReader::new(stderr).lines().map_while(std::result::Result::ok);
        let committed = !is_early && lines.any(|line| line.contains("committed"));
        std::thread::sleep(Duration::from_micros(random.below(120_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        last = workdir.inspect()["rows_committed"].as_u64().unwrap();
        println!("kill {kill}: {last} rows committed");
        assert!(last >= before, "committed rows only rise: {before}, {last}");
        after_commit += usize::from(committed && last > before);
    }
    assert!(after_commit >= least_after_commit, "{after_commit} of {kills} kills came after a commit of their run");
    assert!((last as i64) < rows, "the job ended before the kills");
    let finish = workdir.wasmpipe(&["run", "pipeline.toml"]);
    assert_eq!(finish.status.code(), Some(0), "{}", String::from_utf8_lossy(&finish.stderr));
    assert_eq!(workdir.output("out"), each_twice(0..rows / 4 * 4));
    workdir.assert_manifest_is_folder();
    let before = (workdir.snapshot("checkpoint"), workdir.snapshot("out"));
    assert_eq!(workdir.wasmpipe(&["run", "pipeline.toml"]).status.code(), Some(0));
    assert_eq!((workdir.snapshot("checkpoint"), workdir.snapshot("out")), before);
}

/// As [`twice`], but slow.
fn slow(iterations: u32) -> Pipeline {
    pipeline(&[&format!("hostile.sleepy\nconfig = {{ iterations = {iterations} }}"), "hostile.twice"])
        .sink("columns = [\"id\", \"twice\"]")
        .checkpoint("group_rows_max = 100")
        .run("workers = 2\nreaders = 2\nblock_rows_max = 50")
}

#[test]
fn k5_twenty_kills_at_random_moments_with_ids() {
    random_kills("kills with ids", &slow(400_000), 20_000, 20, 15);
}

#[test]
fn k5_soak_twenty_kills_at_random_moments_by_position() {
    let (rows, kills) = if is_soak() { (20_000, 20) } else { (6_000, 4) };
    random_kills("kills by position", &slow(400_000).by_position(), rows, kills, kills * 3 / 4);
}

/// Starts a run, sends SIGTERM when it has said that it reads rows, and gives its exit code.
fn stopped_at_work(workdir: &Workdir) -> Option<i32> {
    let mut command = workdir.command(&["run", "pipeline.toml"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let stderr = child.stderr.take().unwrap();
    let mut lines = BufReader::new(stderr).lines().map_while(std::result::Result::ok);
    assert!(lines.any(|line| line.contains("committed in")), "it ended before it could be stopped");
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    lines.for_each(drop);
    child.wait().unwrap().code()
}

#[test]
fn the_first_signal_drains_and_the_next_run_goes_on() {
    let workdir = Workdir::new();
    workdir.numbers("a.parquet", 0..20_000, 500);
    workdir.pipeline(&slow(400_000).checkpoint("group_rows_max = 1000000"));
    assert_eq!(stopped_at_work(&workdir), Some(4));
    let inspect = workdir.inspect();
    assert_eq!(inspect["closed"], "stopped");
    workdir.assert_log_is_folder();
    let committed = inspect["rows_committed"].as_u64().unwrap();
    assert!((1..20_000).contains(&committed), "the open group was committed: {committed}");
    let resumed = workdir.run();
    assert_eq!(resumed.finished().rows_skipped, committed);
    assert_eq!(workdir.output("out"), each_twice(0..20_000));
    workdir.assert_manifest_is_folder();
}

/// All rows of the object would be one block, which takes minutes: longer than a drain.
#[test]
fn a_stop_finishes_blocks_of_rows_that_take_long() {
    let workdir = Workdir::new();
    workdir.numbers("a.parquet", 0..20_000, 20_000);
    let stage = "hostile.sleepy\nconfig = { iterations = 8000000 }";
    workdir.pipeline(&pipeline(&[stage]).run("workers = 1\nreaders = 1"));
    assert_eq!(stopped_at_work(&workdir), Some(4));
    let committed = workdir.inspect()["rows_committed"].as_u64().unwrap();
    assert!((1..20_000).contains(&committed), "{committed}");
}

#[test]
fn a_drain_that_takes_too_long_is_an_interruption_and_not_a_finish() {
    let workdir = Workdir::new();
    workdir.numbers("a.parquet", 0..400, 400);
    workdir.pipeline(&slow(20_000_000).run("drain_seconds = 0\nworkers = 1"));
    // Everything is read at once; the worker is in its first blocks.
    assert_eq!(stopped_at_work(&workdir), Some(4));
    let inspect = workdir.inspect();
    assert_eq!(inspect["closed"], "stopped");
    workdir.assert_log_is_folder();
    assert!(inspect["rows_committed"].as_u64().unwrap() < 400);
}

#[test]
fn an_open_that_was_void_leaves_no_token_behind() {
    let workdir = workdir(&twice());
    // A wants to open at 0 and is overtaken; it opens later under another name, so nobody takes A for dead.
    let pause = Pause::before("checkpoint Put lane/0/0000000000");
    let (pipeline, watch) = (workdir.path("pipeline.toml"), Arc::clone(&pause));
    let late = std::thread::spawn(move || run(&pipeline, &watch, false));
    pause.wait_until_paused();
    workdir.take_over().finished();
    pause.go_on();
    late.join().unwrap().finished();
    let tokens: Vec<String> = workdir.inspect()["entries"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["entry"] == "open")
        .map(|entry| entry["token"].as_str().unwrap().to_string())
        .collect();
    assert_eq!(tokens.len(), 2);
    assert_ne!(tokens[0], tokens[1]);
    assert_exactly_once(&workdir, "after an open that came late");
}

#[test]
fn a_zombie_does_not_pin_a_source_that_it_saw_too_late() {
    let workdir = workdir(&by_one_reader());
    workdir.run_with(&Arc::new(Crash::at(Stop::Before(11))), false);
    // Z has opened the lane, but not compared the source yet (the first reading of the listing is before the open).
    let pause = Pause::after_passing("listing", 1);
    let (pipeline, watch) = (workdir.path("pipeline.toml"), Arc::clone(&pause));
    let zombie = std::thread::spawn(move || run(&pipeline, &watch, false));
    pause.wait_until_paused();
    // R does more of the job and dies, then the source is repacked, then Z wakes up. Z's heart beats all the while.
    let take_over = Said { take_over: true, ..Said::default() };
    run_as(&workdir.path("pipeline.toml"), &Arc::new(Crash::at(Stop::Before(8))), take_over);
    std::fs::rename(workdir.path("in/a.parquet"), workdir.path("in/z.parquet")).unwrap();
    pause.go_on();
    assert_eq!(zombie.join().unwrap().summary().outcome, Outcome::Fenced);
    workdir.run().finished();
    assert_exactly_once(&workdir, "after a zombie that saw another source");
}

#[test]
fn a_sink_that_vanishes_under_a_run_is_a_failure_and_not_a_finish() {
    let workdir = workdir(&twice());
    let pause = Pause::before("checkpoint Put lane/0/0000000003");
    let (pipeline, watch) = (workdir.path("pipeline.toml"), Arc::clone(&pause));
    let running = std::thread::spawn(move || run(&pipeline, &watch, false));
    pause.wait_until_paused();
    std::fs::rename(workdir.path("out"), workdir.path("gone")).unwrap();
    pause.go_on();
    let ran = running.join().unwrap();
    assert_eq!(ran.summary().outcome, Outcome::Failed);
    // Another file may have been on its way.
    assert!(["is missing", "cannot write"].iter().any(|words| ran.error().contains(words)), "{}", ran.error());
    assert!(!matches!(workdir.inspect()["closed"].as_str(), Some("finished")));
    let manifests = std::fs::read_dir(workdir.path("out/_wasmpipe")).into_iter().flatten().flatten();
    assert_eq!(manifests.filter(|entry| entry.path().is_file()).count(), 0, "no manifest of files that are not there");
}
