//! [`Walk`]: all ids of a file in order, and with them everything that a checksum cannot see: order, restarts, separators, counts.

use crate::block::{Block, Entry, Fault};
use crate::error::{Damage, Part};
use crate::format::RESTART_IDS;
use crate::index::footer_at;
use crate::read::{Ids, block_damage};

/// All ids in order, each checked against the one before. After an error it is over.
pub struct Walk<'a, B: AsRef<[u8]>> {
    ids: &'a Ids<B>,
    /// The block that is entered next.
    number: u64,
    /// The current block and its offset in the file.
    block: Option<(u64, Block<'a>)>,
    /// The next id of the current block, and where its entry starts.
    index: usize,
    at: usize,
    /// Ids seen in all blocks; the last one is in `id`.
    seen: u64,
    id: Vec<u8>,
    over: bool,
}

impl<'a, B: AsRef<[u8]>> Walk<'a, B> {
    pub(crate) fn new(ids: &'a Ids<B>) -> Walk<'a, B> {
        Walk { ids, number: 0, block: None, index: 0, at: 0, seen: 0, id: Vec::new(), over: false }
    }

    /// The next id, lent until the next call; `None` after the last one.
    pub fn advance(&mut self) -> Result<Option<&[u8]>, Damage> {
        if self.over {
            return Ok(None);
        }
        // Over until proven otherwise: every early return below is an error.
        self.over = true;
        if self.block.is_none_or(|(_, block)| self.index == block.ids()) && !self.enter_block()? {
            return Ok(None);
        }
        self.read_id()?;
        self.over = false;
        Ok(Some(&self.id))
    }

    /// Leaves the current block for the next; false when there is none.
    fn enter_block(&mut self) -> Result<bool, Damage> {
        if let Some((_, block)) = self.block
            && self.at != block.bytes()
        {
            return Err(self.damage("bytes follow its last id"));
        }
        if self.number == self.ids.footer.blocks {
            return self.check_count().map(|()| false);
        }
        let (record, block) = self.ids.block(self.number)?;
        self.number += 1;
        self.block = Some((record.block_at, block));
        (self.index, self.at) = (0, 0);
        self.at = block.restart(0).map_err(|fault| block_damage(self.number - 1, record.block_at, fault))?;
        self.check_separator()?;
        Ok(true)
    }

    fn check_count(&self) -> Result<(), Damage> {
        let what = "its number of ids is not that of the blocks";
        if self.seen == self.ids.footer.ids {
            Ok(())
        } else {
            Err(Damage { part: Part::Footer, at: footer_at(&self.ids.footer), what })
        }
    }

    /// The separator is after the last id of the block before and not after the first one here.
    fn check_separator(&self) -> Result<(), Damage> {
        let separator = self.ids.separator(self.number - 1)?;
        if self.seen > 0 && self.id.as_slice() >= separator {
            return Err(self.damage("its separator is not after the ids before it"));
        }
        if self.entry()?.rest < separator {
            return Err(self.damage("its separator is after its first id"));
        }
        Ok(())
    }

    fn read_id(&mut self) -> Result<(), Damage> {
        self.check_restart()?;
        let entry = self.entry()?;
        if !self.ascends(&entry) {
            return Err(self.damage("an id is not after the one before it"));
        }
        self.id.truncate(entry.shared);
        self.id.extend_from_slice(entry.rest);
        self.at = entry.next;
        self.index += 1;
        self.seen += 1;
        Ok(())
    }

    fn ascends(&self, entry: &Entry<'_>) -> bool {
        if self.index.is_multiple_of(RESTART_IDS) {
            return entry.shared == 0 && (self.seen == 0 || entry.rest > self.id.as_slice());
        }
        // As `shared` is the longest common prefix, the bytes behind it decide; nothing sorts before something.
        entry.shared <= self.id.len() && entry.rest.first() > self.id.get(entry.shared)
    }

    /// A restart points at the entry that is next; the first one right behind the restarts.
    fn check_restart(&self) -> Result<(), Damage> {
        let Some((block_at, block)) = self.block else { return Ok(()) };
        if !self.index.is_multiple_of(RESTART_IDS) {
            return Ok(());
        }
        let expected = if self.index == 0 { 4 + 4 * block.ids().div_ceil(RESTART_IDS) } else { self.at };
        match block.restart(self.index / RESTART_IDS) {
            Ok(at) if at == expected => Ok(()),
            Ok(_) => Err(self.damage("a restart points elsewhere")),
            Err(fault) => Err(block_damage(self.number - 1, block_at, fault)),
        }
    }

    fn entry(&self) -> Result<Entry<'a>, Damage> {
        let (block_at, block) = self.block.expect("a block was entered");
        block.entry(self.at).map_err(|fault| block_damage(self.number - 1, block_at, fault))
    }

    fn damage(&self, what: &'static str) -> Damage {
        let block_at = self.block.map_or(0, |(at, _)| at);
        block_damage(self.number.saturating_sub(1), block_at, Fault { at: self.at, what })
    }
}

impl<B: AsRef<[u8]>> Iterator for Walk<'_, B> {
    type Item = Result<Vec<u8>, Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().map(|id| id.map(<[u8]>::to_vec)).transpose()
    }
}
