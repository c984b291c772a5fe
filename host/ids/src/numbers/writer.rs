//! Blocks of numbers into an id file. Their records, which grow with the set, wait in a scratch file until all blocks are written.

use super::block::{Blocks, Kind, Record};
use crate::error::BuildError;
use crate::format::{Section, SectionKind};
use crate::number::Number;
use crate::output::{Output, Spool, Start};
use crate::scratch::Scratch;

pub(crate) struct NumberWriter<'a, N> {
    out: &'a mut Output,
    start: Start,
    index: Spool,
    blocks: u64,
    ids: u128,
    /// The last record: a stretch that the next one continues becomes one with it.
    held: Option<Record<N>>,
    record_bytes: Vec<u8>,
}

impl<'a, N: Number> NumberWriter<'a, N> {
    pub(crate) fn new(out: &'a mut Output, scratch: &mut Scratch) -> Result<NumberWriter<'a, N>, BuildError> {
        let (start, index) = (out.start(), Spool::new(scratch)?);
        Ok(NumberWriter { out, start, index, blocks: 0, ids: 0, held: None, record_bytes: Vec::new() })
    }

    /// Blocks of numbers after all before.
    pub(crate) fn push(&mut self, blocks: &Blocks<N>) -> Result<(), BuildError> {
        let at = self.out.at();
        self.out.write(&blocks.bytes)?;
        for record in &blocks.records {
            let mut record = Record { at: at + record.at, ..*record };
            match self.held.take() {
                Some(held)
                    if held.kind == Kind::Stretch
                        && record.kind == Kind::Stretch
                        && held.last.next() == Some(record.first) =>
                {
                    record.first = held.first;
                }
                Some(held) => self.write(&held)?,
                None => {}
            }
            self.held = Some(record);
        }
        Ok(())
    }

    fn write(&mut self, record: &Record<N>) -> Result<(), BuildError> {
        self.record_bytes.clear();
        record.write(&mut self.record_bytes);
        self.index.write(&self.record_bytes)?;
        self.blocks += 1;
        self.ids = self.ids.saturating_add(record.count());
        Ok(())
    }

    /// `None` if nothing was pushed: no section is empty.
    pub(crate) fn finish(mut self, template: Vec<u8>) -> Result<Option<Section>, BuildError> {
        if let Some(held) = self.held.take() {
            self.write(&held)?;
        }
        if self.blocks == 0 {
            return Ok(None);
        }
        let NumberWriter { out, start, index, blocks, ids, .. } = self;
        let kind = if N::BYTES == 8 { SectionKind::Numbers } else { SectionKind::WideNumbers };
        let ids = u64::try_from(ids).map_err(|_| BuildError::TooManyIds)?;
        let section = out.end(start, kind, ids, blocks, [index])?;
        Ok(Some(Section { template, ..section }))
    }
}
