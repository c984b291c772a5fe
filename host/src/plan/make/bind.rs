//! What flows: components and their functions, the columns from stage to stage, the id columns, what the sink gets.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::super::chain::{self, Link};
use super::super::{Isolation, OnError, Stage, columns, config_schema, nearby};
use super::Draft;
use super::places::is_missing;
use super::settings::{isolation, limits_of, on_error};
use crate::annotations;
use crate::config::{self, At, Place, list, nearest, shown};
use crate::filter;
use crate::message::Message;
use crate::udf;

/// Functions of a component that a message lists.
const FUNCTIONS_MAX: usize = 12;

/// A stage whose function has agreed to its input.
pub(super) struct Bound {
    pub(super) spec: udf::Spec,
    binding: udf::Binding,
    line: u32,
    on_error: OnError,
    isolation: Isolation,
}

impl Bound {
    pub(super) fn link(&self) -> Link {
        let needs = self.binding.needs.fields().iter().map(|field| field.name().clone()).collect();
        Link { needs, adds: Arc::clone(&self.binding.adds) }
    }

    /// `answers`: how many times what one answer may be those to a block may be.
    pub(super) fn stage(self, places: chain::Places, answers: u64) -> Stage {
        let chain::Places { needs, carry, adds, output } = places;
        let Bound { mut spec, binding, line, on_error, isolation } = self;
        spec.limits.block_answers_max = answers;
        let label = format!("{} ({})", spec.stage, spec.function);
        Stage { label, line, spec: Arc::new(spec), binding, needs, carry, adds, output, on_error, isolation }
    }
}

/// What binding came to.
pub(super) struct Bindings {
    /// The stages that are bound.
    pub(super) bound: Vec<Bound>,
    /// The columns after the last stage, if all are known.
    pub(super) last: Option<SchemaRef>,
    /// The names of columns that bound stages need.
    pub(super) wanted: Vec<String>,
}

/// A function where the pipeline file uses it.
struct Used<'a> {
    index: usize,
    stage: &'a config::Stage,
    written: &'a At<String>,
    function: &'a udf::Function,
}

/// Columns on their way, and who made them.
struct Known {
    schema: SchemaRef,
    makers: HashMap<String, String>,
}

impl Known {
    fn of_source(schema: &SchemaRef) -> Known {
        let makers = schema.fields().iter().map(|field| (field.name().clone(), "the source".to_owned()));
        Known { schema: Arc::clone(schema), makers: makers.collect() }
    }

    fn after(mut self, used: &Used<'_>, adds: &Schema) -> Known {
        let maker = format!("stage {} ({})", used.index + 1, used.function.name);
        self.makers.extend(adds.fields().iter().map(|field| (field.name().clone(), maker.clone())));
        Known { schema: chain::after(&self.schema, adds), makers: self.makers }
    }
}

