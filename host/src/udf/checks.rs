//! Stop checks: what is added to a component's code so that a guest that takes too long can be stopped.
//!
//! A check reads a byte of a memory page of its own, the *stop page*, and traps if the byte is not zero:
//!
//! ```text
//! i32.const 0   i32.load8_u (memory of the stop page) offset=k   if   unreachable   end
//! ```
//!
//! It stands at each loop's head, at the start of each function that calls others or is not small, and after each operator
//! that may touch a whole memory or table. So between two checks lies no more work than a function's text is long; what
//! the host does for a guest looks at the clock itself. The engine's clock fills the page when the time is over
//! ([`alarm`](super::alarm)).
//!
//! This is what epochs of the engine do, at a fraction of their cost: a check that ends in a trap, and not in a call, leaves
//! the registers of a loop alone (measured in `tests/bench/RESULTS.md`).
//!
//! The compiler replaces a load by an earlier one from the same place with no store between, so each check of a function
//! reads a byte of its own. (It does so within functions only, and the engine is told not to inline.)
//!
//! A guest cannot reach the page: it is a memory beyond those that the component declares, and a component that is valid
//! without it, as checked first, has no instruction that names it. It is told from the guest's memory by its maximum size.
//!
//! Nothing else is changed, byte for byte, save that sections which speak of places in the code are left out.

use std::ops::Range;

use wasmparser::{BinaryReader, CodeSectionReader, FunctionBody, Operator, TypeRef, Validator, WasmFeatures};

use super::state::DEPTH_MAX;

/// Pages of the stop page's maximum size, by which it is known. No component of ours may declare a memory like it.
const STOP_PAGES_MAX: u32 = 0x5AFE;
/// The same in bytes.
pub(super) const STOP_BYTES_MAX: usize = (STOP_PAGES_MAX as usize) << 16;
/// Bytes of the stop page.
pub(super) const STOP_BYTES: usize = 1 << 16;
/// Changes when components are rewritten in another way, so that no compiled one of before is taken for it.
pub(super) const VERSION: u32 = 3;

const CORE_MODULE: u8 = 1;
const COMPONENT: u8 = 4;

const CUSTOM: u8 = 0;
const IMPORTS: u8 = 2;
const MEMORIES: u8 = 5;
const CODE: u8 = 10;
/// Sections that may stand before the memories; all others stand behind them.
const BEFORE_MEMORIES: [u8; 5] = [CUSTOM, 1, IMPORTS, 3, 4];

const HEADER_BYTES: usize = 8;

/// Errors are words for people.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The component with stop checks in all of its modules. Says what is wrong with one that is not valid.
pub(super) fn add(component: &[u8]) -> std::result::Result<Vec<u8>, String> {
    // One memory each: a second one would be the stop page.
    let features = WasmFeatures::default() - WasmFeatures::MULTI_MEMORY;
    Validator::new_with_features(features).validate_all(component).map_err(|e| e.to_string())?;
    in_component(component, 0).map_err(|e| e.to_string())
}

fn in_component(bytes: &[u8], depth: usize) -> Result<Vec<u8>> {
    if depth > DEPTH_MAX {
        return Err(format!("components within components, more than {DEPTH_MAX} deep").into());
    }
    rewritten(bytes, |id, payload, out| {
        match id {
            CORE_MODULE => section(id, &in_module(payload)?, out),
            COMPONENT => section(id, &in_component(payload, depth + 1)?, out),
            _ => section(id, payload, out),
        }
        Ok(())
    })
}

/// Goes through the sections after the header.
fn rewritten(bytes: &[u8], mut each: impl FnMut(u8, &[u8], &mut Vec<u8>) -> Result<()>) -> Result<Vec<u8>> {
    let mut reader = BinaryReader::new(bytes, 0);
    let mut out = reader.read_bytes(HEADER_BYTES)?.to_vec();
    while !reader.eof() {
        let id = reader.read_u8()?;
        let size = reader.read_var_u32()? as usize;
        let payload = reader.read_bytes(size)?;
        each(id, payload, &mut out)?;
    }
    Ok(out)
}

fn section(id: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(id);
    number(payload.len() as u32, out);
    out.extend_from_slice(payload);
}

