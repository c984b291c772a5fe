//! What people see when a component is refused, fails or lies, with guests written by hand for the purpose.

#![expect(clippy::needless_pass_by_value, reason = "expectations are written where they are used")]

use crate::block::Lineage;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, ListArray, NullArray, RecordBatch, StringArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Int64Type, IntervalUnit, Schema};
use expect_test::{Expect, expect};
use tempfile::TempDir;

use super::*;

static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new(None, Compiler::by(None)).unwrap());

/// A guest that says what it was told to say.
struct Script {
    describe: String,
    needs: Vec<wasmpipe_wire::Field>,
    adds: Vec<wasmpipe_wire::Field>,
    answer: Say,
    version: &'static str,
    pages: u32,
    /// Instructions that run first in each function; in `process`, `$rows` is the number of rows.
    on_start: String,
    on_bind: String,
    on_process: String,
    extra: String,
}

/// What `process` answers, so many times, and what it returns.
struct Say {
    error: Option<String>,
    times: usize,
    batch: Vec<ArrayRef>,
    /// Tag, and the bytes and number of its elements.
    lineage: (u8, Vec<u8>, usize),
    errors: Vec<(u32, &'static str)>,
}

const SAME: u8 = 0;
const KEPT: u8 = 1;
const COUNTS: u8 = 2;

fn text_schema() -> Schema {
    Schema::new(vec![Field::new("text", DataType::Utf8, true)])
}

fn length_schema() -> Schema {
    Schema::new(vec![Field::new("length", DataType::Int64, false)])
}

fn fields(schema: &Schema) -> Vec<wasmpipe_wire::Field> {
    wasmpipe_wire::fields_of(schema).unwrap()
}

fn lengths(values: &[i64]) -> Vec<ArrayRef> {
    vec![Arc::new(Int64Array::from(values.to_vec()))]
}

fn texts(values: &[&str]) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([("text", Arc::new(StringArray::from(values.to_vec())) as ArrayRef, true)])
        .unwrap()
}

/// The block that most cases are about.
fn block() -> RecordBatch {
    texts(&["one", "three", "five"])
}