impl Draft<'_> {
    /// The component of every stage, if it can be used.
    pub(super) fn components(&mut self) -> Vec<Option<udf::Component>> {
        let config = self.config;
        let mut loaded: Vec<Option<udf::Component>> = Vec::new();
        for stage in &config.stages {
            let component =
                stage.component.as_ref().and_then(|written| self.component(written, &limits_of(stage), &loaded));
            loaded.push(component);
        }
        loaded
    }

    fn component(
        &mut self,
        written: &At<String>,
        limits: &udf::Limits,
        loaded: &[Option<udf::Component>],
    ) -> Option<udf::Component> {
        let path = self.path(&written.value);
        if let Some(known) = loaded.iter().flatten().find(|component| component.path() == path) {
            return Some(known.clone());
        }
        match udf::Component::load_for_stage(&self.options.engine, &path, limits) {
            Ok(component) => Some(component),
            Err(_) if is_missing(&path) => {
                self.problem(written, nearby::missing(&written.value, &path, &self.folder_of_file()));
                None
            }
            Err(_) if path.is_dir() => {
                let hint = match path.join("Cargo.toml").is_file() {
                    true => format!(
                        "`wasmpipe udf build {}` makes a component of this crate; name that",
                        shown(&written.value)
                    ),
                    false => "name the component's .wasm file".to_owned(),
                };
                self.problem(written, Message::new(format!("`{}` is a folder", shown(&written.value))).hint(hint));
                None
            }
            Err(error) => {
                self.problem(written, Message::of(&error));
                None
            }
        }
    }

    pub(super) fn id_fields(&mut self, schema: Option<&Schema>) -> Option<Vec<Field>> {
        let config = self.config;
        let (written, schema) = (config.source.id.as_ref()?, schema?);
        let mut fields = Vec::new();
        for name in &written.value {
            match schema.field_with_name(&name.value) {
                Err(_) => {
                    let message = Message::new(format!("the source has no column `{}`", shown(&name.value)));
                    self.problem(name, message.hint(self.columns_hint(&name.value, schema)));
                }
                Ok(field) if !filter::is_supported(field.data_type()) => {
                    let message = format!("column `{}` is {}, which cannot be an id", name.value, field.data_type());
                    self.problem(name, Message::new(message).hint(format!("ids are {}", filter::supported())));
                }
                Ok(field) => fields.push(Field::new(field.name(), field.data_type().clone(), false)),
            }
        }
        Some(fields)
    }

    /// Binds stage after stage, as far as the columns are known.
    pub(super) fn bind(&mut self, components: &[Option<udf::Component>], source: Option<&SchemaRef>) -> Bindings {
        let config = self.config;
        let mut columns = source.map(Known::of_source);
        let mut bindings = Bindings { bound: Vec::new(), last: None, wanted: Vec::new() };
        for (index, (stage, component)) in config.stages.iter().zip(components).enumerate() {
            let before = columns.take();
            let (Some(component), Some(written)) = (component, &stage.function) else { continue };
            let Some(function) = self.function(index, written, component) else { continue };
            let is_good = self.check_config(stage, written, function);
            let Some(before) = before else { continue };
            let used = Used { index, stage, written, function };
            columns = if is_good {
                self.bind_one(&used, component, before, &mut bindings)
            } else {
                self.foresee(&used, before)
            };
        }
        bindings.last = columns.map(|known| known.schema);
        bindings
    }

    fn function<'c>(
        &mut self,
        index: usize,
        written: &At<String>,
        component: &'c udf::Component,
    ) -> Option<&'c udf::Function> {
        let functions = component.functions();
        let found = functions.iter().find(|function| function.name == written.value);
        if found.is_none() {
            let names: Vec<&str> = functions.iter().map(|function| function.name.as_str()).collect();
            let offers = match names.as_slice() {
                [] => "the component offers none".to_owned(),
                names if names.len() <= FUNCTIONS_MAX => format!("the component offers {}", list(names, "and")),
                names => format!("the component offers {} and others", names[..FUNCTIONS_MAX].join(", ")),
            };
            let meant = nearest(&written.value, names.iter().copied());
            let hint = meant.map_or(offers.clone(), |meant| format!("did you mean \"{meant}\"? {offers}"));
            let file = component.path().file_name().unwrap_or_default().to_string_lossy();
            let message = format!("stage {}: {file} has no function `{}`", index + 1, shown(&written.value));
            self.problem(written, Message::new(message).hint(hint));
        }
        found
    }

    /// What the function's own schema says about its config. Answers whether it may be bound with it.
    fn check_config(&mut self, stage: &config::Stage, written: &At<String>, function: &udf::Function) -> bool {
        let nothing = serde_json::json!({});
        let settings = stage.config.as_ref();
        if settings.is_some_and(|settings| !settings.value.is_whole) {
            return false;
        }
        let Some(schema) = &function.config else { return true };
        let value = settings.map_or(&nothing, |settings| &settings.value.value);
        let mistakes = config_schema::mistakes(schema, value);
        for mistake in &mistakes {
            let place = settings.and_then(|settings| settings.value.place(&mistake.pointer));
            let span = match place {
                Some(Place { key: Some(key), .. }) if mistake.is_key => key,
                Some(place) => &place.value,
                None => settings.map_or(&written.span, |settings| &settings.span),
            };
            let message = Message::new(format!("`{}`: {}", function.name, mistake.what));
            let file = stage.component.as_ref().map_or("FILE", |component| &component.value);
            let all = || format!("`wasmpipe udf inspect {}` shows what the function takes", shown(file));
            let hint = match (&mistake.hint, &mistake.doc) {
                (Some(hint), _) => hint.clone(),
                (None, Some(doc)) => format!("the author says about it: {doc}"),
                (None, None) => all(),
            };
            self.problem_at(span, message.hint(hint));
        }
        mistakes.is_empty()
    }

    /// The columns after the stage, if they are known.
    fn bind_one(
        &mut self,
        used: &Used<'_>,
        component: &udf::Component,
        before: Known,
        bindings: &mut Bindings,
    ) -> Option<Known> {
        let Used { index, stage, written, .. } = *used;
        let spec = udf::Spec {
            component: component.clone(),
            function: written.value.clone(),
            config: stage.config.as_ref().map_or_else(|| serde_json::json!({}), |config| config.value.value.clone()),
            input: annotations::bare(&before.schema),
            limits: limits_of(stage),
            stage: format!("stage {}", index + 1),
            lines: Arc::default(),
        };
        match udf::bind(&self.options.engine, &spec) {
            Ok(binding) => {
                let after = before.after(used, &binding.adds);
                bindings.wanted.extend(binding.needs.fields().iter().map(|field| field.name().clone()));
                let (on_error, isolation) = (on_error(stage.on_error()), isolation(stage, &spec.limits));
                bindings.bound.push(Bound { spec, binding, line: written.line, on_error, isolation });
                Some(after)
            }
            Err(udf::UdfError::Columns { mismatch, .. }) => {
                self.mismatch(used, &before, &mismatch);
                Some(before.after(used, &mismatch.adds))
            }
            // A function that refuses because of its columns may not say it as well as the host can.
            Err(error) => {
                let problems_before = self.problems.len();
                let after = self.foresee(used, before);
                if self.problems.len() == problems_before {
                    let config = stage.config.as_ref().map(|settings| &settings.span);
                    let span = config.filter(|_| matches!(error, udf::UdfError::Unbound { .. }));
                    self.problem_at(span.unwrap_or(&written.span), Message::of(&error));
                }
                after
            }
        }
    }

    /// A function that cannot be bound yet: checks its columns as the component describes them.
    fn foresee(&mut self, used: &Used<'_>, before: Known) -> Option<Known> {
        let (needs, adds) = foreseen(used.function)?;
        if let Some(mismatch) = udf::Mismatch::find(&needs, &adds, &before.schema) {
            self.mismatch(used, &before, &mismatch);
        }
        Some(before.after(used, &adds))
    }

    fn mismatch(&mut self, used: &Used<'_>, before: &Known, mismatch: &udf::Mismatch) {
        self.problem(used.written, columns::explained(used.index, used.function, mismatch, &before.makers));
    }

    pub(super) fn sink_columns(&mut self, last: Option<&Schema>) -> Vec<String> {
        let config = self.config;
        let Some(last) = last else { return Vec::new() };
        let Some(written) = &config.sink.columns else {
            return last.fields().iter().map(|field| field.name().clone()).collect();
        };
        for name in &written.value {
            if last.field_with_name(&name.value).is_err() {
                let message = Message::new(format!("no column `{}` leaves the last stage", shown(&name.value)));
                self.problem(name, message.hint(self.columns_hint(&name.value, last)));
            }
        }
        written.value.iter().map(|name| name.value.clone()).collect()
    }

    fn columns_hint(&self, written: &str, schema: &Schema) -> String {
        if self.folder_keys.iter().any(|key| key == written) {
            return format!(
                "`{}` stands in names of folders only, which are not read: write it into the objects as a column",
                shown(written)
            );
        }
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let there = columns::names(&names);
        match nearest(written, names.iter().copied()) {
            Some(meant) => format!("did you mean `{}`? {there}", shown(meant)),
            None => there,
        }
    }
}

/// The columns of a function as its component describes them; none if that depends on more, or is not understood.
pub fn foreseen(function: &udf::Function) -> Option<(Schema, SchemaRef)> {
    let schema = |columns: &[udf::Column]| {
        let field = |column: &udf::Column| {
            let data_type: DataType = column.data_type.parse().ok()?;
            Some(Field::new(&column.name, data_type, column.nullable))
        };
        columns.iter().map(field).collect::<Option<Vec<Field>>>().map(Schema::new)
    };
    let (needs, adds) = (function.needs.as_deref()?, function.adds.as_deref()?);
    Some((schema(needs)?, Arc::new(schema(adds)?)))
}
