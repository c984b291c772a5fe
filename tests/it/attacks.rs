//! Components that do harm while they run, a row each: it ends within its limit, it takes no more memory than it may, its row
//! or the component is named, and all other rows are as if it had been honest. What is refused at the start is here as far as
//! a limit of running functions says so.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::hand::{ECHO, FREE, Hand, VICTIM, hand, stores, word};
use crate::support::pipeline::pipeline;
use crate::support::process::Process;
use crate::support::{Multiset, Workdir, assert_mentions, at_once, is_soak, once};

const ROWS: i64 = 40;
/// The limit on time, where that is what ends an attack.
const SECONDS: f64 = 0.1;
const MEMORY_MIB: u64 = 16;
/// What a run may take beside the function's own.
const HOST_MIB: u64 = 128;

/// How an attack ends.
#[derive(Clone, Copy, Debug)]
enum Ends {
    /// The victim fails alone; its message has these words.
    Row(&'static [&'static str]),
    /// The start is refused with these words.
    Refused(&'static [&'static str]),
    /// The function is of no use for any row: the run ends with these words.
    Ended(&'static [&'static str]),
    /// No row fails.
    Harmless,
}

struct Attack {
    name: &'static str,
    hand: Hand,
    /// Its limit on time.
    seconds: f64,
    ends: Ends,
}

fn attack(name: &'static str, hand: Hand, ends: Ends) -> Attack {
    Attack { name, hand, seconds: SECONDS, ends }
}

/// How it went.
struct Met {
    said: String,
    summary: Option<Value>,
    code: Option<i32>,
    time: Duration,
    peak_mib: u64,
}

fn job(rows: i64, block_rows: i64, seconds: f64) -> Workdir {
    let stage = format!(
        "x.f\non_error = \"skip\"\nblock_seconds_max = {seconds}\nmemory_bytes_max = \"{MEMORY_MIB} MiB\"\n\
         isolate_hangs_max = 9"
    );
    let job = pipeline(&[&stage]).sink("columns = [\"id\", \"n\"]").checkpoint("group_rows_max = 10");
    let job = job.run(&format!("workers = 1\nreaders = 1\nblock_rows_max = {block_rows}"));
    let workdir = Workdir::with("", &[("a.parquet", 0..rows, rows as usize)]);
    workdir.pipeline(&job.to_string().replace("{guests}/", ""));
    workdir
}

fn run(workdir: &Workdir, hand: &Hand) -> Met {
    std::fs::write(workdir.path("x.wasm"), hand.wasm()).unwrap();
    let started = Instant::now();
    let words = ["run", "pipeline.toml", "--quiet", "--summary", "summary.json"];
    let mut command = workdir.command(&words);
    // Each component is met once: what is compiled is not worth keeping.
    command.env("WASMPIPE_CACHE", workdir.path("cache"));
    let mut process = Process::start(command);
    let mut peak_mib = 0;
    while process.is_running() {
        peak_mib = peak_mib.max(process.peak_mib());
        std::thread::sleep(Duration::from_millis(2));
    }
    let (time, ended) = (started.elapsed(), process.wait());
    let summary = std::fs::read(workdir.path("summary.json")).ok();
    let summary = summary.map(|summary| serde_json::from_slice(&summary).unwrap());
    Met { said: ended.said, summary, code: ended.code, time, peak_mib }
}

fn rows(numbers: impl Iterator<Item = i64>) -> Multiset {
    once(numbers.map(|n| format!("id-{n}|{n}")))
}

