//! How long does it take until a job goes on whose log is long?
//!
//! Expected: start = (list + read + parse) * entries + list * sink files; an entry is a kilobyte in a file of its own, so a
//! hundred thousand of them cost a few seconds while they lie one by one, and next to nothing once they are compacted. Time
//! until a row is read, as the run itself says in its log; the rest of the run is the end, which looks at everything
//! once more.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

use crate::job::remove;
use crate::{Options, Result};

const SEGMENTS: i64 = 100_000;
const SEGMENTS_SMALL: i64 = 5_000;
/// What the run says when the first row is about to be read.
const BEGINS: &str = "the work begins";
const LIMIT_SECONDS: f64 = 10.0;
const LIMIT_COMPACTED_SECONDS: f64 = 1.0;
/// Automatic compaction keeps fewer entries than this to read.
const ENTRIES_LIMIT: usize = 1_000;

pub(crate) fn measure(options: &Options) -> Result {
    remove(&options.work)?;
    std::fs::create_dir_all(options.work.join("in"))?;
    let segments = if options.is_small() { SEGMENTS_SMALL } else { SEGMENTS };
    let job = Job { wasmpipe: &options.wasmpipe, work: &options.work, name: "never", next: segments };
    let job = measure_starts(job, segments)?;
    let most = most_entries(&Job { name: "automatic", ..job }, segments / 20)?;
    println!("| entries to read, automatic compaction on, at most | {most} | {ENTRIES_LIMIT} |");
    if most >= ENTRIES_LIMIT {
        return Err(format!("{most} entries were to be read").into());
    }
    Ok(())
}

fn measure_starts<'a>(mut job: Job<'a>, segments: i64) -> Result<Job<'a>> {
    job.write_rows("first", 0..segments)?;
    job.write_pipeline("compact_entries = 0")?;
    eprintln!("{segments} segments: made in {:.1} s", job.run()?.all.as_secs_f64());
    let long = job.resume()?;
    let start = Instant::now();
    job.compact()?;
    let compaction = start.elapsed();
    let compacted = job.resume()?;
    println!("| {segments} segments on a local disk | seconds | limit |");
    println!("|---|---:|---:|");
    println!("| start of a run | {:.2} | {LIMIT_SECONDS} |", long.start.as_secs_f64());
    println!("| that run with its end | {:.2} | |", long.all.as_secs_f64());
    println!("| `wasmpipe checkpoint compact` | {:.2} | |", compaction.as_secs_f64());
    println!("| start of a run after that | {:.2} | {LIMIT_COMPACTED_SECONDS} |", compacted.start.as_secs_f64());
    println!("| that run with its end | {:.2} | |", compacted.all.as_secs_f64());
    let is_slow = |time: Duration, limit| time.as_secs_f64() >= limit;
    if is_slow(long.start, LIMIT_SECONDS) || is_slow(compacted.start, LIMIT_COMPACTED_SECONDS) {
        return Err("a start took longer than its limit".into());
    }
    Ok(job)
}

/// A run of the job of single-row groups, and how many entries there are at most, from the newest compaction on.
fn most_entries(job: &Job, segments: i64) -> Result<usize> {
    remove(&job.work.join("in"))?;
    std::fs::create_dir_all(job.work.join("in"))?;
    job.write_rows("first", 0..segments)?;
    job.write_pipeline("")?;
    let mut run = job.start(Stdio::null())?;
    let mut most = 0;
    loop {
        most = most.max(job.entries());
        match run.try_wait()? {
            None => std::thread::sleep(Duration::from_millis(20)),
            Some(status) if status.success() => return Ok(most),
            Some(status) => return Err(format!("the run ended with {status}").into()),
        }
    }
}

/// A job whose every row is a segment of its own: `<name>.toml`, `<name>-out/`, `<name>-checkpoint/`.
struct Job<'a> {
    wasmpipe: &'a Path,
    work: &'a Path,
    name: &'static str,
    /// The first number that no file holds.
    next: i64,
}

/// How long a run took.
struct Took {
    /// Until the work began.
    start: Duration,
    all: Duration,
}

impl Job<'_> {
    fn write_pipeline(&self, more: &str) -> Result {
        let name = self.name;
        let text = format!(
            "[source]\npath = \"in/\"\nid = \"n\"\n[sink]\npath = \"{name}-out/\"\n[checkpoint]\npath = \"{name}-checkpoint/\"\n\
             group_rows_max = 1\n{more}\n[run]\nblock_rows_max = 1\n"
        );
        Ok(std::fs::write(self.pipeline(), text)?)
    }

    fn pipeline(&self) -> PathBuf {
        self.work.join(format!("{}.toml", self.name))
    }

    fn write_rows(&self, name: &str, numbers: std::ops::Range<i64>) -> Result {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(numbers));
        let batch = RecordBatch::try_from_iter([("n", column)])?;
        let file = File::create(self.work.join("in").join(format!("{name}.parquet")))?;
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(10_000)).build();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties))?;
        writer.write(&batch)?;
        writer.close()?;
        Ok(())
    }

    /// One more row, and the run that does it.
    fn resume(&mut self) -> Result<Took> {
        self.write_rows(&format!("later-{}", self.next), self.next..self.next + 1)?;
        self.next += 1;
        self.run()
    }

    fn start(&self, said: Stdio) -> Result<Child> {
        let mut command = Command::new(self.wasmpipe);
        command.args(["run", "--quiet"]).arg(self.pipeline()).env("WASMPIPE_LOG", "wasmpipe::pipeline=info");
        Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said).spawn()?)
    }

    fn run(&self) -> Result<Took> {
        let begin = Instant::now();
        let mut run = self.start(Stdio::piped())?;
        let mut start = None;
        let mut said = Vec::new();
        for line in BufReader::new(run.stderr.take().expect("piped")).lines() {
            let line = line?;
            if line.contains(BEGINS) {
                start.get_or_insert(begin.elapsed());
            }
            if !line.contains("committed a group") {
                said.push(line);
            }
        }
        if !run.wait()?.success() {
            return Err(said.join("\n").into());
        }
        Ok(Took { start: start.ok_or("the run did not say when it began")?, all: begin.elapsed() })
    }

    fn compact(&self) -> Result {
        let mut command = Command::new(self.wasmpipe);
        let status = command.args(["checkpoint", "compact"]).arg(self.pipeline()).stdout(Stdio::null()).status()?;
        if status.success() { Ok(()) } else { Err("`wasmpipe checkpoint compact` failed".into()) }
    }

    /// Entries of lane 0 from its newest compaction on, while a run is at work: what a start would read.
    fn entries(&self) -> usize {
        let lane = self.work.join(format!("{}-checkpoint/lane/0", self.name));
        let mut names: Vec<_> = std::fs::read_dir(&lane).into_iter().flatten().flatten().map(|e| e.path()).collect();
        names.sort();
        let is_compaction = |path: &&PathBuf| {
            std::fs::read_to_string(path).is_ok_and(|entry| entry.starts_with("{\n  \"entry\": \"compaction\""))
        };
        names.iter().rev().position(|path| is_compaction(&path)).map_or(names.len(), |place| place + 1)
    }
}
