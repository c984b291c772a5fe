//! Real processes: started, stopped, killed, listened to. And the sites that they work at: a folder of this machine or a
//! bucket, with the same pipeline file and the same questions.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use wasmpipe_s3::Server;

use super::s3::OnS3;
use super::{Bench, Multiset, add_rows};

/// The longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until something holds, looking often.
#[track_caller]
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "{what}: never in {PATIENCE:?}");
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// A process of the real binary. It ends with this value.
pub struct Process {
    child: Child,
    said: Arc<Mutex<String>>,
    listener: Option<JoinHandle<()>>,
}

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// What it said to stderr.
    pub said: String,
}

impl Process {
    pub fn start(mut command: Command) -> Process {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let (stderr, heard) = (child.stderr.take().unwrap(), Arc::clone(&said));
        let listener = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                *heard.lock().unwrap() += &(line + "\n");
            }
        });
        Process { child, said, listener: Some(listener) }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// SIGSTOP. When this returns, no thread of it does anything.
    pub fn stop(&self) {
        self.signal("-STOP");
        until("a process stops", || self.states().iter().all(|state| *state == 'T'));
    }

    /// SIGCONT.
    pub fn go_on(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// What its threads do, a letter for each, as Linux tells.
    fn states(&self) -> Vec<char> {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap().flatten();
        let stat = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("stat")).ok());
        stat.filter_map(|stat| stat.rsplit_once(") ")?.1.chars().next()).collect()
    }

    /// SIGKILL.
    pub fn kill(mut self) -> Ended {
        self.child.kill().unwrap();
        self.wait()
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Ended {
        until("a process ends", || !self.is_running());
        let code = self.child.wait().unwrap().code();
        self.listener.take().unwrap().join().unwrap();
        Ended { code, said: self.said() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    #[track_caller]
    pub fn expect(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}", self.said);
        self.said
    }
}

/// Where the store of a job's three places is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    Disk,
    S3,
}

/// A job's folder. With [`On::S3`] the folder holds the pipeline file, and a bucket the rest.
pub enum Site {
    Disk(Bench),
    S3(Box<OnS3>),
}

impl Site {
    /// A site with files, by their paths: `in/a.parquet`. In the pipeline file `{root}` stands for where places begin,
    /// and `{store}` for how to reach the store.
    pub fn new(on: On, files: &BTreeMap<String, Vec<u8>>, pipeline: &str) -> Site {
        let bench = Bench::new();
        if on == On::S3 {
            let job = OnS3::new(bench, &pipeline.replace("{root}", "s3://bucket/"));
            files.iter().for_each(|(name, bytes)| job.server.put(&format!("bucket/{name}"), bytes.clone()));
            return Site::S3(Box::new(job));
        }
        for (name, bytes) in files {
            std::fs::create_dir_all(bench.path(name).parent().unwrap()).unwrap();
            std::fs::write(bench.path(name), bytes).unwrap();
        }
        bench.pipeline(&pipeline.replace("{root}", "").replace("{store}", ""));
        Site::Disk(bench)
    }

    pub fn bench(&self) -> &Bench {
        match self {
            Site::Disk(bench) => bench,
            Site::S3(job) => &job.bench,
        }
    }

