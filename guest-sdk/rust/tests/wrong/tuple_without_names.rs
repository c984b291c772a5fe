//! Two columns without names.

use wasmpipe_sdk::map;

#[map]
fn facts(text: &str) -> (u32, bool) {
    (text.len() as u32, text.is_ascii())
}

wasmpipe_sdk::export!(facts);
