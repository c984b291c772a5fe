//! A core module becomes a component of the world that `wit/udf.wit` describes.
//!
//! A module says in a custom section which world it was written for; wit-bindgen puts it there, in Rust and in C. A
//! module without one, such as WAT written by hand, is taken for one of our world.

use std::error::Error;
use std::fs;
use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata, metadata};
use wit_parser::Resolve;

use super::{BuildError, io_error};

/// The contract.
const WIT: &str = include_str!("../../../../wit/udf.wit");
const WORLD: &str = "arrow-udf";

type Cause = Box<dyn Error + Send + Sync>;

/// The component of a module that is in a file, binary or as text.
pub(super) fn of_file(path: &Path) -> Result<Vec<u8>, BuildError> {
    let file = fs::read(path).map_err(io_error("cannot read", path))?;
    let not_a_module = |what: String| BuildError::NotAModule { path: path.to_owned(), what };
    let binary = wat::parse_bytes(&file).map_err(|error| not_a_module(format!("no WebAssembly: {error}")))?;
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
    let mut resolve = Resolve::default();
    let package = resolve.push_str("udf.wit", WIT)?;
    let world = resolve.select_world(&[package], Some(WORLD))?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    Ok(module)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(name: &str, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        of_file(&path).map_err(|error| format!("{error}: {:?}", error.source()))
    }

    /// Every function of the world, none of which returns.
    const GUEST: &str = r#"(module
        (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
        (func (export "wasmpipe:udf/functions@0.1.0#describe") (result i32) unreachable)
        (func (export "wasmpipe:udf/blocks@0.1.0#bind") (param i32 i32 i32 i32 i32 i32) (result i32) unreachable)
        (func (export "wasmpipe:udf/blocks@0.1.0#process") (param i32 i32 i32 i32 i32) (result i32) unreachable))"#;

    #[test]
    fn text_and_binary_without_a_world_get_ours() {
        let component = encoded("guest.wat", GUEST.as_bytes()).unwrap();
        assert_eq!(component[..8], *b"\0asm\x0d\0\x01\0");
        let binary = wat::parse_str(GUEST).unwrap();
        assert_eq!(encoded("guest.wasm", &binary).unwrap(), component);
        let again = encoded("component.wasm", &component).unwrap_err();
        assert!(again.contains("a component already"), "{again}");
    }

    #[test]
    fn what_is_no_guest_is_refused() {
        for (bytes, word) in [
            (&b"(module (func (export \"f\")))"[..], "cannot be made a component"),
            (b"(module (fun))", "no WebAssembly"),
            (b"int main() {}", "no WebAssembly"),
            (b"\0asm\x01\0\0\0\xff", "cannot be made a component"),
        ] {
            let message = encoded("guest.wat", bytes).unwrap_err();
            assert!(message.contains(word), "{message}");
        }
    }
}
