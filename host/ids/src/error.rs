//! What can go wrong: [`BuildError`] while a file is written, [`Damage`] when one is read.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why an id file could not be built. No part of one is left behind, and no scratch files once the builder is gone.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The disk or the file system said no.
    #[error("cannot {action} {}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    /// An id is longer than [`ID_BYTES_MAX`](crate::ID_BYTES_MAX).
    #[error("an id of {bytes} bytes exceeds id_bytes_max = {max}")]
    IdTooLong { bytes: usize, max: usize },
    /// The operating system gives no more threads.
    #[error("no thread can be started")]
    Threads(#[source] io::Error),
    /// An earlier error lost ids.
    #[error("ids are missing, since adding them failed")]
    Incomplete,
    /// More than a `u64` can count; or 2^64 numbers of a kind.
    #[error("the ids are more than 2^64 - 1")]
    TooManyIds,
    /// A scratch file does not hold what was written to it.
    #[error("scratch file {} changed while it was in use", path.display())]
    ScratchDamaged { path: PathBuf },
}

impl BuildError {
    /// What to do.
    pub fn hint(&self) -> &'static str {
        match self {
            BuildError::Io { .. } => "the folder must exist, be writable and have room; then build again",
            BuildError::IdTooLong { .. } => "choose a shorter column as id",
            BuildError::Threads(_) => {
                "raise the limit on processes (`ulimit -u`, or the container's), then build again"
            }
            BuildError::Incomplete => "build again",
            BuildError::TooManyIds => "use several files",
            BuildError::ScratchDamaged { .. } => "keep others out of the scratch folder, check the disk, build again",
        }
    }

    /// For `map_err`: says what was tried on which file.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BuildError {
        move |source| BuildError::Io { action, path: path.to_owned(), source }
    }
}

/// The bytes are not a whole, unharmed id file of this version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the id file is damaged in its {part}, at byte {at}: {what}")]
pub struct Damage {
    /// The part of the file.
    pub part: Part,
    /// Offset in the file of the defect, or of the part or entry that has it.
    pub at: u64,
    /// What is wrong there.
    pub what: &'static str,
}

impl Damage {
    /// What to do.
    pub fn hint(&self) -> &'static str {
        "delete the file; it is derived and will be built again"
    }
}

/// A part of the file, as drawn in the crate's documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Header,
    /// Data block, counted from 0.
    Block(u64),
    /// What says where the blocks of a section are.
    Index,
    /// What says which sections there are.
    Directory,
    Footer,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Header => f.write_str("header"),
            Part::Block(number) => write!(f, "block {number}"),
            Part::Index => f.write_str("index"),
            Part::Directory => f.write_str("directory"),
            Part::Footer => f.write_str("footer"),
        }
    }
}

/// A defect, and its offset in a block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) at: usize,
    pub(crate) what: &'static str,
}

pub(crate) fn block_damage(number: u64, block_at: u64, fault: Fault) -> Damage {
    Damage { part: Part::Block(number), at: block_at.saturating_add(fault.at as u64), what: fault.what }
}
