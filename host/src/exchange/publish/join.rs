//! The bytes of files, joined. A file that is wanted whole goes over as it is, compared with its digest on the way; one that
//! rows of others stand between is cut at lines, and packed anew.

use std::collections::HashMap;

use bytes::Bytes;
use object_store::{ObjectStoreExt, WriteMultipart};

use super::super::ExchangeError;
use super::failed;
use super::shards::{Run, Shard};
use crate::commit::{CommitError, FileEntry};
use crate::format::compression::Compression;
use crate::format::compression::inflate::Inflate;
use crate::format::compression::pack::{Pack, empty};
use crate::source::{Fetch, Object, SourceError};
use crate::store::{Store, location};

/// Parts of one upload are of this size.
const PART_BYTES: usize = 8 << 20;
/// Parts under way for one file.
const PARTS_MAX: usize = 2;
/// Bytes of a file that are read at a time.
const READ_BYTES: u64 = 1 << 20;
/// Of these, inflated.
const INFLATED_BYTES: usize = 1 << 20;

/// Writes what comes of one object. Gives its size and digest.
pub(super) async fn write(
    sink: &Store,
    to: &Store,
    shard: &Shard<'_>,
    compression: Compression,
) -> Result<(u64, String), ExchangeError> {
    let mut upload = Upload::new(to, &shard.name);
    match joined(sink, shard, compression, &mut upload).await {
        Ok(()) => upload.finish().await,
        Err(error) => {
            upload.abort().await;
            Err(error)
        }
    }
}

async fn joined(
    sink: &Store,
    shard: &Shard<'_>,
    compression: Compression,
    upload: &mut Upload<'_>,
) -> Result<(), ExchangeError> {
    let mut cut: HashMap<&str, Lines> = HashMap::new();
    for run in &shard.runs {
        if run.is_whole() {
            whole(sink, run.file, upload).await?;
            continue;
        }
        let lines = cut.entry(&run.file.path).or_insert_with(|| Lines::new(sink, run.file, compression));
        piece(lines, run, compression, upload).await?;
        // Their rows are asked for in their order.
        if run.rows.end == run.file.rows {
            cut.remove(run.file.path.as_str());
        }
    }
    if shard.runs.is_empty() {
        upload.write(&empty(compression).map_err(|error| packing(&shard.name, &error))?).await?;
    }
    Ok(())
}

async fn whole(sink: &Store, file: &FileEntry, upload: &mut Upload<'_>) -> Result<(), ExchangeError> {
    let mut reader = Reader::new(sink, file);
    let mut hasher = blake3::Hasher::new();
    while let Some(bytes) = reader.next().await? {
        hasher.update(&bytes);
        upload.write(&bytes).await?;
    }
    let is_right = file.digest.as_ref().is_none_or(|digest| *digest == hasher.finalize().to_hex().as_str());
    if is_right { Ok(()) } else { Err(damaged(file, "its bytes are not those that were written")) }
}

async fn piece(
    lines: &mut Lines<'_>,
    run: &Run<'_>,
    compression: Compression,
    upload: &mut Upload<'_>,
) -> Result<(), ExchangeError> {
    let bad = |error: std::io::Error| packing(&run.file.path, &error);
    let (mut pack, mut packed) = (Pack::new(compression, None).map_err(bad)?, Vec::new());
    let mut left = run.rows.end - run.rows.start;
    while left > 0 {
        let taken = lines.take(&mut left).await?;
        pack.write(&taken, &mut packed).map_err(bad)?;
        upload.write(&packed).await?;
        packed.clear();
    }
    pack.end(&mut packed).map_err(bad)?;
    upload.write(&packed).await
}

/// A sink file, read from its beginning.
struct Reader<'a> {
    file: &'a FileEntry,
    fetch: Fetch,
    at: u64,
}

