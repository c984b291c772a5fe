//! What a program used, with everything that it started: time on the clock, time on the processors, and memory, read from
//! `/proc` while it runs. Nothing is asked of the program.
//!
//! Memory is `RssAnon + RssShmem` over all of its processes, at the moment when that is most: what the machine must have.
//! Pages of files (`RssFile`) are named beside it, because the machine can take them back. A page that two processes share is
//! counted twice that way, so for a tree of several processes the sum of `Pss` is looked at too, now and then.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::Result;

/// Memory is looked at this often,
const SAMPLE: Duration = Duration::from_millis(10);
/// new processes this often (their first moments are start-up),
const DISCOVERY: Duration = Duration::from_millis(100);
/// and shared pages this often: the kernel walks every page for it.
const SHARED: Duration = Duration::from_secs(2);
/// For processes that outlive the program which started them.
const LINGER_MAX: Duration = Duration::from_secs(60);
/// Linux counts processor time in hundredths of a second, whatever the machine.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a program used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Used {
    /// From its start to its end.
    pub(crate) seconds: f64,
    /// User and system time of all processes.
    pub(crate) cpu_seconds: f64,
    /// Most bytes of `RssAnon + RssShmem` at once.
    pub(crate) memory: u64,
    /// Bytes of `RssFile` at that moment.
    pub(crate) mapped: u64,
    /// Most bytes of anonymous and shared pages with each counted once; 0 if there was one process, or no time to look.
    pub(crate) shared_once: u64,
    /// Most processes at once.
    pub(crate) processes: usize,
}

impl Used {
    /// Its memory where that of several processes was looked at page by page, which can only be less.
    pub(crate) fn fair_memory(&self) -> u64 {
        if self.shared_once > 0 { self.shared_once } else { self.memory }
    }

    /// One program after another.
    pub(crate) fn then(self, next: Used) -> Used {
        let (most, _) = if self.memory >= next.memory { (self, next) } else { (next, self) };
        Used {
            seconds: self.seconds + next.seconds,
            cpu_seconds: self.cpu_seconds + next.cpu_seconds,
            shared_once: self.shared_once.max(next.shared_once),
            processes: self.processes.max(next.processes),
            ..most
        }
    }
}

/// Runs a program to its end, its words going to a log file. It must succeed.
pub(crate) fn run(command: &mut Command, log: &Path) -> Result<Used> {
    let said = std::fs::File::create(log)?;
    let before = reaped_ticks()?;
    let begin = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said).spawn()?;
    let (has_ended, mut tree) = (AtomicBool::new(false), Tree::new(child.id()));
    let (status, seconds) = std::thread::scope(|scope| {
        scope.spawn(|| tree.watch(&has_ended));
        let status = child.wait();
        let seconds = begin.elapsed().as_secs_f64();
        has_ended.store(true, Ordering::Relaxed);
        (status, seconds)
    });
    if !status?.success() {
        let words = String::from_utf8_lossy(&std::fs::read(log)?).into_owned();
        let lines: Vec<&str> = words.lines().collect();
        return Err(format!("{command:?} failed:\n{}", lines[lines.len().saturating_sub(20)..].join("\n")).into());
    }
    // Either may miss some: the one what nobody waited for, the other what ended between two looks.
    let ticks = tree.ticks().max(reaped_ticks()? - before);
    Ok(Used { seconds, cpu_seconds: ticks as f64 / TICKS_PER_SECOND, ..tree.most })
}

/// Processor time of processes that this one has started and waited for, with what those waited for.
fn reaped_ticks() -> Result<u64> {
    let stat = Stat::read("self").ok_or("/proc/self/stat cannot be read")?;
    Ok(stat.number(13) + stat.number(14))
}

/// A process and its descendants. Whoever was found once stays, though its parent may end.
struct Tree {
    living: Vec<u32>,
    /// Processor time by process, as last seen.
    ticks: HashMap<u32, u64>,
    most: Used,
}

impl Tree {
    fn new(root: u32) -> Tree {
        Tree { living: vec![root], ticks: HashMap::new(), most: Used::default() }
    }

