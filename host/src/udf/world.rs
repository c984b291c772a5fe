//! The contract as Rust types, generated from `wit/`, and the names by which components are recognised.

use std::sync::Arc;

use super::alarm::Alarm;
use super::journal::Journal;
use super::limits::Memory;

#[allow(clippy::all, clippy::pedantic, unreachable_pub, reason = "generated code")]
mod generated {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "arrow-udf",
        // What the host does for a guest counts towards its time.
        imports: { default: trappable },
        // Columns are copied from where they lie.
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

pub(super) use generated::exports::wasmpipe::udf::blocks;
pub(super) use generated::wasmpipe::udf::{host, types};
pub(super) use generated::{ArrowUdf, ArrowUdfPre};

/// What this host expects a component to be.
pub(super) const WORLD: &str = "wasmpipe:udf/arrow-udf@0.1.0";
/// The package whose interfaces are ours, in whatever version.
pub(super) const PACKAGE: &str = "wasmpipe:udf/";
/// The one version of the package that this host speaks.
pub(super) const VERSION: &str = "0.1.0";
/// The interfaces that a component of the world exports.
pub(super) const EXPORTS: [&str; 2] = ["functions", "blocks"];

/// What the host keeps beside each running guest.
pub(super) struct State {
    pub(super) memory: Memory,
    pub(super) journal: Journal,
    pub(super) mailbox: Mailbox,
    pub(super) alarm: Arc<Alarm>,
}

impl State {
    fn look_at_the_clock(&self) -> wasmtime::Result<()> {
        match self.alarm.has_rung() {
            true => Err(wasmtime::Error::msg("the time is over")),
            false => Ok(()),
        }
    }
}

/// An answer as it came out of a guest.
pub(super) struct Raw {
    pub(super) nodes: Vec<types::Node>,
    pub(super) buffers: Vec<Vec<u8>>,
    pub(super) lineage: types::Lineage,
    pub(super) errors: Vec<types::RowError>,
}

/// Where a guest leaves its answer: one for each block.
#[derive(Default)]
pub(super) struct Mailbox {
    answer: Option<Raw>,
    /// Answers of this call.
    count: usize,
}

impl Mailbox {
    pub(super) fn begin(&mut self) {
        *self = Mailbox::default();
    }

    fn put(&mut self, answer: Raw) -> wasmtime::Result<()> {
        self.count += 1;
        match self.answer.replace(answer) {
            None => Ok(()),
            Some(_) => Err(wasmtime::Error::msg("a second answer")),
        }
    }

    /// Answers of this call.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The one answer of this call, or how many there were.
    pub(super) fn take(&mut self) -> Result<Raw, usize> {
        match self.answer.take() {
            Some(answer) if self.count == 1 => Ok(answer),
            _ => Err(self.count),
        }
    }
}

impl types::Host for State {}

impl host::Host for State {
    fn answer(
        &mut self,
        nodes: Vec<types::Node>,
        buffers: Vec<Vec<u8>>,
        lineage: types::Lineage,
        errors: Vec<types::RowError>,
    ) -> wasmtime::Result<()> {
        self.look_at_the_clock()?;
        self.mailbox.put(Raw { nodes, buffers, lineage, errors })
    }

    fn log(&mut self, level: host::Level, message: String) -> wasmtime::Result<()> {
        self.journal.log(level, &message);
        self.look_at_the_clock()
    }

    fn count(&mut self, name: String, delta: u64) -> wasmtime::Result<()> {
        self.journal.count(&name, delta);
        self.look_at_the_clock()
    }
}
