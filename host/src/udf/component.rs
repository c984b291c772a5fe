//! A file becomes a compiled component, or is refused by name.

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use wasmtime::component::{Component as Compiled, HasSelf, Linker};

use super::bounds;
use super::compile::NoCode;
use super::engine::Engine;
use super::guest::{Fault, Guest, Phase, Startable, quote};
use super::limits::Limits;
use super::state::{self, Made};
use super::world::{ArrowUdf, ArrowUdfPre, EXPORTS, PACKAGE, State, VERSION};
use super::{UdfError, adapters, trap, world};
use crate::message::Message;

/// Bytes of a component file.
pub const COMPONENT_BYTES_MAX: u64 = 64 << 20;

/// A component file, compiled. Clones share the code.
#[derive(Clone)]
pub struct Component(Arc<Inner>);

struct Inner {
    path: PathBuf,
    bytes: u64,
    digest: String,
    imports: Vec<Import>,
    functions: Vec<Function>,
    startable: Startable,
}

/// A function that a component offers.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Function {
    pub name: String,
    pub kind: Kind,
    #[serde(default)]
    pub doc: String,
    /// JSON Schema of its config; none if it does not say.
    #[serde(default)]
    pub config: Option<serde_json::Value>,
    /// The columns that it takes; none if they depend on input or config.
    #[serde(default)]
    pub needs: Option<Vec<Column>>,
    /// The columns that it gives; none if they depend on input or config.
    #[serde(default)]
    pub adds: Option<Vec<Column>>,
}

/// Something that a component asks of its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// `wasi:clocks/wall-clock@0.2.0`
    pub name: String,
    /// Whether the host gives it. To call one that is not given is a trap.
    pub is_granted: bool,
}

/// A column, as a component describes it to people.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Column {
    pub name: String,
    /// In Arrow's words, such as `Utf8`.
    #[serde(rename = "type")]
    pub data_type: String,
    pub nullable: bool,
}

/// What lineage a function may answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// One output row for each input row.
    Map,
    /// One or none.
    Filter,
    /// Any number.
    FlatMap,
    /// Any of these; sees whole blocks.
    MapBatches,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Map => "map",
            Kind::Filter => "filter",
            Kind::FlatMap => "flat-map",
            Kind::MapBatches => "map-batches",
        })
    }
}

impl Component {
    /// Reads, compiles and asks the component what it offers, under the default limits.
    pub fn load(engine: &Engine, path: &Path) -> Result<Component, UdfError> {
        Component::new(engine, path, &read(path)?)
    }

    /// The same under the limits of a stage.
    pub fn load_for_stage(engine: &Engine, path: &Path, limits: &Limits) -> Result<Component, UdfError> {
        Component::described(engine, path, &read(path)?, (limits, Phase::Describe))
    }

    /// The same with the file's bytes at hand, whether or not they are in the file yet.
    pub fn new(engine: &Engine, path: &Path, bytes: &[u8]) -> Result<Component, UdfError> {
        Component::described(engine, path, bytes, (&Limits::default(), Phase::Inspect))
    }

    fn described(engine: &Engine, path: &Path, bytes: &[u8], within: (&Limits, Phase)) -> Result<Component, UdfError> {
        let digest = blake3::hash(bytes).to_hex().to_string();
        let refuse = |foreign: Foreign| foreign.refuse(path);
        recognise(bytes).and_then(|()| bounded(bytes)).and_then(|()| refuse_adapters(bytes)).map_err(refuse)?;
        let compiled = engine.compile(bytes, &digest).map_err(|no| uncompiled(no, path))?;
        let imports = imports(engine, &compiled);
        let startable = startable(engine, &compiled, bytes).map_err(refuse)?;
        let functions = describe(engine, &startable, path, within)?;
        let bytes = bytes.len() as u64;
        Ok(Component(Arc::new(Inner { path: path.to_owned(), bytes, digest, imports, functions, startable })))
    }

    /// Size of the file.
    pub fn bytes(&self) -> u64 {
        self.0.bytes
    }

    /// What the component asks of its host, in its own order.
    pub fn imports(&self) -> &[Import] {
        &self.0.imports
    }

    /// BLAKE3 of the file's bytes, 64 hex digits.
    pub fn digest(&self) -> &str {
        &self.0.digest
    }

    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// What the component offers, in its own order.
    pub fn functions(&self) -> &[Function] {
        &self.0.functions
    }

    pub(super) fn startable(&self) -> &Startable {
        &self.0.startable
    }
}

impl fmt::Debug for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Component({}, {})", self.0.path.display(), self.0.digest)
    }
}

/// What a file is instead of a component of ours.
struct Foreign {
    found: String,
    hint: &'static str,
}

