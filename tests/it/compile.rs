//! Components that are made to be compiled for ever, or with all memory: each ends within its limits and is named, and the host
//! has no part in it.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::process::{Process, until};
use crate::support::{Workdir, assert_mentions, guests, is_soak};

// Bytes of WebAssembly.
const HEADER: &[u8] = b"\0asm\x01\0\0\0";
const COMPONENT_HEADER: &[u8] = b"\0asm\x0d\0\x01\0";
const I32: u8 = 0x7f;
const F64: u8 = 0x7c;
const V128: u8 = 0x7b;
const END: u8 = 0x0b;

fn leb(number: usize) -> Vec<u8> {
    match number < 0x80 {
        true => vec![number as u8],
        false => [vec![number as u8 | 0x80], leb(number >> 7)].concat(),
    }
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    [&leb(bytes.len()), bytes].concat()
}

fn section(id: u8, payload: &[u8]) -> Vec<u8> {
    [&[id], &*sized(payload)].concat()
}

/// A function with `count` locals of a type.
fn function((count, kind): (usize, u8), code: &[u8]) -> Vec<u8> {
    sized(&[&[1], &*leb(count), &[kind], code, &[END]].concat())
}

/// A component with a module of these functions, all of one type.
fn with_functions(kind: &[u8], functions: &[Vec<u8>]) -> Vec<u8> {
    let own = [leb(functions.len()), vec![0; functions.len()]].concat();
    let code = [leb(functions.len()), functions.concat()].concat();
    let module = [HEADER, &section(1, kind), &section(3, &own), &section(5, &[1, 0, 1]), &section(10, &code)].concat();
    [COMPONENT_HEADER, &section(1, &module)].concat()
}

/// `() -> ()`
const NOTHING: &[u8] = &[1, 0x60, 0, 0];

fn one(locals: (usize, u8), code: &[u8]) -> Vec<u8> {
    with_functions(NOTHING, &[function(locals, code)])
}

fn each(count: usize, code: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
    (0..count).flat_map(code).collect()
}

fn get(local: usize) -> Vec<u8> {
    [vec![0x20], leb(local)].concat()
}

fn set(local: usize) -> Vec<u8> {
    [vec![0x21], leb(local)].concat()
}

/// Each of many conditions may set a local that is read at the end.
fn conditions(count: usize) -> Vec<u8> {
    let locals = count.min(40_000);
    let code = each(count, |n| {
        let (from, to) = (n * 7 % locals, n * 31 % locals);
        [get(from), vec![0x04, 0x40], get(to), set(from), vec![0x05], get(from), set(to), vec![END]].concat()
    });
    one((locals, I32), &code)
}

/// Loops within loops, each of which turns all locals.
fn loops(locals: usize) -> Vec<u8> {
    let depth = 200;
    let turned = each(locals - 1, |n| [get(n), set(n + 1)].concat());
    let branches = each(depth, |n| [get(n), vec![0x0d], leb(n)].concat());
    let code = [[0x03, 0x40].repeat(depth), turned, branches, vec![END; depth]].concat();
    one((locals, I32), &code)
}

/// Values that all live at the same time, in a loop.
fn alive(values: usize) -> Vec<u8> {
    let code = [
        vec![0x03, 0x40],
        each(values, |n| get(n % 500)),
        [0xfd, 0xae, 0x01].repeat(values - 1),
        set(7),
        vec![0x41, 1, 0x0d, 0, END],
    ];
    one((500, V128), &code.concat())
}

/// Jump tables, as long as the compiler takes them.
fn tables(count: usize) -> Vec<u8> {
    let targets = 60_000;
    let table = [vec![0x02, 0x40, 0x41, 0, 0x0e], leb(targets), vec![0; targets], vec![0, END]].concat();
    one((1, I32), &table.repeat(count))
}

/// Calls with a thousand arguments, each a local.
fn arguments(calls: usize) -> Vec<u8> {
    let kind = [&[1, 0x60], &*leb(1000), &[I32; 1000], &[0]].concat();
    let call = [each(1000, get), vec![0x10, 0]].concat();
    with_functions(&kind, &[function((1, I32), &call.repeat(calls))])
}

/// Functions that call, fill memory and go round, so that checks are added everywhere.
fn checked(count: usize) -> Vec<u8> {
    let fill = [0x41, 0, 0x41, 0, 0x41, 0, 0xfc, 0x0b, 0];
    let code = [fill.repeat(20), [0x03, 0x40, END].repeat(20), vec![0x10, 0]].concat();
    with_functions(NOTHING, &vec![function((1, F64), &code); count])
}

