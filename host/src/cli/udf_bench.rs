//! `wasmpipe udf bench`: how fast one function is on one thread, and which share of the time is the function's.
//!
//! The cost is `call + rows * row`: every block takes the steps that it takes in a pipeline's worker, again and again over
//! the same blocks, with a warm guest. Reading, writing and committing are not in it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Float32Array, Float64Array, Int32Array, RecordBatch, StringArray, UInt32Array,
};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::DataType;

use super::text::{bytes, counted, number};
use super::udf::Chosen;
use super::{FAILED, FINISHED, REFUSED, Refused, args, print_error, sample};
use crate::block::batch_bytes;
use crate::pipeline::Trial;
use crate::udf::CallError;

/// Of the input file.
const INPUT_BYTES_MAX: usize = 64 << 20;
const BLOCK_ROWS_MAX: usize = 64 * 1024;
const BLOCK_BYTES_MAX: u64 = 64 << 20;
const SECONDS_MAX: f64 = 3600.0;
/// Rows that are made up; they are repeated until a block is full.
const MADE_UP_ROWS: usize = 4096;
/// Text that is made up is of about this length.
const MADE_UP_TEXT_BYTES: usize = 200;

pub(super) fn bench(options: &args::UdfBench) -> u8 {
    match try_bench(options) {
        Ok(code) => code,
        Err(error) => {
            print_error(&error);
            REFUSED
        }
    }
}

fn try_bench(options: &args::UdfBench) -> Result<u8, Refused> {
    let block_bytes = block_bytes(&options.block_bytes)?;
    if !(options.seconds > 0.0 && options.seconds <= SECONDS_MAX) {
        return Err(Refused::new(
            format!("{} is no time to measure for", options.seconds),
            format!("--seconds takes more than 0, up to {SECONDS_MAX}"),
        ));
    }
    let chosen = Chosen::load(&options.chosen)?;
    let rows = match &options.input {
        Some(path) => sample::read(path, sample::Limit { skip: 0, rows: usize::MAX, bytes: INPUT_BYTES_MAX })?.rows,
        None => made_up(&chosen)?,
    };
    if rows.num_rows() == 0 {
        return Err(Refused::new("the input has no row", "name a Parquet file with rows"));
    }
    let mut trial = chosen.bind(rows.schema())?;
    let blocks = blocks(&rows, &trial, block_bytes);
    out!("{}", chosen.title());
    out!("  rows of   {}", options.input.as_ref().map_or("made-up values".into(), |path| path.display().to_string()));
    Ok(match measure(&mut trial, &blocks, Duration::from_secs_f64(options.seconds)) {
        Ok(measured) => {
            print(&blocks, &measured, needed_bytes(&blocks, &trial));
            FINISHED
        }
        Err(error) => {
            print_error(&error);
            FAILED
        }
    })
}

/// `2097152`, `2 MiB`, `2MiB`, `64 KB`.
fn block_bytes(written: &str) -> Result<usize, Refused> {
    const UNITS: [(&str, u64); 7] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("KB", 1000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("B", 1),
    ];
    let trimmed = written.trim();
    let unit = UNITS.into_iter().find_map(|(unit, factor)| Some((trimmed.strip_suffix(unit)?, factor)));
    let (digits, factor) = unit.unwrap_or((trimmed, 1));
    let size = digits.trim().parse::<u64>().ok().and_then(|count| count.checked_mul(factor));
    match size.filter(|size| (1..=BLOCK_BYTES_MAX).contains(size)) {
        Some(size) => Ok(size as usize),
        None => Err(Refused::new(
            format!("{written} is no size of a block"),
            format!("--block-bytes takes up to {}, such as 65536 or \"2 MiB\"", bytes(BLOCK_BYTES_MAX)),
        )),
    }
}

