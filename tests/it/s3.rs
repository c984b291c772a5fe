//! Jobs whose source, sink and checkpoint lie in a bucket, all or some of them, on a server that fails, is slow, or forgets
//! to answer. The oracle is the one of `crash`: the output is that of one undisturbed run, and one more run writes nothing.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use wasmpipe_s3::{Fault, Op, SECRET, What};

use crate::support::place::assert_manifest_is_folder;
use crate::support::s3::{OnS3, TOKEN};
use crate::support::seam::{Crash, Stop};
use crate::support::{Workdir, each_twice};

const PIPELINE: &str = r#"
[source]
path = "s3://bucket/in/"
id = "id"
{store}
[[stage]]
component = "{guests}/hostile.wasm"
function = "twice"
[sink]
path = "s3://bucket/out/"
columns = ["id", "twice"]
{store}
[checkpoint]
path = "s3://bucket/checkpoint"
group_rows_max = 10
{store}
[run]
workers = 2
readers = 2
block_rows_max = 4
"#;

/// A bucket on moto, with the files that are named. For each line that it reads, it copies all objects into that folder.
const MOTO: &str = r#"
import os, sys
import boto3
from moto.server import ThreadedMotoServer
answers, sys.stdout = sys.stdout, sys.stderr  # the server has words of its own
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
server.start()
endpoint = "http://%s:%d" % server.get_host_and_port()
keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any", "region_name": "us-east-1"}
s3 = boto3.client("s3", endpoint_url=endpoint, **keys)
s3.create_bucket(Bucket="bucket")
for path in sys.argv[1:]:
    s3.upload_file(path, "bucket", "in/" + os.path.basename(path))
print(endpoint, file=answers, flush=True)
for folder in sys.stdin:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket="bucket")
    for key in [entry["Key"] for page in pages for entry in page.get("Contents", [])]:
        path = os.path.join(folder.strip(), key)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        s3.download_file("bucket", key, path)
    print(len(s3.list_multipart_uploads(Bucket="bucket").get("Uploads", [])), file=answers, flush=True)
"#;

/// One file of more than two parts: two readers would make two, if each is at work for long enough.
const LARGE: &str = r#"
[source]
path = "s3://bucket/in/*.parquet"
{store}
[sink]
path = "s3://bucket/out"
compression = "none"
{store}
[checkpoint]
path = "s3://bucket/checkpoint"
{store}
[run]
readers = 1
"#;

fn job() -> OnS3 {
    let workdir = Workdir::new();
    workdir.numbers("a.parquet", 0..25, 8);
    workdir.numbers("b.parquet", 25..40, 6);
    OnS3::new(workdir, PIPELINE)
}

fn large() -> OnS3 {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..2500));
    let text: ArrayRef = Arc::new((0..2500).map(|n| Some(unlike_others(n))).collect::<StringArray>());
    let workdir = Workdir::new();
    workdir.file("a.parquet", &RecordBatch::try_from_iter([("n", numbers), ("text", text)]).unwrap(), 500);
    OnS3::new(workdir, LARGE)
}

/// 10 kB that no dictionary helps with.
fn unlike_others(seed: u64) -> String {
    format!("{seed:010}").repeat(1000)
}

/// Everything that must hold after the job ended in order, however it got there.
#[track_caller]
fn assert_exactly_once(job: &OnS3, context: &str) {
    assert_eq!(job.output("bucket/out/"), each_twice(0..40), "{context}");
    assert_nothing_left_over(job, context);
}

#[track_caller]
fn assert_nothing_left_over(job: &OnS3, context: &str) {
    assert_manifest_is_folder(&job.view(), &job.objects("out"), context);
    assert_eq!(job.server.uploads(), [""; 0], "{context}");
    let before = job.server.objects("bucket/");
    assert_eq!(job.run().finished().run, None, "{context}");
    assert!(job.server.objects("bucket/") == before, "a finished job wrote something: {context}");
}

