//! Progress for people: a live display on a terminal, a plain line every few seconds in a log. Both say the same: rows of
//! all rows, rate, time left, commits, failed rows, time spent. Rendering is a function of a [`View`]; `observe` knows the
//! figures.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use super::screen;
use super::text::{bytes, number, seconds};
use crate::observe::{Pace, Progress, View};

/// Between two drawings of the live display.
const LIVE_PERIOD: Duration = Duration::from_millis(200);
/// Until the first line in a log: soon enough to see that it works.
const LOG_FIRST: Duration = Duration::from_secs(2);
/// Between two lines in a log.
const LOG_PERIOD: Duration = Duration::from_secs(5);
/// Cells of the bar, if there is room.
const BAR: usize = 30;
/// With less room there is no bar.
const BAR_LEAST: usize = 5;
/// A terminal that does not say how wide it is.
const WIDTH: usize = 80;

/// Shows a run while it goes on; what it drew is gone when it is dropped.
pub(super) struct Display {
    how: How,
    started: Instant,
    last: Option<Instant>,
    pace: Pace,
}

#[derive(Clone, Copy, PartialEq)]
enum How {
    Quiet,
    Live,
    Log,
}

impl Display {
    pub(super) fn new(quiet: bool) -> Display {
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let how = match (quiet, stderr().is_terminal() && !is_dumb) {
            (true, _) => How::Quiet,
            (false, true) => How::Live,
            (false, false) => How::Log,
        };
        Display { how, started: Instant::now(), last: None, pace: Pace::default() }
    }

    /// Called a few times a second.
    pub(super) fn report(&mut self, progress: &Progress) {
        let view = self.pace.view(progress, self.started.elapsed());
        let is_due = match (self.how, self.last) {
            (How::Quiet, _) => false,
            (How::Live, last) => last.is_none_or(|last| last.elapsed() >= LIVE_PERIOD),
            (How::Log, None) => view.elapsed >= LOG_FIRST,
            (How::Log, Some(last)) => last.elapsed() >= LOG_PERIOD,
        };
        if !is_due {
            return;
        }
        self.last = Some(Instant::now());
        match self.how {
            How::Live => screen::draw(live(&view, width())),
            _ => say!("{}", line(&view)),
        }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        screen::close();
    }
}

fn width() -> usize {
    let size = terminal_size::terminal_size_of(stderr());
    size.map_or(WIDTH, |(width, _)| usize::from(width.0))
}

/// The live display for a terminal of this width. One column stays free: a full line would wrap.
fn live(view: &View, width: usize) -> Vec<String> {
    let width = width.saturating_sub(1);
    let mut first = rows(view);
    if let Some(share) = view.share() {
        let room = width.saturating_sub(first.len() + 8).min(BAR);
        let bar = if room < BAR_LEAST { String::new() } else { bar(share, room) };
        first = format!("{:>4} {bar}{first}", percent(share));
    }
    let first = joined(first, left(view), width);
    let mut facts = facts(view).into_iter();
    let second = joined(format!("     {}", facts.next().unwrap_or_default()), facts, width);
    [first, second].map(|line| cut(&line, width)).to_vec()
}

/// As many facts as there is room for, none of them in part.
fn joined(mut line: String, facts: impl IntoIterator<Item = String>, width: usize) -> String {
    for fact in facts {
        if line.len() + ", ".len() + fact.len() > width {
            break;
        }
        line = format!("{line}, {fact}");
    }
    line
}

/// The same as one line for a log.
fn line(view: &View) -> String {
    let share = view.share().map(|share| format!("{}, ", percent(share))).unwrap_or_default();
    let left = left(view).map(|left| format!(", {left}")).unwrap_or_default();
    format!("{share}{}, {}{left}", rows(view), facts(view).join(", "))
}

/// `1,200 of about 4,000 rows`
fn rows(view: &View) -> String {
    let passed = number(view.rows_passed);
    match view.rows_total {
        Some(total) if total.is_exact => format!("{passed} of {} rows", number(total.rows)),
        Some(total) => format!("{passed} of about {} rows", number(total.rows)),
        None => format!("{passed} rows"),
    }
}

fn left(view: &View) -> Option<String> {
    let left = view.left.filter(|left| !left.is_zero())?;
    Some(format!("{} left", seconds(left.as_secs_f64())))
}

fn facts(view: &View) -> Vec<String> {
    let mut facts = Vec::new();
    if let (Some(rows), Some(decoded)) = (view.rows_per_second, view.bytes_per_second) {
        facts.push(format!("{} rows/s", number(rows as u64)));
        facts.push(format!("{}/s", bytes(decoded as u64)));
    }
    let noun = if view.commits == 1 { "commit" } else { "commits" };
    facts.push(format!("{} committed in {} {noun}", number(view.rows_committed), number(view.commits)));
    if view.rows_skipped > 0 {
        facts.push(format!("{} done before", number(view.rows_skipped)));
    }
    facts.push(format!("{} failed", number(view.rows_failed)));
    if view.rows_dead_lettered > 0 {
        facts.push(format!("{} dead-lettered", number(view.rows_dead_lettered)));
    }
    facts.push(format!("{} elapsed", seconds(view.elapsed.as_secs_f64())));
    facts
}

