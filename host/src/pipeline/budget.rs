//! Bytes in flight. A block has some reserved from the reader until its output is in a file, and more when something came of
//! it. A block larger than the whole budget passes alone; one that becomes so goes on beyond it, one at a time, if the files
//! wait for no other block before it. All others wait until there is room: nothing that a block waits for waits for it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::lock;

/// How often a block that waits looks whether it may go on.
const PATIENCE: Duration = Duration::from_millis(50);

/// The budget.
#[derive(Clone)]
pub(super) struct Budget(Arc<Inner>);

struct Inner {
    max: u64,
    used: Mutex<Used>,
    freed: Condvar,
}

#[derive(Default)]
struct Used {
    bytes: u64,
    /// A block goes on beyond the budget.
    is_exceeded: bool,
}

/// What is reserved for a block; given back when dropped.
pub(super) struct Reservation {
    budget: Budget,
    bytes: u64,
    /// It is the one that goes on beyond the budget.
    exceeds: bool,
}

/// Whether a block that finds no room goes on all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Others come before it.
    Waits,
    /// The files wait for it.
    IsNext,
    /// It comes to nothing, and will be gone soon.
    IsOver,
}

impl Budget {
    pub(super) fn new(max: u64) -> Budget {
        Budget(Arc::new(Inner { max, used: Mutex::default(), freed: Condvar::new() }))
    }

    /// Waits until there is room.
    pub(super) fn take(&self, bytes: u64) -> Reservation {
        let mut used = lock(&self.0.used);
        while used.bytes > 0 && self.is_short(&used, bytes) {
            used = self.0.freed.wait(used).unwrap_or_else(PoisonError::into_inner);
        }
        used.bytes += bytes;
        Reservation { budget: self.clone(), bytes, exceeds: false }
    }

    fn is_short(&self, used: &Used, more: u64) -> bool {
        used.bytes.saturating_add(more) > self.0.max
    }

    fn wait<'a>(&self, used: MutexGuard<'a, Used>) -> MutexGuard<'a, Used> {
        self.0.freed.wait_timeout(used, PATIENCE).unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Reservation {
    /// So far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What became of the block takes so much, if that is more than before. Waits for room as long as it is not its `turn`.
    pub(super) fn grow(&mut self, bytes: u64, turn: impl Fn() -> Turn) {
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 {
            return;
        }
        let budget = self.budget.clone();
        let mut used = lock(&budget.0.used);
        while !self.exceeds && budget.is_short(&used, more) {
            match turn() {
                Turn::IsOver => break,
                Turn::IsNext if !used.is_exceeded => (used.is_exceeded, self.exceeds) = (true, true),
                Turn::IsNext | Turn::Waits => used = budget.wait(used),
            }
        }
        used.bytes += more;
        self.bytes = bytes;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut used = lock(&self.budget.0.used);
        used.bytes -= self.bytes;
        used.is_exceeded &= !self.exceeds;
        self.budget.0.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(budget: &Budget) -> u64 {
        lock(&budget.0.used).bytes
    }

    /// Grows in another thread, which waits for `freed` to be dropped.
    fn waits_for<T>(budget: &Budget, freed: T, mut grows: Reservation, turn: Turn) -> Reservation {
        let before = used(budget);
        let waiting = std::thread::spawn(move || {
            grows.grow(50, || turn);
            grows
        });
        std::thread::sleep(Duration::from_millis(20));
        assert!(!waiting.is_finished());
        assert_eq!(used(budget), before);
        drop(freed);
        waiting.join().unwrap()
    }

    #[test]
    fn a_block_waits_for_room_and_a_giant_passes_alone() {
        let budget = Budget::new(10);
        let giant = budget.take(100);
        let other = budget.clone();
        let waiting = std::thread::spawn(move || drop(other.take(1)));
        std::thread::sleep(Duration::from_millis(20));
        assert!(!waiting.is_finished());
        drop(giant);
        waiting.join().unwrap();
    }

    #[test]
    fn what_grows_keeps_others_out_until_it_is_gone() {
        let budget = Budget::new(200);
        let mut reservation = budget.take(1);
        reservation.grow(100, || Turn::Waits);
        reservation.grow(50, || Turn::Waits);
        assert_eq!(used(&budget), 100);
        drop(reservation);
        assert_eq!(used(&budget), 0);
    }

    #[test]
    fn one_at_a_time_goes_on_beyond_the_budget() {
        let budget = Budget::new(10);
        let [mut first, second, third] = [1, 2, 3].map(|bytes| budget.take(bytes));
        first.grow(20, || Turn::IsNext);
        first.grow(40, || Turn::Waits);
        assert_eq!(used(&budget), 45);
        let second = waits_for(&budget, first, second, Turn::IsNext);
        assert_eq!(used(&budget), 53);
        let mut third = waits_for(&budget, second, third, Turn::IsNext);
        third.grow(60, || Turn::Waits);
        assert_eq!(used(&budget), 60);
    }

    #[test]
    fn whose_turn_it_is_not_waits_unless_it_is_over() {
        let budget = Budget::new(55);
        let (first, second) = (budget.take(20), budget.take(20));
        let mut second = waits_for(&budget, first, second, Turn::Waits);
        second.grow(1000, || Turn::IsOver);
        assert_eq!(used(&budget), 1000);
    }
}
