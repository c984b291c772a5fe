//! JSON Lines: one object a line.
//!
//! ```text
//! bytes -> lines -> decode -> batch -> encode -> bytes
//! ```
//!
//! * [`mod@read`] - an object as it is read: which lines lie where, and what becomes of each.
//! * [`text`] - its text, chunk by chunk, in memory that does not follow it.
//! * [`sample`] - the first lines of objects, to find a schema.
//! * [`lines`] - bytes become lines, with their place in the object.
//! * [`types`] - the types of columns as people write them.
//! * [`infer`] - a sample of lines becomes a schema.
//! * [`decode`] - lines become batches of a schema; a line that is no row is told why.
//! * [`encode`] - batches become lines.
//! * [`mod@write`] - a file as it is written.
//! * [`refusal`] - why a line is no row.
//!
//! Inside: `cursor` reads JSON, `members` an object by its schema, `builders` a value by its type, `extra` keeps the keys
//! that no schema names, `cells` writes a value by its type; `numbers` and `instants` are exact.

mod builders;
mod cells;
mod cursor;
pub mod decode;
pub mod encode;
mod extra;
pub mod infer;
mod instants;
pub mod lines;
mod members;
mod numbers;
pub mod read;
pub mod refusal;
pub mod sample;
#[cfg(test)]
mod tests;
pub mod text;
pub mod types;
pub mod write;

pub use cursor::DEPTH_MAX;
pub use extra::{EXTRA_COLUMN, ExtraKeys};
