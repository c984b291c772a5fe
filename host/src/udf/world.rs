//! The contract as Rust types, generated from `wit/`, and the names by which components are recognised.

use super::journal::Journal;
use super::limits::Memory;

#[allow(clippy::all, clippy::pedantic, unreachable_pub, reason = "generated code")]
mod generated {
    wasmtime::component::bindgen!({ path: "../wit", world: "arrow-udf" });
}

pub(super) use generated::exports::wasmpipe::udf::blocks;
pub(super) use generated::wasmpipe::udf::host;
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
}

impl host::Host for State {
    fn log(&mut self, level: host::Level, message: String) {
        self.journal.log(level, &message);
    }

    fn count(&mut self, name: String, delta: u64) {
        self.journal.count(&name, delta);
    }
}
