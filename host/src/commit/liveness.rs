//! Who is still alive. Safety never depends on it: a writer that is wrongly taken for dead is fenced. It keeps people from
//! starting a second run by mistake, and lets a restart after a crash begin at once.
//!
//! A run counts in `heartbeat/<run>`; whoever wants its lanes watches that counter by a clock of its own. On a local
//! checkpoint a run also holds a lock on a file: if it can be had, and the run was of this host and this boot, it is dead.

use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use serde::{Deserialize, Serialize};

use super::CommitError;
use super::lane::Writer;
use super::log::get;
use super::recover::delete;
use super::replay::LaneState;
use crate::store::Store;

/// A heartbeat that has not moved for this many of its own periods has stopped.
const PERIODS: u32 = 3;
/// Looks at a heartbeat within one period.
const LOOKS: u32 = 4;
/// The longest period that is believed.
const PERIOD_MAX: Duration = Duration::from_secs(60);

/// This run's sign of life.
#[derive(Debug)]
pub struct Heartbeat {
    store: Store,
    run: String,
    period: Duration,
    count: u64,
    lock: Option<(File, PathBuf)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Beat {
    count: u64,
    period_seconds: f64,
    host: String,
    pid: u32,
}

/// A run that is alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alive {
    /// The lane that it holds.
    pub lane: u32,
    /// Its name.
    pub run: String,
    /// Its host.
    pub host: String,
    /// Its process.
    pub pid: u32,
}

impl Heartbeat {
    /// Begins to live: the lock is held and the first beat is there before any lane is opened.
    pub async fn start(store: &Store, writer: &Writer, period: Duration) -> Result<Heartbeat, CommitError> {
        let lock = store.local_root().and_then(|root| take_own_lock(root, &writer.run));
        let mut heartbeat = Heartbeat { store: store.clone(), run: writer.run.clone(), period, count: 0, lock };
        heartbeat.beat(writer).await?;
        Ok(heartbeat)
    }

    /// Time between beats.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// One more beat.
    pub async fn beat(&mut self, writer: &Writer) -> Result<(), CommitError> {
        self.count += 1;
        let beat = Beat {
            count: self.count,
            period_seconds: self.period.as_secs_f64(),
            host: writer.host.clone(),
            pid: std::process::id(),
        };
        let bytes = serde_json::to_vec(&beat).expect("a beat is JSON");
        let name = heartbeat_name(&self.run);
        let put = self.store.objects().put(&Path::from(name.as_str()), PutPayload::from(bytes)).await;
        put.map(drop).map_err(|cause| CommitError::store("write", name, cause))
    }

    /// Whether somebody asks this run to stop.
    pub async fn is_asked_to_stop(&self) -> Result<bool, CommitError> {
        Ok(get(&self.store, &stop_name(&self.run)).await?.is_some())
    }

    /// Ends in order: whoever looks next need not wait.
    pub async fn end(mut self) -> Result<(), CommitError> {
        let names = [heartbeat_name(&self.run), stop_name(&self.run)];
        delete(&self.store, names.map(|name| Path::from(name.as_str())).into()).await?;
        // Last: while there is a heartbeat, the free lock says that nobody is behind it.
        if let Some((_, path)) = self.lock.take() {
            let _ = std::fs::remove_file(path);
        }
        Ok(())
    }
}

/// Where there is no lock, the heartbeat alone must do.
fn take_own_lock(root: &std::path::Path, run: &str) -> Option<(File, PathBuf)> {
    let path = root.join("heartbeat").join(format!("{run}.lock"));
    Some((take_lock(&path)?, path))
}

/// A lock on a new file, whose folder need not exist.
pub(super) fn take_lock(path: &std::path::Path) -> Option<File> {
    std::fs::create_dir_all(path.parent()?).ok()?;
    let file = File::create(path).ok()?;
    if file.try_lock().is_err() {
        // A file system without locks. A file that nobody holds would say that this run is dead.
        let _ = std::fs::remove_file(path);
        return None;
    }
    Some(file)
}

