//! `wasmpipe udf test`: one function on a few rows, in the real host, with the rows before and after.

use std::time::Duration;

use arrow::array::RecordBatch;

use super::text::{counted, harmless_lines, line, number, seconds};
use super::{FAILED, FINISHED, FINISHED_WITH_FAILED_ROWS, REFUSED, args, print_error, table, udf};
use crate::author::test::{Difference, Ran, RowOutcome, Shuffled, Test, Wanted};
use crate::author::{Chosen, Isolated, LABEL, Sample, Tried};
use crate::block::Reason;
use crate::message::{Message, Refused};
use crate::stage::{Left, Poison};
use crate::udf::{CallError, CallFailure};

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
    let chosen = udf::chosen(&options.chosen)?;
    let wanted = Wanted {
        input: &options.input,
        skip: options.skip,
        rows: u64::from(options.rows),
        expect: options.expect.as_deref(),
    };
    let mut test = Test::prepare(&chosen, &wanted)?;
    print_before(&chosen, &test, options);
    let ran = test.run(say_search);
    print_lines(&ran.lines);
    match &ran.outcome {
        Err(error) => print_failure(Message::brief(error)),
        Ok(isolated) if !isolated.poison.is_empty() || !isolated.left.is_empty() => {
            print_ends(isolated, &test.sample.rows);
        }
        Ok(_) => return after(&mut test, ran, options),
    }
    Ok(FAILED)
}

/// All rows were answered.
fn after(test: &mut Test, ran: Ran, options: &args::UdfTest) -> Result<u8, Refused> {
    print_after(&ran, &test.sample, options.show);
    let Ok(Isolated { tried, .. }) = ran.outcome else { return Ok(FAILED) };
    if let Some(path) = &options.write {
        test.write(path, &tried)?;
        out!("written: {}", path.display());
    }
    let mut is_good = true;
    if let Some(differences) = test.compare(&tried)? {
        print_differences(&differences, tried.num_rows());
        is_good &= differences.is_empty();
    }
    let has_failures = !tried.failures.is_empty();
    if options.shuffle {
        let shuffled = test.shuffle(tried)?;
        print_shuffled(&shuffled, &test.sample.rows);
        is_good &= matches!(shuffled, Shuffled::Same(_));
    }
    Ok(match (is_good, has_failures) {
        (false, _) => FAILED,
        (true, true) => FINISHED_WITH_FAILED_ROWS,
        (true, false) => FINISHED,
    })
}

