//! Two columns and one name.

use wasmpipe_sdk::map;

#[map(columns("size"))]
fn facts(text: &str) -> Result<(u32, bool), String> {
    Ok((text.len() as u32, text.is_ascii()))
}

wasmpipe_sdk::export!(facts);
