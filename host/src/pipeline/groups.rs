//! Which rows are in which group. A group is fixed as readers emit rows: every block gets a ticket for the group that is
//! open then, and for its place in the reader's order. A group that is closed, and whose every block is in a file, is
//! complete and goes to the commit. A group lies in one lane; each lane has at most one that is open. Few groups may be on
//! their way at once: a reader that would open one more for a block waits.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use super::budget::{Reservation, Turn};
use super::open::RETURNED_GROUP;
use super::{LaneFlow, RunError, lock};
use crate::commit::{Coverage, Group, GroupIds, GroupLimits, ObjectCoverage, RowState};
use crate::plan::Run;
use crate::sink::{ClosedFile, SinkError, Stream};
use crate::source::{Opened, Rows};

/// Ranges of rows that a group covers: each takes some 300 bytes until it is committed, and where rows and blank lines take
/// turns, every one of them is a range.
const RANGES_MAX: u64 = 1 << 16;

/// How often a reader that waits for room looks whether the run is over.
const PATIENCE: Duration = Duration::from_millis(100);

/// All groups of a run.
pub(super) struct Groups {
    limits: GroupLimits,
    readers: usize,
    /// Between their first row and their segment, where one lane is worked on.
    groups_max: usize,
    state: Mutex<State>,
    committed: Condvar,
}

struct State {
    /// By lane.
    open: BTreeMap<u32, Arc<InFlight>>,
    next: u64,
    /// Groups that are neither complete nor given up.
    unfinished: usize,
    /// Groups that are neither committed nor given up.
    uncommitted: usize,
    /// Gone when no group can come any more, which ends the commit loop.
    sender: Option<UnboundedSender<Ended>>,
    has_ended: bool,
}

/// What became of a group on its way.
pub(super) enum Ended {
    /// All of it is in its files.
    Complete(Arc<InFlight>),
    /// A file of it could not be written. Perhaps another run has the lane now, and has removed the file.
    Broken {
        /// The group's lane.
        lane: u32,
        /// What the sink said.
        error: SinkError,
    },
}

/// A group while its blocks are on their way.
pub(super) struct InFlight {
    pub(super) lane: Arc<LaneFlow>,
    pub(super) value: Mutex<Group>,
    /// By reader.
    pub(super) streams: Vec<Stream<Reservation>>,
    since: Instant,
    tally: Mutex<Tally>,
}

#[derive(Default)]
struct Tally {
    rows: u64,
    ranges: u64,
    bytes: u64,
    /// Blocks, by reader.
    emitted: Vec<u64>,
    arrived: u64,
    is_closed: bool,
    /// A row failed under `on_error = "fail"`: the group will not be committed.
    is_given_up: bool,
    is_settled: bool,
}

/// A group whose files get no more rows.
pub(super) struct Closed {
    pub(super) group: Group,
    /// Its ids, encoded.
    pub(super) ids: Option<GroupIds>,
    /// Of all outputs.
    pub(super) files: Vec<ClosedFile>,
}

/// A piece of an object that was opened.
#[derive(Clone)]
pub(super) struct Piece {
    pub(super) object: Arc<Opened>,
    pub(super) lane: Arc<LaneFlow>,
    pub(super) number: u32,
    /// Its rows, if the object is cut.
    pub(super) own: Option<Vec<(u64, u64)>>,
}

impl Piece {
    fn content(&self) -> ObjectCoverage {
        ObjectCoverage {
            digest: self.object.digest.clone(),
            size: self.object.object.size,
            rows: self.object.rows,
            piece: self.number,
            own: self.own.clone(),
            root: 0,
            named_by: Vec::new(),
            coverage: Coverage::default(),
        }
    }
}

/// A block's place: its group and piece, its reader's stream, its number there, and what is reserved for it.
pub(super) struct Ticket {
    pub(super) group: Arc<InFlight>,
    pub(super) piece: u32,
    pub(super) stream: usize,
    pub(super) sequence: u64,
    pub(super) reservation: Reservation,
}

impl Ticket {
    /// What became of the block takes so much.
    pub(super) fn holds(&mut self, bytes: u64, is_dead: impl Fn() -> bool) {
        let Ticket { group, stream, sequence, reservation, .. } = self;
        reservation.grow(bytes, || match group.is_given_up() || group.is_settled() || is_dead() {
            true => Turn::IsOver,
            false if group.streams[*stream].is_next(*sequence) => Turn::IsNext,
            false => Turn::Waits,
        });
    }

    /// Whether no other block comes before it in its file.
    pub(super) fn is_next(&self) -> bool {
        self.group.streams[self.stream].is_next(self.sequence)
    }
}

