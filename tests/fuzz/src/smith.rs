//! WebAssembly that `wasm-smith` makes of any bytes: of all instructions that the engine takes, on their way to anywhere.

use std::convert::Infallible;

use arbitrary::{Result, Unstructured};
use wasm_encoder::AbstractHeapType as Heap;
use wasm_encoder::reencode::{Error, Reencode};
use wasm_smith::Config;

/// What the code can import: all that the skeleton has.
const IMPORTS: &str = r#"(module
    (import "memory" "memory" (memory 1))
    (import "memory" "realloc" (func (param i32 i32 i32 i32) (result i32)))
    (import "host" "answer" (func (param i32 i32 i32 i32 i32 i32 i32 i32 i32)))
    (import "host" "log" (func (param i32 i32 i32)))
    (import "host" "count" (func (param i32 i32 i64))))"#;
const EXPORTS: &str = r#"(module (func (export "run") (param i32 i32 i32 i32 i32) (result i32) (i32.const 0)))"#;

/// A module that imports what the skeleton has and exports `run`.
pub(crate) fn module(bytes: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    // Code that may trap does so at once, mostly; what lies behind is for code that may not.
    let disallow_traps = bytes.arbitrary()?;
    let (available_imports, exports) = (parsed(IMPORTS), parsed(EXPORTS));
    let config = Config { available_imports, exports, disallow_traps, ..config() };
    Ok(without_externref(&wasm_smith::Module::new(config, bytes)?.to_bytes()))
}

/// A component with anything in it.
pub(crate) fn component(bytes: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let config = Config { reference_types_enabled: false, ..config() };
    Ok(wasm_smith::Component::new(config, bytes)?.to_bytes())
}

fn parsed(text: &str) -> Option<Vec<u8>> {
    Some(wat::parse_str(text).expect("a module"))
}

/// What the engine takes; and small, as most of it is compiled and never run. Memories and tables come near the limits that
/// the components run with, and seldom go past them.
fn config() -> Config {
    Config {
        gc_enabled: false,
        exceptions_enabled: false,
        threads_enabled: false,
        memory64_enabled: false,
        max_memory32_bytes: 16 << 20,
        max_table_elements: 1 << 20,
        max_funcs: 10,
        max_instructions: 200,
        ..Config::default()
    }
}

/// The engine is built without a garbage collector, and so has no references to what is the host's. `wasm-smith` makes tables
/// and what works on them with these or not at all, so functions take their place: a module stays valid when two types become
/// one.
fn without_externref(module: &[u8]) -> Vec<u8> {
    let mut out = wasm_encoder::Module::new();
    let copied = Functions.parse_core_module(&mut out, wasmparser::Parser::new(0), module);
    copied.expect("wasm-smith makes modules");
    out.finish()
}

struct Functions;

impl Reencode for Functions {
    type Error = Infallible;

    fn abstract_heap_type(&mut self, of: wasmparser::AbstractHeapType) -> std::result::Result<Heap, Error> {
        let heap = wasm_encoder::reencode::utils::abstract_heap_type(self, of);
        Ok(if heap == Heap::Extern { Heap::Func } else { heap })
    }
}
