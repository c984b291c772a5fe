//! Components of the contract that are made of any bytes, on their way from a file to rows: loaded, asked what they
//! offer, bound, started, called. The first byte says where the code stands that the others become. It is
//! [simple](super::code); with the feature `smith`, as for libFuzzer, half of it is what `wasm-smith` makes.
//!
//! ```text
//! bits 0-2   at start, in describe, in bind, before and after the honest answer of process, in all of them (5), in none
//!            (6), in none, and called by the component model: an adapter, which the host refuses (7)
//! bits 3-4   instances of that code's module, beyond the first
//! bit 5      within a component of its own
//! bit 6      simple code
//! bit 7      beside it, a component with anything in it
//! ```

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use wasmpipe::block::Lineage;
use wasmpipe::message::Hint;
use wasmpipe::pipeline;
use wasmpipe::udf::{Answer, Compiler, Component, Engine, Instance, Limits, Spec, bind};

/// A call may take so long: most loops that are made do not end.
const CALL_TIME_MAX: Duration = Duration::from_millis(20);
/// Until a guest hears that its time is over, on a machine that does other things.
const GRACE: Duration = Duration::from_secs(2);

const SKELETON: &str = include_str!("component.wat");

/// What must hold of a component that is made of any bytes.
pub fn components(data: &[u8]) {
    let Some((shape, component)) = of_bytes(data) else { return };
    let (path, engine) = (file(), &*ENGINE);
    std::fs::write(&path, component).expect("temporary files can be written");
    let limits = Limits {
        block_time_max: CALL_TIME_MAX,
        memory_bytes_max: 8 << 20,
        answer_bytes_max: 1 << 20,
        answer_rows_max: 1 << 10,
        ..Limits::default()
    };
    let loaded = Component::load_for_stage(engine, &path, &limits);
    assert!(loaded.is_err() || !shape.has_adapter(), "an adapter got past the host");
    match loaded {
        Err(error) => assert!(error.hint().is_some(), "{error}"),
        Ok(component) => drop(run(engine, component, limits)),
    }
}

/// Errors are as good as answers.
fn run(engine: &Engine, component: Component, limits: Limits) -> Result<(), String> {
    let rows = rows(&[Some(3), None, Some(i64::MIN)]);
    let function = component.functions()[0].name.clone();
    let (config, stage) = (serde_json::json!({}), "stage 1".to_owned());
    let spec =
        Arc::new(Spec { component, function, config, input: rows.schema(), limits, stage, lines: Arc::default() });
    let binding = within(|| bind(engine, &spec)).map_err(|error| error.to_string())?;
    let mut instance = Instance::new(engine, &spec, &binding).map_err(|error| error.to_string())?;
    let rows = wasmpipe::columns::convert_all(rows.columns(), &binding.needs, 3).map_err(|error| error.to_string())?;
    for _ in 0..2 {
        if let Ok(answer) = within(|| instance.process(&rows)) {
            agrees(&answer, 3);
        }
    }
    Ok(())
}

/// Ends soon after the limit on time.
fn within<T>(call: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let result = call();
    let took = begun.elapsed();
    // A guest that has to start anew has two calls' time.
    assert!(took < 2 * CALL_TIME_MAX + GRACE, "a call took {took:?}");
    result
}

/// An answer says of each row what became of it.
fn agrees(answer: &Answer, rows: usize) {
    let failed = answer.errors.len();
    assert!(answer.errors.iter().all(|error| (error.row as usize) < rows), "{answer:?}");
    let given = match &answer.lineage {
        Lineage::Same => rows - failed,
        Lineage::Kept(kept) => kept.count_set_bits(),
        Lineage::Counts(counts) => counts.iter().map(|count| *count as usize).sum(),
    };
    assert!(given == answer.batch.num_rows() || given == answer.batch.num_rows() - failed, "{answer:?}");
    for column in answer.batch.columns() {
        column.to_data().validate_full().expect("columns that left the sandbox are valid");
    }
}

