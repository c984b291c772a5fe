//! Folders of this machine.

use std::path::{Component, Path as FsPath, PathBuf};

use object_store::Result;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;

/// The objects below a folder, which need not exist. Writes are synced before they are acknowledged.
pub(super) fn open(root: &FsPath) -> Result<PrefixStore<LocalFileSystem>> {
    let prefix = Path::from_absolute_path(root)?;
    let files = LocalFileSystem::new().with_fsync(true);
    Ok(PrefixStore::new(files, prefix))
}

/// An absolute path without `.` and `..`, symbolic links resolved as far as the path exists.
pub fn resolve(path: &FsPath) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let mut missing = Vec::new();
    let mut existing = absolute.as_path();
    loop {
        if let Ok(real) = existing.canonicalize() {
            let mut resolved = real;
            for part in missing.iter().rev() {
                match part {
                    Component::ParentDir => drop(resolved.pop()),
                    Component::Normal(name) => resolved.push(name),
                    _ => {}
                }
            }
            return resolved;
        }
        match (existing.parent(), existing.components().next_back()) {
            (Some(parent), Some(last)) => {
                missing.push(last);
                existing = parent;
            }
            _ => return absolute,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_resolved_even_where_nothing_exists_yet() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap();
        std::os::unix::fs::symlink(&real, real.join("link")).unwrap();
        assert_eq!(resolve(&real.join("link/a/../b")), real.join("b"));
    }
}
