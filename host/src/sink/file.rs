//! One file. Encoding happens on the caller's thread; encoded bytes leave in parts while more rows arrive. A file
//! that stays small is one plain put. Nobody sees the object before it is complete.

use std::collections::VecDeque;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use bytes::Bytes;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStoreExt, PutPayload};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::{Holds, Output, OutputKind, SinkError, SinkFile};
use crate::format::{EncodeError, Encoder};
use crate::store::{Store, location};

/// Parts of one upload are all of this size but the last, as some stores demand.
const PART_BYTES: usize = 8 * 1024 * 1024;
/// Parts under way for one file; beyond that the encoder waits. Fewer where a row group may have less memory than that.
const PARTS_MAX: usize = 4;
/// A file that rows are being added to.
pub struct FileWriter {
    kind: OutputKind,
    name: String,
    encoder: Box<dyn Encoder>,
    bytes_max: u64,
    rows: u64,
    holds: Option<Holds>,
    upload: Upload,
}

/// A file that gets no more rows; its last bytes are not durable yet.
pub struct ClosedFile {
    kind: OutputKind,
    name: String,
    rows: u64,
    bytes: u64,
    rest: Vec<u8>,
    holds: Option<Holds>,
    upload: Upload,
}

struct Upload {
    store: Store,
    path: Path,
    runtime: Handle,
    parts: Option<Box<dyn MultipartUpload>>,
    under_way: VecDeque<JoinHandle<object_store::Result<()>>>,
    /// Beyond so many the encoder waits.
    under_way_max: usize,
    sent: u64,
    /// Of the bytes so far.
    hasher: blake3::Hasher,
}

impl FileWriter {
    pub(super) fn new(store: &Store, output: &Output, name: String, runtime: Handle) -> Result<FileWriter, SinkError> {
        let Output { kind, schema, format, file_bytes_max: bytes_max, .. } = output;
        let encoder = format.encoder(schema);
        let encoder = encoder.map_err(|cause| SinkError::Encode { name: name.clone(), cause })?;
        let path = location(&name);
        let (store, under_way) = (store.clone(), VecDeque::new());
        let under_way_max = (format.buffered_bytes_max() / PART_BYTES).clamp(1, PARTS_MAX);
        let hasher = blake3::Hasher::new();
        let upload = Upload { store, path, runtime, parts: None, under_way, under_way_max, sent: 0, hasher };
        Ok(FileWriter { kind: *kind, name, encoder, bytes_max: *bytes_max, rows: 0, holds: None, upload })
    }

    /// Adds rows.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), SinkError> {
        self.encoder.write(batch).map_err(|cause| self.encode_error(cause))?;
        self.rows += batch.num_rows() as u64;
        self.upload.send_whole_parts(self.encoder.encoded()).map_err(|cause| self.store_error(cause))
    }

    /// The same, unless there is none.
    pub(super) fn write_or_fail(&mut self, batch: Result<RecordBatch, ArrowError>) -> Result<(), SinkError> {
        self.write(&batch.map_err(|error| self.encode_error(error.into()))?)
    }

    /// Bytes so far, with those that are still to be encoded, about.
    pub fn bytes(&self) -> u64 {
        self.encoder.bytes()
    }

    /// Whether what comes of these rows can follow what is in the file.
    pub(super) fn goes_on_with(&self, next: &Holds) -> bool {
        self.holds.as_ref().is_none_or(|holds| holds.goes_on_with(next))
    }

    /// Says which source rows its last rows came of.
    pub(super) fn hold(&mut self, next: Holds) {
        match &mut self.holds {
            Some(holds) => holds.extend(next),
            none => *none = Some(next),
        }
    }

    /// Whether it has grown to what the output's files may have.
    pub fn is_full(&self) -> bool {
        self.bytes() >= self.bytes_max
    }

    /// Encodes what is left.
    pub fn close(self) -> Result<ClosedFile, SinkError> {
        let FileWriter { kind, name, encoder, rows, holds, mut upload, .. } = self;
        let mut rest = encoder.close().map_err(|cause| SinkError::Encode { name: name.clone(), cause })?;
        upload.send_whole_parts(&mut rest).map_err(|cause| SinkError::Store { name: name.clone(), cause })?;
        let bytes = upload.sent + rest.len() as u64;
        upload.hasher.update(&rest);
        Ok(ClosedFile { kind, name, rows, bytes, rest, holds, upload })
    }

    fn encode_error(&self, cause: EncodeError) -> SinkError {
        SinkError::Encode { name: self.name.clone(), cause }
    }

    fn store_error(&self, cause: object_store::Error) -> SinkError {
        SinkError::Store { name: self.name.clone(), cause }
    }
}

