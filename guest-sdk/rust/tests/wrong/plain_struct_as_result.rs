//! A struct without `#[derive(Columns)]`.

use wasmpipe_sdk::map;

struct Facts {
    size: u32,
}

#[map]
fn facts(text: &str) -> Facts {
    Facts { size: text.len() as u32 }
}
