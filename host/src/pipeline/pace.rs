//! How many rows a block has. What is in flight when a run stops is finished or lost, and nothing of a block is in the
//! checkpoint before all of it is: blocks of functions that take seconds a row have few rows, so that each takes some
//! seconds in all its stages.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use super::lock;

/// A block that takes long enough to be worth its own cost many times over.
const BLOCK: Duration = Duration::from_secs(5);
/// Rows of the first blocks, of which nothing is known.
const FIRST_ROWS: usize = 64;
/// The slowest of so many blocks says what the next take.
const REMEMBERED: usize = 8;
/// How many times as many rows as any block before a block has at most: rows that were quick say little about others.
const GROWTH: usize = 16;

/// What the last blocks of a run took, of all workers.
#[derive(Debug, Default)]
pub(super) struct BlockPace(Mutex<Last>);

#[derive(Debug, Default)]
struct Last {
    /// Seconds a row.
    blocks: VecDeque<f64>,
    /// Rows of the largest block.
    largest: usize,
}

impl BlockPace {
    /// A block of so many rows went through all stages.
    pub(super) fn note(&self, rows: usize, time: Duration) {
        if rows == 0 {
            return;
        }
        let mut last = lock(&self.0);
        last.blocks.push_front(time.as_secs_f64() / rows as f64);
        last.blocks.truncate(REMEMBERED);
        last.largest = last.largest.max(rows);
    }

    /// Rows that the next block may have.
    pub(super) fn rows_max(&self) -> usize {
        let last = lock(&self.0);
        let Some(slowest) = last.blocks.iter().copied().reduce(f64::max) else { return FIRST_ROWS };
        // Infinite where no time passed.
        ((BLOCK.as_secs_f64() / slowest) as usize).clamp(1, last.largest.saturating_mul(GROWTH))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn blocks_of_slow_rows_are_small() {
        let pace = BlockPace::default();
        assert_eq!(pace.rows_max(), 64);
        pace.note(0, SECOND);
        assert_eq!(pace.rows_max(), 64);
        pace.note(64, 64 * SECOND);
        assert_eq!(pace.rows_max(), 5);
        pace.note(5, 50 * SECOND);
        assert_eq!(pace.rows_max(), 1, "never none");
    }

    #[test]
    fn blocks_of_quick_rows_grow_step_by_step() {
        let pace = BlockPace::default();
        let sizes: Vec<usize> = (0..4)
            .map(|_| {
                let rows = pace.rows_max();
                pace.note(rows, Duration::from_micros(rows as u64));
                rows
            })
            .collect();
        assert_eq!(sizes, [64, 1024, 16_384, 262_144]);
        pace.note(10, 100 * SECOND);
        assert_eq!(pace.rows_max(), 1);
        (0..REMEMBERED).for_each(|_| pace.note(1, Duration::ZERO));
        assert_eq!(pace.rows_max(), 16 * 262_144, "slow rows are forgotten");
    }
}
