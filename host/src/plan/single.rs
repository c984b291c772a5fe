//! The plan of one function that is run by hand, without source, sink or checkpoint: a stage whose input is all there is,
//! and whose output is wanted in full.

use std::sync::Arc;

use super::chain::{self, Link};
use super::{Isolation, OnError, Stage};
use crate::udf::{self, UdfError};

/// One function, agreed with its input.
pub struct Single {
    /// As a pipeline would have it.
    pub stage: Stage,
    /// Places in the stage's output of the columns in the order in which a sink would write them.
    pub sink_columns: Vec<usize>,
}

/// Binds the function to `spec.input`.
pub fn single(engine: &udf::Engine, spec: udf::Spec) -> Result<Single, UdfError> {
    let binding = udf::bind(engine, &spec)?;
    let after = chain::after(&spec.input, &binding.adds);
    let names: Vec<String> = after.fields().iter().map(|field| field.name().clone()).collect();
    let needs = binding.needs.fields().iter().map(|field| field.name().clone()).collect();
    let link = Link { needs, adds: Arc::clone(&binding.adds) };
    let (_, mut places) = chain::link(&spec.input, &names, &[link], &names);
    let chain::Places { needs, carry, adds, output } = places.pop().expect("one for each link");
    let sink_columns = names.iter().map(|name| output.index_of(name).expect("all columns are kept")).collect();
    let label = spec.stage.clone();
    // What can be told of a person's rows is told, the rest is said to be left.
    let isolation = Isolation { skips_unseparated: true, ..Isolation::of_block_time(spec.limits.block_time_max) };
    let (line, on_error) = (0, OnError::Skip);
    let stage = Stage { label, line, spec: Arc::new(spec), binding, needs, carry, adds, output, on_error, isolation };
    Ok(Single { stage, sink_columns })
}
