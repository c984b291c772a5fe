//! A filter that does not decide.

use wasmpipe_sdk::filter;

#[filter]
fn long_enough(text: &str) -> usize {
    text.len()
}