/// Gives what was said.
fn meet(attack: &Attack) -> String {
    let Attack { name, hand, seconds, ends } = attack;
    let workdir = job(ROWS, 8, *seconds);
    let met = run(&workdir, hand);
    let said = format!("{name}: {:?}, {} MiB\n{}", met.time, met.peak_mib, met.said);
    assert!(met.peak_mib <= MEMORY_MIB + HOST_MIB, "memory: {said}");
    match ends {
        Ends::Row(words) => {
            assert_eq!(met.code, Some(3), "{said}");
            assert_mentions(&said, &["a.parquet row 13 (id=\"id-13\") left out: `f` "]);
            assert_mentions(&said, words);
            assert_eq!(workdir.output("out"), rows((0..ROWS).filter(|n| *n != VICTIM)), "{said}");
        }
        Ends::Refused(words) => {
            assert_eq!((met.code, met.summary.is_some()), (Some(2), false), "{said}");
            assert_mentions(&said, &["x.wasm"]);
            assert_mentions(&said, words);
            assert!(workdir.files("out").is_empty(), "{said}");
        }
        Ends::Ended(words) => {
            assert_eq!(met.code, Some(1), "{said}");
            assert_mentions(&said, &["stage 1 (f)", "a.parquet rows 8 to 15"]);
            assert_mentions(&said, words);
            assert_eq!(met.summary.as_ref().unwrap()["rows_failed"], 0, "{said}");
        }
        Ends::Harmless => {
            assert_eq!(met.code, Some(0), "{said}");
            assert_eq!(workdir.output("out"), rows(0..ROWS), "{said}");
        }
    }
    assert!(!met.said.contains('\u{1b}') && !met.said.contains('\u{202e}'), "{said:?}");
    assert_in_time(attack, &met);
    met.said
}

/// Of a block of eight the victim is found in at most six calls, after the first; each may take its time.
fn assert_in_time(attack: &Attack, met: &Met) {
    let calls = met.summary.as_ref().map_or(0, |summary| summary["isolate_calls"].as_u64().unwrap());
    assert!(calls <= 6, "{}: {calls} calls", attack.name);
    // Tests wait for one another; a soak does not.
    let patience = Duration::from_secs(if is_soak() { 1 } else { 20 });
    let most = Duration::from_secs_f64(attack.seconds * (calls + 1) as f64) + patience;
    assert!(met.time <= most, "{}: {:?} for {calls} calls\n{}", attack.name, met.time, met.said);
}

/// Where time is not what ends it, however slow the machine is.
fn all_meet_in_any_time(attacks: Vec<Attack>) {
    all_meet(attacks.into_iter().map(|attack| Attack { seconds: 20.0, ..attack }).collect());
}

fn all_meet(attacks: Vec<Attack>) {
    let started = Instant::now();
    let one = |attack: &Attack| drop(meet(attack));
    if is_soak() {
        attacks.iter().for_each(one);
    } else {
        at_once(&attacks, one);
    }
    println!("{} attacks, {:.1} s", attacks.len(), started.elapsed().as_secs_f64());
}

const TIME: Ends = Ends::Row(&["ran out of time: block_seconds_max = 0.1 s"]);
const MEMORY: Ends = Ends::Row(&["ran out of memory: memory_bytes_max = 16777216 bytes"]);
const VALUES: Ends = Ends::Row(&["answered with too many values: answer_values_max = 4194304", "in lists"]);
const TOO_MANY_ROWS: Ends = Ends::Row(&["answered with too many rows: answer_rows_max = 1048576"]);

/// Code that never ends, where a look at the clock is not at hand.
#[test]
fn time_ends_what_runs() {
    let table = "(table $t 100000 funcref)";
    let forever = |what: &str| format!("(loop $ever {what} (br $ever))");
    let grow = "(drop (memory.grow (i32.const 0)))";
    let fill = "(table.fill $t (i32.const 0) (ref.null func) (i32.const 100000))";
    let name = &format!("(call $count (i32.const {FREE}) (i32.const 64) (i64.const 1))");
    let log = &format!("(call $log (i32.const 0) (i32.const {FREE}) (i32.const 4000))");
    let copy = "(memory.copy (i32.const 0) (i32.const 1) (i32.const 2000000))";
    all_meet(vec![
        attack("memory that grows by nothing", hand(&forever(grow)), TIME),
        attack("tables", Hand { more: table.to_owned(), ..hand(&forever(fill)) }, TIME),
        attack("copies", hand(&forever(copy)), TIME),
        attack("counters", hand(&forever(name)), TIME),
        attack("log lines that nobody sees", hand(&forever(log)), TIME),
        attack("after the answer", hand(&format!("{ECHO} {}", forever(""))), TIME),
        attack("in what follows a return", Hand { on_post: forever(""), ..hand("") }, TIME),
        attack(
            "calls through a table",
            Hand {
                more: "(type $v (func)) (table $t 2 funcref) (elem (i32.const 0) $f $f)
                    (func $f (return_call_indirect $t (type $v) (i32.const 1)))"
                    .to_owned(),
                ..hand("(call $f)")
            },
            TIME,
        ),
    ]);
}

