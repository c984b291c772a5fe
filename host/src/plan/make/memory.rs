//! How the memory of a run is divided: `[run] memory_bytes_max` is what it takes, functions and all. Functions come first,
//! with what their stages allow; of the rest a half is for blocks on their way, a quarter for what readers fetch and decode,
//! and a quarter for what is encoded and uploaded: each of these is there twice for a while. What a process takes before its
//! first row is beside it.

use super::settings::{limits_of, value_or};
use crate::config::{self, Config};

const BLOCKS: u64 = 1 << 30;
const WINDOW: u64 = 64 << 20;
const ROW_GROUP: u64 = 64 << 20;
const IDS: u64 = 256 << 20;
const GROUPS: u64 = 8;
/// The least that a reader fetches at once, and that a file encodes.
const BUFFER_MIN: u64 = 4 << 20;
/// Blocks on their way for each reader and worker.
const BLOCKS_EACH: u64 = 4;

/// Who uses a run's memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Users {
    pub(super) workers: u64,
    pub(super) readers: u64,
    /// Bytes of a worker's functions, and of the largest answer of one.
    pub(super) worker: u64,
    /// Bytes of a block.
    pub(super) block: u64,
}

/// What each of them may have, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Memory {
    /// Blocks on their way, together.
    pub(super) blocks: u64,
    /// Fetched at once, by each reader.
    pub(super) window: u64,
    /// Encoded of an open row group.
    pub(super) row_group: u64,
    /// Ids that are sorted together, before the first block.
    pub(super) ids: u64,
    /// Groups that are not committed; a number.
    pub(super) groups: u64,
}

impl Users {
    pub(super) fn of(config: &Config, workers: usize, readers: usize, block: usize) -> Users {
        let limits = config.stages.iter().map(limits_of);
        let (mut stages, mut answer) = (0u64, 0);
        for limits in limits {
            stages = stages.saturating_add(limits.memory_bytes_max);
            answer = limits.memory_bytes_max.min(limits.answer_bytes_max).max(answer);
        }
        let worker = stages.saturating_add(answer);
        Users { workers: workers as u64, readers: readers as u64, worker, block: block as u64 }
    }

    /// All that functions may have.
    pub(super) fn functions(self) -> u64 {
        self.workers.saturating_mul(self.worker)
    }

    /// The least that a run can do with.
    pub(super) fn least(self) -> u64 {
        let blocks = BLOCKS_EACH * (self.readers + self.workers) * self.block;
        let buffers = 4 * self.readers * BUFFER_MIN;
        self.functions().saturating_add(2 * blocks.max(buffers))
    }
}

impl Memory {
    /// Of so many bytes, which are enough.
    pub(super) fn divided(bytes: u64, users: Users) -> Memory {
        let rest = bytes.saturating_sub(users.functions());
        let each = rest / 4 / users.readers.max(1);
        Memory {
            blocks: rest / 2,
            window: (each / 2).min(WINDOW),
            row_group: (each / 2).min(ROW_GROUP),
            ids: (rest / 2).min(IDS),
            groups: (each / BUFFER_MIN).clamp(2, GROUPS),
        }
    }

    /// Where the pipeline file says nothing.
    pub(super) fn ample() -> Memory {
        Memory { blocks: BLOCKS, window: WINDOW, row_group: ROW_GROUP, ids: IDS, groups: GROUPS }
    }

    /// What the pipeline file says; the least that would do, if that is more.
    pub(super) fn of(run: &config::Run, users: Users) -> Result<Memory, u64> {
        match &run.memory_bytes_max {
            None => Ok(Memory::ample()),
            Some(written) if written.value < users.least() => Err(users.least()),
            Some(written) => Ok(Memory::divided(written.value, users)),
        }
        .map(|memory| Memory { ids: value_or(run.ids_memory_bytes_max.as_ref(), memory.ids), ..memory })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn functions_come_first_and_the_rest_is_divided() {
        let users = Users { workers: 2, readers: 2, worker: 128 * MIB, block: 2 * MIB };
        assert_eq!(users.least(), (256 + 64) * MIB);
        let memory = Memory::divided(users.least(), users);
        let half = 4 * MIB;
        assert_eq!(memory, Memory { blocks: 32 * MIB, window: half, row_group: half, ids: 32 * MIB, groups: 2 });
        let memory = Memory::divided(100 << 30, users);
        assert_eq!(memory, Memory { blocks: memory.blocks, ..Memory::ample() });
    }

    #[test]
    fn no_number_overflows() {
        let users = Users { workers: u64::from(u32::MAX), readers: 1, worker: u64::MAX, block: 1 };
        assert_eq!(users.least(), u64::MAX);
        assert_eq!(Memory::divided(u64::MAX, users).blocks, 0);
    }
}