impl Groups {
    pub(super) fn new(limits: GroupLimits, run: Run, sender: UnboundedSender<Ended>) -> Groups {
        let Run { readers, groups_max, .. } = run;
        let state = State {
            open: BTreeMap::new(),
            next: RETURNED_GROUP + 1,
            unfinished: 0,
            uncommitted: 0,
            sender: Some(sender),
            has_ended: false,
        };
        Groups { limits, readers, groups_max, state: Mutex::new(state), committed: Condvar::new() }
    }

    /// Waits until the lane's next group may be opened, if none is open; gives up when the run is over.
    pub(super) fn wait_for_room(&self, lane: &LaneFlow, is_over: impl Fn() -> bool) {
        let mut state = lock(&self.state);
        let is_full = |state: &State| state.uncommitted >= most(self.groups_max, state.open.len());
        while !state.open.contains_key(&lane.number) && is_full(&state) && !is_over() {
            state = self.committed.wait_timeout(state, PATIENCE).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// A group became a segment.
    pub(super) fn committed(&self) {
        lock(&self.state).uncommitted -= 1;
        self.committed.notify_all();
    }

    /// A place for a block of these rows of the piece, in its lane's group that is open now.
    pub(super) fn ticket(&self, piece: &Piece, reader: usize, rows: &[Range<u64>], reservation: Reservation) -> Ticket {
        let mut state = lock(&self.state);
        let group = self.open(&mut state, piece);
        let sequence = lock(&group.tally).emit(reader);
        let count = rows.iter().map(|range| range.end - range.start).sum();
        self.grow(&mut state, &group, (count, rows.len()), reservation.bytes());
        Ticket { group, piece: piece.number, stream: reader, sequence, reservation }
    }

    /// Rows whose id was done elsewhere, and positions without a row, are covered without a block.
    pub(super) fn cover(&self, piece: &Piece, rows: &Rows, as_what: RowState) {
        let mut state = lock(&self.state);
        let group = self.open(&mut state, piece);
        let mut value = lock(&group.value);
        value.cover(&piece.object.object.path, piece.number, rows.ranges().iter().cloned(), as_what);
        let count = if as_what == RowState::Known { rows.len() } else { 0 };
        value.counts.rows_known += count;
        drop(value);
        self.grow(&mut state, &group, (count, rows.ranges().len()), 0);
    }

    /// A piece without rows is finished by being named.
    pub(super) fn name_piece(&self, piece: &Piece) {
        let mut state = lock(&self.state);
        let group = self.open(&mut state, piece);
        self.grow(&mut state, &group, (1, 1), 0);
    }

    /// The lane's open group, which names the piece from here on.
    fn open(&self, state: &mut State, piece: &Piece) -> Arc<InFlight> {
        let open = match state.open.get(&piece.lane.number) {
            Some(open) => Arc::clone(open),
            None => state.begin(&piece.lane, self.readers),
        };
        lock(&open.value).name_object(&piece.object.object.path, piece.number, || piece.content());
        open
    }

    fn grow(&self, state: &mut State, open: &InFlight, (rows, ranges): (u64, usize), bytes: u64) {
        let mut tally = lock(&open.tally);
        tally.rows += rows;
        tally.ranges += ranges as u64;
        tally.bytes += bytes;
        let GroupLimits { rows_max, bytes_max, .. } = self.limits;
        let is_full = tally.rows >= rows_max || tally.ranges >= RANGES_MAX || tally.bytes >= bytes_max;
        drop(tally);
        if is_full {
            state.close(open.lane.number);
        }
    }

    /// Closes open groups whose time is over.
    pub(super) fn close_if_old(&self) {
        let mut state = lock(&self.state);
        let is_old = |open: &InFlight| open.since.elapsed() >= self.limits.time_max;
        let old: Vec<u32> = state.open.iter().filter(|(_, open)| is_old(open)).map(|(lane, _)| *lane).collect();
        old.into_iter().for_each(|lane| state.close(lane));
    }

    /// No row of the lane will be emitted any more.
    pub(super) fn end_lane(&self, lane: u32) {
        lock(&self.state).close(lane);
    }

    /// No row will be emitted any more.
    pub(super) fn end(&self) {
        let mut state = lock(&self.state);
        state.has_ended = true;
        let open: Vec<u32> = state.open.keys().copied().collect();
        open.into_iter().for_each(|lane| state.close(lane));
        state.end_if_done();
    }

    /// A number that no group of this run has.
    pub(super) fn next_number(&self) -> u64 {
        lock(&self.state).next
    }

    /// Blocks of the group have arrived in files, or were given up.
    pub(super) fn arrived(&self, group: &Arc<InFlight>, blocks: u64) {
        lock(&group.tally).arrived += blocks;
        lock(&self.state).settle(group);
    }

    /// A file of the group could not be written: none of it counts, whatever else of it is on its way.
    pub(super) fn break_group(&self, group: &Arc<InFlight>, error: SinkError) {
        lock(&self.state).break_group(group, error);
        self.committed.notify_all();
    }
}

impl State {
    fn begin(&mut self, lane: &Arc<LaneFlow>, readers: usize) -> Arc<InFlight> {
        let group = Arc::new(InFlight::new(lane, self.next, readers));
        self.next += 1;
        self.unfinished += 1;
        self.uncommitted += 1;
        self.open.insert(lane.number, Arc::clone(&group));
        group
    }

    fn close(&mut self, lane: u32) {
        let Some(open) = self.open.remove(&lane) else { return };
        lock(&open.tally).is_closed = true;
        self.settle(&open);
    }

    fn break_group(&mut self, group: &Arc<InFlight>, error: SinkError) {
        let lane = group.lane.number;
        let mut tally = lock(&group.tally);
        tally.is_given_up = true;
        if std::mem::replace(&mut tally.is_settled, true) {
            return;
        }
        drop(tally);
        if self.open.get(&lane).is_some_and(|open| Arc::ptr_eq(open, group)) {
            self.open.remove(&lane);
        }
        self.unfinished -= 1;
        self.uncommitted -= 1;
        if let Some(sender) = &self.sender {
            let _ = sender.send(Ended::Broken { lane, error });
        }
        self.end_if_done();
    }

    /// Once per group, when all of it is in: sends it to the commit, unless it was given up.
    fn settle(&mut self, group: &Arc<InFlight>) {
        let mut tally = lock(&group.tally);
        if tally.is_settled || !tally.is_closed || tally.arrived < tally.emitted.iter().sum() {
            return;
        }
        tally.is_settled = true;
        self.unfinished -= 1;
        match &self.sender {
            Some(sender) if !tally.is_given_up && !group.lane.is_lost() => {
                // The commit loop is gone if it failed; then nothing can be committed any more.
                let _ = sender.send(Ended::Complete(Arc::clone(group)));
            }
            _ => self.uncommitted -= 1,
        }
        drop(tally);
        self.end_if_done();
    }

    fn end_if_done(&mut self) {
        if self.has_ended && self.unfinished == 0 {
            self.sender = None;
        }
    }
}

impl Tally {
    /// Counts a block of a reader, and gives the block's place among those of that reader.
    fn emit(&mut self, reader: usize) -> u64 {
        let place = self.emitted[reader];
        self.emitted[reader] += 1;
        place
    }
}

impl InFlight {
    fn new(lane: &Arc<LaneFlow>, number: u64, readers: usize) -> InFlight {
        InFlight {
            lane: Arc::clone(lane),
            value: Mutex::new(Group::new(number)),
            streams: (0..readers).map(|_| Stream::default()).collect(),
            since: Instant::now(),
            tally: Mutex::new(Tally { emitted: vec![0; readers], ..Tally::default() }),
        }
    }

    /// The group will not be committed: one of its rows failed and must not be left out.
    pub(super) fn give_up(&self) {
        lock(&self.tally).is_given_up = true;
    }

    /// Whether it went to the commit, or broke: nothing more of it is written.
    pub(super) fn is_settled(&self) -> bool {
        lock(&self.tally).is_settled
    }

    /// Or its lane is lost to another run.
    pub(super) fn is_given_up(&self) -> bool {
        lock(&self.tally).is_given_up || self.lane.is_lost()
    }

    /// Encodes what is left of the group's files, and its ids, and takes the group out. Only for a group that was sent to the
    /// commit.
    pub(super) fn close(&self) -> Result<Closed, RunError> {
        let mut files = Vec::new();
        for stream in &self.streams {
            files.extend(stream.close()?);
        }
        let mut group = std::mem::take(&mut *lock(&self.value));
        let ids = GroupIds::encode(self.lane.sink.token(), group.number, &std::mem::take(&mut group.ids))?;
        Ok(Closed { group, ids, files })
    }
}

/// How many groups may be uncommitted before one more lane gets its own, if so many have one that is open: in each of them one
/// is filled while one is committed. Readers divide among the lanes, so they have no more files for it.
fn most(groups_max: usize, open: usize) -> usize {
    groups_max.max(2 * (open + 1))
}

#[cfg(test)]
mod tests {
    use super::most;

    #[test]
    fn groups_are_as_few_as_memory_says_unless_lanes_would_wait_for_each_other() {
        assert_eq!([0, 1, 3].map(|open| most(2, open)), [2, 4, 8]);
        assert_eq!([0, 1, 3, 4].map(|open| most(8, open)), [8, 8, 8, 10]);
    }
}
