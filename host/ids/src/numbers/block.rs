//! One block of numbers: up to 1024 of them as a bitmap or in buckets, or any number of consecutive ones. [`BlockWriter`] cuts
//! ascending numbers into blocks, [`Record`], [`Finder`] and [`list`] read them again. Knows nothing of files.
//!
//! Buckets are Elias-Fano coding (Elias 1974; Fano 1971) over few numbers: the high bits choose a bucket, two bytes for each say
//! where it starts, and only the low bits are stored. With half as many buckets as numbers, a lookup reads two starts and about two
//! numbers.

use crate::error::Fault;
use crate::format::checksum;
use crate::number::Number;

/// Numbers in a bitmap or in buckets. More make the index smaller, and the first touch of a block dearer.
pub(crate) const NUMBERS_MAX: usize = 1024;
/// Fewer consecutive numbers go with others: a bitmap of them is smaller than a record of their own.
pub(crate) const STRETCH_MIN: usize = 64;
/// Of blocks that are handed on together.
const MANY_BYTES: usize = 256 << 10;
/// Numbers of a bucket that are read one by one; more are searched.
const READ_MAX: usize = 16;

/// A block's first and last number, and where and what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record<N> {
    pub(crate) first: N,
    pub(crate) last: N,
    /// Where its bytes start.
    pub(crate) at: u64,
    pub(crate) kind: Kind,
    /// Of its bytes.
    pub(crate) checksum: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Every number from the first to the last. No bytes.
    Stretch,
    /// A bit for each number from the first to the last.
    Bitmap { count: u16 },
    /// Where each bucket starts, then the low bits of each number.
    Buckets { count: u16 },
}

const AT_BITS: u32 = 48;
const COUNT_BITS: u32 = 10;

impl<N: Number> Record<N> {
    pub(crate) const BYTES: usize = 2 * N::BYTES + 16;

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let (kind, count) = match self.kind {
            Kind::Stretch => (0, 1),
            Kind::Bitmap { count } => (1, count),
            Kind::Buckets { count } => (2, count),
        };
        assert!(self.at < 1 << AT_BITS, "an id file is below 256 TiB");
        let place = self.at | u64::from(count - 1) << AT_BITS | kind << (AT_BITS + COUNT_BITS);
        self.first.write(out);
        self.last.write(out);
        out.extend_from_slice(&place.to_le_bytes());
        out.extend_from_slice(&self.checksum.to_le_bytes());
    }

    #[inline]
    pub(crate) fn read(bytes: &[u8], at: usize) -> Option<Record<N>> {
        let record = Self::read_checked(bytes, at)?;
        record.is_possible().then_some(record)
    }

    /// Of an index in which all records are possible.
    #[inline]
    pub(crate) fn read_checked(bytes: &[u8], at: usize) -> Option<Record<N>> {
        let bytes = bytes.get(at..at.checked_add(Self::BYTES)?)?;
        let place = u64::read(bytes, 2 * N::BYTES)?;
        let count = (place >> AT_BITS) as u16 % NUMBERS_MAX as u16 + 1;
        let kind = match place >> (AT_BITS + COUNT_BITS) {
            0 => Kind::Stretch,
            1 => Kind::Bitmap { count },
            2 => Kind::Buckets { count },
            _ => return None,
        };
        let (first, last) = (N::read(bytes, 0)?, N::read(bytes, N::BYTES)?);
        Some(Record {
            first,
            last,
            at: place & ((1 << AT_BITS) - 1),
            kind,
            checksum: u64::read(bytes, 2 * N::BYTES + 8)?,
        })
    }

    fn is_possible(&self) -> bool {
        let span = self.last.minus(self.first);
        self.first <= self.last
            && match self.kind {
                Kind::Stretch => true,
                // Larger ones are never smaller than buckets.
                Kind::Bitmap { .. } => span.bits() <= 16,
                Kind::Buckets { count } => count > 1 && span.bits() > 0,
            }
    }

    /// How many numbers it holds; they can be 2^128.
    pub(crate) fn count(&self) -> u128 {
        match self.kind {
            Kind::Stretch => self.last.minus(self.first).to_u128().saturating_add(1),
            Kind::Bitmap { count } | Kind::Buckets { count } => u128::from(count),
        }
    }

    #[inline]
    pub(crate) fn bytes(&self) -> u64 {
        let span = self.last.minus(self.first);
        match self.kind {
            Kind::Stretch => 0,
            Kind::Bitmap { .. } => span.to_u128() as u64 / 8 + 1,
            Kind::Buckets { count } => Buckets::new(span, count).bytes() as u64,
        }
    }
}

