//! A guest that breaks the contract's words, one lie at a time. It is written against the WIT bindings and makes nodes
//! and buffers by hand, because the SDK cannot lie.
//!
//! Every function needs a column `n` of int64 and takes a config `{"lie": "..."}`; `lie.rs` lists them. With `none`,
//! or without a config, it keeps the contract: `liar_map` and `liar_flat_map` add `m` (int64, the row's ordinal) and `t`
//! (utf8, `"ok"`), one row each; `liar_filter` keeps every row.

mod lie;

use std::cell::Cell;

use serde::Deserialize;

use exports::wasmpipe::udf::blocks::{self, Binding};
use exports::wasmpipe::udf::functions;
use lie::{Kind, Lie};
use wasmpipe::udf::types::{Field, Node};

wit_bindgen::generate!({
    path: "../../../wit/udf.wit",
    world: "arrow-udf",
});

struct Liar;

thread_local! {
    static BOUND: Cell<Option<(Kind, Lie, u64)>> = const { Cell::new(None) };
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    lie: Lie,
    /// Which bit `bit_flip` flips, counted from the start of the first buffer; modulo the size of all.
    bit: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { lie: Lie::None, bit: 0 }
    }
}

impl functions::Guest for Liar {
    fn describe() -> String {
        let function = |name: &str, kind: &str| {
            let doc = "Keeps or breaks the contract, as the config's `lie` says.";
            serde_json::json!({ "name": name, "kind": kind, "doc": doc })
        };
        let functions =
            [function("liar_map", "map"), function("liar_filter", "filter"), function("liar_flat_map", "flat-map")];
        serde_json::json!({ "functions": functions }).to_string()
    }
}

impl blocks::Guest for Liar {
    fn bind(function: String, _input: Vec<Field>, config: String) -> Result<Binding, String> {
        let kind = match function.as_str() {
            "liar_map" => Kind::Map,
            "liar_filter" => Kind::Filter,
            "liar_flat_map" => Kind::FlatMap,
            _ => return Err(format!("no function `{function}`")),
        };
        let config: Config = serde_json::from_str(&config).map_err(|error| format!("config: {error}"))?;
        BOUND.set(Some((kind, config.lie, config.bit)));
        Ok(lie::bind(kind, config.lie))
    }

    fn process(rows: u32, _nodes: Vec<Node>, _buffers: Vec<Vec<u8>>) -> Result<(), String> {
        let (kind, lie, bit) = BOUND.get().ok_or("process was called before bind")?;
        lie::tell(kind, lie, bit, rows);
        Ok(())
    }
}

// Its symbols have names that a native linker does not take.
#[cfg(target_arch = "wasm32")]
export!(Liar);
