//! How long until a job goes on that a checkpoint of another system has done four fifths of, and in how much memory?
//!
//! The job of Ray's pull request 60294: 100,000,000 string ids in 10,000 Parquet files, the first 80,000,000 in a checkpoint,
//! a `map_batches` that returns what it gets, Parquet out. Ray Data runs it with a checkpoint of its own; DuckDB and Polars do
//! the anti-join only, which is the heart of it. All take turns on the same files, page cache warm, and every output is read
//! again: each id that was not done exactly once.
//!
//! Expected: time = ids of the checkpoint * (decode + sort) + ids of the source * (decode + ask) + rows left * (function +
//! encode) + files * open; half a second of each on two cores, and as much again for writing and syncing. Memory is that of a few
//! blocks and of the sort, whatever the number of ids; the id file is mapped.

mod data;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::bench::median;
use crate::job::remove;
use crate::tree::{self, Used};
use crate::{Result, given};
use data::Data;

const ROUNDS: usize = 3;
/// Ray Data takes minutes.
const RAY_ROUNDS: usize = 1;

/// Who does the job, in the order of a round.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Contender {
    /// Import, then run: nothing is there but the other system's checkpoint.
    First,
    /// The run once more, with the checkpoint as the import left it and the id file in the cache.
    Second,
    DuckDb,
    Polars,
    Ray,
}

const CONTENDERS: [Contender; 5] =
    [Contender::First, Contender::Second, Contender::DuckDb, Contender::Polars, Contender::Ray];

impl Contender {
    /// What `--only` calls it, and its script.
    fn word(self) -> &'static str {
        match self {
            Contender::First | Contender::Second => "wasmpipe",
            Contender::DuckDb => "duckdb",
            Contender::Polars => "polars",
            Contender::Ray => "ray",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Contender::First => "wasmpipe, import and run",
            Contender::Second => "wasmpipe, id file already there",
            Contender::DuckDb => "DuckDB, anti-join only",
            Contender::Polars => "Polars, anti-join only",
            Contender::Ray => "Ray Data",
        }
    }
}

/// What `resume` is told.
struct Options {
    wasmpipe: PathBuf,
    component: PathBuf,
    work: PathBuf,
    data: PathBuf,
    python: PathBuf,
    python_ray: PathBuf,
    /// `peers.py` and `plot.py`.
    scripts: PathBuf,
    plot: PathBuf,
    scale: u64,
    rounds: usize,
    ray_rounds: usize,
    only: Option<String>,
}

pub(crate) fn measure(words: &[&str]) -> Result {
    let options = Options::parse(words)?;
    let data = Data::ensure(&options.data, options.scale)?;
    remove(&options.work)?;
    std::fs::create_dir_all(&options.work)?;
    let course = Course { options: &options, data: &data };
    course.prepare()?;
    let mut used: BTreeMap<Contender, Vec<Used>> = BTreeMap::new();
    for round in 0..options.rounds.max(options.ray_rounds) {
        for contender in CONTENDERS.into_iter().filter(|contender| options.is_wanted(*contender, round)) {
            let own = course.run(contender)?;
            eprintln!("{}: {}", contender.title(), line(&own));
            used.entry(contender).or_default().push(own);
        }
    }
    let bytes = data.warm()?;
    print!("{}", table(&data, bytes, &used));
    course.plot(&used)
}

impl Options {
    fn parse(words: &[&str]) -> Result<Options> {
        let names = [
            "--wasmpipe",
            "--component",
            "--work",
            "--data",
            "--python",
            "--python-ray",
            "--scripts",
            "--plot",
            "--scale",
            "--rounds",
            "--ray-rounds",
            "--only",
        ];
        let given = given(words, &names, &[])?;
        let path = |name: &str| given.path(name);
        let number = |name: &str, otherwise: usize| given.number(name, otherwise);
        let work = path("--work")?;
        Ok(Options {
            wasmpipe: path("--wasmpipe")?,
            component: path("--component")?,
            data: path("--data")?,
            python: path("--python")?,
            python_ray: path("--python-ray")?,
            scripts: path("--scripts")?,
            plot: if given.has("--plot") { path("--plot")? } else { work.join("resume.png") },
            scale: number("--scale", 1)?.clamp(1, 800) as u64,
            rounds: number("--rounds", ROUNDS)?,
            ray_rounds: number("--ray-rounds", RAY_ROUNDS)?,
            only: given.text("--only").map(str::to_owned),
            work,
        })
    }

