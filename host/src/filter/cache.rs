//! The folder of id files on this host, which all processes of all jobs share. It holds nothing that is not derived.
//!
//! ```text
//! <job>-<digest>.ids         an id file; who has it mapped holds a shared lock on it; its time is that of its last use
//! <job>-<digest>.lock        who builds that file holds a lock on this one, in which its process id stands
//! <job>-<digest>.building/   what the builder writes until the file is whole
//! ```
//!
//! `<digest>` is of everything that the ids come from, so a file that is there is the right one. Locks are the kernel's: they end
//! with the process, however it ends. Nothing here decides whether an answer is right, but who can write here does: the folder is of
//! this user alone. A file that is removed at the wrong moment stays what it is for who has it mapped, and is built again by who
//! comes later. Where the folder cannot be used, a process makes one for itself, which goes with it.

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tempfile::TempDir;

use super::FilterError;
use super::done::{DoneIds, DoneIdsBuilder, io};
use crate::private;

/// File systems on which a mapped file can vanish under its reader, which ends the process: other hosts do not know that the file
/// is in use. By the numbers that Linux gives them.
const NETWORKS: [(i64, &str); 8] = [
    (0x6969, "NFS"),
    (0x517B, "SMB"),
    (0xFF53_4D42, "CIFS"),
    (0xFE53_4D42, "SMB"),
    (0x5346_414F, "AFS"),
    (0x0BD0_0BD0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x00C3_6400, "Ceph"),
];

/// The id files of this host.
#[derive(Clone, Debug)]
pub struct IdCache {
    folder: PathBuf,
    bytes_max: u64,
    /// Of this process alone.
    fresh: Option<Arc<TempDir>>,
}

/// What became of the wish for an id file.
pub enum Looked {
    /// It was built before.
    There(DoneIds),
    /// Nobody builds it: this process does, from here on.
    Ours(Box<DoneIdsBuilder>),
    /// Another process builds it. Ask again in a moment.
    Awaited {
        /// That process, if it has said so.
        process: Option<u32>,
    },
}

/// Which id file.
#[derive(Clone, Debug)]
pub struct IdsName {
    job: String,
    digest: String,
}

impl IdsName {
    /// The file of a job that holds ids from what has this digest.
    pub fn new(job: &str, digest: blake3::Hash) -> IdsName {
        IdsName { job: job.into(), digest: digest.to_hex()[..32].into() }
    }

    fn file(&self, extension: &str) -> String {
        format!("{}-{}.{extension}", self.job, self.digest)
    }
}

impl IdCache {
    /// The folder `ids` in the cache `root`, which is made if need be; its files have at most `bytes_max` together, those in use
    /// apart.
    pub fn open(root: &Path, bytes_max: u64) -> Result<IdCache, FilterError> {
        let folder = private::folder(root, "ids").map_err(|cause| io(&root.join("ids"), cause))?;
        let about = rustix::fs::statfs(&folder).map_err(|cause| io(&folder, cause.into()))?;
        if let Some(kind) = network(about.f_type) {
            return Err(FilterError::Network { path: folder.display().to_string(), kind });
        }
        Ok(IdCache { folder, bytes_max, fresh: None })
    }

    /// A folder among the temporary ones, for this process and no other.
    pub fn fresh(bytes_max: u64) -> Result<IdCache, FilterError> {
        let fresh = private::fresh().map_err(|cause| io(&std::env::temp_dir(), cause))?;
        Ok(IdCache { folder: fresh.path().into(), bytes_max, fresh: Some(Arc::new(fresh)) })
    }

    /// Whether it goes with this process.
    pub fn is_fresh(&self) -> bool {
        self.fresh.is_some()
    }

    /// The file, if it is there; or the right to build it, if nobody does. Building may take `memory_bytes_max`.
    pub fn look(&self, name: &IdsName, memory_bytes_max: usize) -> Result<Looked, FilterError> {
        let path = self.path(name);
        if let Some(done) = DoneIds::find(&path)? {
            return Ok(Looked::There(done));
        }
        let lock = match self.claim(name)? {
            Claim::Ours(lock) => lock,
            Claim::Held(process) => return Ok(Looked::Awaited { process }),
        };
        // Whoever held the lock a moment ago may have built it.
        if let Some(done) = DoneIds::find(&path)? {
            lock.release();
            return Ok(Looked::There(done));
        }
        self.make_room(name);
        let building = self.folder.join(name.file("building"));
        // A killed builder's.
        remove_folder(&building);
        let builder = DoneIdsBuilder::new(building, path, lock, self.clone(), name, memory_bytes_max)?;
        Ok(Looked::Ours(Box::new(builder)))
    }

    pub(super) fn path(&self, name: &IdsName) -> PathBuf {
        self.folder.join(name.file("ids"))
    }

    fn claim(&self, name: &IdsName) -> Result<Claim, FilterError> {
        let path = self.folder.join(name.file("lock"));
        claim(&path).map_err(|cause| io(&path, cause))
    }