/// What no row has done yet.
#[test]
fn time_ends_what_starts() {
    let forever = "(loop $ever (br $ever))".to_owned();
    let refused = Ends::Refused(&["block_seconds_max = 0.1 s"]);
    let part = |start: &str| format!("(core module $p (memory 1) {start}) (core instance (instantiate $p))");
    let start =
        "(func $s (loop $ever (memory.fill (i32.const 0) (i32.const 0) (i32.const 65536)) (br $ever))) (start $s)";
    all_meet(vec![
        attack("a start", Hand { on_start: forever.clone(), ..hand("") }, refused),
        attack("a binding", Hand { on_bind: forever, ..hand("") }, refused),
        attack("a start of another part", Hand { parts: part(start), ..hand("") }, refused),
    ]);
}

#[test]
fn memory_of_all_kinds_is_one() {
    let endless =
        |grow: &str| format!("(loop $more (if (i32.eq {grow} (i32.const -1)) (then unreachable)) (br $more))");
    let memory = endless("(memory.grow (i32.const 16))");
    let table = endless("(table.grow $t (ref.null func) (i32.const 65536))");
    let both = "(loop $more (drop (memory.grow (i32.const 16)))
        (if (i32.eq (table.grow $t (ref.null func) (i32.const 65536)) (i32.const -1)) (then unreachable)) (br $more))";
    let with_table = |harm: &str| Hand { more: "(table $t 0 funcref)".to_owned(), ..hand(harm) };
    let elsewhere = Hand {
        parts: "(core module $p (memory 1) (func (export \"grow\") (result i32) (memory.grow (i32.const 16))))
            (core instance $p (instantiate $p))"
            .to_owned(),
        wiring: "(with \"p\" (instance $p))".to_owned(),
        imports: "(import \"p\" \"grow\" (func $grow (result i32)))".to_owned(),
        ..hand(&endless("(call $grow)"))
    };
    let refused = Ends::Refused(&["ran out of memory: memory_bytes_max = 16777216 bytes", "hint: raise"]);
    let part = |what: &str, times: usize| {
        format!("(core module $p {what}) {}", "(core instance (instantiate $p))".repeat(times))
    };
    all_meet_in_any_time(vec![
        attack("memory", hand(&memory), MEMORY),
        attack("a table", with_table(&table), MEMORY),
        attack("memory and a table", with_table(both), MEMORY),
        attack("memory of another part", elsewhere, MEMORY),
        attack("tables from the start", Hand { parts: part("(table 100000 funcref)", 30), ..hand("") }, refused),
        attack("memories from the start", Hand { parts: part("(memory 20)", 30), ..hand("") }, refused),
        attack(
            "references to functions",
            Hand {
                parts: part(&format!("(func $f) (table 9000 funcref) (elem (i32.const 0) {})", "$f ".repeat(9000)), 90),
                ..hand("")
            },
            refused,
        ),
        attack(
            "globals",
            Hand { parts: part(&"(global v128 (v128.const i64x2 0 0))".repeat(4000), 300), ..hand("") },
            refused,
        ),
    ]);
}

/// Few bytes in the guest that are many values.
#[test]
fn values_count_by_what_they_become() {
    all_meet_in_any_time(vec![
        attack("a list of booleans", lists("+l", 4), VALUES),
        attack("a large list of booleans", lists("+L", 8), VALUES),
        attack("many null columns", nulls(100, 1 << 16), VALUES),
        attack("many rows of some null columns", nulls(5, 1 << 20), VALUES),
        attack("one null column", nulls(1, (1 << 20) + 1), TOO_MANY_ROWS),
        attack("booleans of structs", structs(), VALUES),
    ]);
}

