//! The files that a build writes: [`File`] knows its path, so that errors can name it; [`Scratch`] is a folder of them that is gone
//! when the build ends; [`NewFile`] becomes the output, whole or not at all. Knows nothing of ids.

use std::fs;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::error::BuildError;

/// A file being written, and read back.
pub(crate) struct File {
    path: PathBuf,
    file: BufWriter<fs::File>,
}

impl File {
    /// A new file: `AlreadyExists` if there is one.
    fn create(path: PathBuf, buffer_bytes: usize) -> io::Result<File> {
        let file = fs::File::options().read(true).write(true).create_new(true).open(&path)?;
        Ok(File { path, file: BufWriter::with_capacity(buffer_bytes, file) })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), BuildError> {
        self.file.write_all(bytes).map_err(BuildError::io("write", &self.path))
    }

    /// Everything that was written, in pieces of 16 KiB but for the last. To be written no more.
    pub(crate) fn read_back(
        &mut self,
        mut piece: impl FnMut(&[u8]) -> Result<(), BuildError>,
    ) -> Result<(), BuildError> {
        self.flush()?;
        let file = self.file.get_mut();
        file.rewind().map_err(BuildError::io("read", &self.path))?;
        let mut buffer = Vec::with_capacity(16 << 10);
        loop {
            buffer.clear();
            let some = Read::by_ref(file).take(16 << 10).read_to_end(&mut buffer);
            if some.map_err(BuildError::io("read", &self.path))? == 0 {
                return Ok(());
            }
            piece(&buffer)?;
        }
    }

    /// It does not hold what was written.
    pub(crate) fn damaged(&self) -> BuildError {
        BuildError::ScratchDamaged { path: self.path.clone() }
    }

    /// Closes the file and says where it is. It is not synced: scratch need not survive.
    pub(crate) fn close(mut self) -> Result<PathBuf, BuildError> {
        self.flush()?;
        Ok(self.path)
    }

    fn flush(&mut self) -> Result<(), BuildError> {
        self.file.flush().map_err(BuildError::io("write", &self.path))
    }
}

pub(crate) fn open(path: &Path, buffer_bytes: usize) -> Result<BufReader<fs::File>, BuildError> {
    let file = fs::File::open(path).map_err(BuildError::io("open", path))?;
    Ok(BufReader::with_capacity(buffer_bytes, file))
}

/// Scratch files, in a folder of their own (`ids-<process>-<number>`) that is made for the first file and deleted on drop.
pub(crate) struct Scratch {
    parent: PathBuf,
    folder: Option<PathBuf>,
    files: u64,
}

impl Scratch {
    pub(crate) fn new(parent: &Path) -> Scratch {
        Scratch { parent: parent.to_owned(), folder: None, files: 0 }
    }

    pub(crate) fn create(&mut self, buffer_bytes: usize) -> Result<File, BuildError> {
        let path = self.folder()?.join(self.files.to_string());
        self.files += 1;
        File::create(path.clone(), buffer_bytes).map_err(BuildError::io("create", &path))
    }

    pub(crate) fn create_two(&mut self, buffer_bytes: usize) -> Result<[File; 2], BuildError> {
        Ok([self.create(buffer_bytes)?, self.create(buffer_bytes)?])
    }

    fn folder(&mut self) -> Result<PathBuf, BuildError> {
        if self.folder.is_none() {
            let name = |number| self.parent.join(format!("ids-{}-{number}", std::process::id()));
            let (folder, ()) = first_free(name, |folder| fs::create_dir(folder))?;
            self.folder = Some(folder);
        }
        Ok(self.folder.clone().unwrap_or_default())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            // Nobody is left to tell; what remains is only disk space.
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// Deletes a file. Nobody is left to tell if that fails: what remains is only disk space.
pub(crate) fn remove(path: &Path) {
    let _ = fs::remove_file(path);
}

/// The output under another name in the same folder (`.ids-<process>-<number>.tmp`), deleted on drop unless it was published.
pub(crate) struct NewFile {
    path: PathBuf,
    target: PathBuf,
    published: bool,
}

impl NewFile {
    /// And the file, to be written.
    pub(crate) fn create(target: &Path, buffer_bytes: usize) -> Result<(NewFile, File), BuildError> {
        let name = |number| target.with_file_name(format!(".ids-{}-{number}.tmp", std::process::id()));
        let (path, file) = first_free(name, |path| File::create(path.to_owned(), buffer_bytes))?;
        Ok((NewFile { path, target: target.to_owned(), published: false }, file))
    }

    /// Gives the file its name. It is not synced: if a power cut leaves holes, their checksums do not match.
    pub(crate) fn publish(mut self, mut file: File) -> Result<(), BuildError> {
        file.flush()?;
        fs::rename(&self.path, &self.target).map_err(BuildError::io("rename to", &self.target))?;
        self.published = true;
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.published {
            remove(&self.path);
        }
    }
}

/// Makes what has the first name that is not taken: by a build of this process, or of a killed one with the same number.
fn first_free<T>(
    name: impl Fn(u64) -> PathBuf,
    make: impl Fn(&Path) -> io::Result<T>,
) -> Result<(PathBuf, T), BuildError> {
    let mut number = 0;
    loop {
        let path = name(number);
        match make(&path) {
            Ok(made) => return Ok((path, made)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(BuildError::io("create", &path)(error)),
        }
    }
}