fn rows(numbers: &[Option<i64>]) -> RecordBatch {
    let column: ArrayRef = Arc::new(Int64Array::from(numbers.to_vec()));
    RecordBatch::try_from_iter_with_nullable([("n", column, true)]).expect("one column")
}

/// One engine, with its clock. Compiled in this process: what breaks the compiler is to be found, and is an answer.
static ENGINE: LazyLock<Arc<Engine>> = LazyLock::new(|| {
    let nowhere = std::path::Path::new("/dev/null/cache");
    pipeline::engine_with(nowhere, Compiler::by(None)).expect("an engine")
});

fn file() -> PathBuf {
    let folder = std::env::var_os("WASMPIPE_FUZZ_SCRATCH").map_or_else(std::env::temp_dir, PathBuf::from);
    folder.join(format!("wasmpipe-fuzz-{}.wasm", std::process::id()))
}

/// Where the code stands.
#[derive(Clone, Copy, Debug)]
struct Shape(u8);

impl Shape {
    /// The code's call at one of the places, or nothing.
    fn at(self, place: u8) -> &'static str {
        let places = self.0 & 7;
        if places == place || places == 5 {
            "(drop (call $run (i32.const 3) (i32.const 65536) (i32.const 1) (i32.const 65544) (i32.const 2)))"
        } else {
            ""
        }
    }

    fn instances(self) -> usize {
        usize::from(self.0 >> 3 & 3)
    }

    fn is_nested(self) -> bool {
        self.0 & 0x20 != 0
    }

    fn has_adapter(self) -> bool {
        self.0 & 7 == 7
    }

    #[cfg(feature = "smith")]
    fn is_simple(self) -> bool {
        self.0 & 0x40 != 0
    }

    fn has_company(self) -> bool {
        self.0 & 0x80 != 0
    }

    fn wat(self) -> String {
        let more_instances =
            r#"(core instance (instantiate $made (with "memory" (instance $memory)) (with "host" (instance $host'))))"#;
        let run = if self.has_adapter() { "$lowered" } else { "$made" };
        let pieces = [
            ("{start}", self.at(0)),
            ("{describe}", self.at(1)),
            ("{bind}", self.at(2)),
            ("{before}", self.at(3)),
            ("{after}", self.at(4)),
            ("{more}", &more_instances.repeat(self.instances())),
            ("{between}", if self.has_adapter() { ADAPTER } else { "" }),
            ("{run}", run),
        ];
        pieces.iter().fold(SKELETON.to_owned(), |text, (name, piece)| text.replace(name, piece))
    }
}

/// The code's function is lifted by one component, and lowered for another.
const ADAPTER: &str = r#"
    (component $inner
      (core module $m (func (export "run") (param i32 i32 i32 i32 i32) (result i32) (i32.const 0)))
      (core instance $i (instantiate $m))
      (func (export "run") (param "a" u32) (param "b" u32) (param "c" u32) (param "d" u32) (param "e" u32) (result u32)
        (canon lift (core func $i "run"))))
    (instance $inner (instantiate $inner))
    (core func $run (canon lower (func $inner "run")))
    (core instance $lowered (export "run" (func $run)))"#;

fn of_bytes(data: &[u8]) -> Option<(Shape, Vec<u8>)> {
    let (&shape, rest) = data.split_first()?;
    let shape = Shape(shape);
    let Made { module, company } = made(shape, rest)?;
    let skeleton = wat::parse_str(shape.wat()).expect("the skeleton is a component");
    let mut component = with_first_module(&skeleton, &module);
    if shape.is_nested() {
        component.extend(section(COMPONENT, &[HEADER, &section(MODULE, &module)].concat()));
    }
    if shape.has_company() {
        component.extend(section(COMPONENT, &company));
    }
    Some((shape, component))
}

/// What bytes become.
struct Made {
    /// Imports what the skeleton has, exports `run`.
    module: Vec<u8>,
    /// A component.
    company: Vec<u8>,
}