/// A function of one long expression.
fn expression(operators: usize) -> Vec<u8> {
    let code = [get(0), each(operators, |n| [get(n % 64), vec![0xa0]].concat()), set(1)].concat();
    one((64, F64), &code)
}

/// Functions with nothing in them.
fn empty(count: usize) -> Vec<u8> {
    with_functions(NOTHING, &vec![function((0, I32), &[]); count])
}

/// Blocks within blocks, each left by a branch out of all.
fn nested_branches(depth: usize) -> Vec<u8> {
    let branches = each(depth, |n| [vec![0x41, 0, 0x0d], leb(n)].concat());
    one((1, I32), &[[0x02, 0x40].repeat(depth), branches, vec![END; depth]].concat())
}

/// Components in which each makes the one within it several times, so many levels of them.
fn nested(levels: usize, times: usize, innermost: &str) -> Vec<u8> {
    let mut text = format!("(component $c0 {innermost})");
    for level in 1..=levels {
        let made = format!("(instance (instantiate $c{}))", level - 1).repeat(times);
        text = format!("(component $c{level} {text} {made})");
    }
    wat::parse_str(text.replacen(&format!("(component $c{levels}"), "(component", 1)).unwrap()
}

/// The same with components side by side, of which each takes the one before from outside.
fn aliased(levels: usize, times: usize) -> Vec<u8> {
    let each = |level: usize| {
        let made = "(instance (instantiate $b))".repeat(times);
        format!("(component $c{level} (alias outer 1 $c{} (component $b)) {made})", level - 1)
    };
    let all: String = (1..levels).map(each).collect();
    let last = levels - 1;
    wat::parse_str(format!("(component (component $c0) {all} (instance (instantiate $c{last})))")).unwrap()
}

/// A component that makes what it is handed twice, and hands it on.
fn handed(levels: usize) -> Vec<u8> {
    let take = r#"(import "c" (component $c)) (instance (instantiate $c)) (instance (instantiate $c))"#;
    let mut text = String::from("(component $c0)");
    for level in 1..=levels {
        let below = level - 1;
        text += &format!(
            r#"(component $t{level} {take}) (component $c{level} (alias outer 1 $t{level} (component $t)) (alias outer 1 $c{below} (component $b))
            (instance (instantiate $t (with "c" (component $b)))))"#
        );
    }
    wat::parse_str(format!("(component {text} (instance (instantiate $c{levels})))")).unwrap()
}

