//! A job whose files are changed behind its back, again and again: what a run then says or does, and what mends it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use wasmpipe::commit::{self, CommitError, Root, Verified};
use wasmpipe::store::{Store, Unwatched};

use super::everything::{self, Size, put_back};
use super::place::{Objects, Place, wait};
use super::{Multiset, Ran, Said, plan_as, told};

/// What becomes of files, by their names below the job's folder: other bytes, or none.
pub type Changes = BTreeMap<String, Option<Bytes>>;

/// A job, and all its files as they were. Its places are written in its log, so it stays where it is.
pub struct Attacked {
    pub place: Place,
    pub was: Objects,
    right: Multiset,
}

/// How an attack ended that did no harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// The run gave the undisturbed output.
    Harmless,
    /// It was refused by name, and a repair mended it.
    Repaired,
    /// It was refused by name, and mended by the right bytes.
    Told,
}

/// What is done about what was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mend {
    /// `checkpoint verify --repair`, if that can mend it; else the right bytes are put back.
    Repair,
    /// The right bytes are put back.
    PutBack,
}

impl Attacked {
    pub fn new(size: Size) -> Attacked {
        Attacked::of(everything::make(size), size)
    }

    pub fn of(place: Place, size: Size) -> Attacked {
        Attacked { was: everything::files(&place), place, right: everything::output(size) }
    }

    /// All as it was, but for these changes.
    pub fn apply(&self, changes: &Changes) {
        put_back(&self.place, &self.was);
        for (name, bytes) in changes {
            match bytes {
                Some(bytes) => self.place.overwrite(name, bytes.clone()),
                None => self.place.remove(name),
            }
        }
    }

    pub fn stores(&self) -> (Store, Store) {
        (self.place.store("checkpoint", "checkpoint"), self.place.store("sink", "out"))
    }

    /// What `plan` says.
    pub fn planned(&self) -> Result<(), String> {
        let path = self.place.workdir().path("pipeline.toml");
        plan_as(&path, &Arc::new(Unwatched), taking_over()).map(drop)
    }

    pub fn run(&self) -> Ran {
        self.place.run_as(&Arc::new(Unwatched), taking_over())
    }

    /// As it was but for these changes, it goes on.
    pub fn meet(&self, changes: &Changes, names: &[&str], mend: Mend) -> Result<Met, String> {
        self.apply(changes);
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        self.go_on(changes, &names, mend)
    }

    /// Runs the job after these changes. If that is refused, by one of these names, `verify` says so, too, and a repair or
    /// the right bytes mend it. An error is a fault.
    pub fn go_on(&self, changes: &Changes, names: &[String], mend: Mend) -> Result<Met, String> {
        let ran = self.run();
        if is_finished(&ran) {
            self.check_output("the run went on")?;
            return self.harmless(names).map(|()| Met::Harmless);
        }
        named(ran.error(), names).map_or(Ok(()), |fault| Err(format!("run: {fault}")))?;
        let found = self.found();
        named(&found, names).map_or(Ok(()), |fault| Err(format!("verify: {fault}")))?;
        let is_repaired = mend == Mend::Repair && self.repaired();
        let (how, met) = match is_repaired {
            true => ("after a repair", Met::Repaired),
            false => (self.restored(changes), Met::Told),
        };
        match self.run() {
            ran if is_finished(&ran) => self.check_output(how).map(|()| met),
            ran => Err(format!("{how}: {}", ran.error())),
        }
    }

    fn check_output(&self, how: &str) -> Result<(), String> {
        let (now, right) = (self.place.output(), &self.right);
        let of = |row: &String| (now.get(row).copied().unwrap_or(0), right.get(row).copied().unwrap_or(0));
        let rows = || now.keys().chain(right.keys()).map(of);
        let (lost, doubled) =
            (rows().filter(|(now, right)| now < right).count(), rows().filter(|(now, right)| now > right).count());
        if now == *right { Ok(()) } else { Err(format!("{how}: {lost} rows lost, {doubled} doubled")) }
    }

    /// What `checkpoint verify` says.
    fn found(&self) -> String {
        self.verify().map_or_else(|error| told(&error), |verified| said(&verified))
    }

    /// A run does not read what it does not need; `verify` may still find it.
    fn harmless(&self, names: &[String]) -> Result<(), String> {
        let found = self.found();
        let is_right = found.is_empty() || named(&found, names).is_none();
        if is_right { Ok(()) } else { Err(format!("verify finds {found}")) }
    }

    fn verify(&self) -> Result<Verified, CommitError> {
        let (store, sink) = self.stores();
        wait(async {
            let root = Root::read(&store).await?.expect("a job");
            commit::verify(&store, &root, &sink).await
        })
    }

    /// As `checkpoint verify --repair`; `false` if that cannot mend it.
    fn repaired(&self) -> bool {
        let Ok(verified) = self.verify() else { return false };
        if verified.findings.is_empty() || !verified.beyond_repair.is_empty() {
            return false;
        }
        let (store, sink) = self.stores();
        wait(async {
            let root = Root::read(&store).await.unwrap().unwrap();
            commit::repair(&store, &root, &sink).await.unwrap()
        });
        true
    }

    /// What was changed is as it was; what came since stays.
    fn restored(&self, changes: &Changes) -> &'static str {
        for name in changes.keys() {
            match self.was.get(name) {
                Some(bytes) => self.place.overwrite(name, bytes.clone()),
                None => self.place.remove(name),
            }
        }
        "after the files were put back"
    }
}

fn taking_over() -> Said {
    Said { take_over: true, ..Said::default() }
}

fn is_finished(ran: &Ran) -> bool {
    ran.error.is_none() && ran.summary.is_some()
}

fn said(verified: &Verified) -> String {
    let findings = verified.findings.iter().map(|finding| format!("{}: {}", finding.name, finding.message));
    findings.chain(verified.beyond_repair.iter().cloned()).collect::<Vec<_>>().join("\n")
}

/// A fault, if an error names none of these.
pub fn named(error: &str, names: &[String]) -> Option<String> {
    let is_named = names.iter().any(|name| error.contains(name));
    (!is_named).then(|| format!("refused without its name: {error}"))
}

/// Does something for each, on as many threads; each thread has something of its own.
pub fn on_threads<T: Sync, S>(
    threads: usize,
    items: &[T],
    own: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, &T) + Sync,
) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (next, own, work) = (&next, &own, &work);
            scope.spawn(move || {
                let mut own = own();
                while let Some(item) = items.get(next.fetch_add(1, Ordering::SeqCst)) {
                    work(&mut own, item);
                }
            });
        }
    });
}
