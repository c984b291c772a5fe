//! How the memory of a run is divided: `[run] memory_bytes_max` is what it takes, functions and all. Functions come first,
//! with what their stages allow, and what one block may become, as one at a time goes on beyond its budget; of the rest a half
//! is for blocks on their way, a quarter for what readers fetch and decode, and a quarter for what is encoded and uploaded:
//! each of these is there twice for a while. What a process takes before its first row is beside it.

use super::settings::{limits_of, value_or};
use crate::config::{self, Config};

const BLOCKS: u64 = 1 << 30;
const WINDOW: u64 = 64 << 20;
const ROW_GROUP: u64 = 64 << 20;
const IDS: u64 = 256 << 20;
const GROUPS: u64 = 8;
const ANSWERS: u64 = 4;
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
    /// Bytes of one answer of each stage: what a block may become at least.
    pub(super) answers: u64,
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
    /// How many times what one answer may be the answers to a block may be; a number.
    pub(super) answers: u64,
}

impl Users {
    pub(super) fn of(config: &Config, workers: usize, readers: usize, block: usize) -> Users {
        let (mut stages, mut largest, mut answers) = (0u64, 0, 0u64);
        for limits in config.stages.iter().map(limits_of) {
            stages = stages.saturating_add(limits.memory_bytes_max);
            largest = limits.bytes_max().max(largest);
            answers = answers.saturating_add(limits.held_max());
        }
        let worker = stages.saturating_add(largest);
        Users { workers: workers as u64, readers: readers as u64, worker, answers, block: block as u64 }
    }

    /// All that functions may have.
    pub(super) fn functions(self) -> u64 {
        self.workers.saturating_mul(self.worker)
    }

    /// The least for blocks on their way.
    pub(super) fn blocks(self) -> u64 {
        self.readers.saturating_add(self.workers).saturating_mul(BLOCKS_EACH).saturating_mul(self.block)
    }

    /// The least for what is fetched and encoded.
    pub(super) fn buffers(self) -> u64 {
        self.readers.saturating_mul(4 * BUFFER_MIN)
    }

    /// The least for everything but functions and what comes of them.
    pub(super) fn least_rest(self) -> u64 {
        self.blocks().max(self.buffers()).saturating_mul(2)
    }

    /// The least that a run can do with.
    pub(super) fn least(self) -> u64 {
        self.functions().saturating_add(self.answers).saturating_add(self.least_rest())
    }

    /// How many times what one answer may be the answers to a block may be: as many as usual, if a quarter of what is not
    /// needed for anything else has room for that.
    fn answers_times(self, bytes: u64) -> u64 {
        let spare = bytes.saturating_sub(self.least()) / 4;
        1 + spare.checked_div(self.answers).unwrap_or(ANSWERS).min(ANSWERS - 1)
    }
}

impl Memory {
    /// Of so many bytes, which are enough.
    pub(super) fn divided(bytes: u64, users: Users) -> Memory {
        let answers = users.answers_times(bytes);
        let beside = users.functions().saturating_add(users.answers.saturating_mul(answers));
        let rest = bytes.saturating_sub(beside);
        let each = rest / 4 / users.readers.max(1);
        Memory {
            blocks: rest / 2,
            window: (each / 2).min(WINDOW),
            row_group: (each / 2).min(ROW_GROUP),
            ids: (rest / 2).min(IDS),
            groups: (each / BUFFER_MIN).clamp(2, GROUPS),
            answers,
        }
    }

    /// Where the pipeline file says nothing.
    pub(super) fn ample() -> Memory {
        Memory { blocks: BLOCKS, window: WINDOW, row_group: ROW_GROUP, ids: IDS, groups: GROUPS, answers: ANSWERS }
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
        let users = Users { workers: 2, readers: 2, worker: 128 * MIB, answers: 96 * MIB, block: 2 * MIB };
        assert_eq!(users.least(), (256 + 96 + 64) * MIB);
        let memory = Memory::divided(users.least(), users);
        let half = 4 * MIB;
        let least = Memory { blocks: 32 * MIB, window: half, row_group: half, ids: 32 * MIB, groups: 2, answers: 1 };
        assert_eq!(memory, least);
        let memory = Memory::divided(100 << 30, users);
        assert_eq!(memory, Memory { blocks: memory.blocks, ..Memory::ample() });
        let answers = |more: u64| Memory::divided(users.least() + more * MIB, users).answers;
        assert_eq!([0, 383, 384, 2 * 384, 10_000].map(answers), [1, 1, 2, 3, 4]);
    }

    #[test]
    fn what_is_divided_is_no_more_than_there_is() {
        let users = Users { workers: 3, readers: 2, worker: 100 * MIB, answers: 90 * MIB, block: 2 * MIB };
        for more in [0, 50, 500, 5000] {
            let bytes = users.least() + more * MIB;
            let Memory { blocks, window, row_group, answers, .. } = Memory::divided(bytes, users);
            let all = users.functions() + answers * users.answers + blocks + 2 * users.readers * (window + row_group);
            assert!(all <= bytes && blocks >= users.least_rest() / 2, "{more}");
        }
    }

    #[test]
    fn no_number_overflows() {
        let users = Users { workers: u64::from(u32::MAX), readers: 1, worker: u64::MAX, answers: u64::MAX, block: 1 };
        assert_eq!(users.least(), u64::MAX);
        assert_eq!(Memory::divided(u64::MAX, users).blocks, 0);
        for block in [1 << 62, u64::MAX] {
            let users = Users { workers: 4, readers: 4, worker: 0, answers: 0, block };
            assert_eq!((users.least(), Memory::divided(1, users).answers), (u64::MAX, 4));
        }
    }
}
