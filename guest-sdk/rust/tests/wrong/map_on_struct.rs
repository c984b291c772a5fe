//! An attribute on something that is no function.

use wasmpipe_sdk::map;

#[map]
struct Size(u32);
