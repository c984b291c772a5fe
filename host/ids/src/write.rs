//! Sorted ids into the bytes of an id file. One pass; the index, which grows with the set, waits in two scratch files.

use crate::block::BlockWriter;
use crate::error::BuildError;
use crate::format::{Footer, HEADER_BYTES, Record, checksum, common_prefix, cut, header};
use crate::scratch::{File, Scratch};

const INDEX_BUFFER_BYTES: usize = 8 << 10;

pub(crate) struct Writer<'a> {
    out: &'a mut File,
    /// Bytes written to `out`.
    at: u64,
    ids: u64,
    blocks: u64,
    last: Vec<u8>,
    block: BlockWriter,
    /// Of the block in the making.
    separator: Vec<u8>,
    block_bytes: Vec<u8>,
    separators: File,
    separators_bytes: u64,
    records: File,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(out: &'a mut File, scratch: &mut Scratch) -> Result<Writer<'a>, BuildError> {
        out.write(&header())?;
        Ok(Writer {
            out,
            at: HEADER_BYTES as u64,
            ids: 0,
            blocks: 0,
            last: Vec::new(),
            block: BlockWriter::default(),
            separator: Vec::new(),
            block_bytes: Vec::new(),
            separators: scratch.create(INDEX_BUFFER_BYTES)?,
            separators_bytes: 0,
            records: scratch.create(INDEX_BUFFER_BYTES)?,
        })
    }

    /// Ids must ascend.
    pub(crate) fn push(&mut self, id: &[u8]) -> Result<(), BuildError> {
        debug_assert!(self.ids == 0 || self.last.as_slice() < id, "ids ascend");
        let shared = common_prefix(&self.last, id);
        if !self.block.has_room(id.len() - shared) {
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
        Ok(())
    }

    /// Number of ids, and of bytes of the file.
    pub(crate) fn finish(mut self) -> Result<(u64, u64), BuildError> {
        if !self.block.is_empty() {
            self.close_block()?;
        }
        let Writer { out, at: separators_at, ids, blocks, separators, separators_bytes, records, .. } = self;
        let mut at = separators_at;
        let mut hasher = blake3::Hasher::new();
        let mut append = |bytes: &[u8]| {
            hasher.update(bytes);
            at += bytes.len() as u64;
            out.write(bytes)
        };
        separators.read_back(&mut append)?;
        records.read_back(&mut append)?;
        let records_at = separators_at + separators_bytes;
        let footer =
            Footer { ids, blocks, separators_at, records_at, index_checksum: cut(&hasher.finalize()) }.to_bytes();
        out.write(&footer)?;
        Ok((ids, at + footer.len() as u64))
    }

    fn close_block(&mut self) -> Result<(), BuildError> {
        self.block.close(&mut self.block_bytes);
        let record = Record {
            block_at: self.at,
            block_bytes: u32::try_from(self.block_bytes.len()).expect("a block is below 4 GiB"),
            separator_bytes: u32::try_from(self.separator.len()).expect("separators are no longer than ids"),
            separator_at: self.separators_bytes,
            checksum: checksum(&self.block_bytes),
        };
        self.out.write(&self.block_bytes)?;
        self.separators.write(&self.separator)?;
        self.records.write(&record.to_bytes())?;
        self.at += self.block_bytes.len() as u64;
        self.separators_bytes += self.separator.len() as u64;
        self.blocks += 1;
        self.separator.clear();
        Ok(())
    }
}
