//! What the author of a wasmpipe function depends on: attributes that turn plain functions into functions that a
//! pipeline can call, and [`export!`], which makes a component of them.
//!
//! It is not a client of the host: it reads no files, knows no pipeline, and on a native target a function stays what
//! it was, a function that a unit test can call.
//!
//! ```
//! use wasmpipe_sdk::{filter, map};
//!
//! /// Keeps texts of at least 10 bytes.
//! #[filter]
//! fn long_enough(text: &str) -> bool {
//!     text.len() >= 10
//! }
//!
//! /// The number of words.
//! #[map]
//! fn words(text: &str) -> u32 {
//!     text.split_whitespace().count() as u32
//! }
//!
//! wasmpipe_sdk::export!(long_enough, words);
//!
//! fn main() {
//!     assert!(long_enough("a plain function"));
//!     assert_eq!(words("a plain function"), 3);
//! }
//! ```
//!
//! The manual, with a table of all types that a column may have, is the README beside this crate.
//!
//!  - `function`: the nouns that an author may need: `Function`, `Answer`, `Lineage`, `RowError`, `Schemas`
//!  - `column`: which Rust types stand for which column types
//!  - `config`: configs with their JSON Schema, and state that is built from them
//!  - `row`: scalars and tuples as output rows; what `Result` and iterators mean
//!  - `batch`: whole columns as parameters and results of `#[map_batches]`
//!  - `glue`: what the attributes expand to
//!  - `component`: describe, bind and process, on every target
//!  - `log`: lines and counters for the host
//!  - `text`: words, fast
//!  - `bindings`: the WIT world and what crosses it, on wasm32 only

/// The manual's examples compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

// The attributes name this crate by its public name, in its own tests too.
extern crate self as wasmpipe_sdk;

mod batch;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod bindings;
mod column;
pub mod component;
mod config;
mod function;
#[doc(hidden)]
pub mod glue;
pub mod log;
mod row;
pub mod text;

pub use arrow_array::{self, RecordBatch};
pub use arrow_buffer::{self, BooleanBuffer};
pub use arrow_schema::{self, DataType, Field, Schema};
pub use batch::{BatchColumn, BatchColumns, BatchParam, ColumnArray};
pub use chrono;
pub use column::{Decimal, List, ListIter, Param, Struct, Value};
pub use config::State;
pub use function::{Answer, Exported, Function, Kind, Lineage, RowError, Schemas};
pub use log::count;
pub use row::{BatchOutcome, Outcome, Outputs, Row, Verdict};
pub use schemars;
pub use uuid::{self, Uuid};
pub use wasmpipe_sdk_macros::{Columns, export, filter, flat_map, map, map_batches};

/// What `export!` expands to, after it found the functions.
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($($function:expr),+) => {
        /// The functions that this component offers.
        pub static WASMPIPE_FUNCTIONS: &[$crate::Function] = &[$($function),+];

        const _: () = $crate::glue::refuse_doubles(WASMPIPE_FUNCTIONS);

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Component;
            impl $crate::bindings::Offers for Component {
                const FUNCTIONS: &'static [$crate::Function] = WASMPIPE_FUNCTIONS;
            }
            type Exports = $crate::bindings::Exports<Component>;
            $crate::bindings::export_component!(Exports with_types_in $crate::bindings);
        };
    };
}
