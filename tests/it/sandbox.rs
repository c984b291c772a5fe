//! S: functions that misbehave cost their own rows, never the job or the machine.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmpipe::observe::{Outcome, Progress, get};
use wasmpipe::pipeline::{self, Control};
use wasmpipe::store::Unwatched;

use crate::support::pipeline::pipeline as job_of;
use crate::support::process::{Ended, Process, until};
use crate::support::{Workdir, assert_mentions, once, plan};

fn pipeline(component: &str, stage: &str) -> String {
    format!(
        "[source]\npath = \"in\"\n[[stage]]\ncomponent = \"{{guests}}/{component}.wasm\"\n{stage}\n[sink]\npath = \"out\"\n\
         [checkpoint]\npath = \"checkpoint\"\ngroup_rows_max = 10\n[run]\nworkers = 1\nreaders = 1\nblock_rows_max = 5\n"
    )
}

fn workdir(component: &str, stage: &str) -> Workdir {
    Workdir::with(&pipeline(component, stage), &[("a.parquet", 0..20, 20)])
}

#[track_caller]
fn fails_with(workdir: &Workdir, words: &[&str]) {
    assert_mentions(workdir.run().error(), words);
}

#[test]
fn s1_an_endless_loop_ends_at_the_time_limit_and_names_it() {
    let workdir = workdir("hostile", "function = \"spin\"\nblock_seconds_max = 0.2");
    fails_with(&workdir, &["spin", "stage 1", "a.parquet row", "block_seconds_max", "hint:"]);
    assert_eq!(workdir.output("out").len(), 0);
}

#[test]
fn s1_an_endless_loop_in_bind_is_refused() {
    let workdir = workdir("hostile", "function = \"spin_in_bind\"\nblock_seconds_max = 0.2");
    let refused = workdir.run();
    assert!(refused.refused().contains("block_seconds_max"), "{}", refused.refused());
}

#[test]
fn s3_endless_recursion_is_a_trap() {
    fails_with(&workdir("hostile", "function = \"deep_recursion\""), &["deep_recursion", "trapped", "a.parquet row"]);
}

#[test]
fn s5_memory_without_end_meets_its_limit() {
    let stage = "function = \"grow\"\nmemory_bytes_max = \"32 MiB\"";
    fails_with(&workdir("hostile", stage), &["grow", "memory_bytes_max", "a.parquet row", "hint:"]);
}

#[test]
fn s11_under_skip_a_trap_costs_its_row_and_the_others_are_unharmed() {
    let workdir = workdir("hostile", "function = \"panics_on\"\nconfig = { at = 7 }\non_error = \"skip\"");
    let ran = workdir.run();
    assert_eq!((ran.finished().rows_failed, ran.finished().rows_written), (1, 19));
    let survivors = (0..20).filter(|n| *n != 7);
    assert_eq!(workdir.output("out"), once(survivors.map(|n| format!("id-{n}|{n}|{n}"))));
    assert_eq!(workdir.wasmpipe(&["run", "pipeline.toml"]).status.code(), Some(3));
}

#[test]
fn s11_under_fail_the_message_of_a_panic_is_shown() {
    fails_with(
        &workdir("hostile", "function = \"panics_on\"\nconfig = { at = 7 }"),
        &["panics_on", "a.parquet row", "poison"],
    );
}

/// One block of 20 spins; the others do not reach the spinning stage, as the stage before drops their rows. The run is
/// stopped as soon as the nine other groups are committed, so the test ends long before the time limit unless they wait
/// for it.
#[test]
fn s18_a_spinning_function_does_not_hold_up_the_other_workers() {
    let workdir = Workdir::new();
    workdir.numbers("a.parquet", std::iter::once(0).chain((1..100).map(|n| 2 * n + 1)), 100);
    workdir.pipeline(
        "[source]\npath = \"in\"\n[[stage]]\ncomponent = \"{guests}/hostile.wasm\"\nfunction = \"drop_odd\"\n\
         [[stage]]\ncomponent = \"{guests}/hostile.wasm\"\nfunction = \"spin\"\nblock_seconds_max = 60\n\
         [sink]\npath = \"out\"\n[checkpoint]\npath = \"checkpoint\"\ngroup_rows_max = 10\n\
         [run]\nworkers = 2\nreaders = 1\nblock_rows_max = 5\ndrain_seconds = 0\n",
    );
    let plan = plan(&workdir.path("pipeline.toml"), &Arc::new(Unwatched), false).unwrap();
    let (control, progress) = (Control::default(), Arc::new(Progress::default()));
    let (summary, error) = pipeline::run(plan, &control, &progress, |progress| {
        if get(&progress.rows_committed) == 90 {
            control.stop();
        }
    });
    assert!(error.is_none(), "{error:?}");
    assert_eq!((summary.outcome, summary.rows_committed, summary.rows_failed), (Outcome::Interrupted, 90, 0));
}