    /// Looks until all have ended.
    fn watch(&mut self, has_ended: &AtomicBool) {
        let (mut discovered, mut shared) = (Instant::now(), Instant::now());
        let mut ended: Option<Instant> = None;
        loop {
            if discovered.elapsed() >= DISCOVERY {
                self.discover();
                discovered = Instant::now();
            }
            if self.living.len() > 1 && shared.elapsed() >= SHARED {
                self.most.shared_once = self.most.shared_once.max(self.shared_once());
                shared = Instant::now();
            }
            self.sample();
            if has_ended.load(Ordering::Relaxed) {
                let ended = ended.get_or_insert_with(Instant::now);
                if self.living.is_empty() || ended.elapsed() > LINGER_MAX {
                    return;
                }
            }
            std::thread::sleep(SAMPLE);
        }
    }

    fn sample(&mut self) {
        let (mut memory, mut mapped) = (0, 0);
        let ticks = &mut self.ticks;
        self.living.retain(|&process| {
            let Some(stat) = Stat::read(process).filter(Stat::is_alive) else { return false };
            ticks.insert(process, stat.number(11) + stat.number(12));
            let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
            memory += bytes(&status, "RssAnon:") + bytes(&status, "RssShmem:");
            mapped += bytes(&status, "RssFile:");
            true
        });
        let most = &mut self.most;
        most.processes = most.processes.max(self.living.len());
        if memory > most.memory {
            (most.memory, most.mapped) = (memory, mapped);
        }
    }

    fn discover(&mut self) {
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let parents: Vec<(u32, u32)> = numbers.filter_map(|n| Some((n, Stat::read(n)?.number(1) as u32))).collect();
        loop {
            let is_new = |(process, parent): &&(u32, u32)| {
                self.living.contains(parent) && !self.living.contains(process) && !self.ticks.contains_key(process)
            };
            let new: Vec<u32> = parents.iter().filter(is_new).map(|(process, _)| *process).collect();
            if new.is_empty() {
                return;
            }
            self.living.extend(new);
        }
    }

    fn shared_once(&self) -> u64 {
        let of = |process: &u32| {
            let sums = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap_or_default();
            bytes(&sums, "Pss_Anon:") + bytes(&sums, "Pss_Shmem:")
        };
        self.living.iter().map(of).sum()
    }

    fn ticks(&self) -> u64 {
        self.ticks.values().sum()
    }
}

/// The words of `/proc/<process>/stat` after the name in brackets: state, parent, ...
struct Stat(String);

impl Stat {
    fn read(process: impl std::fmt::Display) -> Option<Stat> {
        let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        Some(Stat(text.rsplit_once(") ")?.1.to_owned()))
    }

    fn is_alive(&self) -> bool {
        !self.0.starts_with(['Z', 'X'])
    }

    fn number(&self, word: usize) -> u64 {
        self.0.split(' ').nth(word).and_then(|word| word.trim().parse().ok()).unwrap_or(0)
    }
}

/// The number of a line such as `RssAnon:    1234 kB`.
fn bytes(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Used {
        let folder = tempfile::tempdir().unwrap();
        run(Command::new("sh").args(["-c", script]), &folder.path().join("log")).unwrap()
    }

    #[test]
    fn a_child_of_a_child_is_counted() {
        // Two processes with 64 MB each, which the shells that started them do not have.
        let holds = "python3 -c 'import time; held = bytearray(b\"x\") * (64 << 20); time.sleep(1)'";
        let used = shell(&format!("({holds}; true) & ({holds}; true) & wait"));
        assert!((128 << 20..256 << 20).contains(&used.memory), "{used:?}");
        assert!(used.processes >= 3 && used.mapped > 0, "{used:?}");
    }

    #[test]
    fn time_on_the_processors_and_on_the_clock() {
        let used = shell("sleep 0.3; i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done");
        assert!(used.seconds > 0.3 && used.cpu_seconds > 0.02 && used.cpu_seconds < used.seconds, "{used:?}");
        assert!(used.then(used).seconds == 2.0 * used.seconds && used.then(used).memory == used.memory);
    }

    #[test]
    fn a_program_that_fails_is_an_error_with_its_words() {
        let folder = tempfile::tempdir().unwrap();
        let failed = run(Command::new("sh").args(["-c", "echo why >&2; exit 3"]), &folder.path().join("log"));
        assert!(failed.unwrap_err().to_string().contains("why"));
    }
}