/// Whole percent, and 100 only if it is all.
fn percent(share: f64) -> String {
    let whole = (share * 100.0) as u64;
    format!("{whole}%")
}

fn bar(share: f64, cells: usize) -> String {
    let full = (share * cells as f64) as usize;
    format!("[{}{}] ", "#".repeat(full), ".".repeat(cells - full))
}

fn cut(line: &str, width: usize) -> String {
    line.chars().take(width).collect()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::observe::Total;

    fn running() -> View {
        View {
            elapsed: Duration::from_secs(123),
            rows_passed: 1_260_000,
            rows_skipped: 0,
            rows_total: Some(Total { rows: 2_000_000, is_exact: true }),
            rows_per_second: Some(45_200.7),
            bytes_per_second: Some(92_377_907.0),
            left: Some(Duration::from_secs(16)),
            rows_committed: 1_200_000,
            commits: 12,
            rows_failed: 0,
            rows_dead_lettered: 0,
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "an expectation is written where it is used")]
    fn check(view: &View, width: usize, expected: Expect) {
        let lines = live(view, width);
        assert!(lines.iter().all(|line| line.chars().count() < width.max(1)), "{lines:?}");
        expected.assert_eq(&format!("{}\n{}\n", lines.join("\n"), line(view)));
    }

    #[test]
    fn a_run_in_the_middle() {
        check(
            &running(),
            100,
            expect![[r#"
                 63% [##################............] 1,260,000 of 2,000,000 rows, 16 s left
                     45,200 rows/s, 88.1 MiB/s, 1,200,000 committed in 12 commits, 0 failed, 2 min 3 s elapsed
                63%, 1,260,000 of 2,000,000 rows, 45,200 rows/s, 88.1 MiB/s, 1,200,000 committed in 12 commits, 0 failed, 2 min 3 s elapsed, 16 s left
            "#]],
        );
    }

    #[test]
    fn the_first_moment() {
        let view = View {
            elapsed: Duration::from_millis(300),
            rows_passed: 0,
            rows_total: None,
            rows_per_second: None,
            bytes_per_second: None,
            left: None,
            rows_committed: 0,
            commits: 0,
            ..running()
        };
        check(
            &view,
            100,
            expect![[r#"
                0 rows
                     0 committed in 0 commits, 0 failed, 0.3 s elapsed
                0 rows, 0 committed in 0 commits, 0 failed, 0.3 s elapsed
            "#]],
        );
    }

    #[test]
    fn a_resumed_run_with_failures_whose_total_is_an_estimate() {
        let view = View {
            rows_skipped: 1_000_000,
            rows_total: Some(Total { rows: 2_000_000, is_exact: false }),
            rows_committed: 200_000,
            commits: 1,
            rows_failed: 17,
            rows_dead_lettered: 3,
            left: Some(Duration::from_secs(7400)),
            ..running()
        };
        check(
            &view,
            120,
            expect![[r#"
                 63% [##################............] 1,260,000 of about 2,000,000 rows, 2 h 3 min left
                     45,200 rows/s, 88.1 MiB/s, 200,000 committed in 1 commit, 1,000,000 done before, 17 failed, 3 dead-lettered
                63%, 1,260,000 of about 2,000,000 rows, 45,200 rows/s, 88.1 MiB/s, 200,000 committed in 1 commit, 1,000,000 done before, 17 failed, 3 dead-lettered, 2 min 3 s elapsed, 2 h 3 min left
            "#]],
        );
    }

    #[test]
    fn a_narrow_terminal_gets_less_and_never_wraps() {
        check(
            &running(),
            40,
            expect![[r#"
                 63% 1,260,000 of 2,000,000 rows
                     45,200 rows/s, 88.1 MiB/s
                63%, 1,260,000 of 2,000,000 rows, 45,200 rows/s, 88.1 MiB/s, 1,200,000 committed in 12 commits, 0 failed, 2 min 3 s elapsed, 16 s left
            "#]],
        );
        check(
            &running(),
            10,
            expect![[r#"
                 63% 1,26
                     45,2
                63%, 1,260,000 of 2,000,000 rows, 45,200 rows/s, 88.1 MiB/s, 1,200,000 committed in 12 commits, 0 failed, 2 min 3 s elapsed, 16 s left
            "#]],
        );
        assert_eq!(live(&running(), 0), ["", ""]);
    }

    #[test]
    fn the_end() {
        let view = View { rows_passed: 2_000_000, left: Some(Duration::ZERO), ..running() };
        check(
            &view,
            100,
            expect![[r#"
                100% [##############################] 2,000,000 of 2,000,000 rows
                     45,200 rows/s, 88.1 MiB/s, 1,200,000 committed in 12 commits, 0 failed, 2 min 3 s elapsed
                100%, 2,000,000 of 2,000,000 rows, 45,200 rows/s, 88.1 MiB/s, 1,200,000 committed in 12 commits, 0 failed, 2 min 3 s elapsed
            "#]],
        );
        assert_eq!(percent(0.9999), "99%");
    }
}
