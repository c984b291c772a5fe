//! Which source rows a file holds the results of. Where files of an object lie together, a reader can put them into the order
//! of the object's rows by this, whatever was done first.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::block::Block;

/// What a file holds the results of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holds {
    /// The object, relative to the source.
    pub object: String,
    /// Its rows, ascending; the file's rows stand in the same order.
    pub spans: Vec<Span>,
}

/// Source rows that stand together, and how many rows of the file came of them: `[start, end, rows]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u64, u64, u64)", into = "(u64, u64, u64)")]
pub struct Span {
    /// The first.
    pub start: u64,
    /// Behind the last.
    pub end: u64,
    /// Rows of the file.
    pub rows: u64,
}

impl From<(u64, u64, u64)> for Span {
    fn from((start, end, rows): (u64, u64, u64)) -> Span {
        Span { start, end, rows }
    }
}

impl From<Span> for (u64, u64, u64) {
    fn from(Span { start, end, rows }: Span) -> (u64, u64, u64) {
        (start, end, rows)
    }
}

impl Holds {
    /// Of a block's rows that did not fail.
    pub fn of(block: &Block) -> Holds {
        let span = |(Range { start, end }, rows)| Span { start, end, rows };
        Holds { object: block.origin.object.to_string(), spans: block.yields().into_iter().map(span).collect() }
    }

    /// Whether these rows come right behind: what was done between them, or is left to do, lies in other files.
    pub(super) fn goes_on_with(&self, next: &Holds) -> bool {
        let ends = |holds: &Holds| Some((holds.spans.first()?.start, holds.spans.last()?.end));
        self.object == next.object && ends(self).zip(ends(next)).is_none_or(|((_, end), (start, _))| end == start)
    }

    /// Adds rows that come behind.
    pub(super) fn extend(&mut self, next: Holds) {
        for span in next.spans {
            match self.spans.last_mut() {
                Some(last) if last.end == span.start => {
                    (last.end, last.rows) = (span.end, last.rows + span.rows);
                }
                _ => self.spans.push(span),
            }
        }
    }

    /// Rows of the file, as far as they can be counted.
    pub fn rows(&self) -> u64 {
        self.spans.iter().map(|span| span.rows).fold(0, u64::saturating_add)
    }

    /// Whether its ranges are ranges, and ascend.
    pub fn is_sound(&self) -> bool {
        self.spans.iter().all(|span| span.start < span.end)
            && self.spans.windows(2).all(|pair| pair[0].end <= pair[1].start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(object: &str, spans: &[(u64, u64, u64)]) -> Holds {
        Holds { object: object.into(), spans: spans.iter().copied().map(Span::from).collect() }
    }

    #[test]
    fn neighbours_are_joined_and_gaps_are_kept() {
        let mut file = holds("a", &[(0, 5, 7)]);
        let next = holds("a", &[(5, 8, 1), (9, 12, 0)]);
        assert!(file.goes_on_with(&next) && !file.goes_on_with(&holds("b", &[(5, 8, 1)])));
        assert!(!file.goes_on_with(&holds("a", &[(6, 8, 1)])), "row 5 may lie in another file");
        file.extend(next);
        assert_eq!(file, holds("a", &[(0, 8, 8), (9, 12, 0)]));
        assert_eq!((file.rows(), file.is_sound()), (8, true));
        assert!(!holds("a", &[(5, 8, 1), (7, 9, 1)]).is_sound() && !holds("a", &[(5, 5, 0)]).is_sound());
        let text = serde_json::to_string(&file).unwrap();
        assert_eq!(text, r#"{"object":"a","spans":[[0,8,8],[9,12,0]]}"#);
        assert_eq!(serde_json::from_str::<Holds>(&text).unwrap(), file);
    }
}