impl<'a> Reader<'a> {
    fn new(sink: &Store, file: &'a FileEntry) -> Reader<'a> {
        let object = Object { path: file.path.as_str().into(), size: file.bytes, etag: None, modified_ms: 0 };
        Reader { file, fetch: Fetch::new(sink, &object), at: 0 }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, ExchangeError> {
        let end = self.file.bytes.min(self.at + READ_BYTES);
        if self.at == end {
            return Ok(None);
        }
        let range = std::mem::replace(&mut self.at, end)..end;
        let bytes = self.fetch.ranges(&[range]).await.map_err(|error| self.unread(error))?;
        Ok(bytes.into_iter().next())
    }

    fn unread(&self, error: SourceError) -> ExchangeError {
        match error {
            SourceError::Store { cause, .. } => failed(&self.file.path, cause),
            other => damaged(self.file, &other.to_string()),
        }
    }
}

/// The lines of a sink file, given out from its beginning.
struct Lines<'a> {
    reader: Reader<'a>,
    inflate: Inflate,
    packed: Bytes,
    plain: Vec<u8>,
    /// Of `plain`, what was given out.
    given: usize,
}

impl<'a> Lines<'a> {
    fn new(sink: &Store, file: &'a FileEntry, compression: Compression) -> Lines<'a> {
        let inflate = Inflate::new(compression);
        Lines { reader: Reader::new(sink, file), inflate, packed: Bytes::new(), plain: Vec::new(), given: 0 }
    }

    /// Bytes of the next lines, of which there are `left` at most; an end of a line among them is counted down.
    async fn take(&mut self, left: &mut u64) -> Result<Vec<u8>, ExchangeError> {
        if self.given == self.plain.len() {
            self.fill().await?;
        }
        let plain = &self.plain[self.given..];
        let mut end = plain.len();
        for at in memchr::memchr_iter(b'\n', plain) {
            *left -= 1;
            if *left == 0 {
                end = at + 1;
                break;
            }
        }
        let taken = plain[..end].to_vec();
        self.given += end;
        Ok(taken)
    }

    async fn fill(&mut self) -> Result<(), ExchangeError> {
        loop {
            self.plain.resize(INFLATED_BYTES, 0);
            let step = self.inflate.step(&self.packed, &mut self.plain);
            let step = step.map_err(|error| damaged(self.reader.file, &error.to_string()))?;
            self.packed = self.packed.slice(step.read..);
            self.plain.truncate(step.written);
            self.given = 0;
            if !self.plain.is_empty() {
                return Ok(());
            }
            match self.reader.next().await? {
                Some(bytes) => self.packed = [&self.packed[..], &bytes].concat().into(),
                None => return Err(damaged(self.reader.file, "it has fewer lines than the log says")),
            }
        }
    }
}

/// A file in the making; one that stays small is one plain put.
struct Upload<'a> {
    to: &'a Store,
    name: &'a str,
    begun: Option<WriteMultipart>,
    buffer: Vec<u8>,
    bytes: u64,
    hasher: blake3::Hasher,
}

impl<'a> Upload<'a> {
    fn new(to: &'a Store, name: &'a str) -> Upload<'a> {
        Upload { to, name, begun: None, buffer: Vec::new(), bytes: 0, hasher: blake3::Hasher::new() }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), ExchangeError> {
        self.bytes += bytes.len() as u64;
        self.hasher.update(bytes);
        self.buffer.extend_from_slice(bytes);
        while self.buffer.len() >= PART_BYTES {
            let rest = self.buffer.split_off(PART_BYTES);
            let part = std::mem::replace(&mut self.buffer, rest);
            self.send(part.into()).await.map_err(|cause| failed(self.name, cause))?;
        }
        Ok(())
    }

    async fn send(&mut self, part: Bytes) -> object_store::Result<()> {
        if self.begun.is_none() {
            let upload = self.to.objects().put_multipart(&location(self.name)).await?;
            self.begun = Some(WriteMultipart::new_with_chunk_size(upload, PART_BYTES));
        }
        let begun = self.begun.as_mut().expect("just begun");
        begun.wait_for_capacity(PARTS_MAX).await?;
        begun.put(part);
        Ok(())
    }

    async fn finish(mut self) -> Result<(u64, String), ExchangeError> {
        let finished = match self.begun.take() {
            None => self.to.objects().put(&location(self.name), self.buffer.into()).await,
            Some(mut begun) => {
                begun.put(self.buffer.into());
                begun.finish().await
            }
        };
        finished.map_err(|cause| failed(self.name, cause))?;
        Ok((self.bytes, self.hasher.finalize().to_hex().to_string()))
    }

    async fn abort(self) {
        let Some(begun) = self.begun else { return };
        if let Err(error) = begun.abort().await {
            tracing::warn!(file = self.name, %error, "an upload in parts was not given up");
        }
    }
}

fn damaged(file: &FileEntry, message: &str) -> ExchangeError {
    CommitError::Damaged { name: file.path.clone(), message: message.into() }.into()
}

fn packing(name: &str, error: &std::io::Error) -> ExchangeError {
    CommitError::Damaged { name: name.into(), message: error.to_string() }.into()
}