#[test]
fn a_job_on_s3_is_done_exactly_once_and_read_by_the_tools() {
    let job = job();
    job.run().finished();
    assert_exactly_once(&job, "undisturbed");
    let plan = job.wasmpipe(&["plan", "pipeline.toml"]);
    let text = String::from_utf8_lossy(&plan.stdout).into_owned();
    assert!(plan.status.success() && text.contains("s3://bucket/out"), "{text}");
    // A pipeline file says how its stores are reached, so the environment need not.
    for args in [["checkpoint", "inspect", "pipeline.toml"], ["output", "verify", "pipeline.toml"]] {
        let mut command = job.command(&args);
        let output = command.env_remove("AWS_ENDPOINT_URL").env_remove("AWS_ALLOW_HTTP").output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn local_places_and_buckets_mix() {
    for local in ["source", "sink", "checkpoint"] {
        let job = job();
        let url = |name: &str| {
            if name == "source" {
                "s3://bucket/in/"
            } else if name == "sink" {
                "s3://bucket/out/"
            } else {
                "s3://bucket/checkpoint"
            }
        };
        let folder = if local == "source" {
            "in"
        } else if local == "sink" {
            "out"
        } else {
            "checkpoint"
        };
        let text = PIPELINE.replace(&format!("path = \"{}\"", url(local)), &format!("path = \"{folder}\""));
        // The store of the local section would be one that does nothing, which is refused.
        let at = text.find(&format!("path = \"{folder}\"")).unwrap();
        let store = at + text[at..].find("{store}").unwrap();
        job.pipeline(&format!("{}{}", &text[..store], &text[store + "{store}".len()..]));
        job.run().finished();
        let rows = if local == "sink" { job.workdir.output("out") } else { job.output("bucket/out/") };
        assert_eq!(rows, each_twice(0..40), "{local} is local");
        assert_eq!(job.run().finished().run, None, "{local} is local");
    }
}

#[test]
fn every_durable_step_on_s3_is_a_safe_place_to_die() {
    let undisturbed = Arc::new(Crash::never());
    job().run_with(&undisturbed).finished();
    let steps = undisturbed.steps();
    let mut died = 0;
    for stop in (0..steps).flat_map(|step| [Stop::Before(step), Stop::After(step)]) {
        let job = job();
        let crash = Arc::new(Crash::at(stop));
        // What is lost without a word is courtesy: then the job is finished, and one more run writes nothing.
        if job.run_with(&crash).error.is_some() {
            died += 1;
            job.run().finished();
        }
        assert_exactly_once(&job, &format!("{stop:?} of {steps}"));
    }
    assert!(died >= steps, "{died} of {steps} steps were noticed");
    println!("{} points on S3, none lost, none doubled", steps * 2);
}

#[test]
fn k10_uploads_that_dead_runs_left_are_given_up_and_those_of_others_are_not() {
    let undisturbed = Arc::new(Crash::never());
    let whole = large();
    whole.run_with(&undisturbed).finished();
    let expected = whole.output("bucket/out/");
    let seen = undisturbed.seen();
    let is = |what: &'static str| move |seen: &String| seen.starts_with(what);
    assert!(seen.iter().filter(|seen| is("sink UploadPart")(seen)).count() >= 2, "{seen:?}");
    let step = seen.iter().rposition(is("sink UploadPart")).unwrap() as u64;
    let mut left = 0;
    for stop in [Stop::Before(step), Stop::After(step), Stop::Before(step + 1), Stop::After(step + 1)] {
        let job = large();
        job.run_with(&Arc::new(Crash::at(stop)));
        left += job.server.uploads().len();
        job.run().finished();
        assert_eq!(job.server.uploads(), [""; 0], "{stop:?}");
        assert_eq!(job.output("bucket/out/"), expected, "{stop:?}");
    }
    assert!(left >= 3, "{left}");
}

#[test]
fn k10_uploads_are_listed_page_by_page_and_only_ours_are_given_up() {
    let job = large();
    let step = |seen: &[String]| seen.iter().rposition(|seen| seen.starts_with("sink UploadPart")).unwrap() as u64;
    let undisturbed = Arc::new(Crash::never());
    large().run_with(&undisturbed).finished();
    let stop = Stop::Before(step(&undisturbed.seen()));
    for _ in 0..3 {
        job.run_with(&Arc::new(Crash::at(stop)));
    }
    let others = ["0123456789abcdef-0-0123456789abcdef-000000.parquet", "another.parquet"];
    others.iter().for_each(|name| job.server.begin_upload(&format!("bucket/out/{name}")));
    job.server.begin_upload("bucket/outside.parquet");
    job.server.page(1);
    job.run().finished();
    let wanted: Vec<String> = others.iter().map(|name| format!("bucket/out/{name}")).collect();
    assert_eq!(job.server.uploads(), [&wanted[..], &["bucket/outside.parquet".into()]].concat());
    assert!(job.server.count(Op::UploadList, "bucket/out/") >= 3);
}

#[test]
fn k13_a_store_that_is_busy_slow_or_breaks_off_is_asked_again() {
    let faults: [(&str, Vec<Fault>); 5] = [
        ("503", vec![Fault::of_all(What::Refuse(503)).every(3)]),
        ("429 and 500", vec![Fault::of_all(What::Refuse(429)).every(4), Fault::of_all(What::Refuse(500)).every(7)]),
        ("connections closed", vec![Fault::of(Op::Get, What::Drop).every(3), Fault::of(Op::List, What::Drop).every(2)]),
        ("slow", vec![Fault::of_all(What::Delay(Duration::from_millis(20)))]),
        (
            "all of it",
            vec![
                Fault::of_all(What::Refuse(503)).every(5),
                Fault::of(Op::Put, What::Lie(500)).every(4),
                Fault::of(Op::Put, What::LoseAnswer).every(7),
            ],
        ),
    ];
    for (name, faults) in faults {
        let job = job();
        faults.into_iter().for_each(|fault| job.server.fault(fault));
        job.run().finished();
        job.server.heal();
        assert_exactly_once(&job, name);
    }
}

#[test]
fn k13_an_answer_that_comes_too_late_is_asked_for_again() {
    let job = job();
    let text = std::fs::read_to_string(job.workdir.path("pipeline.toml")).unwrap();
    let text = text.replace("timeout_seconds = 20", "timeout_seconds = 1");
    std::fs::write(job.workdir.path("pipeline.toml"), text).unwrap();
    for (op, every) in [(Op::Get, 6), (Op::Put, 5), (Op::List, 3)] {
        job.server.fault(Fault::of(op, What::Delay(Duration::from_millis(1500))).every(every).times(2));
    }
    job.run().finished();
    job.server.heal();
    assert_exactly_once(&job, "after late answers");
}

#[test]
fn k13_an_answer_that_is_lost_is_found_out() {
    for what in [What::LoseAnswer, What::Lie(500), What::Lie(503)] {
        let job = job();
        job.server.fault(Fault::of(Op::Put, what).every(2));
        job.run().finished();
        job.server.heal();
        assert_exactly_once(&job, &format!("{what:?}"));
    }
}

/// The second completion finds no upload any more.
#[test]
fn k13_a_completion_whose_answer_is_lost_is_a_completion() {
    for what in [What::Lie(500), What::LoseAnswer] {
        let job = large();
        job.server.fault(Fault::of(Op::UploadComplete, what).times(1));
        job.server.fault(Fault::of(Op::UploadPart, What::Lie(500)).every(2));
        let ran = job.run();
        if what == What::LoseAnswer && ran.error.is_some() {
            // Nobody knows whether it may be sent again; the next run does it anew.
            job.run().finished();
        } else {
            ran.finished();
        }
        assert_eq!(job.output("bucket/out/").values().sum::<u64>(), 2500, "{what:?}");
        assert_nothing_left_over(&job, &format!("{what:?}"));
    }
}

#[test]
fn k13_a_store_that_stays_away_fails_the_run_and_loses_nothing() {
    let job = job();
    job.server.fault(Fault::of(Op::Put, What::Refuse(503)).below("bucket/out/"));
    let error = job.run().error().to_owned();
    assert!(error.contains("503") && error.contains("hint: "), "{error}");
    job.server.heal();
    job.run().finished();
    assert_exactly_once(&job, "after the store came back");
}

#[test]
fn a_source_in_a_bucket_is_listed_once_and_one_file_is_not_listed() {
    let job = job();
    job.server.page(1);
    job.run().finished();
    assert_eq!(job.output("bucket/out/"), each_twice(0..40));
    job.server.forget();
    assert_eq!(job.run().finished().run, None);
    assert_eq!(job.server.count(Op::Get, "bucket/in/") + job.server.count(Op::Head, "bucket/in/"), 0);

    let job = self::job();
    let one = PIPELINE.replace("s3://bucket/in/", "s3://bucket/in/b.parquet");
    job.pipeline(&one);
    job.run().finished();
    assert_eq!(job.output("bucket/out/").values().sum::<u64>(), 30);
    assert_eq!(job.server.count(Op::List, "bucket/in"), 0);
    assert!(job.server.count(Op::Head, "bucket/in/b.parquet") >= 1);
}

#[test]
fn a_changed_object_is_noticed_by_its_tag() {
    let job = job();
    let crash = Arc::new(Crash::at(Stop::Committed(1)));
    job.run_with(&crash);
    let (_, a) = job.server.objects("bucket/in/a.parquet").remove(0);
    let (_, b) = job.server.objects("bucket/in/b.parquet").remove(0);
    job.server.put("bucket/in/a.parquet", b);
    job.server.put("bucket/in/b.parquet", a);
    job.run().finished();
    assert_eq!(job.output("bucket/out/"), each_twice(0..40));
}

#[test]
fn places_in_one_bucket_must_not_lie_in_each_other() {
    let cases = [
        ("s3://bucket/out/", "s3://bucket/in/out", "the sink lies in the source"),
        ("s3://bucket/checkpoint", "s3://bucket/out/c", "checkpoint and sink lie in each other"),
        ("s3://bucket/checkpoint", "s3://bucket/in", "the checkpoint lies in the source"),
        ("s3://bucket/out/", "s3://bucket", "the source lies in the sink"),
    ];
    for (was, is, said) in cases {
        let job = job();
        job.pipeline(&PIPELINE.replace(was, is));
        let ran = job.run();
        assert!(ran.refused().contains(said), "{}", ran.refused());
    }
    let job = job();
    job.pipeline(&PIPELINE.replace("s3://bucket/out/", "s3://bucket/input"));
    job.run().finished();
}

#[test]
fn what_is_wrong_with_a_bucket_is_said_with_the_line() {
    let cases: [(&str, &str, &[&str]); 6] = [
        ("s3://bucket/in/", "s3://absent/in/", &["pipeline.toml:3:", "NoSuchBucket", "hint: check the bucket's name"]),
        ("s3://bucket/in/", "s3://bucket/in/c.parquet", &["pipeline.toml:3:", "c.parquet", "end it with a slash"]),
        ("s3://bucket/in/", "s3://bucket/empty/", &["pipeline.toml:3:", "takes no file", "a prefix with files"]),
        ("s3://bucket/out/", "s3://b/out/", &["pipeline.toml:10:", "no bucket", "s3://bucket/prefix"]),
        ("allow_http = true, ", "", &["pipeline.toml:5:", "does not encrypt", "allow_http = true"]),
        ("allow_http", "profile = \"absent\", allow_http", &["pipeline.toml:5:", "no profile `absent`"]),
    ];
    for (was, is, said) in cases {
        let job = job();
        let text = std::fs::read_to_string(job.workdir.path("pipeline.toml")).unwrap();
        std::fs::write(job.workdir.path("pipeline.toml"), text.replace(was, is)).unwrap();
        let ran = job.run();
        said.iter().for_each(|said| assert!(ran.refused().contains(said), "{said}: {}", ran.refused()));
    }
}

/// With a wrong secret the store repeats what was signed; with a fault it repeats what it likes.
#[test]
fn no_output_holds_a_secret() {
    let job = job();
    job.server.fault(Fault::of(Op::Put, What::Refuse(500)).below("bucket/out/"));
    let mut all = Vec::new();
    for (variable, value) in [("AWS_SECRET_ACCESS_KEY", "wr0ngS3cret"), ("WASMPIPE_LOG", "trace"), ("X", "")] {
        let mut command = job.command(&["run", "pipeline.toml"]);
        let output = command.env("WASMPIPE_LOG", "trace").env(variable, value).output().unwrap();
        assert!(!output.status.success());
        all.extend([output.stdout, output.stderr]);
    }
    let text = all.concat();
    let text = String::from_utf8_lossy(&text);
    assert!(text.contains("SignatureDoesNotMatch") && text.contains("A fault of the test"), "{text}");
    job.server.heal();
    let output = job.wasmpipe(&["run", "pipeline.toml", "--summary", "summary.json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    all.extend([output.stdout, output.stderr, std::fs::read(job.workdir.path("summary.json")).unwrap()]);
    all.extend(job.server.objects("bucket/").into_iter().map(|(_, bytes)| bytes.to_vec()));
    for bytes in all {
        let text = String::from_utf8_lossy(&bytes);
        let held = [SECRET, TOKEN, "wr0ngS3cret"].into_iter().find(|secret| text.contains(secret));
        assert_eq!(held, None, "{text}");
    }
}

/// A second opinion: a server that others wrote, with a run that died while it uploaded a file in parts.
#[test]
fn moto_agrees() {
    let job = large();
    let undisturbed = Arc::new(Crash::never());
    job.run_with(&undisturbed).finished();
    let step = undisturbed.seen().iter().rposition(|seen| seen.starts_with("sink UploadPart")).unwrap() as u64;

    let python = std::env::var("WASMPIPE_TEST_PYTHON").expect("run `cargo xtask test`, which installs moto");
    let mut moto = Command::new(python);
    let moto = moto.args(["-c", MOTO]).arg(job.workdir.path("in/a.parquet")).stderr(Stdio::null());
    let mut moto = moto.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut answers = BufReader::new(moto.stdout.take().unwrap()).lines();
    let endpoint = answers.next().unwrap().unwrap();
    job.pipeline(&LARGE.replace("{store}", &format!("store = {{ endpoint = \"{endpoint}\", allow_http = true }}")));
    let mut copy = |name: &str| {
        writeln!(moto.stdin.as_mut().unwrap(), "{}", job.workdir.path(name).display()).unwrap();
        (answers.next().unwrap().unwrap(), job.workdir.snapshot(name).into_values().collect::<Vec<_>>())
    };

    let died = job.run_with(&Arc::new(Crash::at(Stop::Before(step))));
    assert!(died.error().contains("the process is dead"), "{died:?}");
    assert_eq!(copy("died").0, "1", "an upload is left");
    job.run().finished();
    let (uploads, finished) = copy("finished");
    assert_eq!(uploads, "0");
    assert_eq!(job.workdir.output("finished/out"), job.output("bucket/out/"));
    assert_eq!(job.run().finished().run, None);
    assert!(copy("again").1 == finished, "a finished job wrote something");
    moto.kill().unwrap();
    moto.wait().unwrap();
}
