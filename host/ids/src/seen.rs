//! [`Seen`]: which blocks' checksums were right once.

use std::sync::atomic::{AtomicU64, Ordering};

/// One bit per block. Relaxed is enough, since a bit guards nothing but repeated work.
#[derive(Debug)]
pub(crate) struct Seen(Box<[AtomicU64]>);

impl Seen {
    pub(crate) fn new(blocks: u64) -> Seen {
        Seen((0..blocks.div_ceil(64)).map(|_| AtomicU64::new(0)).collect())
    }

    #[inline]
    pub(crate) fn has(&self, block: u64) -> bool {
        self.0[(block / 64) as usize].load(Ordering::Relaxed) & (1 << (block % 64)) != 0
    }

    pub(crate) fn add(&self, block: u64) {
        self.0[(block / 64) as usize].fetch_or(1 << (block % 64), Ordering::Relaxed);
    }
}
