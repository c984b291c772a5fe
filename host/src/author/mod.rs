//! What the author of a function does with it, by hand: begin, build, look, try, measure. Everything here gives values; who
//! asked prints them.
//!
//! * `new` - a crate to start from.
//! * `build` - from a guest crate, or a core module, to a component.
//! * `inspect` - what a component offers, needs and imports.
//! * `chosen` - one function of a component, with its config, bound to columns.
//! * `trial` - that function, run a batch at a time.
//! * `test` - on a few rows; `bench` - how fast it is.
//! * `sample` - rows from a file, and into one; `local` - such a file as formats read it.
//! * `new_file` - a file that is written whole or not at all.

pub mod bench;
pub mod build;
mod chosen;
mod inspect;
mod local;
pub mod new;
mod new_file;
mod sample;
pub mod test;
mod trial;

pub use chosen::{Asked, Chosen, LABEL};
pub use inspect::{Inspected, inspect, keys};
pub use sample::Sample;
pub use trial::{Isolated, Tried};
