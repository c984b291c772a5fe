//! The file being written: [`Output`] and how far it is; [`Start`] and [`Output::end`] make a section of what was written between them;
//! [`Spool`] is what grows with the set and waits in a scratch file until its place is known.

use std::hash::Hasher;

use twox_hash::XxHash3_64;

use crate::error::BuildError;
use crate::format::{Section, SectionKind};
use crate::scratch::{File, Scratch};

const SPOOL_BUFFER_BYTES: usize = 8 << 10;

pub(crate) struct Output {
    file: File,
    at: u64,
    /// Of all sections so far.
    blocks: u64,
}

/// Where a section begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start {
    blocks_at: u64,
    first_block: u64,
}

impl Output {
    pub(crate) fn new(file: File) -> Output {
        Output { file, at: 0, blocks: 0 }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), BuildError> {
        self.at += bytes.len() as u64;
        self.file.write(bytes)
    }

    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    pub(crate) fn start(&self) -> Start {
        Start { blocks_at: self.at, first_block: self.blocks }
    }

    /// Puts the index, of these parts, behind the blocks.
    pub(crate) fn end<const N: usize>(
        &mut self,
        Start { blocks_at, first_block }: Start,
        kind: SectionKind,
        ids: u64,
        blocks: u64,
        index: [Spool; N],
    ) -> Result<Section, BuildError> {
        let index_at = self.at;
        let mut hasher = XxHash3_64::new();
        for mut part in index {
            part.read_back(|bytes| {
                hasher.write(bytes);
                self.write(bytes)
            })?;
        }
        self.blocks += blocks;
        Ok(Section {
            kind,
            ids,
            blocks,
            first_block,
            blocks_at,
            index_at,
            index_bytes: self.at - index_at,
            index_checksum: hasher.finish(),
            strings_have_templates: false,
            template: Vec::new(),
        })
    }

    pub(crate) fn into_file(self) -> File {
        self.file
    }
}

pub(crate) struct Spool {
    file: File,
    bytes: u64,
    hasher: XxHash3_64,
}

impl Spool {
    pub(crate) fn new(scratch: &mut Scratch) -> Result<Spool, BuildError> {
        Ok(Spool { file: scratch.create(SPOOL_BUFFER_BYTES)?, bytes: 0, hasher: XxHash3_64::new() })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), BuildError> {
        self.bytes += bytes.len() as u64;
        self.hasher.write(bytes);
        self.file.write(bytes)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What was written, in pieces of 16 KiB but for the last; an error at the end if it is not that. To be written no more.
    pub(crate) fn read_back(
        &mut self,
        mut piece: impl FnMut(&[u8]) -> Result<(), BuildError>,
    ) -> Result<(), BuildError> {
        let mut hasher = XxHash3_64::new();
        self.file.read_back(|bytes| {
            hasher.write(bytes);
            piece(bytes)
        })?;
        if hasher.finish() == self.hasher.finish() { Ok(()) } else { Err(self.file.damaged()) }
    }
}
