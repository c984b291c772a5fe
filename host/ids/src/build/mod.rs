//! [`Builder`]: columns of ids, in any order, become a file, in bounded memory. The external merge sort as a story.
//!
//! * `chunk` - what is in memory.
//! * `run` - a chunk, sorted, in a scratch file.
//! * `merge` - many runs of numbers become one.

mod chunk;
mod merge;
mod run;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};

use crate::classify::{Classifier, Groups, Templates};
use crate::column::{Column, ROWS_MAX, Strings};
use crate::error::BuildError;
use crate::format::{Footer, ID_BYTES_MAX, Section, checksum, header};
use crate::number::Number;
use crate::numbers::writer::NumberWriter;
use crate::output::Output;
use crate::scratch::{NewFile, Scratch};
use crate::strings::merge::merge as merge_strings;
use crate::strings::writer::StringWriter;
use crate::template::Template;
use chunk::{Chunk, NUMBERS, TEMPLATES, WIDE_NUMBERS, Width};
use merge::{Merge, Piece};
use run::Run;

/// Rows of a column that are taken in at once.
const ROWS_AT_ONCE: usize = 4096;
const STRINGS_AT_ONCE: usize = 64;
/// Templates that a set has at most; strings of others are kept as they are.
const TEMPLATES_MAX: usize = 4096;
/// A template with fewer ids is not worth a section of its own.
const TEMPLATE_IDS_MIN: u64 = 64;
/// What a file that is written or read should have as buffer; less only if the budget is very small.
const BUFFER_BYTES: usize = 64 << 10;
const BUFFER_BYTES_MIN: usize = 4 << 10;
/// Runs merged at once, at most: each is an open file.
const FAN_IN_MAX: usize = 512;
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

/// Runs on their way into the file.
struct Finish {
    memory_bytes_max: usize,
    threads: usize,
    buffer_bytes: usize,
    templates: Arc<Templates>,
    /// Some strings are kept as they are although they have one.
    strings_have_templates: bool,
    runs: Vec<Run>,
    scratch: Scratch,
    output: Output,
}

impl Finish {
    /// Number of ids, and of bytes.
    fn write(&mut self) -> Result<(u64, u64), BuildError> {
        self.reduce_runs()?;
        self.output.write(&header())?;
        let few = if self.strings_have_templates { self.take_few()? } else { Vec::new() };
        let mut sections = Vec::new();
        sections.extend(self.strings()?);
        sections.extend(self.numbers::<u64>(NUMBERS, Vec::new())?);
        sections.extend(self.numbers::<u128>(WIDE_NUMBERS, Vec::new())?);
        for template in 0..self.templates.len() {
            if few.contains(&template) {
                continue;
            }
            let key = self.templates.get(template).key().to_vec();
            sections.extend(if self.templates.get(template).is_short() {
                self.numbers::<u64>(TEMPLATES + template, key)?
            } else {
                self.numbers::<u128>(TEMPLATES + template, key)?
            });
        }
        self.write_directory(&sections)
    }

    fn write_directory(&mut self, sections: &[Section]) -> Result<(u64, u64), BuildError> {
        let ids = sections.iter().try_fold(0u64, |ids, section| ids.checked_add(section.ids));
        let ids = ids.ok_or(BuildError::TooManyIds)?;
        let mut directory = Vec::new();
        sections.iter().for_each(|section| section.write(&mut directory));
        let footer = Footer {
            ids,
            directory_at: self.output.at(),
            directory_checksum: checksum(&directory),
            sections: sections.len() as u64,
        };
        self.output.write(&directory)?;
        self.output.write(&footer.to_bytes())?;
        Ok((ids, self.output.at()))
    }

    /// Templates with few ids. These are strings again, in a run of their own.
    fn take_few(&mut self) -> Result<Vec<usize>, BuildError> {
        let mut few = Vec::new();
        let mut chunk = Chunk::default();
        let mut written = Vec::new();
        for template in 0..self.templates.len() {
            let ids: u64 = self.runs.iter().map(|run| run.ids(TEMPLATES + template)).sum();
            if ids < TEMPLATE_IDS_MIN {
                few.push(template);
                self.for_each_of(template, |id| chunk.push_string(id))?;
            }
            if chunk.bytes() > self.memory_bytes_max / 4 {
                written.push(self.write_run(std::mem::take(&mut chunk))?);
            }
        }
        if chunk.bytes() > 0 {
            written.push(self.write_run(chunk)?);
        }
        self.runs.extend(written);
        Ok(few)
    }

    fn write_run(&mut self, chunk: Chunk) -> Result<Run, BuildError> {
        Run::write(chunk, self.scratch.create_two(self.buffer_bytes)?, self.threads)
    }

    fn for_each_of(&self, template: usize, mut f: impl FnMut(&[u8])) -> Result<(), BuildError> {
        let class = TEMPLATES + template;
        let template = self.templates.get(template);
        for run in &self.runs {
            if template.is_short() {
                run.for_each::<u64>(class, |number| f(&template.write(number.into())))?;
            } else {
                run.for_each::<u128>(class, |number| f(&template.write(number)))?;
            }
        }
        Ok(())
    }

    fn strings(&mut self) -> Result<Vec<Section>, BuildError> {
        let runs: Vec<_> = self.runs.iter().filter_map(Run::strings).collect();
        if runs.is_empty() {
            return Ok(Vec::new());
        }
        let mut writer = StringWriter::new(&mut self.output, &mut self.scratch)?;
        merge_strings(&runs, self.buffer_bytes, |id| writer.push(id))?;
        writer.finish(self.strings_have_templates, &mut self.scratch, self.memory_bytes_max / 2)
    }

    fn numbers<N: Number>(&mut self, class: usize, template: Vec<u8>) -> Result<Option<Section>, BuildError> {
        let merge = Merge::<N>::open(&self.runs, class, self.piece(self.runs.len()))?;
        let Some(merge) = merge else { return Ok(None) };
        let mut writer = NumberWriter::new(&mut self.output, &mut self.scratch)?;
        merge.run(self.threads, |blocks| writer.push(&blocks))?;
        writer.finish(template)
    }

    /// How much of the numbers is merged at once.
    fn piece(&self, runs: usize) -> Piece {
        Piece {
            numbers: (self.memory_bytes_max / (128 * (self.threads + 1))).clamp(256, 256 << 10),
            runs,
            buffer_bytes: self.buffer_bytes,
        }
    }

    /// Merges the smallest runs until one merge can take all. The first merge takes just as many as makes the later ones
    /// full.
    fn reduce_runs(&mut self) -> Result<(), BuildError> {
        let fan_in = (self.memory_bytes_max / (4 * BUFFER_BYTES)).clamp(FAN_IN_MIN, FAN_IN_MAX);
        while self.runs.len() > fan_in {
            let taken = fan_in.min(self.runs.len() - fan_in + 1);
            self.runs.sort_by_key(|run| std::cmp::Reverse(run.bytes()));
            let runs = self.runs.split_off(self.runs.len() - taken);
            let files = self.scratch.create_two(self.buffer_bytes)?;
            let merged = run::merge(&runs, files, self.piece(taken), self.threads)?;
            self.runs.push(merged);
            runs.into_iter().for_each(Run::remove);
        }
        Ok(())
    }
}
