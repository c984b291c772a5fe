//! A long run: after thousands of blocks that trapped, were searched and had new instances, the process has no more memory,
//! threads, mappings and descriptors than after the first hundreds.

use std::time::Duration;

use crate::support::hand::{ECHO, Hand, hand};
use crate::support::pipeline::pipeline;
use crate::support::process::Process;
use crate::support::{Workdir, is_soak};

/// Threads that wait at once.
const WAITING_MAX: u64 = 8;

/// What a process has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Has {
    memory_kib: u64,
    threads: u64,
    /// Those of them that wait for disks and other machines.
    waiting: u64,
    mappings: u64,
    descriptors: u64,
}

impl Has {
    fn now(process: &Process) -> Option<Has> {
        let folder = format!("/proc/{}", process.id());
        let read = |name: &str| std::fs::read_to_string(format!("{folder}/{name}")).ok();
        let status = read("status")?;
        let number =
            |key: &str| status.lines().find_map(|line| line.strip_prefix(key)?.split_whitespace().next()?.parse().ok());
        Some(Has {
            memory_kib: number("VmRSS:")?,
            threads: number("Threads:")?,
            waiting: waiting(&folder)?,
            mappings: read("maps")?.lines().count() as u64,
            descriptors: std::fs::read_dir(format!("{folder}/fd")).ok()?.count() as u64,
        })
    }

    /// The most of each.
    fn most(of: &[Has]) -> Has {
        let most = |what: fn(&Has) -> u64| of.iter().map(what).max().unwrap_or(0);
        Has {
            memory_kib: most(|has| has.memory_kib),
            threads: most(|has| has.threads.saturating_sub(has.waiting)),
            waiting: most(|has| has.waiting),
            mappings: most(|has| has.mappings),
            descriptors: most(|has| has.descriptors),
        }
    }
}

/// Threads of the runtime.
fn waiting(folder: &str) -> Option<u64> {
    let threads = std::fs::read_dir(format!("{folder}/task")).ok()?.flatten();
    let names = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok());
    Some(names.filter(|name| name.starts_with("tokio")).count() as u64)
}

/// Of four rows one traps, another wants all memory; new memories and tables come with each instance.
fn harmful() -> Hand {
    let is = |number: u32, harm: &str| {
        format!(
            "(local.set $i (i32.const 0))
             (loop $look
               (if (i32.eq (i32.and (i32.load align=1 (i32.add (local.get $values) (i32.mul (local.get $i) (i32.const 8))))
                                    (i32.const 7)) (i32.const {number})) (then {harm}))
               (local.set $i (i32.add (local.get $i) (i32.const 1)))
               (br_if $look (i32.lt_u (local.get $i) (local.get $rows))))"
        )
    };
    let memory = "(loop $more (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable)) (br $more))";
    Hand {
        honest: format!("{} {} {ECHO}", is(3, "unreachable"), is(5, memory)),
        more: "(table $t 100 funcref)".to_owned(),
        parts: format!(
            "(core module $p (memory 2) (table 10 funcref)) {}",
            "(core instance (instantiate $p))".repeat(5)
        ),
        ..hand("")
    }
}

#[test]
fn thousands_of_blocks_that_fail_leave_nothing_behind() {
    let blocks: i64 = if is_soak() { 100_000 } else { 2_000 };
    let stage = "x.f\non_error = \"skip\"\nmemory_bytes_max = \"8 MiB\"";
    let job = pipeline(&[stage]).sink("columns = [\"id\"]").checkpoint("group_rows_max = 4000");
    let job = job.run("workers = 2\nreaders = 1\nblock_rows_max = 4");
    let workdir = Workdir::with("", &[("a.parquet", 0..4 * blocks, 100_000)]);
    workdir.pipeline(&job.to_string().replace("{guests}/", ""));
    std::fs::write(workdir.path("x.wasm"), harmful().wasm()).unwrap();
    let mut command = workdir.command(&["run", "pipeline.toml", "--quiet", "--summary", "summary.json"]);
    command.env("WASMPIPE_LOG", "error");
    let mut process = Process::start(command);
    let mut seen = Vec::new();
    while process.is_running() {
        seen.extend(Has::now(&process));
        std::thread::sleep(Duration::from_millis(if is_soak() { 200 } else { 10 }));
    }
    process.wait().expect(3);
    let summary: serde_json::Value =
        serde_json::from_slice(&std::fs::read(workdir.path("summary.json")).unwrap()).unwrap();
    assert_eq!((summary["rows_failed"].as_i64(), summary["rows_written"].as_i64()), (Some(blocks), Some(3 * blocks)));
    assert_flat(&seen, blocks, summary["isolate_calls"].as_u64().unwrap());
}

/// The last quarter has no more than the second: the first is for what is made once. At its end a run reads the log once more,
/// which has each row that failed.
fn assert_flat(all: &[Has], blocks: i64, calls: u64) {
    let seen = &all[..all.len() * 15 / 16];
    let quarter = seen.len() / 4;
    assert!(quarter > 10, "seen {} times", seen.len());
    let (early, late) = (Has::most(&seen[quarter..2 * quarter]), Has::most(&seen[3 * quarter..]));
    println!("{blocks} blocks, {calls} more calls: {early:?}, later {late:?}");
    let memory: Vec<u64> = all.chunks(all.len().div_ceil(16)).map(|some| Has::most(some).memory_kib >> 10).collect();
    println!("MiB at most, in sixteenths of the run: {memory:?}");
    assert!(late.memory_kib <= early.memory_kib + (16 << 10), "{early:?} {late:?}");
    assert!(late.threads <= early.threads && late.descriptors <= early.descriptors + 4, "{early:?} {late:?}");
    // Two, and some that come and go.
    assert!(late.waiting <= WAITING_MAX, "{early:?} {late:?}");
    assert!(late.mappings <= early.mappings + 20, "{early:?} {late:?}");
}
