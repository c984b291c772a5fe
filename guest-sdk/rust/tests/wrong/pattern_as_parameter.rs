//! A parameter without a name.

use wasmpipe_sdk::map;

#[map]
fn sum((a, b): (i64, i64)) -> i64 {
    a + b
}

wasmpipe_sdk::export!(sum);
