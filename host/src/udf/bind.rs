//! A function agrees with an input schema on the columns that go in and the columns that come out.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::UdfError;
use super::component::{Component, Function, Kind};
use super::engine::Engine;
use super::guest::{Guest, Phase, quote};
use super::limits::Limits;
use super::wire;

/// One use of one function.
#[derive(Clone, Debug)]
pub struct Spec {
    pub component: Component,
    pub function: String,
    /// A JSON value for the function; null stands for `{}`.
    pub config: serde_json::Value,
    /// All columns that reach the stage.
    pub input: SchemaRef,
    pub limits: Limits,
    /// What messages and logs call the stage: `stage 2`.
    pub stage: String,
}

/// What a function takes and gives, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Binding {
    /// The columns that the function wants to see, by the names of the input. A type can be wider than that of the input,
    /// as the contract allows; a field that is not nullable wants rows with nulls kept away.
    pub needs: SchemaRef,
    /// The columns that it answers with. One that the input has too replaces that.
    pub adds: SchemaRef,
    pub kind: Kind,
}

/// Binds on an instance that is thrown away.
pub fn bind(engine: &Engine, spec: &Spec) -> Result<Binding, UdfError> {
    bound(engine, spec).map(|(binding, _)| binding)
}

/// Binds, and keeps the instance.
pub(super) fn bound(engine: &Engine, spec: &Spec) -> Result<(Binding, Guest), UdfError> {
    agree(engine, spec).map_err(|what| spec.error(what))
}

impl Spec {
    pub(super) fn error(&self, what: String) -> UdfError {
        UdfError::Bind {
            stage: self.stage.clone(),
            function: self.function.clone(),
            path: self.component.path().to_owned(),
            what,
        }
    }

    fn config(&self) -> String {
        match &self.config {
            serde_json::Value::Null => "{}".to_owned(),
            config => config.to_string(),
        }
    }
}

fn agree(engine: &Engine, spec: &Spec) -> Result<(Binding, Guest), String> {
    let function = find(spec)?;
    let seen = seen(&spec.input);
    let input = wasmpipe_wire::fields_of(&seen)
        .map_err(|e| format!("cannot run: the input schema {e}\nhint: drop the column"))?;
    let label = (spec.stage.as_str(), spec.function.as_str());
    let mut guest = Guest::start(engine, spec.component.pre(), &spec.limits, Phase::Bind, label)
        .map_err(|fault| format!("does not start: it {}", fault.message()))?;
    let answer = guest
        .bind(&function.name, &input, &spec.config())
        .map_err(|fault| format!("does not bind: it {}", fault.message()))?;
    let binding = Binding {
        needs: wire::read_schema(answer.needs).map_err(|e| misbound("needs", &e))?,
        adds: wire::read_schema(answer.adds).map_err(|e| misbound("adds", &e))?,
        kind: function.kind,
    };
    check_needs(&binding, &seen)?;
    check_adds(&binding, &seen)?;
    Ok((binding, guest))
}

fn find(spec: &Spec) -> Result<&Function, String> {
    let functions = spec.component.functions();
    functions.iter().find(|function| function.name == spec.function).ok_or_else(|| {
        let names: Vec<&str> = functions.iter().map(|function| function.name.as_str()).collect();
        format!("does not exist\nhint: the component offers {}", names.join(", "))
    })
}

/// The input as a function sees it: values, however the host stores them.
fn seen(input: &Schema) -> Schema {
    let fields: Vec<Field> = input
        .fields()
        .iter()
        .map(|field| field.as_ref().clone().with_data_type(values(field.data_type()).clone()))
        .collect();
    Schema::new(fields)
}

fn values(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::Dictionary(_, values) => values,
        DataType::RunEndEncoded(_, field) => field.data_type(),
        DataType::Utf8View => &DataType::Utf8,
        DataType::BinaryView => &DataType::Binary,
        other => other,
    }
}

fn misbound(part: &str, defect: &str) -> String {
    format!(
        "binds wrongly: its schema `{part}` {defect}\nhint: this is a defect of the function; report it to its author"
    )
}

fn check_needs(binding: &Binding, input: &Schema) -> Result<(), String> {
    if let Some(name) = doubled(&binding.needs) {
        return Err(misbound("needs", &format!("has `{}` twice", quote(name))));
    }
    for need in binding.needs.fields() {
        let name = quote(need.name());
        let Some((_, column)) = input.column_with_name(need.name()) else {
            return Err(format!(
                "needs a column `{name}`, which does not reach it\nhint: the columns here are {}",
                names(input)
            ));
        };
        if !crate::columns::serves(column.data_type(), need.data_type()) {
            return Err(format!(
                "needs `{name}` as {}, and it is {}\nhint: only widening that loses nothing is done by itself; convert the column in the source or in a stage before",
                quote(&need.data_type().to_string()),
                column.data_type()
            ));
        }
    }
    Ok(())
}

fn check_adds(binding: &Binding, input: &Schema) -> Result<(), String> {
    if let Some(name) = doubled(&binding.adds) {
        return Err(misbound("adds", &format!("has `{}` twice", quote(name))));
    }
    for add in binding.adds.fields() {
        let exists = input.column_with_name(add.name()).is_some();
        let replaces = binding.needs.column_with_name(add.name()).is_some();
        if exists && !replaces {
            return Err(format!(
                "adds a column `{}`, which reaches it already\nhint: two stages must not add the same column; rename one, or drop the earlier",
                quote(add.name())
            ));
        }
    }
    Ok(())
}

fn doubled(schema: &Schema) -> Option<&str> {
    let mut names = HashSet::new();
    let mut fields = schema.fields().iter().map(|field| field.name().as_str());
    fields.find(|name| !names.insert(*name))
}

fn names(schema: &Schema) -> String {
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    quote(&names.join(", "))
}

/// Plan time and run time have to agree, as everything after the plan was built on it.
pub(super) fn bound_as(engine: &Engine, spec: &Spec, planned: &Binding) -> Result<Guest, UdfError> {
    let (binding, guest) = bound(engine, spec)?;
    if binding == *planned {
        return Ok(guest);
    }
    Err(spec.error(
        "bound in another way than at plan time, with the same config and input\nhint: a function must be pure; report it to its author".to_owned(),
    ))
}

/// The needed columns as a batch has to have them.
pub(super) fn fits(needs: &Arc<Schema>, fields: &Schema) -> bool {
    let same = |(need, field): (&Arc<Field>, &Arc<Field>)| {
        need.name() == field.name() && need.data_type().equals_datatype(field.data_type())
    };
    needs.fields().len() == fields.fields().len() && needs.fields().iter().zip(fields.fields()).all(same)
}