/// How the numbers of a block with buckets are laid out; it follows from their span and count.
#[derive(Debug, Clone, Copy)]
struct Buckets {
    count: usize,
    buckets: usize,
    low_bits: u32,
    low_bytes: usize,
}

impl Buckets {
    #[inline]
    fn new<N: Number>(span: N, count: u16) -> Buckets {
        let bucket_bits = (u16::BITS - (count - 1).leading_zeros()).saturating_sub(1);
        let low_bits = span.bits().saturating_sub(bucket_bits);
        let buckets = span.high(low_bits).wrapping_add(1);
        Buckets { count: count.into(), buckets, low_bits, low_bytes: low_bits.div_ceil(8) as usize }
    }

    fn bytes(&self) -> usize {
        self.numbers_at() + self.count * self.low_bytes
    }

    /// Behind the starts.
    #[inline]
    fn numbers_at(&self) -> usize {
        2 * self.buckets
    }

    /// The places of a bucket's numbers.
    #[inline]
    fn places(&self, block: &[u8], bucket: usize) -> Option<(usize, usize)> {
        let from = start(block, bucket)?;
        let until = if bucket + 1 < self.buckets { start(block, bucket + 1)? } else { self.count };
        Some((from, until))
    }
}

/// The low bits of a number. Reads up to 15 bytes behind it, which are there: an index follows all blocks.
#[inline]
fn low<N: Number>(bytes: &[u8], at: usize, low_bytes: usize) -> Option<N> {
    Some(N::read(bytes, at)?.low(8 * low_bytes as u32))
}

#[inline]
fn start(block: &[u8], bucket: usize) -> Option<usize> {
    let bytes = block.get(2 * bucket..)?.first_chunk::<2>()?;
    Some(u16::from_le_bytes(*bytes).into())
}

/// What a lookup in a block needs of its record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Finder<N> {
    first: N,
    at: u64,
    shape: Shape,
}

#[derive(Debug, Clone, Copy)]
enum Shape {
    Bitmap,
    Buckets(Buckets),
}

impl<N: Number> Finder<N> {
    #[inline]
    /// `None` for a stretch, which has all its numbers.
    pub(crate) fn new(record: &Record<N>) -> Option<Finder<N>> {
        let shape = match record.kind {
            Kind::Stretch => return None,
            Kind::Bitmap { .. } => Shape::Bitmap,
            Kind::Buckets { count } => Shape::Buckets(Buckets::new(record.last.minus(record.first), count)),
        };
        Some(Finder { first: record.first, at: record.at, shape })
    }

    /// Where the block starts.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// Whether a number is in the block, before any of its numbers are read; `bytes` are the file's. The number is not outside of the
    /// record's.
    #[inline]
    pub(crate) fn narrow(&self, bytes: &[u8], number: N) -> Result<Narrowed<N>, Fault> {
        let offset = number.minus(self.first);
        let narrowed = bytes.get(self.at as usize..).and_then(|block| match self.shape {
            Shape::Bitmap => {
                let bit = offset.to_u128() as usize;
                block.get(bit / 8).map(|byte| Narrowed::Known(byte >> (bit % 8) & 1 == 1))
            }
            Shape::Buckets(buckets) => {
                let (from, until) = buckets.places(block, offset.high(buckets.low_bits))?;
                let bucket = Bucket {
                    low: offset.low(buckets.low_bits),
                    at: self.at + (buckets.numbers_at() + from * buckets.low_bytes) as u64,
                    count: until.saturating_sub(from),
                    low_bytes: buckets.low_bytes,
                };
                Some(if bucket.count == 0 { Narrowed::Known(false) } else { Narrowed::Bucket(bucket) })
            }
        });
        narrowed.ok_or(ENDS_BEHIND)
    }

    /// Where the first byte is that [`narrow`](Finder::narrow) will need: of a bucket's start, or of a bitmap.
    #[inline]
    pub(crate) fn first_needed(&self, number: N) -> u64 {
        let offset = number.minus(self.first);
        match self.shape {
            Shape::Bitmap => self.at + offset.to_u128() as u64 / 8,
            Shape::Buckets(buckets) => self.at + 2 * offset.high(buckets.low_bits).min(NUMBERS_MAX) as u64,
        }
    }
}

