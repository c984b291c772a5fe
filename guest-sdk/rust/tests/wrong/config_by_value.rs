//! A config that is not borrowed.

use wasmpipe_sdk::filter;

#[derive(serde::Deserialize)]
struct Limit(usize);

#[filter]
fn long_enough(text: &str, #[config] limit: Limit) -> bool {
    text.len() >= limit.0
}

wasmpipe_sdk::export!(long_enough);
