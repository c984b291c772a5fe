//! What a guest says: log lines and counters. Both are hostile: they may be endless, huge, or try to look like ours.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::limits::Limits;
use super::world::host::Level;

/// Where further counters go when a call has used up its names.
const OTHER_COUNTERS: &str = "(others)";
/// Bytes of a counter's name; a longer one is cut.
const COUNTER_NAME_BYTES_MAX: usize = 64;

/// Names of counters of a run. Each call may use others.
const COUNTERS_OF_RUN_MAX: usize = 1000;

/// Bytes of log that a run shows of one thing that speaks again and again: a function, or the rows of a stage that fail.
const LINES_BYTES_MAX: u64 = 8 << 20;
/// Time, level and names before what a line says, more or less.
const LINE_BYTES: u64 = 100;

/// The log lines of a run about one thing, of all threads. When there are too many, further ones are counted.
#[derive(Debug, Default)]
pub struct Lines {
    bytes: AtomicU64,
    suppressed: AtomicU64,
}

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    Yes,
    /// The first that is not: this much is said once.
    NoMore,
    No,
}

impl Lines {
    /// A line of so many bytes is about to be written.
    pub fn admit(&self, bytes: usize) -> Shown {
        let bytes = bytes as u64 + LINE_BYTES;
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes <= LINES_BYTES_MAX {
            return Shown::Yes;
        }
        self.suppressed.fetch_add(1, Ordering::Relaxed);
        if before <= LINES_BYTES_MAX { Shown::NoMore } else { Shown::No }
    }

    /// So many lines are not written, for another reason.
    pub fn suppress(&self, lines: u64) {
        self.suppressed.fetch_add(lines, Ordering::Relaxed);
    }

    /// Lines that were not written.
    pub fn suppressed(&self) -> u64 {
        self.suppressed.load(Ordering::Relaxed)
    }
}

/// What is said in place of the lines that follow.
pub fn no_more_lines() -> String {
    format!(
        "these lines are {} MiB of this run's log; further ones are only counted, as `log_lines_suppressed` of its summary",
        LINES_BYTES_MAX >> 20
    )
}

/// Adds what a call of a function counted under a name to the counters of a run. What goes to further names is added up under
/// one for each function.
pub fn add_count(all: &mut BTreeMap<String, u64>, function: &str, name: &str, delta: u64) {
    let key = format!("{function}.{name}");
    let is_known = all.len() < COUNTERS_OF_RUN_MAX || all.contains_key(&key);
    let key = if is_known { key } else { format!("{function}.{OTHER_COUNTERS}") };
    let count = all.entry(key).or_default();
    *count = count.saturating_add(delta);
}

/// Something of `tracing` at the level of a guest's line: levels are constants there.
macro_rules! at_level {
    ($level:expr, $what:ident $(, $($more:tt)+)?) => {
        match $level {
            Level::Trace => tracing::$what!(target: "guest", tracing::Level::TRACE $(, $($more)+)?),
            Level::Debug => tracing::$what!(target: "guest", tracing::Level::DEBUG $(, $($more)+)?),
            Level::Info => tracing::$what!(target: "guest", tracing::Level::INFO $(, $($more)+)?),
            Level::Warn => tracing::$what!(target: "guest", tracing::Level::WARN $(, $($more)+)?),
            Level::Error => tracing::$what!(target: "guest", tracing::Level::ERROR $(, $($more)+)?),
        }
    };
}

/// Whether anybody listens at that level, on this thread.
fn is_wanted(level: Level) -> bool {
    at_level!(level, enabled)
}

/// Collects what the guest says during one call at a time.
pub(super) struct Journal {
    stage: String,
    function: String,
    line_bytes_max: usize,
    lines_max: usize,
    counters_max: usize,
    of_run: Arc<Lines>,
    /// Lines of this call that somebody wants to see.
    lines: usize,
    dropped_warning: bool,
    last_error: Option<String>,
    counts: BTreeMap<String, u64>,
}

impl Journal {
    pub(super) fn new(stage: &str, function: &str, limits: &Limits, of_run: &Arc<Lines>) -> Journal {
        Journal {
            stage: stage.to_owned(),
            function: function.to_owned(),
            line_bytes_max: limits.log_line_bytes_max,
            lines_max: limits.log_lines_max,
            counters_max: limits.counters_max,
            of_run: Arc::clone(of_run),
            lines: 0,
            dropped_warning: false,
            last_error: None,
            counts: BTreeMap::new(),
        }
    }

    pub(super) fn begin(&mut self) {
        self.lines = 0;
        self.dropped_warning = false;
        self.last_error = None;
        self.counts.clear();
    }

    pub(super) fn end(&mut self) {
        let dropped = self.lines.saturating_sub(self.lines_max);
        if dropped == 0 {
            return;
        }
        self.of_run.suppress(dropped as u64);
        let what = format!("{dropped} more log lines of this call were dropped, after the first {}", self.lines_max);
        // Who does not want to see the lines does not want to hear of them either.
        self.say(if self.dropped_warning { Level::Warn } else { Level::Info }, &what);
    }

