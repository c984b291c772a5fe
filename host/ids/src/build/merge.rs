//! Numbers of one class from many runs become blocks. One thread reads: it takes from each run what is not above the smallest of their
//! last numbers read. What it took, an ascending part of each run, one behind the other, is sorted and cut into blocks by other threads; the caller's
//! writes them.

use std::convert::Infallible;
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Scope, ScopedJoinHandle};

use super::chunk::Numbers;
use super::run::{BlockReader, Run};
use crate::error::BuildError;
use crate::number::Number;
use crate::numbers::block::Blocks;

/// How much is merged at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    /// Of all runs together.
    pub(super) numbers: usize,
    pub(super) runs: usize,
    /// Of each run's file.
    pub(super) buffer_bytes: usize,
}

pub(super) struct Merge<N> {
    heads: Vec<Head<N>>,
}

/// The next numbers of a run.
struct Head<N> {
    reader: BlockReader<N>,
    numbers: Numbers<N>,
    /// How many of `numbers` are read ahead.
    ahead: usize,
    has_ended: bool,
}

/// A piece to sort, and whom to give its blocks.
type Job<N> = (Numbers<N>, Sender<Vec<Blocks<N>>>);

impl<N: Number> Merge<N> {
    /// `None` if no run has such numbers.
    pub(super) fn open(runs: &[Run], class: usize, piece: Piece) -> Result<Option<Merge<N>>, BuildError> {
        let mut heads = Vec::new();
        for run in runs {
            if let Some(reader) = BlockReader::open(run, class, piece.buffer_bytes)? {
                let ahead = (piece.numbers / piece.runs.max(1)).max(1);
                heads.push(Head { reader, numbers: Numbers::default(), ahead, has_ended: false });
            }
        }
        Ok((!heads.is_empty()).then_some(Merge { heads }))
    }

    /// Gives blocks, ascending.
    pub(super) fn run(
        self,
        threads: usize,
        mut f: impl FnMut(Blocks<N>) -> Result<(), BuildError>,
    ) -> Result<(), BuildError> {
        let (jobs, taken) = channel();
        let taken = Mutex::new(taken);
        let (pieces, sorted) = sync_channel::<Receiver<Vec<Blocks<N>>>>(threads);
        thread::scope(|scope| {
            // If a thread is missing, `jobs` is dropped, which ends the others.
            for _ in 0..threads {
                spawn(scope, || sort_all(&taken))?;
            }
            let reading = spawn(scope, || self.read_all(jobs, pieces))?;
            for piece in sorted {
                let blocks = piece.recv().expect("a sorting thread does not end before its work");
                blocks.into_iter().try_for_each(&mut f)?;
            }
            reading.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    /// Gives each piece to the threads that sort, and what it becomes to the one that waits, in order.
    fn read_all(
        mut self,
        jobs: Sender<Job<N>>,
        pieces: SyncSender<Receiver<Vec<Blocks<N>>>>,
    ) -> Result<(), BuildError> {
        while let Some(piece) = self.next()? {
            let (done, blocks) = channel();
            // Nobody takes them after an error.
            if jobs.send((piece, done)).is_err() || pieces.send(blocks).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// The smallest numbers of all runs, unsorted; none if there are none left.
    fn next(&mut self) -> Result<Option<Numbers<N>>, BuildError> {
        for head in &mut self.heads {
            head.read()?;
        }
        let until = self.heads.iter().filter(|head| !head.has_ended).filter_map(Head::last).min();
        let mut piece = Numbers::default();
        for head in &mut self.heads {
            head.take(until.unwrap_or(N::MAX), &mut piece);
        }
        Ok((piece.count() > 0).then_some(piece))
    }
}

fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, BuildError> {
    thread::Builder::new().spawn_scoped(scope, work).map_err(BuildError::Threads)
}

fn sort_all<N: Number>(jobs: &Mutex<Receiver<Job<N>>>) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((mut numbers, done)) = job else { return };
        numbers.sort_parts();
        let mut all = Vec::new();
        let Ok(()) = numbers.cut(|blocks| {
            all.push(blocks);
            Ok::<(), Infallible>(())
        });
        // Nobody waits for it after an error.
        let _ = done.send(all);
    }
}

impl<N: Number> Head<N> {
    fn read(&mut self) -> Result<(), BuildError> {
        while !self.has_ended && self.numbers.single.len() + self.numbers.stretches.len() < self.ahead {
            self.has_ended = !self.reader.read(&mut self.numbers)?;
        }
        Ok(())
    }

    /// The last number that was read.
    fn last(&self) -> Option<N> {
        let stretch = self.numbers.stretches.last().map(|(_, last)| *last);
        self.numbers.single.last().copied().max(stretch)
    }

    /// Moves what is not above `until`.
    fn take(&mut self, until: N, piece: &mut Numbers<N>) {
        let count = self.numbers.single.partition_point(|number| *number <= until);
        piece.single.extend(self.numbers.single.drain(..count));
        let count = self.numbers.stretches.partition_point(|(_, last)| *last <= until);
        piece.stretches.extend(self.numbers.stretches.drain(..count));
        if let Some((first, _)) = self.numbers.stretches.first_mut().filter(|(first, _)| *first <= until) {
            piece.stretches.push((*first, until));
            *first = until.next().unwrap_or(N::MAX);
        }
    }
}
