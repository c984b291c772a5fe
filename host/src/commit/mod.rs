//! The log: the only room that marks rows done.
//!
//! A checkpoint is a folder on any object store:
//!
//! ```text
//! root/<number>           0 is the genesis; then accepted changes and new source listings
//! lane/<lane>/<number>    open, segment, close: a create-only log, numbered without holes
//! side/<token>-<name>     Parquet: ids, long coverage, source listings
//! runs/<token>/           the plan and the summary of one run
//! ```
//!
//! Numbers have ten digits, so that a listing is in order. Every entry is one JSON document, put with "create, else
//! fail". One segment makes the sink files that it names and the rows that it covers count, together. What no segment
//! names does not exist. To open a lane is to append to it: whoever wrote before finds a foreign entry at the number it
//! would write next, and stops.
//!
//! * `entry` - the documents, key by key.
//! * `coverage` - ranges of source rows and their state.
//! * `side` - the Parquet files that lie beside the log.
//! * `root` - genesis and what was appended to it.
//! * `lane` - open, append, replay.
//! * `recover` - what dead writers left in the sink and in `side/`.
//! * `view` - what it all says at this moment, for commands that only look.
//! * `output` - the sink files that count, beside what lies in the sink.
//! * `group` - source rows that become durable together, while a run works on them.

mod coverage;
mod entry;
mod group;
mod lane;
mod output;
mod recover;
mod root;
mod side;
mod view;

pub use coverage::{Coverage, ObjectCoverage, RowState};
pub use entry::{
    Close, CoveredObject, FORMAT, FileEntry, Fingerprint, Genesis, IdColumn, LaneEntry, RootEntry, SegmentEntry,
    SideFile, StageFingerprint, covered_from_ranges, number_name,
};
pub use group::{Group, GroupCounts, GroupLimits};
pub use lane::{Lane, LaneState, Logged, now_ms, read_lane};
pub use output::{Orphan, OutputCheck, Wrong, check_output};
pub use recover::{Swept, check_files, other_jobs, sweep};
pub use root::{Listing, Pinned, Root, random_name, schema_from_hex, schema_to_hex};
pub use side::{read_ids, write_ids, write_imported, write_listing};
pub use view::{LaneView, View, view};

/// The lane that holds everything, until jobs have several.
pub const LANE: u32 = 0;

/// What can go wrong with a checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The store refused or failed.
    #[error(
        "checkpoint: cannot {what} {name}: {cause}\nhint: nothing is lost; run the same command again when the store answers"
    )]
    Store {
        /// The verb.
        what: &'static str,
        /// Name relative to the store's root.
        name: String,
        /// What the store said.
        #[source]
        cause: object_store::Error,
    },
    /// An entry or side file is not what it must be.
    #[error("checkpoint: {name} is damaged: {message}\nhint: nothing was changed; restore the file from a copy")]
    Damaged {
        /// Name relative to the checkpoint.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// Another writer has opened the lane.
    #[error(
        "fenced: another run has taken over lane {lane} (its entry has number {number})\n\
         hint: the other run goes on where this one was; nothing is lost"
    )]
    Fenced {
        /// The lane.
        lane: u32,
        /// The foreign entry's number.
        number: u64,
    },
    /// The run must not go on, and nothing was changed.
    #[error("{0}")]
    Refused(String),
}

impl CommitError {
    fn store(what: &'static str, name: impl ToString, cause: object_store::Error) -> CommitError {
        CommitError::Store { what, name: name.to_string(), cause }
    }

    fn damaged(name: impl ToString, message: impl ToString) -> CommitError {
        CommitError::Damaged { name: name.to_string(), message: message.to_string() }
    }
}