    /// Removes what dead builders left, files of the same job from other ids, and then those files that were not used for the
    /// longest time, until the rest is small enough. What anybody has mapped stays.
    pub(super) fn make_room(&self, own: &IdsName) {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if let Some(stem) = name.strip_suffix(".lock") {
                self.remove_dead_build(stem, &path);
            } else if name.ends_with(".ids") && name != own.file("ids") {
                files.extend(entry.metadata().map(|about| (name, path, about)));
            }
        }
        let is_older = |name: &str| name.starts_with(&format!("{}-", own.job));
        files.retain(|(name, path, _)| !(is_older(name) && remove_unused(path)));
        self.remove_oldest(own, files.into_iter().map(|(_, path, about)| (path, about)).collect());
    }

    fn remove_dead_build(&self, stem: &str, lock: &Path) {
        let building = self.folder.join(format!("{stem}.building"));
        if let Ok(Claim::Ours(lock)) = claim(lock) {
            remove_folder(&building);
            lock.release();
        }
    }

    fn remove_oldest(&self, own: &IdsName, mut files: Vec<(PathBuf, fs::Metadata)>) {
        let own = self.path(own).metadata().map_or(0, |about| about.len());
        let mut bytes: u64 = own + files.iter().map(|(_, about)| about.len()).sum::<u64>();
        files.sort_by_key(|(_, about)| about.modified().unwrap_or(SystemTime::UNIX_EPOCH));
        for (path, about) in files {
            if bytes <= self.bytes_max {
                return;
            }
            if remove_unused(&path) {
                tracing::info!(path = %path.display(), bytes = about.len(), "removed an id file that was not used for long");
                bytes -= about.len();
            }
        }
    }
}

fn network(magic: i64) -> Option<&'static str> {
    NETWORKS.iter().find(|(known, _)| *known == magic).map(|(_, name)| *name)
}

/// The right to build a file. It ends with this value, or with the process.
#[derive(Debug)]
pub(super) struct BuildLock {
    file: File,
    path: PathBuf,
}

impl BuildLock {
    /// Gives the right back, and takes the file along.
    pub(super) fn release(self) {
        // Removed while it is held: who waits for this very file looks whether it is still the one of this name.
        let _ = fs::remove_file(&self.path);
        drop(self.file);
    }
}

enum Claim {
    Ours(BuildLock),
    Held(Option<u32>),
}

fn claim(path: &Path) -> std::io::Result<Claim> {
    loop {
        let mut file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Err(TryLockError::Error(cause)) => return Err(cause),
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let _ = file.read_to_string(&mut text);
                return Ok(Claim::Held(text.trim().parse().ok()));
            }
            Ok(()) if is_at(&file, path) => {
                file.set_len(0)?;
                file.rewind()?;
                write!(file, "{}", std::process::id())?;
                return Ok(Claim::Ours(BuildLock { file, path: path.into() }));
            }
            // Whoever held it has removed it.
            Ok(()) => {}
        }
    }
}

/// Whether a file is the one of this name.
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    let identity = |about: fs::Metadata| (about.dev(), about.ino());
    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(named)) => identity(open) == identity(named),
        _ => false,
    }
}

/// Whether it is gone now.
fn remove_unused(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return true };
    file.try_lock().is_ok() && is_at(&file, path) && fs::remove_file(path).is_ok()
}

fn remove_folder(path: &Path) {
    if let Err(error) = fs::remove_dir_all(path)
        && error.kind() != ErrorKind::NotFound
    {
        tracing::warn!(%error, path = %path.display(), "cannot remove what a build left");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(folder: &Path) -> IdCache {
        IdCache::open(folder, u64::MAX).unwrap()
    }

    fn name(digest: &str) -> IdsName {
        IdsName::new("job", blake3::hash(digest.as_bytes()))
    }

    fn files(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn network_file_systems_are_told_apart_from_disks() {
        assert_eq!(network(0x6969), Some("NFS"));
        assert_eq!(network(0xFF53_4D42), Some("CIFS"));
        for disk in [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0x794C_7630, 0x2FC1_2FC1] {
            assert_eq!(network(disk), None, "ext4, XFS, Btrfs, tmpfs, overlay, ZFS");
        }
    }

    #[test]
    fn one_builds_and_the_others_await_it() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (cache(folder.path()), cache(folder.path()));
        let Looked::Ours(builder) = one.look(&name("a"), 1 << 20).unwrap() else { panic!("nobody builds it") };
        let own = std::process::id();
        assert!(matches!(other.look(&name("a"), 1 << 20).unwrap(), Looked::Awaited { process: Some(id) } if id == own));
        assert!(matches!(other.look(&name("b"), 1 << 20).unwrap(), Looked::Ours(_)), "another file");
        drop(builder);
        let Looked::Ours(builder) = other.look(&name("a"), 1 << 20).unwrap() else {
            panic!("nobody builds it any more")
        };
        let _built = builder.finish().unwrap();
        assert!(matches!(one.look(&name("a"), 1 << 20).unwrap(), Looked::There(_)));
        assert_eq!(files(&folder.path().join("ids")), [name("a").file("ids")], "no locks and no scratch are left");
    }

    #[test]
    fn what_dead_builders_left_and_files_from_other_ids_go_unless_they_are_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path());
        let build = |digest: &str| match cache.look(&name(digest), 1 << 20).unwrap() {
            Looked::Ours(builder) => builder.finish().unwrap(),
            _ => panic!("{digest} is built"),
        };
        let first = build("first");
        drop(build("second"));
        fs::write(folder.path().join("ids/gone-00.lock"), "1").unwrap();
        fs::create_dir(folder.path().join("ids/gone-00.building")).unwrap();
        fs::write(folder.path().join("ids/other-00.ids"), "of another job").unwrap();
        let third = build("third");
        let mut left = [name("first").file("ids"), name("third").file("ids"), "other-00.ids".to_owned()];
        left.sort();
        assert_eq!(files(&folder.path().join("ids")), left);
        drop((first, third));
        drop(build("fourth"));
        assert_eq!(files(&folder.path().join("ids")), [name("fourth").file("ids"), "other-00.ids".to_owned()]);
    }
}
