//! Which strings are certainly not in the set: [`Filter`], a split block Bloom filter (Putze, Sanders and Singler 2007, "Cache-, hash-
//! and space-efficient Bloom filters"; with the constants of Parquet's). A string is looked for in one cache line; of those that are
//! not in the set, about one in 200 has to be looked for among the strings, too.

use crate::error::{BuildError, Damage, Fault, block_damage};
use crate::format::{Section, SectionKind, checksum, prefetch, slice, u64_at};
use crate::output::{Output, Spool};
use crate::scratch::Scratch;
use crate::seen::Seen;

const BITS_PER_ID: u64 = 12;
const CELL_BYTES: u64 = 32;
const WORDS: usize = 8;
/// What a checksum is of.
const PAGE_BYTES: u64 = 4096;
const CHECKSUM_BYTES: u64 = 8;
/// How often the hashes are read when the filter does not fit in memory; a filter that takes more is left out.
const PASSES_MAX: u64 = 64;

/// One bit in each word of a cell; the cell is chosen by a hash's upper half, the bits by its lower one.
const SALTS: [u32; WORDS] =
    [0x47b6_137b, 0x4497_4d91, 0x8824_ad5b, 0xa2b7_289d, 0x7054_95c7, 0x2df1_424b, 0x9efc_4947, 0x5c6b_fb31];

pub(crate) fn hash(id: &[u8]) -> u64 {
    checksum(id)
}

/// Of at most 2^32.
#[inline]
fn cell(hash: u64, cells: u64) -> u64 {
    ((hash >> 32) * cells) >> 32
}

#[inline]
fn bits(hash: u64) -> [u32; WORDS] {
    SALTS.map(|salt| 1 << ((hash as u32).wrapping_mul(salt) >> 27))
}

#[derive(Debug)]
pub(crate) struct Filter {
    section: Section,
    cells: u64,
    seen: Seen,
}

impl Filter {
    /// Checks the index.
    pub(crate) fn open(bytes: &[u8], section: Section) -> Result<Filter, Damage> {
        section.index(bytes)?;
        let own = section.index_at - section.blocks_at;
        let cells = own / CELL_BYTES;
        let is_whole = own.is_multiple_of(CELL_BYTES) && (1..=1 << 32).contains(&cells) && section.ids == 0;
        let has_all = section.blocks == own.div_ceil(PAGE_BYTES)
            && section.blocks.checked_mul(CHECKSUM_BYTES) == Some(section.index_bytes);
        if !is_whole || !has_all {
            return Err(section.damage("its size is not that of a filter"));
        }
        Ok(Filter { cells, seen: Seen::new(section.blocks), section })
    }

    /// For up to 64 hashes of strings a bit: 0 if that string is not in the set.
    pub(crate) fn may_have(&self, bytes: &[u8], hashes: &[u64]) -> Result<u64, Damage> {
        for hash in hashes {
            prefetch(bytes, self.cell_at(*hash));
        }
        let mut answers = 0;
        for (i, hash) in hashes.iter().enumerate() {
            let at = self.cell_at(*hash);
            self.check((at - self.section.blocks_at) / PAGE_BYTES, bytes)?;
            let cell = slice(bytes, at, CELL_BYTES).unwrap_or_default();
            let words = cell.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word));
            answers |= u64::from(words.zip(bits(*hash)).all(|(word, bit)| word & bit != 0)) << i;
        }
        Ok(answers)
    }

    fn cell_at(&self, hash: u64) -> u64 {
        self.section.blocks_at + CELL_BYTES * cell(hash, self.cells)
    }

    /// A page is what was written.
    fn check(&self, page: u64, bytes: &[u8]) -> Result<(), Damage> {
        if self.seen.has(page) {
            return Ok(());
        }
        let at = self.section.blocks_at + page * PAGE_BYTES;
        let own = slice(bytes, at, PAGE_BYTES.min(self.section.index_at - at));
        let expected = u64_at(bytes, (self.section.index_at + page * CHECKSUM_BYTES) as usize);
        if own.map(checksum) != expected {
            return Err(self.damage(page, "its checksum does not match"));
        }
        self.seen.add(page);
        Ok(())
    }

    fn damage(&self, page: u64, what: &'static str) -> Damage {
        let at = self.section.blocks_at + page * PAGE_BYTES;
        block_damage(self.section.first_block + page, at, Fault { at: 0, what })
    }

    pub(crate) fn check_all(&self, bytes: &[u8]) -> Result<(), Damage> {
        (0..self.section.blocks).try_for_each(|page| self.check(page, bytes))
    }

    /// A string of the set passes.
    pub(crate) fn check_passes(&self, bytes: &[u8], id: &[u8]) -> Result<(), Damage> {
        if self.may_have(bytes, &[hash(id)])? == 1 {
            return Ok(());
        }
        let page = (self.cell_at(hash(id)) - self.section.blocks_at) / PAGE_BYTES;
        Err(self.damage(page, "a string of the set does not pass"))
    }
}

