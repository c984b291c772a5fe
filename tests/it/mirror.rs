//! Results in a folder for each object, with a mark when it is through; and published, as one file for each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};
use wasmpipe::exchange::{ExchangeError, Job, Published, publish};
use wasmpipe::format::compression::Compression;
use wasmpipe::message::Hint;
use wasmpipe::plan::LaneSet;
use wasmpipe::store::{Unwatched, Watch};

use crate::support::pipeline::{Pipeline, pipeline};
use crate::support::place::{assert_log_is_folder, wait};
use crate::support::s3::OnS3;
use crate::support::seam::{Crash, Stop};
use crate::support::{Said, Workdir, assert_mentions, at_once, each_twice, inflated, killed_at_every_step, read_files};

/// Every number twice, in groups of ten rows.
fn twice() -> Pipeline {
    let twice = pipeline(&["hostile.twice"]).sink("columns = [\"id\", \"twice\"]\nlayout = \"mirror\"");
    twice.checkpoint("group_rows_max = 10").run("workers = 2\nreaders = 2\nblock_rows_max = 4")
}

const OBJECTS: [(&str, std::ops::Range<i64>); 3] =
    [("a.parquet", 0..25), ("x/50% b.parquet", 25..40), ("c.parquet", 40..40)];

fn workdir_of(job: &Pipeline) -> Workdir {
    let workdir = Workdir::quick();
    std::fs::create_dir(workdir.path("in/x")).unwrap();
    OBJECTS.into_iter().for_each(|(name, numbers)| workdir.numbers(name, numbers, 8));
    workdir.pipeline(job);
    workdir
}

/// What a mark says, if the object has one of this name.
fn mark(workdir: &Workdir, object: &str, name: &str) -> Option<Value> {
    let text = std::fs::read(workdir.path("out").join(object).join(name)).ok()?;
    Some(serde_json::from_slice(&text).unwrap())
}

