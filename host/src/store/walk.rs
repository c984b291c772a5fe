//! A walk through a folder of this machine. It names what it cannot give as an object, instead of leaving it out.

use std::fs::{self, DirEntry, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use object_store::ObjectMeta;

use super::local::staged_for;

/// One object as the store lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Relative to the root.
    pub path: Arc<str>,
    /// Bytes.
    pub size: u64,
    /// The store's version tag, if it has one.
    pub etag: Option<String>,
    /// Milliseconds since 1970, as the store says.
    pub modified_ms: i64,
}

impl From<ObjectMeta> for Object {
    fn from(meta: ObjectMeta) -> Object {
        let modified_ms = meta.last_modified.timestamp_millis();
        Object { path: meta.location.as_ref().into(), size: meta.size, etag: meta.e_tag, modified_ms }
    }
}

/// What lies below a root.
#[derive(Debug, Default)]
pub struct Walk {
    /// In no order.
    pub objects: Vec<Object>,
    /// What is there and is no object.
    pub odd: Vec<Odd>,
}

/// A name below a root that stands for no object.
#[derive(Debug, PartialEq, Eq)]
pub struct Odd {
    /// Relative to the root. Where a name is not UTF-8, as near to it as can be.
    pub path: String,
    /// Why not.
    pub why: Oddity,
}

/// Why a name stands for no object.
#[derive(Debug, PartialEq, Eq)]
pub enum Oddity {
    /// A folder that was not entered.
    Folder,
    /// A name that is not UTF-8 or has a control character.
    Name,
    /// A name that local stores keep for what they have staged.
    Staged,
    /// A link to where nothing is.
    Broken {
        /// What stands in it.
        target: PathBuf,
    },
    /// A link to a folder in which it lies itself.
    Loop {
        /// What stands in it.
        target: PathBuf,
    },
    /// What the operating system does not let this user see.
    Closed {
        /// Its words.
        cause: String,
    },
    /// A pipe, a socket, a device.
    Special,
}

/// Everything below a folder, which need not be there; of folders in it, those that `enters` wants, by their paths.
pub(super) fn walk(root: &FsPath, enters: impl Fn(&str) -> bool) -> Walk {
    let mut walker = Walker { enters, walk: Walk::default(), folders: Vec::new() };
    walker.folders.push(Folder { path: root.into(), name: String::new(), is_named: true, left: Arc::default() });
    while let Some(folder) = walker.folders.pop() {
        walker.folder(&folder);
    }
    walker.walk
}

struct Walker<E> {
    enters: E,
    walk: Walk,
    /// Yet to be looked into.
    folders: Vec<Folder>,
}

/// A folder on the way.
struct Folder {
    path: PathBuf,
    /// Relative to the root; empty for the root.
    name: String,
    /// Whether that can be the name of an object.
    is_named: bool,
    /// Folders that links led away from, on the way to this one; links resolved.
    left: Arc<Vec<PathBuf>>,
}

impl<E: Fn(&str) -> bool> Walker<E> {
    fn folder(&mut self, folder: &Folder) {
        let entries = match fs::read_dir(&folder.path) {
            // The root need not be there; another was just seen, and has gone meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => return,
            Err(error) => return self.odd(folder.name.clone(), closed(&error)),
            Ok(entries) => entries,
        };
        for entry in entries {
            match entry {
                Ok(entry) => self.entry(folder, &entry),
                Err(error) => return self.odd(folder.name.clone(), closed(&error)),
            }
        }
    }

    fn entry(&mut self, folder: &Folder, entry: &DirEntry) {
        let (below, is_named) = match entry.file_name().to_str() {
            Some(name) => (name.to_owned(), folder.is_named && !name.chars().any(|c| c.is_ascii_control())),
            None => (entry.file_name().to_string_lossy().into_owned(), false),
        };
        let name = if folder.name.is_empty() { below } else { format!("{}/{below}", folder.name) };
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => {
                let left = Arc::clone(&folder.left);
                self.enter(Folder { path, name, is_named, left });
            }
            Ok(kind) if kind.is_symlink() => self.link(folder, Folder { path, name, is_named, left: Arc::default() }),
            Ok(_) => self.file(&path, name, is_named),
            Err(error) => self.gone_or_closed(name, &error),
        }
    }

    fn enter(&mut self, folder: Folder) {
        match (self.enters)(&folder.name) {
            true => self.folders.push(folder),
            false => self.odd(folder.name, Oddity::Folder),
        }
    }

    fn link(&mut self, folder: &Folder, link: Folder) {
        let Folder { path, name, is_named, .. } = link;
        let target = || fs::read_link(&path).unwrap_or_default();
        match fs::metadata(&path) {
            Ok(about) if !about.is_dir() => self.file(&path, name, is_named),
            Ok(_) if !(self.enters)(&name) => self.odd(name, Oddity::Folder),
            Ok(_) => match way_through(folder, &path) {
                Some(left) => self.folders.push(Folder { path, name, is_named, left }),
                None => self.odd(name, Oddity::Loop { target: target() }),
            },
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                self.odd(name, Oddity::Broken { target: target() });
            }
            // Links that lead to each other.
            Err(error) if error.raw_os_error() == Some(ELOOP) => {
                self.odd(name, Oddity::Broken { target: target() });
            }
            Err(error) => self.odd(name, closed(&error)),
        }
    }

    fn file(&mut self, path: &FsPath, name: String, is_named: bool) {
        let about = match fs::metadata(path) {
            Ok(about) => about,
            Err(error) => return self.gone_or_closed(name, &error),
        };
        let last = name.rsplit('/').next().unwrap_or_default();
        match () {
            () if !about.is_file() => self.odd(name, Oddity::Special),
            () if !is_named => self.odd(name, Oddity::Name),
            () if staged_for(last).is_some() => self.odd(name, Oddity::Staged),
            () => self.walk.objects.push(object(name, &about)),
        }
    }

    fn gone_or_closed(&mut self, name: String, error: &std::io::Error) {
        if error.kind() != ErrorKind::NotFound {
            self.odd(name, closed(error));
        }
    }

    fn odd(&mut self, path: String, why: Oddity) {
        self.walk.odd.push(Odd { path, why });
    }
}

