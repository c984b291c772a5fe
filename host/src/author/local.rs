//! A file of this machine, whose rows a person names on a command line, as formats read it.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::format::{AsyncRanges, Ranges, Unread};

/// An open file, which stays as it is while it is read.
pub(super) struct Local {
    name: String,
    file: File,
    size: u64,
}

impl Local {
    pub(super) fn open(path: &Path) -> io::Result<Local> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        Ok(Local { name: path.display().to_string(), file, size })
    }

    fn bytes(&self, range: &Range<u64>) -> io::Result<Bytes> {
        let mut bytes = vec![0; (range.end - range.start) as usize];
        self.file.read_exact_at(&mut bytes, range.start)?;
        Ok(bytes.into())
    }
}

impl Ranges for Local {
    fn size(&self) -> u64 {
        self.size
    }

    fn wait(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, Unread> {
        Ok(ranges.iter().map(|range| self.bytes(range)).collect::<io::Result<_>>()?)
    }
}

/// Ready at once.
impl AsyncRanges for Local {
    fn name(&self) -> &str {
        &self.name
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn version(&self) -> String {
        String::new()
    }

    fn get<'a>(&'a self, ranges: &'a [Range<u64>]) -> BoxFuture<'a, Result<Vec<Bytes>, Unread>> {
        std::future::ready(self.wait(ranges)).boxed()
    }
}
