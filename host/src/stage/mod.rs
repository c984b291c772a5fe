//! One block through one function.
//!
//! * `run` - what a function sees of a block, and what its answer makes of it.
//! * `isolate` - rows that end the function are told apart from those beside them.
//!
//! A worker of a run and a person's `udf test` take these same steps. Which instance is called, and what a failed row means
//! to a run, is not known here.

mod isolate;
mod run;

pub use isolate::{Left, Limit, Outcome, Poison, Search, Spent, Start, Stop, isolate};
pub use run::{accept, fail_nulls, input, without_stage};
