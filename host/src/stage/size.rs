//! What the answers to the parts of a block may be together.

use std::fmt;

use crate::block::{Lineage, batch_bytes, batch_values};
use crate::udf::{Answer, Limits};

/// How much answers are, together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AnswerSize {
    /// Output rows.
    pub rows: u64,
    /// As they lie in memory, with what is known of their rows where the answer does not say that each input row has one.
    pub bytes: u64,
    /// Of all columns and fields, nulls among them.
    pub values: u64,
}

impl AnswerSize {
    /// One answer more.
    pub fn add(&mut self, answer: &Answer) {
        let rows = answer.batch.num_rows() as u64;
        self.rows += rows;
        self.bytes += batch_bytes(&answer.batch) as u64;
        if answer.lineage != Lineage::Same {
            self.bytes += rows * Limits::ROW_HELD_BYTES;
        }
        self.bytes += answer.errors.iter().map(|error| error.message.len() as u64).sum::<u64>();
        self.values += batch_values(&answer.batch);
    }

    /// Both.
    #[must_use]
    pub fn and(self, other: AnswerSize) -> AnswerSize {
        let AnswerSize { rows, bytes, values } = other;
        AnswerSize { rows: self.rows + rows, bytes: self.bytes + bytes, values: self.values + values }
    }

    /// Whether that is too much.
    pub(super) fn is_past(&self, limits: &Limits) -> bool {
        let times = |max: u64| max.saturating_mul(limits.block_answers_max);
        // A function with little memory is called with few rows at a time, and all of a block are no fewer for that.
        let values_max = times(limits.values_max()).max(limits.answer_values_max);
        self.rows > times(limits.answer_rows_max as u64)
            || self.bytes > limits.block_held_max()
            || self.values > values_max
    }
}

impl fmt::Display for AnswerSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows, {} bytes, {} values", self.rows, self.bytes, self.values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_answers_may_be_follows_the_memory_of_the_function() {
        let limits = Limits { memory_bytes_max: 16 << 20, ..Limits::default() };
        assert_eq!((limits.held_max(), limits.block_held_max()), (24 << 20, 96 << 20));
        let of_bytes = |bytes| AnswerSize { bytes, ..AnswerSize::default() };
        assert!(of_bytes((96 << 20) + 1).is_past(&limits) && !of_bytes(96 << 20).is_past(&limits));
        let once = Limits { block_answers_max: 1, ..limits };
        assert!(of_bytes((24 << 20) + 1).is_past(&once));
        assert_eq!(Limits::default().block_held_max(), 4 * (384 << 20));
    }
}