impl ClosedFile {
    /// Makes the file durable.
    pub async fn complete(mut self) -> Result<SinkFile, SinkError> {
        let finished = match self.upload.parts.take() {
            None => self.upload.put(self.rest).await,
            Some(parts) => self.upload.finish(parts, self.rest, self.bytes).await,
        };
        let (name, digest) = (self.name, self.upload.hasher.finalize().to_hex().to_string());
        match finished {
            Ok(()) => {
                let ClosedFile { kind, rows, bytes, holds, .. } = self;
                Ok(SinkFile { kind, path: name, rows, bytes, digest, holds })
            }
            Err(cause) => Err(SinkError::Store { name, cause }),
        }
    }
}

impl Upload {
    /// Takes whole parts off the front of `encoded` and sends them. Waits while too many are under way.
    fn send_whole_parts(&mut self, encoded: &mut Vec<u8>) -> object_store::Result<()> {
        if encoded.len() < PART_BYTES {
            return Ok(());
        }
        let mut bytes = Bytes::from(std::mem::take(encoded));
        while bytes.len() >= PART_BYTES {
            let part = bytes.split_to(PART_BYTES);
            self.send(part)?;
        }
        encoded.extend_from_slice(&bytes);
        Ok(())
    }

    fn send(&mut self, part: Bytes) -> object_store::Result<()> {
        while self.under_way.len() >= self.under_way_max {
            let oldest = self.under_way.pop_front().expect("not empty");
            self.runtime.block_on(joined(oldest))?;
        }
        if self.parts.is_none() {
            let started = self.store.objects().put_multipart(&self.path);
            self.parts = Some(self.runtime.block_on(started)?);
        }
        let upload = self.parts.as_mut().expect("just started");
        self.sent += part.len() as u64;
        self.hasher.update(&part);
        self.under_way.push_back(self.runtime.spawn(upload.put_part(PutPayload::from_bytes(part))));
        Ok(())
    }

    async fn put(&self, bytes: Vec<u8>) -> object_store::Result<()> {
        self.store.objects().put(&self.path, bytes.into()).await.map(drop)
    }

    /// `bytes` is the size of the whole file.
    async fn finish(
        &mut self,
        mut parts: Box<dyn MultipartUpload>,
        rest: Vec<u8>,
        bytes: u64,
    ) -> object_store::Result<()> {
        if !rest.is_empty() {
            parts.put_part(rest.into()).await?;
        }
        while let Some(part) = self.under_way.pop_front() {
            joined(part).await?;
        }
        match parts.complete().await {
            // An answer was lost and the request sent again: the upload is gone because it is an object now. No other
            // writer uses the name.
            Err(error @ object_store::Error::NotFound { .. }) => {
                let found = self.store.objects().head(&self.path).await;
                if found.is_ok_and(|found| found.size == bytes) { Ok(()) } else { Err(error) }
            }
            completed => completed.map(drop),
        }
    }
}

async fn joined(part: JoinHandle<object_store::Result<()>>) -> object_store::Result<()> {
    part.await.unwrap_or_else(|error| Err(object_store::Error::Generic { store: "upload", source: Box::new(error) }))
}
