//! Rows that end the function: exactly these fail, whatever they do, wherever they stand, and however often the run is
//! killed; and a search for them that would not end is given up in order.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use expect_test::expect;
use serde_json::Value;
use wasmpipe::observe::Outcome;

use crate::support::pipeline::{Pipeline, in_small_blocks, pipeline};
use crate::support::process::Process;
use crate::support::{Workdir, assert_mentions, guests, is_soak, killed_at_every_step, once};

const LIMITS: &str = "memory_bytes_max = \"16 MiB\"";
/// Texts of 300 MiB, and 2^24 rows, must fit into the guest for it to answer with them.
const ROOMY: &str = "block_seconds_max = 60\nisolate_seconds_max = 7200\nmemory_bytes_max = \"1 GiB\"";

/// A way to end a function, what a dead letter says of it, and words of its message.
struct Attack {
    how: &'static str,
    kind: &'static str,
    words: &'static str,
    limits: &'static str,
    /// So many of the last row, the first, both; what a vain call costs decides how many. A soak has time for all.
    places: usize,
    /// So many rows that are a block, and all like that; none is a matter for a soak, which has 64.
    whole: i64,
}

const SMALL: [Attack; 4] = [
    Attack { how: "trap", kind: "trap", words: "is poison", limits: LIMITS, places: 3, whole: 64 },
    Attack {
        how: "loop",
        kind: "limit",
        words: "ran out of time",
        limits: "block_seconds_max = 0.2",
        places: 2,
        whole: 4,
    },
    Attack { how: "memory", kind: "limit", words: "memory_bytes_max", limits: LIMITS, places: 3, whole: 64 },
    Attack { how: "stack", kind: "trap", words: "trapped", limits: LIMITS, places: 3, whole: 64 },
];

const LARGE: [Attack; 2] = [
    Attack { how: "bytes", kind: "limit", words: "answer_bytes_max", limits: ROOMY, places: 1, whole: 0 },
    Attack { how: "rows", kind: "limit", words: "answer_rows_max", limits: ROOMY, places: 1, whole: 0 },
];

const TRAP: &Attack = &SMALL[0];
const LOOP: &Attack = &SMALL[1];

impl Attack {
    fn stage(&self, at: &[i64], more: &str) -> String {
        let Attack { how, limits, .. } = self;
        format!("hostile.poisoned\nconfig = {{ how = \"{how}\", at = {at:?} }}\n{limits}\n{more}")
    }
}

/// One group of three blocks; ids and texts are kept.
fn job(stage: &str, block_rows: i64) -> Pipeline {
    let job = pipeline(&[stage]).sink("columns = [\"id\", \"poisoned\"]");
    job.run(&format!("workers = 1\nreaders = 1\nblock_rows_max = {block_rows}"))
}

fn results(rows: impl Iterator<Item = i64>) -> crate::support::Multiset {
    once(rows.map(|n| format!("id-{n}|{n}")))
}