const ROWS_WORD: &str = "(local.get $rows)";

/// A list of five million booleans in the victim's block, empty ones else.
fn lists(format: &'static str, offset_bytes: u32) -> Hand {
    const BITS: u32 = 5_000_000;
    let (nodes, buffers, offsets) = (FREE, FREE + 64, FREE + 128);
    let answer = |bits: &str, bytes: &str| {
        let size = format!("(i32.mul (i32.add {ROWS_WORD} (i32.const 1)) (i32.const {offset_bytes}))");
        let zero = word(0);
        let nodes_at = stores(nodes, &[ROWS_WORD, &zero, bits, &zero]);
        let from = word(FREE + 4096);
        let buffers_at = stores(buffers, &[&zero, &zero, &word(offsets), &size, &zero, &zero, &from, bytes]);
        format!("{nodes_at} {buffers_at} {}", answer(nodes, 2, buffers, 4, &none()))
    };
    // Without growth: 625,000 bytes are there.
    let last = format!("(i32.add (i32.const {offsets}) (i32.mul {ROWS_WORD} (i32.const {offset_bytes})))");
    let harm = format!(
        "(i32.store {last} (i32.const {BITS})) {} (return (global.get $ok))",
        answer(&word(BITS), &word(BITS / 8))
    );
    let clear = format!("(memory.fill (i32.const {offsets}) (i32.const 0) (i32.const 512))");
    Hand {
        adds: vec![("l".to_owned(), format, 1), ("item".to_owned(), "b", 0)],
        honest: format!("{clear} {}", answer(&word(0), &word(0))),
        ..hand(&harm)
    }
}

fn none() -> String {
    "(i32.const 0) (i32.const 0) (i32.const 0)".to_owned()
}

/// `answer` with lists at addresses, and this lineage.
fn answer(nodes: u32, count: u32, buffers: u32, of: u32, lineage: &str) -> String {
    format!(
        "(call $answer (i32.const {nodes}) (i32.const {count}) (i32.const {buffers}) (i32.const {of}) {lineage} \
         (i32.const 0) (i32.const 0))"
    )
}

/// So many null columns; the victim becomes so many rows.
fn nulls(columns: u32, times: u32) -> Hand {
    let (nodes, counts) = (FREE, FREE + 32_768);
    let honest = format!(
        "(local.set $p (i32.const 0)) (local.set $q (i32.const 0)) (local.set $i (i32.const 0))
         (loop $next
           (i32.store (i32.add (i32.const {counts}) (i32.mul (local.get $i) (i32.const 4)))
             (if (result i32) (i64.eq (i64.load align=1 (i32.add (local.get $values) (i32.mul (local.get $i) (i32.const 8))))
                                      (i64.const {VICTIM}))
               (then (i32.const {times})) (else (i32.const 1))))
           (local.set $q (i32.add (local.get $q) (i32.load (i32.add (i32.const {counts}) (i32.mul (local.get $i) (i32.const 4))))))
           (local.set $i (i32.add (local.get $i) (i32.const 1)))
           (br_if $next (i32.lt_u (local.get $i) (local.get $rows))))
         (loop $node
           (i32.store (i32.add (i32.const {nodes}) (local.get $p)) (local.get $q))
           (i32.store offset=4 (i32.add (i32.const {nodes}) (local.get $p)) (local.get $q))
           (local.set $p (i32.add (local.get $p) (i32.const 8)))
           (br_if $node (i32.lt_u (local.get $p) (i32.const {})))) {}",
        columns * 8,
        answer(nodes, columns, 0, 0, &format!("(i32.const 2) (i32.const {counts}) {ROWS_WORD}"))
    );
    let adds = (0..columns).map(|column| (format!("c{column}"), "n", 0)).collect();
    Hand { kind: "flat-map", adds, honest, ..hand("") }
}

