//! Settings of the pipeline file, and what they are where it does not say.

use std::sync::Arc;
use std::time::Duration;

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
use crate::sink::{Output, OutputKind};
use crate::source::BlockSize;
use crate::store::Settings;
use crate::udf;

const LANES: u32 = 1;
const SPLIT_BYTES: u64 = 4 << 30;
pub(super) const COMPACT_ENTRIES: u64 = 500;
pub(super) const HEARTBEAT: Duration = Duration::from_secs(5);
const GROUP_ROWS_MAX: u64 = 4_000_000;
const GROUP_BYTES_MAX: u64 = 64 << 20;
const GROUP_TIME_MAX: Duration = Duration::from_secs(30);
const FILE_BYTES_MAX: u64 = 256 << 20;
const DRAIN: Duration = Duration::from_secs(60);
const BLOCK_ROWS_MAX: u32 = 64 * 1024;
const BLOCK_BYTES_MAX: u64 = 2 << 20;
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

pub(super) fn on_error(written: Option<&At<config::OnError>>) -> OnError {
    match written.map(|written| written.value) {
        Some(config::OnError::Skip) => OnError::Skip,
        Some(config::OnError::DeadLetter) => OnError::DeadLetter,
        Some(config::OnError::Fail) | None => OnError::Fail,
    }
}

pub(super) fn limits_of(stage: &config::Stage) -> udf::Limits {
    let mut limits = udf::Limits::default();
    if let Some(bytes) = &stage.memory_bytes_max {
        limits.memory_bytes_max = bytes.value;
    }
    if let Some(time) = &stage.block_seconds_max {
        limits.block_time_max = time.value;
    }
    if let Some(bytes) = &stage.row_output_bytes_max {
        limits.row_output_bytes_max = bytes.value;
    }
    limits
}

pub(super) fn isolation(stage: &config::Stage, limits: &udf::Limits) -> Isolation {
    let default = Isolation::of_block_time(limits.block_time_max);
    let on_unseparated = stage.on_unseparated.as_ref().map(|written| written.value);
    Isolation {
        calls_max: value_or(stage.isolate_calls_max.as_ref(), default.calls_max),
        time_max: value_or(stage.isolate_seconds_max.as_ref(), default.time_max),
        hangs_max: value_or(stage.isolate_hangs_max.as_ref(), default.hangs_max),
        run_time_written: stage.isolate_run_seconds_max.as_ref().map(|written| written.value),
        skips_unseparated: on_unseparated == Some(config::OnUnseparated::Skip),
    }
}

/// Results, in the format that is asked for.
pub(super) fn results(config: &Config, schema: SchemaRef, memory: Memory) -> Output {
    let file_bytes_max = value_or(config.sink.file_bytes_max.as_ref(), FILE_BYTES_MAX);
    Output { kind: OutputKind::Results, schema, format: output_format(&config.sink, memory), file_bytes_max }
}

/// Dead letters, in Parquet whatever results are.
pub(super) fn dead_letters(config: &Config, schema: SchemaRef, memory: Memory) -> Output {
    let format = Arc::new(parquet_output(&config.sink, memory));
    Output { kind: OutputKind::DeadLetters, format, ..results(config, schema, memory) }
}

/// How results are written.
fn output_format(sink: &config::Sink, memory: Memory) -> Arc<dyn OutputFormat> {
    let nulls = match sink.nulls.as_ref().map(|written| written.value) {
        Some(config::Nulls::Write) | None => Nulls::Written,
        Some(config::Nulls::Omit) => Nulls::LeftOut,
    };
    match sink.format.as_ref().map(|written| written.value) {
        Some(config::Format::Parquet) | None => Arc::new(parquet_output(sink, memory)),
        Some(config::Format::JsonLines) => Arc::new(JsonLinesOutput {
            compression: match sink.compression.as_ref().map(|written| written.value) {
                Some(config::Compression::None) => Compression::None,
                Some(config::Compression::Gzip) => Compression::Gzip,
                // Others are refused where they are written.
                _ => Compression::Zstd,
            },
            nulls,
            buffered_bytes_max: memory.row_group as usize,
        }),
    }
}

fn parquet_output(sink: &config::Sink, memory: Memory) -> ParquetOutput {
    let compression = match sink.compression.as_ref().map(|written| written.value) {
        Some(config::Compression::Zstd) | None => parquet::Compression::Zstd,
        Some(config::Compression::Snappy) => parquet::Compression::Snappy,
        Some(config::Compression::Lz4) => parquet::Compression::Lz4,
        Some(config::Compression::Gzip) => parquet::Compression::Gzip,
        Some(config::Compression::None) => parquet::Compression::None,
    };
    ParquetOutput { compression, row_group_bytes_max: memory.row_group as usize }
}

pub(super) fn group_limits(config: &Config) -> GroupLimits {
    GroupLimits {
        rows_max: checkpoint_key(config, |written| written.group_rows_max.as_ref(), GROUP_ROWS_MAX),
        bytes_max: checkpoint_key(config, |written| written.group_bytes_max.as_ref(), GROUP_BYTES_MAX),
        time_max: checkpoint_key(config, |written| written.group_seconds_max.as_ref(), GROUP_TIME_MAX),
    }
}

pub(super) fn new_job(config: &Config) -> NewJob {
    NewJob {
        lanes: checkpoint_key(config, |written| written.lanes.as_ref(), LANES),
        split_bytes: checkpoint_key(config, |written| written.split_bytes.as_ref(), SPLIT_BYTES),
    }
}

pub(super) fn checkpoint_key<T: Copy>(
    config: &Config,
    key: impl Fn(&config::Checkpoint) -> Option<&At<T>>,
    default: T,
) -> T {
    value_or(config.checkpoint.as_ref().and_then(key), default)
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
            block_rows_max: u64::from(value_or(run.block_rows_max.as_ref(), BLOCK_ROWS_MAX)).min(group.rows_max)
                as usize,
            block_bytes_max: value_or(run.block_bytes_max.as_ref(), BLOCK_BYTES_MAX).min(group.bytes_max) as usize,
        }
    }

    pub(super) fn users(self, config: &Config) -> Users {
        Users::of(config, self.workers, self.readers, self.block_bytes_max)
    }

    pub(super) fn run(self, run: &config::Run, memory: Memory) -> Run {
        Run {
            workers: self.workers,
            readers: self.readers,
            drain: value_or(run.drain_seconds.as_ref(), DRAIN),
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
