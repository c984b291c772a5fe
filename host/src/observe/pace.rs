//! How far a run is, how fast, and how long it will take. Pure values: time comes in as a parameter.
//!
//! The rate is that of the last half minute, so that a slow start or a resume that skips most rows does not spoil it.
//! Rows that earlier runs did count as done, and never as speed.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Progress, get};

/// The rate is measured over this time.
const WINDOW: Duration = Duration::from_secs(30);
/// The shortest time between two samples.
const SAMPLE: Duration = Duration::from_millis(500);
/// No estimate is made from less than this.
const EARLIEST: Duration = Duration::from_secs(2);

/// A run at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// Since the run began.
    pub elapsed: Duration,
    /// Source rows behind the run: those of earlier runs, those known by id, those that were sent into the stages.
    pub rows_passed: u64,
    /// Of these, those of earlier runs.
    pub rows_skipped: u64,
    /// All rows of the source; none while nothing is known.
    pub rows_total: Option<Total>,
    /// Rows a second, recently; none in the first moments.
    pub rows_per_second: Option<f64>,
    /// Decoded bytes a second, recently.
    pub bytes_per_second: Option<f64>,
    /// How long it will take.
    pub left: Option<Duration>,
    /// Source rows that this run committed.
    pub rows_committed: u64,
    /// Commits of this run.
    pub commits: u64,
    /// Rows of this run that failed and are left out.
    pub rows_failed: u64,
    /// Rows of this run that failed and became dead letters.
    pub rows_dead_lettered: u64,
}

/// How many rows the source has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Total {
    /// Rows.
    pub rows: u64,
    /// Whether every object was counted; else the rest is taken to have as many rows a byte as those that were.
    pub is_exact: bool,
}

impl View {
    /// Rows behind the run, of all. None while the total is not known.
    pub fn share(&self) -> Option<f64> {
        match self.rows_total?.rows {
            0 => Some(1.0),
            total => Some((self.rows_passed as f64 / total as f64).min(1.0)),
        }
    }
}

/// Remembers enough of the past to know a rate.
#[derive(Debug, Default)]
pub struct Pace {
    samples: VecDeque<Sample>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    elapsed: Duration,
    rows: u64,
    bytes: u64,
}

impl Pace {
    /// The run at the moment `elapsed`. Called again and again, with times that grow.
    pub fn view(&mut self, progress: &Progress, elapsed: Duration) -> View {
        let rows_skipped = get(&progress.rows_skipped);
        let moved = get(&progress.rows_read) + get(&progress.rows_known);
        let now = Sample { elapsed, rows: moved, bytes: get(&progress.bytes_read) };
        let first = self.remember(now);
        let seconds = (now.elapsed - first.elapsed).as_secs_f64();
        let is_early = elapsed < EARLIEST || seconds < EARLIEST.as_secs_f64() / 2.0;
        let per_second = |amount: u64| (!is_early).then(|| amount as f64 / seconds);
        let rows_per_second = per_second(now.rows - first.rows);
        let rows_passed = rows_skipped + moved;
        let rows_total = total(progress, rows_passed);
        let rows_left = rows_total.map(|total| total.rows.saturating_sub(rows_passed));
        View {
            elapsed,
            rows_passed,
            rows_skipped,
            rows_total,
            rows_per_second,
            bytes_per_second: per_second(now.bytes - first.bytes),
            left: rows_left.zip(rows_per_second).and_then(|(rows, rate)| duration(rows, rate)),
            rows_committed: get(&progress.rows_committed),
            commits: get(&progress.commits),
            rows_failed: get(&progress.rows_failed),
            rows_dead_lettered: get(&progress.rows_dead_lettered),
        }
    }

    /// The sample that the rate is measured from.
    fn remember(&mut self, now: Sample) -> Sample {
        if self.samples.back().is_none_or(|last| now.elapsed >= last.elapsed + SAMPLE) {
            self.samples.push_back(now);
        }
        while self.samples.len() > 2 && self.samples[1].elapsed + WINDOW <= now.elapsed {
            self.samples.pop_front();
        }
        self.samples.front().copied().unwrap_or(now)
    }
}

fn total(progress: &Progress, rows_passed: u64) -> Option<Total> {
    let (bytes, counted, rows) =
        (get(&progress.source_bytes), get(&progress.counted_bytes), get(&progress.counted_rows));
    if counted >= bytes {
        return (bytes > 0).then_some(Total { rows: rows.max(rows_passed), is_exact: true });
    }
    let guessed = (counted > 0).then(|| (rows as f64 * (bytes as f64 / counted as f64)) as u64)?;
    Some(Total { rows: guessed.max(rows_passed), is_exact: false })
}

fn duration(rows: u64, rate: f64) -> Option<Duration> {
    if rows == 0 {
        return Some(Duration::ZERO);
    }
    Duration::try_from_secs_f64(rows as f64 / rate).ok()
}

#[cfg(test)]
mod tests {
    use super::super::add;
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn progress(bytes: u64, counted_bytes: u64, counted_rows: u64) -> Progress {
        let progress = Progress::default();
        add(&progress.source_bytes, bytes);
        add(&progress.counted_bytes, counted_bytes);
        add(&progress.counted_rows, counted_rows);
        progress
    }

    #[test]
    fn rows_of_earlier_runs_are_done_and_no_speed() {
        let progress = progress(100, 100, 1000);
        add(&progress.rows_skipped, 600);
        let mut pace = Pace::default();
        assert_eq!(pace.view(&progress, seconds(0)).left, None);
        add(&progress.rows_read, 100);
        let view = pace.view(&progress, seconds(10));
        assert_eq!((view.share(), view.rows_per_second, view.left), (Some(0.7), Some(10.0), Some(seconds(30))));
    }

    #[test]
    fn objects_that_are_not_counted_are_taken_to_be_like_the_others() {
        let view = Pace::default().view(&progress(400, 100, 1000), seconds(1));
        assert_eq!(view.rows_total, Some(Total { rows: 4000, is_exact: false }));
        assert_eq!(Pace::default().view(&progress(400, 0, 0), seconds(1)).rows_total, None);
        assert_eq!(Pace::default().view(&Progress::default(), seconds(1)).rows_total, None);
    }

    #[test]
    fn the_rate_is_that_of_the_last_half_minute() {
        let progress = progress(100, 100, 1_000_000);
        let mut pace = Pace::default();
        for second in 0..100 {
            add(&progress.rows_read, if second < 50 { 1000 } else { 10 });
            pace.view(&progress, seconds(second));
        }
        assert_eq!(pace.view(&progress, seconds(99)).rows_per_second, Some(10.0));
        assert!(pace.samples.len() < 100);
    }

    #[test]
    fn a_run_that_stands_still_promises_nothing() {
        let progress = progress(100, 100, 1000);
        let mut pace = Pace::default();
        pace.view(&progress, seconds(0));
        let view = pace.view(&progress, seconds(60));
        assert_eq!((view.rows_per_second, view.left), (Some(0.0), None));
    }
}
