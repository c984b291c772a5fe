//! A result that no column can hold.

use wasmpipe_sdk::map;

#[map]
fn size(text: &str) -> usize {
    text.len()
}