/// The rows of a job's dead letters, with their kinds and messages.
fn letters(workdir: &Workdir) -> Vec<(i64, String, String)> {
    let output = workdir.wasmpipe(&["dead-letters", "show", "--json", "pipeline.toml"]);
    let lines = String::from_utf8(output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let letter = |letter: Value| (letter["n"].as_i64().unwrap(), text(&letter["kind"]), text(&letter["message"]));
    let mut letters: Vec<_> = lines.lines().map(|line| letter(serde_json::from_str(line).unwrap())).collect();
    letters.sort();
    letters
}

/// Runs three blocks; rows of the middle one are poison. Gives the number of calls that it took to find them.
fn exactly_these_fail(attack: &Attack, block: i64, at: &[i64]) -> u64 {
    let stage = attack.stage(at, "on_error = \"dead-letter\"\nisolate_hangs_max = 64");
    let workdir = Workdir::with(&job(&stage, block), &[("a.parquet", 0..3 * block, 3 * block as usize)]);
    let ran = workdir.run();
    let summary = ran.finished();
    assert_eq!((summary.rows_dead_lettered, summary.rows_failed), (at.len() as u64, 0), "{}: {at:?}", attack.how);
    assert_eq!(workdir.output("out"), results((0..3 * block).filter(|n| !at.contains(n))), "{}: {at:?}", attack.how);
    let letters = letters(&workdir);
    assert_eq!(letters.iter().map(|(row, ..)| *row).collect::<Vec<_>>(), at);
    for (row, kind, message) in &letters {
        assert_eq!(kind, attack.kind, "{message}");
        assert_mentions(message, &[attack.words, "`poisoned`"]);
        assert!(attack.how != "trap" || message.contains(&format!("{row} is poison")), "its own: {message}");
    }
    summary.isolate_calls
}

/// The rows that end the function are the last of a block of 64, the first, both; or all.
fn of_a_block(attack: &Attack) {
    let started = Instant::now();
    let (places, whole) = if is_soak() { (3, 64) } else { (attack.places, attack.whole) };
    let at: [(&[i64], u64); 3] = [(&[127], 7), (&[64], 12), (&[64, 127], 18)];
    for (at, calls) in &at[..places] {
        assert_eq!(exactly_these_fail(attack, 64, at), *calls, "{}: {at:?}", attack.how);
    }
    if whole > 0 {
        let all: Vec<i64> = (whole..2 * whole).collect();
        assert_eq!(exactly_these_fail(attack, whole, &all), 2 * whole as u64 - 2, "{}", attack.how);
    }
    let (calls, seconds) = (at.map(|(_, calls)| calls), started.elapsed().as_secs_f64());
    println!("{}: {:?} calls, and for all {whole} rows, {seconds:.1} s", attack.how, &calls[..places]);
}

#[test]
fn of_a_block_of_64_rows_exactly_those_fail_that_end_the_function() {
    SMALL.iter().for_each(of_a_block);
}

#[test]
fn of_a_block_of_64_rows_exactly_those_fail_that_answer_with_too_many_bytes() {
    of_a_block(&LARGE[0]);
}

#[test]
fn of_a_block_of_64_rows_exactly_those_fail_that_answer_with_too_many_rows() {
    of_a_block(&LARGE[1]);
}

/// A million rows in blocks of 65,536, as many as a block has by itself.
#[test]
fn of_a_million_rows_exactly_one_fails() {
    let rows = if is_soak() { 1_000_000 } else { 140_000 };
    for attack in SMALL.iter().chain(&LARGE).filter(|attack| is_soak() || attack.how == "trap") {
        for at in [0, rows / 2 + 77, rows - 1].into_iter().take(if is_soak() { 3 } else { 1 }) {
            let stage = attack.stage(&[at], "on_error = \"skip\"");
            let job = job(&stage, 65_536).run("workers = 2\nblock_bytes_max = \"64 MiB\"");
            let workdir = Workdir::with(&job, &[("a.parquet", 0..rows, 200_000)]);
            let started = Instant::now();
            let ran = workdir.run();
            let summary = ran.finished();
            assert_eq!((summary.rows_failed, summary.rows_written), (1, rows as u64 - 1), "{}", attack.how);
            // Of 64 rows, the first call's, to 65,536.
            assert!((6..=32).contains(&summary.isolate_calls), "{}", summary.isolate_calls);
            assert!(!workdir.output("out").contains_key(&format!("id-{at}|{at}")));
            let (calls, seconds) = (summary.isolate_calls, started.elapsed().as_secs_f64());
            println!("{}: row {at} of {rows}: {calls} calls, {seconds:.1} s", attack.how);
        }
    }
}

#[test]
fn a_row_that_was_refused_and_one_that_ends_the_function_are_told_apart() {
    // Every number twice, then poison: a source row has several rows where it fails, and fails once.
    let stages = [
        "hostile.errors_on\nconfig = { at = [3, 9] }\non_error = \"skip\"",
        "hostile.twice",
        "hostile.poisoned\nconfig = { how = \"trap\", at = [4, 10] }\non_error = \"dead-letter\"",
    ];
    let workdir = Workdir::with(&in_small_blocks(&stages, "\"id\", \"poisoned\""), &[("a.parquet", 0..20, 20)]);
    let ran = workdir.run();
    let summary = ran.finished();
    assert_eq!((summary.rows_failed, summary.rows_dead_lettered, summary.rows_written), (2, 2, 32));
    assert_eq!(letters(&workdir).iter().map(|(row, ..)| *row).collect::<Vec<_>>(), [4, 10]);
    let survivors = (0..20).filter(|n| ![3, 4, 9, 10].contains(n)).flat_map(|n| [n, n]);
    assert_eq!(workdir.output("out"), results(survivors));
}

/// An instance that others have left without memory is not a row's fault.
#[test]
fn memory_that_was_lost_before_is_no_rows_fault() {
    let leak = "hostile.leak\nconfig = { bytes = 3000000 }\nmemory_bytes_max = \"16 MiB\"";
    for block_rows in [1, 8] {
        let job = pipeline(&[leak]).run(&format!("workers = 1\nreaders = 1\nblock_rows_max = {block_rows}"));
        let workdir = Workdir::with(&job, &[("a.parquet", 0..80, 80)]);
        let ran = workdir.run();
        let summary = ran.finished();
        assert_eq!((summary.rows_failed, summary.rows_written), (0, 80));
        assert!(summary.isolate_calls > 0, "the instance did lose its memory");
    }
}

#[test]
fn under_fail_the_first_row_is_named_and_the_run_goes_on_without_it() {
    let attack = TRAP;
    let stage = |on_error| job(&attack.stage(&[70, 100], on_error), 64);
    let workdir = Workdir::with(&stage(""), &[("a.parquet", 0..192, 192)]);
    let ran = workdir.run();
    let summary = ran.summary();
    assert_eq!((summary.outcome, summary.rows_committed), (Outcome::Failed, 0), "{:?}", ran.error);
    assert_mentions(ran.error(), &["a.parquet row 70 (id=\"id-70\")", "70 is poison", "--skip 70 --rows 1", "hint: "]);
    workdir.pipeline(&stage("isolate_calls_max = 0"));
    let ran = workdir.run();
    assert_mentions(ran.error(), &["a.parquet rows 64 to 127", "isolate_calls_max = 0", "70 is poison", "hint: "]);
    assert!(!ran.error().contains("on_unseparated"), "no row is left out under fail: {}", ran.error());
    workdir.pipeline(&stage("on_error = \"skip\""));
    assert_eq!(workdir.run().finished().rows_failed, 2);
    assert_eq!(workdir.output("out"), results((0..192).filter(|n| ![70, 100].contains(n))));
}

/// As the log of the real binary has it, without times.
fn said(workdir: &Workdir, code: i32) -> String {
    let mut command = workdir.command(&["run", "--quiet", "pipeline.toml"]);
    let output = command.env("WASMPIPE_LOG", "error").output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{text}");
    text.replace(guests().to_str().unwrap(), "guests")
}

#[test]
fn a_spent_search_ends_the_run_and_names_the_rows_and_all_may_be_left_out() {
    let at: Vec<i64> = (64..70).collect();
    let stage = |more| job(&TRAP.stage(&at, &format!("on_error = \"skip\"\nisolate_calls_max = 9\n{more}")), 64);
    let workdir = Workdir::with(&stage(""), &[("a.parquet", 0..192, 192)]);
    let text = said(&workdir, 1);
    let (before, after) = text.split_once("9 calls in ").unwrap();
    let after = after.split_once(" s that").unwrap().1;
    let (after, place) = after.split_once("hostile.rs:").unwrap();
    let error = format!("{before}9 calls in N s that{after}hostile.rs:N{}", &place[place.find(": ").unwrap()..]);
    let error = error.lines().filter(|line| line.starts_with("error: ") || line.starts_with("  hint: "));
    expect![[r#"
        error: stage 1 (poisoned) of guests/hostile.wasm (pipeline.toml, line 6): a.parquet rows 67 to 127: of these rows some end the function, and were not told apart: isolate_calls_max = 9, after 9 calls in N s that found 3 rows before them; the last call with the first of them: `poisoned` panicked at src/hostile.rs:N: 66 is poison
          hint: the same command does them again; before it, mend the function, raise `isolate_calls_max`, or let them all fail with on_unseparated = "skip" in this stage"#]].assert_eq(&error.collect::<Vec<_>>().join("\n"));
    let committed = workdir.inspect()["rows_committed"].as_u64();
    assert_eq!(committed, Some(0), "nothing of the group");
    workdir.pipeline(&stage("on_unseparated = \"skip\""));
    let ran = workdir.run();
    // Rows 64 to 66 were found; then the calls were spent, and all others of the block fail unseparated.
    assert_eq!((ran.finished().rows_failed, ran.finished().isolate_calls), (64, 9));
    assert_eq!(workdir.output("out"), results((0..64).chain(128..192)));
    // With more calls they are found after all.
    workdir.pipeline(&job(&TRAP.stage(&at, "on_error = \"skip\""), 64));
    let again = workdir.run_as(crate::support::Said { retry_failed: true, ..Default::default() });
    assert_eq!(again.finished().rows_failed, 6);
    assert_eq!(workdir.output("out"), results((0..192).filter(|n| !at.contains(n))));
}

/// Each block has its rows that hang, and the run has time for none of them: blocks of one row are called alone all the same.
#[test]
fn all_searches_of_a_run_have_a_time_together() {
    let stage = |more| TRAP.stage(&[70, 100], &format!("on_error = \"skip\"\nisolate_run_seconds_max = 0\n{more}"));
    let workdir = Workdir::with(&job(&stage(""), 64), &[("a.parquet", 0..192, 192)]);
    let ran = workdir.run();
    assert_mentions(
        ran.error(),
        &[
            "a.parquet rows 64 to 127",
            "isolate_run_seconds_max = 0, after 0 calls",
            "70 is poison",
            "raise `isolate_run",
        ],
    );
    workdir.pipeline(&job(&stage("on_unseparated = \"skip\""), 64));
    assert_eq!(workdir.run().finished().rows_failed, 64);
    assert_eq!(workdir.output("out"), results((0..64).chain(128..192)));
    let workdir = Workdir::with(&job(&stage(""), 1), &[("a.parquet", 60..110, 50)]);
    assert_eq!(workdir.run().finished().rows_failed, 2);
    assert_eq!(workdir.output("out"), results((60..110).filter(|n| ![70, 100].contains(n))));
}

#[test]
fn rows_that_hang_one_after_the_other_end_the_search() {
    let at: Vec<i64> = (64..128).collect();
    let loops = LOOP;
    let workdir = |more: &str| {
        let stage = loops.stage(&at, &format!("on_error = \"dead-letter\"\nisolate_hangs_max = 2\n{more}"));
        Workdir::with(&job(&stage, 64), &[("a.parquet", 0..192, 192)])
    };
    let ran = workdir("").run();
    assert_mentions(
        ran.error(),
        &["stage 1 (poisoned)", "a.parquet rows 66 to 127", "isolate_hangs_max = 2", "found 2 rows", "on_unseparated"],
    );
    let workdir = workdir("on_unseparated = \"skip\"");
    assert_eq!(workdir.run().finished().rows_dead_lettered, 64);
    assert_eq!(workdir.output("out"), results((0..64).chain(128..192)));
    let letters = letters(&workdir);
    assert!(letters.iter().all(|(_, kind, message)| kind == "limit" && message.contains("ran out of time")));
    let is_left = |(_, _, message): &&(i64, String, String)| message.contains("which were not told apart");
    assert_eq!(letters.iter().filter(is_left).count(), 62, "{:?}", letters[2]);
    assert_mentions(&letters[63].2, &["a.parquet rows 96 to 127", "isolate_hangs_max = 2"]);
}

/// As in `crash.rs`: every durable step is a safe place to die, with rows that are found anew after each.
#[test]
fn killed_at_every_step_exactly_the_poison_fails() {
    let stages = ["hostile.poisoned\nconfig = { how = \"trap\", at = [0, 11, 12, 39] }\non_error = \"dead-letter\""];
    let job = in_small_blocks(&stages, "\"id\", \"poisoned\"").run("workers = 1\nreaders = 1");
    let workdir = || {
        let workdir = Workdir::quick();
        workdir.numbers("a.parquet", 0..25, 8);
        workdir.numbers("b.parquet", 25..40, 6);
        workdir.pipeline(&job);
        workdir
    };
    killed_at_every_step(workdir, |workdir, summary, stop| {
        assert_eq!((summary.rows_dead_lettered_in_all, summary.rows_failed_in_all), (4, 0), "{stop:?}");
        assert_eq!(workdir.output("out"), results((0..40).filter(|n| ![0, 11, 12, 39].contains(n))), "{stop:?}");
        let letters: BTreeSet<i64> = letters(workdir).into_iter().map(|(row, ..)| row).collect();
        assert_eq!(letters, BTreeSet::from([0, 11, 12, 39]), "{stop:?}");
    });
}

/// The real process, killed again and again while it searches and commits.
#[test]
fn killed_by_the_system_again_and_again_exactly_the_poison_fails() {
    let (rows, kills) = if is_soak() { (100_000, 40) } else { (600, 4) };
    let is_poison = |n: &i64| n % 97 == 13 || (200..208).contains(n);
    for attack in [TRAP, &SMALL[2]] {
        let at: Vec<i64> = (0..rows).filter(is_poison).collect();
        let job = job(&attack.stage(&at, "on_error = \"dead-letter\""), 64);
        let job = job.checkpoint("group_rows_max = 128\nheartbeat_seconds = 0.1");
        let workdir = Workdir::with(&job, &[("a.parquet", 0..rows, 1000)]);
        let start = || Process::start(workdir.command(&["run", "--quiet", "pipeline.toml"]));
        for kill in 0..kills {
            let process = start();
            std::thread::sleep(Duration::from_millis(60 + 37 * kill % 240));
            process.kill();
        }
        start().wait().expect(3);
        assert_eq!(workdir.output("out"), results((0..rows).filter(|n| !is_poison(n))), "{}", attack.how);
        assert_eq!(letters(&workdir).iter().map(|(row, ..)| *row).collect::<Vec<_>>(), at, "{}", attack.how);
        workdir.assert_manifest_is_folder();
    }
}
