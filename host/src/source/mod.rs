//! Objects become units, units become rows.
//!
//! * `list` - which objects the source has: a file, a folder or a glob.
//! * `glob` - patterns of names; `passed` - what lies beside the objects and is not read.
//! * `kind` - what names of files say of their format.
//! * `folders` - names of folders that hold a value of each row below: `lang=de/`.
//! * `open` - one object: what its format knows of it, its digest, its units.
//! * `fetch` - ranges of one version of one object.
//! * `union` - the one schema of objects whose schemas differ.
//! * `fit` - whether an object's columns fit the job's schema.
//!
//! Coverage and ids are not known here: the caller says which rows it wants.

mod fetch;
mod fit;
mod folders;
mod glob;
mod kind;
mod list;
mod open;
mod passed;
mod union;

pub use fetch::Fetch;
pub use fit::Columns;
pub use folders::folder_keys;
pub use glob::is_glob;
pub use kind::FileKind;
pub use list::{Pattern, Survey, list, survey};
pub use open::{Opened, Unit, UnitReader, open, open_to_read};
pub use passed::PassedOver;
pub use union::{Defect, Union};

use crate::format::FormatError;
pub use crate::format::{BadLine, BlockSize, Format, Read, Rows};
use crate::message::Hint;
pub use crate::store::Object;
use crate::store::{advice, told};

/// What went wrong with an object of the source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The store did not give what it was asked for.
    #[error("source object {object}: {}", told(cause))]
    Store {
        /// Path relative to the source root.
        object: String,
        /// What the store said.
        #[source]
        cause: object_store::Error,
    },
    /// The object is not what was listed.
    #[error("source object {object} changed or vanished while it was read")]
    Changed {
        /// Path relative to the source root.
        object: String,
    },
    /// Its columns do not fit the job.
    #[error("source object {object}: {message}")]
    Differs {
        /// Path relative to the source root.
        object: String,
        /// How they differ.
        message: String,
        /// What to do.
        hint: &'static str,
    },
    /// The bytes are not what the format says.
    #[error("source object {object}: {message}")]
    Bad {
        /// Path relative to the source root.
        object: String,
        /// What is wrong.
        message: String,
        /// What to do.
        hint: &'static str,
    },
}

impl Hint for SourceError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            SourceError::Store { cause, .. } => advice(cause, "nothing is lost"),
            SourceError::Changed { .. } => {
                "what is finished is safe; run the same command again, it compares the source with what it knows".into()
            }
            SourceError::Differs { hint, .. } | SourceError::Bad { hint, .. } => (*hint).into(),
        })
    }
}

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

    /// What a format says of an object.
    pub(crate) fn of(object: &str, error: FormatError) -> SourceError {
        let object = object.to_string();
        match error {
            FormatError::Unread(cause) => cause.downcast().map_or_else(
                |other| {
                    let source = other;
                    SourceError::Store { object, cause: object_store::Error::Generic { store: "source", source } }
                },
                |error| *error,
            ),
            FormatError::Bad { message, hint } => SourceError::Bad { object, message, hint },
            FormatError::Differs { message, hint } => SourceError::Differs { object, message, hint },
        }
    }
}
