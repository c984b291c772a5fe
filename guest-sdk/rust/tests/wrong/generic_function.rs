//! A function of any type.

use wasmpipe_sdk::map;

#[map]
fn twice<T: Copy>(n: T) -> T {
    n
}

wasmpipe_sdk::export!(twice);
