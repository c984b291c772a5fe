//! How long does it take to turn JSON Lines into Parquet and back, and in how much memory, beside DuckDB, Polars and pyarrow?
//!
//! Records as people curate them: twelve keys, some nested, a text of 2 KB. All take turns on the same file, page cache warm;
//! columns are declared, the codec is zstd at level 1 within Parquet and 3 around JSON Lines. wasmpipe runs a pipeline without functions, with a checkpoint, and syncs
//! what it writes; the others do neither. Every output is read again and compared, value by value.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bench::median;
use crate::job::remove;
use crate::tree::{self, Used};
use crate::{Result, given};

const ROWS: usize = 400_000;
const ROUNDS: usize = 3;
/// Bytes of a record's text, half of it to one and a half of it.
const TEXT_BYTES: u64 = 2048;

const SCHEMA: &str = r#"schema = { id = "string", url = "string", text = "string", language = "string", language_score = "float64", date = "timestamp[us, UTC]", source = "string", tokens = "int64", quality = "struct<edu: float64, spam: float64>", tags = "list<string>", meta = "struct<status: int64, mime: string, hops: list<int64>>", duplicate = "bool" }
"#;

const CONTENDERS: [&str; 4] = ["wasmpipe", "duckdb", "polars", "pyarrow"];

#[derive(Clone, Copy)]
struct Direction {
    word: &'static str,
    title: &'static str,
    from: &'static str,
    /// How names of outputs end.
    to: &'static str,
    /// Who cannot.
    without: &'static [&'static str],
}

const DIRECTIONS: [Direction; 2] = [
    Direction {
        word: "to-parquet",
        title: "JSON Lines to Parquet",
        from: "records.jsonl",
        to: "parquet",
        without: &[],
    },
    Direction {
        word: "to-jsonl",
        title: "Parquet to JSON Lines, zstd",
        from: "records.parquet",
        to: "jsonl.zst",
        // It writes no JSON.
        without: &["pyarrow"],
    },
];

struct Course {
    wasmpipe: PathBuf,
    work: PathBuf,
    python: PathBuf,
    scripts: PathBuf,
}

pub(crate) fn measure(words: &[&str]) -> Result {
    let names = ["--wasmpipe", "--component", "--work", "--python", "--scripts", "--rows", "--rounds"];
    let given = given(words, &names, &[])?;
    let course = Course {
        wasmpipe: given.path("--wasmpipe")?,
        work: given.path("--work")?,
        python: given.path("--python")?,
        scripts: given.path("--scripts")?,
    };
    let (rows, rounds) = (given.number("--rows", ROWS)?, given.number("--rounds", ROUNDS)?);
    remove(&course.work)?;
    std::fs::create_dir_all(&course.work)?;
    let bytes = course.prepare(rows)?;
    println!(
        "{rows} records, {:.2} GB of JSON Lines. Medians of {rounds} rounds; those of the clock in brackets.\n",
        bytes as f64 / 1e9
    );
    for direction in DIRECTIONS {
        println!("{}", course.table(direction, rounds)?);
    }
    Ok(())
}

impl Course {
    /// The source of each direction. Gives the bytes of the first.
    fn prepare(&self, rows: usize) -> Result<u64> {
        let lines = self.path(DIRECTIONS[0].from);
        write_records(&lines, rows)?;
        let parquet = self.path(DIRECTIONS[1].from);
        tree::run(
            self.script("pyarrow").arg("to-parquet").arg("--source").arg(&lines).arg("--out").arg(&parquet),
            &self.path("log"),
        )?;
        Ok(std::fs::metadata(lines)?.len())
    }

    fn table(&self, direction: Direction, rounds: usize) -> Result<String> {
        let who = || CONTENDERS.into_iter().filter(|who| !direction.without.contains(who));
        let mut used: Vec<(&str, Vec<Used>)> = who().map(|who| (who, Vec::new())).collect();
        for _ in 0..rounds {
            for (who, used) in &mut used {
                used.push(self.run(who, direction)?);
                eprintln!("{who} {}: {:.2} s", direction.word, used[used.len() - 1].seconds);
            }
        }
        let mut table =
            format!("| {} | seconds | processor seconds | peak memory, MiB |\n|---|---:|---:|---:|\n", direction.title);
        for (who, used) in &used {
            let of = |figure: fn(&Used) -> f64| median(used.iter().map(figure));
            let rounds: Vec<String> = used.iter().map(|used| format!("{:.2}", used.seconds)).collect();
            let (seconds, cpu) = (of(|used| used.seconds), of(|used| used.cpu_seconds));
            let memory = of(|used| used.fair_memory() as f64) / f64::from(1 << 20);
            writeln!(table, "| {who} | {seconds:.2} ({}) | {cpu:.2} | {memory:.0} |", rounds.join(", "))?;
        }
        Ok(table)
    }

