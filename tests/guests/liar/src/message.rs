//! Arrow IPC messages made by hand: honest unless a field is set to something else.

use arrow_ipc::convert::IpcSchemaEncoder;
use arrow_ipc::{
    BodyCompressionBuilder, BodyCompressionMethod, Buffer, CompressionType, FieldNode, MessageBuilder, MessageHeader,
    MetadataVersion, RecordBatchBuilder, root_as_message,
};
use arrow_schema::Schema;
use flatbuffers::{FlatBufferBuilder, WIPOffset};

/// The number of rows of a record batch message.
pub(crate) fn rows(block: &[u8]) -> Result<u32, String> {
    let size: [u8; 4] = block.get(4..8).and_then(|size| size.try_into().ok()).ok_or("block: too short")?;
    let metadata = block.get(8..8 + u32::from_le_bytes(size) as usize).ok_or("block: metadata cut off")?;
    let message = root_as_message(metadata).map_err(|error| format!("block: {error}"))?;
    let batch = message.header_as_record_batch().ok_or("block: not a record batch")?;
    u32::try_from(batch.length()).map_err(|error| format!("block: {error}"))
}

/// A schema message.
pub(crate) fn schema(schema: &Schema) -> Vec<u8> {
    let mut builder = FlatBufferBuilder::new();
    let header = IpcSchemaEncoder::new().schema_to_fb_offset(&mut builder, schema).as_union_value();
    frame(builder, MessageHeader::Schema, header, &[])
}

/// A record batch message with every number in it open to lies.
pub(crate) struct Batch {
    pub(crate) length: i64,
    pub(crate) nodes: Vec<FieldNode>,
    pub(crate) buffers: Vec<Buffer>,
    pub(crate) body: Vec<u8>,
    pub(crate) is_compressed: bool,
}

impl Batch {
    /// No column yet.
    pub(crate) fn new(rows: usize) -> Self {
        Self { length: rows as i64, nodes: vec![], buffers: vec![], body: vec![], is_compressed: false }
    }

    /// Adds a column without nulls: its buffers, without the validity.
    pub(crate) fn column(mut self, rows: usize, buffers: &[Vec<u8>]) -> Self {
        self.nodes.push(FieldNode::new(rows as i64, 0));
        self.buffers.push(Buffer::new(self.body.len() as i64, 0));
        for buffer in buffers {
            self.buffers.push(Buffer::new(self.body.len() as i64, buffer.len() as i64));
            self.body.extend_from_slice(buffer);
            self.body.resize(self.body.len().next_multiple_of(8), 0);
        }
        self
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut builder = FlatBufferBuilder::new();
        let nodes = builder.create_vector(&self.nodes);
        let buffers = builder.create_vector(&self.buffers);
        let compression = self.is_compressed.then(|| compression(&mut builder));
        let mut batch = RecordBatchBuilder::new(&mut builder);
        batch.add_length(self.length);
        batch.add_nodes(nodes);
        batch.add_buffers(buffers);
        if let Some(compression) = compression {
            batch.add_compression(compression);
        }
        let header = batch.finish().as_union_value();
        frame(builder, MessageHeader::RecordBatch, header, &self.body)
    }
}

fn compression<'a>(builder: &mut FlatBufferBuilder<'a>) -> WIPOffset<arrow_ipc::BodyCompression<'a>> {
    let mut compression = BodyCompressionBuilder::new(builder);
    compression.add_codec(CompressionType::LZ4_FRAME);
    compression.add_method(BodyCompressionMethod::BUFFER);
    compression.finish()
}

fn frame(
    mut builder: FlatBufferBuilder<'_>,
    header_type: MessageHeader,
    header: WIPOffset<flatbuffers::UnionWIPOffset>,
    body: &[u8],
) -> Vec<u8> {
    let mut message = MessageBuilder::new(&mut builder);
    message.add_version(MetadataVersion::V5);
    message.add_header_type(header_type);
    message.add_header(header);
    message.add_bodyLength(body.len() as i64);
    let root = message.finish();
    builder.finish(root, None);
    let mut metadata = builder.finished_data().to_vec();
    metadata.resize(metadata.len().next_multiple_of(8), 0);
    [&[0xFF; 4], (metadata.len() as u32).to_le_bytes().as_slice(), &metadata, body].concat()
}
