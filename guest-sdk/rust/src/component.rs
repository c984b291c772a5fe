//! A component as the host sees it, over bytes: `describe`, `bind`, `process`. It compiles on every target, so that a
//! native test can call functions exactly as the host does.

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{ArrowError, Field, Schema, SchemaRef};
use serde_json::{Value as Json, json};

use crate::function::{Columns, Described, Function, Lineage, RowError, Work};
use crate::wire::{self, BatchWriter};

/// The JSON document that says what a component offers.
pub fn describe(functions: &[Function]) -> String {
    let functions: Vec<_> = functions.iter().map(describe_one).collect();
    json!({ "functions": functions }).to_string()
}

fn describe_one(function: &Function) -> Json {
    let mut object = json!({ "name": function.name, "kind": function.kind.word(), "doc": function.doc });
    let Described { config, needs, adds } = (function.describe)();
    let columns = |fields: Vec<Field>| fields.iter().map(describe_column).collect();
    let known = [("config", config), ("needs", needs.map(columns)), ("adds", adds.map(columns))];
    for (key, value) in known {
        if let Some(value) = value {
            object[key] = value;
        }
    }
    object
}

fn describe_column(field: &Field) -> Json {
    json!({ "name": field.name(), "type": field.data_type().to_string(), "nullable": field.is_nullable() })
}

/// What one function, with one config, takes and gives: two Arrow IPC schema messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    pub needs: Vec<u8>,
    pub adds: Vec<u8>,
}

/// An answer as it crosses: the batch is an Arrow IPC record batch message, or empty if the function adds no column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireAnswer {
    pub batch: Vec<u8>,
    pub lineage: WireLineage,
    pub errors: Vec<RowError>,
}

/// A lineage as it crosses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WireLineage {
    Same,
    /// Least significant bit first; padding bits are zero.
    Kept(Vec<u8>),
    Counts(Vec<u32>),
}

/// One function, bound.
pub struct Instance {
    needs: SchemaRef,
    adds: SchemaRef,
    work: Box<Work>,
    writer: BatchWriter,
}

impl Instance {
    /// Binds a function to a config and to the columns that reach the stage.
    pub fn bind(
        functions: &[Function],
        name: &str,
        input_schema: &[u8],
        config: &str,
    ) -> Result<(Self, Binding), String> {
        let function = find(functions, name)?;
        let input = wire::schema_from_bytes(input_schema).map_err(|error| format!("input schema: {error}"))?;
        let bound = (function.bind)(&input, config)?;
        require(&bound.needs, &input)?;
        let (needs, adds) = (schema_of(bound.needs), schema_of(bound.adds));
        let writer = BatchWriter::new(&adds).map_err(|error| format!("columns that it adds: {error}"))?;
        let binding = Binding { needs: bytes_of(&needs)?, adds: bytes_of(&adds)? };
        Ok((Self { needs, adds, work: bound.work, writer }, binding))
    }

    /// One block in, one answer out.
    pub fn process(&mut self, block: Vec<u8>) -> Result<WireAnswer, String> {
        let batch = wire::batch_from_bytes(block, &self.needs).map_err(|error| format!("block: {error}"))?;
        let Columns { arrays, rows, lineage, errors } = (self.work)(&batch)?;
        let answer = RecordBatch::try_new_with_options(
            Arc::clone(&self.adds),
            arrays,
            &RecordBatchOptions::new().with_row_count(Some(rows)),
        );
        let batch = answer.and_then(|batch| self.write(&batch)).map_err(|error| format!("answer: {error}"))?;
        Ok(WireAnswer { batch, lineage: lineage.into(), errors })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
        if batch.num_columns() == 0 { Ok(Vec::new()) } else { self.writer.write(batch) }
    }
}

fn find<'a>(functions: &'a [Function], name: &str) -> Result<&'a Function, String> {
    functions.iter().find(|function| function.name == name).ok_or_else(|| {
        let names: Vec<_> = functions.iter().map(|function| function.name).collect();
        format!("no function `{name}`; this component offers {}", names.join(", "))
    })
}

fn require(needs: &[Field], input: &Schema) -> Result<(), String> {
    for need in needs {
        if input.index_of(need.name()).is_err() {
            let names: Vec<_> = input.fields.iter().map(|field| field.name().as_str()).collect();
            return Err(format!("it needs a column `{}`; the columns here are {}", need.name(), names.join(", ")));
        }
    }
    Ok(())
}

fn schema_of(fields: Vec<Field>) -> SchemaRef {
    Arc::new(Schema::new(fields))
}

fn bytes_of(schema: &Schema) -> Result<Vec<u8>, String> {
    wire::schema_to_bytes(schema).map_err(|error| format!("schema: {error}"))
}

impl From<Lineage> for WireLineage {
    fn from(lineage: Lineage) -> Self {
        match lineage {
            Lineage::Same => WireLineage::Same,
            Lineage::Kept(kept) => WireLineage::Kept(bitmap(&kept)),
            Lineage::Counts(counts) => WireLineage::Counts(counts),
        }
    }
}

fn bitmap(kept: &arrow_buffer::BooleanBuffer) -> Vec<u8> {
    let bits = kept.len();
    let mut bytes = kept.sliced().as_slice()[..bits.div_ceil(8)].to_vec();
    if let (Some(last), rest @ 1..) = (bytes.last_mut(), bits % 8) {
        *last &= (1 << rest) - 1;
    }
    bytes
}
