//! What the tests share: a folder with a corpus and a pipeline file, runs of it, and its output as a multiset.

#![allow(clippy::unwrap_used, reason = "tests")]

pub mod attacked;
pub mod everything;
pub mod forge;
pub mod hand;
pub mod pipeline;
pub mod place;
pub mod process;
pub mod random;
pub mod s3;
pub mod seam;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::properties::WriterProperties;
use wasmpipe::commit::View;
use wasmpipe::config;
use wasmpipe::format::compression::Compression;
use wasmpipe::format::compression::inflate::Inflate;
use wasmpipe::format::compression::pack::Pack;
use wasmpipe::message::{Hint, Message};
use wasmpipe::observe::{Outcome, Progress, Summary};
use wasmpipe::pipeline::Control;
use wasmpipe::plan::{self, LaneSet, Options, Plan};
use wasmpipe::store::{Store, Unwatched, Watch};
use wasmpipe::udf::{Compiler, Engine};

use place::Objects;
use seam::{Crash, Settling, Stop};

/// Rows as text, with how often each is there.
pub type Multiset = BTreeMap<String, u64>;

/// A folder with everything a job needs.
pub struct Workdir {
    folder: tempfile::TempDir,
}

impl Workdir {
    pub fn new() -> Workdir {
        Workdir::of(tempfile::tempdir().unwrap())
    }

    /// In memory, where the machine has a folder for that: hundreds of jobs of hundreds of small files each.
    pub fn quick() -> Workdir {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { Workdir::of(tempfile::tempdir_in(memory).unwrap()) } else { Workdir::new() }
    }

    /// In a folder of this name, among other temporary ones: URLs in a log say it.
    pub fn named(name: &str) -> Workdir {
        Workdir::of(tempfile::Builder::new().prefix(name).rand_bytes(0).tempdir().unwrap())
    }

    fn of(folder: tempfile::TempDir) -> Workdir {
        std::fs::create_dir(folder.path().join("in")).unwrap();
        Workdir { folder }
    }

