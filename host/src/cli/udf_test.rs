//! `wasmpipe udf test`: one function on a few rows, in the real host, with the rows before and after.
//!
//! * `udf_test/lines.rs`: what the function logs, caught
//! * `udf_test/results.rs`: what came of each row, and where two runs differ
//! * `udf_test/shuffle.rs`: the same rows in other orders and blocks
//! * `udf_test/expect.rs`: the output against a file

mod expect;
mod lines;
mod results;
mod shuffle;

use std::time::{Duration, Instant};

use arrow::array::RecordBatch;

use super::text::{counted, harmless_lines, line, number, seconds};
use super::udf::{Chosen, LABEL};
use super::{FAILED, FINISHED, FINISHED_WITH_FAILED_ROWS, REFUSED, Refused, args, print_error, sample, table};
use crate::block::Reason;
use crate::message::Message;
use crate::pipeline::{Isolated, Trial, Tried};
use crate::stage::{Left, Poison};
use crate::udf::{CallError, CallFailure};
use results::Results;

/// Failed and dropped rows that are printed.
const ROWS_NAMED_MAX: usize = 10;

pub(super) fn test(options: &args::UdfTest) -> u8 {
    match try_test(options) {
        Ok(code) => code,
        Err(error) => {
            print_error(&error);
            REFUSED
        }
    }
}

fn try_test(options: &args::UdfTest) -> Result<u8, Refused> {
    let chosen = Chosen::load(&options.chosen)?;
    let limit = sample::Limit {
        skip: usize::try_from(options.skip).unwrap_or(usize::MAX),
        rows: options.rows as usize,
        bytes: usize::MAX,
    };
    let sample = sample::read(&options.input, limit)?;
    let expected = options.expect.as_deref().map(expect::read).transpose()?;
    let mut trial = chosen.bind(sample.rows.schema())?;
    print_before(&chosen, &trial, &sample, options);
    let started = Instant::now();
    let (isolated, lines) = lines::caught(|| trial.isolate(sample.rows.clone(), say_search));
    let spent = started.elapsed();
    let isolated = match isolated {
        Ok(isolated) => isolated,
        Err(error) => {
            print_lines(&lines);
            print_failure(Message::brief(&error));
            return Ok(FAILED);
        }
    };
    print_lines(&lines);
    if !isolated.poison.is_empty() || !isolated.left.is_empty() {
        print_ends(&isolated, &sample.rows);
        return Ok(FAILED);
    }
    if isolated.calls > 0 {
        let calls = number(isolated.calls);
        say!(
            "note: all rows together end the function, none does alone: these are the results of {calls} calls with fewer"
        );
    }
    let tried = isolated.tried;
    print_after(&tried, sample.rows.num_rows(), options.show, &mut trial, spent);
    if let Some(path) = &options.write {
        sample::write(path, &trial.output(), tried.batches())?;
        out!("written: {}", path.display());
    }
    let mut is_good = true;
    if let Some(expected) = &expected {
        is_good &= expect::compare(&whole(&tried)?, expected);
    }
    let has_failures = !tried.failures.is_empty();
    if options.shuffle {
        let output = whole(&tried)?;
        is_good &= shuffle::check(&mut trial, &sample.rows, &Results::of(tried, output));
    }
    Ok(match (is_good, has_failures) {
        (false, _) => FAILED,
        (true, true) => FINISHED_WITH_FAILED_ROWS,
        (true, false) => FINISHED,
    })
}

fn whole(tried: &Tried) -> Result<RecordBatch, Refused> {
    tried.whole().map_err(|error| Refused::new(error.to_string(), "compare fewer rows, with --rows"))
}

fn print_before(chosen: &Chosen, trial: &Trial, sample: &sample::Sample, options: &args::UdfTest) {
    let binding = trial.binding();
    out!("{}", chosen.title());
    if let Some(line) = harmless_lines(&chosen.function().doc).next() {
        out!("  {line}");
    }
    out!("  needs {}", columns(&binding.needs));
    out!("  adds  {}", columns(&binding.adds));
    let rows = sample.rows.num_rows();
    let of = if (rows as u64) < sample.rows_in_file {
        format!(" of {}", number(sample.rows_in_file))
    } else {
        String::new()
    };
    let from = match options.skip {
        0 => String::new(),
        skip => format!(", from its row {} on, here row 0", number(skip)),
    };
    out!("\nbefore: {}{of} of {}{from}", counted(rows as u64, "row"), options.input.display());
    out!("{}", table::of_batch(&sample.rows, options.show, |row| row.to_string()));
}

