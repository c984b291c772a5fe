//! One pipeline file, and the process that runs it: what a person does in a terminal.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::Result;

/// Exit codes of a run that did all it could: finished, and finished with failed rows under `on_error = "skip"`.
const FINISHED: i32 = 0;
const FINISHED_WITH_FAILED_ROWS: i32 = 3;

/// The columns of the output, the row's identity first.
const COLUMNS: &str = r#"["path", "crate", "language", "licence", "comment_share", "lines", "passage", "tokens"]"#;

/// How a job is cut up; what comes out does not depend on it.
#[derive(Clone, Copy)]
pub(crate) struct Cut {
    pub(crate) workers: usize,
    /// None: as usual.
    pub(crate) group_rows: Option<usize>,
    pub(crate) checkpoint: bool,
    /// Whether rows are known by their path in the corpus, not by their position in a file.
    pub(crate) id: bool,
}

/// A job in the work folder: `<name>.toml`, `<name>-out/`, `<name>-checkpoint/`, `<name>.log`.
pub(crate) struct Job<'a> {
    pub(crate) wasmpipe: &'a Path,
    pub(crate) work: &'a Path,
    pub(crate) name: &'a str,
}

impl Job<'_> {
    /// Writes the pipeline file and removes what an earlier try left.
    pub(crate) fn prepare(&self, cut: Cut) -> Result {
        remove(&self.out())?;
        remove(&self.checkpoint())?;
        Ok(std::fs::write(self.file(), self.pipeline(cut))?)
    }

    pub(crate) fn out(&self) -> PathBuf {
        self.work.join(format!("{}-out", self.name))
    }

    pub(crate) fn checkpoint(&self) -> PathBuf {
        self.work.join(format!("{}-checkpoint", self.name))
    }

    /// Runs the job to its end.
    pub(crate) fn run(&self) -> Result<Summary> {
        let summary = self.work.join(format!("{}-summary.json", self.name));
        remove(&summary)?;
        let status = self.command()?.arg("--summary").arg(&summary).status()?;
        match status.code() {
            Some(FINISHED | FINISHED_WITH_FAILED_ROWS) => Summary::read(&summary),
            _ => Err(format!("the run ended with {status}; its last words:\n{}", self.last_words()?).into()),
        }
    }

    /// Starts the job and does not wait for it.
    pub(crate) fn start(&self) -> Result<Child> {
        Ok(self.command()?.spawn()?)
    }

    /// What the checkpoint holds, as `wasmpipe checkpoint inspect` tells it.
    pub(crate) fn committed(&self) -> Result<Committed> {
        let output =
            Command::new(self.wasmpipe).args(["checkpoint", "inspect", "--json"]).arg(self.checkpoint()).output()?;
        if !output.status.success() {
            return Err(format!("checkpoint inspect failed:\n{}", String::from_utf8_lossy(&output.stderr)).into());
        }
        Committed::parse(&output.stdout)
    }

    fn file(&self) -> PathBuf {
        self.work.join(format!("{}.toml", self.name))
    }

    fn command(&self) -> Result<Command> {
        let log = OpenOptions::new().create(true).append(true).open(self.log())?;
        let mut command = Command::new(self.wasmpipe);
        command.arg("run").arg(self.file()).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(command)
    }

    fn log(&self) -> PathBuf {
        self.work.join(format!("{}.log", self.name))
    }

    fn last_words(&self) -> Result<String> {
        let log = String::from_utf8_lossy(&std::fs::read(self.log())?).into_owned();
        let lines: Vec<&str> = log.lines().collect();
        Ok(lines[lines.len().saturating_sub(20)..].join("\n"))
    }

    fn pipeline(&self, cut: Cut) -> String {
        let Cut { workers, group_rows, checkpoint, id } = cut;
        let name = self.name;
        let group = group_rows.map(|rows| format!("group_rows_max = {rows}\n")).unwrap_or_default();
        let id = if id { "id = \"path\"\n" } else { "" };
        let checkpoint = match checkpoint {
            true => format!("[checkpoint]\npath = \"{name}-checkpoint/\"\n{group}"),
            false => String::new(),
        };
        format!(
            r#"# Drops files that no person wrote, extracts facts about the others, and cuts them into passages.

[source]
path = "corpus/*.parquet"
{id}
[[stage]]
component = "code.wasm"
function = "handwritten"

[[stage]]
component = "code.wasm"
function = "facts"

[[stage]]
component = "code.wasm"
function = "passages"
on_error = "skip"

[sink]
path = "{name}-out/"
format = "parquet"
columns = {COLUMNS}

{checkpoint}
[run]
workers = {workers}
"#
        )
    }
}

/// What counts as done, read from outside.
#[derive(Clone, Copy, Default)]
pub(crate) struct Committed {
    pub(crate) rows: u64,
    pub(crate) commits: u64,
}

impl Committed {
    fn parse(json: &[u8]) -> Result<Committed> {
        let value = serde_json::from_slice(json)?;
        Ok(Committed { rows: number(&value, "rows_committed")?, commits: number(&value, "commits")? })
    }
}

impl fmt::Display for Committed {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} rows in {} commits", self.rows, self.commits)
    }
}

/// The summary that a run leaves.
pub(crate) struct Summary(Value);

impl Summary {
    fn read(path: &Path) -> Result<Summary> {
        let file = File::open(path).map_err(|e| format!("{}: {e}; the run left no summary", path.display()))?;
        Ok(Summary(serde_json::from_reader(file)?))
    }

    /// A count of rows, such as `rows_read`.
    pub(crate) fn rows(&self, key: &str) -> Result<u64> {
        number(&self.0, key)
    }

    /// How long the run took.
    pub(crate) fn seconds(&self) -> Result<f64> {
        Ok(self.0["seconds"].as_f64().ok_or_else(|| format!("the summary has no `seconds`: {}", self.0))?)
    }

    /// Where the time went: `decode`, `guest` and so on with the seconds that all workers together spent there.
    pub(crate) fn parts(&self) -> Vec<(&str, f64)> {
        let parts = self.0.as_object().into_iter().flatten();
        parts.filter_map(|(key, value)| Some((key.strip_prefix("seconds_")?, value.as_f64()?))).collect()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mut words = Vec::new();
        for what in ["read", "skipped", "dropped", "failed", "written"] {
            words.push(format!("{what} {}", self.0[format!("rows_{what}")]));
        }
        write!(f, "rows: {}; {:.1} s", words.join(", "), self.0["seconds"].as_f64().unwrap_or(f64::NAN))
    }
}

fn number(value: &Value, key: &str) -> Result<u64> {
    Ok(value[key].as_u64().ok_or_else(|| format!("no number `{key}` in {value}"))?)
}

/// Removes a file or folder, if it is there.
pub(crate) fn remove(path: &Path) -> Result {
    let removed = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    match removed {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(format!("{}: {e}", path.display()).into()),
        _ => Ok(()),
    }
}