/// Too many links, as Linux numbers it.
const ELOOP: i32 = rustix::io::Errno::LOOP.raw_os_error();

fn closed(error: &std::io::Error) -> Oddity {
    Oddity::Closed { cause: error.to_string() }
}

/// The folders left on the way through a link in `folder`; none if it leads back to one of them or above.
fn way_through(folder: &Folder, link: &FsPath) -> Option<Arc<Vec<PathBuf>>> {
    let (here, there) = (folder.path.canonicalize().ok()?, link.canonicalize().ok()?);
    let left: Vec<PathBuf> = folder.left.iter().cloned().chain([here]).collect();
    left.iter().all(|left| !left.starts_with(&there)).then(|| Arc::new(left))
}

/// As the local store would list it: its tags are what reads ask for, and what checkpoints have recorded.
fn object(path: String, about: &Metadata) -> Object {
    let since_1970 = i128::from(about.mtime()) * 1_000_000_000 + i128::from(about.mtime_nsec());
    let micros = since_1970.max(0) / 1000;
    Object {
        path: path.into(),
        size: about.len(),
        etag: Some(format!("\"{:x}-{micros:x}-{:x}\"", about.ino(), about.len())),
        modified_ms: about.mtime() * 1000 + about.mtime_nsec() / 1_000_000,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use futures::TryStreamExt;
    use object_store::ObjectStore;

    use super::*;

    fn folder_of(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        folder
    }

    fn names(walk: &Walk) -> Vec<&str> {
        let mut names: Vec<&str> = walk.objects.iter().map(|object| object.path.as_ref()).collect();
        names.sort_unstable();
        names
    }

    fn odd(mut walk: Walk) -> Vec<(String, Oddity)> {
        walk.odd.sort_by(|a, b| a.path.cmp(&b.path));
        walk.odd.into_iter().map(|odd| (odd.path, odd.why)).collect()
    }

    #[test]
    fn objects_are_what_the_local_store_lists() {
        let folder = folder_of(&["a.parquet", "b/c", "b/d e#f/g%h[1].parquet"]);
        symlink("a.parquet", folder.path().join("link")).unwrap();
        let store = super::super::local::open(folder.path()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let listed: Vec<_> = runtime.block_on(store.list(None).try_collect()).unwrap();
        let mut listed: Vec<Object> = listed.into_iter().map(Object::from).collect();
        let mut walked = walk(folder.path(), |_| true);
        listed.sort_by(|a, b| a.path.cmp(&b.path));
        walked.objects.sort_by(|a, b| a.path.cmp(&b.path));
        assert_eq!(walked.objects, listed);
        assert_eq!((listed.len(), walked.odd), (4, vec![]));
    }

    #[test]
    fn what_is_no_object_is_named() {
        let folder = folder_of(&["a", "tab\tx", "new\nline/b", "c#1", "d/e", "d/f/g"]);
        let root = folder.path();
        fs::write(root.join(std::ffi::OsStr::from_bytes(b"\xffx")), "x").unwrap();
        symlink("nowhere", root.join("broken")).unwrap();
        symlink("circle", root.join("circle")).unwrap();
        symlink("a/b", root.join("through a file")).unwrap();
        let socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
        let walked = walk(root, |name| name != "d/f");
        drop(socket);
        assert_eq!(names(&walked), ["a", "d/e"]);
        let broken = |target: &str| Oddity::Broken { target: target.into() };
        let expected = [
            ("broken", broken("nowhere")),
            ("c#1", Oddity::Staged),
            ("circle", broken("circle")),
            ("d/f", Oddity::Folder),
            ("new\nline/b", Oddity::Name),
            ("socket", Oddity::Special),
            ("tab\tx", Oddity::Name),
            ("through a file", broken("a/b")),
            ("\u{fffd}x", Oddity::Name),
        ];
        assert_eq!(odd(walked), expected.map(|(path, why)| (path.to_owned(), why)));
    }

    #[test]
    fn links_to_folders_are_followed_unless_they_lead_back() {
        let folder = folder_of(&["in/a/x", "in/b/y", "out/z"]);
        let root = folder.path().join("in");
        symlink("../out", root.join("out")).unwrap();
        symlink("../b", root.join("a/b")).unwrap();
        symlink("../a", root.join("b/a")).unwrap();
        symlink("../..", root.join("a/up")).unwrap();
        let walked = walk(&root, |_| true);
        assert_eq!(names(&walked), ["a/b/y", "a/x", "b/a/x", "b/y", "out/z"]);
        let back = |target: &str| Oddity::Loop { target: target.into() };
        let expected =
            [("a/b/a", back("../a")), ("a/up", back("../..")), ("b/a/b", back("../b")), ("b/a/up", back("../.."))];
        assert_eq!(odd(walked), expected.map(|(path, why)| (path.to_owned(), why)));
    }

    #[test]
    fn a_folder_that_is_not_there_has_nothing() {
        let walked = walk(FsPath::new("/nowhere/at/all"), |_| true);
        assert_eq!((walked.objects.len(), walked.odd.len()), (0, 0));
    }
}
