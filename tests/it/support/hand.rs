//! Components written by hand: a function in WebAssembly text that is honest about most rows, and does harm when it is
//! called with one.

use std::fmt::Write;

/// The row that it is about, by its number.
pub const VICTIM: i64 = 13;

/// A function `f` of the column `n`. Instructions have `$rows`, the blocks' `$nodes`, `$nn`, `$bufs`, `$nb` as they came in,
/// `$values` (address of the numbers) and `$i`, `$p`, `$q` to themselves. Addresses from [`FREE`] to [`HEAP`] are theirs.
#[derive(Clone, Debug)]
pub struct Hand {
    pub kind: &'static str,
    /// Columns that it adds, with those within them: name, format, children.
    pub adds: Vec<(String, &'static str, u32)>,
    /// What it does with a block in which the victim is.
    pub harm: String,
    /// How it answers.
    pub honest: String,
    /// What it does when its module is made; when it is bound; after each answer was taken, if the victim was in the block.
    pub on_start: String,
    pub on_bind: String,
    pub on_post: String,
    /// Further imports and other parts of its module; of the component, what comes before it, and what it is made with.
    pub imports: String,
    pub more: String,
    pub parts: String,
    pub wiring: String,
}

/// First address that is free.
pub const FREE: u32 = 1 << 17;
/// Where what the host passes in begins.
pub const HEAP: u32 = 1 << 20;

/// The numbers come back as they are, as the column `m`.
pub const ECHO: &str = "(call $answer (local.get $nodes) (local.get $nn) (local.get $bufs) (local.get $nb)
    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))";

/// Gives every number back, unless this.
pub fn hand(harm: &str) -> Hand {
    Hand {
        kind: "map",
        adds: vec![("m".to_owned(), "l", 0)],
        harm: harm.to_owned(),
        honest: ECHO.to_owned(),
        on_start: String::new(),
        on_bind: String::new(),
        on_post: String::new(),
        imports: String::new(),
        more: String::new(),
        parts: String::new(),
        wiring: String::new(),
    }
}

/// Writes words to addresses from `at` on; each is an instruction.
pub fn stores(at: u32, words: &[&str]) -> String {
    let store = |(index, word): (usize, &&str)| format!("(i32.store (i32.const {}) {word})\n", at + 4 * index as u32);
    words.iter().enumerate().map(store).collect()
}

/// The word.
pub fn word(value: u32) -> String {
    format!("(i32.const {value})")
}

impl Hand {
    pub fn wasm(&self) -> Vec<u8> {
        wat::parse_str(self.wat()).unwrap()
    }

    pub fn wat(&self) -> String {
        let mut image = Image(Vec::new());
        let describe = format!(r#"{{"functions":[{{"name":"f","kind":"{}","doc":""}}]}}"#, self.kind);
        let describe = image.list(describe.as_bytes());
        let describe = image.words(&describe);
        let needs = image.fields(&[("n".to_owned(), "l", 0)]);
        let adds = image.fields(&self.adds);
        let binding = image.words(&[vec![0], needs, adds].concat());
        let result = image.words(&[0, 0, 0]);
        let Hand { harm, honest, on_start, on_bind, on_post, imports, more, parts, wiring, .. } = self;
        format!(
            r#"(component
  {parts}
  (import "wasmpipe:udf/host@0.1.0" (instance $host
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
  (core module $memory
    (memory (export "memory") 32)
    (global $top (mut i32) (i32.const {HEAP}))
    (func (export "reset") (global.set $top (i32.const {HEAP})))
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
    (import "memory" "reset" (func $reset))
    (import "host" "answer" (func $answer (param i32 i32 i32 i32 i32 i32 i32 i32 i32)))
    (import "host" "log" (func $log (param i32 i32 i32)))
    (import "host" "count" (func $count (param i32 i32 i64)))
    {imports}
    (global $ok i32 (i32.const {result}))
    (global $is_victim (mut i32) (i32.const 0))
    {more}
    (func $start {on_start})
    (start $start)
    (func (export "describe") (result i32) (i32.const {describe}))
    (func (export "bind") (param i32 i32 i32 i32 i32 i32) (result i32) {on_bind} (i32.const {binding}))
    (func (export "process") (param $rows i32) (param $nodes i32) (param $nn i32) (param $bufs i32) (param $nb i32)
      (result i32) (local $i i32) (local $p i32) (local $q i32) (local $values i32)
      (global.set $is_victim (i32.const 0))
      (local.set $values (i32.load offset=8 (local.get $bufs)))
      (loop $next
        (if (i64.eq (i64.load align=1 (i32.add (local.get $values) (i32.mul (local.get $i) (i32.const 8))))
                    (i64.const {VICTIM}))
          (then (global.set $is_victim (i32.const 1))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $next (i32.lt_u (local.get $i) (local.get $rows))))
      (local.set $i (i32.const 0))
      (if (global.get $is_victim) (then {harm}))
      {honest}
      (global.get $ok))
    (func (export "post") (param i32) (call $reset) (if (global.get $is_victim) (then {on_post})))
    (data (i32.const {base}) "{image}"))
  (core instance $memory (instantiate $memory))
  (core func $answer (canon lower (func $host "answer") (memory (core memory $memory "memory"))))
  (core func $log (canon lower (func $host "log") (memory (core memory $memory "memory"))))
  (core func $count (canon lower (func $host "count") (memory (core memory $memory "memory"))))
  (core instance $main (instantiate $main
    (with "memory" (instance $memory)) {wiring}
    (with "host" (instance (export "answer" (func $answer)) (export "log" (func $log)) (export "count" (func $count))))))
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
    (canon lift (core func $main "process") (memory (core memory $memory "memory"))
      (realloc (core func $memory "realloc")) (post-return (core func $main "post"))))
  (instance $functions (export "describe" (func $describe)))
  (export "wasmpipe:udf/functions@0.1.0" (instance $functions))
  (instance $blocks
    (export "field" (type $field)) (export "node" (type $node)) (export "binding" (type $binding))
    (export "bind" (func $bind)) (export "process" (func $process)))
  (export "wasmpipe:udf/blocks@0.1.0" (instance $blocks)))"#,
            base = Image::BASE,
            image = image.wat(),
        )
    }
}

/// What lies in memory from the start.
struct Image(Vec<u8>);

impl Image {
    const BASE: u32 = 1024;

    fn put(&mut self, bytes: &[u8]) -> u32 {
        self.0.resize(self.0.len().next_multiple_of(8), 0);
        let at = Image::BASE + self.0.len() as u32;
        self.0.extend(bytes);
        assert!(at + (bytes.len() as u32) < FREE, "a small image");
        at
    }

    fn list(&mut self, bytes: &[u8]) -> Vec<u32> {
        vec![self.put(bytes), bytes.len() as u32]
    }

    fn words(&mut self, words: &[u32]) -> u32 {
        self.put(&words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>())
    }

    /// All nullable.
    fn fields(&mut self, fields: &[(String, &str, u32)]) -> Vec<u32> {
        let mut words = Vec::new();
        for (name, format, children) in fields {
            words.extend([self.list(name.as_bytes()), self.list(format.as_bytes()), vec![1, *children, 0, 0]].concat());
        }
        vec![self.words(&words), fields.len() as u32]
    }

    fn wat(&self) -> String {
        self.0.iter().fold(String::new(), |mut text, byte| {
            write!(text, "\\{byte:02x}").unwrap();
            text
        })
    }
}
