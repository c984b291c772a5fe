//! How much of a run goes into telling rows apart: each block's search has its limits, and a long job has many blocks.
//!
//! Where rows trap, calls that fail take a small multiple of the block's time, as each halving calls every row once at most.
//! Where rows hang, it is `block_seconds_max` many times over, whatever the block takes by itself. So calls that fail may
//! take some time of a run, or a multiple of what those took that were answered if that is more.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::plan::Isolation;

/// Time of a stage's calls in a run, of all workers.
#[derive(Debug, Default)]
pub struct SearchTime {
    /// Nanoseconds of calls that told rows apart, and failed.
    failed: AtomicU64,
    /// Of all calls that were answered.
    answered: AtomicU64,
    blocks: AtomicU64,
    rows: AtomicU64,
}

/// Said when they have taken so long together, and each time that they have taken twice as long.
const NOTABLE: Duration = Duration::from_secs(60);

impl SearchTime {
    /// A call was answered.
    pub fn answered(&self, time: Duration) {
        add(&self.answered, time);
    }

    /// A call failed that told rows apart.
    pub fn failed(&self, time: Duration) {
        add(&self.failed, time);
    }

    /// The most time that such calls may take, as far as the run came.
    pub fn time_max(&self, isolation: &Isolation) -> Duration {
        isolation.run_time_max(load(&self.answered))
    }

    /// What is left of it.
    pub fn time_left(&self, isolation: &Isolation) -> Duration {
        self.time_max(isolation).saturating_sub(load(&self.failed))
    }

    /// A search is over whose failed calls took so long, and that found so many rows. If people should hear of it: what all
    /// took so far.
    pub fn searched(&self, time: Duration, rows: usize) -> Option<String> {
        let blocks = self.blocks.fetch_add(1, Ordering::Relaxed) + 1;
        let rows = self.rows.fetch_add(rows as u64, Ordering::Relaxed) + rows as u64;
        let (failed, answered) = (load(&self.failed), load(&self.answered));
        is_notable(failed.saturating_sub(time), failed).then(|| {
            format!(
                "rows of {blocks} blocks were told apart so far: {rows} were found by calls that failed, which took {:.0} s; \
                 those that were answered took {:.0} s",
                failed.as_secs_f64(),
                answered.as_secs_f64()
            )
        })
    }
}

fn is_notable(before: Duration, now: Duration) -> bool {
    let doublings = |time: Duration| (time.as_nanos() / NOTABLE.as_nanos()).checked_ilog2();
    doublings(now) > doublings(before)
}

fn add(counter: &AtomicU64, time: Duration) {
    counter.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
}

fn load(counter: &AtomicU64) -> Duration {
    Duration::from_nanos(counter.load(Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn searches_have_a_part_of_a_run() {
        let (search, default) = (SearchTime::default(), Isolation::of_block_time(30 * SECOND));
        assert_eq!(search.time_left(&default), 6000 * SECOND);
        search.failed(5999 * SECOND);
        assert_eq!(search.time_left(&default), SECOND);
        search.failed(SECOND);
        assert_eq!(search.time_left(&default), Duration::ZERO);
        search.answered(400 * SECOND);
        assert_eq!(search.time_left(&default), 2000 * SECOND);
        let written = Isolation { run_time_written: Some(7000 * SECOND), ..default };
        assert_eq!((search.time_max(&written), search.time_left(&written)), (7000 * SECOND, 1000 * SECOND));
    }

    #[test]
    fn it_is_said_now_and_then() {
        let search = SearchTime::default();
        let said: Vec<u32> = (1..=300)
            .filter(|_| {
                search.failed(SECOND);
                search.searched(SECOND, 2).is_some()
            })
            .collect();
        assert_eq!(said, [60, 120, 240]);
        search.failed(200 * SECOND);
        let said = search.searched(200 * SECOND, 1).unwrap();
        let expected = "rows of 301 blocks were told apart so far: 601 were found by calls that failed, which took 500 s; those that were answered took 0 s";
        assert_eq!(said, expected);
    }
}