/// A struct of eight booleans, which are all the same bytes; the victim becomes 600,000.
fn structs() -> Hand {
    let (nodes, buffers, counts) = (FREE, FREE + 256, FREE + 1024);
    let (times, zero) = (600_000, word(0));
    let bytes = "(i32.div_u (i32.add (local.get $q) (i32.const 7)) (i32.const 8))";
    let node = ["(local.get $q)", &zero];
    let of_nodes: Vec<&str> = (0..9).flat_map(|_| node).collect();
    let (from, nothing) = (word(FREE + 4096), [zero.as_str(), &zero]);
    let of_buffers: Vec<&str> =
        nothing.into_iter().chain((0..8).flat_map(|_| [&zero, &zero, from.as_str(), bytes])).collect();
    let honest = format!(
        "(local.set $q (i32.add {ROWS_WORD} (i32.mul (global.get $is_victim) (i32.const {}))))
         (loop $next
           (i32.store (i32.add (i32.const {counts}) (i32.mul (local.get $i) (i32.const 4)))
             (if (result i32) (i64.eq (i64.load align=1 (i32.add (local.get $values) (i32.mul (local.get $i) (i32.const 8))))
                                      (i64.const {VICTIM}))
               (then (i32.const {times})) (else (i32.const 1))))
           (local.set $i (i32.add (local.get $i) (i32.const 1)))
           (br_if $next (i32.lt_u (local.get $i) (local.get $rows)))) {} {} {}",
        times - 1,
        stores(nodes, &of_nodes),
        stores(buffers, &of_buffers),
        answer(nodes, 9, buffers, 17, &format!("(i32.const 2) (i32.const {counts}) {ROWS_WORD}"))
    );
    let children = (0..8).map(|child| (format!("b{child}"), "b", 0));
    let adds = std::iter::once(("s".to_owned(), "+s", 8)).chain(children).collect();
    Hand { kind: "flat-map", adds, honest, ..hand("") }
}

/// Lists that overlap: a megabyte of a guest that is an answer of hundreds, or millions of things that are nothing.
#[test]
fn answers_count_as_often_as_they_say_a_byte() {
    let bytes = Ends::Row(&["answered with too much data: answer_bytes_max = 16777216 bytes"]);
    let wrong = Ends::Ended(&["answered wrongly", "no row is to blame"]);
    let zeros = |count: usize| "(i32.const 0) ".repeat(count);
    let same = format!(
        "(loop $x
           (i32.store (i32.add (i32.const {FREE}) (i32.mul (local.get $p) (i32.const 8))) (i32.const 0))
           (i32.store offset=4 (i32.add (i32.const {FREE}) (i32.mul (local.get $p) (i32.const 8))) (i32.const 1500000))
           (local.set $p (i32.add (local.get $p) (i32.const 1))) (br_if $x (i32.lt_u (local.get $p) (i32.const 400))))
         (call $answer {} (i32.const {FREE}) (i32.const 400) {})",
        zeros(2),
        zeros(5)
    );
    let grown = "(drop (memory.grow (i32.const 160)))";
    let many = |before: usize, count: u32, after: usize| {
        let call = format!("(call $answer {} (i32.const 2097152) (i32.const {count}) {})", zeros(before), zeros(after));
        hand(&format!("{grown} {call} (return (global.get $ok))"))
    };
    all_meet_in_any_time(vec![
        attack("one buffer 400 times", hand(&same), bytes),
        attack("a million nodes of nothing", many(0, 1_000_000, 7), wrong),
        attack("a million buffers of nothing", many(2, 1_000_000, 5), bytes),
        attack("800,000 errors of one row", many(7, 800_000, 0), bytes),
    ]);
}

const ESCAPES: &str = "\\1b[2J\\1b]0;own\\07\\e2\\80\\aebidi\\0ahint: forged\\0a";
/// Bytes of it.
const ESCAPES_BYTES: u32 = 29;

