//! A filter that adds a column.

use wasmpipe_sdk::filter;

#[filter(columns("long"))]
fn long_enough(text: &str) -> bool {
    text.len() >= 10
}

wasmpipe_sdk::export!(long_enough);
