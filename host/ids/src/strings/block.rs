//! One data block: [`BlockWriter`] front-codes ids, [`Block`] finds and lists them again. Knows nothing of files, checksums or other
//! blocks. `Block` reads hostile bytes: each access is checked.

use std::cmp::Ordering;

use super::common_prefix;
use crate::error::Fault;
use crate::format::u32_at;

/// A block is closed before it grows past this, unless one id alone does.
const BLOCK_BYTES: usize = 4096;
pub(crate) const RESTART_IDS: usize = 16;

/// The most bytes that two varints and a restart add to an id.
const ENTRY_OVERHEAD_BYTES: usize = 5 + 5 + 4;

/// A block in the making.
#[derive(Default)]
pub(crate) struct BlockWriter {
    ids: usize,
    /// Starts of entries, counted from the first entry.
    restarts: Vec<usize>,
    entries: Vec<u8>,
}

impl BlockWriter {
    pub(crate) fn is_empty(&self) -> bool {
        self.ids == 0
    }

    /// Whether `id` leaves the block within `BLOCK_BYTES`; `shared` as for [`push`](BlockWriter::push). An empty block takes any id.
    pub(crate) fn has_room(&self, shared: usize, id: &[u8]) -> bool {
        let rest_bytes = id.len() - self.kept(shared);
        let now = 4 + 4 * self.restarts.len() + self.entries.len();
        self.is_empty() || now + ENTRY_OVERHEAD_BYTES + rest_bytes <= BLOCK_BYTES
    }

    /// `shared`: the longest common prefix of `id` with the id pushed before.
    pub(crate) fn push(&mut self, shared: usize, id: &[u8]) {
        let shared = self.kept(shared);
        if self.ids.is_multiple_of(RESTART_IDS) {
            self.restarts.push(self.entries.len());
        }
        write_varint(&mut self.entries, narrow(shared));
        write_varint(&mut self.entries, narrow(id.len() - shared));
        self.entries.extend_from_slice(&id[shared..]);
        self.ids += 1;
    }

    /// A restart shares nothing.
    fn kept(&self, shared: usize) -> usize {
        if self.ids.is_multiple_of(RESTART_IDS) { 0 } else { shared }
    }

    /// The block's bytes, into `out`; the next id starts a new block.
    pub(crate) fn close(&mut self, out: &mut Vec<u8>) {
        let entries_at = 4 + 4 * self.restarts.len();
        out.clear();
        out.extend_from_slice(&narrow(self.ids).to_le_bytes());
        for restart in self.restarts.drain(..) {
            out.extend_from_slice(&narrow(entries_at + restart).to_le_bytes());
        }
        out.append(&mut self.entries);
        self.ids = 0;
    }
}

fn narrow(number: usize) -> u32 {
    u32::try_from(number).expect("ids are at most ID_BYTES_MAX, so a block is below 4 GiB")
}

fn fault<T>(at: usize, what: &'static str) -> Result<T, Fault> {
    Err(Fault { at, what })
}

/// A block's bytes.
#[derive(Clone, Copy)]
pub(crate) struct Block<'a> {
    bytes: &'a [u8],
    ids: usize,
}

pub(crate) struct Entry<'a> {
    pub(crate) shared: usize,
    pub(crate) rest: &'a [u8],
    /// Where the entry after this one starts.
    pub(crate) next: usize,
}

