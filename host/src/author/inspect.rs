//! What a component offers, needs and imports.

use std::path::Path;

use super::chosen;
use crate::message::Refused;
use crate::plan::config_schema::{self, Budget, Keys};
use crate::udf::{Component, Engine, Function};

/// A component, with what people want to know of the configs of its functions.
pub struct Inspected {
    /// The component.
    pub component: Component,
    /// Of each function the keys of its config, if it says any.
    pub keys: Vec<Option<Keys>>,
}

/// Loads the component and reads what it says.
pub fn inspect(engine: &Engine, file: &Path) -> Result<Inspected, Refused> {
    let component = chosen::load(engine, file)?;
    let keys = keys(component.functions());
    Ok(Inspected { component, keys })
}

/// All functions of a component have one budget.
pub fn keys(functions: &[Function]) -> Vec<Option<Keys>> {
    let mut budget = Budget::default();
    let of = |function: &Function| Some(config_schema::keys(function.config.as_ref()?, &mut budget));
    functions.iter().map(of).collect()
}