    fn run(&self, who: &str, direction: Direction) -> Result<Used> {
        let (out, source) = (self.path("out"), self.path(direction.from));
        remove(&out)?;
        remove(&self.path("checkpoint"))?;
        // It is in memory then.
        std::io::copy(&mut File::open(&source)?, &mut std::io::sink())?;
        let log = self.path("log");
        let (used, files) = match who {
            "wasmpipe" => {
                let (file, schema) = (self.path("formats.toml"), if direction.to == "parquet" { SCHEMA } else { "" });
                let format = if direction.to == "parquet" { "parquet" } else { "jsonl" };
                let text = format!(
                    "[source]\npath = \"{}\"\n{schema}[sink]\npath = \"out/\"\nformat = \"{format}\"\n[checkpoint]\npath = \"checkpoint/\"\n",
                    direction.from
                );
                std::fs::write(&file, text)?;
                let mut run = Command::new(&self.wasmpipe);
                (tree::run(run.arg("run").arg("--quiet").arg(file), &log)?, out.join(format!("*.{}", direction.to)))
            }
            peer => {
                std::fs::create_dir_all(&out)?;
                let file = out.join(format!("out.{}", direction.to));
                let mut job = self.script(peer);
                job.arg(direction.word).arg("--source").arg(&source).arg("--out").arg(&file);
                (tree::run(&mut job, &log)?, file)
            }
        };
        tree::run(self.script("compare").arg("--source").arg(&source).arg("--out").arg(files), &log)
            .map_err(|error| format!("{who}: {error}"))?;
        Ok(used)
    }

    fn script(&self, job: &str) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(self.scripts.join("formats.py")).arg(job);
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.work.join(name)
    }
}

/// The same numbers every time.
struct Random(u64);

impl Random {
    fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    fn word(&mut self) -> String {
        let letters = 2 + self.below(9);
        match self.below(60) {
            0 => "naïve".into(),
            1 => "日本語".into(),
            2 => r#"\"quoted\""#.into(),
            3 => r"line\nbreak".into(),
            _ => (0..letters).map(|_| char::from(b'a' + self.below(26) as u8)).collect(),
        }
    }

    fn fraction(&mut self) -> f64 {
        self.below(1 << 30) as f64 / f64::from(1 << 30)
    }
}

fn write_records(path: &Path, rows: usize) -> Result {
    let mut random = Random(7);
    let words: Vec<String> = (0..4096).map(|_| random.word()).collect();
    let mut file = BufWriter::new(File::create(path)?);
    for row in 0..rows {
        let bytes = TEXT_BYTES / 2 + random.below(TEXT_BYTES);
        let mut text = String::new();
        while (text.len() as u64) < bytes {
            text.push_str(&words[random.below(4096) as usize]);
            text.push(' ');
        }
        let language = ["en", "de", "ja"][random.below(3) as usize];
        let (month, day, hour) = (1 + random.below(12), 1 + random.below(28), random.below(24));
        let tags = [r"", r#""a""#, r#""b", "c""#][random.below(3) as usize];
        let (score, edu, spam) = (random.fraction(), random.fraction(), random.fraction());
        let duplicate = random.below(10) == 0;
        writeln!(
            file,
            r#"{{"id": "doc-{row:09}", "url": "https://example.org/{row}", "text": "{text}", "language": "{language}", "language_score": {score}, "date": "2026-{month:02}-{day:02}T{hour:02}:00:00Z", "source": "crawl", "tokens": {tokens}, "quality": {{"edu": {edu}, "spam": {spam}}}, "tags": [{tags}], "meta": {{"status": 200, "mime": "text/html", "hops": [1, 2]}}, "duplicate": {duplicate}}}"#,
            tokens = bytes / 4,
        )?;
    }
    Ok(file.flush()?)
}
