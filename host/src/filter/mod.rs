//! Which rows of a block are not done yet, by id. Coverage answers most of that question before a row is read; ids are
//! asked only after the source was rewritten or repacked.
//!
//! * `key` - id columns become byte strings, one to one.
//! * `done` - the sorted id file of a job: built from the log once, mapped, asked.
//! * `cache` - the folder of such files on this host: who builds one while others wait, and which are removed.

mod cache;
mod done;
mod key;

pub use cache::{IdCache, IdsName, Looked};
pub use done::{DoneIds, DoneIdsBuilder, FilterError};
pub use key::{Keys, is_supported, supported};