    /// With a pipeline file and objects of the source: the name, numbers, and the rows of a row group.
    pub fn with(pipeline: &(impl Display + ?Sized), objects: &[(&str, Range<i64>, usize)]) -> Workdir {
        let workdir = Workdir::new();
        objects.iter().for_each(|(name, numbers, group)| workdir.numbers(name, numbers.clone(), *group));
        workdir.pipeline(pipeline);
        workdir
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes `in/<name>` with columns `id` (string) and `n`, in row groups of `group` rows.
    pub fn numbers(&self, name: &str, numbers: impl IntoIterator<Item = i64>, group: usize) {
        self.file(name, &number_batch(numbers), group);
    }

    pub fn file(&self, name: &str, batch: &RecordBatch, group: usize) {
        write_parquet(&self.path("in").join(name), batch, group);
    }

    /// Writes `pipeline.toml`; `{guests}` stands for the folder of test guests.
    pub fn pipeline(&self, text: &(impl Display + ?Sized)) -> PathBuf {
        self.pipeline_at("pipeline.toml", text)
    }

    pub fn pipeline_at(&self, name: &str, text: &(impl Display + ?Sized)) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text.to_string().replace("{guests}", guests().to_str().unwrap())).unwrap();
        path
    }

    /// Runs `pipeline.toml` in this process.
    pub fn run(&self) -> Ran {
        self.run_with(&Arc::new(Unwatched), false)
    }

    pub fn run_with<W: Watch + 'static>(&self, watch: &Arc<W>, accept_change: bool) -> Ran {
        run(&self.path("pipeline.toml"), watch, accept_change)
    }

    /// Runs `pipeline.toml` in this process, with options.
    pub fn run_as(&self, said: Said) -> Ran {
        run_as(&self.path("pipeline.toml"), &Arc::new(Unwatched), said)
    }

    /// Takes the job away from a run that only stands still, and so seems to be alive.
    pub fn take_over(&self) -> Ran {
        self.run_as(Said { take_over: true, ..Said::default() })
    }

    /// Runs the real binary.
    pub fn wasmpipe(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// The JSON that the real binary prints to stdout.
    #[track_caller]
    pub fn json(&self, args: &[&str], code: i32) -> serde_json::Value {
        let output = self.wasmpipe(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What the real binary says, stdout and then stderr, with the folder's name taken out.
    #[track_caller]
    pub fn said(&self, args: &[&str], code: i32) -> String {
        let output = self.wasmpipe(args);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{args:?}\n{out}{err}");
        format!("{out}{err}").replace(self.folder.path().canonicalize().unwrap().to_str().unwrap(), "")
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wasmpipe"));
        command.args(args).current_dir(self.folder.path()).env("WASMPIPE_CACHE", cache());
        command
    }

    /// The rows of every Parquet file in the folder, as a reader who globs it sees them.
    pub fn output(&self, folder: &str) -> Multiset {
        read_folder(&self.path(folder))
    }

    /// Every file below a folder, with its bytes. What is deleted meanwhile is not there.
    pub fn snapshot(&self, folder: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        let files = self.files(folder).into_iter();
        files.filter_map(|path| Some((path.clone(), std::fs::read(&path).ok()?))).collect()
    }

    /// Every file below a folder.
    pub fn files(&self, folder: &str) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut folders = vec![self.path(folder)];
        while let Some(next) = folders.pop() {
            for entry in std::fs::read_dir(&next).into_iter().flatten().flatten() {
                match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    true => folders.push(entry.path()),
                    false => files.push(entry.path()),
                }
            }
        }
        files.sort();
        files
    }

    /// As [`Workdir::snapshot`], by name: `out/...`.
    pub fn objects(&self, folder: &str) -> Objects {
        self.snapshot(folder).into_iter().map(|(path, bytes)| (self.name(&path), bytes.into())).collect()
    }

    /// What a file is called, as seen from here.
    pub fn name(&self, file: &Path) -> String {
        file.strip_prefix(self.folder.path()).unwrap().to_str().unwrap().to_owned()
    }

    /// `checkpoint inspect --json` of `checkpoint/`.
    /// What `dead-letters show --json` gives, by object and row.
    pub fn letters(&self) -> Vec<serde_json::Value> {
        let output = self.wasmpipe(&["dead-letters", "show", "--json", "pipeline.toml"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8(output.stdout).unwrap();
        let mut letters: Vec<serde_json::Value> =
            said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        letters.sort_by_key(|letter| (letter["object"].as_str().unwrap().to_owned(), letter["row"].as_u64()));
        letters
    }

    pub fn inspect(&self) -> serde_json::Value {
        self.json(&["checkpoint", "inspect", "--json", "checkpoint"], 0)
    }

    /// As [`place::assert_log_is_folder`]: a run is over, the job need not be.
    #[track_caller]
    pub fn assert_log_is_folder(&self) {
        place::assert_log_is_folder(&self.view(), &self.objects("out"), "");
    }

    /// As [`place::assert_manifest_is_folder`]: the job is finished.
    #[track_caller]
    pub fn assert_manifest_is_folder(&self) {
        place::assert_manifest_is_folder(&self.view(), &self.objects("out"), "");
    }

    /// What the log says.
    pub fn view(&self) -> View {
        let watch: Arc<dyn Watch> = Arc::new(Unwatched);
        place::view(&self.store("checkpoint", "checkpoint", &watch))
    }

    /// The store that a section of the pipeline file names; `folder` is its path.
    pub fn store(&self, name: &'static str, folder: &str, watch: &Arc<dyn Watch>) -> Store {
        Store::local(name, &self.path(folder), watch).unwrap()
    }
}

/// How a run in this process went.
#[derive(Debug)]
pub struct Ran {
    pub summary: Option<Summary>,
    pub error: Option<String>,
}

impl Ran {
    pub fn summary(&self) -> &Summary {
        self.summary.as_ref().unwrap_or_else(|| panic!("refused: {}", self.error()))
    }

    pub fn error(&self) -> &str {
        self.error.as_deref().unwrap_or("")
    }

    /// The summary of a run that finished.
    #[track_caller]
    pub fn finished(&self) -> &Summary {
        assert!(self.error.is_none(), "{}", self.error());
        let summary = self.summary();
        assert!(matches!(summary.outcome, Outcome::Finished | Outcome::FinishedWithFailedRows), "{summary:?}");
        summary
    }

    /// The message of a job that was refused while it was planned.
    #[track_caller]
    pub fn refused(&self) -> &str {
        assert!(self.summary.is_none(), "not refused: {:?}", self.summary);
        self.error()
    }
}

/// What the command line would say.
#[derive(Clone, Debug, Default)]
pub struct Said {
    pub accept_change: bool,
    pub take_over: bool,
    pub relocate: bool,
    pub retry_failed: bool,
    pub fresh: bool,
    pub lanes: LaneSet,
}

/// Plans and runs a pipeline file in this process.
pub fn run<W: Watch + 'static>(pipeline: &Path, watch: &Arc<W>, accept_change: bool) -> Ran {
    run_as(pipeline, watch, Said { accept_change, ..Said::default() })
}

/// As [`run`], with more options.
pub fn run_as<W: Watch + 'static>(pipeline: &Path, watch: &Arc<W>, said: Said) -> Ran {
    let watch = Arc::new(Settling::around(Arc::<W>::clone(watch)));
    let plan = match plan_as(pipeline, &watch, said) {
        Ok(plan) => plan,
        Err(error) => return Ran { summary: None, error: Some(error) },
    };
    let (summary, error) = wasmpipe::pipeline::run(plan, &Control::default(), &Arc::new(Progress::default()), |_| ());
    watch.settle(pipeline.parent().unwrap());
    Ran { summary: Some(summary), error: error.as_ref().map(told) }
}

