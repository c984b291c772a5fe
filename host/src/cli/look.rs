//! Commands that look into a checkpoint without running its job: which checkpoint is meant, and what it says.

use std::path::Path;
use std::sync::Arc;

use super::{FAILED, REFUSED, print_error};
use crate::commit::{self, View};
use crate::config;
use crate::message::Message;
use crate::store::{Store, Unwatched, Watch, resolve};

/// A checkpoint that was found.
pub(super) struct Looked {
    /// Where it lies.
    pub store: Store,
    /// What it says.
    pub view: View,
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
    let place = match named.ends_with(".toml") {
        true => place_in(Path::new(named))?,
        false => named.to_owned(),
    };
    let store = open("checkpoint", &place)?;
    match runtime.block_on(commit::view(&store)) {
        Ok(Some(view)) => Ok(Looked { store, view }),
        Ok(None) if place == named => Err(refused(&format!("{named} is no checkpoint"), FOLDER)),
        Ok(None) => {
            Err(refused(&format!("{place} is no checkpoint: the job of {named} has not begun"), "run it first"))
        }
        Err(error) => {
            print_error(&error);
            Err(FAILED)
        }
    }
}

const FOLDER: &str = "name the folder that `path` under [checkpoint] names";

/// A root that a person or a genesis names.
pub(super) fn open(name: &'static str, place: &str) -> Result<Store, u8> {
    Store::at(name, place, &watch()).map_err(|error| {
        let message = format!("cannot open the {name} {place}: {error}");
        refused(&message, "name a folder of this machine")
    })
}

/// `path` under [checkpoint].
fn place_in(pipeline: &Path) -> Result<String, u8> {
    let config = config::load(pipeline).map_err(|problems| {
        say!("{problems}");
        REFUSED
    })?;
    let Some(path) = config.checkpoint.as_ref().and_then(|checkpoint| checkpoint.path.as_ref()) else {
        let message = format!("{} names no checkpoint", pipeline.display());
        return Err(refused(
            &message,
            "add [checkpoint] with a `path`; a job without it can only be listed by its manifest",
        ));
    };
    if path.value.contains("://") {
        return Ok(path.value.clone());
    }
    let folder = pipeline.parent().unwrap_or(Path::new("")).join(".");
    Ok(resolve(&folder.join(&path.value)).display().to_string())
}

pub(super) fn refused(what: &str, hint: &str) -> u8 {
    say!("{}", Message::new(what).hint(hint));
    REFUSED
}