const ENDS_BEHIND: Fault = Fault { at: 0, what: "it ends behind the file" };

/// Whether a block has a number: known, or in the bucket that would have it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Narrowed<N> {
    Known(bool),
    Bucket(Bucket<N>),
}

/// The numbers of one bucket, and the low bits that are asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket<N> {
    low: N,
    /// Where its numbers start, in the file.
    at: u64,
    count: usize,
    low_bytes: usize,
}

impl<N: Number> Bucket<N> {
    /// Where the numbers are that are likely to be read: the first one's first byte, and the second one's last.
    #[inline]
    pub(crate) fn needed(&self) -> (u64, u64) {
        (self.at, self.at + 2 * self.low_bytes as u64)
    }

    /// Reads all numbers of a small bucket: a branch on each would wait for memory, and be guessed wrong as often as right.
    #[inline]
    pub(crate) fn has(&self, bytes: &[u8]) -> Result<bool, Fault> {
        let bucket = bytes.get(self.at as usize..).unwrap_or_default();
        if self.count > READ_MAX {
            return self.search(bucket).ok_or(ENDS_BEHIND);
        }
        let mut is_found = false;
        for place in 0..self.count {
            let Some(low) = self.get(bucket, place) else { return Err(ENDS_BEHIND) };
            is_found |= low == self.low;
        }
        Ok(is_found)
    }

    #[inline]
    fn get(&self, bucket: &[u8], place: usize) -> Option<N> {
        low(bucket, place * self.low_bytes, self.low_bytes)
    }

    /// In a bucket with many numbers, which ascend.
    #[cold]
    fn search(&self, bucket: &[u8]) -> Option<bool> {
        let (mut from, mut until) = (0, self.count);
        while from < until {
            let middle = from + (until - from) / 2;
            let there = self.get(bucket, middle)?;
            if there == self.low {
                return Some(true);
            }
            if there < self.low {
                from = middle + 1;
            } else {
                until = middle;
            }
        }
        Some(false)
    }
}

/// All numbers of a block, ascending; `bytes` are the file's from the block's first byte on.
pub(crate) fn list<N: Number>(record: &Record<N>, bytes: &[u8], numbers: &mut Vec<N>) -> Result<(), Fault> {
    let before = numbers.len();
    let listed = match record.kind {
        Kind::Stretch => None,
        Kind::Bitmap { .. } => list_bitmap(record, bytes, numbers),
        Kind::Buckets { count } => list_buckets(record, count, bytes, numbers),
    };
    if listed.is_none() {
        return Err(ENDS_BEHIND);
    }
    let listed = &numbers[before..];
    let is_whole = listed.len() as u128 == record.count()
        && listed.first() == Some(&record.first)
        && listed.last() == Some(&record.last)
        && listed.is_sorted_by(|a, b| a < b);
    if is_whole { Ok(()) } else { Err(Fault { at: 0, what: "its numbers are not those of its record" }) }
}

fn list_bitmap<N: Number>(record: &Record<N>, bytes: &[u8], numbers: &mut Vec<N>) -> Option<()> {
    let first = record.first.to_u128();
    for (i, byte) in bytes.get(..record.bytes() as usize)?.iter().enumerate() {
        let mut left = *byte;
        while left != 0 {
            let number = first.checked_add(8 * i as u128 + u128::from(left.trailing_zeros()))?;
            numbers.push(N::from_u128(number));
            left &= left - 1;
        }
    }
    Some(())
}

/// In steps that do not depend on how many numbers a bucket has, which no processor guesses: first the bucket of each number, as
/// sums of how many buckets start at it.
fn list_buckets<N: Number>(record: &Record<N>, count: u16, bytes: &[u8], numbers: &mut Vec<N>) -> Option<()> {
    let buckets = Buckets::new(record.last.minus(record.first), count);
    let starts = bytes.get(..buckets.numbers_at())?.as_chunks::<2>().0;
    let mut starting = [0u16; NUMBERS_MAX];
    let (mut before, mut is_ascending) = (0, true);
    for start in starts {
        let start = u16::from_le_bytes(*start);
        is_ascending &= before <= start && usize::from(start) < buckets.count;
        before = start;
        starting[usize::from(start) % NUMBERS_MAX] += 1;
    }
    if !is_ascending || starting[0] == 0 {
        return Some(());
    }
    let (mut bucket, mut highest) = (0, N::default());
    // The first bucket starts at the first number.
    starting[0] -= 1;
    let lows = bytes.get(buckets.numbers_at()..)?;
    for (place, starting) in starting.iter().enumerate().take(buckets.count) {
        bucket += usize::from(*starting);
        let low = low::<N>(lows, place * buckets.low_bytes, buckets.low_bytes)?;
        highest = highest.max(low);
        numbers.push(record.first.plus(N::from_high(bucket, buckets.low_bits)).plus(low));
    }
    if highest.bits() > buckets.low_bits {
        numbers.truncate(numbers.len() - buckets.count);
    }
    Some(())
}

