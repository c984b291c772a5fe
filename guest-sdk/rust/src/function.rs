//! The nouns of a function: what it is called, what it takes and gives, what it answers. No bytes here.

use std::fmt;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_buffer::BooleanBuffer;
use arrow_schema::{Field, Schema};

/// A function that a component offers. Made by the attributes; `export!` lists them.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    pub name: &'static str,
    pub kind: Kind,
    /// The function's doc comment.
    pub doc: &'static str,
    #[doc(hidden)]
    pub bind: fn(&Schema, &str) -> Result<Bound, String>,
    #[doc(hidden)]
    pub describe: fn() -> Described,
}

/// What people are told of a function before it is bound. Internal to the attributes.
#[doc(hidden)]
#[derive(Debug)]
pub struct Described {
    /// JSON Schema of the config; none if its type does not implement `JsonSchema`.
    pub config: Option<serde_json::Value>,
    /// None where they depend on the input or the config.
    pub needs: Option<Vec<Field>>,
    pub adds: Option<Vec<Field>>,
}

/// What an attribute made of a function. The marker type has the function's own name, so that `use` brings both.
#[diagnostic::on_unimplemented(
    message = "this is not a function that a component can offer",
    label = "carries none of the attributes",
    note = "put #[map], #[filter], #[flat_map] or #[map_batches] of wasmpipe_sdk on the function"
)]
pub trait Exported {
    const FUNCTION: Function;
}

/// [`Exported`], as `export!` asks for it: of the function itself, whose marker is `F`. If there is no such function, the
/// compiler does not know which type is meant, and does not ask.
#[doc(hidden)]
pub trait Offered<F> {
    const FUNCTION: Function;
}

impl<Item, F: Exported> Offered<F> for Item {
    const FUNCTION: Function = F::FUNCTION;
}

/// Which lineage a function may answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One output row per input row.
    Map,
    /// One output row or none per input row, and no new columns.
    Filter,
    /// Any number of output rows per input row.
    FlatMap,
    /// Whatever its answer says.
    MapBatches,
}

impl Kind {
    /// The word that `describe` uses.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Map => "map",
            Kind::Filter => "filter",
            Kind::FlatMap => "flat-map",
            Kind::MapBatches => "map-batches",
        }
    }
}

/// What `#[map_batches(schemas = ...)]` settles: the columns that the function is given, and those that it answers.
/// A column of `adds` that bears the name of one in `needs` replaces it.
#[derive(Clone, Debug, PartialEq)]
pub struct Schemas {
    pub needs: Schema,
    pub adds: Schema,
}

/// The answer of a `#[map_batches]` function that does not answer one row for each.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The output rows, in the order of their input rows: the columns of `adds`, by position.
    pub batch: RecordBatch,
    pub lineage: Lineage,
    /// In ascending order of rows, at most one per row. Such a row has no output rows (under `Same`: its output row is
    /// ignored).
    pub errors: Vec<RowError>,
}

/// How many output rows came of each input row.
#[derive(Clone, Debug, PartialEq)]
pub enum Lineage {
    /// One each.
    Same,
    /// One where the bit is set, else none.
    Kept(BooleanBuffer),
    /// So many.
    Counts(Vec<u32>),
}

/// A row that a function could not process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowError {
    /// The row's ordinal in the block.
    pub row: u32,
    /// What to tell the person who runs the pipeline.
    pub message: String,
}

/// A function with its config, ready to work. Internal to the attributes.
#[doc(hidden)]
pub struct Bound {
    pub needs: Vec<Field>,
    pub adds: Vec<Field>,
    pub work: Box<Work>,
}

pub(crate) type Work = dyn Fn(&RecordBatch) -> Result<Columns, String>;

impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bound").field("needs", &self.needs).field("adds", &self.adds).finish_non_exhaustive()
    }
}

/// An answer before it has a schema.
#[doc(hidden)]
#[derive(Debug)]
pub struct Columns {
    pub arrays: Vec<ArrayRef>,
    pub rows: usize,
    pub lineage: Lineage,
    pub errors: Vec<RowError>,
}
