//! What does a whole job cost, what of that is the checkpoint, and what is it to know rows by `id` instead of by position?
//!
//! Expected: time = bytes * (decode + three guests + encode) / workers; a commit is a few syncs, so forty commits cost
//! well under a tenth of a second each, and the ratio of checkpoint on and off is near 1. With `id` the ids of a group's rows
//! are sorted and written at its commit: a hundredth of the bytes that the functions read, so that ratio is near 1 too.
//! Pairs, one after the other, and the median of their ratios: what else the machine does hits both halves of a pair alike.

use crate::corpus::{self, Packed};
use crate::job::{Cut, Job, Summary};
use crate::quickstart::{gentle, pack};
use crate::{Options, Result};

const PAIRS: usize = 5;

/// Two ways to run one job.
struct Pair {
    /// What differs, and what it is called in the one and in the other.
    words: [&'static str; 3],
    cuts: [Cut; 2],
}

/// What the checkpoint costs.
pub(crate) fn checkpoint(options: &Options) -> Result {
    let off = |on| Cut { checkpoint: false, ..on };
    measure(options, ["checkpoint", "on", "off"], off)
}

/// What knowing rows by id costs.
pub(crate) fn id(options: &Options) -> Result {
    let by_position = |by_id| Cut { id: false, ..by_id };
    measure(options, ["rows known", "by id", "by position"], by_position)
}

fn measure(options: &Options, words: [&'static str; 3], other: fn(Cut) -> Cut) -> Result {
    let mut packed = pack(options)?;
    corpus::copy(&options.work.join("corpus"), options.copies, &mut packed)?;
    eprintln!("{packed}");
    let job = Job { wasmpipe: &options.wasmpipe, work: &options.work, name: "bench" };
    // The job as it is takes seconds: commits must come often to show at all. A long one has them as they come.
    let on = if options.copies == 1 { gentle(&packed) } else { Cut { group_rows: None, ..gentle(&packed) } };
    let pair = Pair { words, cuts: [on, other(on)] };
    pair.timed(&job, 0)?; // Warms the page cache and the cache of compiled components.
    let both = |_| Ok((pair.timed(&job, 0)?, pair.timed(&job, 1)?));
    let pairs = (0..PAIRS).map(both).collect::<Result<Vec<_>>>()?;
    print!("{}", pair.table(&packed, &pairs)?);
    Ok(())
}

impl Pair {
    fn timed(&self, job: &Job, which: usize) -> Result<Summary> {
        job.prepare(self.cuts[which])?;
        let summary = job.run()?;
        eprintln!("{} {}: {summary}", self.words[0], self.words[which + 1]);
        Ok(summary)
    }

    fn table(&self, packed: &Packed, pairs: &[(Summary, Summary)]) -> Result<String> {
        let mut seconds = Vec::new();
        for (on, off) in pairs {
            seconds.push((on.seconds()?, off.seconds()?));
        }
        let on = median(seconds.iter().map(|(on, _)| *on));
        let off = median(seconds.iter().map(|(_, off)| *off));
        let ratio = median(seconds.iter().map(|(on, off)| on / off));
        let (rows, megabytes) = (packed.rows as f64, packed.text_bytes as f64 / 1e6);
        let ratios: Vec<String> = seconds.iter().map(|(on, off)| format!("{:.3}", on / off)).collect();
        let [what, one, other] = self.words;
        let workers = self.cuts[0].workers;
        let commits = median(pairs.iter().map(|(on, _)| on.rows("commits").unwrap_or_default() as f64));
        let mut lines = vec![
            format!(
                "{packed}; {workers} workers; {commits} commits; medians of {PAIRS} pairs ({}).",
                ratios.join(", ")
            ),
            String::new(),
            format!("| {what} | {one} | {other} | {one} / {other} |"),
            "|---|---:|---:|---:|".to_owned(),
            format!("| seconds | {on:.2} | {off:.2} | {ratio:.3} |"),
            format!("| rows/s | {:.0} | {:.0} | |", rows / on, rows / off),
            format!("| MB/s of text | {:.1} | {:.1} | |", megabytes / on, megabytes / off),
            String::new(),
        ];
        lines.extend(shares(pairs));
        Ok(lines.join("\n") + "\n")
    }
}

/// Where the workers' time went, in the first of the two ways.
fn shares(pairs: &[(Summary, Summary)]) -> Vec<String> {
    let names: Vec<&str> = pairs.first().map(|(on, _)| on.parts()).unwrap_or_default().iter().map(|p| p.0).collect();
    let spent = |name: &str| {
        let of = |summary: &Summary| summary.parts().iter().find(|part| part.0 == name).map_or(0.0, |part| part.1);
        median(pairs.iter().map(|(on, _)| of(on)))
    };
    let all: f64 = names.iter().map(|name| spent(name)).sum();
    let mut lines = vec!["| part | seconds, all workers | share |".to_owned(), "|---|---:|---:|".to_owned()];
    lines.extend(names.iter().map(|name| {
        let seconds = spent(name);
        format!("| {name} | {seconds:.2} | {:.1} % |", 100.0 * seconds / all)
    }));
    lines
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
