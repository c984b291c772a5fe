//! A component as the host sees it: `describe`, `bind`, `process`, over Arrow's types. It compiles on every target, so
//! that a native test can call functions as the host does; what crosses the boundary, and how, is in `bindings`.

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{Field, Schema, SchemaRef};
use serde_json::{Value as Json, json};

use crate::function::{Answer, Columns, Described, Function, Work};

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

/// One function, bound to a config and to the columns that reach the stage.
pub struct Instance {
    needs: SchemaRef,
    adds: SchemaRef,
    work: Box<Work>,
}

impl Instance {
    /// Binds the function of this name. `input` has all columns that reach the stage, `config` is JSON.
    pub fn bind(functions: &[Function], name: &str, input: &Schema, config: &str) -> Result<Self, String> {
        let bound = (find(functions, name)?.bind)(input, config)?;
        require(&bound.needs, input)?;
        let (needs, adds) = (Arc::new(Schema::new(bound.needs)), Arc::new(Schema::new(bound.adds)));
        Ok(Self { needs, adds, work: bound.work })
    }

    /// The columns that [`process`](Self::process) takes, in this order.
    pub fn needs(&self) -> &SchemaRef {
        &self.needs
    }

    /// The columns that it answers.
    pub fn adds(&self) -> &SchemaRef {
        &self.adds
    }

    /// One block of the needed columns in, one answer out.
    pub fn process(&mut self, block: &RecordBatch) -> Result<Answer, String> {
        let Columns { arrays, rows, lineage, errors } = (self.work)(block)?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.adds), arrays, &options)
            .map_err(|error| format!("answer: {error}"))?;
        Ok(Answer { batch, lineage, errors })
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
