//! A core module becomes a component of the world that `wit/udf.wit` describes.
//!
//! A module says in a custom section which world it was written for; wit-bindgen puts it there, in Rust and in C. A
//! module without one, such as WAT written by hand, is taken for one of our world.

use std::error::Error;
use std::fs;
use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata, metadata};
use wit_parser::{Resolve, WorldId};

use super::{BuildError, io_error};

/// The contract.
const WIT: &str = include_str!("../../../../wit/udf.wit");
const WORLD: &str = "arrow-udf";

type Cause = Box<dyn Error + Send + Sync>;

/// The component of a module that is in a file, binary or as text.
pub(super) fn of_file(path: &Path) -> Result<Vec<u8>, BuildError> {
    let file = fs::read(path).map_err(io_error("cannot read", path))?;
    let not_a_module = |what: String| BuildError::NotAModule { path: path.to_owned(), what };
    let binary = wat::parse_bytes(&file).map_err(|mut error| {
        error.set_path(path);
        not_a_module(format!("no WebAssembly: {error}"))
    })?;
    match &binary[..] {
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => {}
        [0, b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => return Err(not_a_module("a component already".into())),
        _ => return Err(not_a_module("no WebAssembly module".into())),
    }
    let encoded = with_world(&binary).and_then(|module| component(&module));
    encoded.map_err(|source| BuildError::NotAComponent { module: path.to_owned(), source })
}

/// The component of a module that names its world.
pub(super) fn component(module: &[u8]) -> Result<Vec<u8>, Cause> {
    Ok(ComponentEncoder::default().validate(true).module(module)?.encode()?)
}

fn with_world(module: &[u8]) -> Result<Vec<u8>, Cause> {
    let mut module = module.to_vec();
    if metadata::decode(&module)?.0.is_some() {
        return Ok(module);
    }
    let (resolve, world) = world()?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    Ok(module)
}

fn world() -> Result<(Resolve, WorldId), Cause> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("udf.wit", WIT)?;
    let world = resolve.select_world(&[package], Some(WORLD))?;
    Ok((resolve, world))
}

#[cfg(test)]
mod tests {
    use wit_parser::abi::{AbiVariant, WasmSignature, WasmType};
    use wit_parser::{SizeAlign, Type, WorldItem};

    use super::*;
    use crate::message::Message;

    fn encoded(name: &str, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        of_file(&path).map_err(|error| Message::of(&error).to_string())
    }

    /// Every function of the world, none of which returns.
    const GUEST: &str = r#"(module
        (import "wasmpipe:udf/host@0.1.0" "answer" (func (param i32 i32 i32 i32 i32 i32 i32 i32 i32)))
        (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
        (func (export "wasmpipe:udf/functions@0.1.0#describe") (result i32) unreachable)
        (func (export "wasmpipe:udf/blocks@0.1.0#bind") (param i32 i32 i32 i32 i32 i32) (result i32) unreachable)
        (func (export "wasmpipe:udf/blocks@0.1.0#process") (param i32 i32 i32 i32 i32) (result i32) unreachable)
        (func (export "cabi_post_wasmpipe:udf/blocks@0.1.0#process") (param i32)))"#;

    #[test]
    fn text_and_binary_without_a_world_get_ours() {
        let component = encoded("guest.wat", GUEST.as_bytes()).unwrap();
        assert_eq!(component[..8], *b"\0asm\x0d\0\x01\0");
        let binary = wat::parse_str(GUEST).unwrap();
        assert_eq!(encoded("guest.wasm", &binary).unwrap(), component);
        let again = encoded("component.wasm", &component).unwrap_err();
        assert!(again.contains("a component already"), "{again}");
    }

    /// One word of the module is another: what is wrong is named.
    #[track_caller]
    fn misfits(from: &str, to: &str, words: &[&str]) {
        let module = GUEST.replace(from, to);
        assert_ne!(module, GUEST, "{from} is not there");
        let message = encoded("guest.wat", module.as_bytes()).unwrap_err();
        for word in ["cannot be made a component", "Without generated bindings"].iter().chain(words) {
            assert!(message.contains(word), "{from} -> {to}: {word:?} is not in:\n{message}");
        }
    }

