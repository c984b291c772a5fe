//! Blocks of one reader overtake each other between workers; a stream puts them back into order before they are written,
//! so that rows of a unit keep their order. Whoever brings the block that is next writes it, and all that waited for it;
//! others only leave theirs. What waits is bounded by the memory budget, which every block holds a share of until it is
//! written.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;
use arrow::error::ArrowError;

use super::file::{ClosedFile, FileWriter};
use super::{Holds, OutputKind, Sink, SinkError};
use crate::block::SelectedBatch;

/// Rows of one output that came of a block.
#[derive(Debug)]
pub struct OutputRows {
    /// Which output.
    pub kind: OutputKind,
    /// The rows, in parts.
    pub rows: Vec<SelectedBatch>,
    /// What they came of, where files of an object lie together: all that came of a source row is in one file then.
    pub holds: Option<Holds>,
}

impl OutputRows {
    /// Bytes in memory.
    pub fn held_bytes(&self) -> u64 {
        self.rows.iter().map(SelectedBatch::held_bytes).sum()
    }
}

/// The files of one reader in one group. `T` is what a block holds until it is written.
pub struct Stream<T> {
    order: Mutex<Order<T>>,
    files: Mutex<Files>,
}

struct Order<T> {
    next: u64,
    waiting: BTreeMap<u64, Waiting<T>>,
    writing: bool,
}

/// What was not written yet of a block.
struct Waiting<T> {
    rows: Vec<OutputRows>,
    /// Not there before all that came of the block is.
    held: Option<T>,
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Waiting { rows: Vec::new(), held: None }
    }
}

impl<T> Default for Stream<T> {
    fn default() -> Self {
        let order = Order { next: 0, waiting: BTreeMap::new(), writing: false };
        Stream { order: Mutex::new(order), files: Mutex::default() }
    }
}

type Batch = Result<RecordBatch, ArrowError>;

#[derive(Default)]
struct Files {
    /// By output.
    open: BTreeMap<OutputKind, FileWriter>,
    closed: Vec<ClosedFile>,
}

impl Files {
    fn write(&mut self, OutputRows { kind, rows, holds }: OutputRows, sink: &Sink) -> Result<(), SinkError> {
        let Some(holds) = holds else {
            return self.write_parts(rows, |files, batch| files.write_batch(kind, batch, sink));
        };
        self.close_if(kind, |open| !open.goes_on_with(&holds))?;
        let mut open = match self.open.remove(&kind) {
            Some(open) => open,
            None => sink.file_of(kind, &holds.object)?,
        };
        self.write_parts(rows, |_, batch| open.write_or_fail(batch))?;
        open.hold(holds);
        self.open.insert(kind, open);
        self.close_if(kind, FileWriter::is_full)
    }

    fn write_parts(
        &mut self,
        rows: Vec<SelectedBatch>,
        mut write: impl FnMut(&mut Files, Batch) -> Result<(), SinkError>,
    ) -> Result<(), SinkError> {
        rows.into_iter()
            .try_for_each(|part| part.batches(SelectedBatch::COPIED_BYTES_MAX).try_for_each(|batch| write(self, batch)))
    }

    fn write_batch(&mut self, kind: OutputKind, batch: Batch, sink: &Sink) -> Result<(), SinkError> {
        let mut open = match self.open.remove(&kind) {
            Some(open) => open,
            None => sink.file(kind)?,
        };
        open.write_or_fail(batch)?;
        self.open.insert(kind, open);
        self.close_if(kind, FileWriter::is_full)
    }

    fn close_if(&mut self, kind: OutputKind, is_over: impl Fn(&FileWriter) -> bool) -> Result<(), SinkError> {
        if self.open.get(&kind).is_some_and(is_over) {
            let over = self.open.remove(&kind).expect("just seen");
            self.closed.push(over.close()?);
        }
        Ok(())
    }
}

impl<T> Stream<T> {
    /// Leaves all that came of a block, or what is left of it, at its place, and writes what can be written. Returns what the
    /// blocks held that are written.
    pub fn put(&self, sequence: u64, rows: Vec<OutputRows>, held: T, sink: &Sink) -> Result<Vec<T>, SinkError> {
        self.leave(sequence, rows, Some(held));
        self.write_next(sink)
    }

    /// The same with some of it, of which more follows.
    pub fn put_some(&self, sequence: u64, rows: Vec<OutputRows>, sink: &Sink) -> Result<Vec<T>, SinkError> {
        self.leave(sequence, rows, None);
        self.write_next(sink)
    }

    fn leave(&self, sequence: u64, mut rows: Vec<OutputRows>, held: Option<T>) {
        let mut order = lock(&self.order);
        let waiting = order.waiting.entry(sequence).or_default();
        waiting.rows.append(&mut rows);
        waiting.held = held;
    }

    fn write_next(&self, sink: &Sink) -> Result<Vec<T>, SinkError> {
        let mut written = Vec::new();
        while let Some(Waiting { rows, held }) = self.take_next() {
            let result = rows.into_iter().try_for_each(|rows| lock(&self.files).write(rows, sink));
            lock(&self.order).writing = false;
            result?;
            written.extend(held);
        }
        Ok(written)
    }

    /// Whether all blocks before this one are in the files, or on their way there.
    pub fn is_next(&self, sequence: u64) -> bool {
        lock(&self.order).next == sequence
    }

    fn take_next(&self) -> Option<Waiting<T>> {
        let mut order = lock(&self.order);
        if order.writing {
            return None;
        }
        let next = order.next;
        let waiting = order.waiting.get_mut(&next)?;
        if waiting.held.is_none() && waiting.rows.is_empty() {
            return None;
        }
        let waiting = std::mem::take(waiting);
        if waiting.held.is_some() {
            order.waiting.remove(&next);
            order.next += 1;
        }
        order.writing = true;
        Some(waiting)
    }

    /// The stream's files, all closed. No block may come after this.
    pub fn close(&self) -> Result<Vec<ClosedFile>, SinkError> {
        let mut files = lock(&self.files);
        let mut closed = std::mem::take(&mut files.closed);
        for (_, open) in std::mem::take(&mut files.open) {
            closed.push(open.close()?);
        }
        Ok(closed)
    }
}

/// A panic elsewhere ends the run anyway; the data under the lock is not used after that.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
