//! A function over whole batches that does not say which columns.

use wasmpipe_sdk::{RecordBatch, map_batches};

#[map_batches]
fn same(batch: &RecordBatch) -> RecordBatch {
    batch.clone()
}

wasmpipe_sdk::export!(same);