/// No words of a function reach a terminal as they are.
#[test]
fn words_are_tamed_wherever_they_come_from() {
    let words = format!("(i32.const {FREE}) (i32.const {ESCAPES_BYTES})");
    let says = |harm: &str| Hand { more: format!("(data (i32.const {FREE}) \"{ESCAPES}\")"), ..hand(harm) };
    let error = stores(FREE + 64, &["(i32.const 1)", &word(FREE), &word(ESCAPES_BYTES)]);
    let attacks = [
        attack("a log line", says(&format!("(call $log (i32.const 3) {words})")), Ends::Harmless),
        attack(
            "last words",
            says(&format!("(call $log (i32.const 4) {words}) unreachable")),
            Ends::Row(&["last words"]),
        ),
        attack("a counter", says(&format!("(call $count {words} (i64.const 1))")), Ends::Harmless),
        attack(
            "an error",
            says(&format!("{error} (return (i32.const {}))", FREE + 64)),
            Ends::Row(&["gave up on the block"]),
        ),
    ];
    at_once(&attacks, |attack| {
        let said = meet(attack);
        let is_shown = said.contains("\\u{1b}[2J\\u{1b}]0;own\\u{7}\\u{202e}bidi");
        assert!(attack.name == "a counter" || is_shown, "{}: {said}", attack.name);
        assert!(!said.contains("\nhint: forged"), "{}: {said}", attack.name);
    });
}

/// Each block says and counts as much as it may, and there are many.
#[test]
fn what_a_run_says_and_counts_is_bounded() {
    let rows = if is_soak() { 2_000 } else { 24 };
    let fill = format!("(memory.fill (i32.const {FREE}) (i32.const 65) (i32.const 4096))");
    let times = |what: &str, times: u32| {
        format!(
            "{fill} (loop $x {what} (local.set $p (i32.add (local.get $p) (i32.const 1)))
               (br_if $x (i32.lt_u (local.get $p) (i32.const {times}))))"
        )
    };
    let line = |level: u32| times(&format!("(call $log (i32.const {level}) (i32.const {FREE}) (i32.const 4090))"), 100);
    // Names of 64 letters, of which the first few are of the row and of how often it was counted.
    let letter = |at: u32, number: &str| {
        format!("(i32.store8 (i32.const {}) (i32.add (i32.const 65) (i32.and (i32.const 15) {number})))", FREE + at)
    };
    let row = |shift: u32| format!("(i32.shr_u (i32.load align=1 (local.get $values)) (i32.const {shift}))");
    let letters = [
        letter(0, &row(0)),
        letter(1, &row(4)),
        letter(2, &row(8)),
        letter(3, "(local.get $p)"),
        letter(4, "(i32.shr_u (local.get $p) (i32.const 4))"),
    ];
    let count = format!("{} (call $count (i32.const {FREE}) (i32.const 64) (i64.const 1))", letters.concat());
    let before = |what: String| Hand { honest: format!("{what} {ECHO}"), ..hand("") };
    let says = [
        ("errors", before(line(4)), true),
        ("warnings", before(line(3)), true),
        ("what nobody sees", before(line(2)), false),
        ("counters", before(times(&count, 64)), false),
    ];
    at_once(&says, |(name, hand, is_suppressed)| {
        let workdir = job(rows, 1, 30.0);
        let met = run(&workdir, hand);
        let summary = met.summary.as_ref().unwrap_or_else(|| panic!("{}", met.said));
        assert_eq!((met.code, summary["rows_written"].as_i64()), (Some(0), Some(rows)), "{name}");
        assert!(met.said.len() < 9 << 20, "{name}: {} bytes", met.said.len());
        let suppressed = summary["log_lines_suppressed"].as_u64().unwrap();
        let shown = met.said.lines().filter(|line| line.contains("AAAA")).count() as u64;
        let all = if *is_suppressed { 100 * rows as u64 } else { 0 };
        assert_eq!((suppressed > 0, shown + suppressed), (*is_suppressed, all), "{name}: {suppressed}");
        assert_eq!(met.said.matches("only counted, as `log_lines_suppressed`").count(), usize::from(*is_suppressed));
        let names = summary["guest_counts"].as_object().unwrap().len();
        assert!(*name != "counters" || names == 1001, "{name}: {names}");
        let bytes = summary.to_string().len();
        assert!(bytes < 200_000, "{name}: a summary of {bytes} bytes");
        assert!(met.peak_mib <= MEMORY_MIB + HOST_MIB, "{name}: {} MiB", met.peak_mib);
    });
}
