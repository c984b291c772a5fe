//! Watches of the storage seam: one that counts and stops, as a crash does; one that holds a request up; one that is slow
//! and fails at random; one that fails reads; and one around each of them that lets what was sent arrive.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use object_store::{Error, Result};
use wasmpipe::store::{Act, Watch};

use super::random::mixed;

/// Where the world stops, or lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Before durable step number n happens.
    Before(u64),
    /// After it happened, but before anybody knows.
    After(u64),
    /// It happens, but is answered with an error. Nothing stops.
    Lost(u64),
    /// Once the n-th segment of the first writer is there, and the writer knows.
    Committed(u64),
}

impl Stop {
    /// Every place where something can happen in so many steps.
    pub fn all(steps: std::ops::Range<u64>) -> Vec<Stop> {
        steps.flat_map(|step| [Stop::Before(step), Stop::After(step), Stop::Lost(step)]).collect()
    }
}

/// Durable steps of any number of processes, in one count. A run's signs of life after the first are not counted: how many
/// there are is a matter of time.
#[derive(Debug, Default)]
pub struct Steps {
    stop: Option<Stop>,
    seen: Mutex<Vec<String>>,
    beating: Mutex<BTreeSet<String>>,
    is_over: AtomicBool,
}

impl Steps {
    pub fn until(stop: Option<Stop>) -> Arc<Steps> {
        Arc::new(Steps { stop, ..Steps::default() })
    }

    pub fn count(&self) -> u64 {
        self.seen.lock().unwrap().len() as u64
    }

    /// What happened, in order, as `store act object`.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    /// Whether what was to happen has happened.
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    fn is_counted(&self, act: Act, object: &str) -> bool {
        let is_beat = act == Act::Put && object.starts_with("heartbeat/");
        act.is_durable() && (!is_beat || self.beating.lock().unwrap().insert(object.into()))
    }

    /// The number of the step that is about to happen.
    fn next(&self, words: String) -> u64 {
        let mut seen = self.seen.lock().unwrap();
        seen.push(words);
        seen.len() as u64 - 1
    }
}

/// One process: it stops at its step, if that is the one, and from there on nothing it asks for happens any more.
#[derive(Debug)]
pub struct Crash {
    steps: Arc<Steps>,
    gate: Option<Arc<Gate>>,
    is_dead: AtomicBool,
    /// The step at which something is to happen, once it is under way.
    fateful: Mutex<Option<String>>,
}

impl Crash {
    pub fn never() -> Crash {
        Crash::of(&Steps::until(None))
    }

    pub fn at(stop: Stop) -> Crash {
        Crash::of(&Steps::until(Some(stop)))
    }

    /// A process among others.
    pub fn of(steps: &Arc<Steps>) -> Crash {
        Crash { steps: Arc::clone(steps), gate: None, is_dead: AtomicBool::new(false), fateful: Mutex::default() }
    }

    /// It stands still at a gate, all of it.
    pub fn behind(self, gate: &Arc<Gate>) -> Crash {
        Crash { gate: Some(Arc::clone(gate)), ..self }
    }

    pub fn steps(&self) -> u64 {
        self.steps.count()
    }

    pub fn seen(&self) -> Vec<String> {
        self.steps.seen()
    }

    /// From here on nothing it asks for happens any more.
    pub fn kill(&self) {
        self.is_dead.store(true, Ordering::SeqCst);
    }

    pub fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::SeqCst)
    }

    fn die(&self) -> Error {
        self.is_dead.store(true, Ordering::SeqCst);
        self.steps.is_over.store(true, Ordering::SeqCst);
        dead()
    }

    /// Whether this is the step that was awaited; it is so once.
    fn is_fateful(&self, words: &str) -> bool {
        let is_fateful = self.fateful.lock().unwrap().take_if(|fateful| fateful == words).is_some();
        self.steps.is_over.fetch_or(is_fateful, Ordering::SeqCst);
        is_fateful
    }
}

fn dead() -> Error {
    Error::Generic { store: "crash", source: "the process is dead".into() }
}

fn lost() -> Error {
    Error::Generic { store: "crash", source: "the answer is lost".into() }
}