/// Of code that anything may be in with the feature `smith`, else of simple code.
#[cfg(feature = "smith")]
fn made(shape: Shape, bytes: &[u8]) -> Option<Made> {
    if shape.is_simple() {
        return Some(simple(bytes));
    }
    let mut bytes = arbitrary::Unstructured::new(bytes);
    let module = super::smith::module(&mut bytes).ok()?;
    let company = if shape.has_company() { super::smith::component(&mut bytes).ok()? } else { Vec::new() };
    Some(Made { module, company })
}

#[cfg(not(feature = "smith"))]
#[expect(clippy::unnecessary_wraps, reason = "wasm-smith makes nothing of too few bytes")]
fn made(_shape: Shape, bytes: &[u8]) -> Option<Made> {
    Some(simple(bytes))
}

fn simple(bytes: &[u8]) -> Made {
    let module = super::code::module(bytes);
    let company = [HEADER, &section(MODULE, &module), &section(MODULE, &module)].concat();
    Made { module, company }
}

const HEADER: &[u8] = b"\0asm\x0d\0\x01\0";
const MODULE: u8 = 1;
const COMPONENT: u8 = 4;

/// A component with another module in the place of its first.
fn with_first_module(component: &[u8], module: &[u8]) -> Vec<u8> {
    let (mut at, mut out) = (HEADER.len(), HEADER.to_vec());
    loop {
        let id = component[at];
        let (length, size) = leb(&component[at + 1..]);
        let end = at + 1 + length + size;
        if id == MODULE {
            return [&out, &section(MODULE, module), &component[end..]].concat();
        }
        out.extend_from_slice(&component[at..end]);
        at = end;
    }
}

fn section(id: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![id];
    let mut size = payload.len();
    while size >= 0x80 {
        out.push(size as u8 | 0x80);
        size >>= 7;
    }
    out.push(size as u8);
    [&out, payload].concat()
}

/// A number in LEB128: how many bytes it takes, and what it is.
fn leb(bytes: &[u8]) -> (usize, usize) {
    let length = 1 + bytes.iter().take_while(|byte| **byte >= 0x80).count();
    let number = bytes[..length].iter().rev().fold(0, |number, byte| number << 7 | usize::from(byte & 0x7f));
    (length, number)
}

/// For [`components`]: each place, alone and with company. The bytes behind are what a fixed sequence gives.
pub fn component_seeds() -> Vec<Vec<u8>> {
    let noise = |shape: u8| {
        let mut state = u64::from(shape) + 1;
        let next = move |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        [shape].into_iter().chain((0..600).map(next)).collect()
    };
    [0, 1, 2, 3, 4, 5, 6, 7, 0x1b, 0x23, 0x43, 0x83, 0xbd].map(noise).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_goes_all_the_way() {
        let (limits, path) = (Limits::default(), file().with_extension("honest.wasm"));
        for shape in [3, 0x1b, 0x23] {
            std::fs::write(&path, wat::parse_str(Shape(shape).wat()).unwrap()).unwrap();
            let component = Component::load_for_stage(&ENGINE, &path, &limits).unwrap();
            let rows = rows(&[Some(7)]);
            let spec = Spec {
                component,
                function: "f".to_owned(),
                config: serde_json::json!({}),
                input: rows.schema(),
                limits: limits.clone(),
                stage: "stage 1".to_owned(),
                lines: Arc::default(),
            };
            let binding = bind(&ENGINE, &spec).unwrap();
            let answer = Instance::new(&ENGINE, &Arc::new(spec), &binding).unwrap().process(&rows).unwrap();
            assert_eq!(answer.batch.column(0).as_ref(), rows.column(0).as_ref());
        }
        let refused = std::fs::write(&path, wat::parse_str(Shape(7).wat()).unwrap())
            .map(|()| Component::load_for_stage(&ENGINE, &path, &limits).unwrap_err().to_string());
        assert!(refused.unwrap().contains("call each other by the component model"));
    }
}
