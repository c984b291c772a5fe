//! A state that changes from row to row.

use wasmpipe_sdk::{State, map};

struct Seen(u64);

impl State for Seen {
    type Config = ();

    fn new((): ()) -> Result<Self, String> {
        Ok(Seen(0))
    }
}

#[map]
fn number(text: &str, #[state] seen: &mut Seen) -> u64 {
    seen.0 += text.len() as u64;
    seen.0
}

wasmpipe_sdk::export!(number);