/// Each object has its rows in its folder, and a mark that names just its files.
#[track_caller]
fn assert_mirrored(workdir: &Workdir, objects: &[(&str, std::ops::Range<i64>)], context: &str) {
    let view = workdir.view();
    for (object, numbers) in objects {
        let folder = format!("{object}/");
        let files = view.results().map(|file| file.path.as_str());
        let files: BTreeSet<&str> = files.filter(|path| path.starts_with(&folder)).collect();
        let rows = read_files(&workdir.path("out"), files.iter().copied());
        assert_eq!(rows, each_twice(numbers.clone()), "{object}: {context}");
        let mark = mark(workdir, object, "_SUCCESS").unwrap_or_else(|| panic!("{object} has no mark: {context}"));
        let named = mark["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap());
        assert_eq!((named.collect(), &mark["object"]), (files, &json!(object)), "{context}");
        assert_eq!(mark["source_rows"]["all"], json!(numbers.end - numbers.start), "{context}");
        assert!(self::mark(workdir, object, "_FAILED_ROWS").is_none(), "{context}");
    }
    workdir.assert_manifest_is_folder();
}

#[test]
fn results_lie_in_a_folder_of_their_object_with_a_mark_when_it_is_through() {
    let workdir = workdir_of(&twice());
    workdir.run().finished();
    assert_mirrored(&workdir, &OBJECTS, "");
    let verified = workdir.json(&["output", "verify", "--data", "--json", "pipeline.toml"], 0);
    assert_eq!((&verified["rows"], &verified["orphans"]), (&json!(80), &json!([])));
    let before = workdir.snapshot("out");
    assert_eq!(workdir.run().finished().run, None);
    assert_eq!(workdir.snapshot("out"), before);
    // A copy that a person makes of a folder is theirs; a new object is all that is opened.
    std::fs::create_dir(workdir.path("out/copy")).unwrap();
    let copied = workdir.view().results().next().unwrap().path.clone();
    let copy = workdir.path("out/copy").join(copied.rsplit('/').next().unwrap());
    std::fs::copy(workdir.path("out").join(&copied), &copy).unwrap();
    workdir.numbers("d.parquet", 40..60, 8);
    let ran = workdir.run();
    assert_eq!((ran.finished().objects_opened, ran.finished().objects), (1, 4));
    std::fs::remove_file(copy).unwrap();
    let all = [OBJECTS.to_vec(), vec![("d.parquet", 40..60)]].concat();
    assert_mirrored(&workdir, &all, "");
    // No run believes a mark: the look at a finished job makes it anew, and leaves none that is not true.
    std::fs::remove_file(workdir.path("out/a.parquet/_SUCCESS")).unwrap();
    std::fs::write(workdir.path("out/d.parquet/_SUCCESS"), "{}").unwrap();
    std::fs::write(workdir.path("out/d.parquet/_FAILED_ROWS"), "{}").unwrap();
    assert_eq!(workdir.run().finished().run, None);
    assert_mirrored(&workdir, &all, "");
    // What is given up is done again, and marked then.
    std::fs::remove_file(workdir.path("out").join(&copied)).unwrap();
    workdir.said(&["checkpoint", "verify", "--repair", "checkpoint"], 0);
    workdir.run().finished();
    assert_mirrored(&workdir, &all, "");
}

#[test]
fn a_kill_at_every_step_leaves_each_row_and_each_mark_once() {
    let job = twice().run("workers = 1\nreaders = 1");
    killed_at_every_step(
        || workdir_of(&job),
        |workdir, _, stop| {
            assert_mirrored(workdir, &OBJECTS, &format!("{stop:?}"));
            let marks = workdir.files("out").into_iter().filter(|path| path.ends_with("_SUCCESS")).count();
            assert_eq!(marks, OBJECTS.len(), "{stop:?}");
        },
    );
}

/// Pieces of one object in lanes of two processes: who commits last marks it.
#[test]
fn an_object_that_is_cut_is_marked_when_the_last_of_its_lanes_is_through() {
    let job = twice().checkpoint("lanes = 4\nsplit_bytes = 1000");
    let workdir = Workdir::with(&job, &[("a.parquet", 0..400, 50)]);
    let lanes = |said: &str| Said { lanes: said.parse::<LaneSet>().unwrap(), ..Said::default() };
    workdir.run_as(lanes("0-1")).finished();
    assert!(workdir.path("out/a.parquet").is_dir() && mark(&workdir, "a.parquet", "_SUCCESS").is_none());
    workdir.run_as(lanes("2-3")).finished();
    assert_mirrored(&workdir, &[("a.parquet", 0..400)], "");
}

/// The same in a bucket, where folders are parts of names.
#[test]
fn in_a_bucket_a_killed_run_leaves_no_more_than_in_a_folder() {
    let job = failing("gzip").anywhere().run("workers = 1\nreaders = 1").to_string().replace("{root}", "s3://bucket/");
    let run = |watch: Arc<Crash>| {
        let job = OnS3::new(workdir_of(&failing("gzip")), &job);
        job.run_with(&watch);
        job
    };
    let undisturbed = Arc::new(Crash::never());
    run(Arc::clone(&undisturbed));
    let uploads = undisturbed.seen().into_iter().enumerate().filter(|(_, seen)| seen.starts_with("sink Put x/"));
    let uploads: Vec<u64> = uploads.map(|(step, _)| step as u64).collect();
    let [first, .., last] = uploads[..] else { panic!("{:?}", undisturbed.seen()) };
    let steps = [first, last];
    for stop in steps.into_iter().flat_map(|step| [Stop::Before(step), Stop::After(step)]) {
        let job = run(Arc::new(Crash::at(stop)));
        job.run().finished();
        let objects = job.objects("out");
        assert_log_is_folder(&job.view(), &objects, &format!("{stop:?}"));
        let marks: Vec<&str> = objects.keys().filter_map(|name| name.rsplit_once("/_").map(|(_, mark)| mark)).collect();
        assert_eq!(
            marks.iter().filter(|mark| ["SUCCESS", "FAILED_ROWS"].contains(mark)).count(),
            3,
            "{stop:?}: {marks:?}"
        );
        let to = ["output", "publish", "pipeline.toml", "s3://bucket/plain", "--name", "{object}.jsonl.gz"];
        let said = job.wasmpipe(&to);
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        let plain = job.objects("plain");
        let names: Vec<&str> = plain.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            ["plain/.done", "plain/a.jsonl.gz", "plain/c.jsonl.gz", "plain/x/50% b.jsonl.gz"],
            "{stop:?}"
        );
        let lines = inflated(&plain["plain/a.jsonl.gz"], Compression::Gzip).lines().count();
        assert_eq!(lines, 48, "row 1 failed, {stop:?}");
    }
}

