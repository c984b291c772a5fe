//! The bytes of a row group's columns, fetched as they are needed: of each column so much at a time that all columns
//! together come to about one window. All of them run out at about the same row, so they are fetched together, in few
//! requests.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

use super::thrift::PageHeader;
use crate::format::{REQUEST_BYTES, Ranges, Unread};

/// Of a column at least, unless it is shorter: a request costs more than that. Where columns are so many that this is more
/// than the window, it is less, down to a page of this machine.
const SHARE_BYTES_MIN: u64 = 64 * 1024;
const SHARE_BYTES_LEAST: u64 = 4 * 1024;
/// Bytes of a page's header that are looked at at once; it may have more, though few have.
const HEADER_BYTES: u64 = 512;
const LARGE_HEADER_BYTES: [u64; 3] = [HEADER_BYTES, 64 * 1024, 1024 * 1024];

/// What is in memory of the columns.
pub(super) struct Chunks(Mutex<Held>);

struct Held {
    ranges: Arc<dyn Ranges>,
    chunks: Vec<Chunk>,
    /// Unpacked bytes of a page at most.
    page_bytes_max: u64,
    /// Why bytes could not be had; the Parquet crate passes on words only.
    failed: Option<Unread>,
    /// A page that would be larger.
    large: Option<LargePage>,
}

/// A page that is not unpacked, since it would take so many bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct LargePage {
    pub column: usize,
    pub bytes: u64,
}

/// One column.
struct Chunk {
    end: u64,
    /// Nothing before it is needed any more.
    at: u64,
    /// How much is fetched at once.
    share: u64,
    /// One after another, each with where it begins.
    parts: VecDeque<(u64, Bytes)>,
    /// Where the page header begins that was read last.
    header: u64,
}

/// How much of each column is fetched at once, so that no more than `window` bytes of all of them are in memory: of what was
/// fetched before, up to a half is left then.
pub(super) fn shares(ranges: &[Range<u64>], window: u64) -> Vec<u64> {
    let length = |range: &Range<u64>| range.end.saturating_sub(range.start);
    let all: u64 = ranges.iter().map(length).fold(0, u64::saturating_add);
    let least = (window / (ranges.len() as u64).max(1)).clamp(SHARE_BYTES_LEAST, SHARE_BYTES_MIN);
    let share = |range: &Range<u64>| match all {
        all if all <= window => length(range),
        all => {
            let part = u128::from(length(range)) * u128::from(window) * 2 / 3 / u128::from(all);
            (part as u64).max(least).min(length(range))
        }
    };
    ranges.iter().map(share).collect()
}

impl Chunks {
    /// Of the columns at `ranges`, of which nothing is fetched yet.
    pub fn new(bytes: Arc<dyn Ranges>, ranges: &[Range<u64>], window: u64, page_bytes_max: u64) -> Chunks {
        let chunk = |(range, share): (&Range<u64>, u64)| Chunk {
            end: range.end,
            at: range.start,
            share,
            parts: VecDeque::new(),
            header: range.start,
        };
        let chunks = ranges.iter().zip(shares(ranges, window)).map(chunk).collect();
        Chunks(Mutex::new(Held { ranges: bytes, chunks, page_bytes_max, failed: None, large: None }))
    }

