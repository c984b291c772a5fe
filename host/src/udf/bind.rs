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
        Disagreement::Says(what) => spec.error(what),
        Disagreement::Refuses(what) => UdfError::Unbound {
            stage: spec.stage.clone(),
            function: spec.function.clone(),
            path: spec.component.path().to_owned(),
            what,
        },
        Disagreement::Columns(mismatch) => UdfError::Columns {
            stage: spec.stage.clone(),
            function: spec.function.clone(),
            path: spec.component.path().to_owned(),
            mismatch: Box::new(mismatch),
        },
    })
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

/// Why there is no binding.
enum Disagreement {
    /// Continues a sentence whose subject is the function.
    Says(String),
    /// The same, of what the function did when it was told its config and its input.
    Refuses(String),
    Columns(Mismatch),
}

impl From<String> for Disagreement {
    fn from(what: String) -> Self {
        Self::Says(what)
    }
}

fn agree(engine: &Engine, spec: &Spec) -> Result<(Binding, Guest), Disagreement> {
    let function = find(spec)?;
    let seen = seen(&spec.input);
    let crossing: Vec<_> = seen.fields().iter().filter(|field| wasmpipe_wire::crosses(field)).cloned().collect();
    let input = wasmpipe_wire::fields_of(&Schema::new(crossing)).expect("these cross");
    let label = (spec.stage.as_str(), spec.function.as_str());
    let mut guest = Guest::start(engine, spec.component.startable(), &spec.limits, Phase::Bind, label, &spec.lines)
        .map_err(|fault| format!("does not start: it {}", fault.message()))?;
    let answer = guest
        .bind(&function.name, &input, &spec.config())
        .map_err(|fault| Disagreement::Refuses(format!("does not bind: it {}", fault.message())))?;
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

fn misbound(part: &str, defect: &str) -> String {
    format!(
        "binds wrongly: its schema `{part}` {defect}\nhint: this is a defect of the function; report it to its author"
    )
}

fn check_names(part: &str, schema: &Schema) -> Result<(), String> {
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
