//! Commands that look into a checkpoint without running its job: which checkpoint is meant, and what it says.

use std::path::Path;
use std::sync::Arc;

use super::{FAILED, REFUSED, print_error};
use crate::commit::{self, CommitError, Manifest, Root, View};
use crate::config;
use crate::message::Message;
use crate::plan;
use crate::store::{Settings, Store, Unwatched, Watch, resolve};

/// A checkpoint that was found.
pub(super) struct Looked {
    /// Where it lies.
    pub store: Store,
    /// What it says.
    pub view: View,
}

/// A checkpoint of which only the root was read.
pub(super) struct Found {
    /// Where it lies.
    pub store: Store,
    /// The job.
    pub root: Root,
}

/// A checkpoint that may be half deleted: then it has no root.
pub(super) struct Deletable {
    pub store: Store,
    pub root: Option<Root>,
}

/// Requests may be made on other threads while this one waits.
pub(super) fn runtime() -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("the operating system starts threads")
}

pub(super) fn watch() -> Arc<dyn Watch> {
    Arc::new(Unwatched)
}

/// The checkpoint in a folder, at a URL, or that a pipeline file names. If there is none, that is said, and the exit code
/// returned.
pub(super) fn checkpoint(named: &str, runtime: &tokio::runtime::Runtime) -> Result<Looked, u8> {
    let (store, place) = store(named)?;
    let view = runtime.block_on(commit::view(&store)).map_err(|error| failed(&error))?;
    match view {
        Some(view) => Ok(Looked { store, view }),
        None => Err(no_checkpoint(named, &place)),
    }
}

/// What a job has written, by its checkpoint; or by the manifest in its sink, if the job was finished and the checkpoint is gone.
/// That takes a pipeline file, which names both.
pub(super) enum Output {
    Log(Box<Looked>),
    Manifest { sink: Store, manifest: Box<Manifest> },
}

pub(super) fn output(named: &str, runtime: &tokio::runtime::Runtime) -> Result<Output, u8> {
    let (store, place) = store(named)?;
    if let Some(view) = runtime.block_on(commit::view(&store)).map_err(|error| failed(&error))? {
        return Ok(Output::Log(Box::new(Looked { store, view })));
    }
    let sink = match is_pipeline(named) {
        true => sink_of(Path::new(named))?,
        false => None,
    };
    let Some(sink) = sink else { return Err(no_checkpoint(named, &place)) };
    let left = runtime.block_on(commit::manifest_of(&sink, &commit::Place::of(&store)));
    match left.map_err(|error| failed(&error))? {
        Some(manifest) => Ok(Output::Manifest { sink, manifest: Box::new(manifest) }),
        None => Err(no_checkpoint(named, &place)),
    }
}

/// As [`checkpoint`], for who does not need to know what it says, or finds that out in another way.
pub(super) fn checkpoint_root(named: &str, runtime: &tokio::runtime::Runtime) -> Result<Found, u8> {
    let (store, place) = store(named)?;
    match runtime.block_on(Root::read(&store)).map_err(|error| failed(&error))? {
        Some(root) => Ok(Found { store, root }),
        None => Err(no_checkpoint(named, &place)),
    }
}

/// As [`checkpoint_root`], for who deletes it: another deletion may have been interrupted.
pub(super) fn deletable(named: &str, runtime: &tokio::runtime::Runtime) -> Result<Deletable, u8> {
    let (store, place) = store(named)?;
    match runtime.block_on(Root::read(&store)) {
        Err(CommitError::Deleted) => Ok(Deletable { store, root: None }),
        Ok(Some(root)) => Ok(Deletable { store, root: Some(root) }),
        Ok(None) => Err(no_checkpoint(named, &place)),
        Err(error) => Err(failed(&error)),
    }
}

fn store(named: &str) -> Result<(Store, String), u8> {
    let (place, settings) = match is_pipeline(named) {
        true => place_in(Path::new(named))?,
        false => (named.to_owned(), Settings::default()),
    };
    Ok((open_with("checkpoint", &place, &settings)?, place))
}

fn is_pipeline(named: &str) -> bool {
    named.ends_with(".toml")
}

fn failed(error: &CommitError) -> u8 {
    print_error(error);
    FAILED
}

fn no_checkpoint(named: &str, place: &str) -> u8 {
    match place == named {
        true => refused(&format!("{named} is no checkpoint"), FOLDER),
        false => refused(&format!("{place} is no checkpoint: the job of {named} has not begun"), "run it first"),
    }
}

const FOLDER: &str = "name the folder that `path` under [checkpoint] names";

/// A root that a person or a genesis names.
pub(super) fn open(name: &'static str, place: &str) -> Result<Store, u8> {
    open_with(name, place, &Settings::default())
}

/// The sink of a checkpoint that was `named` on the command line. If that is a pipeline file, it says where that is, perhaps
/// after a move, and how to reach it.
pub(super) fn open_sink(named: &str, place: &str) -> Result<Store, u8> {
    if !is_pipeline(named) {
        return open("sink", place);
    }
    let Some(store) = sink_of(Path::new(named))? else { return open("sink", place) };
    if store.url() != place {
        say!("note: the job's sink was {place}; this looks at {}, as {named} says", store.url());
    }
    Ok(store)
}

/// The sink that a pipeline file names.
fn sink_of(pipeline: &Path) -> Result<Option<Store>, u8> {
    let sink = load(pipeline)?.sink;
    let settings = sink.store.map(|store| plan::settings_of(&store.value)).unwrap_or_default();
    let Some(path) = sink.path else { return Ok(None) };
    open_with("sink", &place_of(pipeline, &path.value), &settings).map(Some)
}

fn open_with(name: &'static str, place: &str, settings: &Settings) -> Result<Store, u8> {
    Store::at(name, place, settings, &watch()).map_err(|error| {
        say!("{}", Message::brief(&error).after(format!("cannot open the {name} {place}: ")));
        REFUSED
    })
}

fn load(pipeline: &Path) -> Result<config::Config, u8> {
    config::load(pipeline).map_err(|problems| {
        say!("{problems}");
        REFUSED
    })
}

/// `path` under [checkpoint], and how to reach it.
fn place_in(pipeline: &Path) -> Result<(String, Settings), u8> {
    let checkpoint = load(pipeline)?.checkpoint;
    let settings = checkpoint.as_ref().and_then(|checkpoint| checkpoint.store.as_ref());
    let settings = settings.map(|store| plan::settings_of(&store.value)).unwrap_or_default();
    let Some(path) = checkpoint.as_ref().and_then(|checkpoint| checkpoint.path.as_ref()) else {
        let message = format!("{} names no checkpoint", pipeline.display());
        return Err(refused(
            &message,
            "add [checkpoint] with a `path`; without one the manifest below the sink, _wasmpipe/<job>.json, lists files, and dead letters lie in _wasmpipe/dead-letters/",
        ));
    };
    Ok((place_of(pipeline, &path.value), settings))
}

/// A place of a pipeline file, where relative paths start at the file's folder.
fn place_of(pipeline: &Path, written: &str) -> String {
    if written.contains("://") {
        return written.to_owned();
    }
    let folder = pipeline.parent().unwrap_or(Path::new("")).join(".");
    resolve(&folder.join(written)).display().to_string()
}

pub(super) fn refused(what: &str, hint: &str) -> u8 {
    say!("{}", Message::new(what).hint(hint));
    REFUSED
}
