//! Which rows of a block are not done yet, by id. Coverage answers most of that question before a row is read; ids are
//! asked after an import, and after the source was rewritten or repacked.
//!
//! * `key` - id columns become numbers or strings of the id file, one to one.
//! * `done` - the sorted id file of a job: built from the log once, mapped, asked.
//! * `cache` - the folder of such files on this host: who builds one while others wait, and which are removed.

mod cache;
mod done;
mod key;

pub use cache::{IdCache, IdsName, Looked};
pub use done::{DoneIds, DoneIdsBuilder, FilterError};
pub use key::{KEYS_VERSION, is_supported, supported};