/// Blocks, one behind the other; `at` of their records counts from the first one's first byte.
#[derive(Debug)]
pub(crate) struct Blocks<N> {
    pub(crate) records: Vec<Record<N>>,
    pub(crate) bytes: Vec<u8>,
}

impl<N> Default for Blocks<N> {
    fn default() -> Blocks<N> {
        Blocks { records: Vec::new(), bytes: Vec::new() }
    }
}

/// Cuts ascending numbers into blocks.
#[derive(Debug)]
pub(crate) struct BlockWriter<N> {
    blocks: Blocks<N>,
    waiting: Vec<N>,
}

impl<N: Number> BlockWriter<N> {
    pub(crate) fn new() -> BlockWriter<N> {
        BlockWriter { blocks: Blocks::default(), waiting: Vec::with_capacity(NUMBERS_MAX) }
    }

    /// Numbers after all before.
    #[inline]
    pub(crate) fn push(&mut self, first: N, last: N) {
        if last.minus(first).to_u128() >= (STRETCH_MIN - 1) as u128 {
            self.close();
            let at = self.blocks.bytes.len() as u64;
            self.blocks.records.push(Record { first, last, at, kind: Kind::Stretch, checksum: 0 });
            return;
        }
        first.each_to(last, |number| {
            self.waiting.push(number);
            if self.waiting.len() == NUMBERS_MAX {
                self.close();
            }
        });
    }

    /// As [`push`](BlockWriter::push), for numbers of which none is one more than the one before.
    pub(crate) fn push_apart(&mut self, mut numbers: &[N]) {
        while !numbers.is_empty() {
            let (now, later) = numbers.split_at(numbers.len().min(NUMBERS_MAX - self.waiting.len()));
            self.waiting.extend_from_slice(now);
            if self.waiting.len() == NUMBERS_MAX {
                self.close();
            }
            numbers = later;
        }
    }

    /// The blocks so far, if they are worth a call of the file system.
    pub(crate) fn take_many(&mut self) -> Option<Blocks<N>> {
        let bytes = self.blocks.bytes.len() + self.blocks.records.len() * Record::<N>::BYTES;
        (bytes >= MANY_BYTES).then(|| std::mem::take(&mut self.blocks))
    }

    pub(crate) fn finish(mut self) -> Blocks<N> {
        self.close();
        self.blocks
    }

    fn close(&mut self) {
        let (Some(&first), Some(&last)) = (self.waiting.first(), self.waiting.last()) else { return };
        let count = self.waiting.len();
        let (span, at) = (last.minus(first), self.blocks.bytes.len());
        let kind = kind(span, count);
        let out = &mut self.blocks.bytes;
        match kind {
            Kind::Stretch => {}
            Kind::Bitmap { .. } => write_bitmap(&self.waiting, span, out),
            Kind::Buckets { count } => write_buckets(&self.waiting, Buckets::new(span, count), out),
        }
        let checksum = if kind == Kind::Stretch { 0 } else { checksum(&out[at..]) };
        self.blocks.records.push(Record { first, last, at: at as u64, kind, checksum });
        self.waiting.clear();
    }
}

/// The smallest.
fn kind<N: Number>(span: N, count: usize) -> Kind {
    if span.to_u128() == count as u128 - 1 {
        return Kind::Stretch;
    }
    let count = count as u16;
    let in_buckets = Buckets::new(span, count).bytes() as u128;
    if span.to_u128() / 8 < in_buckets { Kind::Bitmap { count } } else { Kind::Buckets { count } }
}

fn write_bitmap<N: Number>(numbers: &[N], span: N, out: &mut Vec<u8>) {
    let at = out.len();
    out.resize(at + span.to_u128() as usize / 8 + 1, 0);
    for number in numbers {
        let bit = number.minus(numbers[0]).to_u128() as usize;
        out[at + bit / 8] |= 1 << (bit % 8);
    }
}

