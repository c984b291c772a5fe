//! Settings of the pipeline file, and what they are where it does not say.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::super::{Isolation, NewJob, OnError, Run};
use super::memory::{Memory, Users};
use crate::commit::GroupLimits;
use crate::config::{self, At, Config};
use crate::format::OutputFormat;
use crate::format::compression::Compression;
use crate::format::jsonl::encode::Nulls;
use crate::format::jsonl::write::JsonLinesOutput;
use crate::format::parquet::{self, ParquetOutput};
use crate::sink::{Layout, Output, OutputKind};
use crate::source::BlockSize;
use crate::store::Settings;
use crate::udf;

/// With less, every few ids are a file of their own.
const IDS_MEMORY_BYTES_MIN: u64 = 64 << 10;

/// How to reach a store, as its section of the pipeline file says.
pub fn settings_of(written: &config::Store) -> Settings {
    let text = |written: &Option<At<String>>| written.as_ref().map(|written| written.value.clone());
    Settings {
        endpoint: text(&written.endpoint),
        region: text(&written.region),
        profile: text(&written.profile),
        allow_http: written.allow_http.as_ref().map(|written| written.value),
        retries: written.retries.as_ref().map(|written| written.value),
        timeout: written.timeout_seconds.as_ref().map(|written| written.value),
        requests_max: written.requests_max.as_ref().map(|written| written.value),
    }
}

pub(super) fn on_error(written: config::OnError) -> OnError {
    match written {
        config::OnError::Skip => OnError::Skip,
        config::OnError::DeadLetter => OnError::DeadLetter,
        config::OnError::Fail => OnError::Fail,
    }
}

pub(super) fn limits_of(stage: &config::Stage) -> udf::Limits {
    udf::Limits {
        memory_bytes_max: stage.memory_bytes_max(),
        block_time_max: stage.block_seconds_max(),
        row_output_bytes_max: stage.row_output_bytes_max(),
        ..udf::Limits::default()
    }
}

pub(super) fn isolation(stage: &config::Stage, limits: &udf::Limits) -> Isolation {
    let default = Isolation::of_block_time(limits.block_time_max);
    Isolation {
        calls_max: stage.isolate_calls_max(),
        time_max: value_or(stage.isolate_seconds_max.as_ref(), default.time_max),
        hangs_max: stage.isolate_hangs_max(),
        run_time_written: stage.isolate_run_seconds_max.as_ref().map(|written| written.value),
        skips_unseparated: stage.on_unseparated() == config::OnUnseparated::Skip,
    }
}

/// Results, in the format that is asked for.
pub(super) fn results(config: &Config, schema: SchemaRef, memory: Memory) -> Output {
    let (format, file_bytes_max) = (output_format(&config.sink, memory), config.sink.file_bytes_max());
    Output { kind: OutputKind::Results, schema, format, file_bytes_max, layout: layout(config) }
}

/// Dead letters, in Parquet whatever results are.
pub(super) fn dead_letters(config: &Config, schema: SchemaRef, memory: Memory) -> Output {
    let format = Arc::new(parquet_output(&config.sink, memory));
    Output { kind: OutputKind::DeadLetters, format, layout: Layout::Flat, ..results(config, schema, memory) }
}

pub(super) fn layout(config: &Config) -> Layout {
    match config.sink.layout() {
        config::Layout::Mirror => Layout::Mirror,
        config::Layout::Flat => Layout::Flat,
    }
}

/// How results are written.
fn output_format(sink: &config::Sink, memory: Memory) -> Arc<dyn OutputFormat> {
    let nulls = match sink.nulls() {
        config::Nulls::Write => Nulls::Written,
        config::Nulls::Omit => Nulls::LeftOut,
    };
    match sink.format() {
        config::Format::Parquet => Arc::new(parquet_output(sink, memory)),
        config::Format::JsonLines => Arc::new(JsonLinesOutput {
            compression: match sink.compression() {
                config::Compression::None => Compression::None,
                config::Compression::Gzip => Compression::Gzip,
                // Others are refused where they are written.
                _ => Compression::Zstd,
            },
            nulls,
            buffered_bytes_max: memory.row_group as usize,
        }),
    }
}

fn parquet_output(sink: &config::Sink, memory: Memory) -> ParquetOutput {
    let compression = match sink.compression() {
        config::Compression::Zstd => parquet::Compression::Zstd,
        config::Compression::Snappy => parquet::Compression::Snappy,
        config::Compression::Lz4 => parquet::Compression::Lz4,
        config::Compression::Gzip => parquet::Compression::Gzip,
        config::Compression::None => parquet::Compression::None,
    };
    ParquetOutput { compression, row_group_bytes_max: memory.row_group as usize }
}

pub(super) fn group_limits(checkpoint: &config::Checkpoint) -> GroupLimits {
    GroupLimits {
        rows_max: checkpoint.group_rows_max(),
        bytes_max: checkpoint.group_bytes_max(),
        time_max: checkpoint.group_seconds_max(),
    }
}

pub(super) fn new_job(checkpoint: &config::Checkpoint) -> NewJob {
    NewJob { lanes: checkpoint.lanes(), split_bytes: checkpoint.split_bytes() }
}

/// A page is read, however little memory there is.
const PAGE_BYTES_MIN: u64 = 8 << 20;

/// Who works on the blocks of a run. Blocks are no larger than a group may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crew {
    workers: usize,
    pub(super) readers: usize,
    block_rows_max: usize,
    block_bytes_max: usize,
}

impl Crew {
    pub(super) fn of(run: &config::Run, group: GroupLimits) -> Crew {
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as u32;
        Crew {
            workers: value_or(run.workers.as_ref(), cores) as usize,
            readers: value_or(run.readers.as_ref(), cores) as usize,
            block_rows_max: u64::from(run.block_rows_max()).min(group.rows_max) as usize,
            block_bytes_max: run.block_bytes_max().min(group.bytes_max) as usize,
        }
    }

    pub(super) fn users(self, config: &Config) -> Users {
        Users::of(config, self.workers, self.readers, self.block_bytes_max)
    }

    pub(super) fn run(self, run: &config::Run, memory: Memory) -> Run {
        Run {
            workers: self.workers,
            readers: self.readers,
            drain: run.drain_seconds(),
            block: BlockSize {
                rows_max: self.block_rows_max,
                bytes_max: self.block_bytes_max,
                window_bytes: memory.window,
                page_bytes_max: page_bytes_max(run, self.readers),
            },
            blocks_bytes_max: memory.blocks,
            groups_max: memory.groups as usize,
            ids_memory_bytes_max: memory.ids.max(IDS_MEMORY_BYTES_MIN),
        }
    }
}

/// One page of each reader is there packed, unpacked, and decoded.
fn page_bytes_max(run: &config::Run, readers: usize) -> u64 {
    let memory = run.memory_bytes_max.as_ref();
    memory.map_or(u64::MAX, |memory| (memory.value / 4 / readers as u64).max(PAGE_BYTES_MIN))
}

pub(super) fn value_or<T: Copy>(written: Option<&At<T>>, default: T) -> T {
    written.map_or(default, |written| written.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `host/docs/keys.md` says holds is what holds in rooms that know nothing of pipeline files.
    #[test]
    fn a_stage_without_keys_has_the_limits_that_functions_have_without_a_stage() {
        let stage = config::Stage::default();
        let limits = limits_of(&stage);
        assert_eq!(limits, udf::Limits::default());
        assert_eq!(isolation(&stage, &limits), Isolation::of_block_time(limits.block_time_max));
    }
}