/// Instances that export others twice: the type of the last has 2^levels of them.
fn bags(levels: usize) -> Vec<u8> {
    let mut text = String::from(r#"(component $e) (instance $i0 (instantiate $e))"#);
    for level in 1..=levels {
        let below = level - 1;
        text += &format!(r#"(instance $i{level} (export "a" (instance $i{below})) (export "b" (instance $i{below})))"#);
    }
    wat::parse_str(format!(r#"(component {text} (export "all" (instance $i{levels})))"#)).unwrap()
}

/// A component, how large it is in all runs but soaks and in these, and words of which one says how it ends.
struct Bomb {
    what: &'static str,
    make: fn(usize) -> Vec<u8>,
    small: usize,
    full: usize,
    ends: &'static [&'static str],
}

/// What compiling took.
const LIMITS: &[&str] = &["compile_seconds_max = ", "compile_memory_bytes_max = ", "compiled_bytes_max = "];
/// What is made to go past limits may be stopped by any of them, and by none on a fast machine: it is no function then.
const ANY: &[&str] = &[LIMITS[0], LIMITS[1], LIMITS[2], "exports nothing", "of another world", PARTS[0]];
/// Told before it is compiled, on any machine.
const PARTS: &[&str] = &["component_parts_max = "];
/// Told by the validator if they are many; few do no harm.
const TYPES: &[&str] = &["effective type size exceeds the limit", "of another world"];
const UNCOUNTED: &[&str] = &["more instances of modules than can be counted"];

const BOMBS: [Bomb; 16] = [
    Bomb { what: "conditions that set locals", make: conditions, small: 60_000, full: 250_000, ends: LIMITS },
    Bomb { what: "loops that turn all locals", make: loops, small: 2_000, full: 45_000, ends: ANY },
    Bomb { what: "vectors alive at the same time", make: alive, small: 5_000, full: 700_000, ends: ANY },
    Bomb { what: "jump tables", make: tables, small: 4, full: 120, ends: ANY },
    Bomb { what: "calls with a thousand arguments", make: arguments, small: 20, full: 2_500, ends: ANY },
    Bomb { what: "functions full of checks", make: checked, small: 100, full: 100_000, ends: ANY },
    Bomb { what: "one long expression", make: expression, small: 50_000, full: 2_000_000, ends: ANY },
    Bomb { what: "empty functions", make: empty, small: 20_000, full: 1_000_000, ends: ANY },
    Bomb { what: "branches out of nested blocks", make: nested_branches, small: 5_000, full: 840_000, ends: ANY },
    Bomb { what: "threefold nesting", make: |levels| nested(levels, 3, ""), small: 20, full: 60, ends: PARTS },
    Bomb { what: "nested modules", make: |levels| nested(levels, 2, MODULE), small: 17, full: 26, ends: PARTS },
    Bomb { what: "nesting within the limit", make: |levels| nested(levels, 2, MODULE), small: 8, full: 14, ends: ANY },
    Bomb { what: "one level of many", make: |times| nested(1, times, MODULE), small: 900, full: 90_000, ends: ANY },
    Bomb { what: "components of further out", make: |levels| aliased(levels, 5), small: 30, full: 1_000, ends: PARTS },
    Bomb { what: "components that are handed on", make: handed, small: 10, full: 90, ends: UNCOUNTED },
    Bomb { what: "instances that export others twice", make: bags, small: 12, full: 60, ends: TYPES },
];

const MODULE: &str = "(core module $m (func)) (core instance (instantiate $m))";

/// What compiling may take: seconds, bytes.
fn limits() -> (u64, u64) {
    if is_soak() { (20, 1 << 30) } else { (1, 128 << 20) }
}

/// Until a process that is killed is gone, and for the host, which is not optimised here, to look through 10^6 functions; and
/// until a busy machine lets them: other tests run beside this one.
fn patience() -> Duration {
    Duration::from_secs(if is_soak() { 2 } else { 10 })
}

const MEMORY_SLACK: u64 = 128 << 20;

/// `udf inspect`, with a cache of its own, within these limits.
fn inspect(workdir: &Workdir, file: &Path, (seconds, bytes): (u64, u64)) -> Command {
    let mut command = workdir.command(&["udf", "inspect", file.to_str().unwrap()]);
    command.env("WASMPIPE_CACHE", workdir.path("cache"));
    command.env("WASMPIPE_COMPILE_SECONDS_MAX", seconds.to_string());
    command.env("WASMPIPE_COMPILE_MEMORY_MAX", bytes.to_string());
    command
}

/// The processes that a process has started.
fn children(process: u32) -> Vec<u32> {
    let told = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    told.split_whitespace().map(|child| child.parse().unwrap()).collect()
}

/// Memory of a process and of those that it has started, in bytes.
fn memory(process: u32) -> u64 {
    let of = |process: u32| {
        let told = std::fs::read_to_string(format!("/proc/{process}/statm")).unwrap_or_default();
        told.split_whitespace().nth(1).map_or(0, |pages| pages.parse::<u64>().unwrap() * 4096)
    };
    of(process) + children(process).into_iter().map(of).sum::<u64>()
}

fn goes_off(bomb: &Bomb) {
    let workdir = Workdir::quick();
    let size = if is_soak() { bomb.full } else { bomb.small };
    let file = workdir.path("bomb.wasm");
    std::fs::write(&file, (bomb.make)(size)).unwrap();
    let (seconds, bytes) = limits();
    let (begun, mut peak) = (Instant::now(), 0);
    let mut process = Process::start(inspect(&workdir, &file, (seconds, bytes)));
    while process.is_running() {
        peak = peak.max(memory(process.id()));
        std::thread::sleep(Duration::from_millis(2));
    }
    let (took, ended) = (begun.elapsed(), process.wait());
    println!("{}: {:.1} s, {} MiB: {}", bomb.what, took.as_secs_f64(), peak >> 20, ended.said.lines().next().unwrap());
    assert_eq!(ended.code, Some(2), "{}: {}", bomb.what, ended.said);
    assert_mentions(&ended.said, &["bomb.wasm", "hint:"]);
    let is_expected = bomb.ends.iter().any(|words| ended.said.contains(words));
    assert!(is_expected, "{}: {}", bomb.what, ended.said);
    assert!(!ended.said.contains("wasmpipe broke"), "{}: {}", bomb.what, ended.said);
    assert!(took < Duration::from_secs(seconds) + patience(), "{}: {took:?}", bomb.what);
    assert!(peak < bytes + MEMORY_SLACK, "{}: {peak} bytes", bomb.what);
}

#[test]
fn what_is_made_to_compile_for_ever_ends_within_its_limits() {
    BOMBS.iter().for_each(goes_off);
}

#[test]
fn what_was_compiled_is_not_compiled_again() {
    let workdir = Workdir::new();
    let file = guests().join("bare.wasm");
    let nothing = (300, 1);
    let refused = Process::start(inspect(&workdir, &file, nothing)).wait();
    assert_eq!(refused.code, Some(2), "{}", refused.said);
    assert_mentions(
        &refused.said,
        &[
            "bare.wasm takes too much memory to compile: compile_memory_bytes_max = 1 bytes",
            "WASMPIPE_COMPILE_MEMORY_MAX",
        ],
    );
    assert_eq!(Process::start(inspect(&workdir, &file, (300, 1 << 30))).wait().code, Some(0));
    assert_eq!(Process::start(inspect(&workdir, &file, nothing)).wait().code, Some(0));
}

#[test]
fn a_pipeline_names_the_component_that_compiles_too_long() {
    let workdir = Workdir::with(&crate::support::pipeline::doubling(), &[("a.parquet", 0..20, 20)]);
    let mut command = workdir.command(&["run", "pipeline.toml"]);
    command.env("WASMPIPE_CACHE", workdir.path("cache")).env("WASMPIPE_COMPILE_SECONDS_MAX", "0.01");
    let ended = Process::start(command).wait();
    assert_eq!(ended.code, Some(2), "{}", ended.said);
    assert_mentions(
        &ended.said,
        &["pipeline.toml:5", "hostile.wasm takes too long to compile: compile_seconds_max = 0.01 s", "hint: "],
    );
}

#[test]
fn limits_that_are_none_are_refused() {
    let workdir = Workdir::new();
    for (name, value) in [("WASMPIPE_COMPILE_SECONDS_MAX", "soon"), ("WASMPIPE_COMPILE_MEMORY_MAX", "much")] {
        let mut command = workdir.command(&["udf", "inspect", guests().join("bare.wasm").to_str().unwrap()]);
        let ended = Process::start({
            command.env(name, value);
            command
        })
        .wait();
        assert_eq!(ended.code, Some(2), "{}", ended.said);
        assert_mentions(&ended.said, &[name, value, "hint:"]);
    }
}

#[test]
fn a_compiler_ends_with_its_host() {
    let workdir = Workdir::quick();
    let file = workdir.path("bomb.wasm");
    std::fs::write(&file, empty(300_000)).unwrap();
    let process = Process::start(inspect(&workdir, &file, (300, 2 << 30)));
    until("it compiles", || !children(process.id()).is_empty());
    let compiler = children(process.id())[0];
    process.kill();
    let is_there =
        || std::fs::read_to_string(format!("/proc/{compiler}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    until("its compiler ends", || !is_there());
}

/// The same command where the system allows less than is asked for, and nobody may raise it.
fn where_less_is_allowed(command: &Command) -> Command {
    let is_root = rustix::process::geteuid().is_root();
    let without_that_right: &[&str] = if is_root { &["setpriv", "--bounding-set=-sys_resource"] } else { &[] };
    let shell = ["sh", "-c", "ulimit -d 1000000 && exec \"$@\"", "sh"];
    let words: Vec<&str> = without_that_right.iter().copied().chain(shell).collect();
    let mut limited = Command::new(words[0]);
    limited.args(&words[1..]).arg(command.get_program()).args(command.get_args());
    limited.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    limited.current_dir(command.get_current_dir().unwrap());
    limited
}

const HERE: &str = "compiled in this process";

#[test]
fn a_lower_limit_of_the_system_is_no_fault_of_a_component() {
    let workdir = Workdir::new();
    let command = inspect(&workdir, &guests().join("bare.wasm"), (300, 2 << 30));
    let ended = Process::start(where_less_is_allowed(&command)).wait();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert!(!ended.said.contains(HERE), "{}", ended.said);
}

/// Who is named as the compiler and cannot be it: the component is compiled all the same.
#[test]
fn a_compiler_that_cannot_begin_is_said_to_be_none() {
    use std::os::unix::fs::PermissionsExt;
    let wasmpipe = env!("CARGO_BIN_EXE_wasmpipe");
    for (line, said) in [("exec", None), ("command", Some("another process than the one that waits"))] {
        let workdir = Workdir::new();
        let script = workdir.path("compiler");
        std::fs::write(&script, format!("#!/bin/sh\n{line} {wasmpipe} \"$@\"\nexit $?\n")).unwrap();
        std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
        let mut command = inspect(&workdir, &guests().join("bare.wasm"), (300, 2 << 30));
        command.env("WASMPIPE_COMPILER", script);
        let ended = Process::start(command).wait();
        assert_eq!(ended.code, Some(0), "{}", ended.said);
        assert_eq!(ended.said.contains(HERE), said.is_some(), "{}", ended.said);
        assert_mentions(&ended.said, &Vec::from_iter(said));
    }
}