/// Plans a pipeline file in this process; an error is what people would read.
pub fn plan<W: Watch + 'static>(pipeline: &Path, watch: &Arc<W>, accept_change: bool) -> Result<Plan, String> {
    plan_as(pipeline, watch, Said { accept_change, ..Said::default() })
}

pub fn plan_as<W: Watch + 'static>(pipeline: &Path, watch: &Arc<W>, said: Said) -> Result<Plan, String> {
    let config = config::load(pipeline).map_err(|problems| problems.to_string())?;
    let Said { accept_change, take_over, relocate, retry_failed, fresh, lanes } = said;
    let options = Options {
        accept_change,
        take_over,
        relocate,
        retry_failed,
        fresh,
        completes_deletion: true,
        lanes,
        engine: engine(),
        cache: cache(),
        cache_ids_bytes_max: u64::MAX,
        watch: Arc::<W>::clone(watch),
        environment: s3::environment(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(plan::make(&config, &options)).map_err(|error| told(&error))
}

/// What an error says, and what to do about it.
pub fn told(error: &impl Hint) -> String {
    Message::brief(error).line()
}

/// Whether tests that can take long do: `cargo xtask soak`.
pub fn is_soak() -> bool {
    std::env::var_os("WASMPIPE_SOAK").is_some()
}

/// One for all tests: its components are compiled once, its clock is one thread.
fn engine() -> Arc<Engine> {
    static ENGINE: OnceLock<Arc<Engine>> = OnceLock::new();
    Arc::clone(ENGINE.get_or_init(|| wasmpipe::pipeline::engine_with(&cache(), compiler()).unwrap()))
}

/// The real binary compiles.
pub fn compiler() -> Compiler {
    Compiler::by(Some(env!("CARGO_BIN_EXE_wasmpipe").into()))
}

/// Test guests, built by `cargo xtask test`.
pub fn guests() -> PathBuf {
    let folder = std::env::var_os("WASMPIPE_TEST_GUESTS").map(PathBuf::from);
    folder
        .expect("the tests need guests\nhint: run `cargo xtask test`, which builds them and sets WASMPIPE_TEST_GUESTS")
}

/// Derived files of all tests: compiling a guest once is enough, and id files carry their job's name.
fn cache() -> PathBuf {
    guests().join("cache")
}

/// Id files that were built for a job.
pub fn id_files(job: &str) -> usize {
    let files = std::fs::read_dir(cache().join("ids")).into_iter().flatten().flatten();
    files.filter(|entry| entry.file_name().to_str().unwrap().starts_with(job)).count()
}

/// `id` is `id-<number>`, `n` the number.
pub fn number_batch(numbers: impl IntoIterator<Item = i64>) -> RecordBatch {
    let numbers: Vec<i64> = numbers.into_iter().collect();
    let ids: StringArray = numbers.iter().map(|number| Some(format!("id-{number}"))).collect();
    let columns: [(&str, ArrayRef); 2] = [("id", Arc::new(ids)), ("n", Arc::new(Int64Array::from(numbers)))];
    RecordBatch::try_from_iter(columns).unwrap()
}

pub fn write_parquet(path: &Path, batch: &RecordBatch, group: usize) {
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group)).build();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
}

