//! The clock that stops guests, and the memories that it does so with.
//!
//! A guest has an [`Alarm`]. It is set before each call and rings when the time is over: then the guest's stop pages are
//! filled, and the next check in its code ([`checks`](super::checks)) traps. It rings on the clock's thread while the
//! guest runs on another; both only read or write single bytes of the page. A page stays mapped as long as either of them
//! has it.
//!
//! The engine asks the host for every linear memory, since there is no other way to know where the stop pages lie. A
//! memory is address space reserved as the engine asks for it, of which the first bytes are accessible:
//!
//! ```text
//! base                size                       reserved            reserved + guard
//!  | readable, writable | no access ................. | no access ............ |
//! ```
//!
//! Compiled code relies on it: it checks no bounds, and any address that it can make lies within.

use std::cell::RefCell;
use std::io;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use wasmtime::{LinearMemory, MemoryCreator, MemoryType};

use super::checks::{STOP_BYTES, STOP_BYTES_MAX};

/// The alarms of all guests of an engine.
#[derive(Debug, Default)]
pub(super) struct Clock {
    now: AtomicU64,
    alarms: Mutex<Vec<Weak<Alarm>>>,
}

impl Clock {
    /// An alarm that is not set.
    pub(super) fn alarm(self: &Arc<Self>) -> Arc<Alarm> {
        let alarm = Arc::new(Alarm { clock: Arc::clone(self), state: Mutex::default() });
        let mut alarms = lock(&self.alarms);
        alarms.retain(|alarm| alarm.strong_count() > 0);
        alarms.push(Arc::downgrade(&alarm));
        alarm
    }

