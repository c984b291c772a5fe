//! One column for two parameters.

use wasmpipe_sdk::map;

#[map]
fn facts(text: &str, #[column("text")] again: &str) -> bool {
    text == again
}

wasmpipe_sdk::export!(facts);