/// An unsigned number in LEB128.
fn number(mut value: u32, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn in_module(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut memories = 0;
    let mut is_added = false;
    rewritten(bytes, |id, payload, out| {
        if !is_added && !BEFORE_MEMORIES.contains(&id) {
            is_added = true;
            let own = if id == MEMORIES { payload } else { &[0] };
            memories += count(own)?;
            section(MEMORIES, &with_stop_page(own)?, out);
            if id == MEMORIES {
                return Ok(());
            }
        }
        match id {
            IMPORTS => memories += imported_memories(payload)?,
            CODE => {
                section(id, &in_code(payload, memories)?, out);
                return Ok(());
            }
            CUSTOM if speaks_of_code(payload)? => return Ok(()),
            _ => {}
        }
        section(id, payload, out);
        Ok(())
    })
}

/// How many things a section holds.
fn count(payload: &[u8]) -> Result<u32> {
    Ok(BinaryReader::new(payload, 0).read_var_u32()?)
}

fn imported_memories(payload: &[u8]) -> Result<u32> {
    let mut memories = 0;
    for imports in wasmparser::ImportSectionReader::new(BinaryReader::new(payload, 0))?.into_imports() {
        if let TypeRef::Memory(memory) = imports?.ty {
            refuse_stop_page(memory.maximum)?;
            memories += 1;
        }
    }
    Ok(memories)
}

fn with_stop_page(payload: &[u8]) -> Result<Vec<u8>> {
    for memory in wasmparser::MemorySectionReader::new(BinaryReader::new(payload, 0))? {
        refuse_stop_page(memory?.maximum)?;
    }
    let mut reader = BinaryReader::new(payload, 0);
    let own = reader.read_var_u32()?;
    let mut out = Vec::with_capacity(payload.len() + 8);
    number(own + 1, &mut out);
    out.extend_from_slice(reader.read_bytes(reader.bytes_remaining())?);
    // With a maximum; one page; so many at most.
    out.extend([1, 1]);
    number(STOP_PAGES_MAX, &mut out);
    Ok(out)
}

fn refuse_stop_page(maximum: Option<u64>) -> Result<()> {
    match maximum == Some(u64::from(STOP_PAGES_MAX)) {
        true => Err(format!(
            "a memory of at most {STOP_PAGES_MAX} pages, which is a mark of the host's own; declare another maximum"
        )
        .into()),
        false => Ok(()),
    }
}

/// Debug information and hints for branches name places in the code.
fn speaks_of_code(payload: &[u8]) -> Result<bool> {
    let name = BinaryReader::new(payload, 0).read_string()?;
    Ok(name.starts_with(".debug_") || name.starts_with("metadata.code."))
}

fn in_code(payload: &[u8], stop_page: u32) -> Result<Vec<u8>> {
    let functions = CodeSectionReader::new(BinaryReader::new(payload, 0))?;
    let mut out = Vec::with_capacity(payload.len() * 5 / 4);
    number(functions.count(), &mut out);
    for function in functions {
        let body = in_function(payload, &function?, stop_page)?;
        number(body.len() as u32, &mut out);
        out.extend_from_slice(&body);
    }
    Ok(out)
}

fn in_function(code: &[u8], function: &FunctionBody<'_>, stop_page: u32) -> Result<Vec<u8>> {
    let Range { start, end } = function.range();
    let places = places(function)?;
    let mut out = Vec::with_capacity(end - start + places.len() * CHECK_BYTES);
    let mut copied = start;
    for (offset, &place) in places.iter().enumerate() {
        out.extend_from_slice(&code[copied..place]);
        copied = place;
        append_check(stop_page, offset as u32, &mut out);
    }
    out.extend_from_slice(&code[copied..end]);
    match places.len() <= STOP_BYTES {
        true => Ok(out),
        false => Err(format!("a function with more than {} loops and bulk operations", STOP_BYTES - 1).into()),
    }
}

/// Where a function is checked: at its start if it calls others, since no recursion is without such functions, or is not
/// small; at the head of each loop; and after each operator that may touch a whole memory or table.
fn places(function: &FunctionBody<'_>) -> Result<Vec<usize>> {
    let mut operators = function.get_operators_reader()?;
    let start = operators.original_position();
    let (mut places, mut calls) = (Vec::new(), function.range().len() > SMALL_BYTES);
    while !operators.eof() {
        match operators.read()? {
            Operator::Loop { .. }
            | Operator::MemoryFill { .. }
            | Operator::MemoryCopy { .. }
            | Operator::MemoryInit { .. }
            | Operator::MemoryGrow { .. }
            | Operator::TableFill { .. }
            | Operator::TableCopy { .. }
            | Operator::TableInit { .. }
            | Operator::TableGrow { .. } => places.push(operators.original_position()),
            Operator::Call { .. }
            | Operator::CallIndirect { .. }
            | Operator::CallRef { .. }
            | Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. }
            | Operator::ReturnCallRef { .. } => calls = true,
            _ => {}
        }
    }
    if calls {
        places.insert(0, start);
    }
    Ok(places)
}

/// Bytes of code that may run unchecked when it is called: a caller is checked, but it may call a million times.
const SMALL_BYTES: usize = 256;
/// Of one check, at most.
const CHECK_BYTES: usize = 12;

