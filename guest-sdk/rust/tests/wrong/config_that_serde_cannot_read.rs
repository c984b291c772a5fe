//! A config without `Deserialize`.

use wasmpipe_sdk::filter;

struct Limit(usize);

#[filter]
fn long_enough(text: &str, #[config] limit: &Limit) -> bool {
    text.len() >= limit.0
}
