//! What lies in a source and is not read, for a person who might think that it is.

use std::collections::BTreeSet;

use super::glob::is_hidden;
use super::kind::FileKind;
use super::list::{Pattern, Taken, is_of, shown};
use crate::store::{Object, Odd, Oddity};

/// Names shown of each kind.
const NAMES_SHOWN_MAX: usize = 5;

/// Hidden names that hold no rows of their own: marks, summaries and checksums of engines, our manifests and dead letters, and
/// what tools leave everywhere.
const NO_ROWS: [&str; 6] = ["_SUCCESS", "_metadata", "_common_metadata", "_wasmpipe", ".DS_Store", ".git"];

/// Names below the source's root that are not read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PassedOver {
    /// Of a folder: files that are of another kind by their names, or of none, and not empty.
    others: BTreeSet<String>,
    /// Names that begin with `_` or `.`.
    hidden: BTreeSet<String>,
    /// Folders whose names a glob matches.
    folders: BTreeSet<String>,
    /// Links to where nothing is.
    broken: BTreeSet<String>,
}

impl PassedOver {
    pub(super) fn of(pattern: &Pattern, objects: &[Object], odd: &[Odd]) -> PassedOver {
        let mut passed = PassedOver::default();
        for object in objects {
            passed.object(pattern, object);
        }
        for odd in odd {
            passed.odd(pattern, odd);
        }
        passed
    }

    /// A line for each kind of name.
    pub fn lines(&self) -> Vec<String> {
        let kinds = [
            (&self.others, "other file", ""),
            (&self.hidden, "hidden name", " (names that begin with _ or . are read where a glob spells that letter)"),
            (&self.folders, "matching folder", " (a glob takes files; with /** behind it, what lies in folders)"),
            (&self.broken, "broken link", ""),
        ];
        kinds.into_iter().filter_map(|(names, noun, more)| line(names, noun, more)).collect()
    }

    fn object(&mut self, pattern: &Pattern, object: &Object) {
        let path = object.path.as_ref();
        if pattern.takes(path) {
            return;
        }
        match &pattern.taken {
            Taken::Glob(glob) => {
                if glob.would_take(path) {
                    self.hidden(path, "");
                } else if let Some(folder) = above(path).find(|folder| glob.takes(folder)) {
                    self.folders.insert(format!("{}/", shown(folder)));
                }
            }
            Taken::Folder(kind) if path.split('/').any(is_hidden) => self.hidden_object(path, *kind),
            Taken::Folder(_) if object.size > 0 => drop(self.others.insert(shown(path))),
            Taken::Folder(_) | Taken::File(_) => {}
        }
    }

    fn odd(&mut self, pattern: &Pattern, odd: &Odd) {
        let path = odd.path.as_str();
        match (&odd.why, &pattern.taken) {
            (Oddity::Folder, Taken::Glob(glob)) if glob.takes(path) => {
                self.folders.insert(format!("{}/", shown(path)));
            }
            (Oddity::Folder, Taken::Glob(glob)) if glob.would_enter(path) => self.hidden(path, "/"),
            (Oddity::Folder, Taken::Folder(_)) => self.hidden(path, "/"),
            (Oddity::Broken { .. }, _) if pattern.enters(path) => drop(self.broken.insert(shown(path))),
            (Oddity::Name | Oddity::Special, Taken::Folder(_)) if !path.split('/').any(is_hidden) => {
                self.others.insert(shown(path));
            }
            (Oddity::Staged, Taken::Folder(_)) => {
                self.others.extend((!path.split('/').any(is_hidden)).then(|| shown(path)));
            }
            _ => {}
        }
    }

    /// Of files that a folder's form leaves, those that it would take if they had another name; and whole folders.
    fn hidden_object(&mut self, path: &str, kind: Option<FileKind>) {
        let is_below = above(path).any(|folder| folder.split('/').any(is_hidden));
        if is_below || is_of(path, kind) {
            self.hidden(path, "");
        }
    }

    /// By the first name that is hidden: a folder, if something lies below.
    fn hidden(&mut self, path: &str, end: &str) {
        let first = above(path).find(|folder| folder.rsplit('/').next().is_some_and(is_hidden));
        let (first, end) = first.map_or((path, end), |folder| (folder, "/"));
        let name = first.rsplit('/').next().unwrap_or_default();
        if !NO_ROWS.contains(&name) {
            self.hidden.insert(format!("{}{end}", shown(first)));
        }
    }
}

/// The folders of a path, the outermost first.
fn above(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

fn line(names: &BTreeSet<String>, noun: &str, more: &str) -> Option<String> {
    let first: Vec<&str> = names.iter().take(NAMES_SHOWN_MAX).map(String::as_str).collect();
    let and_more = if names.len() > first.len() { ", ..." } else { "" };
    let what = match names.len() {
        0 => return None,
        1 => format!("1 {noun} is"),
        count => format!("{count} {noun}s are"),
    };
    Some(format!("{what} not read: {}{and_more}{more}", first.join(", ")))
}