fn write_buckets<N: Number>(numbers: &[N], buckets: Buckets, out: &mut Vec<u8>) {
    // Where each bucket ends, if it has numbers: the last of them is the last to say.
    let mut ends = [0u16; NUMBERS_MAX];
    let from = out.len() + buckets.numbers_at();
    let end = from + numbers.len() * buckets.low_bytes;
    // Each number is written whole; the next one is written over what it does not need.
    out.resize(end + N::BYTES, 0);
    for (place, number) in numbers.iter().enumerate() {
        let offset = number.minus(numbers[0]);
        ends[offset.high(buckets.low_bits)] = place as u16 + 1;
        offset.low(buckets.low_bits).put(&mut out[from + place * buckets.low_bytes..]);
    }
    out.truncate(end);
    let mut start = 0u16;
    let starts = out[from - buckets.numbers_at()..from].as_chunks_mut::<2>().0;
    for (bytes, end) in starts.iter_mut().zip(ends) {
        *bytes = start.to_le_bytes();
        start = start.max(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<N: Number>(numbers: &[u128], expected: &[Kind]) {
        let numbers: Vec<N> = numbers.iter().map(|number| N::from_u128(*number)).collect();
        let mut writer = BlockWriter::new();
        let mut rest = numbers.as_slice();
        while let Some(first) = rest.first() {
            let length = 1 + rest.windows(2).take_while(|pair| pair[0].next() == Some(pair[1])).count();
            writer.push(*first, rest[length - 1]);
            rest = &rest[length..];
        }
        let Blocks { records, mut bytes } = writer.finish();
        let kinds: Vec<Kind> = records.iter().map(|record| record.kind).collect();
        assert_eq!(kinds, expected);
        bytes.extend_from_slice(&[0xee; 16]);
        let mut all = Vec::new();
        for record in &records {
            let mut written = Vec::new();
            record.write(&mut written);
            assert_eq!(Record::read(&written, 0), Some(*record));
            match record.kind {
                Kind::Stretch => all.extend((record.first.to_u128()..=record.last.to_u128()).map(N::from_u128)),
                _ => list(record, &bytes[record.at as usize..], &mut all).expect("whole"),
            }
        }
        assert!(all == numbers);
        for number in &numbers {
            for near in [number.before(), Some(*number), number.next()].into_iter().flatten() {
                let record = records.iter().find(|record| (record.first..=record.last).contains(&near));
                let found = record.is_some_and(|record| {
                    let narrowed = Finder::new(record).map(|finder| finder.narrow(&bytes, near).expect("whole"));
                    match narrowed.unwrap_or(Narrowed::Known(true)) {
                        Narrowed::Known(is_found) => is_found,
                        Narrowed::Bucket(bucket) => bucket.has(&bytes).expect("whole"),
                    }
                });
                assert_eq!(found, numbers.binary_search(&near).is_ok(), "{near:?}");
            }
        }
    }

    #[test]
    fn numbers_come_back() {
        check::<u64>(&[], &[]);
        check::<u64>(&[7], &[Kind::Stretch]);
        check::<u64>(&[u64::MAX.into()], &[Kind::Stretch]);
        check::<u64>(&[0, u64::MAX.into()], &[Kind::Buckets { count: 2 }]);
        check::<u128>(&[0, 1, u128::MAX - 1, u128::MAX], &[Kind::Buckets { count: 4 }]);
        check::<u64>(&[3, 5, 6, 9], &[Kind::Bitmap { count: 4 }]);
        check::<u64>(&(100..1000).collect::<Vec<_>>(), &[Kind::Stretch]);
        let two = [Kind::Bitmap { count: 1024 }, Kind::Bitmap { count: 44 }];
        check::<u64>(&(0..1068).map(|i| i * 3).collect::<Vec<_>>(), &two);
        let mixed: Vec<u128> = (0..10).chain(100..200).chain([1000, 1002]).collect();
        check::<u64>(&mixed, &[Kind::Stretch, Kind::Stretch, Kind::Bitmap { count: 2 }]);
        let squares: Vec<u128> = (1000..1200u128).map(|i| i * i * i * i).collect();
        check::<u64>(&squares, &[Kind::Buckets { count: 200 }]);
        check::<u128>(&squares, &[Kind::Buckets { count: 200 }]);
        let skewed: Vec<u128> = (0..200).map(|i| i * 5).chain((0..9).map(|i| 1 << (50 + i))).collect();
        check::<u64>(&skewed, &[Kind::Buckets { count: 209 }]);
    }
}
