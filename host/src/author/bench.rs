//! How fast one function is on one thread, and which share of the time is the function's.
//!
//! The cost is `call + rows * row`: every block takes the steps that it takes in a pipeline's worker, again and again over
//! the same blocks, with a warm guest. Reading, writing and committing are not in it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Float32Array, Float64Array, Int32Array, RecordBatch, StringArray, UInt32Array,
};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::DataType;

use super::Chosen;
use super::sample;
use super::trial::Trial;
use crate::block::batch_bytes;
use crate::message::Refused;
use crate::udf::{CallError, Column};

/// Of the input file.
const INPUT_BYTES_MAX: usize = 64 << 20;
const BLOCK_ROWS_MAX: usize = 64 * 1024;
/// Bytes that a block may have.
pub const BLOCK_BYTES_MAX: u64 = 64 << 20;
/// Rows that are made up; they are repeated until a block is full.
const MADE_UP_ROWS: usize = 4096;
/// Text that is made up is of about this length.
const MADE_UP_TEXT_BYTES: usize = 200;

/// A function with blocks to call it with.
pub struct Bench {
    trial: Trial,
    blocks: Vec<RecordBatch>,
}

/// What was measured.
#[derive(Debug)]
pub struct Measured {
    /// Different blocks.
    pub blocks: usize,
    /// Rows of the first.
    pub block_rows: usize,
    /// Bytes of needed columns of a block, on average.
    pub block_bytes: u64,
    /// Rows that were called, about.
    pub rows: f64,
    /// Bytes of their needed columns.
    pub bytes: f64,
    /// What each call took, sorted.
    pub times: Vec<Duration>,
    /// Of this, in the function.
    pub guest: Duration,
    /// Rows that came of them.
    pub rows_out: u64,
    /// Rows that failed.
    pub rows_failed: u64,
}

impl Bench {
    /// Of the rows of a file, or of rows that are made up, in blocks of about so many bytes of needed columns.
    pub fn prepare(chosen: &Chosen, input: Option<&Path>, block_bytes: usize) -> Result<Bench, Refused> {
        let rows = match input {
            Some(path) => sample::read(path, sample::Limit { skip: 0, rows: u64::MAX, bytes: INPUT_BYTES_MAX })?.rows,
            None => made_up(chosen)?,
        };
        if rows.num_rows() == 0 {
            return Err(Refused::new("the input has no row", "name a file with rows"));
        }
        let trial = chosen.bind(rows.schema())?;
        let blocks = blocks(&rows, &trial, block_bytes);
        Ok(Bench { trial, blocks })
    }

    /// Calls the function for about so long.
    pub fn run(&mut self, time: Duration) -> Result<Measured, CallError> {
        let Bench { trial, blocks } = self;
        let mut measured = measured(blocks, needed_bytes(blocks, trial));
        trial.run(blocks[0].clone())?;
        trial.take_time();
        let started = Instant::now();
        for block in blocks.iter().cycle() {
            measured.call(trial, block.clone())?;
            if started.elapsed() >= time {
                break;
            }
        }
        measured.guest = trial.take_time();
        measured.times.sort_unstable();
        // Blocks are alike in size but for rounding; the last round may be a part.
        let share = measured.times.len() as f64 / blocks.len() as f64;
        Ok(Measured { rows: measured.rows * share, bytes: measured.bytes * share, ..measured })
    }
}

/// Of one round, before it begins.
fn measured(blocks: &[RecordBatch], needed: usize) -> Measured {
    Measured {
        blocks: blocks.len(),
        block_rows: blocks[0].num_rows(),
        block_bytes: (needed / blocks.len()) as u64,
        rows: blocks.iter().map(RecordBatch::num_rows).sum::<usize>() as f64,
        bytes: needed as f64,
        times: Vec::new(),
        guest: Duration::ZERO,
        rows_out: 0,
        rows_failed: 0,
    }
}

impl Measured {
    fn call(&mut self, trial: &mut Trial, block: RecordBatch) -> Result<(), CallError> {
        let start = Instant::now();
        let tried = trial.run(block)?;
        self.times.push(start.elapsed());
        self.rows_out += tried.num_rows() as u64;
        self.rows_failed += tried.failures.len() as u64;
        Ok(())
    }

    /// Of all calls.
    pub fn seconds(&self) -> f64 {
        self.times.iter().sum::<Duration>().as_secs_f64().max(1e-9)
    }

    /// What so large a share of the calls took at most.
    pub fn quantile(&self, share: f64) -> Duration {
        quantile(&self.times, share)
    }
}

