//! A function agrees with an input schema on the columns that go in and the columns that come out.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::UdfError;
use super::component::{Component, Function, Kind};
use super::engine::Engine;
use super::guest::{Guest, Phase, quote};
use super::journal::Lines;
use super::limits::Limits;
use super::mismatch::Mismatch;
use super::wire;
use crate::message::Message;

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
    /// What all its instances log.
    pub lines: Arc<Lines>,
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
    agree(engine, spec).map_err(|disagreement| match disagreement {
        Disagreement::Says(message) => spec.error(message),
        Disagreement::Refuses(message) => {
            UdfError::Unbound { stage: spec.stage.clone(), message: Box::new(spec.of_function(message)) }
        }
        Disagreement::Columns(mismatch) => UdfError::Columns {
            stage: spec.stage.clone(),
            function: spec.function.clone(),
            path: spec.component.path().to_owned(),
            mismatch: Box::new(mismatch),
        },
    })
}

impl Spec {
    fn error(&self, message: Message) -> UdfError {
        UdfError::Bind { stage: self.stage.clone(), message: Box::new(self.of_function(message)) }
    }

    /// A message whose subject is the function.
    fn of_function(&self, message: Message) -> Message {
        message.after(format!("`{}` of {} ", self.function, self.component.path().display()))
    }

    fn config(&self) -> String {
        match &self.config {
            serde_json::Value::Null => "{}".to_owned(),
            config => config.to_string(),
        }
    }
}

/// Why there is no binding.
enum Disagreement {
    /// Continues a sentence whose subject is the function.
    Says(Message),
    /// The same, of what the function did when it was told its config and its input.
    Refuses(Message),
    Columns(Mismatch),
}

impl From<Message> for Disagreement {
    fn from(message: Message) -> Self {
        Self::Says(message)
    }
}

fn agree(engine: &Engine, spec: &Spec) -> Result<(Binding, Guest), Disagreement> {
    let function = find(spec)?;
    let seen = seen(&spec.input);
    let crossing: Vec<_> = seen.fields().iter().filter(|field| wasmpipe_wire::crosses(field)).cloned().collect();
    let input = wasmpipe_wire::fields_of(&Schema::new(crossing)).expect("these cross");
    let label = (spec.stage.as_str(), spec.function.as_str());
    let mut guest = Guest::start(engine, spec.component.startable(), &spec.limits, Phase::Bind, label, &spec.lines)
        .map_err(|fault| fault.message().after("does not start: it "))?;
    let answer = guest
        .bind(&function.name, &input, &spec.config())
        .map_err(|fault| Disagreement::Refuses(fault.message().after("does not bind: it ")))?;
    let binding = Binding {
        needs: wire::read_schema(answer.needs).map_err(|e| misbound("needs", &e))?,
        adds: wire::read_schema(answer.adds).map_err(|e| misbound("adds", &e))?,
        kind: function.kind,
    };
    check_names("needs", &binding.needs)?;
    check_names("adds", &binding.adds)?;
    binding.adds.fields().iter().try_for_each(|field| storable(field)).map_err(|e| misbound("adds", &e))?;
    match Mismatch::find(&binding.needs, &binding.adds, &seen) {
        None => Ok((binding, guest)),
        Some(mismatch) => Err(Disagreement::Columns(mismatch)),
    }
}

fn find(spec: &Spec) -> Result<&Function, Message> {
    let functions = spec.component.functions();
    functions.iter().find(|function| function.name == spec.function).ok_or_else(|| {
        let names: Vec<&str> = functions.iter().map(|function| function.name.as_str()).collect();
        Message::new("does not exist").hint(format!("the component offers {}", names.join(", ")))
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

/// What a sink cannot write, or others cannot read.
fn storable(field: &Field) -> Result<(), String> {
    let refuse = |what: String| Err(format!("has the column `{}` {what}", quote(field.name())));
    match (field.data_type(), field.metadata().get(EXTENSION).map(String::as_str)) {
        (DataType::Interval(_), _) => refuse("of type interval, which Parquet files cannot hold".to_owned()),
        (DataType::Null, _) if !field.is_nullable() => refuse("of type null that is not nullable".to_owned()),
        (DataType::FixedSizeBinary(16), Some("arrow.uuid")) => Ok(()),
        (data_type, Some(name)) if name.starts_with("arrow.") => {
            refuse(format!("of type {data_type} as {}, which is not supported", quote(name)))
        }
        (DataType::Struct(children), _) => children.iter().try_for_each(|child| storable(child)),
        (
            DataType::List(child)
            | DataType::LargeList(child)
            | DataType::FixedSizeList(child, _)
            | DataType::Map(child, _),
            _,
        ) => storable(child),
        _ => Ok(()),
    }
}

/// The key of a field's metadata that names an extension type; names that begin with `arrow.` are Arrow's own.
const EXTENSION: &str = "ARROW:extension:name";

fn misbound(part: &str, defect: &str) -> Message {
    Message::new(format!("binds wrongly: its schema `{part}` {defect}"))
        .hint("this is a defect of the function; report it to its author")
}

fn check_names(part: &str, schema: &Schema) -> Result<(), Message> {
    match doubled(schema) {
        Some(name) => Err(misbound(part, &format!("has `{}` twice", quote(name)))),
        None => Ok(()),
    }
}

fn doubled(schema: &Schema) -> Option<&str> {
    let mut names = HashSet::new();
    let mut fields = schema.fields().iter().map(|field| field.name().as_str());
    fields.find(|name| !names.insert(*name))
}

/// Plan time and run time have to agree, as everything after the plan was built on it.
pub(super) fn bound_as(engine: &Engine, spec: &Spec, planned: &Binding) -> Result<Guest, UdfError> {
    let (binding, guest) = bound(engine, spec)?;
    if binding == *planned {
        return Ok(guest);
    }
    let message = Message::new("bound in another way than at plan time, with the same config and input");
    Err(spec.error(message.hint("a function must be pure; report it to its author")))
}

/// The needed columns as a batch has to have them.
pub(super) fn fits(needs: &Arc<Schema>, fields: &Schema) -> bool {
    let same = |(need, field): (&Arc<Field>, &Arc<Field>)| {
        need.name() == field.name() && need.data_type().equals_datatype(field.data_type())
    };
    needs.fields().len() == fields.fields().len() && needs.fields().iter().zip(fields.fields()).all(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_stored_is_refused() {
        let check = |data_type: DataType, nullable: bool, extension: Option<&str>, expected: Option<&str>| {
            let metadata = extension.map(|name| (EXTENSION.to_owned(), name.to_owned()));
            let field = Field::new("a", data_type, nullable)
                .with_metadata(metadata.into_iter().collect::<std::collections::HashMap<_, _>>());
            let nested = Field::new("a", DataType::List(Arc::new(field.clone())), true);
            assert_eq!(storable(&field).err().as_deref(), expected);
            assert_eq!(storable(&nested).err().as_deref(), expected);
        };
        check(DataType::Int64, false, None, None);
        check(DataType::FixedSizeBinary(16), false, Some("arrow.uuid"), None);
        check(DataType::Int64, false, Some("ours"), None);
        check(
            DataType::Int64,
            false,
            Some("arrow.uuid"),
            Some("has the column `a` of type Int64 as arrow.uuid, which is not supported"),
        );
        check(DataType::Null, false, None, Some("has the column `a` of type null that is not nullable"));
    }
}