#[test]
fn a_layout_is_for_one_job_and_for_its_whole_life() {
    let workdir = workdir_of(&twice());
    workdir.run().finished();
    workdir.pipeline(&twice().sink("layout = \"flat\""));
    assert_mentions(
        &workdir.said(&["check", "pipeline.toml"], 2),
        &["another `layout`", "pipeline.toml:10:10", "hint: where"],
    );
    workdir.pipeline(&twice().sink("path = \"other\"\nshared = true").checkpoint("path = \"another\""));
    assert_mentions(&workdir.said(&["check", "pipeline.toml"], 2), &["a shared sink has no folders of objects"]);
    workdir.pipeline(&twice());
    assert_mentions(&workdir.said(&["plan", "pipeline.toml"], 0), &["lies in a folder of its name"]);
    std::fs::create_dir(workdir.path("in/_wasmpipe")).unwrap();
    workdir.numbers("_wasmpipe/a.parquet", 0..3, 8);
    workdir.pipeline(&twice().source("path = \"in/**/_wasmpipe/*.parquet\""));
    workdir.pipeline(
        &twice().source("path = \"in/_wasmpipe/*.parquet\"").sink("path = \"other\"").checkpoint("path = \"another\""),
    );
    workdir.said(&["check", "pipeline.toml"], 0);
    workdir.pipeline(
        &twice()
            .source("path = \"in/{_wasmpipe,x}/*.parquet\"")
            .sink("path = \"other\"")
            .checkpoint("path = \"another\""),
    );
    assert_mentions(&workdir.said(&["check", "pipeline.toml"], 2), &["would have its results in _wasmpipe/"]);
    // A job that begins beside finds the files, though its own would lie elsewhere, and its checkpoint has none.
    std::fs::remove_dir_all(workdir.path("checkpoint")).unwrap();
    std::fs::remove_dir_all(workdir.path("out/_wasmpipe/claim")).unwrap();
    let manifests = |path: &std::path::PathBuf| path.extension().is_some_and(|end| end == "json");
    workdir
        .files("out/_wasmpipe")
        .iter()
        .filter(|path| manifests(path))
        .for_each(|path| std::fs::remove_file(path).unwrap());
    workdir.pipeline(&twice().sink("layout = \"flat\""));
    assert_mentions(workdir.run().error(), &["holds output of another job"]);
}

/// Lines of JSON; the second row of each object fails at first.
fn failing(compression: &str) -> Pipeline {
    let at = OBJECTS.map(|(_, numbers)| numbers.start + 1);
    let errors = format!("hostile.errors_on\nconfig = {{ at = {at:?} }}\non_error = \"skip\"");
    let job = pipeline(&[&errors, "hostile.twice"]).checkpoint("group_rows_max = 10");
    let sink = format!("columns = [\"id\"]\nlayout = \"mirror\"\nformat = \"jsonl\"\ncompression = \"{compression}\"");
    job.sink(&sink).run("workers = 2\nreaders = 2\nblock_rows_max = 4")
}

/// A job whose failed rows were retried: each lies in another file than the rows beside it.
fn retried(compression: &str) -> Workdir {
    let workdir = workdir_of(&failing(compression));
    assert_eq!(workdir.run().finished().rows_failed, 2);
    assert!(mark(&workdir, "a.parquet", "_SUCCESS").is_none());
    assert_eq!(mark(&workdir, "a.parquet", "_FAILED_ROWS").unwrap()["source_rows"]["failed"], json!(1));
    assert!(mark(&workdir, "c.parquet", "_SUCCESS").is_some(), "no row of it failed");
    let mended = failing(compression).to_string().replace("at = [1, 26, 41]", "at = []");
    workdir.pipeline(&mended);
    let again = workdir.run_as(Said { retry_failed: true, accept_change: true, ..Said::default() });
    assert_eq!(again.finished().rows_failed_in_all, 0);
    for (object, _) in OBJECTS {
        let marks = ["_SUCCESS", "_FAILED_ROWS"].map(|name| mark(&workdir, object, name).is_some());
        assert_eq!(marks, [true, false], "{object}");
    }
    workdir
}