/// A lock that a job without a checkpoint holds in its sink while it lives. None in a bucket, and where there are no locks.
#[derive(Debug)]
pub struct AliveInSink {
    _file: File,
    pub(super) path: PathBuf,
}

impl AliveInSink {
    /// Of a job that has not claimed the sink yet.
    pub fn hold(sink: &Store, job: &str) -> Option<AliveInSink> {
        let path = lock_in_sink(sink, job)?;
        Some(AliveInSink { _file: take_lock(&path)?, path })
    }
}

impl Drop for AliveInSink {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
        let _ = self.path.parent().map(std::fs::remove_dir);
    }
}

/// Whether such a job is gone, and its lock is there and free.
pub(super) fn has_left_its_lock(sink: &Store, job: &str) -> bool {
    let lock = lock_in_sink(sink, job).and_then(|path| File::open(path).ok());
    lock.is_some_and(|file| file.try_lock().is_ok())
}

fn lock_in_sink(sink: &Store, job: &str) -> Option<PathBuf> {
    Some(sink.local_root()?.join("_wasmpipe/lock").join(format!("{job}.lock")))
}

fn heartbeat_name(run: &str) -> String {
    format!("heartbeat/{run}")
}

fn stop_name(run: &str) -> String {
    format!("stop/{run}")
}

/// Whether a run that holds one of the lanes is alive, after a wait of a few heartbeats if that is what it takes to know.
/// Each lane's last open says which run to watch; what other runs do means nothing.
pub async fn find_alive<'a>(
    store: &Store,
    lanes: impl IntoIterator<Item = &'a LaneState>,
    writer: &Writer,
) -> Result<Found, CommitError> {
    let mut runs: Vec<Alive> = Vec::new();
    let mut dead = Vec::new();
    for state in lanes {
        let Some((_, open)) = state.last_open().filter(|_| state.closed.is_none()) else { continue };
        if runs.iter().any(|known| known.run == open.run) || dead.contains(&open.run) {
            continue;
        }
        if is_surely_dead(store, &open.run, (&open.host, &open.boot), writer) {
            dead.push(open.run.clone());
        } else {
            runs.push(Alive { lane: state.lane, run: open.run.clone(), host: open.host.clone(), pid: open.pid });
        }
    }
    let watched = runs.iter().map(|run| is_moving(store, &run.run));
    let mut alive = None;
    for (run, is_alive) in runs.iter().zip(futures::future::try_join_all(watched).await?) {
        match is_alive {
            true => drop(alive.get_or_insert_with(|| run.clone())),
            false => dead.push(run.run.clone()),
        }
    }
    Ok(Found { alive, dead })
}

/// What became of the runs that opened lanes last and did not leave them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// One that is alive.
    pub alive: Option<Alive>,
    /// Those that are dead.
    pub dead: Vec<String>,
}

/// As [`find_alive`]; a run that is alive is an error. Gives the names of those that are dead.
pub async fn refuse_if_alive<'a>(
    store: &Store,
    lanes: impl IntoIterator<Item = &'a LaneState>,
    writer: &Writer,
) -> Result<Vec<String>, CommitError> {
    let Found { alive, dead } = find_alive(store, lanes, writer).await?;
    let Some(alive) = alive else { return Ok(dead) };
    Err(CommitError::refused(
        format!(
            "run {} (process {} on {}) is working on lane {} of this job",
            alive.run, alive.pid, alive.host, alive.lane
        ),
        "wait for it; or stop it with `wasmpipe checkpoint stop`; or take its lanes away with --take-over",
    ))
}

/// Removes the signs of life of dead runs, once their lanes were opened anew.
pub async fn forget_dead(store: &Store, runs: &[String]) -> Result<(), CommitError> {
    for run in runs {
        if let Some(root) = store.local_root() {
            let _ = std::fs::remove_file(root.join("heartbeat").join(format!("{run}.lock")));
        }
    }
    let names = runs.iter().flat_map(|run| [heartbeat_name(run), stop_name(run)]);
    delete(store, names.map(|name| Path::from(name.as_str())).collect()).await
}

