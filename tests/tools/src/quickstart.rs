//! The story that wasmpipe tells about itself: a job over real data is killed with SIGKILL half way, runs again, and
//! its output equals that of a run that nobody disturbed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use crate::compare::{row_count, same_rows};
use crate::corpus::{self, Packed};
use crate::job::{Committed, Cut, Job, remove};
use crate::{Options, Result};

/// The kill must land when this much is committed, in this many commits.
const PERCENT: std::ops::RangeInclusive<u64> = 30..=60;
const COMMITS_MIN: u64 = 3;
const TRIES_MAX: usize = 5;
/// Commits of an undisturbed run, roughly.
const COMMITS_WANTED: usize = 40;
const POLL: Duration = Duration::from_millis(2);

pub(crate) fn tell(options: &Options) -> Result {
    let packed = pack(options)?;
    println!("packed      {packed}");
    let reference = Job { wasmpipe: &options.wasmpipe, work: &options.work, name: "reference" };
    let job = Job { name: "pipeline", ..reference };
    reference.prepare(gentle(&packed))?;
    println!("undisturbed {}", reference.run()?);

    let before = kill_half_way(&job, &packed)?;
    println!("killed      with SIGKILL when {before} of {} were committed", packed.rows);
    resume(&job, before)?;
    let rows = same_rows(&reference.out(), &job.out())?;
    println!("compared    {rows} output rows: the same multiset as undisturbed");
    run_once_more(&job)?;
    println!("once more   nothing to do, nothing written");
    println!("\nthe job is in {}; its output is in {}", options.work.display(), job.out().display());
    let (wasmpipe, pipeline) = (options.wasmpipe.display(), options.work.join("pipeline.toml"));
    println!("look at it: {wasmpipe} plan {}", pipeline.display());
    println!("quickstart: ok");
    Ok(())
}

/// Empties the work folder and puts the corpus and the component there.
pub(crate) fn pack(options: &Options) -> Result<Packed> {
    remove(&options.work)?;
    let corpus = options.work.join("corpus");
    std::fs::create_dir_all(&corpus)?;
    std::fs::copy(&options.component, options.work.join("code.wasm"))
        .map_err(|e| format!("{}: {e}", options.component.display()))?;
    corpus::pack(&corpus, options.size)
}

/// Commits often enough to be killed between two commits.
pub(crate) fn gentle(packed: &Packed) -> Cut {
    Cut { workers: 2, group_rows: Some(packed.rows.div_ceil(COMMITS_WANTED)), checkpoint: true, id: true }
}

/// A machine may be so fast that the job is over before the kill: then again, slower and in smaller groups.
fn kill_half_way(job: &Job, packed: &Packed) -> Result<Committed> {
    let mut cut = gentle(packed);
    for _ in 0..TRIES_MAX {
        job.prepare(cut)?;
        if let Some(committed) = try_to_kill(job, packed)? {
            return Ok(committed);
        }
        cut = Cut { workers: 1, group_rows: cut.group_rows.map(|rows| rows.div_ceil(2)), ..cut };
    }
    let (low, high) = (PERCENT.start(), PERCENT.end());
    Err(format!("{TRIES_MAX} times no kill landed when {low} to {high} percent were committed\nhint: try again").into())
}

/// What was committed when the process was gone, if the kill landed where it should.
fn try_to_kill(job: &Job, packed: &Packed) -> Result<Option<Committed>> {
    let mut process = job.start()?;
    let seen = watch(job, &mut process, packed);
    process.kill()?;
    let status = process.wait()?;
    seen?;
    if status.code().is_some() {
        return Ok(None);
    }
    let committed = job.committed()?;
    Ok(half_way(committed, packed).then_some(committed))
}

/// Waits until enough is committed, or the process has ended.
fn watch(job: &Job, process: &mut Child, packed: &Packed) -> Result {
    while process.try_wait()?.is_none() {
        // Before the first entry is there, there is nothing to inspect.
        let committed = job.committed().unwrap_or_default();
        if percent(committed, packed) >= *PERCENT.start() && committed.commits >= COMMITS_MIN {
            break;
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}

fn half_way(committed: Committed, packed: &Packed) -> bool {
    committed.commits >= COMMITS_MIN && PERCENT.contains(&percent(committed, packed))
}

fn percent(committed: Committed, packed: &Packed) -> u64 {
    committed.rows * 100 / packed.rows.max(1) as u64
}

/// The second run does what is left, and its own summary says so.
fn resume(job: &Job, before: Committed) -> Result {
    let summary = job.run()?;
    println!("resumed     {summary}");
    let skipped = summary.rows("rows_skipped")?;
    if skipped != before.rows {
        return Err(format!("{} rows were committed before, and {skipped} were skipped", before.rows).into());
    }
    Ok(())
}

/// A finished job run again is a success that does nothing.
fn run_once_more(job: &Job) -> Result {
    let (files, rows) = (durable_files(job)?, row_count(&job.out())?);
    let summary = job.run()?;
    let written = summary.rows("rows_written")?;
    if written > 0 || row_count(&job.out())? != rows {
        return Err(format!("a finished job was run again and wrote {written} rows").into());
    }
    if let Some(file) = durable_files(job)?.symmetric_difference(&files).next() {
        return Err(format!("a finished job was run again and changed {}", file.display()).into());
    }
    Ok(())
}

/// The output, and all of the checkpoint but the stories of its runs.
fn durable_files(job: &Job) -> Result<BTreeSet<PathBuf>> {
    let mut files = BTreeSet::new();
    list(&job.out(), &mut files)?;
    list(&job.checkpoint(), &mut files)?;
    let runs = job.checkpoint().join("runs");
    files.retain(|file| !file.starts_with(&runs));
    Ok(files)
}

fn list(folder: &Path, files: &mut BTreeSet<PathBuf>) -> Result {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, files)?;
        } else {
            files.insert(path);
        }
    }
    Ok(())
}
