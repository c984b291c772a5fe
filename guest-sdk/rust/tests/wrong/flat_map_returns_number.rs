//! A flat_map that makes one row.

use wasmpipe_sdk::flat_map;

#[flat_map]
fn size(text: &str) -> u32 {
    text.len() as u32
}