impl Script {
    fn new(kind: &str) -> Script {
        Script {
            describe: format!(r#"{{"functions":[{{"name":"f","kind":"{kind}","doc":"Measures.","since":1}}]}}"#),
            needs: fields(&text_schema()),
            adds: fields(&length_schema()),
            answer: Say {
                error: None,
                times: 1,
                batch: lengths(&[3, 5, 4]),
                lineage: (SAME, vec![], 0),
                errors: vec![],
            },
            version: "0.1.0",
            pages: 2,
            on_start: String::new(),
            on_bind: String::new(),
            on_process: String::new(),
            extra: String::new(),
        }
    }

    fn kept(bits: &[u8], batch: &[i64]) -> Script {
        Script::new("filter").lineage(KEPT, bits.to_vec(), bits.len()).batch(lengths(batch))
    }

    fn counts(counts: &[u32], batch: &[i64]) -> Script {
        let bytes = counts.iter().flat_map(|count| count.to_le_bytes()).collect();
        Script::new("flat-map").lineage(COUNTS, bytes, counts.len()).batch(lengths(batch))
    }

    fn lineage(mut self, tag: u8, bytes: Vec<u8>, length: usize) -> Script {
        self.answer.lineage = (tag, bytes, length);
        self
    }

    fn batch(mut self, batch: Vec<ArrayRef>) -> Script {
        self.answer.batch = batch;
        self
    }

    fn errors(mut self, errors: &[(u32, &'static str)]) -> Script {
        self.answer.errors = errors.to_vec();
        self
    }

    fn on_process(mut self, wat: &str) -> Script {
        self.on_process = wat.to_owned();
        self
    }

    fn wasm(&self) -> Vec<u8> {
        wat::parse_str(self.wat()).unwrap()
    }

    fn wat(&self) -> String {
        let mut image = Image::new();
        let describe = image.list(self.describe.as_bytes(), self.describe.len());
        let describe = image.words(&describe);
        let binding = [[0].to_vec(), image.fields(&self.needs), image.fields(&self.adds)];
        let binding = image.words(&binding.concat());
        let result = self.answer.result(&mut image);
        let arguments = self.answer.arguments(&mut image);
        let answer = format!("(call $answer {arguments})").repeat(self.answer.times);
        let Script { version, pages, on_start, on_bind, on_process, extra, .. } = self;
        format!(
            r#"(component
  (import "wasmpipe:udf/host@{version}" (instance $host
    (type $level' (enum "trace" "debug" "info" "warn" "error"))
    (export "level" (type $level (eq $level')))
    (type $node' (record (field "length" u32) (field "nulls" u32)))
    (export "node" (type $node (eq $node')))
    (type $lineage' (variant (case "same") (case "kept" (list u8)) (case "counts" (list u32))))
    (export "lineage" (type $lineage (eq $lineage')))
    (type $row-error' (record (field "row" u32) (field "message" string)))
    (export "row-error" (type $row-error (eq $row-error')))
    (export "answer" (func (param "nodes" (list $node)) (param "buffers" (list (list u8))) (param "lineage" $lineage)
      (param "errors" (list $row-error))))
    (export "log" (func (param "level" $level) (param "message" string)))
    (export "count" (func (param "name" string) (param "delta" u64)))))
  (import "wasi:cli/exit@0.2.0" (instance $exit (export "exit" (func (param "code" u32)))))
  (core module $memory
    (memory (export "memory") {pages})
    (global $top (mut i32) (i32.const 65536))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $start i32)
      (local.set $start (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
      (global.set $top (i32.add (local.get $start) (local.get 3)))
      (block $enough
        (loop $more
          (br_if $enough (i32.le_u (global.get $top) (i32.mul (memory.size) (i32.const 65536))))
          (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))
          (br $more)))
      (local.get $start)))
  (core module $main
    (import "memory" "memory" (memory 1))
    (import "host" "answer" (func $answer (param i32 i32 i32 i32 i32 i32 i32 i32 i32)))
    (import "host" "log" (func $log (param i32 i32 i32)))
    (import "host" "count" (func $count (param i32 i32 i64)))
    (import "host" "exit" (func $exit (param i32)))
    (func $start {on_start})
    (start $start)
    (func $wide (param i32) (result i32)
      (if (result i32) (local.get 0)
        (then (i32.add (call $wide (i32.sub (local.get 0) (i32.const 1)))
                       (call $wide (i32.sub (local.get 0) (i32.const 1)))))
        (else (i32.const 1))))
    (func $tail (return_call $tail))
    (func $deep (param i32) (result i32) (i32.add (i32.const 1) (call $deep (local.get 0))))
    (func (export "describe") (result i32) (i32.const {describe}))
    (func (export "bind") (param i32 i32 i32 i32 i32 i32) (result i32) {on_bind} (i32.const {binding}))
    (func (export "process") (param $rows i32) (param i32 i32 i32 i32) (result i32)
      {on_process} {answer} (i32.const {result}))
    (data (i32.const {base}) "{image}"))
  (core instance $memory (instantiate $memory))
  (core func $answer (canon lower (func $host "answer") (memory (core memory $memory "memory"))))
  (core func $log (canon lower (func $host "log") (memory (core memory $memory "memory"))))
  (core func $count (canon lower (func $host "count") (memory (core memory $memory "memory"))))
  (core func $exit (canon lower (func $exit "exit")))
  (core instance $main (instantiate $main
    (with "memory" (instance $memory))
    (with "host" (instance (export "answer" (func $answer)) (export "log" (func $log)) (export "count" (func $count))
      (export "exit" (func $exit))))))
  (type $field' (record (field "name" string) (field "format" string) (field "nullable" bool) (field "children" u32)
    (field "metadata" (list (tuple string string)))))
  (export $field "field" (type $field'))
  (type $node' (record (field "length" u32) (field "nulls" u32)))
  (export $node "node" (type $node'))
  (type $binding' (record (field "needs" (list $field)) (field "adds" (list $field))))
  (export $binding "binding" (type $binding'))
  (func $describe (result string) (canon lift (core func $main "describe") (memory (core memory $memory "memory"))))
  (func $bind (param "function" string) (param "input" (list $field)) (param "config" string)
    (result (result $binding (error string)))
    (canon lift (core func $main "bind") (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (func $process (param "rows" u32) (param "nodes" (list $node)) (param "buffers" (list (list u8)))
    (result (result (error string)))
    (canon lift (core func $main "process") (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (instance $functions (export "describe" (func $describe)))
  (export "wasmpipe:udf/functions@{version}" (instance $functions))
  (instance $blocks
    (export "field" (type $field)) (export "node" (type $node)) (export "binding" (type $binding))
    (export "bind" (func $bind)) (export "process" (func $process)))
  (export "wasmpipe:udf/blocks@{version}" (instance $blocks)){extra})"#,
            base = Image::BASE,
            image = image.wat(),
        )
    }
}

impl Say {
    fn result(&self, image: &mut Image) -> u32 {
        match &self.error {
            Some(error) => {
                let error = image.list(error.as_bytes(), error.len());
                image.words(&[[1].to_vec(), error].concat())
            }
            None => image.words(&[0; 3]),
        }
    }

    /// What `answer` is called with.
    fn arguments(&self, image: &mut Image) -> String {
        let flat = wasmpipe_wire::flatten(&self.batch).unwrap();
        let nodes: Vec<u32> = flat.nodes.iter().flat_map(|node| [node.length, node.nulls]).collect();
        let buffers: Vec<u32> = flat.bytes().iter().flat_map(|bytes| image.list(bytes, bytes.len())).collect();
        let error = |(row, message): &(u32, &str)| [vec![*row], image.list(message.as_bytes(), message.len())].concat();
        let errors: Vec<u32> = self.errors.iter().flat_map(error).collect();
        let (tag, bytes, length) = &self.lineage;
        let words = [
            image.records(&nodes, 2),
            image.records(&buffers, 2),
            vec![u32::from(*tag)],
            image.list(bytes, *length),
            image.records(&errors, 3),
        ];
        words.concat().iter().fold(String::new(), |text, word| text + &format!("(i32.const {word})"))
    }
}

/// What lies in the guest's memory from the start.
struct Image(Vec<u8>);

impl Image {
    const BASE: u32 = 1024;

    fn new() -> Image {
        Image(Vec::new())
    }

    fn put(&mut self, bytes: &[u8]) -> u32 {
        self.0.resize(self.0.len().next_multiple_of(8), 0);
        let at = Image::BASE + u32::try_from(self.0.len()).unwrap();
        self.0.extend(bytes);
        at
    }

    fn list(&mut self, bytes: &[u8], length: usize) -> Vec<u32> {
        vec![self.put(bytes), u32::try_from(length).unwrap()]
    }

    /// A list of records of so many words each.
    fn records(&mut self, words: &[u32], each: usize) -> Vec<u32> {
        vec![self.words(words), u32::try_from(words.len() / each).unwrap()]
    }

    fn fields(&mut self, fields: &[wasmpipe_wire::Field]) -> Vec<u32> {
        let mut words = Vec::new();
        for field in fields {
            words.extend(self.list(field.name.as_bytes(), field.name.len()));
            words.extend(self.list(field.format.as_bytes(), field.format.len()));
            words.extend([u32::from(field.nullable), field.children, 0, 0]);
        }
        self.records(&words, 8)
    }

    fn words(&mut self, words: &[u32]) -> u32 {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.put(&bytes)
    }

    fn wat(&self) -> String {
        assert!(self.0.len() < 60_000, "the guest's heap starts behind it");
        self.0.iter().fold(String::new(), |mut text, byte| {
            write!(text, "\\{byte:02x}").unwrap();
            text
        })
    }
}

fn unheard_of() -> wasmpipe_wire::Field {
    let (name, format) = ("text".to_owned(), "vu".to_owned());
    wasmpipe_wire::Field { name, format, nullable: true, children: 0, metadata: vec![] }
}

/// A folder with one file in it.
struct File(TempDir);

impl File {
    fn new(bytes: &[u8]) -> File {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("f.wasm"), bytes).unwrap();
        File(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("f.wasm")
    }
}

/// What it says, with what to do about it.
fn said(error: &impl Hint) -> String {
    Message::brief(error).line()
}

fn plain(message: &str, folder: &Path) -> String {
    message.replace(&*folder.to_string_lossy(), "udfs")
}

fn refused(bytes: &[u8], expected: Expect) {
    let file = File::new(bytes);
    let error = Component::load(&ENGINE, &file.path()).unwrap_err();
    expected.assert_eq(&plain(&said(&error), file.0.path()));
}

#[test]
fn s1_who_says_what_it_offers_obeys_the_limits_of_its_stage() {
    let _clock = Clock::start();
    let file = File::new(&Script { on_start: "(loop $x (br $x))".to_owned(), ..Script::new("map") }.wasm());
    let error = Component::load_for_stage(&ENGINE, &file.path(), &hasty()).unwrap_err();
    expect![[r#"
        component udfs/f.wasm does not say what it offers: it ran out of time: block_seconds_max = 0.2 s
        hint: raise `block_seconds_max` in this stage"#]]
    .assert_eq(&plain(&said(&error), file.0.path()));
}

/// A list of lists that lie in one place takes kilobytes, and any number of copies.
#[test]
fn parts_that_call_each_other_are_refused() {
    let component = wat::parse_str(
        r#"(component
            (component $b
                (core module $m (memory (export "memory") 1) (func (export "f") (param i32 i32))
                    (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 0))
                (core instance $i (instantiate $m))
                (func (export "f") (param "x" (list (list u8)))
                    (canon lift (core func $i "f") (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))
            (component $a
                (import "f" (func $f (param "x" (list (list u8)))))
                (core module $m (memory (export "memory") 1))
                (core instance $i (instantiate $m))
                (core func (canon lower (func $f) (memory (core memory $i "memory")))))
            (instance $bi (instantiate $b))
            (instance (instantiate $a (with "f" (func $bi "f")))))"#,
    );
    refused(
        &component.unwrap(),
        expect![[r#"
        udfs/f.wasm is a component whose parts call each other by the component model, where no limit on time would end a copy between them; expected is a WebAssembly component of the world wasmpipe:udf/arrow-udf@0.1.0
        hint: link its parts as core modules, or let one of them do all the work"#]],
    );
}

fn spec(wasm: &[u8], limits: Limits) -> Result<Arc<Spec>, UdfError> {
    let file = File::new(wasm);
    let component = Component::load(&ENGINE, &file.path())?;
    Ok(Arc::new(Spec {
        component,
        function: "f".to_owned(),
        config: serde_json::json!({}),
        input: Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("text", DataType::Utf8, true),
        ])),
        limits,
        stage: "stage 2".to_owned(),
        lines: Arc::default(),
    }))
}

fn start(script: &Script, limits: Limits) -> Instance {
    let spec = spec(&script.wasm(), limits).unwrap();
    let binding = bind(&ENGINE, &spec).unwrap();
    Instance::new(&ENGINE, &spec, &binding).unwrap()
}

fn answer(script: &Script) -> Answer {
    start(script, Limits::default()).process(&block()).unwrap()
}

fn column(answer: &Answer) -> Vec<i64> {
    answer.batch.column(0).as_primitive::<Int64Type>().values().to_vec()
}

/// `trap: ...` or `broken: ...`.
fn failure(instance: &mut Instance) -> String {
    let error = instance.process(&block()).unwrap_err();
    let failure = match error.failure {
        CallFailure::Trap => "trap",
        CallFailure::Limit | CallFailure::Timeout => "limit",
        CallFailure::Broken => "broken",
    };
    format!("{failure}: {}", said(&error))
}

fn fails(script: &Script, expected: Expect) {
    expected.assert_eq(&failure(&mut start(script, Limits::default())));
}

fn unbound(script: &Script, expected: Expect) {
    let spec = spec(&script.wasm(), Limits::default()).unwrap();
    let error = said(&bind(&ENGINE, &spec).unwrap_err());
    expected.assert_eq(&plain(&error, spec.component.path().parent().unwrap()));
}

/// Lets time pass while it lives.
struct Clock(Arc<AtomicBool>);

impl Clock {
    fn start() -> Clock {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                std::thread::sleep(Engine::TICK);
                ENGINE.tick();
            }
        });
        Clock(stop)
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn hasty() -> Limits {
    Limits { block_time_max: Duration::from_millis(200), ..Limits::default() }
}

#[test]
fn a_component_says_what_it_offers() {
    let wasm = Script::new("map").wasm();
    let spec = spec(&wasm, Limits::default()).unwrap();
    assert_eq!(spec.component.digest(), blake3::hash(&wasm).to_hex().as_str());
    let function = Function {
        name: "f".to_owned(),
        kind: Kind::Map,
        doc: "Measures.".to_owned(),
        config: None,
        needs: None,
        adds: None,
    };
    assert_eq!(spec.component.functions(), [function]);
    let binding = bind(&ENGINE, &spec).unwrap();
    assert_eq!(*binding.needs, text_schema());
    assert_eq!(*binding.adds, length_schema());
}

#[test]
fn r10_files_that_are_no_components() {
    let wasm = Script::new("map").wasm();
    let cwasm = ENGINE.wasm.precompile_component(&wasm).unwrap();
    let mut damaged = wasm.clone();
    damaged[9] = 0x7f;
    refused(
        b"",
        expect![[r#"
            udfs/f.wasm is an empty file; expected is a WebAssembly component of the world wasmpipe:udf/arrow-udf@0.1.0
            hint: name a component; `wasmpipe udf build FOLDER` makes one of a crate"#]],
    );
    refused(
        &wat::parse_str("(module)").unwrap(),
        expect![[r#"
            udfs/f.wasm is a core WebAssembly module, not a component; expected is a WebAssembly component of the world wasmpipe:udf/arrow-udf@0.1.0
            hint: build the crate with `wasmpipe udf build FOLDER`, which makes a component of its module"#]],
    );
    refused(
        &wasm[..6],
        expect![[r#"
        udfs/f.wasm is a truncated file; expected is a WebAssembly component of the world wasmpipe:udf/arrow-udf@0.1.0
        hint: copy or build it again"#]],
    );
    refused(
        &wasm[..wasm.len() / 2],
        expect![[r#"
            udfs/f.wasm is a truncated component (unexpected end-of-file (at offset 0x331)); expected is a WebAssembly component of the world wasmpipe:udf/arrow-udf@0.1.0
            hint: copy or build it again"#]],
    );
    refused(
        &damaged,
        expect![[r#"
            udfs/f.wasm is a damaged or unsupported component (invalid leading byte (0x1) for component defined type (at offset 0xb)); expected is a WebAssembly component of the world wasmpipe:udf/arrow-udf@0.1.0
            hint: copy or build it again"#]],
    );
    refused(
        b"\0asm\x0e\0\x01\0",
        expect![[r#"
        udfs/f.wasm is WebAssembly of the unknown version 14 (layer 1); expected is a WebAssembly component of the world wasmpipe:udf/arrow-udf@0.1.0
        hint: build it with tools of the time of this wasmpipe"#]],
    );
    refused(
        &cwasm,
        expect![[r#"
        udfs/f.wasm is precompiled WebAssembly (.cwasm), which is native code that no sandbox holds; expected is a WebAssembly component of the world wasmpipe:udf/arrow-udf@0.1.0
        hint: name the .wasm file that it was made of; wasmpipe compiles and keeps the result by itself"#]],
    );
    refused(
        b"\x7fELF\x02\x01\x01\0",
        expect![[r#"
            udfs/f.wasm is a native program or library (ELF); expected is a WebAssembly component of the world wasmpipe:udf/arrow-udf@0.1.0
            hint: name a component; `wasmpipe udf build FOLDER` makes one of a crate"#]],
    );
    refused(
        b"\n(component)",
        expect![[r#"
        udfs/f.wasm is WebAssembly in text form; expected is a WebAssembly component of the world wasmpipe:udf/arrow-udf@0.1.0
        hint: `wasm-tools parse` makes it binary"#]],
    );
    refused(
        b"PAR1\x15\x04\x15\x10",
        expect![[r#"
            udfs/f.wasm is not WebAssembly (it starts with 50 41 52 31 15 04 15 10); expected is a WebAssembly component of the world wasmpipe:udf/arrow-udf@0.1.0
            hint: name a component; `wasmpipe udf build FOLDER` makes one of a crate"#]],
    );
}

#[test]
fn r10_components_of_other_worlds() {
    let run = r#"(component (core module $m (func (export "run"))) (core instance $i (instantiate $m))
        (func $run (canon lift (core func $i "run"))) (instance $cli (export "run" (func $run)))
        (export "wasi:cli/run@0.2.0" (instance $cli)))"#;
    refused(
        &wat::parse_str(run).unwrap(),
        expect![[r#"
            udfs/f.wasm is a component of another world: it exports wasi:cli/run@0.2.0, and not wasmpipe:udf/functions@0.1.0; expected is a WebAssembly component of the world wasmpipe:udf/arrow-udf@0.1.0
            hint: name a component; `wasmpipe udf build FOLDER` makes one of a crate"#]],
    );
    refused(
        &wat::parse_str("(component)").unwrap(),
        expect![[r#"
        udfs/f.wasm is a component that exports nothing; expected is a WebAssembly component of the world wasmpipe:udf/arrow-udf@0.1.0
        hint: list its functions in `wasmpipe_sdk::export!(..)`; if it does, the file may be truncated"#]],
    );
    let newer = Script { version: "0.2.0", ..Script::new("map") };
    refused(
        &newer.wasm(),
        expect![[r#"
        udfs/f.wasm is a component of the contract's version 0.2.0, and this wasmpipe speaks 0.1.0 (it uses wasmpipe:udf/functions@0.2.0); expected is a WebAssembly component of the world wasmpipe:udf/arrow-udf@0.1.0
        hint: use the wasmpipe of that version, or rebuild the component with the guest SDK of this one"#]],
    );
    let half = run.replace("wasi:cli/run@0.2.0", "wasmpipe:udf/functions@0.1.0");
    refused(
        &wat::parse_str(half).unwrap(),
        expect![[r#"
            udfs/f.wasm is a component of another world: it exports wasmpipe:udf/functions@0.1.0, and not wasmpipe:udf/blocks@0.1.0; expected is a WebAssembly component of the world wasmpipe:udf/arrow-udf@0.1.0
            hint: name a component; `wasmpipe udf build FOLDER` makes one of a crate"#]],
    );
    let typed = Script::new("map").wat().replace(r#"(field "nulls" u32)"#, r#"(field "nulls" s32)"#);
    refused(
        &wat::parse_str(typed).unwrap(),
        expect![[r#"
            udfs/f.wasm is a component whose imports or exports do not fit (component imports instance `wasmpipe:udf/host@0.1.0`, but a matching implementation was not found in the linker: instance export `answer` has the wrong type: type mismatch with parameters: type mismatch for field nulls: expected `u32` found `s32`); expected is a WebAssembly component of the world wasmpipe:udf/arrow-udf@0.1.0
            hint: build it against the `wit` folder of this wasmpipe"#]],
    );
}

#[test]
fn files_that_cannot_be_read() {
    let file = File::new(b"");
    let missing = Component::load(&ENGINE, &file.0.path().join("g.wasm")).unwrap_err();
    expect![[r#"
        component udfs/g.wasm cannot be read
        hint: `component` names a .wasm file, relative to the pipeline file"#]]
    .assert_eq(&plain(&said(&missing), file.0.path()));
    let folder = Component::load(&ENGINE, file.0.path()).unwrap_err();
    assert!(matches!(folder, UdfError::Read { .. }));
    fs::File::options().write(true).open(file.path()).unwrap().set_len(COMPONENT_BYTES_MAX + 1).unwrap();
    let large = Component::load(&ENGINE, &file.path()).unwrap_err();
    expect![[r#"
        udfs/f.wasm is larger than component_bytes_max = 67108864 bytes; expected is a WebAssembly component of the world wasmpipe:udf/arrow-udf@0.1.0
        hint: strip debug information, or split the component"#]].assert_eq(&plain(&said(&large), file.0.path()));
}

#[test]
fn components_that_describe_themselves_wrongly() {
    let check = |describe: &str, expected: Expect| {
        let script = Script { describe: describe.to_owned(), ..Script::new("map") };
        refused(&script.wasm(), expected);
    };
    check(
        "",
        expect![[r#"
        component udfs/f.wasm describes its functions wrongly: EOF while parsing a value at line 1 column 0
        hint: see `describe` of wasmpipe:udf/arrow-udf@0.1.0 in `wit/udf.wit`; report it to the component's author"#]],
    );
    check(
        r#"{"functions":[]}"#,
        expect![[r#"
        component udfs/f.wasm describes its functions wrongly: it offers no function
        hint: see `describe` of wasmpipe:udf/arrow-udf@0.1.0 in `wit/udf.wit`; report it to the component's author"#]],
    );
    check(
        r#"{"functions":[{"name":"f","kind":"join"}]}"#,
        expect![[r#"
            component udfs/f.wasm describes its functions wrongly: unknown variant `join`, expected one of `map`, `filter`, `flat-map`, `map-batches` at line 1 column 39
            hint: see `describe` of wasmpipe:udf/arrow-udf@0.1.0 in `wit/udf.wit`; report it to the component's author"#]],
    );
    check(
        r#"{"functions":[{"name":"a b\n","kind":"map"}]}"#,
        expect![[r#"
            component udfs/f.wasm describes its functions wrongly: `a b` is no name for a function
            hint: see `describe` of wasmpipe:udf/arrow-udf@0.1.0 in `wit/udf.wit`; report it to the component's author"#]],
    );
    check(
        r#"{"functions":[{"name":"f","kind":"map"},{"name":"f","kind":"filter"}]}"#,
        expect![[r#"
            component udfs/f.wasm describes its functions wrongly: it offers `f` twice
            hint: see `describe` of wasmpipe:udf/arrow-udf@0.1.0 in `wit/udf.wit`; report it to the component's author"#]],
    );
    let traps = Script { on_start: "unreachable".to_owned(), ..Script::new("map") };
    refused(
        &traps.wasm(),
        expect![[r#"
            component udfs/f.wasm does not say what it offers: it trapped: wasm `unreachable` instruction executed
            hint: no row is involved yet: this is a defect of the component; report it to its author"#]],
    );
}

#[test]
fn bindings_are_checked() {
    let schema = |columns: &[(&str, DataType)]| {
        let columns: Vec<Field> = columns.iter().map(|(name, t)| Field::new(*name, t.clone(), true)).collect();
        fields(&Schema::new(columns))
    };
    let needs = |fields: &[(&str, DataType)], expected: Expect| {
        unbound(&Script { needs: schema(fields), ..Script::new("map") }, expected);
    };
    let adds = |fields: &[(&str, DataType)], expected: Expect| {
        unbound(&Script { adds: schema(fields), ..Script::new("map") }, expected);
    };
    needs(
        &[("texts", DataType::Utf8)],
        expect![[r#"
        stage 2: `f` of udfs/f.wasm needs a column `texts`, which does not reach it
        hint: the columns here are id, text"#]],
    );
    needs(
        &[("id", DataType::Int32)],
        expect![[r#"
        stage 2: `f` of udfs/f.wasm needs `id` as Int32, and it is Int64
        hint: only widening that loses nothing is done by itself; convert the column in the source or in a stage before"#]],
    );
    needs(
        &[("text", DataType::Utf8), ("text", DataType::Utf8)],
        expect![[r#"
            stage 2: `f` of udfs/f.wasm binds wrongly: its schema `needs` has `text` twice
            hint: this is a defect of the function; report it to its author"#]],
    );
    adds(
        &[("id", DataType::Int64)],
        expect![[r#"
            stage 2: `f` of udfs/f.wasm adds a column `id`, which reaches it already
            hint: rename the one or the other; or let the function need the column, too: then what it adds replaces it"#]],
    );
    adds(
        &[("a", DataType::Int64), ("a", DataType::Int64)],
        expect![[r#"
            stage 2: `f` of udfs/f.wasm binds wrongly: its schema `adds` has `a` twice
            hint: this is a defect of the function; report it to its author"#]],
    );
    unbound(
        &Script { needs: vec![unheard_of()], ..Script::new("map") },
        expect![[r#"
            stage 2: `f` of udfs/f.wasm binds wrongly: its schema `needs` has the column `text` of the format "vu", which is none of the Arrow C data interface that crosses the boundary
            hint: this is a defect of the function; report it to its author"#]],
    );
    adds(
        &[("a", DataType::Interval(IntervalUnit::MonthDayNano))],
        expect![[r#"
        stage 2: `f` of udfs/f.wasm binds wrongly: its schema `adds` has the column `a` of type interval, which Parquet files cannot hold
        hint: this is a defect of the function; report it to its author"#]],
    );
    let replaces = Script { adds: schema(&[("text", DataType::Int64)]), ..Script::new("map") };
    bind(&ENGINE, &spec(&replaces.wasm(), Limits::default()).unwrap()).unwrap();
}

#[test]
fn a_function_that_does_not_exist() {
    let spec = spec(&Script::new("map").wasm(), Limits::default()).unwrap();
    let spec = Spec { function: "g".to_owned(), ..(*spec).clone() };
    let error = said(&bind(&ENGINE, &spec).unwrap_err());
    expect![[r#"
        stage 2: `g` of udfs/f.wasm does not exist
        hint: the component offers f"#]]
    .assert_eq(&plain(&error, spec.component.path().parent().unwrap()));
}

#[test]
fn a_binding_that_changed_is_an_error() {
    let spec = spec(&Script::new("map").wasm(), Limits::default()).unwrap();
    let mut binding = bind(&ENGINE, &spec).unwrap();
    binding.adds = Arc::new(Schema::empty());
    let error = said(&Instance::new(&ENGINE, &spec, &binding).unwrap_err());
    expect![[r#"
        stage 2: `f` of udfs/f.wasm bound in another way than at plan time, with the same config and input
        hint: a function must be pure; report it to its author"#]]
    .assert_eq(&plain(&error, spec.component.path().parent().unwrap()));
}

#[test]
fn answers_of_every_lineage() {
    let same = answer(&Script::new("map"));
    assert_eq!((column(&same), same.lineage), (vec![3, 5, 4], Lineage::Same));
    let kept = answer(&Script::kept(&[0b101], &[3, 4]));
    assert_eq!((column(&kept), kept.lineage), (vec![3, 4], Lineage::Kept(vec![true, false, true].into())));
    let counts = answer(&Script::counts(&[2, 0, 1], &[1, 2, 3]));
    assert_eq!((column(&counts), counts.lineage), (vec![1, 2, 3], Lineage::Counts(vec![2, 0, 1])));
}

#[test]
fn an_answer_without_columns_has_rows() {
    let none = vec![];
    let script = Script { adds: none, ..Script::kept(&[0b110], &[]).batch(vec![]) };
    let answer = answer(&script);
    assert_eq!((answer.batch.num_rows(), answer.batch.num_columns()), (2, 0));
}

#[test]
fn a_failed_row_has_no_output() {
    let answer = answer(&Script::new("map").errors(&[(1, "no\nsense")]));
    assert_eq!(column(&answer), [3, 4]);
    assert_eq!(answer.lineage, Lineage::Kept(vec![true, false, true].into()));
    let error = RowError { row: 1, message: "no\\nsense".to_owned() };
    assert_eq!(answer.errors, [error]);
    let none = vec![];
    let script = Script { adds: none, ..Script::new("map").batch(vec![]).errors(&[(0, "a"), (2, "b")]) };
    assert_eq!(self::answer(&script).batch.num_rows(), 1);
}

#[test]
fn s12_lies_break_the_function() {
    fails(
        &Script::new("map").batch(lengths(&[3, 5])),
        expect![[r#"
            broken: stage 2: `f` answered wrongly: its batch has the column `length` with 2 values where 3 are expected
            hint: this is a defect of the function; report it to its author, no row is to blame"#]],
    );
    fails(
        &Script::new("map").batch(vec![]),
        expect![[r#"
            broken: stage 2: `f` answered wrongly: its batch has the column `length` and no node for it
            hint: this is a defect of the function; report it to its author, no row is to blame"#]],
    );
    fails(
        &Script::new("filter"),
        expect![[r#"
        broken: stage 2: `f` answered wrongly: a filter function with the lineage `same`
        hint: this is a defect of the function; report it to its author, no row is to blame"#]],
    );
    fails(
        &Script::kept(&[0b1101], &[3, 4]),
        expect![[r#"
        broken: stage 2: `f` answered wrongly: a bitmap with bits beyond the last row
        hint: this is a defect of the function; report it to its author, no row is to blame"#]],
    );
    fails(
        &Script::kept(&[1, 0], &[3]),
        expect![[r#"
        broken: stage 2: `f` answered wrongly: a bitmap of 2 bytes for 3 rows
        hint: this is a defect of the function; report it to its author, no row is to blame"#]],
    );
    fails(
        &Script::counts(&[1, 1], &[3, 4]),
        expect![[r#"
        broken: stage 2: `f` answered wrongly: 2 counts for 3 rows
        hint: this is a defect of the function; report it to its author, no row is to blame"#]],
    );
    fails(
        &Script::counts(&[1, 1, 1], &[3, 4]),
        expect![[r#"
            broken: stage 2: `f` answered wrongly: its batch has the column `length` with 2 values where 3 are expected
            hint: this is a defect of the function; report it to its author, no row is to blame"#]],
    );
    fails(
        &Script::new("map").errors(&[(3, "beyond")]),
        expect![[r#"
        broken: stage 2: `f` answered wrongly: an error for row 3 of a block of 3 rows
        hint: this is a defect of the function; report it to its author, no row is to blame"#]],
    );
    fails(
        &Script::new("map").errors(&[(1, "a"), (1, "b")]),
        expect![[r#"
            broken: stage 2: `f` answered wrongly: row errors out of order, 1 before 1
            hint: this is a defect of the function; report it to its author, no row is to blame"#]],
    );
    fails(
        &Script::kept(&[0b101], &[3, 4]).errors(&[(0, "kept")]),
        expect![[r#"
            broken: stage 2: `f` answered wrongly: row 0 with an error and with output
            hint: this is a defect of the function; report it to its author, no row is to blame"#]],
    );
    fails(
        &Script::new("map").lineage(7, vec![], 0),
        expect![[r#"
        broken: stage 2: `f` breaks the component model's rules for values: unexpected discriminant: 7
        hint: rebuild the component; if it stays, report it to its author"#]],
    );
    fails(
        &Script::new("map").lineage(KEPT, vec![], 1 << 30),
        expect![[r#"
            broken: stage 2: `f` breaks the component model's rules for values: list pointer/length out of bounds of memory
            hint: rebuild the component; if it stays, report it to its author"#]],
    );
    let none = vec![];
    fails(
        &Script { adds: none, ..Script::new("map") },
        expect![[r#"
            broken: stage 2: `f` answered wrongly: its batch has 1 nodes and 2 buffers more than its schema asks for
            hint: this is a defect of the function; report it to its author, no row is to blame"#]],
    );
}

#[test]
fn one_block_has_one_answer() {
    let times = |times: usize| Script { answer: Say { times, ..Script::new("map").answer }, ..Script::new("map") };
    fails(
        &times(0),
        expect![[r#"
        broken: stage 2: `f` answered 0 times to one block
        hint: it must call `answer` once before `process` returns; report it to the function's author"#]],
    );
    fails(
        &times(2),
        expect![[r#"
        broken: stage 2: `f` answered 2 times to one block
        hint: it must call `answer` once before `process` returns; report it to the function's author"#]],
    );
    let script = Script { on_bind: "(call $answer (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))".to_owned(), ..times(1) };
    assert_eq!(column(&answer(&script)), [3, 5, 4]);
}

/// Eight booleans are a byte in the guest, and a hundred where they are stored.
#[test]
fn s9_lists_of_booleans_count_by_their_values() {
    let small = || Limits { memory_bytes_max: 1 << 20, ..Limits::default() };
    let item = Arc::new(Field::new("item", DataType::Boolean, false));
    let adds = Schema::new(vec![Field::new("l", DataType::List(Arc::clone(&item)), false)]);
    let lists = |length| -> ArrayRef {
        let offsets = OffsetBuffer::from_lengths([length, 0, 0]);
        let values = Arc::new(BooleanArray::from(vec![true; length]));
        Arc::new(ListArray::new(Arc::clone(&item), offsets, values, None))
    };
    let answers = |length| Script { adds: fields(&adds), ..Script::new("map").batch(vec![lists(length)]) };
    let most = (1 << 18) - 3;
    assert!(start(&answers(most), small()).process(&block()).is_ok());
    expect![[r#"
        limit: stage 2: `f` answered with too many values: answer_values_max = 262144, they are 262145, with nulls and those in lists
        hint: let the function answer with less for one row, or raise `memory_bytes_max` in this stage"#]]
    .assert_eq(&failure(&mut start(&answers(most + 1), small())));
}

#[test]
fn s9_amplified_rows_cost_the_block() {
    let none = vec![];
    let script = Script { adds: none, ..Script::counts(&[u32::MAX; 3], &[]).batch(vec![]) };
    fails(
        &script,
        expect![[r#"
            limit: stage 2: `f` answered with too many rows: answer_rows_max = 16777216, they are 12884901885
            hint: let the function answer with less for one row"#]],
    );
    let columns = || vec![Arc::new(NullArray::new(3 << 22)) as ArrayRef; 6];
    let names = (0..6).map(|index| Field::new(format!("c{index}"), DataType::Null, true)).collect::<Vec<_>>();
    let adds = fields(&Schema::new(names));
    fails(
        &Script { adds, ..Script::counts(&[1 << 22; 3], &[]).batch(columns()) },
        expect![[r#"
            limit: stage 2: `f` answered with too many values: answer_values_max = 67108864, they are 75497472, with nulls and those in lists
            hint: let the function answer with less for one row"#]],
    );
    let narrow = Limits { answer_bytes_max: 10, ..Limits::default() };
    expect![[r#"
        limit: stage 2: `f` answered with too much data: answer_bytes_max = 10 bytes
        hint: let the function answer with less for one row"#]]
    .assert_eq(&failure(&mut start(&Script::new("map"), narrow)));
}

#[test]
fn s11_a_trap_costs_the_block_and_not_the_next() {
    let on_process = "(if (i32.eq (local.get $rows) (i32.const 1)) (then unreachable))";
    let mut instance = start(&Script::new("map").on_process(on_process), Limits::default());
    let long = texts(&["x".repeat(400).as_str()]);
    let error = instance.process(&long).unwrap_err();
    expect!["stage 2: `f` trapped: wasm `unreachable` instruction executed"].assert_eq(&error.to_string());
    assert_eq!(column(&instance.process(&block()).unwrap()), [3, 5, 4]);
}

#[test]
fn s11_ways_to_fail() {
    let trap = |wat: &str, expected: Expect| fails(&Script::new("map").on_process(wat), expected);
    trap(
        "(drop (i32.div_u (i32.const 1) (i32.const 0)))",
        expect!["trap: stage 2: `f` trapped: integer divide by zero"],
    );
    trap("(drop (i32.load (i32.const -1)))", expect!["trap: stage 2: `f` trapped: out of bounds memory access"]);
    trap(
        "(drop (call $deep (i32.const 0)))",
        expect![[r#"
        trap: stage 2: `f` ran out of stack
        hint: it recurses too deeply for some row"#]],
    );
    trap(
        "(call $exit (i32.const 0))",
        expect![[r#"
        trap: stage 2: `f` used `wasi:cli/exit@0.2.0#exit`, which it was not given
        hint: functions have no files, clock, network or environment; rebuild it without them"#]],
    );
    trap(
        "(call $log (i32.const 0) (i32.const -8) (i32.const 100))",
        expect![[r#"
            broken: stage 2: `f` breaks the component model's rules for values: string pointer/length out of bounds of memory
            hint: rebuild the component; if it stays, report it to its author"#]],
    );
    let gives_up = Say { error: Some("no model\n".to_owned()), times: 0, ..Script::new("map").answer };
    fails(
        &Script { answer: gives_up, ..Script::new("map") },
        expect![[r#"
            trap: stage 2: `f` gave up on the block: no model
            hint: the words are the function's own; its documentation should know them"#]],
    );
}

#[test]
fn s1_endless_loops_end() {
    let _clock = Clock::start();
    let forever = "(loop $forever (br $forever))";
    let mut instance = start(&Script::new("map").on_process(forever), hasty());
    expect![[r#"
        limit: stage 2: `f` ran out of time: block_seconds_max = 0.2 s
        hint: raise `block_seconds_max` in this stage"#]]
    .assert_eq(&failure(&mut instance));
    let calls = "(loop $forever (call $count (i32.const 0) (i32.const 1) (i64.const 1)) (br $forever))";
    let mut instance = start(&Script::new("map").on_process(calls), hasty());
    assert!(failure(&mut instance).contains("block_seconds_max"));
    let script = Script { on_bind: forever.to_owned(), ..Script::new("map") };
    let error = bind(&ENGINE, &spec(&script.wasm(), hasty()).unwrap()).unwrap_err();
    assert!(error.to_string().contains("block_seconds_max"));
    for wat in ENDLESS {
        let failure = failure(&mut start(&Script::new("map").on_process(wat), hasty()));
        assert!(failure.contains("block_seconds_max"), "{wat}: {failure}");
    }
}

/// Ways to spend time that a compiler could take for one look at the clock.
const ENDLESS: [&str; 9] = [
    "(loop $a (call $log (i32.const 0) (i32.const 1024) (i32.const 1)) (br $a))",
    "(loop $a (loop $b (loop $c (br $b))) (br $a))",
    "(loop $a (br_if $a (local.get $rows)))",
    "(loop $a (loop $b (br_if $b (i32.eqz (local.get $rows)))) (loop $c (br_if $c (i32.eqz (local.get $rows)))) (br $a))",
    "(loop $a (br_if $a (i32.load8_u (i32.const 1024))))",
    "(loop $a (block $b (br_table $a $b (i32.const 0))))",
    "(drop (call $wide (i32.const 64)))",
    "(call $tail)",
    "(loop $a (memory.fill (i32.const 0) (i32.const 0) (i32.const 0)) (br $a))",
];

#[test]
fn s1_parts_that_are_made_late_end_too() {
    let _clock = Clock::start();
    let fill = "(memory.fill (i32.const 0) (i32.const 0) (i32.const 1073741824))";
    let slow = format!("(func $start {}) (start $start)", fill.repeat(100));
    let endless = "(func $start (loop $a (br $a))) (start $start)";
    for (first, second) in [(slow.as_str(), ""), (endless, ""), ("", endless), (slow.as_str(), endless)] {
        let parts = format!(
            "(core module $a (memory 16384) {first}) (core module $b {second})
             (core instance (instantiate $a)) (core instance (instantiate $b))"
        );
        let wasm = wat::parse_str(Script::new("map").wat().replacen("(component", &format!("(component {parts}"), 1));
        let wasm = wasm.unwrap();
        let compiled = ENGINE.compile(&wasm, &format!("{first}{second}")).unwrap();
        let startable = component::made(&ENGINE, &compiled, &wasm);
        let limits = Limits { memory_bytes_max: 2 << 30, ..hasty() };
        let error =
            guest::Guest::start(&ENGINE, &startable, &limits, guest::Phase::Bind, ("stage 1", "f"), &Arc::default());
        let error = error.err().unwrap();
        assert!(error.message().what.contains("block_seconds_max"), "{first} {second}");
    }
}

#[test]
fn s5_what_the_engine_keeps_for_instances_is_memory() {
    let parts = format!(
        "(core module $a {}) {}",
        "(global i64 (i64.const 0))".repeat(10_000),
        "(core instance (instantiate $a))".repeat(100)
    );
    let wat = Script::new("map").wat().replacen("(component", &format!("(component {parts}"), 1);
    let file = File::new(&wat::parse_str(wat).unwrap());
    let within = |bytes| {
        let limits = Limits { memory_bytes_max: bytes, ..Limits::default() };
        Component::load_for_stage(&ENGINE, &file.path(), &limits)
    };
    assert!(within(32 << 20).is_ok());
    let error = within(15 << 20).unwrap_err().to_string();
    assert!(error.contains("ran out of memory: memory_bytes_max = 15728640 bytes, it wanted 16"), "{error}");
}

#[test]
fn a_guest_that_was_nearly_stopped_goes_on() {
    let clock = Arc::new(alarm::Clock::default());
    let alarm = clock.alarm();
    for _ in 0..3 {
        alarm.set(2);
        (0..2).for_each(|_| clock.tick());
        assert!(alarm.stop(), "it rang, too late for a call that was over");
        alarm.set(2);
        clock.tick();
        assert!(!alarm.stop(), "the next call has its own time");
    }
}

#[test]
fn the_stop_page_is_not_the_guests() {
    let reads_beyond = "(drop (i32.load8_u 1 (i32.const 0)))";
    let script = Script::new("map").on_process(reads_beyond);
    refused(
        &script.wasm(),
        expect![[r#"
        udfs/f.wasm is a damaged or unsupported component (malformed memop alignment: alignment too large (at offset 0x315)); expected is a WebAssembly component of the world wasmpipe:udf/arrow-udf@0.1.0
        hint: copy or build it again"#]],
    );
}

#[test]
fn s5_memory_has_a_limit() {
    let small = || Limits { memory_bytes_max: 1 << 20, ..Limits::default() };
    let grow = "(loop $more (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable)) (br $more))";
    let mut instance = start(&Script::new("map").on_process(grow), small());
    expect![[r#"
        limit: stage 2: `f` ran out of memory: memory_bytes_max = 1048576 bytes, it wanted 1050960
        hint: raise `memory_bytes_max` in this stage"#]]
    .assert_eq(&failure(&mut instance));
    let script = Script { pages: 17, ..Script::new("map") };
    let error = bind(&ENGINE, &spec(&script.wasm(), small()).unwrap()).unwrap_err().to_string();
    assert!(error.contains("memory_bytes_max = 1048576"), "{error}");
}

#[test]
fn s6_a_leak_costs_a_block_now_and_then() {
    let limits = Limits { memory_bytes_max: 1 << 20, ..Limits::default() };
    // Its allocator never frees.
    let mut instance = start(&Script::new("map").on_process("(drop (memory.grow (i32.const 3)))"), limits);
    let long = "x".repeat(300);
    let block = texts(&[long.as_str(); 3]);
    let results: Vec<bool> = (0..4000).map(|_| instance.process(&block).is_ok()).collect();
    let failed = results.iter().filter(|ok| !**ok).count();
    assert!((1..100).contains(&failed), "{failed}");
    // The call after a failed one has a new guest.
    assert!(results.windows(2).all(|pair| pair[0] || pair[1]));
}

#[test]
fn counters_of_failed_calls_do_not_count() {
    let wat = "(call $count (i32.const 1024) (i32.const 1) (i64.const 5))
        (if (i32.eq (local.get $rows) (i32.const 1)) (then unreachable))";
    let mut instance = start(&Script::new("map").on_process(wat), Limits::default());
    instance.process(&block()).unwrap();
    instance.process(&texts(&["x".repeat(400).as_str()])).unwrap_err();
    instance.process(&block()).unwrap();
    // The guest's memory starts with its description, so the counter's name is `{`.
    assert_eq!(instance.take_counts().into_iter().collect::<Vec<_>>(), [("{".to_owned(), 10)]);
    assert!(instance.take_counts().is_empty());
}

#[test]
fn last_words_are_in_the_message() {
    let wat = "(call $log (i32.const 4) (i32.const 1024) (i32.const 14)) unreachable";
    fails(
        &Script::new("map").on_process(wat),
        expect![[
            r#"trap: stage 2: `f` trapped: wasm `unreachable` instruction executed; its last words: {"functions":["#
        ]],
    );
}

#[test]
fn compiled_components_are_kept_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let engine = Engine::new(Some(cache.clone()), Compiler::by(None)).unwrap();
    let file = File::new(&Script::new("map").wasm());
    Component::load(&engine, &file.path()).unwrap();
    let kept = only_file(&cache.join("components"));
    let whole = fs::read(&kept).unwrap();
    for damaged in [&b""[..], &whole[..whole.len() - 1], &[&[0; 32], &whole[32..]].concat()] {
        fs::write(&kept, damaged).unwrap();
        Component::load(&engine, &file.path()).unwrap();
        assert!(fs::read(&kept).unwrap().len() == whole.len());
    }
    assert_eq!(mode(&cache.join("components")), 0o700);
}

#[test]
fn a_cache_that_is_not_this_users_alone_is_not_used() {
    let elsewhere = tempfile::tempdir().unwrap();
    let file = File::new(&Script::new("map").wasm());
    let unused = |prepare: &dyn Fn(&Path)| {
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path());
        let engine = Engine::new(Some(folder.path().to_owned()), Compiler::by(None)).unwrap();
        Component::load(&engine, &file.path()).unwrap();
        let kept = fs::read_dir(folder.path().join("components")).map_or(0, Iterator::count);
        assert_eq!((kept, fs::read_dir(elsewhere.path()).unwrap().count()), (0, 0));
    };
    let set = |path: &Path, mode| fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    unused(&|cache| std::os::unix::fs::symlink(elsewhere.path(), cache.join("components")).unwrap());
    unused(&|cache| set(cache, 0o777));
    unused(&|cache| {
        fs::create_dir(cache.join("components")).unwrap();
        set(&cache.join("components"), 0o770);
    });
    unused(&|cache| fs::write(cache.join("components"), "a file").unwrap());
}

#[test]
fn a_compiled_component_that_others_can_write_is_not_run() {
    let cache = tempfile::tempdir().unwrap();
    let engine = Engine::new(Some(cache.path().to_owned()), Compiler::by(None)).unwrap();
    let file = File::new(&Script::new("map").wasm());
    Component::load(&engine, &file.path()).unwrap();
    let kept = only_file(&cache.path().join("components"));
    let before = fs::metadata(&kept).unwrap().ino();
    fs::set_permissions(&kept, PermissionsExt::from_mode(0o666)).unwrap();
    Component::load(&engine, &file.path()).unwrap();
    assert_ne!(fs::metadata(&kept).unwrap().ino(), before, "it was compiled anew");
}

fn only_file(folder: &Path) -> PathBuf {
    let files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1);
    files[0].clone()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}
