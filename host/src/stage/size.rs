//! What the answers to the parts of a block may be together.

use std::fmt;

use arrow::array::RecordBatch;

use crate::block::{batch_bytes, batch_values};
use crate::udf::Limits;

/// So many times what one answer may be: each row has the full limit, and a block of such rows is more than this machine has
/// memory.
const ANSWERS_MAX: u64 = 4;

/// How much answers are, together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AnswerSize {
    /// Output rows.
    pub rows: u64,
    /// As they lie in memory.
    pub bytes: u64,
    /// Of all columns and fields, nulls among them.
    pub values: u64,
}

impl AnswerSize {
    /// One answer more.
    pub(super) fn add(&mut self, answer: &RecordBatch) {
        self.rows += answer.num_rows() as u64;
        self.bytes += batch_bytes(answer) as u64;
        self.values += batch_values(answer);
    }

    /// Whether that is too much.
    pub(super) fn is_past(&self, limits: &Limits) -> bool {
        let times = |max: u64| max.saturating_mul(ANSWERS_MAX);
        // A function with little memory is called with few rows at a time, and all of a block are no fewer for that.
        let values_max = times(limits.values_max()).max(limits.answer_values_max);
        self.rows > times(limits.answer_rows_max as u64)
            || self.bytes > times(limits.answer_bytes_max)
            || self.values > values_max
    }
}

impl fmt::Display for AnswerSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows, {} bytes, {} values", self.rows, self.bytes, self.values)
    }
}
