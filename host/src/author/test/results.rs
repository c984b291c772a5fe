//! What came of each row, and where two runs differ.

use std::collections::BTreeMap;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::SchemaRef;

use super::shuffle::RowOutcome;
use crate::author::Tried;
use crate::block::Reason;

/// The outputs and errors of rows, by row.
pub(super) struct Results {
    /// Output rows in the order of the input rows that they came of.
    output: RecordBatch,
    /// For every output row its input row; ascending.
    parents: Vec<u32>,
    failures: BTreeMap<u32, Reason>,
}

impl Results {
    /// Of one batch with all rows in order.
    pub(super) fn of(tried: Tried, output: RecordBatch) -> Results {
        Results { output, parents: tried.parents, failures: tried.failures }
    }

    /// Of several batches, each with the rows that it was made of.
    pub(super) fn of_many(schema: &SchemaRef, blocks: Vec<(Vec<u32>, Tried, RecordBatch)>) -> Results {
        let mut batches = Vec::new();
        let mut parents = Vec::new();
        let mut failures = BTreeMap::new();
        for (rows, tried, output) in blocks {
            parents.extend(tried.parents.iter().map(|&row| rows[row as usize]));
            failures.extend(tried.failures.into_iter().map(|(row, reason)| (rows[row as usize], reason)));
            batches.push(output);
        }
        let output = concat_batches(schema, &batches).expect("blocks of one function have one schema");
        let mut order: Vec<u32> = (0..parents.len() as u32).collect();
        // Stable: the outputs of one row keep their order.
        order.sort_by_key(|&place| parents[place as usize]);
        let output = take_record_batch(&output, &UInt32Array::from(order)).expect("places in the batch");
        parents.sort_unstable();
        Results { output, parents, failures }
    }

    /// What came of one input row.
    pub(super) fn outcome(&self, row: u32) -> RowOutcome {
        match self.failures.get(&row) {
            Some(reason) => RowOutcome::Failed(reason.clone()),
            None => RowOutcome::Rows(self.rows(row)),
        }
    }

    fn rows(&self, row: u32) -> RecordBatch {
        let from = self.parents.partition_point(|&parent| parent < row);
        let to = self.parents.partition_point(|&parent| parent <= row);
        self.output.slice(from, to - from)
    }

    /// The first of these rows of which something else came.
    pub(super) fn first_difference(&self, other: &Results, rows: &[u32]) -> Option<u32> {
        let mut rows = rows.to_vec();
        rows.sort_unstable();
        let differs = |row: &u32| self.outcome(*row) != other.outcome(*row);
        rows.into_iter().find(differs)
    }
}
