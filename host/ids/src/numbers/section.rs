//! A file's numbers of one kind, asked 64 at a time: [`NumberSection`]. Its records are the index; a table of its own, made when the
//! file is opened, says about which record a number belongs to.
//!
//! A lookup costs a table entry, a record, the start of a bucket, and its numbers; the last three are in memory that no cache
//! holds, if the file is large.

use super::block::{self, Bucket, Finder, Kind, Narrowed, Record};
use crate::error::{Damage, Fault, block_damage};
use crate::format::{Section, checksum, prefetch, slice};
use crate::number::Number;
use crate::seen::Seen;

/// Entries of the table, at most: a megabyte.
const TABLE_MAX: u64 = 1 << 18;

#[derive(Debug)]
pub(crate) struct NumberSection<N> {
    section: Section,
    table: Table<N>,
    seen: Seen,
}

/// For each range of 2^`shift` numbers from `first` on, the last record that begins before or with it.
#[derive(Debug)]
struct Table<N> {
    first: N,
    shift: u32,
    /// And the very last one once more.
    records: Box<[u32]>,
    /// Of the last record's first number, less the first one's.
    span_bits: u32,
}

/// What is known of the numbers from `first` to `last`.
#[derive(Clone, Copy)]
struct Stretch<N> {
    first: N,
    last: N,
    holds: Holds<N>,
}

#[derive(Clone, Copy)]
enum Holds<N> {
    None,
    All,
    /// Some of them, in this block.
    Some(u64, Finder<N>),
}

impl<N: Number> NumberSection<N> {
    /// Checks the index.
    pub(crate) fn open(bytes: &[u8], section: Section) -> Result<NumberSection<N>, Damage> {
        let index = section.index(bytes)?;
        if section.blocks.checked_mul(Record::<N>::BYTES as u64) != Some(section.index_bytes)
            || section.blocks >= u32::MAX.into()
        {
            return Err(section.damage("its size is not that of its blocks"));
        }
        let table = check_records(index, &section)?;
        Ok(NumberSection { table, seen: Seen::new(section.blocks), section })
    }

    #[inline]
    fn record(&self, bytes: &[u8], block: u64) -> Result<Record<N>, Damage> {
        let record = Record::read_checked(bytes, self.record_at(block) as usize);
        record.ok_or_else(|| self.section.damage("a record changed"))
    }

    #[inline]
    fn record_at(&self, block: u64) -> u64 {
        self.section.index_at + block * Record::<N>::BYTES as u64
    }

    /// A bit for each of up to 64 numbers, that are likely to be near each other.
    #[inline]
    pub(crate) fn ask(&self, bytes: &[u8], numbers: &[N]) -> Result<u64, Damage> {
        let mut stretch = Stretch { first: N::MAX, last: N::default(), holds: Holds::None };
        let mut answers = 0;
        for (i, number) in numbers.iter().enumerate() {
            if *number < stretch.first || *number > stretch.last {
                stretch = self.stretch(bytes, *number)?;
            }
            match stretch.holds {
                Holds::None => {}
                Holds::All => answers |= 1 << i,
                Holds::Some(block, finder) => {
                    answers |= u64::from(self.find(bytes, block, &finder, *number)?) << i;
                }
            }
        }
        Ok(answers)
    }

