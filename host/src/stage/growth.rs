//! What a source row may become: a flat map that repeats what it carries makes much of little, and no limit of the function's
//! own memory or answer sees it.

use crate::block::{FailureKind, Lineage, Part, Reason, batch_bytes, range_bytes};
use crate::udf::Answer;

/// Counts what a stage makes of each source row, in the order of these.
pub(super) struct Growth<'a> {
    carry: &'a [usize],
    /// Bytes.
    max: u64,
    row: Option<u32>,
    bytes: u64,
    rows: u64,
}

impl<'a> Growth<'a> {
    /// Of a stage that carries these columns.
    pub(super) fn new(carry: &'a [usize], max: u64) -> Growth<'a> {
        Growth { carry, max, row: None, bytes: 0, rows: 0 }
    }

    /// Source rows of which too much came, with what is wrong.
    pub(super) fn too_large(&mut self, part: &Part, answer: &Answer) -> Vec<(u32, Reason)> {
        let mut failed = Vec::new();
        let repeats = matches!(answer.lineage, Lineage::Counts(_));
        // Other calls know of rows that are not their own: how a block is cut must not decide who fails.
        if part.has_own_rows() && !repeats && batch_bytes(&answer.batch) as u64 <= self.max {
            return failed;
        }
        let mut start = 0;
        for row in 0..part.rows.num_rows() {
            let count = count(&answer.lineage, row);
            self.begin(part.parent(row as u32));
            let before = self.bytes;
            self.bytes += self.grown(part, row, count) + added(answer, start, count);
            self.rows += count as u64;
            start += count;
            if before <= self.max && self.bytes > self.max {
                failed.push((part.parent(row as u32), self.reason()));
            }
        }
        failed
    }

    fn begin(&mut self, row: u32) {
        if self.row != Some(row) {
            (self.row, self.bytes, self.rows) = (Some(row), 0, 0);
        }
    }

    /// Bytes of copies beyond the first, which was there before.
    fn grown(&self, part: &Part, row: usize, count: usize) -> u64 {
        match count {
            0 | 1 => 0,
            _ => part.rows.row_bytes(self.carry, row).saturating_mul(count as u64 - 1),
        }
    }

    fn reason(&self) -> Reason {
        let (rows, max) = (self.rows, self.max);
        let message = format!(
            "it becomes {rows} rows, which with the columns that they carry have more than row_output_bytes_max = {max} bytes"
        );
        let hint = "raise `row_output_bytes_max` in this stage; or leave out columns that nobody needs, with `columns` \
                    under [sink]";
        Reason { hint: Some(hint.into()), ..Reason::new(FailureKind::Limit, message) }
    }
}

fn count(lineage: &Lineage, row: usize) -> usize {
    match lineage {
        Lineage::Same => 1,
        Lineage::Kept(bits) => usize::from(bits.value(row)),
        Lineage::Counts(counts) => counts[row] as usize,
    }
}

/// Bytes of some rows of an answer.
fn added(answer: &Answer, start: usize, count: usize) -> u64 {
    answer.batch.columns().iter().map(|column| range_bytes(column, &(start..start + count))).sum()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    use arrow::buffer::BooleanBuffer;

    use super::*;
    use crate::block::{Block, Origin};

    /// Rows with texts of so many bytes.
    fn block(bytes: &[usize]) -> Block {
        let texts = StringArray::from_iter_values(bytes.iter().map(|bytes| "x".repeat(*bytes)));
        let batch = RecordBatch::try_from_iter([("s", Arc::new(texts) as ArrayRef)]).unwrap();
        let rows = std::iter::once(0..bytes.len() as u64).collect();
        Block::new(batch, Origin { object: "a".into(), rows, ..Origin::default() })
    }

    fn answer(lineage: Lineage, rows: usize) -> Answer {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1; rows]));
        Answer { batch: RecordBatch::try_from_iter([("n", numbers)]).unwrap(), lineage, errors: Vec::new() }
    }

    fn too_large(growth: &mut Growth<'_>, part: &Part, lineage: Lineage, rows: usize) -> Vec<u32> {
        growth.too_large(part, &answer(lineage, rows)).into_iter().map(|(row, ..)| row).collect()
    }

    #[test]
    fn copies_beyond_the_first_and_what_is_added_count() {
        let part = &block(&[96, 96, 996, 96]).parts[0];
        let counts = |max| too_large(&mut Growth::new(&[0], max), part, Lineage::Counts(vec![0, 1, 1, 3]), 5);
        // Three numbers of 8 bytes, and two copies of a text with its offset.
        assert_eq!(counts(2 * 100 + 3 * 8), Vec::<u32>::new());
        assert_eq!(counts(2 * 100 + 3 * 8 - 1), [3]);
        assert_eq!(counts(7), [1, 2, 3]);
        let kept = Lineage::Kept(BooleanBuffer::from(vec![false, true, false, true]));
        assert_eq!(too_large(&mut Growth::new(&[0], 7), part, kept, 2), [1, 3]);
        assert_eq!(too_large(&mut Growth::new(&[0], 8), part, Lineage::Same, 4), Vec::<u32>::new());
    }

    /// Source rows of which 4 and 2 came, with a text of so many bytes each.
    fn grown(bytes: [usize; 2]) -> Part {
        let first = &block(&bytes).parts[0];
        let batch = answer(Lineage::Same, 6).batch;
        let schema = Arc::new(arrow::datatypes::Schema::new(
            [first.rows.batch(&(0..1)).unwrap().schema().field(0).clone(), batch.schema().field(0).clone()].to_vec(),
        ));
        first.advance(&[0], &Lineage::Counts(vec![4, 2]), &batch, &schema).unwrap()
    }

    #[test]
    fn a_source_row_is_counted_over_its_rows_and_once() {
        let second = grown([6, 6]);
        let mut growth = Growth::new(&[0], 60);
        let mut called = |rows, counts: Vec<u32>| {
            let all = counts.iter().sum::<u32>() as usize;
            too_large(&mut growth, &second.slice(&rows), Lineage::Counts(counts), all)
        };
        // Each row becomes two, which have 10 + 2 * 8 bytes more.
        assert_eq!(called(0..2, vec![2, 2]), Vec::<u32>::new());
        assert_eq!(called(2..5, vec![2, 2, 2]), [0]);
        assert_eq!(called(5..6, vec![2]), Vec::<u32>::new());
    }

    /// However few of its rows a call has.
    #[test]
    fn calls_that_each_add_little_are_added_up() {
        let second = grown([6, 6]);
        let kept = |rows: usize| Lineage::Kept(BooleanBuffer::from(vec![true; rows]));
        for lineage in [|_| Lineage::Same, kept] {
            for cut in [&[6][..], &[2, 4], &[1; 6]] {
                let mut growth = Growth::new(&[0], 3 * 8);
                let mut start = 0;
                let called = |rows: &usize| {
                    let part = second.slice(&(start..start + rows));
                    start += rows;
                    too_large(&mut growth, &part, lineage(*rows), *rows)
                };
                assert_eq!(cut.iter().flat_map(called).collect::<Vec<_>>(), [0], "{cut:?}");
            }
        }
    }
}
