//! [`Builder`]: ids in any order become a sorted file, in bounded memory. The external merge sort as a story; how ids are sorted,
//! merged and written is told in `sort`, `merge` and `write`.

use std::collections::VecDeque;
use std::path::Path;

use crate::error::BuildError;
use crate::format::ID_BYTES_MAX;
use crate::merge::{Run, RunWriter, merge};
use crate::scratch::{File, NewFile, Scratch};
use crate::sort::Buffer;
use crate::write::Writer;

/// Runs merged at once, at most: each is an open file.
const FAN_IN_MAX: usize = 128;
const FAN_IN_MIN: usize = 8;
/// What a run in a merge, or a file being written, should have as buffer at least; less only if the budget is very small.
const BUFFER_BYTES: usize = 64 << 10;
const BUFFER_BYTES_MIN: usize = 4 << 10;

/// Collects ids and writes them as a sorted file.
///
/// Memory stays within the budget plus at most 512 KiB and, while runs are merged, one id per run; a budget smaller than one id works.
/// What does not fit in it is written to a folder of the builder's own in the scratch folder: the ids plus 4 bytes each (for a moment
/// up to twice that, when there are so many runs that they are merged in steps), and the file's index. The folder is deleted when
/// the builder is finished or dropped; a killed process leaves it behind, named `ids-<process>-<number>`.
pub struct Builder {
    memory_bytes_max: usize,
    buffer: Buffer,
    runs: VecDeque<Run>,
    added: u64,
    scratch: Scratch,
}

/// What [`Builder::finish`] wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Different ids in the file.
    pub ids: u64,
    /// Ids that were added when they had been added before.
    pub repeats: u64,
    /// Size of the file.
    pub bytes: u64,
}

impl Builder {
    /// `scratch` is an existing folder on a local disk.
    pub fn new(scratch: &Path, memory_bytes_max: usize) -> Builder {
        let scratch = Scratch::new(scratch);
        Builder { memory_bytes_max, buffer: Buffer::default(), runs: VecDeque::new(), added: 0, scratch }
    }

    /// Adds an id. Any order, repeats allowed, the empty id too; at most [`ID_BYTES_MAX`] long.
    /// After an error nothing is lost: the call may be repeated, for instance when there is room on the disk again.
    pub fn add(&mut self, id: &[u8]) -> Result<(), BuildError> {
        if id.len() > ID_BYTES_MAX {
            return Err(BuildError::IdTooLong { bytes: id.len(), max: ID_BYTES_MAX });
        }
        if !self.buffer.has_room(id.len(), self.memory_bytes_max) {
            self.spill()?;
        }
        self.buffer.push(id);
        self.added += 1;
        Ok(())
    }

    /// Writes the file, replacing what is at `out`. It appears whole and durable, or not at all.
    pub fn finish(mut self, out: &Path) -> Result<Summary, BuildError> {
        let mut new = NewFile::create(out, self.buffer_bytes())?;
        let (ids, bytes) = self.write(&mut new.file)?;
        new.publish()?;
        Ok(Summary { ids, repeats: self.added - ids, bytes })
    }

    /// Number of ids, and of bytes.
    fn write(&mut self, out: &mut File) -> Result<(u64, u64), BuildError> {
        if self.runs.is_empty() {
            let mut writer = Writer::new(out, &mut self.scratch)?;
            self.buffer.for_each_sorted(|id| writer.push(id))?;
            return writer.finish();
        }
        self.spill()?;
        // The merge needs the memory now.
        self.buffer = Buffer::default();
        self.reduce_runs()?;
        let buffer_bytes = self.buffer_bytes();
        let mut writer = Writer::new(out, &mut self.scratch)?;
        merge(self.runs.make_contiguous(), buffer_bytes, |id| writer.push(id))?;
        writer.finish()
    }

    /// The ids in memory become a run. If that fails they are still in memory.
    fn spill(&mut self) -> Result<(), BuildError> {
        let mut run = RunWriter::new(self.scratch.create(self.buffer_bytes())?);
        self.buffer.for_each_sorted(|id| run.push(id))?;
        self.runs.push_back(run.finish()?);
        self.buffer.clear(self.memory_bytes_max);
        Ok(())
    }

    /// Merges the oldest, that is the smallest, runs until one merge can take all. The first merge takes just as many as
    /// makes the later ones full.
    fn reduce_runs(&mut self) -> Result<(), BuildError> {
        let fan_in = self.fan_in();
        while self.runs.len() > fan_in {
            let taken = fan_in.min(self.runs.len() - fan_in + 1);
            let runs: Vec<Run> = self.runs.drain(..taken).collect();
            let mut merged = RunWriter::new(self.scratch.create(self.buffer_bytes())?);
            merge(&runs, self.buffer_bytes(), |id| merged.push(id))?;
            self.runs.push_back(merged.finish()?);
            runs.into_iter().for_each(Run::remove);
        }
        Ok(())
    }

    fn fan_in(&self) -> usize {
        (self.memory_bytes_max / BUFFER_BYTES).clamp(FAN_IN_MIN, FAN_IN_MAX)
    }

    /// Of each file in a merge; one more is written.
    fn buffer_bytes(&self) -> usize {
        (self.memory_bytes_max / (self.fan_in() + 1)).clamp(BUFFER_BYTES_MIN, 4 * BUFFER_BYTES)
    }
}
