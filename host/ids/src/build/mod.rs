//! [`Builder`]: columns of ids, in any order, become a file, in bounded memory. The external merge sort as a story.
//!
//! * `chunk` - what is in memory.
//! * `run` - a chunk, sorted, in a scratch file.
//! * `merge` - many runs of numbers become one.
//! * `finish` - all runs become the file.

mod chunk;
mod finish;
mod merge;
mod run;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};

use crate::classify::{Classifier, Groups, Templates};
use crate::column::{Column, ROWS_MAX, Strings};
use crate::error::BuildError;
use crate::format::ID_BYTES_MAX;
use crate::output::Output;
use crate::scratch::{NewFile, Scratch};
use crate::template::Template;
use chunk::{Chunk, NUMBERS, TEMPLATES, WIDE_NUMBERS, Width};
use finish::Finish;
use run::Run;

/// Rows of a column that are taken in at once.
const ROWS_AT_ONCE: usize = 4096;
const STRINGS_AT_ONCE: usize = 64;
/// Templates that a set has at most; strings of others are kept as they are.
const TEMPLATES_MAX: usize = 4096;
/// What a file that is written or read should have as buffer; less only if the budget is very small.
const BUFFER_BYTES: usize = 64 << 10;
const BUFFER_BYTES_MIN: usize = 4 << 10;
/// Runs merged at once, at least.
const FAN_IN_MIN: usize = 8;

/// Collects ids and writes them as a file. Threads may share it: each sorts what it brought when memory is full.
///
/// Memory stays within the budget plus about 1 MiB per thread and, while strings are merged, one string per run; a budget smaller than
/// one id works. What does not fit in it is written to a folder of the builder's own in the scratch folder: numbers as small as
/// in the file, strings with 4 bytes each (for a moment up to twice that, when there are so many runs that they are merged in steps),
/// then 8 bytes for each string that is kept as it is, and the file's indexes. The folder is deleted when the builder is finished or
/// dropped; a killed process leaves it behind, named `ids-<process>-<number>`, and `.ids-<process>-<number>.tmp` beside the output.
///
/// After an error from [`add`](Builder::add) ids are missing, and [`finish`](Builder::finish) fails too.
pub struct Builder {
    memory_bytes_max: usize,
    threads: usize,
    templates: RwLock<Arc<Templates>>,
    strings_have_templates: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    chunk: Chunk,
    /// Chunks that are being sorted.
    sorting: usize,
    runs: Vec<Run>,
    added: u64,
    failed: bool,
    scratch: Scratch,
}

/// A chunk is being sorted, until this is dropped: others wait for it.
struct Sorting<'a>(&'a Builder);

