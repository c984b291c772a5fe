//! One function of a component, with its config, bound to columns.

use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use serde_json::Value;

use super::trial::Trial;
use crate::message::{Message, Refused};
use crate::plan::{self, config_schema};
use crate::text::line;
use crate::udf::{Component, Engine, Function, Limits, Spec, UdfError};

/// Which function, and what it runs with.
pub struct Asked<'a> {
    /// The component.
    pub file: &'a Path,
    /// The function's name; none if the component offers one.
    pub function: Option<&'a str>,
    /// Its config, a table.
    pub config: Value,
}

/// A function that was asked for, and what it runs with.
pub struct Chosen {
    engine: Arc<Engine>,
    component: Component,
    function: Function,
    config: Value,
}

impl Chosen {
    /// Loads the component, and chooses.
    pub fn load(engine: Arc<Engine>, asked: Asked<'_>) -> Result<Chosen, Refused> {
        let component = load(&engine, asked.file)?;
        let function = choose(&component, asked.function)?.clone();
        check_config(&function, &asked.config, asked.file)?;
        Ok(Chosen { engine, component, function, config: asked.config })
    }

    /// What the component says of it.
    pub fn function(&self) -> &Function {
        &self.function
    }

    /// Where it comes from.
    pub fn component(&self) -> &Component {
        &self.component
    }

    /// Binds the function to these columns.
    pub(super) fn bind(&self, input: SchemaRef) -> Result<Trial, Refused> {
        let columns = SchemaRef::clone(&input);
        let spec = Spec {
            component: self.component.clone(),
            function: self.function.name.clone(),
            config: self.config.clone(),
            input,
            limits: Limits::default(),
            stage: LABEL.into(),
            lines: Arc::default(),
        };
        Trial::new(&self.engine, spec).map_err(|error| match error {
            UdfError::Columns { mismatch, .. } => Refused(whole(plan::explained_by_hand(&self.function, &mismatch))),
            UdfError::Unbound { .. } => match plan::foreseen_by_hand(&self.function, &columns) {
                Some(message) => Refused(whole(message)),
                None => Refused(Message::of(&error).hint(UNBOUND_HINT)),
            },
            other => other.into(),
        })
    }
}

/// What messages call the one stage.
pub const LABEL: &str = "udf";

const UNBOUND_HINT: &str =
    "check --config and the columns of --input; `wasmpipe udf inspect` shows what the function takes";

/// Loads a component that a command names.
pub(super) fn load(engine: &Engine, file: &Path) -> Result<Component, Refused> {
    Component::load(engine, file).map_err(|error| match error {
        UdfError::Read { .. } if !file.exists() => Refused(plan::missing_by_hand(file)),
        UdfError::Read { ref source, .. } if source.kind() != std::io::ErrorKind::PermissionDenied => {
            Refused(Message::of(&error).hint("name the component's .wasm file"))
        }
        other => other.into(),
    })
}

/// What the function's own schema says about its config.
fn check_config(function: &Function, config: &Value, file: &Path) -> Result<(), Refused> {
    let Some(schema) = &function.config else { return Ok(()) };
    let mistakes = config_schema::mistakes(schema, config);
    let all = format!("`wasmpipe udf inspect {}` shows what the function takes", file.display());
    let hint = |mistake: &config_schema::Mistake| match (&mistake.hint, &mistake.doc) {
        (Some(hint), _) => Some(hint.clone()),
        (None, Some(doc)) => Some(format!("the author says about it: {doc}")),
        (None, None) => None,
    };
    let name = &function.name;
    match mistakes.as_slice() {
        [] => Ok(()),
        [one] => {
            let hint = hint(one).unwrap_or(all);
            Err(Refused::new(format!("--config: `{name}`: {}", one.what), hint))
        }
        many => {
            let each = |mistake: &config_schema::Mistake| match hint(mistake) {
                Some(hint) => format!("\n  {}; {hint}", mistake.what),
                None => format!("\n  {}", mistake.what),
            };
            let lines: String = many.iter().map(each).collect();
            Err(Refused::new(format!("--config does not fit `{name}`:{lines}"), all))
        }
    }
}

/// A message with its table as the text of an error.
fn whole(message: Message) -> Message {
    let details: String = message.details.iter().map(|line| format!("\n  {line}")).collect();
    Message { what: format!("{}{details}", message.what), details: Vec::new(), ..message }
}

fn choose<'a>(component: &'a Component, asked: Option<&str>) -> Result<&'a Function, Refused> {
    let functions = component.functions();
    let path = component.path().display();
    let offers = || functions.iter().map(|f| format!("{} ({})", line(&f.name), f.kind)).collect::<Vec<_>>().join(", ");
    match (asked, functions) {
        (None, [one]) => Ok(one),
        (None, _) => Err(Refused::new(
            format!("{path} offers several functions"),
            format!("choose with --function: {}", offers()),
        )),
        (Some(name), _) => functions
            .iter()
            .find(|function| function.name == name)
            .ok_or_else(|| Refused::new(format!("{path} has no function `{name}`"), format!("it offers {}", offers()))),
    }
}
