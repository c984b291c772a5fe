//! The JSON Schema of a function's config.
//!
//! * `read` - what a schema says: references, types, choices. The only file that follows a reference.
//! * `check` - a config against it.
//! * `keys` - the same for people: one line a key.

mod check;
mod keys;
mod read;

pub use check::{Mistake, mistakes};
pub use keys::{Budget, Key, Keys, keys};
