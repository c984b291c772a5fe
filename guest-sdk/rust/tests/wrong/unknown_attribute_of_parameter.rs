//! A parameter with an attribute that does not exist.

use wasmpipe_sdk::map;

#[map]
fn size(#[name("text")] body: &str) -> u32 {
    body.len() as u32
}

wasmpipe_sdk::export!(size);