impl<'a> Block<'a> {
    pub(crate) fn open(bytes: &'a [u8]) -> Result<Block<'a>, Fault> {
        match u32_at(bytes, 0).and_then(|ids| usize::try_from(ids).ok()) {
            Some(ids) if ids > 0 && ids.div_ceil(RESTART_IDS) <= bytes.len() / 4 => Ok(Block { bytes, ids }),
            _ => fault(0, "its number of ids cannot be"),
        }
    }

    pub(crate) fn ids(&self) -> usize {
        self.ids
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Where the first entry starts.
    pub(crate) fn entries_at(&self) -> usize {
        4 + 4 * self.ids.div_ceil(RESTART_IDS)
    }

    pub(crate) fn contains(&self, id: &[u8]) -> Result<bool, Fault> {
        match self.restart_at_or_before(id)? {
            Some(restart) => self.scan(restart, id),
            None => Ok(false),
        }
    }

    /// Where the ids from `restart * RESTART_IDS` on start.
    pub(crate) fn restart(&self, restart: usize) -> Result<usize, Fault> {
        let at = 4 + 4 * restart;
        match u32_at(self.bytes, at) {
            Some(entry) => Ok(entry as usize),
            None => fault(at, "its restarts are cut short"),
        }
    }

    pub(crate) fn entry(&self, at: usize) -> Result<Entry<'a>, Fault> {
        let entry = || {
            let (shared, at) = varint_at(self.bytes, at)?;
            let (rest, at) = varint_at(self.bytes, at)?;
            let next = at.checked_add(rest as usize)?;
            Some(Entry { shared: shared as usize, rest: self.bytes.get(at..next)?, next })
        };
        entry().map_or_else(|| fault(at, "an entry does not fit in its block"), Ok)
    }

    /// The last restart whose id is not after `id`.
    fn restart_at_or_before(&self, id: &[u8]) -> Result<Option<usize>, Fault> {
        let (mut low, mut high) = (0, self.ids.div_ceil(RESTART_IDS));
        while low < high {
            let middle = low + (high - low) / 2;
            if self.restart_id(middle)? <= id {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low.checked_sub(1))
    }

    fn restart_id(&self, restart: usize) -> Result<&'a [u8], Fault> {
        let at = self.restart(restart)?;
        match self.entry(at)? {
            Entry { shared: 0, rest, .. } => Ok(rest),
            _ => fault(at, "the id at a restart is not whole"),
        }
    }

    /// Looks for `id` from a restart to the next, without putting ids together: `common` is how far the entry before, which is
    /// smaller than `id`, agrees with it. An entry that shares more than that with the one before is smaller for the same
    /// reason; one that shares less is larger than `id`, and so are all behind it.
    fn scan(&self, restart: usize, id: &[u8]) -> Result<bool, Fault> {
        let mut at = self.restart(restart)?;
        let mut common = 0;
        for _ in 0..RESTART_IDS.min(self.ids - restart * RESTART_IDS) {
            let entry = self.entry(at)?;
            at = entry.next;
            match entry.shared.cmp(&common) {
                Ordering::Greater => continue,
                Ordering::Less => return Ok(false),
                Ordering::Equal => {}
            }
            let same = common_prefix(&id[common..], entry.rest);
            match id[common + same..].cmp(&entry.rest[same..]) {
                Ordering::Equal => return Ok(true),
                Ordering::Less => return Ok(false),
                Ordering::Greater => common += same,
            }
        }
        Ok(false)
    }
}

fn write_varint(out: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// The number at `at`, and where the next thing starts.
fn varint_at(bytes: &[u8], at: usize) -> Option<(u32, usize)> {
    let mut number = 0u64;
    for (i, byte) in bytes.get(at..)?.iter().take(5).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((u32::try_from(number).ok()?, at + i + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_come_back() {
        for number in [0, 1, 127, 128, 16_383, 16_384, 1 << 21, 1 << 28, u32::MAX] {
            let mut bytes = vec![0xaa];
            write_varint(&mut bytes, number);
            assert_eq!(varint_at(&bytes, 1), Some((number, bytes.len())));
            assert_eq!(varint_at(&bytes[..bytes.len() - 1], 1), None, "{number} cut short");
        }
    }

    #[test]
    fn varints_that_are_too_large_are_refused() {
        assert_eq!(varint_at(&[0xff, 0xff, 0xff, 0xff, 0x1f], 0), None);
        assert_eq!(varint_at(&[0x80; 9], 0), None);
        assert_eq!(varint_at(&[], usize::MAX), None);
    }
}
