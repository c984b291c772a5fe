//! The WIT world, on wasm32 only: the exports of every component that `export!` makes, and the imports of the host.

wit_bindgen::generate!({
    path: "../../wit/udf.wit",
    world: "arrow-udf",
    pub_export_macro: true,
    export_macro_name: "export_component",
    default_bindings_module: "wasmpipe_sdk::bindings",
    // What goes to the host is lent to it, and not copied first.
    ownership: Borrowing { duplicate_if_necessary: false },
});

use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::{Arc, Once};

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_buffer::BooleanBuffer;
use arrow_schema::Schema;
use wasmpipe_wire::{Parts, assemble_trusted, fields_of, flatten, schema_of};

use self::exports::wasmpipe::udf::{blocks, functions};
use self::wasmpipe::udf::{host, types};
use crate::component::{self, Instance};
use crate::function::{Answer, Function, Lineage, RowError};
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
    fn bind(function: String, input: Vec<types::Field>, config: String) -> Result<blocks::Binding, String> {
        log_panics();
        if BOUND.with_borrow(Option::is_some) {
            return Err("bind was called twice on one instance".to_owned());
        }
        let input = schema_of(&input.into_iter().map(from_wire).collect::<Vec<_>>())
            .map_err(|defect| format!("the input schema {defect}"))?;
        let instance = Instance::bind(C::FUNCTIONS, &function, &input, &config)?;
        let binding = blocks::Binding { needs: to_wire(instance.needs())?, adds: to_wire(instance.adds())? };
        BOUND.set(Some(instance));
        Ok(binding)
    }

    fn process(rows: u32, nodes: Vec<types::Node>, buffers: Vec<Vec<u8>>) -> Result<(), String> {
        BOUND.with_borrow_mut(|bound| match bound {
            Some(instance) => {
                let block = block(instance, rows as usize, nodes, buffers)?;
                give(&instance.process(&block)?)
            }
            None => Err("process was called before bind".to_owned()),
        })
    }
}

fn from_wire(field: types::Field) -> wasmpipe_wire::Field {
    let types::Field { name, format, nullable, children, metadata } = field;
    wasmpipe_wire::Field { name, format, nullable, children, metadata }
}

fn to_wire(schema: &Schema) -> Result<Vec<types::Field>, String> {
    let field = |field| {
        let wasmpipe_wire::Field { name, format, nullable, children, metadata } = field;
        types::Field { name, format, nullable, children, metadata }
    };
    let fields = fields_of(schema).map_err(|defect| format!("its schema {defect}"))?;
    Ok(fields.into_iter().map(field).collect())
}

fn block(
    instance: &Instance,
    rows: usize,
    nodes: Vec<types::Node>,
    buffers: Vec<Vec<u8>>,
) -> Result<RecordBatch, String> {
    let node = |types::Node { length, nulls }| wasmpipe_wire::Node { length, nulls };
    let parts = Parts::new(nodes.into_iter().map(node).collect(), buffers);
    let needs = instance.needs();
    // SAFETY: the host is the only caller on this target. It takes valid columns apart, of the schema agreed at bind.
    let columns = unsafe { assemble_trusted(needs, rows, parts) }.map_err(|defect| format!("the block {defect}"))?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(needs), columns, &options).map_err(|error| error.to_string())
}

/// The host copies from where the columns lie.
fn give(answer: &Answer) -> Result<(), String> {
    let flat = flatten(answer.batch.columns()).map_err(|defect| format!("the answer {defect}"))?;
    let nodes: Vec<_> = flat.nodes.iter().map(|node| types::Node { length: node.length, nulls: node.nulls }).collect();
    let errors: Vec<_> = answer.errors.iter().map(row_error).collect();
    let bitmap;
    let lineage = match &answer.lineage {
        Lineage::Same => types::Lineage::Same,
        Lineage::Kept(kept) => {
            bitmap = bits(kept);
            types::Lineage::Kept(&bitmap)
        }
        Lineage::Counts(counts) => types::Lineage::Counts(counts),
    };
    host::answer(&nodes, &flat.bytes(), lineage, &errors);
    Ok(())
}

fn row_error(error: &RowError) -> types::RowError<'_> {
    types::RowError { row: error.row, message: &error.message }
}

fn bits(kept: &BooleanBuffer) -> Vec<u8> {
    let bits = kept.len();
    let mut bytes = kept.sliced().as_slice()[..bits.div_ceil(8)].to_vec();
    if let (Some(last), rest @ 1..) = (bytes.last_mut(), bits % 8) {
        *last &= (1 << rest) - 1;
    }
    bytes
}

// A panic ends in a trap, which says nothing; its message goes to the host first.
fn log_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(|panic| log::line(Level::Error, &panic.to_string()))));
}

pub(crate) mod sink {
    use super::host;
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
