//! WebAssembly that any bytes become: a module with a function that computes, loops, branches, reads and writes memory, and
//! calls the host. It is always valid, seldom sensible.

use std::fmt::Write;

/// Statements within statements.
const DEPTH_MAX: usize = 6;

/// A module that imports what the skeleton has and exports `run`.
pub(crate) fn module(bytes: &[u8]) -> Vec<u8> {
    let mut code = Code { bytes: bytes.iter(), text: String::new() };
    while !code.bytes.as_slice().is_empty() {
        code.statement(0);
    }
    let text = format!(
        r#"(module
        (import "memory" "memory" (memory 1))
        (import "memory" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
        (import "host" "answer" (func $answer (param i32 i32 i32 i32 i32 i32 i32 i32 i32)))
        (import "host" "log" (func $log (param i32 i32 i32)))
        (import "host" "count" (func $count (param i32 i32 i64)))
        (table 4 16 funcref) (elem (i32.const 0) $run)
        (global $g (mut i32) (i32.const 0))
        (type $run (func (param i32 i32 i32 i32 i32) (result i32)))
        (func $run (export "run") (param i32 i32 i32 i32 i32) (result i32) (local i32 i32 i32 v128)
        {}
        (local.get 5)))"#,
        code.text
    );
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Code so far, and the bytes that say what comes. Where they end, all is short.
struct Code<'a> {
    bytes: std::slice::Iter<'a, u8>,
    text: String,
}

impl Code<'_> {
    fn byte(&mut self) -> u8 {
        self.bytes.next().copied().unwrap_or_default()
    }

    fn push(&mut self, text: &str) {
        self.text += text;
    }

    /// `(name operand operand ...)`
    fn of(&mut self, name: &str, operands: usize, depth: usize) {
        let _ = write!(self.text, "({name} ");
        (0..operands).for_each(|_| self.value(depth + 1));
        self.push(")");
    }

    fn statement(&mut self, depth: usize) {
        let choice = if depth > DEPTH_MAX { 0 } else { self.byte() % 20 };
        let local = self.byte() % 8;
        match choice {
            0..=2 => self.of(&format!("local.set {local}"), 1, depth),
            3 => self.of("global.set $g", 1, depth),
            4 => self.of("i32.store", 2, depth),
            5 => self.of("i32.store8 offset=65535", 2, depth),
            6 => self.of("memory.fill", 3, depth),
            7 => self.of("memory.copy", 3, depth),
            8 => self.of("call $log", 3, depth),
            9 => self.of("call $answer", 9, depth),
            10 => {
                self.push("(call $count ");
                (0..2).for_each(|_| self.value(depth + 1));
                self.wrapped("", "i64.extend_i32_s", 1, depth, ")");
            }
            11..=13 => self.inner("(loop $l ", depth, "(br_if $l ", ")"),
            14 | 15 => self.inner("(block $b ", depth, "(br_if $b ", ")"),
            16 => self.inner("(if (i32.and (local.get 6) (i32.const 1)) (then ", depth, "(drop ", "))"),
            17 => self.wrapped("(local.set 8 (i32x4.add (local.get 8) ", "i32x4.splat", 1, depth, "))"),
            18 => self.wrapped("(drop ", "call_indirect (type $run)", 6, depth, ")"),
            _ => self.wrapped("(if ", "i32.eqz", 1, depth, "(then unreachable))"),
        }
    }

    fn wrapped(&mut self, open: &str, name: &str, operands: usize, depth: usize, close: &str) {
        self.push(open);
        self.of(name, operands, depth);
        self.push(close);
    }

    /// Statements in a block, and what is done with a value at its end.
    fn inner(&mut self, open: &str, depth: usize, last: &str, close: &str) {
        self.push(open);
        for _ in 0..self.byte() % 4 {
            self.statement(depth + 1);
        }
        self.push(last);
        self.value(depth + 1);
        self.push(")");
        self.push(close);
    }

    /// A number of 32 bits.
    fn value(&mut self, depth: usize) {
        let choice = if depth > DEPTH_MAX { 0 } else { self.byte() % 16 };
        let byte = self.byte();
        match choice {
            0..=2 => drop(write!(self.text, "(local.get {}) ", byte % 8)),
            3 => drop(write!(self.text, "(i32.const {}) ", i32::from(byte) - 128)),
            4 => drop(write!(self.text, "(i32.const {}) ", 1u32 << (byte % 32))),
            5 => self.of("i32.add", 2, depth),
            6 => self.of("i32.mul", 2, depth),
            7 => self.of("i32.div_s", 2, depth),
            8 => self.of("i32.load", 1, depth),
            9 => self.of("i32.load16_u offset=3", 1, depth),
            10 => self.push("(memory.size) "),
            11 => self.of("memory.grow", 1, depth),
            12 => self.of("call $realloc", 4, depth),
            13 => self.of("call $run", 5, depth),
            14 => self.of("select", 3, depth),
            _ => self.push("(i32x4.extract_lane 2 (local.get 8)) "),
        }
    }
}
