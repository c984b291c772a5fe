//! What a reader thread does: take the next object or unit, find the rows of it that are to do, emit them as blocks.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use arrow::array::{Array, BooleanArray, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use crossbeam_channel::Sender;
use tracing::{Level, enabled};

use super::groups::Piece;
use super::open::{Job, Pending};
use super::{Emitted, Flow, RunError, lock};
use crate::block::{Block, FailureKind, Kept, Numbering, Origin, Reason, batch_bytes};
use crate::commit::{RowState, piece_bytes, pieces};
use crate::filter::DoneIds;
use crate::observe::{add, add_time};
use crate::plan::{Ids, OnError};
use crate::sink::OutputKind;
use crate::source::{self, BadLine, Opened, Read, Rows, SourceError, Unit, UnitReader};
use crate::udf::{Shown, no_more_lines};

/// Bad lines of one read that the log names one by one; the rest is counted.
const LOGGED_LINES_MAX: usize = 5;

/// Objects and units that are waiting for a reader. Units of an opened object go first, so that readers share one huge
/// object, and few objects are open at a time.
pub(super) struct WorkList {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// Pieces of objects by their place in `Job::pending`; those of one lane stand together.
    pieces: VecDeque<u32>,
    units: VecDeque<Task>,
    /// Objects that are being opened: they may bring units.
    opening: usize,
    /// Units that are being read.
    reading: usize,
    /// Pieces and units of a lane that are not read to their end.
    left: BTreeMap<u32, usize>,
    has_ended: bool,
}

/// A unit of a piece.
pub(super) struct Task {
    index: u32,
    piece: Piece,
    unit: Unit,
}

enum Work {
    Piece(u32),
    Unit(Task),
}

