//! Schemas and batches of a guest: within limits, and valid.
//!
//! How they cross is in `wasmpipe-wire`, which host and guests share; it checks what a guest sent against the schema that
//! the host agreed to. Here are the limits, and the net below: a panic in Arrow's own code becomes a defect of the guest.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use wasmpipe_wire::{Defect, Field, Node, Parts};

use super::journal::tame;
use super::world::types;
use crate::panics;

/// Fields of a schema that a guest may answer with, nested ones included.
const FIELDS_MAX: usize = 10_000;

/// Reads a schema of a guest.
pub(super) fn read_schema(fields: Vec<types::FieldResult>) -> Result<SchemaRef, Defect> {
    if fields.len() > FIELDS_MAX {
        return Err(format!("has {} fields; allowed are {FIELDS_MAX}", fields.len()));
    }
    let field = |field| {
        let types::FieldResult { name, format, nullable, children, metadata } = field;
        Field { name, format, nullable, children, metadata }
    };
    let fields: Vec<Field> = fields.into_iter().map(field).collect();
    guarded(|| wasmpipe_wire::schema_of(&fields)).map(Arc::new)
}

/// Takes a block apart for a guest.
pub(super) fn flatten(block: &RecordBatch) -> Result<(Vec<types::Node>, wasmpipe_wire::Flat), Defect> {
    let flat = wasmpipe_wire::flatten(block.columns())?;
    let nodes = flat.nodes.iter().map(|node| types::Node { length: node.length, nulls: node.nulls }).collect();
    Ok((nodes, flat))
}

/// Puts together what a guest sent, which has to be `rows` rows of `schema`.
pub(super) fn read_batch(
    nodes: &[types::Node],
    buffers: Vec<Vec<u8>>,
    schema: &SchemaRef,
    rows: usize,
) -> Result<RecordBatch, Defect> {
    let nodes = nodes.iter().map(|node| Node { length: node.length, nulls: node.nulls }).collect();
    guarded(|| {
        let columns = wasmpipe_wire::assemble(schema, rows, Parts::new(nodes, buffers))?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
            .map_err(|error| format!("is not valid Arrow: {}", first_line(&error)))
    })
}

fn first_line(error: &dyn std::fmt::Display) -> String {
    tame(error.to_string().lines().next().unwrap_or_default(), 200)
}

/// How a panic of Arrow's code starts. No input is known that makes one.
const UNFORESEEN: &str = "is not valid Arrow: its reader did not expect";

/// Runs Arrow's code on what a guest sent: panics become defects.
fn guarded<T>(read: impl FnOnce() -> Result<T, Defect>) -> Result<T, Defect> {
    panics::guarded(read).unwrap_or_else(|words| Err(format!("{UNFORESEEN} {}", first_line(&words))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_defect() {
        let defect = guarded::<()>(|| panic!("this\nand that")).unwrap_err();
        assert_eq!(defect, "is not valid Arrow: its reader did not expect this");
    }

    #[test]
    fn schemas_have_a_limit() {
        let field = types::FieldResult {
            name: String::new(),
            format: "l".to_owned(),
            nullable: true,
            children: 0,
            metadata: vec![],
        };
        assert_eq!(read_schema(vec![field.clone(); FIELDS_MAX]).unwrap().fields().len(), FIELDS_MAX);
        let defect = read_schema(vec![field; FIELDS_MAX + 1]).unwrap_err();
        assert_eq!(defect, "has 10001 fields; allowed are 10000");
    }
}
