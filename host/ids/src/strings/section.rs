//! A file's byte strings, asked: [`StringSection`]. A binary search over separators, one over the restarts of one block, and a scan
//! of at most 16 entries; strings near the one before skip the first.

use super::block::RESTART_IDS;
use super::block::{Block, Entry};
use crate::error::{Damage, Fault, block_damage};
use crate::format::{Section, checksum, slice, u32_at, u64_at};
use crate::seen::Seen;

pub(crate) const RECORD_BYTES: u64 = 32;

#[derive(Debug)]
pub(crate) struct StringSection {
    section: Section,
    seen: Seen,
}

/// Where a block and its separator are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record {
    pub(crate) block_at: u64,
    pub(crate) block_bytes: u32,
    pub(crate) separator_bytes: u32,
    /// Counted from the first separator's first byte.
    pub(crate) separator_at: u64,
    pub(crate) checksum: u64,
}

impl Record {
    pub(crate) fn to_bytes(self) -> [u8; RECORD_BYTES as usize] {
        let mut bytes = [0; RECORD_BYTES as usize];
        bytes[..8].copy_from_slice(&self.block_at.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.block_bytes.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.separator_bytes.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.separator_at.to_le_bytes());
        bytes[24..].copy_from_slice(&self.checksum.to_le_bytes());
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Record> {
        Some(Record {
            block_at: u64_at(bytes, 0)?,
            block_bytes: u32_at(bytes, 8)?,
            separator_bytes: u32_at(bytes, 12)?,
            separator_at: u64_at(bytes, 16)?,
            checksum: u64_at(bytes, 24)?,
        })
    }
}

/// A block, and the range of ids that only it can hold.
pub(crate) struct Place<'a> {
    number: u64,
    block: Block<'a>,
    block_at: u64,
    from: &'a [u8],
    until: Option<&'a [u8]>,
}

impl Place<'_> {
    pub(crate) fn spans(&self, id: &[u8]) -> bool {
        self.from <= id && self.until.is_none_or(|until| id < until)
    }
}

impl StringSection {
    /// Checks the index.
    pub(crate) fn open(bytes: &[u8], section: Section) -> Result<StringSection, Damage> {
        section.index(bytes)?;
        let records = section.blocks.checked_mul(RECORD_BYTES);
        if section.blocks == 0 || records.is_none_or(|records| records > section.index_bytes) {
            return Err(section.damage("its size is not that of its blocks"));
        }
        let opened = StringSection { seen: Seen::new(section.blocks), section };
        opened.check_records(bytes)?;
        Ok(opened)
    }

    fn check_records(&self, bytes: &[u8]) -> Result<(), Damage> {
        let (mut block_at, mut separator_at, mut before) = (self.section.blocks_at, 0, None);
        for number in 0..self.section.blocks {
            let record = self.record(bytes, number)?;
            let separator = self.separator_of(bytes, &record)?;
            let ascends = before.map_or(separator.is_empty(), |before| before < separator);
            if record.block_at != block_at || record.separator_at != separator_at || !ascends {
                return Err(self.section.damage("a record does not follow the one before"));
            }
            block_at = block_at.saturating_add(record.block_bytes.into());
            separator_at = separator_at.saturating_add(record.separator_bytes.into());
            before = Some(separator);
        }
        if block_at != self.section.index_at || separator_at != self.separators_bytes() {
            return Err(self.section.damage("its records do not describe all blocks"));
        }
        Ok(())
    }

    /// Records lie behind the separators.
    fn separators_bytes(&self) -> u64 {
        self.section.index_bytes - self.section.blocks * RECORD_BYTES
    }

    fn record(&self, bytes: &[u8], number: u64) -> Result<Record, Damage> {
        let at = self.section.index_at + self.separators_bytes() + number * RECORD_BYTES;
        let record = slice(bytes, at, RECORD_BYTES).and_then(Record::read);
        record.ok_or_else(|| self.section.damage("a record ends behind the file"))
    }