fn publish_into(workdir: &Workdir, to: &str, name: &str, watch: &Arc<dyn Watch>) -> Result<Published, ExchangeError> {
    let (sink, to) = (workdir.store("sink", "out", watch), workdir.store("folder", to, watch));
    let checkpoint = workdir.store("checkpoint", "checkpoint", watch);
    wait(publish(Job { view: &workdir.view(), checkpoint: &checkpoint, sink: &sink }, &to, name))
}

/// Every file of a folder, inflated, with the `.done` that names them all.
fn published(workdir: &Workdir, to: &str, compression: Compression) -> BTreeMap<String, String> {
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for (path, bytes) in workdir.snapshot(to) {
        files.insert(path.strip_prefix(workdir.path(to)).unwrap().to_str().unwrap().into(), bytes);
    }
    let done: Value = serde_json::from_slice(&files.remove(".done").expect("it is done")).unwrap();
    for file in done["files"].as_array().unwrap() {
        let bytes = &files[file["name"].as_str().unwrap()];
        assert_eq!(
            (&file["bytes"], &file["digest"]),
            (&json!(bytes.len()), &json!(blake3::hash(bytes).to_hex().as_str()))
        );
    }
    assert_eq!(done["files"].as_array().unwrap().len(), files.len(), "no trace is left");
    files.into_iter().map(|(name, bytes)| (name, inflated(&bytes, compression))).collect()
}

/// What is to be published of [`OBJECTS`].
fn expected(extension: &str) -> BTreeMap<String, String> {
    let lines = |numbers: std::ops::Range<i64>| numbers.map(|n| format!("{{\"id\":\"id-{n}\"}}\n").repeat(2)).collect();
    let name = |object: &str| {
        let stem = object.strip_suffix(".parquet").unwrap();
        let (folder, stem) =
            stem.rsplit_once('/').map_or((String::new(), stem), |(folder, stem)| (format!("{folder}/"), stem));
        format!("{folder}part-{stem}.{extension}")
    };
    OBJECTS.into_iter().map(|(object, numbers)| (name(object), lines(numbers))).collect()
}

#[test]
fn a_retried_row_is_published_where_it_stands_in_its_object() {
    for (name, extension, compression) in [
        ("none", "jsonl", Compression::None),
        ("gzip", "jsonl.gz", Compression::Gzip),
        ("zstd", "jsonl.zst", Compression::Zstd),
    ] {
        let (workdir, names) = (retried(name), format!("part-{{object}}.{extension}"));
        let said = workdir.said(&["output", "publish", "pipeline.toml", "plain", "--name", &names], 0);
        assert_mentions(&said, &["80 rows in 3 files"]);
        assert_eq!(published(&workdir, "plain", compression), expected(extension), "{name}");
        // Again, it does nothing.
        let before = workdir.snapshot("plain");
        let again = workdir.json(&["output", "publish", "checkpoint", "plain", "--name", &names, "--json"], 0);
        assert_eq!((&again["written"], &again["files"]), (&json!(0), &json!(3)));
        assert_eq!(workdir.snapshot("plain"), before);
        // A compacted log says the same.
        workdir.said(&["checkpoint", "compact", "checkpoint"], 0);
        let unwatched: Arc<dyn Watch> = Arc::new(Unwatched);
        publish_into(&workdir, "compacted", &names, &unwatched).unwrap();
        assert_eq!(published(&workdir, "compacted", compression), expected(extension), "{name}");
    }
}

