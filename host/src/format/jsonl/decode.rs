//! Lines become batches of a given schema, each line a row or a refusal that says what is wrong where.
//!
//! One pass by the schema straight into the columns, strict as RFC 8259 and stricter: no key twice in an object, no number
//! that its type does not hold exactly, nothing behind the object. What a refused line left in the columns is taken back, so
//! that it spoils no other.
//!
//! *Why not arrow-json*: its tape decoder has no lines (it takes two objects on one, and one over two), rounds 1.5 to 1,
//! lets the last of two equal keys win and stops at the first error. Driven a line at a time, with numbers as text and a
//! second pass for what it lets through, it would be asked to do the work twice. Measured with records of twelve keys, nested,
//! in one thread, release, MB a second of CPU time, arrow-json 60.1 whole buffers, by lines, and this (with framing):
//!
//! ```text
//! 2 KB of text with escapes and some accents     351   330   434
//! 2 KB of plain ASCII                            516   472   971
//! 2 KB of Chinese                                403   399   408
//! no text, 320 bytes a line                      217   200   436
//! ```

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};

use super::builders::Texts;
use super::cursor::{Checked, Cursor, text};
use super::extra::{EXTRA_COLUMN, Extra, ExtraKeys};
use super::members::Members;
use super::refusal::{Reason, Refusal};
use super::types;

/// Bytes of lines that a batch holds at most: no column of it is larger, and its offsets count so far.
pub const BATCH_BYTES_MAX: usize = i32::MAX as usize;

/// How lines are read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    pub extra_keys: ExtraKeys,
    /// The columns of the schema that are wanted, in its order; all if none is said. The values of the others are checked,
    /// but not against their types.
    pub columns: Option<Vec<usize>>,
}

/// Why a schema cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// The type has no text in JSON.
    #[error("`{column}` is {data_type}, which JSON Lines cannot hold")]
    Type { column: String, data_type: String },
    /// Two columns have one name.
    #[error("`{column}` stands twice in the schema")]
    Duplicate { column: String },
    /// The name is taken.
    #[error("`{EXTRA_COLUMN}` is the column of the keys that are kept, and the schema has one of its own")]
    ExtraColumn,
}

/// Lines on their way to a batch.
///
/// ```
/// use std::sync::Arc;
///
/// use arrow::array::AsArray;
/// use arrow::datatypes::{Int64Type, Schema};
/// use wasmpipe::format::jsonl::{decode, types};
///
/// let schema = Arc::new(Schema::new(vec![types::field("n", "int64")?, types::field("meta", "json")?]));
/// let mut decoder = decode::Decoder::new(&schema, &decode::Options::default())?;
/// decoder.push(br#"{"n": 9007199254740993, "meta": {"a": [1, 2]}}"#)?;
/// let refusal = decoder.push(br#"{"n": 1.5}"#).unwrap_err();
/// assert_eq!(refusal.to_string(), "`n`: `1.5` is no int64: it has a fraction");
/// decoder.push(b"{}")?;
///
/// let batch = decoder.finish();
/// assert_eq!(batch.num_rows(), 2);
/// assert_eq!(batch["n"].as_primitive::<Int64Type>().value(0), 9_007_199_254_740_993);
/// assert_eq!(batch["meta"].as_string::<i32>().value(0), r#"{"a": [1, 2]}"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Decoder {
    schema: SchemaRef,
    members: Members,
    extra_keys: ExtraKeys,
    extra: Texts,
    /// The kept keys of the last line; their memory serves the next one.
    kept: Vec<u8>,
    rows: usize,
    /// Bytes of the lines of the rows.
    line_bytes: usize,
}

impl Decoder {
    /// For lines of a schema, whose types must be those that [`types`] can spell.
    pub fn new(schema: &SchemaRef, options: &Options) -> Result<Decoder, SchemaError> {
        refuse_names(schema, options)?;
        let is_wanted =
            |place: usize| options.columns.as_ref().is_none_or(|columns| columns.binary_search(&place).is_ok());
        let members = Members::of(schema.fields(), is_wanted).ok_or_else(|| no_type(schema))?;
        let schema = written_schema(schema, options.extra_keys, is_wanted);
        let (extra_keys, extra) = (options.extra_keys, Texts::default());
        Ok(Decoder { schema, members, extra_keys, extra, kept: Vec::new(), rows: 0, line_bytes: 0 })
    }

