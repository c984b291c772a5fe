//! Folders for what is derived and must not be somebody else's: compiled code, ids that are done. Whoever can write there decides
//! what runs, and which rows are left out.

use std::fs::{self, DirBuilder, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

const OWN: u32 = 0o700;
/// The rights of others to write.
const OTHERS_WRITE: u32 = 0o022;

/// The folder `name` in the cache `root`. Both are made if they are not there; those that are there must be of this user, or of
/// root, and nobody else may write to them.
pub fn folder(root: &Path, name: &str) -> io::Result<PathBuf> {
    let folder = root.join(name);
    DirBuilder::new().mode(OWN).recursive(true).create(&folder)?;
    trust(root, &fs::metadata(root)?)?;
    // A link could lead into somebody else's folder.
    let about = fs::symlink_metadata(&folder)?;
    if !about.is_dir() {
        return Err(refused(&folder, "is a link"));
    }
    trust(&folder, &about)?;
    // What root has laid down is for all to read.
    if about.mode() & 0o077 != 0 && about.uid() == user()? {
        fs::set_permissions(&folder, Permissions::from_mode(OWN))?;
    }
    Ok(folder)
}

/// A new folder of this user alone, which goes when the value does.
pub fn fresh() -> io::Result<TempDir> {
    tempfile::Builder::new().prefix("wasmpipe-").permissions(Permissions::from_mode(OWN)).tempdir()
}

/// Whether nobody but this user and root can have written it.
pub fn trust(path: &Path, about: &Metadata) -> io::Result<()> {
    if about.uid() != 0 && about.uid() != user()? {
        return Err(refused(path, &format!("belongs to another user (number {})", about.uid())));
    }
    if about.mode() & OTHERS_WRITE != 0 {
        return Err(refused(path, &format!("may be written by others (mode {:o})", about.mode() & 0o7777)));
    }
    Ok(())
}

fn refused(path: &Path, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, format!("{} {what}", path.display()))
}

/// Who this process is: what it makes belongs to that user.
fn user() -> io::Result<u32> {
    match fs::metadata("/proc/self") {
        Ok(about) => Ok(about.uid()),
        Err(_) => Ok(tempfile::tempfile()?.metadata()?.uid()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn folders_are_made_for_one_user_alone() {
        let around = fresh().unwrap();
        let root = around.path().join("a/b");
        let made = folder(&root, "components").unwrap();
        for path in [around.path(), &root, &made] {
            assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o700, "{}", path.display());
        }
        mode(&made, 0o755);
        assert_eq!(folder(&root, "components").unwrap(), made);
        assert_eq!(made.metadata().unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn folders_that_others_write_to_are_refused() {
        let around = fresh().unwrap();
        let root = around.path();
        let refused = |name: &str| folder(root, name).unwrap_err().to_string();
        fs::create_dir(root.join("components")).unwrap();
        symlink("components", root.join("link")).unwrap();
        assert!(refused("link").ends_with("link is a link"));
        mode(&root.join("components"), 0o770);
        assert!(refused("components").ends_with("components may be written by others (mode 770)"));
        mode(&root.join("components"), 0o700);
        mode(root, 0o1777);
        assert!(refused("components").contains("may be written by others (mode 1777)"));
    }
}
