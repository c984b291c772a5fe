//! The same rows again, in other orders and blocks, and on fresh instances. A function is a pure function of its config
//! and the row, whatever stands beside the row and whatever ran before: each row must give what it gave the first time.

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;

use super::lines;
use super::results::Results;
use crate::author::trial::Trial;
use crate::block::Reason;
use crate::udf::{CallError, CallFailure};

/// Rows that are called one by one.
const ALONE_MAX: usize = 300;

/// Another way to run the rows.
struct Way {
    name: String,
    order: Vec<u32>,
    block_rows: usize,
    is_fresh: bool,
}

/// What came of a row.
#[derive(Debug, PartialEq)]
pub enum RowOutcome {
    /// It failed.
    Failed(Reason),
    /// Its output rows, of which there may be none.
    Rows(RecordBatch),
}

/// Whether every row gives the same however it is run.
#[derive(Debug)]
pub enum Shuffled {
    /// It does, in so many ways.
    Same(usize),
    /// The function fails, and did not the first time.
    Fails {
        /// How the rows were run.
        way: String,
        /// What it came to.
        error: CallError,
    },
    /// A row gives something else.
    Differs {
        /// How the rows were run.
        way: String,
        /// The first such row.
        row: u32,
        /// What it gave the first time.
        first: RowOutcome,
        /// And then.
        then: RowOutcome,
    },
}

pub(super) fn check(trial: &mut Trial, rows: &RecordBatch, first: &Results) -> Shuffled {
    let ways = ways(rows.num_rows() as u32);
    let count = ways.len();
    for way in ways {
        match lines::silenced(|| run(trial, rows, &way)) {
            Err(error) => return Shuffled::Fails { way: way.name, error },
            Ok(again) => {
                if let Some(row) = first.first_difference(&again, &way.order) {
                    let (first, then) = (first.outcome(row), again.outcome(row));
                    return Shuffled::Differs { way: way.name, row, first, then };
                }
            }
        }
    }
    Shuffled::Same(count)
}

fn ways(rows: u32) -> Vec<Way> {
    let all: Vec<u32> = (0..rows).collect();
    let way = |name: &str, order: Vec<u32>, block_rows: usize, is_fresh| Way {
        name: name.into(),
        order,
        block_rows,
        is_fresh,
    };
    let mut alone = shuffled(rows, 3);
    alone.truncate(ALONE_MAX);
    vec![
        way("once more on the same instance", all.clone(), all.len(), false),
        way("in reverse order on a fresh instance", all.iter().rev().copied().collect(), all.len(), true),
        way("in random order, in blocks of 7 rows on a fresh instance", shuffled(rows, 1), 7, true),
        way("in random order, in blocks of 64 rows on the same instance", shuffled(rows, 2), 64, false),
        way("alone in a block, in random order on a fresh instance", alone, 1, true),
    ]
}

/// The same order each time, so that what was found is found again.
fn shuffled(rows: u32, seed: u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..rows).collect();
    let mut state = seed;
    for place in (1..order.len()).rev() {
        // SplitMix64, by Sebastiano Vigna.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut random = state;
        random = (random ^ (random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        random = (random ^ (random >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        random ^= random >> 31;
        order.swap(place, (random % (place as u64 + 1)) as usize);
    }
    order
}

fn run(trial: &mut Trial, rows: &RecordBatch, way: &Way) -> Result<Results, CallError> {
    if way.is_fresh {
        trial.start_anew();
    }
    let mut blocks = Vec::new();
    for order in way.order.chunks(way.block_rows.max(1)) {
        let block = take_record_batch(rows, &UInt32Array::from(order.to_vec())).expect("rows of the batch");
        let tried = trial.run(block)?;
        let output = tried.whole().map_err(|error| CallError::new(CallFailure::Broken, error.to_string()))?;
        blocks.push((order.to_vec(), tried, output));
    }
    Ok(Results::of_many(&trial.output(), blocks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_has_every_row_once_but_for_the_last() {
        for way in &ways(1000)[..4] {
            let mut order = way.order.clone();
            order.sort_unstable();
            assert_eq!(order, (0..1000).collect::<Vec<_>>(), "{}", way.name);
        }
        assert_eq!(ways(1000)[4].order.len(), ALONE_MAX);
        assert_ne!(shuffled(1000, 1), shuffled(1000, 2));
        assert_eq!(ways(0).len(), 5);
    }
}
