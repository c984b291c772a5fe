//! Arrow IPC messages, byte for byte as the contract wants them:
//!
//! ```text
//! FF FF FF FF | metadata size, u32 LE | metadata flatbuffer, padded to 8 | body
//! ```
//!
//! One message, nothing before or after it, no dictionaries, no compression.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_data::UnsafeFlag;
use arrow_ipc::reader::RecordBatchDecoder;
use arrow_ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions, StreamEncoder, write_message};
use arrow_ipc::{Message, MetadataVersion, root_as_message};
use arrow_schema::{ArrowError, Schema, SchemaRef};

const PREFIX_BYTES: usize = 8;

/// One schema message.
pub(crate) fn schema_to_bytes(schema: &Schema) -> Result<Vec<u8>, ArrowError> {
    let mut tracker = DictionaryTracker::new(true);
    let encoded = IpcDataGenerator {}.schema_to_bytes_with_dictionary_tracker(schema, &mut tracker, &options());
    let mut bytes = Vec::new();
    write_message(&mut bytes, encoded, &options())?;
    Ok(bytes)
}

/// The schema in one schema message.
pub(crate) fn schema_from_bytes(bytes: &[u8]) -> Result<Schema, ArrowError> {
    let (message, _) = split(bytes)?;
    let schema = message.header_as_schema().ok_or_else(|| not_expected("a schema"))?;
    arrow_ipc::convert::try_fb_to_schema(schema)
}

/// The batch in one record batch message.
pub(crate) fn batch_from_bytes(bytes: Vec<u8>, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let buffer = Buffer::from_vec(bytes);
    let (message, body_start) = split(&buffer)?;
    let header = message.header_as_record_batch().ok_or_else(|| not_expected("a record batch"))?;
    let body = buffer.slice(body_start);
    RecordBatchDecoder::try_new(&body, header, Arc::clone(schema), &HashMap::new(), &message.version())?
        .with_skip_validation(trust())
        .read_record_batch()
}

// In the sandbox the bytes come from the host, which has checked them and owns the guest anyway; natively they may
// come from anywhere.
fn trust() -> UnsafeFlag {
    let mut flag = UnsafeFlag::new();
    if cfg!(target_arch = "wasm32") {
        // SAFETY: the host is the only caller on this target; it writes valid Arrow data of the schema agreed at bind.
        unsafe { flag.set(true) };
    }
    flag
}

fn split(bytes: &[u8]) -> Result<(Message<'_>, usize), ArrowError> {
    let prefix: [u8; PREFIX_BYTES] =
        bytes.get(..PREFIX_BYTES).and_then(|prefix| prefix.try_into().ok()).ok_or_else(|| not_expected("a message"))?;
    let [0xFF, 0xFF, 0xFF, 0xFF, size @ ..] = prefix else {
        return Err(not_expected("a continuation marker"));
    };
    let body_start = PREFIX_BYTES + u32::from_le_bytes(size) as usize;
    let metadata = bytes.get(PREFIX_BYTES..body_start).ok_or_else(|| not_expected("complete metadata"))?;
    let message = root_as_message(metadata).map_err(|error| ArrowError::IpcError(error.to_string()))?;
    match usize::try_from(message.bodyLength()) == Ok(bytes.len() - body_start) {
        true => Ok((message, body_start)),
        false => Err(not_expected("exactly one message")),
    }
}

fn not_expected(what: &str) -> ArrowError {
    ArrowError::IpcError(format!("the bytes are not {what} of Arrow IPC"))
}

fn options() -> IpcWriteOptions {
    IpcWriteOptions::try_new(PREFIX_BYTES, false, MetadataVersion::V5).expect("8 is an alignment that IPC knows")
}

/// Writes batches of one schema, each as one record batch message.
pub(crate) struct BatchWriter(StreamEncoder);

impl BatchWriter {
    pub(crate) fn new(schema: &SchemaRef) -> Result<Self, ArrowError> {
        let mut encoder = StreamEncoder::try_new_with_options(schema, options())?;
        // The first batch is preceded by the schema, which has crossed at bind already.
        encoder.encode(&RecordBatch::new_empty(Arc::clone(schema)))?;
        Ok(Self(encoder))
    }

    /// Copies each column once, into a vector without spare capacity: spare capacity would cost a second copy when
    /// the vector leaves the guest.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
        let pieces = self.0.encode(batch)?;
        let mut bytes = Vec::with_capacity(pieces.iter().map(Buffer::len).sum());
        pieces.iter().for_each(|piece| bytes.extend_from_slice(piece));
        Ok(bytes)
    }
}
