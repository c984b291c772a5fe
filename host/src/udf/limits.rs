//! The limits that a function runs under, and the memory count that enforces one of them.

use std::time::Duration;

use wasmtime::ResourceLimiter;

use super::checks::{STOP_BYTES, STOP_BYTES_MAX};

/// What one instance may use. The names are those of the pipeline file, except where noted.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Bytes of all linear memories and tables of an instance together, and of what the engine keeps for its modules.
    pub memory_bytes_max: u64,
    /// Wall time of one block, and of starting and binding an instance; in the pipeline file `block_seconds_max`. Looked
    /// at every [`Engine::TICK`](super::Engine::TICK).
    pub block_time_max: Duration,
    /// Output rows of one answer. As many as `memory_bytes_max` holds at sixteen bytes each, if that is less.
    pub answer_rows_max: usize,
    /// Bytes of one answer as it leaves the guest: batch, lineage and row errors together. As many as `memory_bytes_max`, if
    /// that is less.
    pub answer_bytes_max: u64,
    /// Bytes of the rows that come of one source row: what the function adds, and the copies of what it carries beyond the
    /// first. Looked at by who calls the function.
    pub row_output_bytes_max: u64,
    /// Values of one answer: of each column and each field within it its length, so nulls count, and what is in lists. As
    /// many as `memory_bytes_max` holds at four bytes each, if that is less.
    pub answer_values_max: u64,
    /// Answers to one block may be so many times what one may be. Looked at by who calls the function.
    pub block_answers_max: u64,
    /// Bytes of one row error's message; a longer one is cut.
    pub row_error_bytes_max: usize,
    /// Bytes of one log line; a longer one is cut.
    pub log_line_bytes_max: usize,
    /// Log lines of one call; the rest is counted and dropped.
    pub log_lines_max: usize,
    /// Names of counters of one call; what goes to further names is added up under one name.
    pub counters_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            memory_bytes_max: 1 << 30,
            block_time_max: Duration::from_secs(30),
            answer_rows_max: 1 << 24,
            answer_bytes_max: 256 << 20,
            row_output_bytes_max: 256 << 20,
            answer_values_max: 64 << 20,
            block_answers_max: 4,
            row_error_bytes_max: 4 << 10,
            log_line_bytes_max: 4 << 10,
            log_lines_max: 100,
            counters_max: 64,
        }
    }
}

/// What a value takes of a guest's memory, more or less: a boolean and a null take less, and become something that does.
const VALUE_BYTES: u64 = 4;
/// What an output row takes of it. The host has some bytes for each, too, whatever its columns are.
const ROW_BYTES: u64 = 16;

impl Limits {
    /// What an answer may have of bytes: as they lie in the guest's memory, there are no more of them, unless it says some
    /// of them again and again.
    pub fn bytes_max(&self) -> u64 {
        self.answer_bytes_max.min(self.memory_bytes_max)
    }

    /// What an answer may have of values, with this memory: few bytes of a guest can be many values, of which each costs the
    /// host as much as any other.
    pub fn values_max(&self) -> u64 {
        self.answer_values_max.min(self.memory_bytes_max / VALUE_BYTES)
    }

    /// What an answer may have of rows, with this memory.
    pub fn rows_max(&self) -> u64 {
        (self.answer_rows_max as u64).min(self.memory_bytes_max / ROW_BYTES)
    }

    /// Bytes of an output row that the host has beside the answer: its input row, and its source row.
    pub const ROW_HELD_BYTES: u64 = 8;

    /// The most bytes that one answer takes of the host.
    pub fn held_max(&self) -> u64 {
        self.bytes_max().saturating_add(self.rows_max().saturating_mul(Limits::ROW_HELD_BYTES))
    }

    /// The most bytes that the answers to one block take of it.
    pub fn block_held_max(&self) -> u64 {
        self.held_max().saturating_mul(self.block_answers_max)
    }

    /// More of a hint, if memory is what limits an answer.
    pub(super) fn advise_memory(&self, is_short: bool) -> &'static str {
        if is_short { ", or raise `memory_bytes_max` in this stage" } else { "" }
    }
}

/// Core instances, memories, tables of one component instance, each. Components that carry an interpreter have some
/// dozens.
const PARTS_MAX: usize = 1000;

/// Bytes that the engine spends on one table element.
const TABLE_ELEMENT_BYTES: usize = size_of::<usize>();

/// Counts all memories and tables of a store together.
pub(super) struct Memory {
    used: u64,
    max: u64,
    /// What was asked for when this call was last refused memory.
    denied: Option<u64>,
}

impl Memory {
    pub(super) fn new(max: u64) -> Memory {
        Memory { used: 0, max, denied: None }
    }

    /// Takes what the engine keeps for a guest's instances; says what is wanted if that is too much.
    pub(super) fn take(&mut self, bytes: u64) -> Result<(), u64> {
        let wanted = self.used.saturating_add(bytes);
        if wanted > self.max {
            return Err(wanted);
        }
        self.used = wanted;
        Ok(())
    }

    pub(super) fn begin(&mut self) {
        self.denied = None;
    }

    /// The total that the guest wanted in vain during this call, in bytes.
    pub(super) fn denied(&self) -> Option<u64> {
        self.denied
    }

    fn grow(&mut self, current: usize, desired: usize) -> bool {
        let wanted = self.used + desired.saturating_sub(current) as u64;
        let granted = wanted <= self.max;
        if granted {
            self.used = wanted;
        } else {
            self.denied = Some(wanted);
        }
        granted
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        // Past its own declared maximum it is refused by the engine, and must not be counted.
        let own = maximum.is_none_or(|maximum| desired <= maximum);
        // The stop page is the host's, not the guest's.
        let is_stop_page = maximum == Some(STOP_BYTES_MAX) && (current, desired) == (0, STOP_BYTES);
        Ok(is_stop_page || own && self.grow(current, desired))
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let own = maximum.is_none_or(|maximum| desired <= maximum);
        let bytes = |elements: usize| elements.saturating_mul(TABLE_ELEMENT_BYTES);
        Ok(own && self.grow(bytes(current), bytes(desired)))
    }

    fn instances(&self) -> usize {
        PARTS_MAX
    }

    fn tables(&self) -> usize {
        PARTS_MAX
    }

    fn memories(&self) -> usize {
        PARTS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_memories_and_tables_count_together() {
        let mut memory = Memory::new(1000);
        assert!(memory.memory_growing(0, 600, None).unwrap());
        assert!(memory.table_growing(0, 30, None).unwrap());
        assert!(!memory.memory_growing(0, 200, None).unwrap());
        assert_eq!(memory.denied(), Some(1040));
        assert!(memory.memory_growing(600, 700, None).unwrap());
        memory.begin();
        assert_eq!(memory.denied(), None);
    }

    #[test]
    fn growth_past_the_declared_maximum_is_no_matter_of_ours() {
        let mut memory = Memory::new(1000);
        assert!(!memory.memory_growing(0, 600, Some(500)).unwrap());
        assert_eq!((memory.used, memory.denied()), (0, None));
    }
}
