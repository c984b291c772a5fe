//! Sorted runs in scratch files, and many of them merged into one stream of different ids.
//!
//! A run is `u32` length, id, and so on, ascending, without repeats. It never outlives the build, so it has no header; its checksum is in
//! memory.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs;
use std::hash::Hasher;
use std::io::{BufReader, Read};
use std::path::PathBuf;

use twox_hash::XxHash3_64;

use crate::error::BuildError;
use crate::format::ID_BYTES_MAX;
use crate::scratch::{self, File};

#[derive(Debug)]
pub(crate) struct StringRun {
    path: PathBuf,
    ids: u64,
    bytes: u64,
    checksum: u64,
}

impl StringRun {
    pub(crate) fn is_empty(&self) -> bool {
        self.ids == 0
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn remove(self) {
        scratch::remove(&self.path);
    }
}

pub(crate) struct StringRunWriter {
    file: File,
    ids: u64,
    bytes: u64,
    hasher: XxHash3_64,
}

impl StringRunWriter {
    pub(crate) fn new(file: File) -> StringRunWriter {
        StringRunWriter { file, ids: 0, bytes: 0, hasher: XxHash3_64::new() }
    }

    pub(crate) fn push(&mut self, id: &[u8]) -> Result<(), BuildError> {
        let length = u32::try_from(id.len()).expect("ids are at most ID_BYTES_MAX");
        self.file.write(&length.to_le_bytes())?;
        self.file.write(id)?;
        self.hasher.write(&length.to_le_bytes());
        self.hasher.write(id);
        self.ids += 1;
        self.bytes += 4 + id.len() as u64;
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<StringRun, BuildError> {
        Ok(StringRun { path: self.file.close()?, ids: self.ids, bytes: self.bytes, checksum: self.hasher.finish() })
    }
}

/// Each different id of the runs once, ascending. Holds `buffer_bytes` and an id per run.
pub(crate) fn merge(
    runs: &[&StringRun],
    buffer_bytes: usize,
    mut f: impl FnMut(&[u8]) -> Result<(), BuildError>,
) -> Result<(), BuildError> {
    let mut heads = BinaryHeap::with_capacity(runs.len());
    for run in runs {
        heads.extend(Head::open(run, buffer_bytes)?);
    }
    let mut last: Option<Vec<u8>> = None;
    while let Some(mut head) = heads.peek_mut() {
        match last.as_deref().map_or(Ordering::Greater, |last| head.id.as_slice().cmp(last)) {
            Ordering::Greater => {
                f(&head.id)?;
                last.get_or_insert_default().clone_from(&head.id);
            }
            Ordering::Equal => {}
            Ordering::Less => return Err(head.damaged()),
        }
        if !head.advance()? {
            PeekMut::pop(head);
        }
    }
    Ok(())
}

/// The next id of a run.
struct Head<'a> {
    id: Vec<u8>,
    run: &'a StringRun,
    /// Ids behind this one.
    left: u64,
    file: BufReader<fs::File>,
    hasher: XxHash3_64,
}

impl<'a> Head<'a> {
    /// `None` if the run is empty.
    fn open(run: &'a StringRun, buffer_bytes: usize) -> Result<Option<Head<'a>>, BuildError> {
        let file = scratch::open(&run.path, buffer_bytes)?;
        let mut head = Head { id: Vec::new(), run, left: run.ids, file, hasher: XxHash3_64::new() };
        Ok(head.advance()?.then_some(head))
    }

    /// False after the last id.
    fn advance(&mut self) -> Result<bool, BuildError> {
        if self.left == 0 {
            return if self.hasher.finish() == self.run.checksum { Ok(false) } else { Err(self.damaged()) };
        }
        let mut length = [0; 4];
        self.read(&mut length)?;
        let length = u32::from_le_bytes(length) as usize;
        if length > ID_BYTES_MAX {
            return Err(self.damaged());
        }
        let mut id = std::mem::take(&mut self.id);
        id.resize(length, 0);
        self.read(&mut id)?;
        self.id = id;
        self.left -= 1;
        Ok(true)
    }

    fn read(&mut self, bytes: &mut [u8]) -> Result<(), BuildError> {
        self.file.read_exact(bytes).map_err(BuildError::io("read", &self.run.path))?;
        self.hasher.write(bytes);
        Ok(())
    }

    fn damaged(&self) -> BuildError {
        BuildError::ScratchDamaged { path: self.run.path.clone() }
    }
}

/// The heap hands out its greatest first: the head with the smallest id.
impl Ord for Head<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.id.cmp(&self.id)
    }
}

impl PartialOrd for Head<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Head<'_> {}