    /// As [`ask`](NumberSection::ask), for numbers that are far from each other. Each round asks memory for what the next one needs,
    /// for all numbers, so that nothing waits for one miss at a time.
    pub(crate) fn ask_scattered(&self, bytes: &[u8], numbers: &[N]) -> Result<u64, Damage> {
        for number in numbers {
            prefetch(bytes, self.record_at(self.table.between(*number).0));
        }
        let mut answers = 0;
        let mut asked = [const { None }; 64];
        for (i, number) in numbers.iter().enumerate() {
            match self.stretch(bytes, *number)?.holds {
                Holds::None => {}
                Holds::All => answers |= 1 << i,
                Holds::Some(block, finder) => {
                    prefetch(bytes, finder.first_needed(*number));
                    asked[i] = Some((block, finder));
                }
            }
        }
        let mut left = [const { None }; 64];
        for (i, asked) in asked.iter().enumerate() {
            let Some((block, finder)) = asked else { continue };
            match self.narrow(bytes, *block, finder, numbers[i])? {
                Narrowed::Known(is_found) => answers |= u64::from(is_found) << i,
                Narrowed::Bucket(bucket) => {
                    let (from, until) = bucket.needed();
                    prefetch(bytes, from);
                    prefetch(bytes, until);
                    left[i] = Some((*block, bucket));
                }
            }
        }
        for (i, left) in left.iter().enumerate() {
            let Some((block, bucket)) = left else { continue };
            answers |= u64::from(self.has(bytes, *block, bucket)?) << i;
        }
        Ok(answers)
    }

    #[inline]
    fn find(&self, bytes: &[u8], block: u64, finder: &Finder<N>, number: N) -> Result<bool, Damage> {
        match self.narrow(bytes, block, finder, number)? {
            Narrowed::Known(is_found) => Ok(is_found),
            Narrowed::Bucket(bucket) => self.has(bytes, block, &bucket),
        }
    }

    #[inline]
    fn narrow(&self, bytes: &[u8], block: u64, finder: &Finder<N>, number: N) -> Result<Narrowed<N>, Damage> {
        if !self.seen.has(block) {
            self.check(bytes, block, &self.record(bytes, block)?)?;
        }
        finder.narrow(bytes, number).map_err(|fault| self.damage(block, finder.at(), fault))
    }

    #[inline]
    fn has(&self, bytes: &[u8], block: u64, bucket: &Bucket<N>) -> Result<bool, Damage> {
        bucket.has(bytes).map_err(|fault| self.damage(block, bucket.needed().0, fault))
    }

