//! A file or folder that is not there, and the name beside it that was probably meant.

use std::path::{Path, PathBuf};

use crate::config::{list, nearest, shown};
use crate::message::Message;
use crate::store::Location;

/// Names of a folder that are looked at.
const NAMES_MAX: usize = 1000;

/// What to say about `written`, which is `path` and does not exist. `base` is where relative paths start.
pub(super) fn missing(written: &str, path: &Path, base: &Path) -> Message {
    missing_below(written, path, base, "; a relative path starts at the pipeline file's folder")
}

/// The same for a path of a command line.
pub fn missing_by_hand(path: &Path) -> Message {
    let current = std::env::current_dir().unwrap_or_default();
    missing_below(&path.display().to_string(), &current.join(path), &current, "")
}

fn missing_below(written: &str, path: &Path, base: &Path, if_relative: &str) -> Message {
    let message = Message::new(format!("there is no `{}`", shown(written)));
    let (folder, name) = first_missing(path);
    let name = name.unwrap_or_default();
    let is_relative = !written.starts_with('/') && !written.starts_with("file:");
    if let Some(meant) = nearest_in(&folder, &name) {
        let meant = folder.join(meant);
        let meant = if !is_relative { &meant } else { meant.strip_prefix(base).unwrap_or(&meant) };
        return message.hint(format!("did you mean \"{}\"?", shown(&meant.display().to_string())));
    }
    let relative = if is_relative { if_relative } else { "" };
    message.hint(format!("{} has no `{}`{relative}", folder.display(), shown(&name)))
}

/// What to do about a source that takes no file, with what lies at its root.
pub(super) fn hint_for_none(root: &Location) -> String {
    const SHOWN_MAX: usize = 5;
    let Some(root) = root.local() else {
        return "name a Parquet file, a prefix with files that end in .parquet, or a glob".to_owned();
    };
    let names = names_in(root);
    let some: Vec<String> = names.iter().take(SHOWN_MAX).map(|name| shown(name)).collect();
    let there = match names.len() {
        0 => format!("{} is empty", root.display()),
        count if count <= SHOWN_MAX => format!("{} holds {}", root.display(), list(&some, "and")),
        _ => format!("{} holds {} and more", root.display(), some.join(", ")),
    };
    format!("name a Parquet file, a folder with files that end in .parquet, or a glob; {there}")
}

/// The last folder of the path that exists, and the name in it that does not.
fn first_missing(path: &Path) -> (PathBuf, Option<String>) {
    let mut missing = path;
    while let Some(folder) = missing.parent() {
        if folder.is_dir() {
            let name = missing.file_name().and_then(|name| name.to_str()).map(str::to_owned);
            return (folder.to_owned(), name);
        }
        missing = folder;
    }
    (PathBuf::from("/"), None)
}

fn nearest_in(folder: &Path, name: &str) -> Option<String> {
    nearest(name, names_in(folder).iter().map(String::as_str)).map(str::to_owned)
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().take(NAMES_MAX);
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}
