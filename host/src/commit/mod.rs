//! The log: the only room that marks rows done.
//!
//! The rules and the failures that they answer are in `PROTOCOL.md`, in this folder. A checkpoint is a folder on any object
//! store:
//!
//! ```text
//! root/<number>           0 is the genesis; then accepted changes, new source listings, moves, the deletion
//! lane/<lane>/<number>    open, segment, compaction, withdraw, close: a create-only log
//! side/<token>-<name>     Parquet: ids, long coverage, source listings, compactions
//! heartbeat/<run>         a counter, for courtesy only; beside it a lock file, if the checkpoint is a local folder
//! stop/<run>              a request to stop
//! runs/<run>/             the plan and the summary of one run
//! ```
//!
//! Numbers have ten digits, so that a listing is in order. Every entry is one JSON document, put with "create, else
//! fail". One segment makes the sink files that it names and the rows that it covers count, together. What no segment
//! names does not exist. To open a lane is to append to it: whoever wrote before finds a foreign entry at the number it
//! would write next, and stops.
//!
//! A job's life, one lane of it:
//!
//! ```text
//! root/0 genesis      root/1 source (more objects)        root/2 change (accepted)
//! lane/0/0 open  1 segment  2 segment  3 close: stopped  4 open  5 segment  (killed)  6 open  7 compaction  8 segment  9 close: finished
//!                |                                                                          |
//!                +- names sink files, side/<token>-ids-0.parquet                            +- covers 0 to 6: 1, 2, 3 and 5 are deleted,
//!                                                                                              0, 4 and 6 stay, since stopped writers
//!                                                                                              run into them
//! ```
//!
//! * `document` - what stands around an entry, and how it proves itself.
//! * `entry` - the entries, key by key.
//! * `agreement` - what an entry says twice.
//! * `coverage` - ranges of source rows and their state.
//! * `side` - the Parquet files that lie beside the log.
//! * `decode` - their bytes become rows, whoever made them.
//! * `log` - one numbered, create-only log: create, list, read.
//! * `letters` - the files of dead letters, and which letters count.
//! * `root` - genesis and what was appended to it.
//! * `lane` - open, append, close.
//! * `replay` - what a lane's entries say in all.
//! * `contradictions` - what groups say of objects that cannot all be so.
//! * `compact` - a lane's entries become one.
//! * `recover` - what dead writers left in the sink and in `side/`.
//! * `loss` - a log that lost something, or is an older copy of itself.
//! * `liveness` - who is still alive: heartbeats, locks, requests to stop.
//! * `delete` - a finished job's checkpoint goes away; `give_up` - any job's, with all that it has done.
//! * `claim` - whose a sink is.
//! * `manifest` - what a finished job leaves in its sink.
//! * `marks` - `_SUCCESS` of an object.
//! * `repair` - what is wrong with a checkpoint, and how it is withdrawn.
//! * `view` - what it all says at this moment, for commands that only look.
//! * `output` - the sink files that count, beside what lies in the sink.
//! * `group` - source rows that become durable together, while a run works on them.

mod agreement;
mod claim;
mod compact;
mod contradictions;
mod coverage;
mod decode;
mod delete;
mod document;
mod entry;
mod give_up;
mod group;
mod lane;
mod letters;
mod liveness;
mod log;
mod loss;
mod manifest;
mod marks;
mod output;
mod recover;
mod repair;
mod replay;
mod root;
mod side;
mod view;

pub use claim::{
    Claimant, Claimed, Place, Stand, Standing, claim, gone_on_since, gone_on_to, is_place_of, is_taken_for_good,
    note_left, note_machine, refuse_if_gone_on, refuse_taken, release, standing, sweep_claims, whose,
};
pub use compact::Compacted;
pub use contradictions::refuse_contradictions;
pub use coverage::{Coverage, ObjectCoverage, RowState};
pub use delete::{delete_all, delete_untouched, mark_deleted};
pub use document::{FORMAT, FORMAT_1};
pub use entry::{
    Close, CompactionEntry, CoveredObject, FileEntry, Fingerprint, Genesis, IdColumn, IdFile, LaneEntry, RootEntry,
    SegmentEntry, SideFile, StageFingerprint, by_kind, covered_from_ranges, number_name,
};
pub use give_up::{GivenUp, give_up, to_give_up};
pub use group::{Group, GroupCounts, GroupLimits};
pub use lane::{Lane, Writer, lane_of, now_ms, piece_bytes, pieces};
pub use letters::{Letter, LetterReader, attempts, letter_batch, letter_column, letter_schema};
pub use liveness::{Alive, AliveInSink, Found, Heartbeat, find_alive, forget_dead, refuse_if_alive, request_stop};
pub use log::{Defect, DefectKind, LaneLog, Logged, last as last_number, read_lane};
pub use loss::{refuse_older_root, refuse_unknown_writers};
pub use manifest::{
    Manifest, Position, SourceRows, leave_manifest, listing_digest, manifest, manifest_of, refuse_older_than_manifest,
    remove_manifest,
};
pub use marks::{Mark, Marked, keep_marks};
pub use output::{DataCheck, Depth, Orphan, OutputCheck, Wrong, check_output};
pub use recover::{Swept, check_files, list_sink, note_layout, other_jobs, sink_names, sweep, sweep_late};
pub use repair::{Finding, FindingKind, Verified, refuse_to_give_up_all, repair, verify};
pub use replay::{GroupState, Known, LaneState, OpenState, last_open, read_state};
pub use root::{Asked, Listing, Pinned, Places, Root, RootLink, random_name, schema_from_hex, schema_to_hex};
pub use side::{GroupIds, read_ids, read_imported, write_imported, write_listing};
pub use view::{DoneFile, LaneView, View, view};

