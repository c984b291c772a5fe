//! A function over whole columns that takes single values.

use wasmpipe_sdk::map_batches;

#[map_batches]
fn product(x: f64, y: f64) -> f64 {
    x * y
}
