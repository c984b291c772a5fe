//! `lookup`: a table in the config, built once per instance, asked for every row.
//!
//! The table travels in the pipeline file, so it suits thousands of entries, not millions: what is larger is a join,
//! which wasmpipe does not do.

use std::collections::hash_map::Entry;

use rustc_hash::FxHashMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wasmpipe_sdk::{State, map};

/// The config of [`lookup`].
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub struct LookupConfig {
    /// The table: pairs of a key and its value, such as `[["de", "German"], ["fr", "French"]]`. No key twice.
    pub pairs: Vec<(String, String)>,
    /// What a key that is not in the table gives.
    pub misses: Misses,
    /// The value of missing keys under `misses = "default"`.
    pub default: Option<String>,
}

/// What a key that is not in the table gives.
#[derive(Deserialize, Serialize, JsonSchema, Default, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Misses {
    /// Null.
    #[default]
    Null,
    /// The value of `default`.
    Default,
    /// A row error that names the key.
    Error,
}

/// The table, ready to be asked.
pub struct Table {
    // The table decides which keys share a slot, not the rows: a fast hash without a secret is safe here.
    values: FxHashMap<String, String>,
    misses: Misses,
    default: Option<String>,
}

impl State for Table {
    type Config = LookupConfig;

    fn new(config: LookupConfig) -> Result<Table, String> {
        let LookupConfig { pairs, misses, default } = config;
        match (misses, &default) {
            (Misses::Default, None) => return Err("misses = \"default\" needs a `default`".to_owned()),
            (Misses::Null | Misses::Error, Some(_)) => {
                return Err("`default` is only used with misses = \"default\"".to_owned());
            }
            _ => {}
        }
        Ok(Table { values: unique(pairs)?, misses, default })
    }
}

fn unique(pairs: Vec<(String, String)>) -> Result<FxHashMap<String, String>, String> {
    let mut values = FxHashMap::with_capacity_and_hasher(pairs.len(), Default::default());
    for (key, value) in pairs {
        match values.entry(key) {
            Entry::Occupied(entry) => return Err(format!("pairs: the key {:?} is there twice", entry.key())),
            Entry::Vacant(entry) => drop(entry.insert(value)),
        }
    }
    Ok(values)
}

/// The value that the table in the config has for `key`.
///
/// `pairs` is the table. A key that is not in it gives null, the value of `default`, or a row error, as `misses` says
/// (`"null"`, `"default"`, `"error"`; null unless given). A null key gives null. Keys are compared exactly, byte by byte.
#[map]
pub fn lookup<'a>(key: Option<&str>, #[state] table: &'a Table) -> Result<Option<&'a str>, String> {
    let Some(key) = key else { return Ok(None) };
    match (table.values.get(key), table.misses) {
        (Some(value), _) => Ok(Some(value)),
        (None, Misses::Null) => Ok(None),
        (None, Misses::Default) => Ok(table.default.as_deref()),
        (None, Misses::Error) => Err(format!("the key {:?} is not in the table", shortened(key))),
    }
}

/// A key may be as long as a text; a message may not.
fn shortened(key: &str) -> &str {
    const KEY_BYTES_MAX: usize = 100;
    &key[..key.floor_char_boundary(KEY_BYTES_MAX)]
}

wasmpipe_sdk::export!(lookup);

#[cfg(test)]
mod tests {
    use super::*;

    fn table(misses: Misses, default: Option<&str>) -> Result<Table, String> {
        let pairs = [("de", "German"), ("fr", "French"), ("", "none")];
        let pairs = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
        Table::new(LookupConfig { pairs, misses, default: default.map(str::to_owned) })
    }

    #[test]
    fn keys_that_are_there() {
        let table = table(Misses::Error, None).expect("a table");
        assert_eq!(lookup(Some("de"), &table), Ok(Some("German")));
        assert_eq!(lookup(Some(""), &table), Ok(Some("none")));
        assert_eq!(lookup(None, &table), Ok(None));
    }

    #[test]
    fn keys_that_are_not() {
        assert_eq!(lookup(Some("DE"), &table(Misses::Null, None).expect("a table")), Ok(None));
        assert_eq!(lookup(Some("it"), &table(Misses::Default, Some("?")).expect("a table")), Ok(Some("?")));
        let error = table(Misses::Error, None).expect("a table");
        assert_eq!(lookup(Some("it"), &error), Err("the key \"it\" is not in the table".to_owned()));
        let long = lookup(Some(&"ä".repeat(1_000_000)), &error).expect_err("not there");
        assert!(long.len() < 200, "{long}");
    }

    #[test]
    fn configs_that_contradict_themselves() {
        let message = |table: Result<Table, String>| table.err().expect("refused");
        assert_eq!(message(table(Misses::Default, None)), "misses = \"default\" needs a `default`");
        assert_eq!(message(table(Misses::Null, Some("x"))), "`default` is only used with misses = \"default\"");
        let pairs = vec![("a".to_owned(), "1".to_owned()), ("a".to_owned(), "2".to_owned())];
        let doubled = Table::new(LookupConfig { pairs, ..LookupConfig::default() });
        assert_eq!(message(doubled), "pairs: the key \"a\" is there twice");
    }
}