#[test]
fn s12_answers_that_break_the_contract_end_the_run_and_no_row_is_blamed() {
    for (function, lies) in LIES {
        workdir("liar", &format!("function = \"{function}\"")).run().finished();
        for lie in *lies {
            let stage = format!("function = \"{function}\"\nconfig = {{ lie = \"{lie}\" }}\non_error = \"skip\"");
            let workdir = workdir("liar", &stage);
            let ran = workdir.run();
            assert!(ran.error.is_some(), "{function}: {lie} was believed: {:?}", workdir.output("out"));
            if let Some(summary) = &ran.summary {
                assert_eq!((summary.rows_failed, summary.rows_written), (0, 0), "{function}: {lie}");
            }
        }
    }
}

const LIES: &[(&str, &[&str])] = &[
    (
        "liar_map",
        &[
            "needs_unknown_column",
            "needs_twice",
            "needs_unknown_format",
            "needs_children",
            "adds_twice",
            "adds_unknown_format",
            "adds_deep",
            "adds_nothing_wide",
            "no_answer",
            "two_answers",
            "row_more",
            "row_fewer",
            "other_schema",
            "extra_column",
            "missing_column",
            "null_in_non_null",
            "invalid_utf8",
            "offsets_descend",
            "offsets_from_one",
            "offset_beyond_end",
            "node_length_huge",
            "node_length_other",
            "node_nulls",
            "buffer_short",
            "buffer_long",
            "buffer_missing",
            "buffer_more",
            "empty_batch",
            "lineage_of_other_kind",
            "error_out_of_range",
            "errors_descend",
            "errors_doubled",
        ],
    ),
    ("liar_filter", &["batch_where_none", "kept_too_short", "kept_too_long", "error_with_rows"]),
    ("liar_flat_map", &["counts_too_few", "counts_too_many", "counts_sum_more", "error_with_rows"]),
];

/// A stop, from where it comes.
#[derive(Clone, Copy, Debug)]
enum Asked {
    BySignal,
    ByCommand,
}

/// A run in which a row spins is asked to stop once it spins. Says how long it took to end.
fn stopped_while_it_spins(stage: &str, drain: f64, asked: Asked) -> (Duration, Ended) {
    let stage = format!("hostile.poisoned\nconfig = {{ how = \"loop\", at = [3] }}\n{stage}");
    let job = job_of(&[&stage]).checkpoint("heartbeat_seconds = 0.2");
    let job = job.run(&format!("workers = 1\nreaders = 1\nblock_rows_max = 8\ndrain_seconds = {drain}"));
    let workdir = Workdir::with(&job, &[("a.parquet", 0..64, 64)]);
    let running = Process::start(workdir.command(&["run", "pipeline.toml"]));
    until("it works", || !workdir.files("checkpoint/heartbeat").is_empty());
    std::thread::sleep(Duration::from_millis(100));
    let since = Instant::now();
    match asked {
        Asked::BySignal => running.terminate(),
        Asked::ByCommand => drop(workdir.wasmpipe(&["checkpoint", "stop", "checkpoint"])),
    }
    let ended = running.wait();
    (since.elapsed(), ended)
}

/// What a stage says of time, how long a run may drain, and the most that both allow.
const STOPS: [(&str, f64, f64); 4] = [
    // The drain ends, the function does not.
    ("block_seconds_max = 60", 0.5, 0.5),
    ("block_seconds_max = 60\non_error = \"skip\"", 0.5, 0.5),
    ("block_seconds_max = 60", 0.0, 0.0),
    // The function is stopped, and its block's rows are told apart: four halvings that hang.
    ("block_seconds_max = 0.2\non_error = \"skip\"", 60.0, 5.0 * 0.2),
];

#[test]
fn s18_a_stop_waits_for_a_function_as_long_as_its_limit_and_the_drain_allow() {
    for (stage, drain, most) in STOPS {
        for asked in [Asked::BySignal, Asked::ByCommand] {
            let (took, ended) = stopped_while_it_spins(stage, drain, asked);
            let what = format!("{stage}, {drain} s, {asked:?}: {took:?}: {}", ended.said);
            println!("{stage:?}, drain_seconds = {drain}, {asked:?}: {took:?}");
            assert_eq!(ended.code, Some(4), "{what}");
            // A heartbeat, and a busy machine.
            assert!(took < Duration::from_secs_f64(most) + PATIENCE, "{what}");
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(4);