fn append_check(stop_page: u32, offset: u32, out: &mut Vec<u8>) {
    const I32_CONST: u8 = 0x41;
    const I32_LOAD8_U: u8 = 0x2d;
    const IF: u8 = 0x04;
    const NO_RESULT: u8 = 0x40;
    const UNREACHABLE: u8 = 0x00;
    const END: u8 = 0x0b;
    /// Says that the number of a memory follows the alignment, which is 1 byte.
    const OTHER_MEMORY: u8 = 0x40;
    out.extend([I32_CONST, 0, I32_LOAD8_U, OTHER_MEMORY]);
    number(stop_page, out);
    number(offset, out);
    out.extend([IF, NO_RESULT, UNREACHABLE, END]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(wat: &str) -> String {
        let bytes = in_module(&wat::parse_str(wat).unwrap()).unwrap();
        Validator::new().validate_all(&bytes).unwrap();
        let mut found = Vec::new();
        for payload in wasmparser::Parser::new(0).parse_all(&bytes) {
            if let wasmparser::Payload::CodeSectionEntry(body) = payload.unwrap() {
                found.push(operators(&body));
            }
        }
        found.join("; ")
    }

    /// Checks as `?k`, loops as `loop`, all else by its first letter.
    fn operators(body: &FunctionBody<'_>) -> String {
        let mut text = Vec::new();
        for operator in body.get_operators_reader().unwrap() {
            text.push(match operator.unwrap() {
                Operator::I32Load8U { memarg } if memarg.memory > 0 => format!("?{}", memarg.offset),
                Operator::I32Load8U { memarg } => format!("?{} of the only memory", memarg.offset),
                Operator::Loop { .. } => "loop".to_owned(),
                Operator::If { .. } | Operator::Unreachable | Operator::End | Operator::I32Const { .. } => continue,
                other => format!("{other:?}").chars().take(2).collect(),
            });
        }
        text.join(" ")
    }

    #[test]
    fn functions_and_loops_are_checked_each_at_a_place_of_its_own() {
        let loops = "(module (memory 1) (func (local i32) (loop (loop (br 1))) (loop)) (func (nop)) (func (call 0)))";
        assert_eq!(module(loops), "loop ?0 loop ?1 Br loop ?2; No; ?0 Ca");
        assert_eq!(module("(module (func (loop (br 0))))"), "loop ?0 of the only memory Br");
        let tail = r#"(module (import "a" "m" (memory 1)) (func (loop) (return_call 0)) (data (i32.const 0) "x"))"#;
        assert_eq!(module(tail), "?0 loop ?1 Re");
        let fill = "(memory.fill (i32.const 0) (i32.const 0) (i32.const 0))";
        assert_eq!(module(&format!("(module (memory 1) (func {fill} {fill}))")), "Me ?0 Me ?1");
        let long = "(drop (i32.const 0))".repeat(SMALL_BYTES / 3 + 1);
        assert!(module(&format!("(module (memory 1) (func {long}))")).starts_with("?0 Dr"));
        assert_eq!(module("(module)"), "");
    }

    #[test]
    fn modules_within_components_are_found() {
        let nested = "(component (component (core module (func (loop (br 0))))))";
        let checked = add(&wat::parse_str(nested).unwrap()).unwrap();
        Validator::new().validate_all(&checked).unwrap();
        assert!(checked.windows(2).any(|pair| pair == [0x2d, 0x40]));
    }

    #[test]
    fn nesting_has_a_limit() {
        let header = wat::parse_str("(component)").unwrap();
        let around = |inner: Vec<u8>| {
            let mut outer = header.clone();
            section(COMPONENT, &inner, &mut outer);
            outer
        };
        let nested = |depth| (0..depth).fold(header.clone(), |inner, _| around(inner));
        assert_eq!(add(&nested(DEPTH_MAX)).unwrap(), nested(DEPTH_MAX));
        let error = add(&nested(DEPTH_MAX + 1)).unwrap_err();
        assert_eq!(error, "components within components, more than 100 deep");
    }

    #[test]
    fn what_could_reach_the_page_is_refused() {
        let two = "(component (core module (memory 1) (memory 1)))";
        assert!(add(&wat::parse_str(two).unwrap()).unwrap_err().contains("multiple memories"));
        let like_it = format!("(component (core module (memory 1 {STOP_PAGES_MAX})))");
        let error = add(&wat::parse_str(like_it).unwrap()).unwrap_err();
        assert!(error.contains("a memory of at most 23294 pages"), "{error}");
        let beyond = "(component (core module (memory 1) (func (drop (i32.load8_u 1 (i32.const 0))))))";
        assert!(add(&wat::parse_str(beyond).unwrap()).unwrap_err().contains("alignment too large"));
        let loops = format!("(component (core module (func {})))", "(loop)".repeat(STOP_BYTES + 1));
        assert!(add(&wat::parse_str(loops).unwrap()).unwrap_err().contains("more than 65535 loops"));
    }
}
