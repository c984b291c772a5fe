//! Sorted byte strings, and a filter for them, into an id file. One pass; what grows with the set waits in scratch files.

use super::block::BlockWriter;
use super::common_prefix;
use super::filter::FilterWriter;
use super::section::Record;
use crate::error::BuildError;
use crate::format::{Section, SectionKind, checksum};
use crate::output::{Output, Spool, Start};
use crate::scratch::Scratch;

pub(crate) struct StringWriter<'a> {
    out: &'a mut Output,
    start: Start,
    ids: u64,
    blocks: u64,
    last: Vec<u8>,
    block: BlockWriter,
    /// Of the block in the making.
    separator: Vec<u8>,
    block_bytes: Vec<u8>,
    separators: Spool,
    records: Spool,
    filter: FilterWriter,
}

impl<'a> StringWriter<'a> {
    pub(crate) fn new(out: &'a mut Output, scratch: &mut Scratch) -> Result<StringWriter<'a>, BuildError> {
        Ok(StringWriter {
            start: out.start(),
            out,
            ids: 0,
            blocks: 0,
            last: Vec::new(),
            block: BlockWriter::default(),
            separator: Vec::new(),
            block_bytes: Vec::new(),
            separators: Spool::new(scratch)?,
            records: Spool::new(scratch)?,
            filter: FilterWriter::new(scratch)?,
        })
    }

    /// Strings must ascend.
    pub(crate) fn push(&mut self, id: &[u8]) -> Result<(), BuildError> {
        debug_assert!(self.ids == 0 || self.last.as_slice() < id, "ids ascend");
        let shared = common_prefix(&self.last, id);
        if !self.block.has_room(shared, id) {
            self.close_block()?;
        }
        if self.block.is_empty() && self.ids > 0 {
            // One byte more than they share is enough to tell this block from the one before.
            self.separator.extend_from_slice(&id[..shared + 1]);
        }
        self.block.push(shared, id);
        self.last.truncate(shared);
        self.last.extend_from_slice(&id[shared..]);
        self.ids += 1;
        self.filter.push(id)
    }

    /// The sections that were written: none if nothing was pushed, since none is empty. The filter is made in so much memory.
    pub(crate) fn finish(
        mut self,
        strings_have_templates: bool,
        scratch: &mut Scratch,
        filter_bytes: usize,
    ) -> Result<Vec<Section>, BuildError> {
        if self.ids == 0 {
            return Ok(Vec::new());
        }
        self.close_block()?;
        let StringWriter { out, start, ids, blocks, separators, records, filter, .. } = self;
        let strings = out.end(start, SectionKind::Strings, ids, blocks, [separators, records])?;
        let strings = Section { strings_have_templates, ..strings };
        Ok([strings].into_iter().chain(filter.finish(out, scratch, filter_bytes)?).collect())
    }

    fn close_block(&mut self) -> Result<(), BuildError> {
        self.block.close(&mut self.block_bytes);
        let record = Record {
            block_at: self.out.at(),
            block_bytes: u32::try_from(self.block_bytes.len()).expect("a block is below 4 GiB"),
            separator_bytes: u32::try_from(self.separator.len()).expect("separators are no longer than ids"),
            separator_at: self.separators.bytes(),
            checksum: checksum(&self.block_bytes),
        };
        self.out.write(&self.block_bytes)?;
        self.separators.write(&self.separator)?;
        self.records.write(&record.to_bytes())?;
        self.blocks += 1;
        self.separator.clear();
        Ok(())
    }
}