use crate::message::{Hint, Message};
use crate::store::{advice, told};

/// What can go wrong with a checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The store refused or failed.
    #[error("checkpoint: cannot {what} {name}: {}", told(cause))]
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
    #[error("checkpoint: {name} is damaged: {message}")]
    Damaged {
        /// Name relative to the checkpoint.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// It was listed, and is not there, again and again.
    #[error(
        "checkpoint: {name} was listed, but is gone: the job may be finished, and another run about to delete its checkpoint"
    )]
    Gone {
        /// Name relative to the checkpoint.
        name: String,
    },
    /// A newer build wrote it, so that it cannot be told what it means.
    #[error("checkpoint: {name} was written by a newer wasmpipe: {message}")]
    Newer {
        /// Name relative to the checkpoint.
        name: String,
        /// What is not known.
        message: String,
    },
    /// Another writer has opened the lane.
    #[error("fenced: another run has taken over lane {lane} (its entry has number {number})")]
    Fenced {
        /// The lane.
        lane: u32,
        /// The foreign entry's number.
        number: u64,
    },
    /// The run must not go on, and nothing was changed.
    #[error("{}", .0.text())]
    Refused(Message),
    /// The job is finished, and its checkpoint is being deleted.
    #[error("the job of this checkpoint is finished and the checkpoint is being deleted")]
    Deleted,
}

impl Hint for CommitError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            CommitError::Store { name, cause, .. } => advice_on(name, cause),
            CommitError::Damaged { name, .. } => format!("nothing was changed; {}", way_out(name)),
            CommitError::Gone { .. } => "run the same command again, which says so if the job is finished; if it says \
                                         this again, put the file back from a copy"
                .into(),
            CommitError::Newer { .. } => "nothing was changed; run the newer build, which goes on with the job".into(),
            CommitError::Fenced { .. } => "the other run goes on where this one was; nothing is lost".into(),
            CommitError::Refused(message) => return message.hint.clone(),
            CommitError::Deleted => "`wasmpipe checkpoint delete` completes that".into(),
        })
    }
}

/// A lane can be mended; without its root there is no job.
fn way_out(name: &str) -> &'static str {
    let last = name.rsplit('/').next().unwrap_or_default();
    if !name.starts_with("side/") && !last.bytes().all(|byte| byte.is_ascii_digit()) {
        return "if it is none of wasmpipe's files, as those that a file system or an editor leaves, remove it; else give it its name back";
    }
    match ["-listing-", "-compaction-"].iter().any(|table| name.contains(table)) || name.starts_with("root/") {
        true => WITHOUT_COPY,
        false => "restore the file from a copy, or let `wasmpipe checkpoint verify --repair` withdraw what it held",
    }
}

/// What to do about a loss that no repair mends.
pub const WITHOUT_COPY: &str = "put it back from a copy; if there is none, begin a new job with an empty checkpoint and sink (with \
     `id`, `wasmpipe checkpoint import --from-output` takes what is done)";

/// What the log names, and is not there, is lost, and no system is to blame.
fn advice_on(name: &str, cause: &object_store::Error) -> String {
    match cause {
        object_store::Error::NotFound { .. } if name.starts_with("side/") => way_out(name).into(),
        _ => advice(cause, "nothing is lost"),
    }
}

impl CommitError {
    fn store(what: &'static str, name: impl ToString, cause: object_store::Error) -> CommitError {
        CommitError::Store { what, name: name.to_string(), cause }
    }

    /// The run must not go on, and what a person can do.
    pub fn refused(what: impl Into<String>, hint: impl Into<String>) -> CommitError {
        CommitError::Refused(Message::new(what).hint(hint))
    }

    /// Whether nothing was done, and nothing will be before a person has done something else.
    pub fn is_refusal(&self) -> bool {
        matches!(self, CommitError::Refused(_) | CommitError::Newer { .. })
    }

    /// There was a job, and there is none any more.
    pub fn root_is_gone() -> CommitError {
        CommitError::refused(
            "the checkpoint's root is gone: the job may be finished, and another run have deleted its checkpoint",
            "run the same command again, which says so if the job is finished; if it is not, put the checkpoint back from \
             a copy",
        )
    }

    /// Whether an object that the log names, or has listed, is not there.
    fn is_not_found(&self) -> bool {
        matches!(self, CommitError::Store { cause: object_store::Error::NotFound { .. }, .. })
    }

    fn damaged(name: impl ToString, message: impl ToString) -> CommitError {
        CommitError::Damaged { name: name.to_string(), message: message.to_string() }
    }
}
