//! Configs: read from JSON, described by JSON Schema, made into state. What the pipeline file says of them is checked by
//! the host before; here is the last word.

use std::marker::PhantomData;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};

/// What a function is given besides its row: built once in each instance, from the config.
///
/// ```
/// use wasmpipe_sdk::{State, map};
///
/// #[derive(serde::Deserialize)]
/// struct Names { names: Vec<String> }
///
/// struct Table(std::collections::HashMap<String, u64>);
///
/// impl State for Table {
///     type Config = Names;
///     fn new(config: Names) -> Result<Table, String> {
///         Ok(Table(config.names.into_iter().zip(0..).collect()))
///     }
/// }
///
/// /// The number of a name.
/// #[map]
/// fn number(name: &str, #[state] table: &Table) -> Option<u64> {
///     table.0.get(name).copied()
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the state of a function",
    label = "not a state",
    note = "implement wasmpipe_sdk::State for it: `type Config = ...; fn new(config: Self::Config) -> Result<Self, String>`",
    note = "what is only read from the pipeline file is `#[config] config: &Config`"
)]
pub trait State: Sized + 'static {
    /// What the pipeline file says.
    type Config: DeserializeOwned;
    /// An error refuses the pipeline.
    fn new(config: Self::Config) -> Result<Self, String>;
}

/// The config of a function that declares one.
pub fn config<T: for<'a> Deserialize<'a>>(json: &str) -> Result<T, String> {
    let value = match parse(json)? {
        Json::Null => Json::Object(serde_json::Map::new()),
        value => value,
    };
    serde_json::from_value(value).map_err(|error| format!("config: {error}"))
}

/// The state of a function that declares one.
pub fn state<T: State>(json: &str) -> Result<T, String> {
    T::new(config(json)?).map_err(|error| format!("config: {error}"))
}

/// The config of a function that declares none.
pub fn no_config(json: &str) -> Result<(), String> {
    match parse(json)? {
        Json::Null => Ok(()),
        Json::Object(map) if map.is_empty() => Ok(()),
        value => Err(format!("config: this function takes none, but was given {value}")),
    }
}

fn parse(json: &str) -> Result<Json, String> {
    serde_json::from_str(json).map_err(|error| format!("config: not JSON: {error}"))
}

/// The JSON Schema of a type, if it has one: in `(&SchemaOf::<T>::new()).schema()` the method of [`Described`] is found
/// first, and that of [`Undescribed`] if `T` is not `JsonSchema`.
#[derive(Debug, Default)]
pub struct SchemaOf<T>(PhantomData<T>);

impl<T> SchemaOf<T> {
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

pub trait Described {
    fn schema(&self) -> Option<Json>;
}

impl<T: JsonSchema> Described for SchemaOf<T> {
    fn schema(&self) -> Option<Json> {
        Some(SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>().to_value())
    }
}

pub trait Undescribed {
    fn schema(&self) -> Option<Json>;
}

impl<T> Undescribed for &SchemaOf<T> {
    fn schema(&self) -> Option<Json> {
        None
    }
}

/// The schema of a function that takes no config.
pub fn no_schema() -> Option<Json> {
    Some(json!({ "type": "object", "properties": {}, "additionalProperties": false }))
}

/// The schema of a config that two types read.
pub fn any_schema(config: Option<Json>, state: Option<Json>) -> Option<Json> {
    match (config, state) {
        (Some(config), Some(state)) if config != state => Some(json!({ "allOf": [config, state] })),
        (config, state) => config.or(state),
    }
}
