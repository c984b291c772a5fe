//! wasmpipe streams Arrow blocks through functions compiled to WebAssembly components, and writes every input row's
//! result exactly once, however often the process is killed.
//!
//! The folder listing is the architecture:
//!
//! ```text
//! config -> plan -> pipeline:  source -> filter -> udf -> sink -> commit
//! ```
//!
//! * [`config`] - the pipeline file as written.
//! * [`plan`] - the same with every decision made.
//! * [`pipeline`] - wires the stages; the only file that starts threads.
//! * [`block`] - the noun that moves: rows, where they came from, what became of them.
//! * [`columns`] - which column types convert into which.
//! * [`annotations`] - what a column is beyond its type: metadata, extension types, Parquet's logical types.
//! * [`store`] - a path or URL becomes an object store.
//! * [`mod@format`] - an object's bytes become batches; knows no store.
//! * [`source`] - objects become units, units become rows.
//! * [`filter`] - which rows are not done yet, by id.
//! * [`stage`] - one block through one function: rows that end it are told apart from the others.
//! * [`udf`] - a block goes through a component; the only room that knows the WebAssembly engine.
//! * [`sink`] - blocks become durable objects.
//! * [`commit`] - the log; the only room that marks rows done.
//! * [`exchange`] - ids of rows that were done elsewhere come in, ids of ours go out.
//! * [`message`] - what a person reads when something is wrong: the rules and the one printer.
//! * [`private`] - folders of this user alone, for what is derived.
//! * [`mod@size`] - sizes in bytes, as people write them.
//! * [`panics`] - code of others that panics gives an error.
//! * [`observe`] - what a run knows about itself, as values.
//! * [`author`] - functions are begun, built, looked at, tried and measured.
//! * [`mod@text`] - how numbers, sizes and times are written, and words of somebody else.
//! * [`cli`] - what a person types and reads; the only room that prints.

pub mod annotations;
pub mod author;
pub mod block;
pub mod cli;
pub mod columns;
pub mod commit;
pub mod config;
pub mod exchange;
pub mod filter;
pub mod format;
pub mod message;
pub mod observe;
pub mod panics;
pub mod pipeline;
pub mod plan;
pub mod private;
pub mod sink;
pub mod size;
pub mod source;
pub mod stage;
pub mod store;
pub mod text;
pub mod udf;
