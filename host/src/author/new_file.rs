//! A file that a command makes: whole or not at all, and never in the place of something that is no file.

use std::fs::{self, File, FileType};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::message::Hint;

/// What is there cannot be replaced by a file.
#[derive(Debug, thiserror::Error)]
#[error("{} is {what}", path.display())]
pub struct NotAFile {
    path: PathBuf,
    what: &'static str,
}

impl Hint for NotAFile {
    fn hint(&self) -> Option<String> {
        Some("name a file, or what is not there yet".into())
    }
}

/// Where a file is to be.
#[derive(Debug)]
pub(super) struct NewFile {
    /// Behind all links.
    path: PathBuf,
}

impl NewFile {
    /// Looks at what is there, and opens nothing: to open a pipe can take forever.
    pub(super) fn at(path: &Path) -> Result<NewFile, NotAFile> {
        let refused = |what| NotAFile { path: path.to_owned(), what };
        match fs::metadata(path) {
            Ok(there) if there.is_file() => {
                Ok(NewFile { path: fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()) })
            }
            Ok(there) => Err(refused(said(there.file_type()))),
            Err(_) if path.is_symlink() => Err(refused("a link to what cannot be found")),
            // If it is something else than absent, writing will say so.
            Err(_) => Ok(NewFile { path: path.to_owned() }),
        }
    }

    /// Whether it is there with this content.
    pub(super) fn is(&self, bytes: &[u8]) -> bool {
        let len = bytes.len() as u64;
        let mut old = Vec::new();
        let read = |file: File| file.take(len + 1).read_to_end(&mut old);
        fs::metadata(&self.path).is_ok_and(|there| there.len() == len)
            && File::open(&self.path).and_then(read).is_ok()
            && old == bytes
    }

    /// Under a name of its own first: a crash leaves the old file or the new one, never half of one.
    pub(super) fn write<E: From<io::Error>>(
        &self,
        write: impl FnOnce(&mut (dyn Write + Send)) -> Result<(), E>,
    ) -> Result<(), E> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = temporary().tempfile_in(folder)?;
        write(file.as_file_mut())?;
        file.as_file().sync_all()?;
        file.persist(&self.path).map_err(io::Error::from)?;
        Ok(())
    }

    /// Makes the folders above it.
    pub(super) fn with_folders(&self) -> io::Result<()> {
        self.path.parent().map_or(Ok(()), fs::create_dir_all)
    }
}

fn said(what: FileType) -> &'static str {
    if what.is_dir() { "a folder" } else { "no file, but a device, a pipe or a socket" }
}

/// A temporary file that others may read in the end, as far as the user's umask lets them.
fn temporary() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.prefix(".wasmpipe-");
    builder
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
        let file = NewFile::at(path).map_err(io::Error::other)?;
        file.with_folders()?;
        file.write(|out| out.write_all(bytes))
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/code.wasm");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        let file = NewFile::at(&path).unwrap();
        file.write(|out| out.write_all(b"half").and(Err(io::Error::other("no more")))).unwrap_err();
        assert!(file.is(b"two") && !file.is(b"one") && !file.is(b"tw"));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        assert!(write(&path.join("below-a-file.wasm"), b"three").is_err());
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_file_stays() {
        use std::os::unix::fs::{FileTypeExt, symlink};

        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        symlink("socket", at("link-to-socket")).unwrap();
        symlink("nowhere", at("link-to-nowhere")).unwrap();
        for (name, what) in [
            ("socket", "no file, but a device, a pipe or a socket"),
            ("link-to-socket", "no file, but a device, a pipe or a socket"),
            ("link-to-nowhere", "a link to what cannot be found"),
            (".", "a folder"),
        ] {
            let error = NewFile::at(&at(name)).unwrap_err();
            assert_eq!(error.what, what, "{name}");
        }
        assert!(fs::metadata(at("socket")).unwrap().file_type().is_socket());

        fs::write(at("file"), "old").unwrap();
        symlink("file", at("link-to-file")).unwrap();
        write(&at("link-to-file"), b"new").unwrap();
        assert_eq!(fs::read(at("file")).unwrap(), b"new");
        assert!(at("link-to-file").is_symlink());
    }
}