    /// Lets a tick pass.
    pub(super) fn tick(&self) {
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        for alarm in lock(&self.alarms).iter().filter_map(Weak::upgrade) {
            alarm.look(now);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Stops one guest.
#[derive(Debug)]
pub(super) struct Alarm {
    clock: Arc<Clock>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    pages: Vec<Arc<Mapping>>,
    due: Option<u64>,
    has_rung: bool,
}

thread_local! {
    /// Whose stop pages are being made on this thread.
    static STARTING: RefCell<Option<Arc<Alarm>>> = const { RefCell::new(None) };
}

impl Alarm {
    /// Runs what makes the guest's memories.
    pub(super) fn starting<T>(self: &Arc<Self>, start: impl FnOnce() -> T) -> T {
        STARTING.set(Some(Arc::clone(self)));
        let started = start();
        STARTING.set(None);
        started
    }

    /// Rings after so many ticks.
    pub(super) fn set(&self, ticks: u64) {
        let mut state = lock(&self.state);
        state.due = Some(self.clock.now.load(Ordering::Relaxed).saturating_add(ticks));
        if std::mem::take(&mut state.has_rung) {
            state.pages.iter().for_each(|page| page.fill(0));
        }
    }

    /// Whether the time is over.
    pub(super) fn has_rung(&self) -> bool {
        lock(&self.state).has_rung
    }

    /// Does not ring any more. Tells whether it has.
    pub(super) fn stop(&self) -> bool {
        let mut state = lock(&self.state);
        state.due = None;
        state.has_rung
    }

    fn look(&self, now: u64) {
        let mut state = lock(&self.state);
        if state.due.is_some_and(|due| now >= due) && !state.has_rung {
            state.has_rung = true;
            state.pages.iter().for_each(|page| page.fill(1));
        }
    }
}

/// How the message starts when the system gives no address space for a memory.
pub(super) const NO_ADDRESS_SPACE: &str = "no address space for a memory";

/// Mappings of this process that are memories.
static LIVE: AtomicUsize = AtomicUsize::new(0);
/// To the system a memory is two: what is accessible, and what is not.
const PARTS: usize = 2;

/// Of the mappings that the system lets a process have, so many may be memories. Threads, files and the allocator need
/// others, and fail less gracefully.
static MEMORIES_MAX: LazyLock<usize> = LazyLock::new(|| memories_max(mappings_max()));

const fn memories_max(mappings: usize) -> usize {
    mappings / 4 * 3 / PARTS
}

/// As Linux has it: `vm.max_map_count`.
fn mappings_max() -> usize {
    let text = std::fs::read_to_string("/proc/sys/vm/max_map_count");
    text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(usize::MAX)
}

/// Makes the linear memories of all guests.
pub(super) struct Memories;

// SAFETY: a memory is a mapping of its own, zero filled, as large as was asked for, with no access from its size on.
unsafe impl MemoryCreator for Memories {
    fn new_memory(
        &self,
        _: MemoryType,
        minimum: usize,
        maximum: Option<usize>,
        reserved: Option<usize>,
        guard: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        let capacity = reserved.or(maximum).unwrap_or(minimum).max(minimum);
        refuse_more(LIVE.load(Ordering::Relaxed), *MEMORIES_MAX)?;
        let mapping = Mapping::new(capacity, guard).map_err(|e| format!("{NO_ADDRESS_SPACE}: {e}"))?;
        let mut memory = Memory { mapping: Arc::new(mapping), size: 0, capacity };
        memory.grow_to(minimum).map_err(|e| e.to_string())?;
        if maximum == Some(STOP_BYTES_MAX) {
            memory.become_stop_page()?;
        }
        Ok(Box::new(memory))
    }
}

fn refuse_more(live: usize, max: usize) -> Result<(), String> {
    match live < max {
        true => Ok(()),
        false => Err(format!("{NO_ADDRESS_SPACE}: this process has {live}, and vm.max_map_count has room for {max}")),
    }
}

struct Memory {
    mapping: Arc<Mapping>,
    size: usize,
    capacity: usize,
}

impl Memory {
    fn become_stop_page(&self) -> Result<(), String> {
        let alarm = STARTING.with_borrow(Clone::clone).ok_or("a stop page of nobody")?;
        let mut state = lock(&alarm.state);
        // A guest may still be making its parts when the time is over.
        if state.has_rung {
            self.mapping.fill(1);
        }
        state.pages.push(Arc::clone(&self.mapping));
        Ok(())
    }
}

// SAFETY: the pointer is that of a mapping which does not move and is as large as `byte_capacity`.
unsafe impl LinearMemory for Memory {
    fn byte_size(&self) -> usize {
        self.size
    }

    fn byte_capacity(&self) -> usize {
        self.capacity
    }

    fn grow_to(&mut self, size: usize) -> wasmtime::Result<()> {
        if size > self.capacity {
            return Err(wasmtime::Error::msg("a memory cannot grow beyond what was reserved for it"));
        }
        self.mapping.allow(size)?;
        self.size = size;
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        self.mapping.base.as_ptr()
    }
}

/// Address space of our own.
#[derive(Debug)]
struct Mapping {
    base: NonNull<u8>,
    size: usize,
}

// SAFETY: what the addresses hold is not touched through a `Mapping`, save by `fill`, which does it atomically.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(capacity: usize, guard: usize) -> io::Result<Mapping> {
        let page = rustix::param::page_size();
        let size = capacity.checked_next_multiple_of(page).and_then(|capacity| capacity.checked_add(guard));
        let size = size.ok_or(io::ErrorKind::OutOfMemory)?.max(page);
        // SAFETY: a new mapping, at an address that the kernel chooses, aliases nothing.
        let base = unsafe {
            mmap_anonymous(ptr::null_mut(), size, ProtFlags::empty(), MapFlags::PRIVATE | MapFlags::NORESERVE)
        }?;
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        LIVE.fetch_add(1, Ordering::Relaxed);
        Ok(Mapping { base, size })
    }

    /// Makes the first bytes accessible.
    fn allow(&self, size: usize) -> io::Result<()> {
        if size == 0 {
            return Ok(());
        }
        assert!(size <= self.size, "within the mapping");
        // SAFETY: the range lies within this mapping, and more access breaks nothing that relied on less.
        let done = unsafe { mprotect(self.base.as_ptr().cast(), size, MprotectFlags::READ | MprotectFlags::WRITE) };
        Ok(done?)
    }

    /// Fills a stop page, while compiled code may read it.
    fn fill(&self, byte: u8) {
        for offset in 0..STOP_BYTES {
            // SAFETY: a stop page is accessible from its start on, for as long as the mapping lives.
            let place = unsafe { AtomicU8::from_ptr(self.base.as_ptr().add(offset)) };
            place.store(byte, Ordering::Relaxed);
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it is ours, and who had its address is gone: the memory of a guest, and the guest's alarm.
        let unmapped = unsafe { munmap(self.base.as_ptr().cast(), self.size) };
        debug_assert!(unmapped.is_ok(), "a mapping of our own can be unmapped");
        LIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_leave_mappings_for_others() {
        assert_eq!(memories_max(65_530), 24_573);
        assert_eq!(refuse_more(24_572, 24_573), Ok(()));
        let refused = refuse_more(24_573, 24_573).unwrap_err();
        assert_eq!(
            refused,
            "no address space for a memory: this process has 24573, and vm.max_map_count has room for 24573"
        );
    }

    #[test]
    fn a_memory_that_is_gone_leaves_room() {
        let before = LIVE.load(Ordering::Relaxed);
        let mappings: Vec<Mapping> = (0..100).map(|_| Mapping::new(1 << 16, 0).unwrap()).collect();
        assert!(LIVE.load(Ordering::Relaxed) >= 100);
        drop(mappings);
        assert!(LIVE.load(Ordering::Relaxed) < before + 100, "other tests have some, too");
    }
}
