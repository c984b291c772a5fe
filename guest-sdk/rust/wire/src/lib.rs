//! The data plane: Arrow schemas and arrays as the contract (`wit/udf.wit`) carries them between host and guest. Host
//! and guests share this code, so that both speak the same way.
//!
//! A schema crosses as a list of [`Field`]s in pre-order, the types in the format strings of the [Arrow C data
//! interface](https://arrow.apache.org/docs/format/CDataInterface.html#data-type-description-format-strings). A batch
//! crosses as [`Node`]s and buffers, in the order of the [Arrow columnar
//! format](https://arrow.apache.org/docs/format/Columnar.html#recordbatch-message), without its framing: each buffer is
//! a list of bytes of its own, copied once from where the array has it to where the other side reads it.
//!
//! Not here: who calls whom, limits, lineage.
//!
//!  - `format.rs`: schemas as fields
//!  - `flatten.rs`: arrays taken apart
//!  - `assemble.rs`: arrays put together; what a stranger sent is checked in full

mod assemble;
mod flatten;
mod format;

pub use assemble::{Parts, assemble, assemble_trusted};
pub use flatten::{Flat, flatten};
pub use format::{Field, crosses, fields_of, schema_of};

/// One array of a batch, children after their parents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// Values.
    pub length: u32,
    /// How many of them are null.
    pub nulls: u32,
}

/// What is wrong with what came over the boundary. Continues a sentence whose subject is the schema or the batch.
pub type Defect = String;