/// Values for every column that the function says it needs.
fn made_up(chosen: &Chosen) -> Result<RecordBatch, Refused> {
    let function = chosen.function();
    let refused = |what: String| Refused::new(what, "name a file of Parquet or JSON Lines with --input");
    let Some(needs) = &function.needs else {
        return Err(refused(format!("`{}` does not say which columns it needs", function.name)));
    };
    if needs.is_empty() {
        return Err(refused(format!("`{}` needs no column, so there is nothing to make up", function.name)));
    }
    let column = |need: &Column| {
        let values = need.data_type.parse::<DataType>().ok().and_then(|data_type| values(&data_type));
        let unknown = || refused(format!("no values can be made up for `{}` ({})", need.name, need.data_type));
        Ok((need.name.clone(), values.ok_or_else(unknown)?))
    };
    let columns = needs.iter().map(column).collect::<Result<Vec<_>, Refused>>()?;
    RecordBatch::try_from_iter(columns).map_err(|error| refused(error.to_string()))
}

/// Numbers run through a small range, texts are words; nothing is null.
fn values(data_type: &DataType) -> Option<ArrayRef> {
    let rows = 0..MADE_UP_ROWS as u32;
    Some(match data_type {
        DataType::Utf8 => Arc::new(StringArray::from_iter_values(rows.map(text))),
        DataType::Binary => Arc::new(BinaryArray::from_iter_values(rows.map(text))),
        DataType::Boolean => Arc::new(rows.map(|row| Some(row % 3 == 0)).collect::<BooleanArray>()),
        DataType::Float32 => Arc::new(Float32Array::from_iter_values(rows.map(|row| row as f32 / 7.0))),
        DataType::Float64 => Arc::new(Float64Array::from_iter_values(rows.map(|row| f64::from(row) / 7.0))),
        other => {
            let small: ArrayRef = Arc::new(Int32Array::from_iter_values(rows.map(|row| (row % 100) as i32)));
            cast(&small, other).ok().filter(|values| values.null_count() == 0)?
        }
    })
}

fn text(row: u32) -> String {
    const WORDS: [&str; 8] = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazydog"];
    let mut text = format!("row {row}");
    let mut word = row as usize;
    while text.len() < MADE_UP_TEXT_BYTES {
        text.push(' ');
        text.push_str(WORDS[word % WORDS.len()]);
        word = (word * 5 + 3) % MADE_UP_ROWS;
    }
    text
}

/// The rows in blocks of about so many bytes of needed columns. Too few rows for one block are repeated.
fn blocks(rows: &RecordBatch, trial: &Trial, block_bytes: usize) -> Vec<RecordBatch> {
    let bytes = needed_bytes(std::slice::from_ref(rows), trial).max(1);
    let per_block = (block_bytes as f64 * rows.num_rows() as f64 / bytes as f64) as usize;
    let per_block = per_block.clamp(1, BLOCK_ROWS_MAX);
    if rows.num_rows() <= per_block {
        let order: UInt32Array = (0..per_block as u32).map(|row| row % rows.num_rows() as u32).collect();
        return vec![take_record_batch(rows, &order).expect("rows of the batch")];
    }
    let starts = (0..=rows.num_rows() - per_block).step_by(per_block);
    starts.map(|start| rows.slice(start, per_block)).collect()
}

fn needed_bytes(blocks: &[RecordBatch], trial: &Trial) -> usize {
    let needs = &trial.binding().needs;
    let needed = |block: &RecordBatch| {
        let places: Vec<usize> =
            needs.fields().iter().filter_map(|field| block.schema_ref().index_of(field.name()).ok()).collect();
        block.project(&places).map_or(0, |needed| batch_bytes(&needed))
    };
    blocks.iter().map(needed).sum()
}

fn quantile(sorted: &[Duration], quantile: f64) -> Duration {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * quantile).round() as usize).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_made_up_for_plain_types() {
        for name in ["Utf8", "Binary", "Boolean", "Float64", "UInt8", "Int64", "Date32", "Decimal128(10, 2)"] {
            let data_type: DataType = name.parse().unwrap();
            let values = values(&data_type).unwrap_or_else(|| panic!("{name}"));
            assert_eq!((values.len(), values.null_count(), values.data_type()), (MADE_UP_ROWS, 0, &data_type));
        }
        assert!((MADE_UP_TEXT_BYTES..MADE_UP_TEXT_BYTES + 10).contains(&text(17).len()));
    }

    #[test]
    fn quantiles() {
        let times: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!((quantile(&times, 0.5), quantile(&times, 0.95)), (times[50], times[94]));
        assert_eq!(quantile(&[], 0.5), Duration::ZERO);
    }
}
