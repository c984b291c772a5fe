//! `wasmpipe udf bench`: how fast one function is on one thread, and which share of the time is the function's.

use std::time::Duration;

use super::text::{bytes, counted, number};
use super::{FAILED, FINISHED, REFUSED, args, print_error, udf};
use crate::author::bench::{BLOCK_BYTES_MAX, Bench, Measured};
use crate::message::Refused;

const SECONDS_MAX: f64 = 3600.0;

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
    let time = time(options.seconds)?;
    let chosen = udf::chosen(&options.chosen)?;
    let mut bench = Bench::prepare(&chosen, options.input.as_deref(), block_bytes)?;
    out!("{}", udf::title(&chosen));
    out!("  rows of   {}", options.input.as_ref().map_or("made-up values".into(), |path| path.display().to_string()));
    Ok(match bench.run(time) {
        Ok(measured) => {
            print(&measured);
            FINISHED
        }
        Err(error) => {
            print_error(&error);
            FAILED
        }
    })
}

fn time(seconds: f64) -> Result<Duration, Refused> {
    if seconds > 0.0 && seconds <= SECONDS_MAX {
        return Ok(Duration::from_secs_f64(seconds));
    }
    Err(Refused::new(
        format!("{seconds} is no time to measure for"),
        format!("--seconds takes more than 0, up to {SECONDS_MAX}"),
    ))
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

fn print(measured: &Measured) {
    let Measured { blocks, block_rows, block_bytes, rows, bytes: input, times, .. } = measured;
    let seconds = measured.seconds();
    let guest = measured.guest.as_secs_f64() / seconds * 100.0;
    out!(
        "  blocks    {} of {} and {} of needed columns",
        counted(*blocks as u64, "different one"),
        counted(*block_rows as u64, "row"),
        bytes(*block_bytes)
    );
    out!("  calls     {} in {seconds:.1} s", number(times.len() as u64));
    out!(
        "  rows      {}/s in, {} out for each",
        number((rows / seconds) as u64),
        ratio(measured.rows_out as f64 / rows)
    );
    out!("  bytes     {:.1} MB/s of needed columns", input / seconds / 1e6);
    out!("  a block   median {}, p95 {}", millis(measured.quantile(0.5)), millis(measured.quantile(0.95)));
    out!("  time      {guest:.1} % in the function with copying in and out, {:.1} % around it", 100.0 - guest);
    if measured.rows_failed > 0 {
        out!("  failed    {} of all", counted(measured.rows_failed, "row"));
    }
}

fn ratio(ratio: f64) -> String {
    format!("{ratio:.3}").trim_end_matches('0').trim_end_matches('.').to_owned()
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
    fn ratios() {
        assert_eq!([ratio(1.0), ratio(0.5), ratio(0.0)], ["1", "0.5", "0"]);
    }
}
