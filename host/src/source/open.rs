//! One object: what its format knows of it, its digest, and the units of work.

use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use tokio::runtime::Handle;

use super::fetch::{Fetch, Waiting};
use super::{Object, SourceError};
use crate::block::Numbering;
use crate::columns;
use crate::format::{BlockSize, Content, Edges, Format, Read, RowReader, Rows, Wanted};
use crate::store::Store;

/// An object of which is known what comes before its rows.
#[derive(Debug)]
pub struct Opened {
    /// As listed.
    pub object: Object,
    /// Place in the run's listing.
    pub index: u32,
    /// Of first and last bytes, and what else its format knows it by: the same for a copy of the object.
    pub digest: String,
    /// Rows in all; of a text its positions, at some of which there may be no row.
    pub rows: u64,
    content: Arc<dyn Content>,
    fetch: Arc<Fetch>,
}

/// A part of an object that is read by itself.
#[derive(Clone, Debug)]
pub struct Unit {
    /// The object it lies in.
    pub object: Arc<Opened>,
    /// Row ordinals in the object.
    pub rows: Range<u64>,
    /// Where its first byte lies in the object.
    pub first_byte: u64,
    part: crate::format::Unit,
}

/// Reads what is to know of an object before its rows.
pub async fn open(store: &Store, format: &dyn Format, object: &Object, index: u32) -> Result<Opened, SourceError> {
    open_with((store, format), object, index, Fetch::forget).await
}

/// As [`open`], for who reads the object's rows at once: what was read is kept, which of a small object is all of it.
pub async fn open_to_read(
    store: &Store,
    format: &dyn Format,
    object: &Object,
    index: u32,
) -> Result<Opened, SourceError> {
    open_with((store, format), object, index, |_| ()).await
}

async fn open_with(
    (store, format): (&Store, &dyn Format),
    object: &Object,
    index: u32,
    after: impl FnOnce(&mut Fetch),
) -> Result<Opened, SourceError> {
    let mut fetch = Fetch::new(store, object);
    let edges = fetch.edges().await?;
    let opened = format.open(&fetch, &edges).await.map_err(|error| SourceError::of(&object.path, error))?;
    after(&mut fetch);
    let digest = digest(object.size, &edges, opened.identity.as_ref());
    let (content, fetch) = (opened.content, Arc::new(fetch));
    Ok(Opened { object: object.clone(), index, digest, rows: content.rows(), content, fetch })
}

fn digest(size: u64, edges: &Edges, identity: Option<&Bytes>) -> String {
    let mut digest = blake3::Hasher::new();
    digest.update(&size.to_le_bytes()).update(&edges.head).update(&edges.tail);
    if let Some(bytes) = identity {
        digest.update(bytes);
    }
    digest.finalize().to_hex().to_string()
}

impl Opened {
    /// The units, in order.
    pub fn units(self: &Arc<Opened>) -> Vec<Unit> {
        let unit = |part: crate::format::Unit| Unit {
            object: Arc::clone(self),
            rows: part.rows.clone(),
            first_byte: part.first_byte,
            part,
        };
        self.content.units().into_iter().map(unit).collect()
    }

    /// What ordinals of its rows count.
    pub fn numbering(&self) -> Numbering {
        self.content.numbering()
    }

    /// Its columns as they are read.
    pub(super) fn columns(&self) -> &SchemaRef {
        self.content.schema()
    }

    /// The same in plain types.
    pub fn schema(&self) -> SchemaRef {
        columns::plain_schema(self.content.schema())
    }

    /// The same with everything else that the object says of its columns.
    pub fn annotated_schema(&self) -> Result<SchemaRef, SourceError> {
        self.content.annotated_schema().map_err(|error| SourceError::of(&self.object.path, error))
    }

    /// Columns that have ordered dictionaries somewhere.
    pub fn ordered_columns(&self) -> Vec<&str> {
        self.content.ordered_columns()
    }

    /// Columns that nobody here can read, with why.
    pub fn unreadable(&self) -> Vec<(&str, SourceError)> {
        let error = |(name, error)| (name, SourceError::of(&self.object.path, error));
        self.content.unreadable().into_iter().map(error).collect()
    }

    /// Nulls in a column, if that is known without reading it.
    pub fn nulls(&self, column: &str) -> Option<u64> {
        self.content.nulls(column)
    }
}

/// Gives out the wanted rows of one unit.
pub struct UnitReader<'a> {
    unit: &'a Unit,
    rows: Box<dyn RowReader + 'a>,
}

impl<'a> UnitReader<'a> {
    /// A reader of the columns of `schema` for the rows `wanted`, which lie in the unit.
    pub fn new(unit: &'a Unit, schema: &SchemaRef, wanted: Rows, size: BlockSize, runtime: &Handle) -> UnitReader<'a> {
        let ranges = Arc::new(Waiting { fetch: Arc::clone(&unit.object.fetch), runtime: runtime.clone() });
        let wanted = Wanted { unit: &unit.part, schema: SchemaRef::clone(schema), rows: wanted, size, ranges };
        UnitReader { unit, rows: unit.object.content.read(wanted) }
    }

    /// What comes next. Waits for the store.
    #[expect(clippy::should_implement_trait, reason = "fallible, and borrows nothing")]
    pub fn next(&mut self) -> Result<Option<Read>, SourceError> {
        self.rows.next().map_err(|error| SourceError::of(&self.unit.object.object.path, error))
    }
}
