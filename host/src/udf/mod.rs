//! Turns a component file into something that a worker thread calls: an Arrow record batch in, a validated answer out.
//!
//! The contract between this room and the components is `wit/udf.wit`. What comes out of a component is hostile until
//! it was checked here; what leaves this room can be trusted. Not here: which rows a block has and where they came from,
//! converting columns to the types that a function asks for, what happens to failed rows, threads.
//!
//! | file | |
//! |---|---|
//! | `engine.rs` | the one engine of a process, its clock, the cache of compiled components |
//! | `compile.rs` | another process compiles, within limits |
//! | `bounds.rs` | what is refused before it is compiled |
//! | `component.rs` | a file becomes a compiled component, or is refused by name |
//! | `bind.rs` | a function agrees with an input schema on columns in and columns out |
//! | `mismatch.rs` | the columns that a function wants beside those that reach it |
//! | `call.rs` | an instance that a worker owns: one block in, one answer out |
//! | `adapters.rs` | whether its parts call each other by the component model, which nothing could stop |
//! | `checks.rs` | what is added to a component's code so that it can be stopped |
//! | `alarm.rs` | the clock that stops guests, and their linear memories |
//! | `guest.rs` | one running guest: its store, its budget for each call, what its failures mean |
//! | `backtrace.rs` | where in the author's code a guest trapped |
//! | `journal.rs` | what a guest says: log lines and counters, kept within bounds |
//! | `limits.rs` | the limits, and the memory count that enforces the first of them |
//! | `state.rs` | what a component makes when it starts, which counts as memory |
//! | `trap.rs` | what the engine's words mean |
//! | `wire.rs` | schemas and batches of a guest: within limits, and valid |
//! | `world.rs` | the contract as Rust types |

mod adapters;
mod alarm;
mod backtrace;
mod bind;
mod bounds;
mod call;
mod checks;
mod compile;
mod component;
mod engine;
mod guest;
mod journal;
mod limits;
mod mismatch;
mod state;
#[cfg(test)]
mod tests;
mod trap;
mod wire;
mod world;

pub use bind::{Binding, Spec, bind};
pub use call::{Answer, CallError, CallFailure, Instance, RowError};
pub use compile::{COMPILE_COMMAND, CompileRequest, Compiler, compile_for_host};
pub use component::{COMPONENT_BYTES_MAX, Column, Component, Function, Import, Kind};
pub use engine::Engine;
pub use journal::{Lines, Shown, add_count, no_more_lines};
pub use limits::Limits;
pub use mismatch::{Mismatch, Wanted};

use std::io;
use std::path::PathBuf;

use crate::message::{Hint, Message, Refused};

/// Why a component or a function cannot be used. No row is involved in any of these.
#[derive(Debug, thiserror::Error)]
pub enum UdfError {
    #[error("the WebAssembly engine does not start on this machine")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),

    /// What it says of compiling is no limit.
    #[error("{}", .0.text())]
    Environment(Message),

    #[error("component {} cannot be read", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },

    #[error("{} is {found}; expected is a WebAssembly component of the world {}", path.display(), world::WORLD)]
    Refused { path: PathBuf, found: String, hint: String },

    /// Compiling it goes past a limit, or breaks the compiler.
    #[error("component {} {}", path.display(), message.text())]
    Compile { path: PathBuf, message: Box<Message> },

    #[error("component {} {}", path.display(), message.text())]
    Describe { path: PathBuf, message: Box<Message> },

    /// The message begins with the function.
    #[error("{stage}: {}", message.text())]
    Bind { stage: String, message: Box<Message> },

    /// The function said no to its config or its input, or broke over them. The message begins with the function.
    #[error("{stage}: {}", message.text())]
    Unbound { stage: String, message: Box<Message> },

    #[error("{stage}: `{function}` of {} {mismatch}", path.display())]
    Columns { stage: String, function: String, path: PathBuf, mismatch: Box<Mismatch> },
}

impl Hint for UdfError {
    fn hint(&self) -> Option<String> {
        match self {
            UdfError::Engine(_) => Some("it needs x86-64 or AArch64 and executable memory".into()),
            UdfError::Read { source, .. } => Some(unread(source).into()),
            UdfError::Refused { hint, .. } => Some(hint.clone()),
            UdfError::Environment(message) => message.hint.clone(),
            UdfError::Compile { message, .. }
            | UdfError::Describe { message, .. }
            | UdfError::Bind { message, .. }
            | UdfError::Unbound { message, .. } => message.hint.clone(),
            UdfError::Columns { mismatch, .. } => Some(mismatch.hint()),
        }
    }
}

impl From<UdfError> for Refused {
    fn from(error: UdfError) -> Refused {
        Refused(Message::of(&error))
    }
}

fn unread(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::PermissionDenied => "give this user the right to read it",
        _ => "`component` names a .wasm file, relative to the pipeline file",
    }
}