    pub fn server(&self) -> &Server {
        match self {
            Site::Disk(_) => panic!("a folder has no server"),
            Site::S3(job) => &job.server,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.bench().path(name)
    }

    pub fn command(&self, args: &[&str]) -> Command {
        match self {
            Site::Disk(bench) => bench.command(args),
            Site::S3(job) => job.command(args),
        }
    }

    /// Starts `wasmpipe run pipeline.toml` with more words.
    pub fn start(&self, more: &[&str]) -> Process {
        let words = ["run", "pipeline.toml", "--quiet"];
        Process::start(self.command(&[&words, more].concat()))
    }

    /// Runs the job to its end, and gives its summary.
    #[track_caller]
    pub fn finish(&self, more: &[&str]) -> Value {
        let file = self.path("summary.json");
        let words = ["--summary", file.to_str().unwrap()];
        self.start(&[&words, more].concat()).wait().expect(0);
        serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
    }

    /// All objects below a folder, with their bytes. What is deleted meanwhile is not there.
    pub fn objects(&self, folder: &str) -> BTreeMap<String, Vec<u8>> {
        match self {
            Site::Disk(bench) => {
                let names = self.names(folder).into_iter();
                names.filter_map(|name| Some((name.clone(), std::fs::read(bench.path(&name)).ok()?))).collect()
            }
            Site::S3(job) => {
                let objects = job.server.objects(&format!("bucket/{folder}/")).into_iter();
                objects.map(|(name, bytes)| (name["bucket/".len()..].to_owned(), bytes.to_vec())).collect()
            }
        }
    }

    /// Names below a folder.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let Site::Disk(bench) = self else { return self.objects(folder).into_keys().collect() };
        let mut names = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(bench.path(&folder)).into_iter().flatten().flatten() {
                let name = format!("{folder}/{}", entry.file_name().to_str().unwrap());
                match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    true => folders.push(name),
                    false => names.push(name),
                }
            }
        }
        names.sort();
        names
    }

    /// The rows of the output, as who globs the folder reads them.
    pub fn rows(&self) -> Multiset {
        match self {
            Site::Disk(bench) => bench.output("out"),
            Site::S3(job) => job.output("bucket/out/"),
        }
    }

    /// The rows of some of its files, by their paths.
    pub fn rows_of(&self, files: &[String]) -> Multiset {
        let mut rows = Multiset::new();
        for (name, bytes) in self.objects("out").into_iter().filter(|(name, _)| files.contains(name)) {
            let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes));
            let reader = reader.unwrap_or_else(|error| panic!("{name}: {error}")).build().unwrap();
            reader.map(Result::unwrap).for_each(|batch| add_rows(&mut rows, &batch));
        }
        rows
    }

    pub fn inspect(&self) -> Value {
        match self {
            Site::Disk(bench) => bench.inspect(),
            Site::S3(job) => job.inspect(),
        }
    }

    /// Sink files that the checkpoint names, as paths.
    pub fn manifest(&self) -> Vec<String> {
        let inspect = self.inspect();
        let files = inspect["files"].as_array().unwrap().iter();
        let mut paths: Vec<String> = files.map(|file| format!("out/{}", file["path"].as_str().unwrap())).collect();
        paths.sort();
        paths
    }

    /// Everything in the sink but manifests: staged files of a folder and unfinished uploads of a bucket, too.
    pub fn sink(&self) -> Vec<String> {
        let mut names = self.names("out");
        names.retain(|name| !name.starts_with("out/_wasmpipe/"));
        if let Site::S3(job) = self {
            names.extend(job.server.uploads());
        }
        names
    }

    /// Everything that must hold after a job ended in order, however it got there.
    #[track_caller]
    pub fn assert_exactly_once(&self, expected: &Multiset, context: &str) {
        assert!(self.rows() == *expected, "{context}: {}", difference(&self.rows(), expected));
        assert_eq!(self.sink(), self.manifest(), "{context}");
        let all = |site: &Site| ["checkpoint", "out"].map(|folder| site.objects(folder));
        let before = all(self);
        self.start(&[]).wait().expect(0);
        assert!(all(self) == before, "a finished job wrote something: {context}");
    }
}

/// The first rows that are not there as often as they should be.
fn difference(found: &Multiset, expected: &Multiset) -> String {
    let times = |set: &Multiset, row: &String| set.get(row).copied().unwrap_or_default();
    let rows = found.keys().chain(expected.keys().filter(|row| !found.contains_key(*row)));
    let wrong = rows.filter(|row| times(found, row) != times(expected, row));
    let wrong = wrong.map(|row| format!("{row}: {} times instead of {}", times(found, row), times(expected, row)));
    wrong.take(5).collect::<Vec<_>>().join("; ")
}