fn columns(schema: &arrow::datatypes::Schema) -> String {
    let fields = schema.fields().iter().map(|field| line(&format!("{} {}", field.name(), field.data_type())));
    let text = fields.collect::<Vec<_>>().join(", ");
    if text.is_empty() { "no column".into() } else { text }
}

fn print_lines(lines: &[String]) {
    for line in lines {
        out!("log: {line}");
    }
    if !lines.is_empty() {
        out!("");
    }
}

fn print_after(tried: &Tried, rows_in: usize, show: usize, trial: &mut Trial, spent: Duration) {
    let rows_out = tried.num_rows();
    out!("after: {}; `row` is the row before that it came of", counted(rows_out as u64, "row"));
    match tried.first_rows(show) {
        Ok(rows) => out!("{}", table::of_first(&rows, rows_out, show, |row| tried.parents[row].to_string())),
        Err(error) => out!("(not shown: {error})"),
    }
    for (row, reason) in tried.failures.iter().take(ROWS_NAMED_MAX) {
        out!("row {row} failed: {}", told(reason));
    }
    let dropped = dropped(tried, rows_in);
    if !tried.failures.is_empty() {
        out!("failed: {} of {}", counted(tried.failures.len() as u64, "row"), number(rows_in as u64));
    }
    if !dropped.is_empty() {
        let named: Vec<String> = dropped.iter().take(ROWS_NAMED_MAX).map(ToString::to_string).collect();
        let more = if dropped.len() > ROWS_NAMED_MAX { ", ..." } else { "" };
        out!(
            "dropped: {} of {} (row {}{more})",
            counted(dropped.len() as u64, "row"),
            number(rows_in as u64),
            named.join(", ")
        );
    }
    for (name, count) in trial.take_counts() {
        out!("counted: {name} {}", number(count));
    }
    out!("time: {}, start of the instance included", seconds_short(spent));
}

/// Rows without output that did not fail.
fn dropped(tried: &Tried, rows: usize) -> Vec<u32> {
    let mut has_output = vec![false; rows];
    tried.parents.iter().for_each(|&parent| has_output[parent as usize] = true);
    let is_dropped = |row: &u32| !has_output[*row as usize] && !tried.failures.contains_key(row);
    (0..rows as u32).filter(is_dropped).collect()
}

fn seconds_short(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{:.1} ms", time.as_secs_f64() * 1e3)
    } else {
        seconds(time.as_secs_f64())
    }
}

/// Rows that end the function, each with its words; then all of them in a line.
fn print_ends(isolated: &Isolated, rows: &RecordBatch) {
    for Poison { row, message, .. } in isolated.poison.iter().take(ROWS_NAMED_MAX) {
        let shown = table::of_batch(&rows.slice(*row as usize, 1), 1, |_| row.to_string());
        out!("row {row} ends the function:\n{shown}");
        print_failure(of_function(message));
    }
    let named = ranges(isolated.poison.iter().map(|poison| poison.row));
    if !named.is_empty() {
        let (found, all) = (counted(isolated.poison.len() as u64, "row"), number(rows.num_rows() as u64));
        out!(
            "end the function: {found} of {all} (row {}), found in {} calls",
            named.join(", "),
            number(isolated.calls)
        );
    }
    for Left { rows, message, limit, .. } in &isolated.left {
        out!("rows {} to {} were not told apart: {}", rows.start, rows.end - 1, limit.written());
        print_failure(of_function(message));
    }
}

fn of_function(message: &Message) -> Message {
    message.clone().after(format!("{LABEL}: "))
}

/// Why a row failed, with what to do if that is known.
fn told(reason: &Reason) -> String {
    let Reason { message, hint, .. } = reason;
    Message { hint: hint.as_deref().map(str::to_owned), ..Message::new(message.as_ref()) }.line()
}

/// `3`, `5 to 7`.
fn ranges(rows: impl Iterator<Item = u32>) -> Vec<String> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for row in rows {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == row => *last = row,
            _ => ranges.push((row, row)),
        }
    }
    let text = |(first, last)| if first == last { format!("{first}") } else { format!("{first} to {last}") };
    ranges.into_iter().map(text).collect()
}

fn print_failure(message: Message) {
    let hint = "let the function give an error for such a row: to find one that ends it takes many calls";
    say!("{}", message.or_hint(hint));
}

/// A row that hangs takes all of its time in each call until it stands alone.
fn say_search(error: &CallError) {
    let CallFailure::Timeout = error.failure else { return };
    say!(
        "note: the function ran out of time; the rows for which it does are looked for, which takes as long many times over"
    );
}

#[cfg(test)]
mod tests {
    #[test]
    fn neighbours_are_one_range() {
        assert_eq!(super::ranges([1, 3, 4, 5, 9, 10].into_iter()), ["1", "3 to 5", "9 to 10"]);
    }
}
