//! The host's side of the contract, for tests: Arrow IPC messages made and read with arrow-ipc alone.

use std::io::Cursor;

use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::Schema;

const END_OF_STREAM_BYTES: usize = 8;

pub(crate) fn schema_to(schema: &Schema) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), schema).expect("writes");
    writer.finish().expect("writes");
    without_end(writer.into_inner().expect("writes"))
}

pub(crate) fn batch_to(batch: &RecordBatch) -> Vec<u8> {
    let schema_bytes = schema_to(&batch.schema()).len();
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).expect("writes");
    writer.write(batch).expect("writes");
    writer.finish().expect("writes");
    without_end(writer.into_inner().expect("writes")).split_off(schema_bytes)
}

fn without_end(mut stream: Vec<u8>) -> Vec<u8> {
    stream.truncate(stream.len() - END_OF_STREAM_BYTES);
    stream
}

pub(crate) fn schema_from(bytes: &[u8]) -> Schema {
    read(bytes).schema().as_ref().clone()
}

pub(crate) fn batch_from(bytes: &[u8], schema: &Schema) -> RecordBatch {
    let mut batches = read(&[&schema_to(schema), bytes].concat());
    let batch = batches.next().expect("a batch").expect("valid");
    assert!(batches.next().is_none(), "one message");
    batch
}

fn read(messages: &[u8]) -> StreamReader<Cursor<Vec<u8>>> {
    let end = [0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0];
    StreamReader::try_new(Cursor::new([messages, &end].concat()), None).expect("a schema message")
}
