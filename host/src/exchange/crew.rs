//! Threads that share the reading of lists: each takes the next file, or the next row group of a Parquet file that another has
//! opened, and sorts what it reads into files of its own.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;
use tokio::runtime::Handle;

use super::lists::{Format, List};
use super::runs::{self, Names, Runs};
use super::{ExchangeError, Taken, Wanted, lines, table};
use crate::commit::SideFile;
use crate::source::Unit;
use crate::store::Store;

/// What all of them share.
pub(super) struct Crew<'a> {
    pub(super) lists: &'a [List],
    pub(super) wanted: &'a Wanted,
    pub(super) store: &'a Store,
    /// Bytes of ids that are in memory, over all threads.
    pub(super) bytes_max: usize,
    pub(super) runtime: &'a Handle,
    /// Sees each batch that was read.
    pub(super) taken: Taken<'a>,
}

struct Shared {
    work: Mutex<Work>,
    changed: Condvar,
    names: Names,
}

#[derive(Default)]
struct Work {
    /// Lists that were given out.
    lists: usize,
    /// Row groups of lists that are open.
    units: VecDeque<(usize, Unit)>,
    /// Lists that are being opened: they may bring row groups.
    opening: usize,
    /// Of the first list that cannot be read.
    error: Option<(usize, ExchangeError)>,
}

enum Task {
    List(usize),
    Unit(usize, Unit),
}

impl Crew<'_> {
    /// Reads all lists. If one of them cannot be read, no file is left.
    pub(super) fn read(&self, threads: usize) -> Result<Vec<SideFile>, ExchangeError> {
        let shared = Shared { work: Mutex::default(), changed: Condvar::new(), names: Names::default() };
        let files: Vec<Vec<SideFile>> = std::thread::scope(|scope| {
            let work = |_| scope.spawn(|| self.work(&shared, self.bytes_max / threads.max(1)));
            let threads: Vec<_> = (0..threads.max(1)).map(work).collect();
            threads.into_iter().map(|thread| thread.join().expect("a panic here ends the process")).collect()
        });
        let files = files.concat();
        match lock(&shared.work).error.take() {
            None => Ok(files),
            Some((_, error)) => {
                runs::remove(self.store, &files, self.runtime);
                Err(error)
            }
        }
    }

    fn work(&self, shared: &Shared, bytes_max: usize) -> Vec<SideFile> {
        let _leaving = Leaving(shared);
        let mut runs = Runs::new(self.store, &shared.names, bytes_max, self.runtime);
        let mut last = 0;
        while let Some(task) = self.next(shared) {
            let (Task::List(index) | Task::Unit(index, _)) = &task;
            last = *index;
            if let Err(error) = self.task(shared, task, &mut runs) {
                shared.fail(last, error);
            }
        }
        if let Err(error) = runs.write() {
            shared.fail(last, error);
        }
        runs.files
    }

    fn task(&self, shared: &Shared, task: Task, runs: &mut Runs<'_>) -> Result<(), ExchangeError> {
        let mut each = |ids: RecordBatch| {
            (self.taken)(&ids);
            runs.add(ids)
        };
        match task {
            Task::Unit(index, unit) => {
                table::read_unit(&self.lists[index], self.wanted, &unit, self.runtime, &mut each)
            }
            Task::List(index) => {
                let read = self.list(index, &mut each);
                shared.opened(index, read)
            }
        }
    }

    /// Row groups that are yet to read; of files that are read line by line there are none.
    fn list(&self, index: usize, each: super::Each<'_>) -> Result<Vec<Unit>, ExchangeError> {
        let list = &self.lists[index];
        match list.format {
            Format::Parquet => table::open(list, self.wanted, self.runtime),
            Format::Csv => lines::read_csv(list, self.wanted, self.runtime, each).map(|()| Vec::new()),
            Format::JsonLines => lines::read_json(list, self.wanted, self.runtime, each).map(|()| Vec::new()),
        }
    }

    /// Waits while others may bring work. None if there is none left, or something could not be read.
    fn next(&self, shared: &Shared) -> Option<Task> {
        let mut work = lock(&shared.work);
        loop {
            if work.error.is_some() {
                return None;
            }
            if let Some((index, unit)) = work.units.pop_front() {
                return Some(Task::Unit(index, unit));
            }
            if work.lists < self.lists.len() {
                work.lists += 1;
                work.opening += 1;
                return Some(Task::List(work.lists - 1));
            }
            if work.opening == 0 {
                return None;
            }
            work = shared.changed.wait(work).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Shared {
    fn opened(&self, index: usize, units: Result<Vec<Unit>, ExchangeError>) -> Result<(), ExchangeError> {
        let mut work = lock(&self.work);
        work.opening -= 1;
        self.changed.notify_all();
        work.units.extend(units?.into_iter().map(|unit| (index, unit)));
        Ok(())
    }

    fn fail(&self, index: usize, error: ExchangeError) {
        let mut work = lock(&self.work);
        if work.error.as_ref().is_none_or(|(first, _)| index < *first) {
            work.error = Some((index, error));
        }
        self.changed.notify_all();
    }
}

/// Nobody waits for work of a thread that panicked.
struct Leaving<'a>(&'a Shared);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            *lock(&self.0.work) = Work { lists: usize::MAX, ..Work::default() };
            self.0.changed.notify_all();
        }
    }
}

/// A panic elsewhere ends the process anyway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