    fn is_wanted(&self, contender: Contender, round: usize) -> bool {
        let rounds = if contender == Contender::Ray { self.ray_rounds } else { self.rounds };
        let is_named = |only: &String| only.split(',').any(|word| word == contender.word());
        round < rounds && self.only.as_ref().is_none_or(is_named)
    }
}

/// The work folder: `resume.toml`, `out/`, `checkpoint/`, `imported/` (the checkpoint as the import left it), `cache/`, and a
/// log of each program.
struct Course<'a> {
    options: &'a Options,
    data: &'a Data,
}

impl Course<'_> {
    /// The pipeline file, and the compiled component in the cache.
    fn prepare(&self) -> Result {
        std::fs::copy(&self.options.component, self.path("identity.wasm"))?;
        let source = self.data.source();
        let text = format!(
            "[source]\npath = {:?}\nid = \"id\"\n[[stage]]\ncomponent = \"identity.wasm\"\nfunction = \"identity\"\n\
             [sink]\npath = \"out/\"\ncolumns = [\"id\"]\n[checkpoint]\npath = \"checkpoint/\"\n",
            source.to_str().ok_or("the data lie in a folder whose name is no text")?
        );
        std::fs::write(self.path("resume.toml"), text)?;
        tree::run(self.wasmpipe(&["check"]).arg(self.path("resume.toml")), &self.path("check.log"))?;
        Ok(())
    }

    /// One job from its beginning to its verified end.
    fn run(&self, contender: Contender) -> Result<Used> {
        remove(&self.path("out"))?;
        remove(&self.path("checkpoint"))?;
        self.data.warm()?;
        let used = match contender {
            Contender::First => self.first()?,
            Contender::Second => self.second()?,
            peer => self.peer(peer)?,
        };
        self.data.verify(&self.path("out")).map_err(|error| format!("{}: {error}", contender.title()))?;
        remove(&self.path("out"))?;
        Ok(used)
    }

    fn first(&self) -> Result<Used> {
        remove(&self.path("cache/ids"))?;
        let mut import = self.wasmpipe(&["checkpoint", "import"]);
        import.arg(self.path("resume.toml")).arg(self.data.checkpoint());
        let import = tree::run(&mut import, &self.path("import.log"))?;
        // For the second resume, outside of both.
        remove(&self.path("imported"))?;
        copy(&self.path("checkpoint"), &self.path("imported"), |from, to| std::fs::copy(from, to).map(drop))?;
        let run = self.resume("first")?;
        eprintln!("  import: {}\n  run: {}", line(&import), line(&run));
        Ok(import.then(run))
    }

    fn second(&self) -> Result<Used> {
        copy(&self.path("imported"), &self.path("checkpoint"), |from, to| std::fs::copy(from, to).map(drop))?;
        self.resume("second")
    }

    fn resume(&self, name: &str) -> Result<Used> {
        let summary = self.path(&format!("{name}.json"));
        let mut run = self.wasmpipe(&["run", "--quiet", "--summary"]);
        let used = tree::run(run.arg(&summary).arg(self.path("resume.toml")), &self.path(&format!("{name}.log")))?;
        let told: Value = serde_json::from_slice(&std::fs::read(summary)?)?;
        let (read, known) = (told["rows_read"].as_u64(), told["rows_known"].as_u64());
        let left = self.data.rows() - self.data.rows_done();
        if (read, known) != (Some(left), Some(self.data.rows_done())) {
            return Err(format!("{left} rows were to be run: {told}").into());
        }
        eprintln!("  seconds of all threads: {}", parts(&told));
        Ok(used)
    }

    fn peer(&self, peer: Contender) -> Result<Used> {
        // Ray Data adds to the checkpoint: files of the same bytes under names of their own.
        copy(&self.data.checkpoint(), &self.path("checkpoint"), |from, to| std::fs::hard_link(from, to))?;
        let python = if peer == Contender::Ray { &self.options.python_ray } else { &self.options.python };
        let mut command = Command::new(python);
        // Ray keeps files of its own in the home folder.
        command.env("HOME", &self.options.work).arg(self.options.scripts.join("peers.py")).arg(peer.word());
        command.arg("--source").arg(self.data.source()).arg("--checkpoint").arg(self.path("checkpoint"));
        tree::run(command.arg("--out").arg(self.path("out")), &self.path(&format!("{}.log", peer.word())))
    }

    fn plot(&self, used: &BTreeMap<Contender, Vec<Used>>) -> Result {
        let bars: Vec<Value> = used
            .iter()
            .map(|(contender, used)| {
                let middle = middle(used);
                json!({"name": contender.title(), "seconds": middle.seconds, "bytes": middle.fair_memory()})
            })
            .collect();
        let title =
            format!("{} million ids, {} million done", self.data.rows() / 1_000_000, self.data.rows_done() / 1_000_000);
        let results = self.path("results.json");
        std::fs::write(&results, json!({"title": title, "bars": bars}).to_string())?;
        let mut plot = Command::new(&self.options.python);
        plot.arg(self.options.scripts.join("plot.py")).arg(&results).arg(&self.options.plot);
        tree::run(&mut plot, &self.path("plot.log"))?;
        println!("\n![wall seconds and peak memory]({})", self.options.plot.display());
        Ok(())
    }

    fn wasmpipe(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.options.wasmpipe);
        command.args(words).env("WASMPIPE_CACHE", self.path("cache"));
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.options.work.join(name)
    }
}