    /// The last line at level error of this call: a guest that panics says why before it traps.
    pub(super) fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }

    pub(super) fn take_counts(&mut self) -> BTreeMap<String, u64> {
        std::mem::take(&mut self.counts)
    }

    pub(super) fn log(&mut self, level: Level, message: &str) {
        let (is_wanted, is_error) = (is_wanted(level), matches!(level, Level::Error));
        self.lines += usize::from(is_wanted);
        let is_shown = is_wanted && self.lines <= self.lines_max;
        if !is_shown && !is_error {
            self.dropped_warning |= matches!(level, Level::Warn);
            return;
        }
        // A panic stands on two lines; a log line is one.
        let line = tame(&message.trim_end().replace(['\n', '\r'], " "), self.line_bytes_max);
        if is_shown {
            self.say(level, &line);
        }
        if is_error {
            self.last_error = Some(line);
        }
    }

    /// As far as a run shows what its functions say.
    fn say(&self, level: Level, line: &str) {
        if !is_wanted(level) {
            return;
        }
        match self.of_run.admit(line.len()) {
            Shown::Yes => self.emit(level, line),
            Shown::NoMore => self.emit(level, &no_more_lines()),
            Shown::No => {}
        }
    }

    fn emit(&self, level: Level, line: &str) {
        let Journal { stage, function, .. } = self;
        at_level!(level, event, %stage, %function, "{line}");
    }

    pub(super) fn count(&mut self, name: &str, delta: u64) {
        let name = tame(name, COUNTER_NAME_BYTES_MAX);
        let known = self.counts.len() < self.counters_max || self.counts.contains_key(&name);
        let name = if known { name } else { OTHER_COUNTERS.to_owned() };
        let count = self.counts.entry(name).or_default();
        *count = count.saturating_add(delta);
    }
}

/// A guest's text made harmless to show: one line, no control characters, no changes of writing direction, at most about
/// `bytes_max` bytes.
pub(super) fn tame(text: &str, bytes_max: usize) -> String {
    let mut tamed = String::with_capacity(text.len().min(bytes_max));
    for c in text.trim_end().chars() {
        if tamed.len() + c.len_utf8() > bytes_max {
            tamed.push_str(" ... (cut)");
            break;
        }
        if harmless(c) {
            tamed.push(c);
        } else {
            write!(tamed, "{}", c.escape_default()).expect("a string takes what is written to it");
        }
    }
    tamed
}

fn harmless(c: char) -> bool {
    let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !c.is_control() && !turns
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal() -> Journal {
        let limits = Limits { log_lines_max: 2, counters_max: 2, ..Limits::default() };
        Journal::new("1", "f", &limits, &Arc::default())
    }

    #[test]
    fn text_is_tamed() {
        assert_eq!(tame("a\nb\x1b[31m\r\n", 100), "a\\nb\\u{1b}[31m");
        assert_eq!(tame("a\u{202e}b", 100), "a\\u{202e}b");
        assert_eq!(tame("äöü", 100), "äöü");
        assert_eq!(tame("äöü", 5), "äö ... (cut)");
        assert!(tame(&"x".repeat(1 << 20), 100).len() < 120);
    }

    #[test]
    fn the_last_error_survives_a_flood() {
        let mut journal = journal();
        for _ in 0..1000 {
            journal.log(Level::Info, "noise");
        }
        journal.log(Level::Error, "panicked at src/lib.rs");
        assert_eq!(journal.last_error(), Some("panicked at src/lib.rs"));
        journal.end();
        journal.begin();
        assert_eq!(journal.last_error(), None);
    }

    #[test]
    fn lines_of_a_run_have_bounds() {
        let lines = Lines::default();
        let fits = (LINES_BYTES_MAX / (900 + LINE_BYTES)) as usize;
        let shown: Vec<Shown> = (0..fits + 3).map(|_| lines.admit(900)).collect();
        assert!(shown[..fits].iter().all(|shown| *shown == Shown::Yes));
        assert_eq!(shown[fits..], [Shown::NoMore, Shown::No, Shown::No]);
        lines.suppress(4);
        assert_eq!(lines.suppressed(), 7);
    }

    #[test]
    fn counters_of_a_run_have_bounds() {
        let mut all = BTreeMap::new();
        for name in 0..3000 {
            add_count(&mut all, "f", &name.to_string(), 2);
        }
        add_count(&mut all, "f", "7", u64::MAX);
        add_count(&mut all, "g", "new", 1);
        assert_eq!((all.len(), all["f.(others)"], all["g.(others)"]), (1002, 4000, 1));
        assert_eq!((all["f.7"], all["f.999"]), (u64::MAX, 2));
    }

    #[test]
    fn counters_have_bounds() {
        let mut journal = journal();
        for name in ["a", "b", "c", "d", "a"] {
            journal.count(name, u64::MAX - 1);
        }
        let counts = journal.take_counts();
        let names: Vec<&str> = counts.keys().map(String::as_str).collect();
        assert_eq!(names, ["(others)", "a", "b"]);
        assert_eq!(counts["a"], u64::MAX);
        assert_eq!(counts["(others)"], u64::MAX);
    }
}
