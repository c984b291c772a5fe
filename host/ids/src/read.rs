//! [`Ids`]: the file's bytes, opened and asked. Does no I/O: bytes come from a `Vec` or a mapping, pages as they are touched. No
//! number that it reads is used before it is checked.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::block::{Block, Fault};
use crate::error::{Damage, Part};
use crate::format::{Footer, Record, checksum};
use crate::index::{self, slice};
use crate::walk::Walk;

/// An opened id file. Threads may share it.
///
/// The bytes must not change while it is open. If they do, answers are wrong or [`Damage`]; there is still no panic.
pub struct Ids<B: AsRef<[u8]>> {
    bytes: B,
    pub(crate) footer: Footer,
    /// One bit per block: its checksum was right once. Relaxed is enough, since the bit guards nothing but repeated work.
    checked: Box<[AtomicU64]>,
}

impl<B: AsRef<[u8]>> Ids<B> {
    /// Checks header, footer and the whole index; blocks are checked when they are first touched.
    /// Costs one pass over the index, about 1 % of the file for ids of 16 bytes, and one bit of memory per block.
    pub fn open(bytes: B) -> Result<Ids<B>, Damage> {
        let footer = index::open(bytes.as_ref())?;
        let checked = (0..footer.blocks.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Ok(Ids { bytes, footer, checked })
    }

    /// How many ids there are.
    pub fn len(&self) -> u64 {
        self.footer.ids
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether `id` is in the set.
    pub fn contains(&self, id: &[u8]) -> Result<bool, Damage> {
        match self.place(id)? {
            Some(place) => place.contains(id),
            None => Ok(false),
        }
    }

    /// One answer per id, in order. Any order is right; ids that are near each other in the set are cheaper next to each other.
    pub fn ask<'a>(&self, ids: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<bool>, Damage> {
        let mut place: Option<Place<'_>> = None;
        let answer = |id| {
            if !place.as_ref().is_some_and(|place| place.spans(id)) {
                place = self.place(id)?;
            }
            place.as_ref().map_or(Ok(false), |place| place.contains(id))
        };
        ids.into_iter().map(answer).collect()
    }

    /// Reads everything: every block's checksum and structure, the order of all ids, and the counts.
    pub fn verify(&self) -> Result<(), Damage> {
        self.for_each(|_| ())
    }

    /// Calls `f` with each id, in ascending order. Checks on its way what [`verify`](Ids::verify) checks.
    pub fn for_each(&self, mut f: impl FnMut(&[u8])) -> Result<(), Damage> {
        let mut walk = self.iter();
        while let Some(id) = walk.advance()? {
            f(id);
        }
        Ok(())
    }

    /// The ids in ascending order.
    pub fn iter(&self) -> Walk<'_, B> {
        Walk::new(self)
    }

    /// The only block that can hold `id`.
    fn place(&self, id: &[u8]) -> Result<Option<Place<'_>>, Damage> {
        let (mut low, mut high) = (0, self.footer.blocks);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.separator(middle)? <= id {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low.checked_sub(1).map(|number| self.place_of(number)).transpose()
    }

    fn place_of(&self, number: u64) -> Result<Place<'_>, Damage> {
        let until = if number + 1 < self.footer.blocks { Some(self.separator(number + 1)?) } else { None };
        let (record, block) = self.block(number)?;
        Ok(Place { number, block, block_at: record.block_at, from: self.separator(number)?, until })
    }

    /// A block that is what was written, by its checksum.
    pub(crate) fn block(&self, number: u64) -> Result<(Record, Block<'_>), Damage> {
        let record = index::record(self.bytes.as_ref(), &self.footer, number)?;
        let damage = |fault| block_damage(number, record.block_at, fault);
        let Some(bytes) = slice(self.bytes.as_ref(), record.block_at, u64::from(record.block_bytes)) else {
            return Err(damage(Fault { at: 0, what: "it ends behind the file" }));
        };
        if !self.is_checked(number) {
            if checksum(bytes) != record.checksum {
                return Err(damage(Fault { at: 0, what: "its checksum does not match" }));
            }
            self.set_checked(number);
        }
        Ok((record, Block::open(bytes).map_err(damage)?))
    }

    pub(crate) fn separator(&self, number: u64) -> Result<&[u8], Damage> {
        let bytes = self.bytes.as_ref();
        index::separator(bytes, &self.footer, &index::record(bytes, &self.footer, number)?)
    }

    fn is_checked(&self, number: u64) -> bool {
        self.checked[(number / 64) as usize].load(Ordering::Relaxed) & (1 << (number % 64)) != 0
    }

    fn set_checked(&self, number: u64) {
        self.checked[(number / 64) as usize].fetch_or(1 << (number % 64), Ordering::Relaxed);
    }
}

impl<B: AsRef<[u8]>> fmt::Debug for Ids<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ids")
            .field("len", &self.footer.ids)
            .field("blocks", &self.footer.blocks)
            .finish_non_exhaustive()
    }
}

/// A block, and the range of ids that only it can hold.
struct Place<'a> {
    number: u64,
    block: Block<'a>,
    block_at: u64,
    from: &'a [u8],
    until: Option<&'a [u8]>,
}

impl Place<'_> {
    fn spans(&self, id: &[u8]) -> bool {
        self.from <= id && self.until.is_none_or(|until| id < until)
    }

    fn contains(&self, id: &[u8]) -> Result<bool, Damage> {
        self.block.contains(id).map_err(|fault| block_damage(self.number, self.block_at, fault))
    }
}

pub(crate) fn block_damage(number: u64, block_at: u64, fault: Fault) -> Damage {
    Damage { part: Part::Block(number), at: block_at.saturating_add(fault.at as u64), what: fault.what }
}
