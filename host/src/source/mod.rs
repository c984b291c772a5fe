//! Objects become units, units become rows.
//!
//! * `list` - which objects the source has: a file, a folder or a glob.
//! * `glob` - patterns of names; `passed` - what lies beside the objects and is not read.
//! * `folders` - names of folders that hold a value of each row below: `lang=de/`.
//! * `open` - one Parquet object: its footer, its digest, its row groups (the units).
//! * `sniff` - what a file is that is no Parquet file one can read.
//! * `readings` - the types in which a file's columns are read.
//! * `union` - the one schema of objects whose schemas differ.
//! * `fit` - an object's columns in the job's schema.
//! * `pages` - where columns lie, and which of them cannot be read.
//! * `thrift` - the little of a footer that the Parquet crate does not tell.
//! * `read` - the rows of a unit that are still to do, batch by batch.
//! * `chunks` - bytes of columns, fetched by windows; `stream` - their pages, one after another.
//! * `decode` - pages become batches.
//! * `estimate` - how many rows are decoded at a time.
//! * `twice` - values of which no Arrow type holds all, exactly.
//!
//! Coverage and ids are not known here: the caller says which rows it wants.

mod chunks;
mod decode;
mod estimate;
mod fit;
mod folders;
mod glob;
mod list;
mod open;
mod pages;
mod passed;
mod read;
mod readings;
mod sniff;
mod stream;
mod thrift;
mod twice;
mod union;

pub use fit::Columns;
pub use folders::folder_keys;
pub use glob::is_glob;
pub use list::{Pattern, list, survey};
pub use open::{Fetch, Opened, Unit, annotated_schema, open, open_to_read, ordered_columns, schema_of};
pub use passed::PassedOver;
pub use read::{BlockSize, Rows, UnitReader};
pub use union::{Defect, Union};

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
    /// Its columns do not fit the job.
    #[error("source object {object}: {message}\nhint: {hint}")]
    Differs {
        /// Path relative to the source root.
        object: String,
        /// How they differ.
        message: String,
        /// What to do.
        hint: &'static str,
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

/// What the Parquet crate puts before its words, once for each layer.
const LAYERS: [&str; 3] = ["Arrow: ", "Parquet argument error: ", "Parquet error: "];
/// What to do about a file whose bytes are wrong.
const REPAIR: &str = "nothing of the file is used; write it again from where it came and run the same command again; or, if other \
                                 tools read it, please report it with the file's `created_by`";
/// About a codec that is not read.
const OTHER_CODEC: &str = "write the file anew with zstd, Snappy, LZ4, gzip or no compression";

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

    /// It is no Parquet file that can be read, but nothing is wrong with it.
    fn is_another(object: &str, kind: sniff::Kind) -> SourceError {
        SourceError::Bad { object: object.into(), message: format!("it {}", kind.is), hint: kind.hint }
    }

    fn bad(object: &str, message: impl ToString) -> SourceError {
        let mut message = message.to_string();
        while let Some(rest) = LAYERS.iter().find_map(|layer| message.strip_prefix(layer)) {
            message = rest.to_owned();
        }
        SourceError::Bad { object: object.into(), message, hint: REPAIR }
    }
}
