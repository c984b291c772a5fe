//! What a reader thread does: take the next object or unit, find the rows of it that are to do, emit them as blocks.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use arrow::array::{Array, RecordBatch};
use crossbeam_channel::Sender;

use super::open::{Job, Pending};
use super::{Emitted, Flow, RunError, lock};
use crate::block::{Block, Origin, batch_bytes};
use crate::observe::{add, add_time};
use crate::source::{self, Opened, Rows, SourceError, Unit, UnitReader};

/// Objects and units that are waiting for a reader. Units of an opened object go first, so that readers share one huge
/// object, and few objects are open at a time.
pub(super) struct WorkList {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    objects: VecDeque<u32>,
    units: VecDeque<Unit>,
    /// Objects that are being opened: they may bring units.
    opening: usize,
    /// Units that are being read.
    reading: usize,
    has_ended: bool,
}

enum Work {
    Object(u32),
    Unit(Unit),
}

impl WorkList {
    pub(super) fn new(job: &Job) -> WorkList {
        let objects = (0..job.pending.len() as u32).collect();
        let state = State { objects, units: VecDeque::new(), opening: 0, reading: 0, has_ended: false };
        WorkList { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn next(&self) -> Option<Work> {
        let mut state = lock(&self.state);
        loop {
            if state.has_ended {
                return None;
            }
            if let Some(unit) = state.units.pop_front() {
                state.reading += 1;
                return Some(Work::Unit(unit));
            }
            if let Some(object) = state.objects.pop_front() {
                state.opening += 1;
                return Some(Work::Object(object));
            }
            if state.opening == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    fn opened(&self, units: Vec<Unit>) {
        let mut state = lock(&self.state);
        state.opening -= 1;
        state.units.extend(units);
        self.changed.notify_all();
    }

    fn read(&self) {
        lock(&self.state).reading -= 1;
    }

    /// Gives out nothing more.
    pub(super) fn end(&self) {
        lock(&self.state).has_ended = true;
        self.changed.notify_all();
    }

    /// Whether everything was given out and read to its end.
    pub(super) fn is_finished(&self) -> bool {
        let state = lock(&self.state);
        state.objects.is_empty() && state.units.is_empty() && state.opening == 0 && state.reading == 0
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
        match work {
            Work::Object(index) => {
                let units = open(flow, index)?;
                flow.work.opened(units);
            }
            Work::Unit(unit) => {
                if !(UnitWork { flow, reader, blocks, unit: &unit }).read()? {
                    return Ok(());
                }
                flow.work.read();
            }
        }
    }
    Ok(())
}

/// Opens an object. Its units are those with rows left to do.
fn open(flow: &Flow, index: u32) -> Result<Vec<Unit>, RunError> {
    let start = Instant::now();
    let pending = &flow.job.pending[index as usize];
    let opened = flow.runtime.block_on(source::open(&flow.plan.source.store, &pending.object, index))?;
    add(&flow.progress.objects_opened, 1);
    if !pending.is_counted {
        add(&flow.progress.counted_rows, opened.rows);
        add(&flow.progress.counted_bytes, opened.object.size);
    }
    opened.check(&flow.plan.source.columns)?;
    refuse_other_content(pending, &opened)?;
    if opened.rows == 0 {
        flow.groups.name_object(&opened);
    }
    let opened = Arc::new(opened);
    let has_rows_left = |unit: &Unit| !pending.missing(unit.rows.clone()).is_empty();
    let units = opened.units().into_iter().filter(has_rows_left).collect();
    add_time(&flow.progress.times.read, start);
    Ok(units)
}

/// Rows of this object are done; their ordinals mean nothing in another content.
fn refuse_other_content(pending: &Pending, opened: &Opened) -> Result<(), SourceError> {
    match &pending.covered {
        Some(covered) if covered.digest != opened.digest || covered.rows != opened.rows => {
            Err(SourceError::Changed { object: opened.object.path.to_string() })
        }
        _ => Ok(()),
    }
}

struct UnitWork<'a> {
    flow: &'a Flow,
    reader: usize,
    blocks: &'a Sender<Emitted>,
    unit: &'a Unit,
}

impl UnitWork<'_> {
    /// Whether the unit was read to its end.
    fn read(&self) -> Result<bool, RunError> {
        let pending = &self.flow.job.pending[self.unit.object.index as usize];
        let wanted = Rows::new(pending.missing(self.unit.rows.clone()));
        let wanted = if self.flow.job.done.is_some() { self.ask_ids(wanted)? } else { Some(wanted) };
        let Some(wanted) = wanted else { return Ok(false) };
        let schema = &self.flow.plan.source.columns.schema;
        let mut rows = UnitReader::new(self.unit, schema, wanted, self.flow.plan.run.block, &self.flow.runtime);
        loop {
            if self.flow.is_ending() {
                return Ok(false);
            }
            let start = Instant::now();
            let next = rows.next();
            add_time(&self.flow.progress.times.read, start);
            let Some((batch, rows)) = next? else { return Ok(true) };
            self.emit(batch, rows)?;
        }
    }

    /// Reads the ids of the wanted rows, before any other column, and keeps those rows that are not done by id. None if
    /// the run ends meanwhile.
    fn ask_ids(&self, wanted: Rows) -> Result<Option<Rows>, RunError> {
        let start = Instant::now();
        let (Some(done), Some(ids)) = (&self.flow.job.done, &self.flow.plan.ids) else { return Ok(Some(wanted)) };
        let mut left = Vec::new();
        let mut known = Vec::new();
        let schema = self.flow.plan.source.columns.schema.project(&ids.places).expect("places of columns");
        let places: Vec<usize> = (0..ids.places.len()).collect();
        let size = self.flow.plan.run.block;
        let mut reader = UnitReader::new(self.unit, &Arc::new(schema), wanted, size, &self.flow.runtime);
        while let Some((batch, rows)) = reader.next()? {
            if self.flow.is_ending() {
                return Ok(None);
            }
            refuse_null_ids(&batch, &places, &self.unit.object, &rows)?;
            let (yes, no) = rows.split(&done.are_done(&batch)?);
            known.extend_from_slice(yes.ranges());
            left.extend_from_slice(no.ranges());
        }
        let known = Rows::new(known);
        if !known.is_empty() {
            self.flow.groups.cover_known(&self.unit.object, &known);
        }
        add_time(&self.flow.progress.times.read, start);
        Ok(Some(Rows::new(left)))
    }

    fn emit(&self, batch: RecordBatch, rows: Rows) -> Result<(), RunError> {
        let flow = self.flow;
        let (count, bytes) = (rows.len(), batch_bytes(&batch) as u64);
        let origin = self.origin(&batch, rows)?;
        add(&flow.progress.bytes_read, bytes);
        add(&flow.progress.rows_read, count);
        let share = flow.budget.take(bytes);
        flow.groups.wait_for_room(|| flow.is_dead());
        let ticket = flow.groups.ticket(&self.unit.object, self.reader, count, share, bytes);
        let emitted = Emitted { block: Block::new(batch, origin), ticket };
        // Workers outlive readers unless they died, and then there is nothing to emit for.
        let _ = self.blocks.send(emitted);
        Ok(())
    }

    fn origin(&self, batch: &RecordBatch, rows: Rows) -> Result<Origin, RunError> {
        let object = &self.unit.object;
        let ids = match &self.flow.plan.ids {
            None => None,
            Some(ids) => {
                refuse_null_ids(batch, &ids.places, object, &rows)?;
                Some(with_schema(batch, ids))
            }
        };
        let (path, rows) = (Arc::clone(&object.object.path), rows.ranges().to_vec());
        Ok(Origin { object: path, rows, ids })
    }
}

fn with_schema(batch: &RecordBatch, ids: &crate::plan::Ids) -> RecordBatch {
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
                "row {} has a null in the id column `{}`",
                until.ranges()[0].start,
                batch.schema().field(place).name()
            ),
            hint: "give the row an id; or leave `id` out, so that rows are known by position, in a new job",
        });
    }
    Ok(())
}
