//! How many rows a function is called with at once. A call takes some 50 ms at most: a stop, a search for rows that end the
//! function, and what waits for the block wait no longer, and a function of seconds a row is not out of time because its block
//! has thousands. Below 5 ms a call's own cost would begin to show, so that no more is wanted of fast functions.

use std::time::Duration;

/// A call that is neither long nor short.
const CALL: Duration = Duration::from_millis(50);
/// Rows of the first call, of which nothing is known.
const FIRST_ROWS: usize = 64;

/// What the last calls took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CallPace {
    /// Seconds a row, of the last two; one that was interrupted, or that built something first, does not count alone.
    last: [Option<f64>; 2],
}

impl CallPace {
    /// A call of so many rows took so long.
    pub(super) fn note(&mut self, rows: usize, time: Duration) {
        if rows > 0 {
            self.last = [Some(time.as_secs_f64() / rows as f64), self.last[0]];
        }
    }

    /// Rows that the next call may have.
    pub(super) fn rows_max(&self) -> usize {
        let quickest = self.last.iter().flatten().copied().reduce(f64::min);
        let rows = quickest.map_or(FIRST_ROWS as f64, |seconds| CALL.as_secs_f64() / seconds);
        // Infinite where no time passed.
        (rows as usize).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_take_about_as_long() {
        let mut pace = CallPace::default();
        assert_eq!(pace.rows_max(), FIRST_ROWS);
        pace.note(64, Duration::from_millis(64));
        assert_eq!(pace.rows_max(), 50);
        pace.note(50, Duration::from_secs(9));
        assert_eq!(pace.rows_max(), 50, "once is no rule");
        pace.note(50, Duration::from_secs(10));
        assert_eq!(pace.rows_max(), 1);
        pace.note(1, Duration::ZERO);
        assert_eq!(pace.rows_max(), usize::MAX);
    }
}