impl Drop for Sorting<'_> {
    fn drop(&mut self) {
        self.0.state().sorting -= 1;
        self.0.changed.notify_all();
    }
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
    /// `scratch` is an existing folder on a local disk. `threads` work at the end; and as many chunks are sorted at once, when so many
    /// threads add ids.
    pub fn new(scratch: &Path, memory_bytes_max: usize, threads: usize) -> Builder {
        let scratch = Scratch::new(scratch);
        let chunk = Chunk::default();
        let state = State { chunk, sorting: 0, runs: Vec::new(), added: 0, failed: false, scratch };
        Builder {
            memory_bytes_max,
            threads: threads.max(1),
            templates: RwLock::default(),
            strings_have_templates: AtomicBool::new(false),
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    /// Adds the ids of a column. Any order, repeats allowed, the empty string too; none longer than [`ID_BYTES_MAX`].
    pub fn add(&self, column: Column<'_>) -> Result<(), BuildError> {
        assert!(column.len() <= ROWS_MAX, "{} ids in a column", column.len());
        let added = match column {
            Column::Numbers(numbers) => self.add_numbers(NUMBERS, numbers),
            Column::WideNumbers(numbers) => self.add_numbers(WIDE_NUMBERS, numbers),
            Column::Strings(strings) => self.add_strings(&strings),
            Column::Binary(strings) => self.add_binary(&strings),
        };
        if added.is_err() {
            self.state().failed = true;
        }
        added
    }

    fn add_numbers<N: Width>(&self, class: usize, numbers: &[N]) -> Result<(), BuildError> {
        for numbers in numbers.chunks(ROWS_AT_ONCE) {
            let mut state = self.state();
            state.chunk.push(class, numbers);
            state.added += numbers.len() as u64;
            self.spill_if_full(state)?;
        }
        Ok(())
    }

    fn add_strings(&self, strings: &Strings<'_>) -> Result<(), BuildError> {
        let mut templates = Arc::clone(&self.templates.read().unwrap_or_else(PoisonError::into_inner));
        let (mut classifier, mut groups) = (Classifier::new(), Groups::default());
        for from in (0..strings.len()).step_by(ROWS_AT_ONCE) {
            let rows = from..strings.len().min(from + ROWS_AT_ONCE);
            groups.clear();
            classifier
                .classify(strings, rows.clone(), &mut templates, &mut groups, |known, key| self.admit(known, key));
            let mut state = self.state();
            state.added += rows.len() as u64;
            for (template, group) in groups.groups.iter().enumerate().filter(|(_, group)| !group.rows.is_empty()) {
                state.chunk.push(TEMPLATES + template, &group.short);
                state.chunk.push(TEMPLATES + template, &group.wide);
            }
            self.spill_if_full(state)?;
            for rows in groups.others.chunks(STRINGS_AT_ONCE) {
                self.add_as_they_are(strings, rows.iter().map(|row| *row as usize))?;
            }
        }
        Ok(())
    }

    fn add_binary(&self, strings: &Strings<'_>) -> Result<(), BuildError> {
        for from in (0..strings.len()).step_by(STRINGS_AT_ONCE) {
            let rows = from..strings.len().min(from + STRINGS_AT_ONCE);
            self.state().added += rows.len() as u64;
            self.add_as_they_are(strings, rows)?;
        }
        Ok(())
    }

    fn add_as_they_are(&self, strings: &Strings<'_>, rows: impl Iterator<Item = usize>) -> Result<(), BuildError> {
        let mut state = self.state();
        for row in rows {
            let id = strings.get(row);
            if id.len() > ID_BYTES_MAX {
                return Err(BuildError::IdTooLong { bytes: id.len(), max: ID_BYTES_MAX });
            }
            if state.chunk.bytes() > 0 && state.chunk.bytes() + id.len() > self.chunk_bytes_max() {
                self.spill(state)?;
                state = self.state();
            }
            state.chunk.push_string(id);
        }
        Ok(())
    }

    /// A template that was not known when `known` was taken becomes one of the set's, if there is room for it.
    fn admit(&self, known: &mut Arc<Templates>, key: &[u8]) -> Option<usize> {
        if known.len() >= self.templates_max() {
            self.strings_have_templates.store(true, Ordering::Relaxed);
            return None;
        }
        let mut templates = self.templates.write().unwrap_or_else(PoisonError::into_inner);
        // Or all templates would be copied for each new one.
        *known = Arc::default();
        let is_full = templates.len() >= self.templates_max();
        let found = templates.find(key).or_else(|| {
            let template = if is_full { None } else { Template::new(key) };
            template.map(|template| Arc::make_mut(&mut templates).add(template))
        });
        *known = Arc::clone(&templates);
        if found.is_none() {
            self.strings_have_templates.store(true, Ordering::Relaxed);
        }
        found
    }

    /// A template takes about a kilobyte, and a tenth of that in each chunk.
    fn templates_max(&self) -> usize {
        (self.memory_bytes_max / (16 << 10)).min(self.chunk_bytes_max() / (2 << 10)).clamp(16, TEMPLATES_MAX)
    }

    /// One chunk is filled while others are sorted; as much is left for what merges need.
    fn chunk_bytes_max(&self) -> usize {
        self.memory_bytes_max / (self.threads + 2)
    }

    fn spill_if_full(&self, state: MutexGuard<'_, State>) -> Result<(), BuildError> {
        if state.chunk.bytes() < self.chunk_bytes_max() { Ok(()) } else { self.spill(state) }
    }

    /// The ids in memory become a run.
    fn spill(&self, mut state: MutexGuard<'_, State>) -> Result<(), BuildError> {
        while state.sorting >= self.threads {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.chunk.bytes() == 0 {
            return Ok(());
        }
        let chunk = std::mem::take(&mut state.chunk);
        let files = state.scratch.create_two(self.buffer_bytes());
        state.sorting += 1;
        drop(state);
        let _sorting = Sorting(self);
        let run = files.and_then(|files| Run::write(chunk, files, 1))?;
        self.state().runs.push(run);
        Ok(())
    }

    /// Nobody adds ids any more, so all threads sort the last ones.
    fn spill_rest(&self) -> Result<(), BuildError> {
        let mut state = self.state();
        if state.chunk.bytes() > 0 {
            let chunk = std::mem::take(&mut state.chunk);
            let files = state.scratch.create_two(self.buffer_bytes())?;
            state.runs.push(Run::write(chunk, files, self.threads)?);
        }
        Ok(())
    }

    /// Writes the file, replacing what is at `out`. It appears whole, or not at all.
    ///
    /// It is not synced: after a power cut it can have holes, which checksums find.
    pub fn finish(self, out: &Path) -> Result<Summary, BuildError> {
        let (new, file) = NewFile::create(out, BUFFER_BYTES)?;
        if self.state().failed {
            return Err(BuildError::Incomplete);
        }
        self.spill_rest()?;
        let buffer_bytes = self.buffer_bytes();
        let Builder { memory_bytes_max, threads, templates, strings_have_templates, state, .. } = self;
        let State { runs, added, scratch, .. } = state.into_inner().unwrap_or_else(PoisonError::into_inner);
        let templates = templates.into_inner().unwrap_or_else(PoisonError::into_inner);
        let strings_have_templates = strings_have_templates.into_inner();
        let output = Output::new(file);
        let mut finish = Finish {
            memory_bytes_max,
            threads,
            buffer_bytes,
            templates,
            strings_have_templates,
            runs,
            scratch,
            output,
        };
        let (ids, bytes) = finish.write()?;
        new.publish(finish.output.into_file())?;
        Ok(Summary { ids, repeats: added - ids, bytes })
    }

    fn buffer_bytes(&self) -> usize {
        (self.memory_bytes_max / (FAN_IN_MIN + 1)).clamp(BUFFER_BYTES_MIN, BUFFER_BYTES)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