    #[test]
    fn a_missing_export_is_named() {
        misfits("functions@0.1.0#describe", "functions@0.1.0#explain", &["wasmpipe:udf/functions@0.1.0", "`describe`"]);
        misfits("blocks@0.1.0#bind", "blocks@0.2.0#bind", &["wasmpipe:udf/blocks@0.1.0", "`bind`"]);
        misfits("blocks@0.1.0#process\") (param i32 i32", "process\") (param i32 i32", &["`process`"]);
        misfits("\"cabi_realloc\"", "\"malloc\"", &["does not export a function named `cabi_realloc`"]);
        misfits("(memory (export \"memory\") 1)", "", &["does not export a memory named `memory`"]);
        misfits("(memory (export \"memory\") 1)", "(import \"env\" \"memory\" (memory 1))", &["cannot import memory"]);
    }

    #[test]
    fn an_export_of_another_type_is_named_with_both_types() {
        misfits(
            "describe\") (result i32)",
            "describe\") (result i32 i32)",
            &["`describe`", "expected `[] -> [I32]` but found `[] -> [I32, I32]`"],
        );
        misfits("bind\") (param i32 i32", "bind\") (param i64", &["`bind`", "but found `[I64, I32, I32, I32, I32]"]);
        misfits(
            "(param i32 i32 i32 i32) (result",
            "(param i32) (result",
            &["`cabi_realloc`", "but found `[I32] -> [I32]`"],
        );
        misfits(
            "process\") (param i32)",
            "process\") (param i64)",
            &["`process post-return`", "but found `[I64] -> []`"],
        );
    }

    #[test]
    fn an_import_that_nobody_gives_is_named() {
        misfits("\"answer\"", "\"reply\"", &["missing function `reply`"]);
        misfits("(func (param i32 i32", "(func (param i32", &["`answer`", "type mismatch"]);
        misfits("udf/host@0.1.0", "udf/host@0.2.0", &["named `wasmpipe:udf/host@0.2.0`"]);
        misfits("wasmpipe:udf/host@0.1.0", "wasi_snapshot_preview1", &["named `wasi_snapshot_preview1`"]);
    }

    /// What the contract says to those who have no generator.
    #[test]
    fn the_contracts_functions_are_those_of_the_canonical_abi() {
        let (resolve, world) = world().unwrap();
        let world = &resolve.worlds[world];
        for (items, variant) in [(&world.exports, AbiVariant::GuestExport), (&world.imports, AbiVariant::GuestImport)] {
            for (key, item) in items {
                let WorldItem::Interface { id, .. } = item else { continue };
                let prefix = match variant {
                    AbiVariant::GuestExport => format!("{}#", resolve.name_world_key(key)),
                    _ => String::new(),
                };
                for function in resolve.interfaces[*id].functions.values() {
                    let WasmSignature { params, results, .. } = resolve.wasm_signature(variant, function);
                    has_row(&format!("`{prefix}{}`|`({})->{}`", function.name, numbers(&params), of(&results)));
                }
            }
        }
    }

    #[test]
    fn the_contracts_sizes_are_those_of_the_canonical_abi() {
        let (resolve, _) = world().unwrap();
        let mut sizes = SizeAlign::default();
        sizes.fill(&resolve);
        let bytes = |name: &str| {
            let (id, _) = resolve.types.iter().find(|(_, of)| of.name.as_deref() == Some(name)).unwrap();
            assert_eq!(sizes.align(&Type::Id(id)).align_wasm32(), 4, "{name}");
            sizes.size(&Type::Id(id)).size_wasm32()
        };
        for name in ["field", "node", "row-error"] {
            has_row(&format!("`{name}`|{}", bytes(name)));
        }
        has_row(&format!("resultof`bind`|{}", 4 + bytes("binding")));
    }

    fn numbers(types: &[WasmType]) -> String {
        types.iter().map(|number| if *number == WasmType::I64 { "i64" } else { "i32" }).collect()
    }

    fn of(results: &[WasmType]) -> String {
        if results.is_empty() { "()".to_owned() } else { numbers(results) }
    }

    /// Blanks group what belongs together; they do not count.
    #[track_caller]
    fn has_row(start: &str) {
        let mut rows = WIT.lines().map(|line| line.trim_start_matches("/// |").replace(' ', ""));
        assert!(rows.any(|row| row.starts_with(&format!("{start}|"))), "no row of a table starts with {start}");
    }

    #[test]
    fn what_is_no_guest_is_refused() {
        for (bytes, word) in [
            (&b"(module (func (export \"f\")))"[..], "cannot be made a component"),
            (b"(module (fun))", "guest.wat:1:10"),
            (b"int main() {}", "no WebAssembly"),
            (b"\0asm\x01\0\0\0\xff", "cannot be made a component"),
        ] {
            let message = encoded("guest.wat", bytes).unwrap_err();
            assert!(message.contains(word), "{message}");
        }
    }
}
