//! Real processes: started, stopped, killed, listened to; and what they do at a place.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::place::Place;
use super::{Multiset, is_soak};

/// The longest that anything here may take.
fn patience() -> Duration {
    Duration::from_secs(if is_soak() { 1800 } else { 120 })
}

/// Waits until something holds, looking often.
#[track_caller]
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let (patience, start) = (patience(), Instant::now());
    while !holds() {
        assert!(start.elapsed() < patience, "{what}: never in {patience:?}");
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

    /// The most memory that it had, as Linux tells; 0 once it is gone.
    pub fn peak_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let peak =
            status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        peak.unwrap_or(0u64) >> 10
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

    /// SIGINT, as Ctrl-C sends it.
    pub fn interrupt(&self) {
        self.signal("-INT");
    }

    /// SIGTERM, as a scheduler sends it.
    pub fn terminate(&self) {
        self.signal("-TERM");
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

/// What real processes do at a place.
impl Place {
    pub fn command(&self, args: &[&str]) -> Command {
        match self {
            Place::Local(workdir) => workdir.command(args),
            Place::S3(job) => job.command(args),
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
        let file = self.workdir().path("summary.json");
        let words = ["--summary", file.to_str().unwrap()];
        self.start(&[&words, more].concat()).wait().expect(0);
        serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
    }

    pub fn inspect(&self) -> Value {
        match self {
            Place::Local(workdir) => workdir.inspect(),
            Place::S3(job) => job.inspect(),
        }
    }

    /// Sink files that the log names: `out/...`.
    pub fn named(&self) -> BTreeSet<String> {
        self.view().results().map(|file| format!("out/{}", file.path)).collect()
    }

    /// Sink files that are complete: `out/...`.
    pub fn uploaded(&self) -> BTreeSet<String> {
        let mut names = self.names("out");
        names.retain(|name| name.ends_with(".parquet") && !name.starts_with("out/_wasmpipe/"));
        names.into_iter().collect()
    }

    /// Everything that must hold after a job ended in order, however it got there.
    #[track_caller]
    pub fn assert_exactly_once(&self, expected: &Multiset, context: &str) {
        let output = self.output();
        let orphans: Vec<_> = self.uploaded().difference(&self.named()).cloned().collect();
        assert!(output == *expected, "{context}: {}; no entry names {orphans:?}", difference(&output, expected));
        self.assert_manifest_is_folder(&self.view(), context);
        let before = (self.objects("checkpoint"), self.objects("out"));
        self.start(&[]).wait().expect(0);
        let after = (self.objects("checkpoint"), self.objects("out"));
        assert!(after == before, "a finished job wrote something: {context}");
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