/// Collects hashes on disk; how large the filter is follows from their number.
pub(crate) struct FilterWriter {
    hashes: Spool,
}

impl FilterWriter {
    pub(crate) fn new(scratch: &mut Scratch) -> Result<FilterWriter, BuildError> {
        Ok(FilterWriter { hashes: Spool::new(scratch)? })
    }

    pub(crate) fn push(&mut self, id: &[u8]) -> Result<(), BuildError> {
        self.hashes.write(&hash(id).to_le_bytes())
    }

    /// In slices that fit in memory, each in a pass over the hashes. `None` if there are no strings, or too many for the memory.
    pub(crate) fn finish(
        mut self,
        out: &mut Output,
        scratch: &mut Scratch,
        memory_bytes: usize,
    ) -> Result<Option<Section>, BuildError> {
        let ids = self.hashes.bytes() / size_of::<u64>() as u64;
        let Some(Size { cells, cells_at_once }) = Size::new(ids, memory_bytes as u64) else { return Ok(None) };
        let start = out.start();
        let mut checksums = Spool::new(scratch)?;
        for from in (0..cells).step_by(cells_at_once as usize) {
            let mut slice = vec![0u8; (cells_at_once.min(cells - from) * CELL_BYTES) as usize];
            self.hashes.read_back(|hashes| {
                hashes.as_chunks().0.iter().for_each(|hash| add(u64::from_le_bytes(*hash), cells, from, &mut slice));
                Ok(())
            })?;
            for page in slice.chunks(PAGE_BYTES as usize) {
                checksums.write(&checksum(page).to_le_bytes())?;
            }
            out.write(&slice)?;
        }
        let pages = checksums.bytes() / CHECKSUM_BYTES;
        out.end(start, SectionKind::Filter, 0, pages, [checksums]).map(Some)
    }
}

/// How large a filter is, and how much of it is made at once: whole pages.
#[derive(Debug, PartialEq, Eq)]
struct Size {
    cells: u64,
    cells_at_once: u64,
}

impl Size {
    fn new(ids: u64, memory_bytes: u64) -> Option<Size> {
        let cells = ids.saturating_mul(BITS_PER_ID).div_ceil(8 * CELL_BYTES);
        let cells_at_once = memory_bytes.max(PAGE_BYTES) / PAGE_BYTES * (PAGE_BYTES / CELL_BYTES);
        let is_possible = (1..=1 << 32).contains(&cells) && cells.div_ceil(cells_at_once) <= PASSES_MAX;
        is_possible.then_some(Size { cells, cells_at_once })
    }
}

/// To the cells from `from` on, if its cell is one of them.
fn add(hash: u64, cells: u64, from: u64, slice: &mut [u8]) {
    let at = cell(hash, cells).checked_sub(from).map(|cell| (cell * CELL_BYTES) as usize);
    let Some(cell) = at.and_then(|at| slice.get_mut(at..at + CELL_BYTES as usize)) else { return };
    for (word, bit) in cell.as_chunks_mut::<4>().0.iter_mut().zip(bits(hash)) {
        *word = (u32::from_le_bytes(*word) | bit).to_le_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_made_in_few_passes_or_not_at_all() {
        let size = |ids, memory_bytes| Size::new(ids, memory_bytes).map(|size| (size.cells, size.cells_at_once));
        assert_eq!(size(0, 1 << 20), None);
        assert_eq!(size(1, 0), Some((1, 128)));
        assert_eq!(size(1000, 9000), Some((47, 256)));
        let most = 64 * 128 * 256 / 12;
        assert_eq!(size(most, 4096), Some((64 * 128, 128)));
        assert_eq!(size(most + 12, 8191), None, "a pass too many");
        assert_eq!(size(u64::MAX, u64::MAX), None, "a cell is chosen by 32 bits");
    }

    #[test]
    fn few_strings_pass_that_were_not_added() {
        let (ids, cells) = (10_000u32, 10_000 * BITS_PER_ID / 256);
        let own = |number: u32| hash(&number.to_le_bytes());
        let mut all = vec![0; (cells * CELL_BYTES) as usize];
        let (low, high) = all.split_at_mut(100 * CELL_BYTES as usize);
        (0..ids).for_each(|number| add(own(number), cells, 0, low));
        (0..ids).for_each(|number| add(own(number), cells, 100, high));
        let has = |number: &u32| {
            let at = (cell(own(*number), cells) * CELL_BYTES) as usize;
            let words = all[at..at + CELL_BYTES as usize].as_chunks::<4>().0;
            words.iter().zip(bits(own(*number))).all(|(word, bit)| u32::from_le_bytes(*word) & bit != 0)
        };
        assert!((0..ids).all(|number| has(&number)));
        let passed = (ids..11 * ids).filter(has).count();
        assert!((100..1000).contains(&passed), "{passed} of 100,000");
    }
}
