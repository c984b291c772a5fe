//! An error without words.

use wasmpipe_sdk::map;

struct Refused;

#[map]
fn size(text: &str) -> Result<u32, Refused> {
    u32::try_from(text.len()).map_err(|_| Refused)
}