#[test]
fn a_publisher_can_be_killed_at_every_step() {
    let workdir = retried("none");
    let names = "part-{object}.jsonl";
    let undisturbed = Arc::new(Crash::never());
    let watch = |crash: &Arc<Crash>| -> Arc<dyn Watch> { Arc::<Crash>::clone(crash) };
    publish_into(&workdir, "undisturbed", names, &watch(&undisturbed)).unwrap();
    let steps = undisturbed.steps();
    let stops: Vec<Stop> = (0..steps).flat_map(|step| [Stop::Before(step), Stop::After(step)]).collect();
    assert!(stops.len() > 10, "{stops:?}");
    let unwatched: Arc<dyn Watch> = Arc::new(Unwatched);
    at_once(&stops, |stop| {
        let to = format!("{stop:?}");
        let _ = publish_into(&workdir, &to, names, &watch(&Arc::new(Crash::at(*stop))));
        let plain =
            workdir.files(&to).into_iter().filter(|path| !path.to_str().unwrap().contains("/.publishing/")).count();
        // As a local store leaves it that was killed.
        std::fs::create_dir_all(workdir.path(&to).join("x")).unwrap();
        std::fs::write(workdir.path(&to).join("x/part-50% b.jsonl#1"), "half").unwrap();
        let went_on = publish_into(&workdir, &to, names, &unwatched).unwrap();
        // At most one of each that are written at once was there, and not known to be complete.
        assert!(went_on.written + plain as u64 <= 3 + 4, "{stop:?}: {went_on:?}, {plain} before");
        assert_eq!(published(&workdir, &to, Compression::None), expected("jsonl"), "{stop:?}");
    });
    println!("{} points", stops.len());
    // The job goes on: what is published is of the state that it has now.
    workdir.numbers("d.parquet", 40..43, 8);
    workdir.run().finished();
    let more = publish_into(&workdir, "undisturbed", names, &unwatched).unwrap();
    assert_eq!((more.files, more.written, more.rows), (4, 4, 86));
    assert_eq!(published(&workdir, "undisturbed", Compression::None)["part-d.jsonl"].lines().count(), 6);
}

/// What another system has done is not published as nothing.
#[test]
fn objects_that_were_done_elsewhere_are_left_out() {
    let job = failing("none").by_position();
    let workdir = workdir_of(&job);
    std::fs::write(workdir.path("done.txt"), "a.parquet\n").unwrap();
    workdir.said(&["checkpoint", "import", "pipeline.toml", "--objects", "done.txt"], 0);
    workdir.run().finished();
    let name = "part-{object}.jsonl";
    let said = workdir.said(&["output", "publish", "pipeline.toml", "plain", "--name", name], 0);
    assert_mentions(&said, &["28 rows in 2 files", "1 object done elsewhere"]);
    let plain: Vec<String> = published(&workdir, "plain", Compression::None).into_keys().collect();
    assert_eq!(plain, ["part-c.jsonl", "x/part-50% b.jsonl"]);
}

#[test]
fn what_cannot_be_published_is_refused_and_nothing_is_written() {
    let refused = |workdir: &Workdir, name: &str, words: &[&str]| {
        let unwatched: Arc<dyn Watch> = Arc::new(Unwatched);
        let error = publish_into(workdir, "to", name, &unwatched).unwrap_err();
        assert_mentions(&format!("{error}\nhint: {}", error.hint().unwrap_or_default()), words);
        assert_eq!(workdir.files("to").len(), 0, "{error}");
    };
    let names = "part-{object}.jsonl";
    let lines = |more: &str| twice().sink("columns = [\"id\"]\nformat = \"jsonl\"\ncompression = \"none\"").sink(more);
    let flat = workdir_of(&lines("layout = \"flat\""));
    flat.run().finished();
    refused(&flat, names, &["rows of any objects", "hint: write layout = \"mirror\""]);
    let parquet = workdir_of(&twice());
    parquet.run().finished();
    refused(&parquet, names, &[".parquet files cannot be joined", "hint: write format"]);
    let workdir = workdir_of(&lines("layout = \"mirror\""));
    workdir.run_with(&Arc::new(Crash::at(Stop::Committed(1))), false);
    refused(&workdir, names, &["the job is not finished", "hint: run it"]);
    workdir.run().finished();
    let said = workdir.said(&["output", "publish", "pipeline.toml", "in/plain", "--name", names], 2);
    assert_mentions(&said, &["the source of the job", "hint: choose a folder of its own"]);
    refused(&workdir, "part-{object}.txt", &["does not end in .jsonl"]);
    refused(&workdir, "all.jsonl", &["a.parquet and c.parquet would both be all.jsonl", "hint: write {object}"]);
    std::fs::create_dir(workdir.path("to")).unwrap();
    std::fs::write(workdir.path("to/part-a.jsonl"), "mine").unwrap();
    let said = workdir.said(&["output", "publish", "pipeline.toml", "to", "--name", names], 2);
    assert_mentions(&said, &["holds part-a.jsonl already", "hint: name a folder that is empty"]);
    workdir.said(&["output", "publish", "pipeline.toml", "once", "--name", names], 0);
    let said = workdir.said(&["output", "publish", "pipeline.toml", "once", "--name", "{object}.jsonl"], 2);
    assert_mentions(&said, &["published with --name 'part-{object}.jsonl'"]);
}
