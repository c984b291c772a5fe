//! Watches of the storage seam: one that counts and stops, as a crash does, one that fails reads, and one around each of
//! them that lets what was sent arrive.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use object_store::{Error, Result};
use wasmpipe::store::{Act, Watch};

/// Where the world stops.
#[derive(Clone, Copy, Debug)]
pub enum Stop {
    /// Before durable step number n happens.
    Before(u64),
    /// After it happened, but before anybody knows.
    After(u64),
    /// Once the n-th segment of the first writer is there, and the writer knows.
    Committed(u64),
}

/// Counts durable steps; from the stop on none of them happens any more, as if the process had died.
#[derive(Debug)]
pub struct Crash {
    stop: Option<Stop>,
    steps: AtomicU64,
    is_dead: AtomicBool,
    seen: Mutex<Vec<String>>,
}

impl Crash {
    pub fn never() -> Crash {
        Crash { stop: None, steps: AtomicU64::new(0), is_dead: AtomicBool::new(false), seen: Mutex::default() }
    }

    pub fn at(stop: Stop) -> Crash {
        Crash { stop: Some(stop), ..Crash::never() }
    }

    pub fn steps(&self) -> u64 {
        self.steps.load(Ordering::SeqCst)
    }

    /// What happened, in order, as `store act object`.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn dead() -> Error {
    Error::Generic { store: "crash", source: "the process is dead".into() }
}

impl Watch for Crash {
    fn before(&self, act: Act, store: &str, object: &str) -> Result<()> {
        if !act.is_durable() {
            return Ok(());
        }
        let step = self.steps.fetch_add(1, Ordering::SeqCst);
        self.seen.lock().unwrap().push(format!("{store} {act:?} {object}"));
        match self.stop {
            Some(Stop::Before(stop)) if step >= stop => Err(dead()),
            Some(Stop::After(stop)) if step > stop => Err(dead()),
            Some(Stop::Committed(_)) if self.is_dead.load(Ordering::SeqCst) => Err(dead()),
            _ => Ok(()),
        }
    }

    fn after(&self, act: Act, _: &str, object: &str) -> Result<()> {
        match self.stop {
            Some(Stop::Committed(segment)) if act.is_durable() && object == format!("lane/0/{segment:010}") => {
                self.is_dead.store(true, Ordering::SeqCst);
                Ok(())
            }
            Some(Stop::After(stop)) if act.is_durable() && self.steps() > stop => Err(dead()),
            _ => Ok(()),
        }
    }
}

/// Counts reads of source objects, by name, and fails some of them.
#[derive(Debug, Default)]
pub struct Reads {
    seen: Mutex<Vec<String>>,
    /// Ordinals of reads that fail, once each.
    failing: Vec<usize>,
}

impl Reads {
    pub fn failing(reads: impl IntoIterator<Item = usize>) -> Reads {
        Reads { failing: reads.into_iter().collect(), ..Reads::default() }
    }

    pub fn of(&self, object: &str) -> usize {
        self.seen.lock().unwrap().iter().filter(|seen| *seen == object).count()
    }

    pub fn all(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

impl Watch for Reads {
    fn before(&self, act: Act, store: &str, object: &str) -> Result<()> {
        if act != Act::Get || store != "source" {
            return Ok(());
        }
        let mut seen = self.seen.lock().unwrap();
        seen.push(object.into());
        if self.failing.contains(&(seen.len() - 1)) {
            return Err(Error::Generic { store: "test", source: "connection reset".into() });
        }
        Ok(())
    }

    fn after(&self, _: Act, _: &str, _: &str) -> Result<()> {
        Ok(())
    }
}

/// Remembers what was sent and not acknowledged. A run that "died" leaves such requests behind, and since the process
/// lives on they arrive some time: after a real death, before the next run begins.
#[derive(Debug)]
pub struct Settling {
    inner: Arc<dyn Watch>,
    sent: Mutex<BTreeSet<(String, String)>>,
}

impl Settling {
    pub fn around(inner: Arc<dyn Watch>) -> Settling {
        Settling { inner, sent: Mutex::default() }
    }

    /// Waits until all of it lies below the job's folder; not for ever, since some requests fail or are called off.
    pub fn settle(&self, job: &Path) {
        let sent = std::mem::take(&mut *self.sent.lock().unwrap());
        let until = Instant::now() + Duration::from_secs(10);
        let objects = sent.iter().map(|(store, object)| folder(job, store).join(object));
        for object in objects {
            while !has_arrived(&object) && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

fn makes_an_object(act: Act) -> bool {
    matches!(act, Act::Put | Act::UploadComplete)
}

fn folder(job: &Path, store: &str) -> PathBuf {
    job.join(if store == "sink" { "out" } else { store })
}

/// It is there, and what it was staged as is not.
fn has_arrived(object: &Path) -> bool {
    let staged = object.with_file_name(format!("{}#1", object.file_name().unwrap().to_str().unwrap()));
    object.exists() && !staged.exists()
}

impl Watch for Settling {
    fn before(&self, act: Act, store: &str, object: &str) -> Result<()> {
        self.inner.before(act, store, object)?;
        if makes_an_object(act) {
            self.sent.lock().unwrap().insert((store.into(), object.into()));
        }
        Ok(())
    }

    fn after(&self, act: Act, store: &str, object: &str) -> Result<()> {
        if makes_an_object(act) {
            self.sent.lock().unwrap().remove(&(store.to_owned(), object.to_owned()));
        }
        self.inner.after(act, store, object)
    }
}