impl Watch for Crash {
    fn before(&self, act: Act, store: &str, object: &str) -> Result<()> {
        let words = format!("{store} {act:?} {object}");
        if let Some(gate) = self.gate.as_ref().filter(|_| act.is_durable()) {
            gate.pass(&words);
        }
        if self.is_dead() {
            return Err(dead());
        }
        if !self.steps.is_counted(act, object) {
            return Ok(());
        }
        let step = self.steps.next(words.clone());
        // The fateful step may have failed, or not be over yet.
        let is_past = self.fateful.lock().unwrap().is_some();
        match self.steps.stop {
            Some(Stop::Before(stop)) if step == stop => Err(self.die()),
            Some(Stop::After(_)) if is_past => Err(self.die()),
            Some(Stop::Lost(_)) if is_past => {
                self.steps.is_over.store(true, Ordering::SeqCst);
                Ok(())
            }
            Some(Stop::After(stop) | Stop::Lost(stop)) if step == stop => {
                *self.fateful.lock().unwrap() = Some(words);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn after(&self, act: Act, store: &str, object: &str) -> Result<()> {
        let words = format!("{store} {act:?} {object}");
        match self.steps.stop {
            Some(Stop::Committed(segment)) if act.is_durable() && object == format!("lane/0/{segment:010}") => {
                self.is_dead.store(true, Ordering::SeqCst);
                Ok(())
            }
            Some(Stop::Lost(_)) if self.is_fateful(&words) => Err(lost()),
            Some(Stop::After(_)) if self.is_fateful(&words) => Err(self.die()),
            _ if act.is_durable() && self.is_dead() => Err(dead()),
            _ => Ok(()),
        }
    }
}

/// Where a process stands still, as if it were sent SIGSTOP, until it is told to go on.
#[derive(Debug)]
pub struct Gate {
    at: String,
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GateState {
    Ahead,
    Reached,
    Open,
}

impl Gate {
    /// At the first durable step whose words contain this.
    pub fn before(at: &str) -> Arc<Gate> {
        Arc::new(Gate { at: at.into(), state: Mutex::new(GateState::Ahead), changed: Condvar::new() })
    }

    fn pass(&self, words: &str) {
        let mut state = self.state.lock().unwrap();
        if *state == GateState::Ahead && words.contains(&self.at) {
            *state = GateState::Reached;
            self.changed.notify_all();
        }
        drop(self.changed.wait_while(state, |state| *state == GateState::Reached).unwrap());
    }

    /// Until the process stands still, or has ended.
    pub fn wait(&self, has_ended: impl Fn() -> bool) {
        let mut state = self.state.lock().unwrap();
        while *state == GateState::Ahead && !has_ended() {
            state = self.changed.wait_timeout(state, Duration::from_millis(2)).unwrap().0;
        }
    }

    pub fn go_on(&self) {
        *self.state.lock().unwrap() = GateState::Open;
        self.changed.notify_all();
    }
}

/// Lets one request wait until it is told to go on. Everything else of the process goes on.
#[derive(Debug)]
pub struct Pause {
    at: String,
    /// How many such requests pass before.
    passing: AtomicUsize,
    state: Mutex<(bool, bool)>,
    changed: Condvar,
}

/// Of a test that nobody waits for any more.
const PAUSE_MAX: Duration = Duration::from_secs(180);

impl Pause {
    pub fn before(at: &str) -> Arc<Pause> {
        Pause::after_passing(at, 0)
    }

    pub fn after_passing(at: &str, passing: usize) -> Arc<Pause> {
        Arc::new(Pause { at: at.into(), passing: passing.into(), state: Mutex::default(), changed: Condvar::new() })
    }

    pub fn wait_until_paused(&self) {
        let state = self.state.lock().unwrap();
        let (_state, timeout) =
            self.changed.wait_timeout_while(state, Duration::from_secs(60), |state| !state.0).unwrap();
        assert!(!timeout.timed_out(), "{} never came", self.at);
    }

    pub fn is_paused(&self) -> bool {
        self.state.lock().unwrap().0
    }

    pub fn go_on(&self) {
        self.state.lock().unwrap().1 = true;
        self.changed.notify_all();
    }
}

impl Watch for Pause {
    fn before(&self, act: Act, store: &str, object: &str) -> Result<()> {
        let mut state = self.state.lock().unwrap();
        if !state.0 && format!("{store} {act:?} {object}").contains(&self.at) {
            if self.passing.load(Ordering::SeqCst) > 0 {
                self.passing.fetch_sub(1, Ordering::SeqCst);
                return Ok(());
            }
            state.0 = true;
            self.changed.notify_all();
            // A test that failed lets nobody go on, and would wait for those who pause.
            drop(self.changed.wait_timeout_while(state, PAUSE_MAX, |state| !state.1).unwrap());
        }
        Ok(())
    }

    fn after(&self, _: Act, _: &str, _: &str) -> Result<()> {
        Ok(())
    }
}

/// A store that is slow at random, and answers one request in `one_in` with an error, before or after it happened. The
/// same seed draws the same lots; who draws them is a matter of time.
#[derive(Debug)]
pub struct Unreliable {
    seed: u64,
    one_in: u64,
    drawn: AtomicU64,
    pub failed: AtomicU64,
}

impl Unreliable {
    pub fn new(seed: u64, one_in: u64) -> Unreliable {
        Unreliable { seed, one_in, drawn: AtomicU64::new(0), failed: AtomicU64::new(0) }
    }

    fn draw(&self) -> Result<()> {
        let number = self.drawn.fetch_add(1, Ordering::SeqCst);
        let lot = mixed(self.seed.wrapping_add(number.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
        if lot & 7 == 0 {
            std::thread::sleep(Duration::from_micros(lot >> 8 & 0x7ff));
        }
        if (lot >> 32).is_multiple_of(self.one_in) {
            self.failed.fetch_add(1, Ordering::SeqCst);
            return Err(Error::Generic { store: "test", source: "connection reset".into() });
        }
        Ok(())
    }
}

impl Watch for Unreliable {
    fn before(&self, _: Act, _: &str, _: &str) -> Result<()> {
        self.draw()
    }

    fn after(&self, _: Act, _: &str, _: &str) -> Result<()> {
        self.draw()
    }
}

/// Counts reads of objects, by store and name, and fails some of those of the source.
#[derive(Debug, Default)]
pub struct Reads {
    source: Mutex<Vec<String>>,
    checkpoint: Mutex<Vec<String>>,
    /// Ordinals of reads of the source that fail, once each.
    failing: Vec<usize>,
}

impl Reads {
    pub fn failing(reads: impl IntoIterator<Item = usize>) -> Reads {
        Reads { failing: reads.into_iter().collect(), ..Reads::default() }
    }

    /// Of this object of the source.
    pub fn of(&self, object: &str) -> usize {
        self.source.lock().unwrap().iter().filter(|seen| *seen == object).count()
    }

    /// Of the source.
    pub fn all(&self) -> usize {
        self.source.lock().unwrap().len()
    }

    /// Of objects below a folder of the checkpoint.
    pub fn of_checkpoint(&self, folder: &str) -> usize {
        self.checkpoint.lock().unwrap().iter().filter(|seen| seen.starts_with(folder)).count()
    }
}

impl Watch for Reads {
    fn before(&self, act: Act, store: &str, object: &str) -> Result<()> {
        if act == Act::Get && store == "checkpoint" {
            self.checkpoint.lock().unwrap().push(object.into());
        }
        if act != Act::Get || store != "source" {
            return Ok(());
        }
        let mut seen = self.source.lock().unwrap();
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
    /// To create what is there already is refused, and never arrives.
    arrived: Mutex<BTreeSet<(String, String)>>,
}

impl Settling {
    pub fn around(inner: Arc<dyn Watch>) -> Settling {
        Settling { inner, sent: Mutex::default(), arrived: Mutex::default() }
    }

    /// Waits until all of it lies below the job's folder; not for ever, since some requests fail or are called off.
    pub fn settle(&self, job: &Path) {
        let sent = std::mem::take(&mut *self.sent.lock().unwrap());
        let arrived = std::mem::take(&mut *self.arrived.lock().unwrap());
        let until = Instant::now() + Duration::from_secs(10);
        let objects = sent.difference(&arrived).map(|(store, object)| folder(job, store).join(object));
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
            let name = (store.to_owned(), object.to_owned());
            self.sent.lock().unwrap().remove(&name);
            self.arrived.lock().unwrap().insert(name);
        }
        self.inner.after(act, store, object)
    }
}