fn is_surely_dead(store: &Store, run: &str, (host, boot): (&str, &str), writer: &Writer) -> bool {
    let Some(root) = store.local_root() else { return false };
    let is_here = host == writer.host && boot == writer.boot && !boot.is_empty();
    let lock = root.join("heartbeat").join(format!("{run}.lock"));
    is_here && File::open(lock).is_ok_and(|file| file.try_lock().is_ok())
}

async fn is_moving(store: &Store, run: &str) -> Result<bool, CommitError> {
    let name = heartbeat_name(run);
    let Some(first) = get(store, &name).await? else { return Ok(false) };
    let period = serde_json::from_slice::<Beat>(&first).map_or(1.0, |beat| beat.period_seconds);
    let period = Duration::try_from_secs_f64(period).unwrap_or(PERIOD_MAX).min(PERIOD_MAX);
    let until = Instant::now() + period * PERIODS;
    while Instant::now() < until {
        tokio::time::sleep(period / LOOKS).await;
        match get(store, &name).await? {
            None => return Ok(false),
            Some(beat) if beat != first => return Ok(true),
            Some(_) => {}
        }
    }
    Ok(false)
}

/// Asks a run to stop: it finds out with its next heartbeat.
pub async fn request_stop(store: &Store, run: &str) -> Result<(), CommitError> {
    let name = stop_name(run);
    let put = store.objects().put(&Path::from(name.as_str()), PutPayload::from_static(b"stop")).await;
    put.map(drop).map_err(|cause| CommitError::store("write", name, cause))
}

#[cfg(test)]
mod tests {
    use super::super::replay::OpenState;
    use super::*;
    use crate::store::{Unwatched, Watch};
    use std::sync::Arc;

    fn wait<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    fn held_by(writer: &Writer) -> LaneState {
        let (run, host, boot) = (writer.run.clone(), writer.host.clone(), writer.boot.clone());
        let open = OpenState { token: "t".into(), run, host, boot, ..OpenState::default() };
        LaneState { opens: [(0, open)].into(), ..LaneState::default() }
    }

    #[test]
    fn a_run_of_this_boot_whose_lock_is_free_is_dead_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let watch: Arc<dyn Watch> = Arc::new(Unwatched);
        let store = Store::local("checkpoint", folder.path(), &watch).unwrap();
        let (dead, looking) = (Writer::new(), Writer::new());
        let heartbeat = wait(Heartbeat::start(&store, &dead, Duration::from_secs(3600))).unwrap();
        let state = held_by(&dead);
        drop(heartbeat);
        assert_eq!(wait(find_alive(&store, [&state], &looking)).unwrap(), Found { alive: None, dead: vec![dead.run] });
    }

    #[test]
    fn a_heartbeat_that_moves_is_alive_and_one_that_rests_is_not() {
        let store = Store::memory("checkpoint");
        let (other, looking) = (Writer::new(), Writer::new());
        let state = held_by(&other);
        let period = Duration::from_millis(40);
        wait(async {
            let mut heartbeat = Heartbeat::start(&store, &other, period).await.unwrap();
            assert_eq!(find_alive(&store, [&state], &looking).await.unwrap().alive, None);
            let beating = async {
                loop {
                    tokio::time::sleep(period / 4).await;
                    heartbeat.beat(&other).await.unwrap();
                }
            };
            let found = tokio::select! {
                () = beating => unreachable!("it beats for ever"),
                found = find_alive(&store, [&state], &looking) => found.unwrap(),
            };
            assert_eq!(found.alive.map(|alive| alive.run), Some(other.run.clone()));
        });
    }

    #[test]
    fn a_lane_that_was_left_in_order_is_nobodys() {
        let store = Store::memory("checkpoint");
        let other = Writer::new();
        let state = LaneState { closed: Some(super::super::Close::Stopped), ..held_by(&other) };
        assert_eq!(wait(find_alive(&store, [&state], &Writer::new())).unwrap(), Found::default());
    }
}