    /// The schema of the batches: the columns that are wanted, and [`EXTRA_COLUMN`] behind them if keys are kept.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Makes a line, without its end, the next row; or says why it is none, and then nothing has changed.
    ///
    /// # Panics
    /// If there are rows and the batch [`has_room`](Decoder::has_room) for no such line: it must be finished first.
    pub fn push(&mut self, line: &[u8]) -> Result<(), Refusal> {
        if !self.has_room(line.len()) {
            assert!(self.rows == 0, "a batch is finished before it has no room");
            return Err(Refusal::new(Reason::TooLarge { bytes: line.len() }));
        }
        let told = text(line).and_then(|line| self.read(line));
        match told {
            Ok(()) => (self.rows, self.line_bytes) = (self.rows + 1, self.line_bytes + line.len()),
            Err(_) => self.members.truncate(self.rows),
        }
        told
    }

    /// Whether a line of so many bytes fits into the batch.
    pub fn has_room(&self, line_bytes: usize) -> bool {
        // The braces and commas of kept keys may be more than what they replace, but not many.
        let kept = if self.extra_keys == ExtraKeys::Keep { 4 } else { 1 };
        self.line_bytes.saturating_add(line_bytes).saturating_mul(kept) < BATCH_BYTES_MAX
    }

    /// Rows so far.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes that the values so far take.
    pub fn bytes(&self) -> usize {
        self.members.bytes() + self.extra.size()
    }

    /// The rows so far; begins anew.
    pub fn finish(&mut self) -> RecordBatch {
        let mut columns = self.members.finish();
        if self.extra_keys == ExtraKeys::Keep {
            columns.push(self.extra.finish());
        }
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        (self.rows, self.line_bytes) = (0, 0);
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options);
        batch.expect("the columns have the types of the schema and one length")
    }

    fn read(&mut self, line: &str) -> Checked {
        let mut text = Cursor::new(line, Extra::new(self.extra_keys, std::mem::take(&mut self.kept)));
        let told = self.read_object(&mut text);
        self.kept = text.extra.end();
        if told.is_ok() && self.extra_keys == ExtraKeys::Keep {
            self.keep();
        }
        told
    }

    fn keep(&mut self) {
        match self.kept.is_empty() {
            true => self.extra.push_null(),
            false => self.extra.push(text(&self.kept).expect("it is made of pieces of the line")),
        }
    }

    fn read_object(&mut self, text: &mut Cursor<'_>) -> Checked {
        text.space();
        text.object_begins()?;
        self.members.read(text)?;
        text.end()
    }
}

fn refuse_names(schema: &Schema, options: &Options) -> Result<(), SchemaError> {
    if let Some(column) = types::duplicate(schema.fields()) {
        return Err(SchemaError::Duplicate { column });
    }
    let is_taken = options.extra_keys == ExtraKeys::Keep && schema.column_with_name(EXTRA_COLUMN).is_some();
    if is_taken { Err(SchemaError::ExtraColumn) } else { Ok(()) }
}

fn no_type(schema: &Schema) -> SchemaError {
    let odd = schema.fields().iter().find(|field| super::builders::builder(field).is_none());
    let (column, data_type) =
        odd.map(|field| (field.name().clone(), field.data_type().to_string())).unwrap_or_default();
    SchemaError::Type { column, data_type }
}

fn written_schema(schema: &Schema, extra_keys: ExtraKeys, is_wanted: impl Fn(usize) -> bool) -> SchemaRef {
    let wanted = schema.fields().iter().enumerate().filter(|(place, _)| is_wanted(*place));
    let mut fields: Vec<_> = wanted.map(|(_, field)| field.clone()).collect();
    if extra_keys == ExtraKeys::Keep {
        fields.push(Arc::new(types::json_field(EXTRA_COLUMN)));
    }
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}