/// A folder again, each file by `file`.
fn copy(from: &Path, to: &Path, file: fn(&Path, &Path) -> std::io::Result<()>) -> Result {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let path = entry?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() { copy(&path, &target, file)? } else { file(&path, &target)? }
    }
    Ok(())
}

/// Where the time of a run went, as its summary tells.
fn parts(summary: &Value) -> String {
    let parts = summary.as_object().into_iter().flatten();
    let parts = parts.filter_map(|(key, value)| Some((key.strip_prefix("seconds_")?, value.as_f64()?)));
    parts.map(|(part, seconds)| format!("{part} {seconds:.2}")).collect::<Vec<_>>().join(", ")
}

/// The median of every figure.
fn middle(used: &[Used]) -> Used {
    let of = |figure: fn(&Used) -> f64| median(used.iter().map(figure));
    Used {
        seconds: of(|used| used.seconds),
        cpu_seconds: of(|used| used.cpu_seconds),
        memory: of(|used| used.memory as f64) as u64,
        mapped: of(|used| used.mapped as f64) as u64,
        shared_once: of(|used| used.shared_once as f64) as u64,
        processes: of(|used| used.processes as f64) as usize,
    }
}

fn line(used: &Used) -> String {
    let Used { seconds, cpu_seconds, memory, mapped, processes, .. } = used;
    let (memory, mapped) = (gibibytes(*memory), gibibytes(*mapped));
    format!(
        "{seconds:.2} s, {cpu_seconds:.2} s of processors, {memory} GiB and {mapped} GiB of files, {processes} processes"
    )
}

fn gibibytes(bytes: u64) -> String {
    format!("{:.2}", bytes as f64 / f64::from(1 << 30))
}

fn table(data: &Data, bytes: u64, used: &BTreeMap<Contender, Vec<Used>>) -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut lines = vec![
        format!(
            "{} rows, {} of them done; {:.2} GiB of Parquet; {cores} cores; page cache warm. Medians; wall seconds of every round in \
             brackets.",
            data.rows(),
            data.rows_done(),
            bytes as f64 / f64::from(1 << 30),
        ),
        String::new(),
        "| | wall seconds | CPU seconds | peak memory, GiB | shared pages once | mapped files then, GiB | processes |"
            .to_owned(),
        "|---|---:|---:|---:|---:|---:|---:|".to_owned(),
    ];
    for (contender, used) in used {
        let Used { seconds, cpu_seconds, memory, mapped, shared_once, processes } = middle(used);
        let rounds: Vec<String> = used.iter().map(|used| format!("{:.2}", used.seconds)).collect();
        let once = if shared_once > 0 { gibibytes(shared_once) } else { String::new() };
        lines.push(format!(
            "| {} | {seconds:.2} ({}) | {cpu_seconds:.1} | {} | {once} | {} | {processes} |",
            contender.title(),
            rounds.join(", "),
            gibibytes(memory),
            gibibytes(mapped),
        ));
    }
    lines.join("\n") + "\n"
}
