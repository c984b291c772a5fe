//! [`Spool`]: a part of the file that is being written, in a scratch file until its place in the output is known.

use std::hash::Hasher;

use twox_hash::XxHash3_64;

use crate::error::BuildError;
use crate::format::Output;
use crate::scratch::{File, Scratch};

const BUFFER_BYTES: usize = 8 << 10;

pub(crate) struct Spool {
    file: File,
    bytes: u64,
}

impl Spool {
    pub(crate) fn new(scratch: &mut Scratch) -> Result<Spool, BuildError> {
        Ok(Spool { file: scratch.create(BUFFER_BYTES)?, bytes: 0 })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), BuildError> {
        self.bytes += bytes.len() as u64;
        self.file.write(bytes)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// In pieces of 16 KiB but for the last. To be written no more.
    pub(crate) fn read_back(&mut self, piece: impl FnMut(&[u8]) -> Result<(), BuildError>) -> Result<(), BuildError> {
        self.file.read_back(piece)
    }

    fn append_to(mut self, out: &mut Output, hasher: &mut XxHash3_64) -> Result<(), BuildError> {
        self.read_back(|bytes| {
            hasher.write(bytes);
            out.write(bytes)
        })
    }
}

/// Puts the parts of an index behind each other into the output: number of bytes, and their checksum.
pub(crate) fn append<const N: usize>(parts: [Spool; N], out: &mut Output) -> Result<(u64, u64), BuildError> {
    let at = out.at();
    let mut hasher = XxHash3_64::new();
    for part in parts {
        part.append_to(out, &mut hasher)?;
    }
    Ok((out.at() - at, hasher.finish()))
}
