//! Objects become units, units become rows.
//!
//! * `list` - which objects the source has: a file, a folder or a glob.
//! * `glob` - patterns of names; `passed` - what lies beside the objects and is not read.
//! * `open` - one Parquet object: its footer, its digest, its row groups (the units).
//! * `read` - the rows of a unit that are still to do, batch by batch.
//!
//! Coverage and ids are not known here: the caller says which rows it wants.

mod glob;
mod list;
mod open;
mod passed;
mod read;

pub use glob::is_glob;
pub use list::{Pattern, list, survey};
pub use open::{Columns, Fetch, Opened, Unit, open, open_to_read, schema_of};
pub use passed::PassedOver;
pub use read::{BlockSize, Rows, UnitReader};

pub use crate::store::Object;
use crate::store::{advice, told};

/// What went wrong with an object of the source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The store did not give what it was asked for.
    #[error("source object {object}: {}\nhint: {}", told(cause), advice(cause, "nothing is lost"))]
    Store {
        /// Path relative to the source root.
        object: String,
        /// What the store said.
        #[source]
        cause: object_store::Error,
    },
    /// The object is not what was listed.
    #[error(
        "source object {object} changed or vanished while it was read\n\
         hint: what is finished is safe; run the same command again, it compares the source with what it knows"
    )]
    Changed {
        /// Path relative to the source root.
        object: String,
    },
    /// The bytes are not what the format says.
    #[error("source object {object}: {message}\nhint: {hint}")]
    Bad {
        /// Path relative to the source root.
        object: String,
        /// What is wrong.
        message: String,
        /// What to do.
        hint: &'static str,
    },
}

/// What the Parquet crate says of a codec that it was built without.
const NO_CODEC: &str = "Disabled feature at compile time: ";
/// What to do about a file whose bytes are wrong.
pub(crate) const REPAIR: &str = "repair or remove the file, then run the same command again";
/// And about such a codec.
pub(crate) const OTHER_CODEC: &str = "write the file anew with zstd, Snappy, LZ4, gzip or no compression";

impl SourceError {
    fn from_store(object: &str, cause: object_store::Error) -> SourceError {
        let object = object.to_string();
        match cause {
            object_store::Error::Precondition { .. } | object_store::Error::NotFound { .. } => {
                SourceError::Changed { object }
            }
            object_store::Error::InvalidPath { source } => SourceError::Bad {
                object,
                message: format!("a name below it cannot be used: {source}"),
                hint: "rename it: names are UTF-8 without control characters",
            },
            cause => SourceError::Store { object, cause },
        }
    }

    fn bad(object: &str, message: impl ToString) -> SourceError {
        let (object, message) = (object.into(), message.to_string());
        if let Some((_, codec)) = message.split_once(NO_CODEC) {
            let message = format!("its pages are compressed with {codec}, which is not read here");
            return SourceError::Bad { object, message, hint: OTHER_CODEC };
        }
        SourceError::Bad { object, message, hint: REPAIR }
    }
}
