//! Bytes in flight. A block holds its share from the reader until its output is in a file. A block larger than the whole
//! budget passes alone.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// The budget.
#[derive(Clone)]
pub(super) struct Budget(Arc<Inner>);

struct Inner {
    max: u64,
    used: Mutex<u64>,
    freed: Condvar,
}

/// A block's share; given back when dropped.
pub(super) struct Share {
    budget: Budget,
    bytes: AtomicU64,
}

impl Budget {
    pub(super) fn new(max: u64) -> Budget {
        Budget(Arc::new(Inner { max, used: Mutex::new(0), freed: Condvar::new() }))
    }

    /// Waits until there is room.
    pub(super) fn take(&self, bytes: u64) -> Share {
        let mut used = self.0.used.lock().unwrap_or_else(PoisonError::into_inner);
        while *used > 0 && *used + bytes > self.0.max {
            used = self.0.freed.wait(used).unwrap_or_else(PoisonError::into_inner);
        }
        *used += bytes;
        Share { budget: self.clone(), bytes: bytes.into() }
    }
}

impl Share {
    /// What became of the block takes more than the block. Nobody waits: a block that is on its way makes room only by going
    /// on; readers wait instead.
    pub(super) fn grow(&self, bytes: u64) {
        let mut used = self.budget.0.used.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.bytes.fetch_max(bytes, Ordering::Relaxed);
        *used += bytes.saturating_sub(before);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        *self.budget.0.used.lock().unwrap_or_else(PoisonError::into_inner) -= *self.bytes.get_mut();
        self.budget.0.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_waits_for_room_and_a_giant_passes_alone() {
        let budget = Budget::new(10);
        let giant = budget.take(100);
        let other = budget.clone();
        let waiting = std::thread::spawn(move || drop(other.take(1)));
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(!waiting.is_finished());
        drop(giant);
        waiting.join().unwrap();
    }

    #[test]
    fn a_share_that_grows_keeps_others_out_until_it_is_gone() {
        let budget = Budget::new(10);
        let share = budget.take(1);
        share.grow(100);
        share.grow(50);
        assert_eq!(*budget.0.used.lock().unwrap(), 100);
        drop(share);
        assert_eq!(*budget.0.used.lock().unwrap(), 0);
    }
}