pub fn read_parquet(path: &Path) -> Vec<RecordBatch> {
    let file = std::fs::File::open(path).unwrap();
    ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap().map(Result::unwrap).collect()
}

/// The rows of these files of a folder.
pub fn read_files<'a>(folder: &Path, names: impl IntoIterator<Item = &'a str>) -> Multiset {
    let mut rows = Multiset::new();
    for name in names {
        read_parquet(&folder.join(name)).iter().for_each(|batch| add_rows(&mut rows, batch));
    }
    rows
}

pub fn read_folder(folder: &Path) -> Multiset {
    let mut rows = Multiset::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "parquet") {
            read_parquet(&entry.path()).iter().for_each(|batch| add_rows(&mut rows, batch));
        }
    }
    rows
}

fn add_rows(rows: &mut Multiset, batch: &RecordBatch) {
    let options = FormatOptions::default().with_null("null");
    let columns: Vec<_> =
        batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap()).collect();
    for row in 0..batch.num_rows() {
        let cells: Vec<String> = columns.iter().map(|column| column.value(row).to_string()).collect();
        *rows.entry(cells.join("|")).or_default() += 1;
    }
}

/// Points that are played at the same time: most of the time they wait.
const POINTS_AT_ONCE: usize = 12;

/// Does something for each point, for several at the same time.
pub fn at_once<T: Sync>(points: &[T], work: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    let all = || {
        while let Some(point) = points.get(next.fetch_add(1, Ordering::SeqCst)) {
            work(point);
        }
    };
    std::thread::scope(|threads| (0..POINTS_AT_ONCE).for_each(|_| drop(threads.spawn(all))));
}

/// Kills the run of a job before and after each of its durable steps, and runs it again: what then holds. Jobs have one worker
/// and one reader, so that all have the same steps.
pub fn killed_at_every_step(workdir: impl Fn() -> Workdir + Sync, holds: impl Fn(&Workdir, &Summary, Stop) + Sync) {
    let undisturbed = Arc::new(Crash::never());
    workdir().run_with(&undisturbed, false).finished();
    let stops: Vec<Stop> = (0..undisturbed.steps()).flat_map(|step| [Stop::Before(step), Stop::After(step)]).collect();
    assert!(stops.len() > 20, "{stops:?}");
    at_once(&stops, |stop| {
        let workdir = workdir();
        workdir.run_with(&Arc::new(Crash::at(*stop)), false);
        holds(&workdir, workdir.run().finished(), *stop);
        workdir.assert_manifest_is_folder();
    });
    println!("{} points", stops.len());
}

/// What the test function `twice` makes of rows of [`number_batch`]: each one twice.
pub fn each_twice(numbers: impl IntoIterator<Item = i64>) -> Multiset {
    once(numbers.into_iter().flat_map(|n| [format!("id-{n}|{n}"), format!("id-{n}|{n}")]))
}

/// A text as one member or frame.
pub fn packed(text: &[u8], compression: Compression) -> Vec<u8> {
    let (mut packed, mut pack) = (Vec::new(), Pack::new(compression, None).unwrap());
    pack.write(text, &mut packed).unwrap();
    pack.end(&mut packed).unwrap();
    packed
}

/// The text of a file.
pub fn inflated(packed: &[u8], compression: Compression) -> String {
    let (mut inflate, mut plain, mut rest) = (Inflate::new(compression), Vec::new(), packed);
    let mut buffer = vec![0; 1 << 16];
    loop {
        let step = inflate.step(rest, &mut buffer).unwrap();
        rest = &rest[step.read..];
        plain.extend_from_slice(&buffer[..step.written]);
        if rest.is_empty() && step.written < buffer.len() {
            inflate.end().unwrap();
            return String::from_utf8(plain).unwrap();
        }
    }
}

/// All of these words are in it.
#[track_caller]
pub fn assert_mentions(message: &str, words: &[&str]) {
    for word in words {
        assert!(message.contains(word), "{word:?} is not in:\n{message}");
    }
}

/// A multiset of rows, each once.
pub fn once(rows: impl IntoIterator<Item = String>) -> Multiset {
    let mut set = Multiset::new();
    rows.into_iter().for_each(|row| *set.entry(row).or_default() += 1);
    set
}