    /// The file from a block's first byte on; its own bytes are what was written.
    #[inline]
    fn block<'a>(&self, bytes: &'a [u8], block: u64, record: &Record<N>) -> Result<&'a [u8], Damage> {
        if !self.seen.has(block) {
            self.check(bytes, block, record)?;
        }
        Ok(bytes.get(record.at as usize..).unwrap_or_default())
    }

    #[cold]
    fn check(&self, bytes: &[u8], block: u64, record: &Record<N>) -> Result<(), Damage> {
        let what = match slice(bytes, record.at, record.bytes()) {
            None => "it ends behind the file",
            Some(own) if record.kind != Kind::Stretch && checksum(own) != record.checksum => {
                "its checksum does not match"
            }
            Some(_) => {
                self.seen.add(block);
                return Ok(());
            }
        };
        Err(self.damage(block, record.at, Fault { at: 0, what }))
    }

    /// All that is known around a number.
    #[inline]
    fn stretch(&self, bytes: &[u8], number: N) -> Result<Stretch<N>, Damage> {
        let Some(block) = self.block_of(bytes, number)? else {
            let last = self.table.first.before().unwrap_or_default();
            return Ok(Stretch { first: N::default(), last, holds: Holds::None });
        };
        let record = self.record(bytes, block)?;
        if number <= record.last {
            let holds = Finder::new(&record).map_or(Holds::All, |finder| Holds::Some(block, finder));
            return Ok(Stretch { first: record.first, last: record.last, holds });
        }
        let first = record.last.next().unwrap_or(N::MAX);
        let last = if block + 1 < self.section.blocks {
            self.record(bytes, block + 1)?.first.before().unwrap_or_default()
        } else {
            N::MAX
        };
        Ok(Stretch { first, last, holds: Holds::None })
    }

    /// The only block that can hold the number.
    #[inline]
    fn block_of(&self, bytes: &[u8], number: N) -> Result<Option<u64>, Damage> {
        if number < self.table.first || self.section.blocks == 0 {
            return Ok(None);
        }
        let (mut low, mut high) = self.table.between(number);
        while low < high {
            let middle = high - (high - low) / 2;
            if self.record(bytes, middle)?.first <= number {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        Ok(Some(low))
    }

    /// Calls `f` with stretches of consecutive numbers, ascending: each block is checked as a whole on the way.
    pub(crate) fn for_each(&self, bytes: &[u8], mut f: impl FnMut(N, N)) -> Result<(), Damage> {
        let mut numbers = Vec::new();
        for block in 0..self.section.blocks {
            let record = self.record(bytes, block)?;
            if record.kind == Kind::Stretch {
                f(record.first, record.last);
                continue;
            }
            let own = self.block(bytes, block, &record)?;
            numbers.clear();
            block::list(&record, own, &mut numbers).map_err(|fault| self.damage(block, record.at, fault))?;
            numbers.iter().for_each(|number| f(*number, *number));
        }
        Ok(())
    }

    fn damage(&self, block: u64, at: u64, fault: Fault) -> Damage {
        block_damage(self.section.first_block + block, at, fault)
    }

    /// About where a number is.
    pub(crate) fn likely_block(&self, number: N) -> u64 {
        if number < self.table.first { 0 } else { self.table.between(number).0 }
    }

    /// Which of at most `2^bits` equal ranges a number is in, and at least half as many; numbers out of all are in the first or last.
    #[inline]
    pub(crate) fn range(&self, number: N, bits: u32) -> usize {
        let Table { first, span_bits, .. } = &self.table;
        let shift = span_bits.saturating_sub(bits);
        if number < *first { 0 } else { number.minus(*first).high(shift).min((1 << bits) - 1) }
    }
}

impl<N: Number> Table<N> {
    #[inline]
    fn between(&self, number: N) -> (u64, u64) {
        let last = self.records.len() - 1;
        let place = number.minus(self.first).high(self.shift);
        (u64::from(self.records[place.min(last)]), u64::from(self.records[place.saturating_add(1).min(last)]))
    }
}

/// Records ascend, lie one behind the other, and hold as many ids as the directory says.
fn check_records<N: Number>(index: &[u8], section: &Section) -> Result<Table<N>, Damage> {
    let what = "a record does not follow the one before";
    let at = |number: u64| number as usize * Record::<N>::BYTES;
    let ends = [0, section.blocks.saturating_sub(1)].map(|number| Record::<N>::read(index, at(number)));
    let [Some(first), Some(last)] = ends else {
        return Err(section.damage("it is empty"));
    };
    let entries = section.blocks.next_power_of_two().min(TABLE_MAX);
    let span_bits = last.first.minus(first.first).bits();
    let shift = span_bits.saturating_sub(entries.trailing_zeros());
    let mut records = Vec::with_capacity(entries as usize + 1);
    let mut ids = 0u128;
    let mut block_at = section.blocks_at;
    let mut before: Option<N> = None;
    for number in 0..section.blocks {
        let record =
            Record::<N>::read(index, at(number)).ok_or_else(|| section.damage("a record is none that was written"))?;
        if before.is_some_and(|before| before >= record.first) || record.at != block_at {
            return Err(section.damage(what));
        }
        let place = record.first.minus(first.first);
        // Ranges that begin up to here belong to the record before.
        let begins = |range: usize| (range as u64) < entries && (range as u128) << shift <= place.to_u128();
        while begins(records.len()) {
            let is_own = (records.len() as u128) << shift == place.to_u128();
            records.push(if is_own { number } else { number.saturating_sub(1) } as u32);
        }
        ids = ids.saturating_add(record.count());
        block_at = block_at.saturating_add(record.bytes());
        before = Some(record.last);
    }
    records.push(section.blocks as u32 - 1);
    if ids != u128::from(section.ids) || block_at != section.index_at {
        return Err(section.damage("its records do not describe all blocks"));
    }
    Ok(Table { first: first.first, shift, records: records.into(), span_bits })
}
