//! Blocks of one reader overtake each other between workers; a stream puts them back into order before they are written,
//! so that rows of a unit keep their order. Whoever brings the block that is next writes it, and all that waited for it;
//! others only leave theirs. What waits is bounded by the memory budget, which every block holds a share of until it is
//! written.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;

use super::file::{ClosedFile, FileWriter};
use super::{Sink, SinkError};

/// The files of one reader in one group. `T` is what a block holds until it is written.
pub struct Stream<T> {
    order: Mutex<Order<T>>,
    files: Mutex<Files>,
}

struct Order<T> {
    next: u64,
    waiting: BTreeMap<u64, (Option<RecordBatch>, T)>,
    writing: bool,
}

impl<T> Default for Stream<T> {
    fn default() -> Self {
        let order = Order { next: 0, waiting: BTreeMap::new(), writing: false };
        Stream { order: Mutex::new(order), files: Mutex::default() }
    }
}

#[derive(Default)]
struct Files {
    open: Option<FileWriter>,
    closed: Vec<ClosedFile>,
}

impl<T> Stream<T> {
    /// Leaves a block's output (none if it has no row) at its place, and writes what can be written. Returns what the
    /// written blocks held.
    pub fn put(&self, sequence: u64, batch: Option<RecordBatch>, held: T, sink: &Sink) -> Result<Vec<T>, SinkError> {
        lock(&self.order).waiting.insert(sequence, (batch, held));
        let mut written = Vec::new();
        while let Some((batch, held)) = self.take_next() {
            let result = batch.map_or(Ok(()), |batch| self.write(&batch, sink));
            lock(&self.order).writing = false;
            result?;
            written.push(held);
        }
        Ok(written)
    }

    fn take_next(&self) -> Option<(Option<RecordBatch>, T)> {
        let mut order = lock(&self.order);
        if order.writing {
            return None;
        }
        let next = order.next;
        let entry = order.waiting.remove(&next)?;
        order.next += 1;
        order.writing = true;
        Some(entry)
    }

    fn write(&self, batch: &RecordBatch, sink: &Sink) -> Result<(), SinkError> {
        let mut files = lock(&self.files);
        if files.open.is_none() {
            files.open = Some(sink.file()?);
        }
        let open = files.open.as_mut().expect("just made");
        open.write(batch)?;
        if open.bytes() >= sink.file_bytes_max() {
            let full = files.open.take().expect("just written").close()?;
            files.closed.push(full);
        }
        Ok(())
    }

    /// The stream's files, all closed. No block may come after this.
    pub fn close(&self) -> Result<Vec<ClosedFile>, SinkError> {
        let mut files = lock(&self.files);
        let mut closed = std::mem::take(&mut files.closed);
        if let Some(open) = files.open.take() {
            closed.push(open.close()?);
        }
        Ok(closed)
    }
}

/// A panic elsewhere ends the run anyway; the data under the lock is not used after that.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
