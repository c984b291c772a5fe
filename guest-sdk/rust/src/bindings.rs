//! The WIT world, on wasm32 only: the exports of every component that `export!` makes, and the imports of the host.

wit_bindgen::generate!({
    path: "../../wit/udf.wit",
    world: "arrow-udf",
    pub_export_macro: true,
    export_macro_name: "export_component",
    default_bindings_module: "wasmpipe_sdk::bindings",
});

use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::Once;

use self::exports::wasmpipe::udf::{blocks, functions};
use crate::component::{self, Instance, WireAnswer, WireLineage};
use crate::function::{Function, RowError};
use crate::log::{self, Level};

/// What `export!` fills in.
pub trait Offers {
    const FUNCTIONS: &'static [Function];
}

/// The exports of a component that offers `C::FUNCTIONS`.
pub struct Exports<C>(PhantomData<C>);

thread_local! {
    static BOUND: RefCell<Option<Instance>> = const { RefCell::new(None) };
}

impl<C: Offers> functions::Guest for Exports<C> {
    fn describe() -> String {
        log_panics();
        component::describe(C::FUNCTIONS)
    }
}

impl<C: Offers> blocks::Guest for Exports<C> {
    fn bind(function: String, input_schema: Vec<u8>, config: String) -> Result<blocks::Binding, String> {
        log_panics();
        if BOUND.with_borrow(Option::is_some) {
            return Err("bind was called twice on one instance".to_owned());
        }
        let (instance, binding) = Instance::bind(C::FUNCTIONS, &function, &input_schema, &config)?;
        BOUND.set(Some(instance));
        Ok(blocks::Binding { needs: binding.needs, adds: binding.adds })
    }

    fn process(block: Vec<u8>) -> Result<blocks::Answer, String> {
        BOUND.with_borrow_mut(|bound| match bound {
            Some(instance) => instance.process(block).map(into_answer),
            None => Err("process was called before bind".to_owned()),
        })
    }
}

fn into_answer(answer: WireAnswer) -> blocks::Answer {
    blocks::Answer {
        batch: answer.batch,
        lineage: match answer.lineage {
            WireLineage::Same => blocks::Lineage::Same,
            WireLineage::Kept(bitmap) => blocks::Lineage::Kept(bitmap),
            WireLineage::Counts(counts) => blocks::Lineage::Counts(counts),
        },
        errors: answer.errors.into_iter().map(into_row_error).collect(),
    }
}

fn into_row_error(error: RowError) -> blocks::RowError {
    blocks::RowError { row: error.row, message: error.message }
}

// A panic ends in a trap, which says nothing; its message goes to the host first.
fn log_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(|panic| log::line(Level::Error, &panic.to_string()))));
}

pub(crate) mod sink {
    use super::wasmpipe::udf::host;
    use crate::log::Level;

    pub(crate) fn line(level: Level, message: &str) {
        let level = match level {
            Level::Trace => host::Level::Trace,
            Level::Debug => host::Level::Debug,
            Level::Info => host::Level::Info,
            Level::Warn => host::Level::Warn,
            Level::Error => host::Level::Error,
        };
        host::log(level, message);
    }

    pub(crate) fn count(name: &str, delta: u64) {
        host::count(name, delta);
    }
}