    fn separator_of<'a>(&self, bytes: &'a [u8], record: &Record) -> Result<&'a [u8], Damage> {
        let separators = slice(bytes, self.section.index_at, self.separators_bytes());
        let separator = separators.and_then(|all| slice(all, record.separator_at, record.separator_bytes.into()));
        separator.ok_or_else(|| self.section.damage("a separator ends behind the separators"))
    }

    fn separator<'a>(&self, bytes: &'a [u8], number: u64) -> Result<&'a [u8], Damage> {
        self.separator_of(bytes, &self.record(bytes, number)?)
    }

    /// The only block that can hold `id`.
    pub(crate) fn place<'a>(&self, bytes: &'a [u8], id: &[u8]) -> Result<Option<Place<'a>>, Damage> {
        let (mut low, mut high) = (0, self.section.blocks);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.separator(bytes, middle)? <= id {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low.checked_sub(1).map(|number| self.place_of(bytes, number)).transpose()
    }

    fn place_of<'a>(&self, bytes: &'a [u8], number: u64) -> Result<Place<'a>, Damage> {
        let is_last = number + 1 == self.section.blocks;
        let until = if is_last { None } else { Some(self.separator(bytes, number + 1)?) };
        let (record, block) = self.block(bytes, number)?;
        Ok(Place { number, block, block_at: record.block_at, from: self.separator_of(bytes, &record)?, until })
    }

    pub(crate) fn is_at(&self, place: &Place<'_>, id: &[u8]) -> Result<bool, Damage> {
        place.block.contains(id).map_err(|fault| self.damage(place.number, place.block_at, fault))
    }

    /// A block that is what was written, by its checksum.
    fn block<'a>(&self, bytes: &'a [u8], number: u64) -> Result<(Record, Block<'a>), Damage> {
        let record = self.record(bytes, number)?;
        let damage = |fault| self.damage(number, record.block_at, fault);
        let Some(block) = slice(bytes, record.block_at, record.block_bytes.into()) else {
            return Err(damage(Fault { at: 0, what: "it ends behind the file" }));
        };
        if !self.seen.has(number) {
            if checksum(block) != record.checksum {
                return Err(damage(Fault { at: 0, what: "its checksum does not match" }));
            }
            self.seen.add(number);
        }
        Ok((record, Block::open(block).map_err(damage)?))
    }

    /// Calls `f` with each string, ascending, and checks on the way what a checksum cannot see: order, restarts, separators.
    pub(crate) fn try_for_each(
        &self,
        bytes: &[u8],
        mut f: impl FnMut(&[u8]) -> Result<(), Damage>,
    ) -> Result<(), Damage> {
        let (mut id, mut result) = (Vec::new(), Ok(()));
        let mut ids = 0;
        for number in 0..self.section.blocks {
            let (record, block) = self.block(bytes, number)?;
            let damage = |fault| self.damage(number, record.block_at, fault);
            self.check_separator(bytes, &record, &block, (ids > 0).then_some(&id)).map_err(damage)?;
            let mut f = |id: &[u8]| {
                if result.is_ok() {
                    result = f(id);
                }
            };
            list(&block, &mut id, ids == 0, &mut f).map_err(damage)?;
            result.clone()?;
            ids += block.ids() as u64;
        }
        if ids == self.section.ids {
            Ok(())
        } else {
            Err(self.section.damage("its number of ids is not that of its blocks"))
        }
    }

    /// The separator is after the last id of the block before and not after the first one here.
    fn check_separator(
        &self,
        bytes: &[u8],
        record: &Record,
        block: &Block<'_>,
        last: Option<&Vec<u8>>,
    ) -> Result<(), Fault> {
        let at = block.restart(0)?;
        let separator = self.separator_of(bytes, record).unwrap_or_default();
        if last.is_some_and(|last| last.as_slice() >= separator) {
            return Err(Fault { at, what: "its separator is not after the ids before it" });
        }
        if block.entry(at)?.rest < separator {
            return Err(Fault { at, what: "its separator is after its first id" });
        }
        Ok(())
    }

    fn damage(&self, number: u64, block_at: u64, fault: Fault) -> Damage {
        block_damage(self.section.first_block + number, block_at, fault)
    }
}

/// Calls `f` with a block's strings; `id` is the one before, and then the last.
fn list(block: &Block<'_>, id: &mut Vec<u8>, is_first: bool, f: &mut impl FnMut(&[u8])) -> Result<(), Fault> {
    let mut at = block.entries_at();
    for index in 0..block.ids() {
        let at_restart = index.is_multiple_of(RESTART_IDS);
        if at_restart && block.restart(index / RESTART_IDS)? != at {
            return Err(Fault { at, what: "a restart points elsewhere" });
        }
        let entry = block.entry(at)?;
        let ascends = if at_restart {
            entry.shared == 0 && (is_first && index == 0 || entry.rest > id.as_slice())
        } else {
            ascends(&entry, id)
        };
        if !ascends {
            return Err(Fault { at, what: "an id is not after the one before it" });
        }
        id.truncate(entry.shared);
        id.extend_from_slice(entry.rest);
        f(id);
        at = entry.next;
    }
    if at == block.bytes() { Ok(()) } else { Err(Fault { at, what: "bytes follow its last id" }) }
}

/// As `shared` is the longest common prefix, the bytes behind it decide; nothing sorts before something.
fn ascends(entry: &Entry<'_>, before: &[u8]) -> bool {
    entry.shared <= before.len() && entry.rest.first() > before.get(entry.shared)
}
