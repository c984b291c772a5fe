//! Two configs.

use wasmpipe_sdk::filter;

#[derive(serde::Deserialize)]
struct Limit(usize);

#[filter]
fn long_enough(text: &str, #[config] low: &Limit, #[config] high: &Limit) -> bool {
    (low.0..high.0).contains(&text.len())
}

wasmpipe_sdk::export!(long_enough);
