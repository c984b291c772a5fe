//! Which rows of an object, and how many at a time.

use std::ops::Range;

use arrow::buffer::BooleanBuffer;

/// How much one batch holds, and how much is fetched at once.
#[derive(Clone, Copy, Debug)]
pub struct BlockSize {
    /// Rows at most.
    pub rows_max: usize,
    /// Bytes aimed at; one row may have more.
    pub bytes_max: usize,
    /// Bytes of a row group, packed as they are in the file, that are fetched at once.
    pub window_bytes: u64,
    /// Bytes of a page at most when it is unpacked; a larger one is refused.
    pub page_bytes_max: u64,
}

/// Row ordinals of an object, ascending and disjoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows(Vec<Range<u64>>);

impl Rows {
    /// From ranges that are ascending and disjoint.
    pub fn new(ranges: Vec<Range<u64>>) -> Rows {
        debug_assert!(ranges.windows(2).all(|pair| pair[0].end <= pair[1].start));
        Rows(ranges)
    }

    /// The ranges.
    pub fn ranges(&self) -> &[Range<u64>] {
        &self.0
    }

    /// How many rows.
    pub fn len(&self) -> u64 {
        self.0.iter().map(|range| range.end - range.start).sum()
    }

    /// Whether no row is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes the first `count` rows out.
    pub fn take_front(&mut self, count: u64) -> Rows {
        let mut left = count;
        let mut front = Vec::new();
        let mut whole = 0;
        for range in &mut self.0 {
            if left == 0 {
                break;
            }
            let length = range.end - range.start;
            let taken = length.min(left);
            front.push(range.start..range.start + taken);
            left -= taken;
            range.start += taken;
            whole += usize::from(taken == length);
        }
        self.0.drain(..whole);
        Rows(front)
    }

    /// Splits by an answer per row: those with `true`, and those with `false`. Costs by runs of equal answers, not by rows.
    pub fn split(&self, answers: &BooleanBuffer) -> (Rows, Rows) {
        let (mut yes, mut no) = (Vec::new(), Vec::new());
        let mut asked = 0;
        for range in &self.0 {
            let length = (range.end - range.start) as usize;
            let mut next = range.start;
            for (start, end) in answers.slice(asked, length).set_slices() {
                let (start, end) = (range.start + start as u64, range.start + end as u64);
                push(&mut no, next..start);
                push(&mut yes, start..end);
                next = end;
            }
            push(&mut no, next..range.end);
            asked += length;
        }
        (Rows(yes), Rows(no))
    }

    /// Rows from the first to the last, also those between that are not among them.
    pub(super) fn span(&self) -> u64 {
        self.0.last().map_or(0, |last| last.end - self.0[0].start)
    }
}

/// Rows of which those before a place are taken out, step by step.
#[derive(Debug)]
pub struct Left {
    rows: Rows,
    /// The first range of which something is left.
    at: usize,
}

impl Left {
    /// All of them.
    pub fn new(rows: Rows) -> Left {
        Left { rows, at: 0 }
    }

    /// Takes those of a range into `to`; what lies before it goes away.
    pub fn take(&mut self, range: Range<u64>, to: &mut Rows) {
        while let Some(own) = self.rows.0.get_mut(self.at) {
            push(&mut to.0, own.start.max(range.start)..own.end.min(range.end).max(own.start.max(range.start)));
            if own.end > range.end {
                own.start = own.start.max(range.end);
                return;
            }
            self.at += 1;
        }
    }

    /// Takes one row. Whether it is there; what lies before it goes away.
    pub fn takes(&mut self, row: u64) -> bool {
        while let Some(own) = self.rows.0.get_mut(self.at) {
            if own.start > row {
                return false;
            }
            let takes = row < own.end;
            own.start = own.end.min(row + 1);
            self.at += usize::from(own.start == own.end);
            if takes {
                return true;
            }
        }
        false
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.at == self.rows.0.len()
    }
}

pub(super) fn push(ranges: &mut Vec<Range<u64>>, more: Range<u64>) {
    match ranges.last_mut() {
        _ if more.is_empty() => {}
        Some(last) if last.end == more.start => last.end = more.end,
        _ => ranges.push(more),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_leave_from_the_front_across_gaps() {
        let mut rows = Rows::new(vec![0..3, 10..12, 20..21]);
        assert_eq!(rows.take_front(4), Rows::new(vec![0..3, 10..11]));
        assert_eq!(rows, Rows::new(vec![11..12, 20..21]));
        assert_eq!(rows.take_front(9).len(), 2);
        assert!(rows.is_empty());
    }

    #[test]
    fn rows_are_taken_from_place_to_place() {
        let mut left = Left::new(Rows::new(vec![0..3, 10..12, 20..21]));
        let mut take = |range| {
            let mut taken = Rows::default();
            left.take(range, &mut taken);
            (taken.0, left.is_empty())
        };
        assert_eq!(take(1..2), (std::iter::once(1..2).collect(), false));
        assert_eq!(take(2..11), (vec![2..3, 10..11], false));
        assert_eq!(take(13..15), (vec![], false));
        assert_eq!(take(20..30), (std::iter::once(20..21).collect(), true));
        let mut left = Left::new(Rows::new(vec![3..5, 9..10]));
        assert_eq!([2, 3, 4, 5, 9].map(|row| left.takes(row)), [false, true, true, false, true]);
        assert!(left.is_empty());
    }

    #[test]
    fn answers_split_rows() {
        let split = |rows: Vec<Range<u64>>, answers: &[bool]| Rows::new(rows).split(&BooleanBuffer::from(answers));
        let (yes, no) = split(vec![0..2, 5..8], &[true, false, false, true, true]);
        assert_eq!(yes, Rows::new(vec![0..1, 6..8]));
        assert_eq!(no, Rows::new(vec![1..2, 5..6]));
        let (yes, no) = split(vec![0..2, 2..4], &[true; 4]);
        assert_eq!((yes, no), (Rows::new(std::iter::once(0..4).collect()), Rows::default()));
    }
}