impl WorkList {
    pub(super) fn new(job: &Job) -> WorkList {
        let pieces = (0..job.pending.len() as u32).collect();
        let mut left = BTreeMap::new();
        job.pending.iter().for_each(|pending| *left.entry(pending.lane).or_default() += 1);
        let state = State { pieces, units: VecDeque::new(), opening: 0, reading: 0, left, has_ended: false };
        WorkList { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn next(&self) -> Option<Work> {
        let mut state = lock(&self.state);
        loop {
            if state.has_ended {
                return None;
            }
            if let Some(task) = state.units.pop_front() {
                state.reading += 1;
                return Some(Work::Unit(task));
            }
            if let Some(piece) = state.pieces.pop_front() {
                state.opening += 1;
                return Some(Work::Piece(piece));
            }
            if state.opening == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    /// A piece is open. Answers whether nothing of its lane is left.
    fn opened(&self, lane: u32, tasks: Vec<Task>) -> bool {
        let mut state = lock(&self.state);
        state.opening -= 1;
        *state.left.entry(lane).or_default() += tasks.len();
        state.units.extend(tasks);
        self.changed.notify_all();
        state.done(lane)
    }

    /// A unit was read to its end. Answers whether nothing of its lane is left.
    fn read(&self, lane: u32) -> bool {
        let mut state = lock(&self.state);
        state.reading -= 1;
        state.done(lane)
    }

    /// Gives out nothing more.
    pub(super) fn end(&self) {
        lock(&self.state).has_ended = true;
        self.changed.notify_all();
    }

    /// Whether everything was given out and read to its end.
    pub(super) fn is_finished(&self) -> bool {
        let state = lock(&self.state);
        state.pieces.is_empty() && state.units.is_empty() && state.opening == 0 && state.reading == 0
    }
}

impl State {
    fn done(&mut self, lane: u32) -> bool {
        let left = self.left.entry(lane).or_insert(1);
        *left -= 1;
        *left == 0
    }
}

/// Reads until there is nothing left or the run ends. The last reader ends the groups.
pub(super) fn reader(flow: &Flow, reader: usize, blocks: &Sender<Emitted>) {
    let read = read_all(flow, reader, blocks);
    if let Err(error) = read {
        flow.fail(error);
    }
    if flow.readers_left.fetch_sub(1, std::sync::atomic::Ordering::SeqCst) == 1 {
        flow.groups.end();
    }
}

fn read_all(flow: &Flow, reader: usize, blocks: &Sender<Emitted>) -> Result<(), RunError> {
    while let Some(work) = flow.work.next() {
        let (lane, is_last) = match work {
            Work::Piece(index) => {
                let lane = flow.job.pending[index as usize].lane;
                let tasks = if flow.lane(lane).is_lost() { Vec::new() } else { open(flow, index)? };
                (lane, flow.work.opened(lane, tasks))
            }
            Work::Unit(task) => {
                let lane = task.piece.lane.number;
                let unit = UnitWork { flow, reader, blocks, task: &task, lines: Cell::new(0) };
                if !task.piece.lane.is_lost() && !unit.read()? {
                    return Ok(());
                }
                unit.count();
                (lane, flow.work.read(lane))
            }
        };
        if is_last {
            flow.groups.end_lane(lane);
        }
    }
    Ok(())
}

/// Opens the object of a piece. Its units are those of the piece with rows left to do.
fn open(flow: &Flow, index: u32) -> Result<Vec<Task>, RunError> {
    let start = Instant::now();
    let pending = &flow.job.pending[index as usize];
    let store = &flow.plan.source.store;
    let opened =
        store.wait(&flow.runtime, source::open_to_read(store, &*flow.plan.source.format, &pending.object, index))?;
    add(&flow.progress.objects_opened, 1);
    opened.check(&flow.plan.source.columns)?;
    refuse_other_content(pending, &opened)?;
    let opened = Arc::new(opened);
    let mut units = opened.units();
    let is_cut = pieces(pending.object.size, flow.job.split_bytes) > 1;
    if is_cut {
        units.retain(|unit| unit.first_byte / flow.job.split_bytes == u64::from(pending.piece));
    }
    let own = is_cut.then(|| own_rows(&opened, &units));
    let lane = Arc::clone(flow.lane(pending.lane));
    let piece = Piece { object: Arc::clone(&opened), lane, number: pending.piece, own };
    let rows: u64 = units.iter().map(|unit| unit.rows.end - unit.rows.start).sum();
    // Of lines nobody knows how many there are before they are read.
    if !pending.is_counted && (opened.numbering() == Numbering::Rows || rows == 0) {
        add(&flow.progress.counted_rows, rows);
        let bytes = piece_bytes(opened.object.size, pending.piece, flow.job.split_bytes);
        add(&flow.progress.counted_bytes, bytes);
    }
    if rows == 0 {
        flow.groups.name_piece(&piece);
    }
    units.retain(|unit| {
        let is_left = !pending.missing(unit.rows.clone()).is_empty();
        if !is_left {
            count_lines(flow, &opened, pending, unit, 0);
        }
        is_left
    });
    add_time(&flow.progress.times.read, start);
    Ok(units.into_iter().map(|unit| Task { index, piece: piece.clone(), unit }).collect())
}

/// Of lines it is known how many there are when a unit is through: so many now, and those that were done before.
fn count_lines(flow: &Flow, opened: &Opened, pending: &Pending, unit: &Unit, now: u64) {
    if opened.numbering() == Numbering::Rows {
        return;
    }
    let before = pending.covered.as_ref().map_or(0, |covered| covered.coverage.rows_within(&unit.rows));
    // Positions of a plain file are bytes; a compressed one is one unit.
    let bytes = opened.object.size.min(unit.rows.end - unit.rows.start);
    add(&flow.progress.counted_rows, before + now);
    add(&flow.progress.counted_bytes, bytes);
}

/// The rows of these units. Spans of a text lie next to each other, and are many.
pub(super) fn own_rows(opened: &Opened, units: &[Unit]) -> Vec<(u64, u64)> {
    let rows = units.iter().map(|unit| (unit.rows.start, unit.rows.end)).filter(|(start, end)| start < end);
    if opened.numbering() == Numbering::Rows {
        return rows.collect();
    }
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (start, end) in rows {
        match joined.last_mut() {
            Some(last) if last.1 == start => last.1 = end,
            _ => joined.push((start, end)),
        }
    }
    joined
}

/// Rows of this object are done; their ordinals mean nothing in another content.
fn refuse_other_content(pending: &Pending, opened: &Opened) -> Result<(), SourceError> {
    match &pending.covered {
        Some(covered) if covered.digest != opened.digest || covered.rows != opened.rows => Err(SourceError::Bad {
            object: opened.object.path.to_string(),
            message:
                "it has another content than when rows of it were done, although its size and version are the same"
                    .into(),
            hint: "touch it, or upload it again, so that the change is seen; then run the same command again",
        }),
        _ => Ok(()),
    }
}

struct UnitWork<'a> {
    flow: &'a Flow,
    reader: usize,
    blocks: &'a Sender<Emitted>,
    task: &'a Task,
    /// Lines that were read so far, good ones and bad ones.
    lines: Cell<u64>,
}

impl UnitWork<'_> {
    /// The unit is through.
    fn count(&self) {
        let Task { index, unit, .. } = self.task;
        count_lines(self.flow, &unit.object, &self.flow.job.pending[*index as usize], unit, self.lines.get());
    }

    /// Whether the unit was read to its end.
    fn read(&self) -> Result<bool, RunError> {
        let unit = &self.task.unit;
        let pending = &self.flow.job.pending[self.task.index as usize];
        let wanted = Rows::new(pending.missing(unit.rows.clone()));
        let schema = &self.flow.plan.source.columns.schema;
        match (&self.flow.job.done, &self.flow.plan.ids) {
            // Lines are decoded whole, so they are not read twice.
            (Some(done), Some(ids)) if ids.places.len() == schema.fields().len() || self.has_lines() => {
                self.read_each(schema, wanted, |batch, rows| self.emit_unknown(batch, rows, done, ids))
            }
            (Some(done), Some(ids)) => match self.ask_ids(wanted, done, ids)? {
                Some(wanted) => self.read_each(schema, wanted, |batch, rows| self.emit(batch, rows)),
                None => Ok(false),
            },
            _ => self.read_each(schema, wanted, |batch, rows| self.emit(batch, rows)),
        }
    }

    /// Gives `each` the wanted rows. Answers whether it came to their end.
    fn read_each(
        &self,
        schema: &SchemaRef,
        wanted: Rows,
        each: impl Fn(RecordBatch, Rows) -> Result<(), RunError>,
    ) -> Result<bool, RunError> {
        let mut rows = UnitReader::new(&self.task.unit, schema, wanted, self.flow.plan.run.block, &self.flow.runtime);
        loop {
            if self.flow.is_ending() {
                return Ok(false);
            }
            if self.task.piece.lane.is_lost() {
                return Ok(true);
            }
            let start = Instant::now();
            let next = rows.next();
            add_time(&self.flow.progress.times.read, start);
            let Some(read) = next? else { return Ok(true) };
            self.read_part(read, &each)?;
        }
    }

    fn has_lines(&self) -> bool {
        self.task.unit.object.numbering() != Numbering::Rows
    }

    /// Rows, and what is not.
    fn read_part(&self, read: Read, each: impl Fn(RecordBatch, Rows) -> Result<(), RunError>) -> Result<(), RunError> {
        let Read { batch, rows, blank, bad } = read;
        self.lines.set(self.lines.get() + rows.len() + bad.len() as u64);
        if let Some(first) = bad.first().filter(|_| self.flow.plan.source.on_bad_line == OnError::Fail) {
            return Err(self.no_row(first).into());
        }
        if !rows.is_empty() {
            each(batch, rows)?;
        }
        if !bad.is_empty() && !self.is_over() {
            self.emit_bad(bad);
        }
        // What is not emitted any more is read again by another run; this counts all the same.
        if !blank.is_empty() {
            self.flow.groups.cover(&self.task.piece, &blank, RowState::Blank);
        }
        Ok(())
    }

    fn no_row(&self, bad: &BadLine) -> SourceError {
        let object = &self.task.unit.object;
        let message = format!("{}: {}", object.numbering().row(bad.row), bad.message);
        SourceError::Bad { object: object.object.path.to_string(), message, hint: bad.hint }
    }

    /// Lines that are no rows go the way of rows that failed.
    fn emit_bad(&self, bad: Vec<BadLine>) {
        let (flow, object) = (self.flow, &self.task.unit.object);
        self.warn_of(&bad);
        let kept = flow.plan.sink.output(OutputKind::DeadLetters).map(|_| Kept {
            batch: nulls(&flow.plan.source.columns.schema, bad.len()),
            lines: bad.iter().map(|bad| bad.line.clone()).collect(),
            attempts_before: self.attempts_before(),
        });
        let origin = Origin {
            object: Arc::clone(&object.object.path),
            numbering: object.numbering(),
            rows: bad.iter().map(|bad| bad.row..bad.row + 1).collect(),
            ids: None,
            kept,
        };
        let bytes = bad.iter().map(|bad| bad.line.len() as u64).sum();
        let reasons = bad.into_iter().map(|bad| Reason::new(FailureKind::Line, bad.message)).collect();
        self.send(Block::unread(origin, reasons), bytes);
    }

    /// As far as a run shows lines about rows that fail.
    fn warn_of(&self, bad: &[BadLine]) {
        let flow = self.flow;
        if !enabled!(Level::WARN) {
            return;
        }
        let what = if flow.plan.source.on_bad_line == OnError::DeadLetter { "dead-lettered" } else { "left out" };
        let path = &self.task.unit.object.object.path;
        let named = bad.iter().take(LOGGED_LINES_MAX).map(|bad| {
            let row = self.task.unit.object.numbering().row(bad.row);
            format!("{path} {row} {what}: {}", bad.message)
        });
        let more = bad.len().saturating_sub(LOGGED_LINES_MAX);
        let more = (more > 0).then(|| format!("{more} more lines of {path} {what}"));
        for line in named.chain(more) {
            match flow.unread_lines.admit(line.len()) {
                Shown::Yes => tracing::warn!("{line}"),
                Shown::NoMore => tracing::warn!("{}", no_more_lines()),
                Shown::No => {}
            }
        }
    }

    fn attempts_before(&self) -> Arc<HashMap<u64, u32>> {
        Arc::clone(&self.flow.job.pending[self.task.index as usize].attempts_before)
    }

    /// Reads the ids of the wanted rows, before any other column, and keeps those rows that are not done by id. None if
    /// the run ends meanwhile.
    fn ask_ids(&self, wanted: Rows, done: &DoneIds, ids: &Ids) -> Result<Option<Rows>, RunError> {
        let left = RefCell::new(Vec::new());
        let known = RefCell::new(Vec::new());
        let schema = self.flow.plan.source.columns.schema.project(&ids.places).expect("places of columns");
        let is_whole = self.read_each(&Arc::new(schema), wanted, |batch, rows| {
            let (yes, no) = rows.split(&self.ask(&batch, &rows, done)?);
            known.borrow_mut().extend_from_slice(yes.ranges());
            left.borrow_mut().extend_from_slice(no.ranges());
            Ok(())
        })?;
        if !is_whole {
            return Ok(None);
        }
        self.cover_known(&Rows::new(known.into_inner()));
        Ok(Some(Rows::new(left.into_inner())))
    }

    /// Rows of which all that is read is the id: they are decoded once, asked, and emitted if they are not done.
    fn emit_unknown(&self, batch: RecordBatch, rows: Rows, done: &DoneIds, ids: &Ids) -> Result<(), RunError> {
        let are_done = self.ask(&batch.project(&ids.places).expect("places of columns"), &rows, done)?;
        match are_done.count_set_bits() {
            0 => self.emit(batch, rows),
            count if count == are_done.len() => {
                self.cover_known(&rows);
                Ok(())
            }
            _ => {
                let (known, left) = rows.split(&are_done);
                self.cover_known(&known);
                let keep = BooleanArray::new(!&are_done, None);
                self.emit(filter_record_batch(&batch, &keep).expect("one answer per row"), left)
            }
        }
    }

    /// For each row of a batch of ids whether it is done.
    fn ask(&self, ids: &RecordBatch, rows: &Rows, done: &DoneIds) -> Result<BooleanBuffer, RunError> {
        let start = Instant::now();
        let places: Vec<usize> = (0..ids.num_columns()).collect();
        refuse_null_ids(ids, &places, &self.task.unit.object, rows)?;
        let are_done = done.are_done(ids)?;
        add_time(&self.flow.progress.times.read, start);
        Ok(are_done)
    }

    fn cover_known(&self, rows: &Rows) {
        if !rows.is_empty() {
            self.flow.groups.cover(&self.task.piece, rows, RowState::Known);
        }
    }

    /// Rows that take long go out in several blocks. Those that are left when the run ends are read again by another.
    fn emit(&self, batch: RecordBatch, mut rows: Rows) -> Result<(), RunError> {
        let mut at = 0;
        while at < batch.num_rows() && !self.is_over() {
            let count = self.flow.pace.rows_max().min(batch.num_rows() - at);
            self.emit_block(batch.slice(at, count), rows.take_front(count as u64))?;
            at += count;
        }
        Ok(())
    }

    /// Once true, it stays so.
    fn is_over(&self) -> bool {
        self.flow.is_ending() || self.task.piece.lane.is_lost()
    }

    fn emit_block(&self, batch: RecordBatch, rows: Rows) -> Result<(), RunError> {
        let flow = self.flow;
        let bytes = batch_bytes(&batch) as u64;
        let origin = self.origin(&batch, rows)?;
        let batch = batch.project(&flow.plan.source.to_stages).expect("places of columns");
        add(&flow.progress.bytes_read, bytes);
        self.send(Block::new(batch, origin), bytes);
        Ok(())
    }

    fn send(&self, block: Block, bytes: u64) {
        let (flow, rows) = (self.flow, block.origin.len() as u64);
        add(&flow.progress.rows_read, rows);
        flow.groups.wait_for_room(&self.task.piece.lane, || flow.is_dead());
        let ticket = flow.groups.ticket(&self.task.piece, self.reader, &block.origin.rows, flow.budget.take(bytes));
        // Workers outlive readers unless they died, and then there is nothing to emit for.
        let _ = self.blocks.send(Emitted { block, ticket });
    }

    fn origin(&self, batch: &RecordBatch, rows: Rows) -> Result<Origin, RunError> {
        let object = &self.task.unit.object;
        let ids = match &self.flow.plan.ids {
            None => None,
            Some(ids) => {
                refuse_null_ids(batch, &ids.places, object, &rows)?;
                Some(with_schema(batch, ids))
            }
        };
        let dead_letters = self.flow.plan.sink.output(OutputKind::DeadLetters);
        let kept = dead_letters.map(|_| Kept::of_rows(batch.clone(), self.attempts_before()));
        let (path, rows) = (Arc::clone(&object.object.path), rows.ranges().to_vec());
        Ok(Origin { object: path, numbering: object.numbering(), rows, ids, kept })
    }
}

/// Rows of which nothing is known.
fn nulls(schema: &SchemaRef, rows: usize) -> RecordBatch {
    let columns = schema.fields().iter().map(|field| new_null_array(field.data_type(), rows)).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).expect("columns of lines take nulls")
}

fn with_schema(batch: &RecordBatch, ids: &Ids) -> RecordBatch {
    let columns = ids.places.iter().map(|&place| Arc::clone(batch.column(place))).collect();
    RecordBatch::try_new(Arc::clone(&ids.schema), columns).expect("types agreed, nulls refused")
}

fn refuse_null_ids(batch: &RecordBatch, places: &[usize], object: &Opened, rows: &Rows) -> Result<(), SourceError> {
    for &place in places {
        let column = batch.column(place);
        if column.null_count() == 0 {
            continue;
        }
        let first = (0..column.len()).find(|&row| column.is_null(row)).expect("a null was counted");
        let mut until = rows.clone();
        until.take_front(first as u64);
        return Err(SourceError::Bad {
            object: object.object.path.to_string(),
            message: format!(
                "{} has a null in the id column `{}`",
                object.numbering().row(until.ranges()[0].start),
                batch.schema().field(place).name()
            ),
            hint: "give the row an id; or leave `id` out, so that rows are known by position, in a new job",
        });
    }
    Ok(())
}