fn print_before(chosen: &Chosen, test: &Test, options: &args::UdfTest) {
    let (binding, sample) = (test.binding(), &test.sample);
    out!("{}", udf::title(chosen));
    if let Some(line) = harmless_lines(&chosen.function().doc).next() {
        out!("  {line}");
    }
    out!("  needs {}", columns(&binding.needs));
    out!("  adds  {}", columns(&binding.adds));
    let rows = sample.rows.num_rows();
    let of = sample.rows_in_file.filter(|all| (rows as u64) < *all);
    let of = of.map(|all| format!(" of {}", number(all))).unwrap_or_default();
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

fn print_after(ran: &Ran, sample: &Sample, show: usize) {
    let Ok(Isolated { tried, calls, .. }) = &ran.outcome else { return };
    if *calls > 0 {
        let calls = number(*calls);
        say!(
            "note: all rows together end the function, none does alone: these are the results of {calls} calls with fewer"
        );
    }
    let rows_out = tried.num_rows();
    out!("after: {}; `row` is the row before that it came of", counted(rows_out as u64, "row"));
    match tried.first_rows(show) {
        Ok(rows) => out!("{}", table::of_first(&rows, rows_out, show, |row| tried.parents[row].to_string())),
        Err(error) => out!("(not shown: {error})"),
    }
    print_failed_and_dropped(tried, sample.rows.num_rows());
    for (name, count) in &ran.counts {
        out!("counted: {name} {}", number(*count));
    }
    out!("time: {}, start of the instance included", seconds_short(ran.time));
}

fn print_failed_and_dropped(tried: &Tried, rows_in: usize) {
    for (row, reason) in tried.failures.iter().take(ROWS_NAMED_MAX) {
        out!("row {row} failed: {}", told(reason));
    }
    let all = number(rows_in as u64);
    if !tried.failures.is_empty() {
        out!("failed: {} of {all}", counted(tried.failures.len() as u64, "row"));
    }
    let dropped = tried.dropped(rows_in);
    if !dropped.is_empty() {
        let named: Vec<String> = dropped.iter().take(ROWS_NAMED_MAX).map(ToString::to_string).collect();
        let more = if dropped.len() > ROWS_NAMED_MAX { ", ..." } else { "" };
        out!("dropped: {} of {all} (row {}{more})", counted(dropped.len() as u64, "row"), named.join(", "));
    }
}

fn print_differences(differences: &[Difference], rows: usize) {
    match differences {
        [] => out!("expect: {}, all as expected", counted(rows as u64, "row")),
        some => {
            out!("expect: the output is not as expected");
            some.iter().for_each(|difference| out!("  {}", difference_text(difference)));
        }
    }
}

fn difference_text(difference: &Difference) -> String {
    let of = |rows: &usize| number(*rows as u64);
    match difference {
        Difference::Columns { is, expected } => format!("the columns are {is}\n  expected are  {expected}"),
        Difference::Rows { is, expected } => format!("{} rows, expected are {}", of(is), of(expected)),
        Difference::Value { row, name, is, expected } => {
            format!("output row {row}, {name}: {}, expected is {}", table::cut(is), table::cut(expected))
        }
        Difference::More(values) => format!("... and {} more values", of(values)),
    }
}

fn print_shuffled(shuffled: &Shuffled, rows: &RecordBatch) {
    match shuffled {
        Shuffled::Same(ways) => out!("shuffle: each row gives the same in {}", counted(*ways as u64, "other run")),
        Shuffled::Fails { way, error } => {
            out!("shuffle: not pure: {way} it fails, and the first time it did not");
            print_error(error);
        }
        Shuffled::Differs { way, row, first, then } => {
            out!("shuffle: not pure: row {row} gives something else {way}");
            out!("the row:\n{}", table::of_batch(&rows.slice(*row as usize, 1), 1, |_| row.to_string()));
            out!("first:\n{}", outcome(first, *row));
            out!("then:\n{}", outcome(then, *row));
            out!("hint: {NOT_PURE}");
        }
    }
}

const NOT_PURE: &str = "a function is called on any rows, in any order, on any instance, and again after a crash: let its result \
                        depend on the row and the config alone";

fn outcome(outcome: &RowOutcome, row: u32) -> String {
    match outcome {
        RowOutcome::Failed(reason) => format!("failed: {}\n", told(reason)),
        RowOutcome::Rows(output) if output.num_rows() == 0 => "no output row\n".into(),
        RowOutcome::Rows(output) => table::of_batch(output, ROWS_NAMED_MAX, |_| row.to_string()),
    }
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
    use expect_test::expect;

    use super::*;

    #[test]
    fn differences_in_words() {
        let differences = [
            Difference::Columns { is: "name Utf8, n Int64".into(), expected: "n Int64".into() },
            Difference::Rows { is: 3000, expected: 2 },
            Difference::Value { row: 1, name: "name".into(), is: "b".repeat(40), expected: "x".into() },
            Difference::More(4),
        ];
        expect![[r#"
            the columns are name Utf8, n Int64
              expected are  n Int64
            3,000 rows, expected are 2
            output row 1, name: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb…, expected is x
            ... and 4 more values"#]]
        .assert_eq(&differences.iter().map(difference_text).collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn neighbours_are_one_range() {
        assert_eq!(super::ranges([1, 3, 4, 5, 9, 10].into_iter()), ["1", "3 to 5", "9 to 10"]);
    }
}
