//! A method.

use wasmpipe_sdk::filter;

struct Limits(usize);

impl Limits {
    #[filter]
    fn long_enough(&self, text: &str) -> bool {
        text.len() >= self.0
    }
}