impl Foreign {
    fn new(found: impl Into<String>, hint: &'static str) -> Foreign {
        let found = found.into();
        Foreign { found, hint }
    }

    fn refuse(self, path: &Path) -> UdfError {
        UdfError::Refused { path: path.to_owned(), found: self.found, hint: self.hint.to_owned() }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, UdfError> {
    let unreadable = |source| UdfError::Read { path: path.to_owned(), source };
    let refuse_others = |metadata: io::Result<std::fs::Metadata>| match metadata.map_err(unreadable)?.is_file() {
        true => Ok(()),
        false => Err(unreadable(io::Error::other("it is not a file"))),
    };
    // A pipe would already hold up who opens it.
    refuse_others(path.metadata())?;
    let file = File::open(path).map_err(unreadable)?;
    refuse_others(file.metadata())?;
    let mut bytes = Vec::new();
    // One more than allowed, to notice that there is more; the file may grow while it is read.
    let read = file.take(COMPONENT_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(unreadable)?;
    if bytes.len() as u64 > COMPONENT_BYTES_MAX {
        let found = format!("larger than component_bytes_max = {COMPONENT_BYTES_MAX} bytes");
        return Err(Foreign::new(found, "strip debug information, or split the component").refuse(path));
    }
    Ok(bytes)
}

const BUILD_HINT: &str = "name a component; `wasmpipe udf build FOLDER` makes one of a crate";

/// Names the file by its first bytes.
fn recognise(bytes: &[u8]) -> Result<(), Foreign> {
    match bytes {
        [] => Err(Foreign::new("an empty file", BUILD_HINT)),
        [0, b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => Err(Foreign::new(
            "a core WebAssembly module, not a component",
            "build the crate with `wasmpipe udf build FOLDER`, which makes a component of its module",
        )),
        [0, b'a', b's', b'm', v0, v1, layer, _, ..] => Err(Foreign::new(
            format!("WebAssembly of the unknown version {} (layer {layer})", u16::from_le_bytes([*v0, *v1])),
            "build it with tools of the time of this wasmpipe",
        )),
        [0x7f, b'E', b'L', b'F', ..] => Err(native(bytes)),
        _ if b"\0asm\x0d\0\x01\0".starts_with(bytes) => Err(Foreign::new("a truncated file", "copy or build it again")),
        _ if is_text(bytes) => Err(Foreign::new("WebAssembly in text form", "`wasm-tools parse` makes it binary")),
        _ => Err(Foreign::new(format!("not WebAssembly (it starts with {})", hex(bytes)), BUILD_HINT)),
    }
}

fn startable(engine: &Engine, compiled: &Compiled, bytes: &[u8]) -> Result<Startable, Foreign> {
    let made = state::made_by(bytes).unwrap_or(Made::UNBOUNDED);
    Ok(Startable { pre: link(engine, compiled)?, state_bytes: made.bytes })
}

fn bounded(bytes: &[u8]) -> Result<(), Foreign> {
    bounds::refuse(bytes).map_err(|too_much| Foreign::new(too_much.found, too_much.hint))
}

fn refuse_adapters(bytes: &[u8]) -> Result<(), Foreign> {
    match adapters::may_be_in(bytes) {
        true => Err(Foreign::new(
            "a component whose parts call each other by the component model, where no limit on time would end a copy between them",
            "link its parts as core modules, or let one of them do all the work",
        )),
        false => Ok(()),
    }
}

fn native(bytes: &[u8]) -> Foreign {
    match wasmtime::Engine::detect_precompiled(bytes) {
        Some(_) => Foreign::new(
            "precompiled WebAssembly (.cwasm), which is native code that no sandbox holds",
            "name the .wasm file that it was made of; wasmpipe compiles and keeps the result by itself",
        ),
        None => Foreign::new("a native program or library (ELF)", BUILD_HINT),
    }
}

fn is_text(bytes: &[u8]) -> bool {
    let start = bytes.trim_ascii_start();
    [&b"(component"[..], b"(module", b";;", b"(;"].iter().any(|opening| start.starts_with(opening))
}

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    digits.join(" ")
}

fn uncompiled(no: NoCode, path: &Path) -> UdfError {
    match no {
        NoCode::Invalid(reason) => invalid(&quote(&reason)).refuse(path),
        NoCode::Limit(message) | NoCode::Broken(message) => {
            UdfError::Compile { path: path.to_owned(), message: Box::new(message) }
        }
    }
}

fn invalid(reason: &str) -> Foreign {
    let found = if trap::is_truncated(reason) {
        format!("a truncated component ({reason})")
    } else {
        format!("a damaged or unsupported component ({reason})")
    };
    Foreign::new(found, "copy or build it again")
}

#[cfg(test)]
pub(super) fn made(engine: &Engine, compiled: &Compiled, bytes: &[u8]) -> Startable {
    startable(engine, compiled, bytes).unwrap_or_else(|foreign| panic!("{}", foreign.found))
}

/// Checks the world, and connects the imports: ours to the host, all others to a trap.
fn link(engine: &Engine, compiled: &Compiled) -> Result<ArrowUdfPre<State>, Foreign> {
    check_world(engine, compiled)?;
    let mut linker = Linker::new(&engine.wasm);
    ArrowUdf::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)
        .and_then(|()| linker.define_unknown_imports_as_traps(compiled))
        .and_then(|()| linker.instantiate_pre(compiled))
        .and_then(ArrowUdfPre::new)
        .map_err(|e| misfit(&quote(&format!("{e:#}"))))
}

fn imports(engine: &Engine, compiled: &Compiled) -> Vec<Import> {
    let component = compiled.component_type();
    let import = |name: &str| Import { name: quote(name), is_granted: name.starts_with(PACKAGE) };
    component.imports(&engine.wasm).map(|(name, _)| import(name)).collect()
}

fn misfit(reason: &str) -> Foreign {
    Foreign::new(
        format!("a component whose imports or exports do not fit ({reason})"),
        "build it against the `wit` folder of this wasmpipe",
    )
}

fn check_world(engine: &Engine, compiled: &Compiled) -> Result<(), Foreign> {
    let component = compiled.component_type();
    let exports: Vec<&str> = component.exports(&engine.wasm).map(|(name, _)| name).collect();
    let imports = component.imports(&engine.wasm).map(|(name, _)| name);
    for name in exports.iter().copied().chain(imports) {
        check_version(name)?;
    }
    let missing = EXPORTS.iter().find(|name| !exports.contains(&&*format!("{PACKAGE}{name}@{VERSION}")));
    match missing {
        None => Ok(()),
        Some(_) if exports.is_empty() => Err(Foreign::new(
            "a component that exports nothing",
            "list its functions in `wasmpipe_sdk::export!(..)`; if it does, the file may be truncated",
        )),
        Some(name) => Err(Foreign::new(
            format!(
                "a component of another world: it exports {}, and not {PACKAGE}{name}@{VERSION}",
                quote(&exports.join(", "))
            ),
            BUILD_HINT,
        )),
    }
}

fn check_version(name: &str) -> Result<(), Foreign> {
    let Some(interface) = name.strip_prefix(PACKAGE) else {
        return Ok(());
    };
    match interface.rsplit_once('@') {
        Some((_, VERSION)) => Ok(()),
        other => Err(Foreign::new(
            format!(
                "a component of the contract's version {}, and this wasmpipe speaks {VERSION} (it uses {})",
                quote(other.map_or("unknown", |(_, version)| version)),
                quote(name)
            ),
            "use the wasmpipe of that version, or rebuild the component with the guest SDK of this one",
        )),
    }
}

#[derive(Deserialize)]
struct Description {
    functions: Vec<Function>,
}

fn describe(
    engine: &Engine,
    startable: &Startable,
    path: &Path,
    (limits, phase): (&Limits, Phase),
) -> Result<Vec<Function>, UdfError> {
    let label = path.file_name().unwrap_or_default().to_string_lossy();
    let said = Guest::start(engine, startable, limits, phase, (&label, "describe"), &Arc::default())
        .and_then(|mut guest| guest.describe(phase));
    let functions = match said {
        Ok(said) => parse(&said),
        Err(Fault::Misfit(reason)) => return Err(misfit(&reason).refuse(path)),
        Err(fault) => Err(fault.message().after("does not say what it offers: it ")),
    };
    functions.map_err(|message| UdfError::Describe { path: path.to_owned(), message: Box::new(message) })
}

fn parse(said: &str) -> Result<Vec<Function>, Message> {
    let description: Description = serde_json::from_str(said).map_err(|e| ill_described(&e.to_string()))?;
    check_functions(&description.functions)?;
    Ok(description.functions)
}

fn check_functions(functions: &[Function]) -> Result<(), Message> {
    if functions.is_empty() {
        return Err(ill_described("it offers no function"));
    }
    let mut names = HashSet::new();
    for Function { name, .. } in functions {
        if !is_name(name) {
            return Err(ill_described(&format!("`{}` is no name for a function", quote(name))));
        }
        if !names.insert(name) {
            return Err(ill_described(&format!("it offers `{name}` twice")));
        }
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    first && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

fn ill_described(reason: &str) -> Message {
    let hint = format!("see `describe` of {} in `wit/udf.wit`; report it to the component's author", world::WORLD);
    Message::new(format!("describes its functions wrongly: {}", quote(reason))).hint(hint)
}
