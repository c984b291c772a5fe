//! Columns without names.

#[derive(wasmpipe_sdk::Columns)]
struct Pair(i64, i64);