    fn with<T>(&self, run: impl FnOnce(&mut Held) -> T) -> T {
        run(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Why bytes could not be had, once.
    pub fn take_failed(&self) -> Option<Unread> {
        self.with(|held| held.failed.take())
    }

    /// A page that is too large, once.
    pub fn take_large(&self) -> Option<LargePage> {
        self.with(|held| held.large.take())
    }

    /// Where the page header begins that was read last of a column.
    pub fn header(&self, column: usize) -> u64 {
        self.with(|held| held.chunks[column].header)
    }

    /// The headers of all pages of a column that is to be in memory as a whole anyway; none of another one.
    pub fn headers(&self, column: usize) -> Result<Option<Vec<PageHeader>>> {
        self.with(|held| {
            let (start, end) = (held.chunks[column].at, held.chunks[column].end);
            if held.chunks[column].share < end - start {
                return Ok(None);
            }
            held.hold(column, &(start..end))?;
            Ok(Some(held.chunks[column].headers()))
        })
    }

    /// Exactly the bytes of `range`.
    fn exactly(&self, column: usize, range: &Range<u64>) -> Result<Bytes> {
        self.with(|held| {
            held.hold(column, range)?;
            Ok(held.chunks[column].slice(range))
        })
    }

    /// Some bytes from `start` on, none at the column's end.
    fn some(&self, column: usize, start: u64, is_first: bool) -> Result<Bytes> {
        self.with(|held| {
            let end = held.chunks[column].end;
            if is_first {
                held.chunks[column].header = start;
            }
            if start >= end {
                return Ok(Bytes::new());
            }
            if is_first {
                held.refuse_large(column, start)?;
            }
            held.hold(column, &(start..start + 1))?;
            Ok(held.chunks[column].some(HEADER_BYTES as usize))
        })
    }
}

impl Held {
    /// What is packed in few bytes may take any number of them.
    fn refuse_large(&mut self, column: usize, start: u64) -> Result<()> {
        let bytes = self.page_header(column, start)?.unpacked.cast_unsigned();
        if bytes <= self.page_bytes_max {
            return Ok(());
        }
        self.large = Some(LargePage { column, bytes });
        Err(ParquetError::General("a page is too large".into()))
    }

    /// Looked at before the Parquet crate does, which passes over what it does not know however long that says to be.
    fn page_header(&mut self, column: usize, start: u64) -> Result<PageHeader> {
        let end = self.chunks[column].end;
        for length in LARGE_HEADER_BYTES {
            let range = start..end.min(start + length);
            self.hold(column, &range)?;
            if let Some(header) = PageHeader::read(&self.chunks[column].slice(&range)) {
                return Ok(header);
            }
        }
        Err(ParquetError::General("a page begins as none does".into()))
    }

    /// Has the bytes in memory.
    fn hold(&mut self, column: usize, range: &Range<u64>) -> Result<()> {
        let chunk = &mut self.chunks[column];
        chunk.seek(range.start);
        if range.end > chunk.end {
            return Err(ParquetError::EOF("a page goes beyond its column".into()));
        }
        if chunk.held_until() >= range.end { Ok(()) } else { self.fetch(column, range.end) }
    }

    /// Fetches a column until `end` at least, and others that will soon need more.
    fn fetch(&mut self, column: usize, end: u64) -> Result<()> {
        let wanted = |(place, chunk): (usize, &Chunk)| match place == column {
            true => Some((place, chunk.next(end))),
            false => chunk.runs_out().then(|| (place, chunk.next(0))),
        };
        let wanted = self.chunks.iter().enumerate().filter_map(wanted);
        let requests = wanted.flat_map(|(place, range)| requests(range).map(move |range| (place, range)));
        let (columns, ranges): (Vec<usize>, Vec<Range<u64>>) = requests.unzip();
        match self.ranges.wait(&ranges) {
            Ok(parts) => {
                for ((column, range), part) in columns.into_iter().zip(ranges).zip(parts) {
                    self.chunks[column].parts.push_back((range.start, part));
                }
                Ok(())
            }
            Err(error) => {
                self.failed = Some(error);
                Err(ParquetError::General("the store failed".into()))
            }
        }
    }
}

fn requests(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let end = range.end;
    range.step_by(REQUEST_BYTES as usize).map(move |start| start..end.min(start + REQUEST_BYTES))
}

impl Chunk {
    /// Forgets what lies before `at`. What lies before that may be read anew later: then it is fetched anew.
    fn seek(&mut self, at: u64) {
        self.at = at;
        while self.parts.front().is_some_and(|(start, part)| start + part.len() as u64 <= at) {
            self.parts.pop_front();
        }
        if self.parts.front().is_some_and(|(start, _)| *start > at) {
            self.parts.clear();
        }
    }

    fn held_until(&self) -> u64 {
        self.parts.back().map_or(self.at, |(start, part)| start + part.len() as u64)
    }

    fn next(&self, end: u64) -> Range<u64> {
        let start = self.held_until();
        start..start.saturating_add(self.share).min(self.end).max(end)
    }

    fn runs_out(&self) -> bool {
        let held = self.held_until();
        held < self.end && held - self.at < self.share / 2 + 1
    }

    /// As many as there are one after another.
    fn headers(&self) -> Vec<PageHeader> {
        let (mut headers, mut at) = (Vec::new(), self.at);
        while at < self.end {
            let read = |length: &u64| PageHeader::read(&self.slice(&(at..self.end.min(at + length))));
            let Some(header) = LARGE_HEADER_BYTES.iter().find_map(read) else { break };
            at = at.saturating_add(header.length as u64).saturating_add(header.packed.cast_unsigned());
            headers.push(header);
        }
        headers
    }

    /// Of bytes that are held.
    fn slice(&self, range: &Range<u64>) -> Bytes {
        let (start, first) = self.parts.front().expect("held");
        let length = (range.end - range.start) as usize;
        let from = (range.start - start) as usize;
        if from + length <= first.len() {
            return first.slice(from..from + length);
        }
        let mut bytes = Vec::with_capacity(length);
        for (start, part) in &self.parts {
            let from = range.start.saturating_sub(*start) as usize;
            let until = (range.end.saturating_sub(*start) as usize).min(part.len());
            bytes.extend_from_slice(&part[from.min(until)..until]);
        }
        bytes.into()
    }

    /// Up to `bytes_max` from where it is.
    fn some(&self, bytes_max: usize) -> Bytes {
        let (start, first) = self.parts.front().expect("held");
        let from = (self.at - start) as usize;
        first.slice(from..first.len().min(from + bytes_max))
    }
}

/// The bytes of one column, for the Parquet crate.
#[derive(Clone)]
pub(super) struct ChunkBytes {
    pub chunks: Arc<Chunks>,
    pub column: usize,
}

impl Length for ChunkBytes {
    fn len(&self) -> u64 {
        self.chunks.with(|held| held.chunks[self.column].end)
    }
}

impl ChunkReader for ChunkBytes {
    type T = Header;

    fn get_read(&self, start: u64) -> Result<Header> {
        Ok(Header { bytes: self.clone(), start, next: start, some: Bytes::new() })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let end = start.checked_add(length as u64).ok_or_else(|| ParquetError::EOF("a page without end".into()))?;
        if length == 0 { Ok(Bytes::new()) } else { self.chunks.exactly(self.column, &(start..end)) }
    }
}

/// A page's header, of which nobody knows the length before it is read.
pub(super) struct Header {
    bytes: ChunkBytes,
    start: u64,
    next: u64,
    some: Bytes,
}

impl Read for Header {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.some.is_empty() {
            let is_first = self.next == self.start;
            let ChunkBytes { chunks, column } = &self.bytes;
            self.some = chunks.some(*column, self.next, is_first).map_err(io::Error::other)?;
        }
        let count = into.len().min(self.some.len());
        into[..count].copy_from_slice(&self.some.split_to(count));
        self.next += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_shared_by_size() {
        let mib = 1 << 20;
        assert_eq!(shares(&[0..10, 10..30], 30), [10, 20]);
        assert_eq!(shares(&[0..3 * mib, 3 * mib..12 * mib], 6 * mib), [mib, 3 * mib]);
        assert_eq!(shares(&[0..10 * mib, 10 * mib..10 * mib + 7], 3 * mib), [2 * mib - 2, 7]);
        assert_eq!(shares(&[0..1000 * mib, 0..mib], mib)[1], SHARE_BYTES_MIN);
    }

    #[test]
    fn parts_are_joined_and_forgotten() {
        let part = |range: Range<u8>| (u64::from(range.start), range.collect::<Vec<u8>>().into());
        let parts = [part(0..4), part(4..6), part(6..9)].into();
        let mut chunk = Chunk { end: 20, at: 0, share: 4, parts, header: 0 };
        assert_eq!(chunk.slice(&(1..3)), [1, 2][..]);
        assert_eq!(chunk.slice(&(3..8)), [3, 4, 5, 6, 7][..]);
        assert!(!chunk.runs_out());
        chunk.seek(7);
        assert_eq!((chunk.parts.len(), chunk.held_until(), chunk.next(0), chunk.next(15)), (1, 9, 9..13, 9..15));
        assert!(chunk.runs_out());
        assert_eq!(chunk.some(9), [7, 8][..]);
        chunk.seek(12);
        assert_eq!((chunk.parts.len(), chunk.next(0)), (0, 12..16));
        chunk.seek(3);
        assert_eq!(chunk.next(0), 3..7);
    }
}