/// Values for every column that the function says it needs.
fn made_up(chosen: &Chosen) -> Result<RecordBatch, Refused> {
    let function = chosen.function();
    let refused = |what: String| Refused::new(what, "name a Parquet file with --input");
    let Some(needs) = &function.needs else {
        return Err(refused(format!("`{}` does not say which columns it needs", function.name)));
    };
    if needs.is_empty() {
        return Err(refused(format!("`{}` needs no column, so there is nothing to make up", function.name)));
    }
    let column = |need: &crate::udf::Column| {
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

struct Measured {
    /// Of each call, sorted.
    times: Vec<Duration>,
    /// Of these, inside the function.
    guest: Duration,
    rows_out: u64,
    rows_failed: u64,
}

fn measure(trial: &mut Trial, blocks: &[RecordBatch], time: Duration) -> Result<Measured, CallError> {
    trial.run(blocks[0].clone())?;
    trial.take_time();
    let mut measured = Measured { times: Vec::new(), guest: Duration::ZERO, rows_out: 0, rows_failed: 0 };
    let started = Instant::now();
    for block in blocks.iter().cycle() {
        let block = block.clone();
        let start = Instant::now();
        let tried = trial.run(block)?;
        measured.times.push(start.elapsed());
        measured.rows_out += tried.num_rows() as u64;
        measured.rows_failed += tried.failures.len() as u64;
        if started.elapsed() >= time {
            break;
        }
    }
    measured.guest = trial.take_time();
    measured.times.sort_unstable();
    Ok(measured)
}

fn print(blocks: &[RecordBatch], measured: &Measured, needed: usize) {
    let calls = measured.times.len();
    let rows_in_blocks: usize = blocks.iter().map(RecordBatch::num_rows).sum();
    // Blocks are alike in size but for rounding; the last round may be a part.
    let share = calls as f64 / blocks.len() as f64;
    let (rows, input) = (rows_in_blocks as f64 * share, needed as f64 * share);
    let total: Duration = measured.times.iter().sum();
    let seconds = total.as_secs_f64().max(1e-9);
    let guest = measured.guest.as_secs_f64() / seconds * 100.0;
    let average = (needed / blocks.len()) as u64;
    out!(
        "  blocks    {} of {} and {} of needed columns",
        counted(blocks.len() as u64, "different one"),
        counted(blocks[0].num_rows() as u64, "row"),
        bytes(average)
    );
    out!("  calls     {} in {seconds:.1} s", number(calls as u64));
    out!(
        "  rows      {}/s in, {} out for each",
        number((rows / seconds) as u64),
        ratio(measured.rows_out as f64 / rows)
    );
    out!("  bytes     {:.1} MB/s of needed columns", input / seconds / 1e6);
    out!(
        "  a block   median {}, p95 {}",
        millis(quantile(&measured.times, 0.5)),
        millis(quantile(&measured.times, 0.95))
    );
    out!("  time      {guest:.1} % in the function with copying in and out, {:.1} % around it", 100.0 - guest);
    if measured.rows_failed > 0 {
        out!("  failed    {} of all", counted(measured.rows_failed, "row"));
    }
}

fn ratio(ratio: f64) -> String {
    format!("{ratio:.3}").trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn quantile(sorted: &[Duration], quantile: f64) -> Duration {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * quantile).round() as usize).copied().unwrap_or_default()
}

fn millis(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Hint as _;

    #[test]
    fn sizes_of_blocks() {
        for (written, size) in [("2 MiB", 2 << 20), ("2MiB", 2 << 20), ("65536", 65536), ("64 KB", 64_000), ("1 B", 1)]
        {
            assert_eq!(block_bytes(written).unwrap(), size, "{written}");
        }
        for written in ["", "0", "-1", "2 MB MB", "1 GiB", "99999999999999999999", "1.5 MiB"] {
            assert!(block_bytes(written).unwrap_err().hint().is_some(), "{written}");
        }
    }

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
        assert_eq!([ratio(1.0), ratio(0.5), ratio(0.0)], ["1", "0.5", "0"]);
    }
}
