//! What a component makes when it starts, as the file tells it before anything is made or compiled.
//!
//! Bytes: what the engine keeps for each instance of a module beside memories and tables: globals, what it imports, functions
//! that have a reference. A module of 6 MB with 10^6 globals, made 450 times, takes 7 GB. So it counts as memory of the guest.
//!
//! Parts: what the compiler goes through. It puts each component in the place where it is made, so 3 KB of components that make
//! each other twice, 26 levels of them, are 2^26 of them to the compiler.

use wasmparser::{
    BinaryReader, ComponentAlias, ComponentAliasSectionReader, ComponentExportSectionReader, ComponentExternalKind,
    ComponentImportSectionReader, ComponentInstance, ComponentInstanceSectionReader, ComponentOuterAliasKind,
    ElementItems, ElementSectionReader, Instance, InstanceSectionReader,
};

/// Bytes that any instance takes.
const INSTANCE_BYTES: u64 = 1 << 10;
/// Bytes of a global, which may be a vector.
const GLOBAL_BYTES: u64 = 16;
/// Bytes of something imported, and of a reference to a function: four pointers.
const REFERENCE_BYTES: u64 = 32;

const HEADER_BYTES: usize = 8;

/// Components within components. Tools make two or three levels.
pub(super) const DEPTH_MAX: usize = 100;

/// What is made when a component is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Made {
    /// Of all instances of modules.
    pub(super) bytes: u64,
    /// Instances, functions, and what else has an index, however often it is made.
    pub(super) parts: u64,
}

impl Made {
    /// What cannot be told.
    pub(super) const UNBOUNDED: Made = Made { bytes: u64::MAX, parts: u64::MAX };

    fn add(&mut self, other: Made) {
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.parts = self.parts.saturating_add(other.parts);
    }

    fn add_parts(&mut self, parts: u64) {
        self.parts = self.parts.saturating_add(parts);
    }
}

/// Why nothing is said of a component.
#[derive(Debug)]
pub(super) enum Unreadable {
    TooDeep,
    /// The validator has better words.
    Invalid,
}

impl From<wasmparser::BinaryReaderError> for Unreadable {
    fn from(_: wasmparser::BinaryReaderError) -> Unreadable {
        Unreadable::Invalid
    }
}

type Result<T> = std::result::Result<T, Unreadable>;

/// What a component makes; without bound if it makes instances of what it is handed, which no tool lets it do.
pub(super) fn made_by(component: &[u8]) -> Result<Made> {
    of_component(component, &[])
}

/// What an instance of each module and component makes, by index.
#[derive(Default)]
struct Scope {
    modules: Vec<Made>,
    components: Vec<Made>,
}

impl Scope {
    fn push(&mut self, kind: ComponentExternalKind, made: Made) {
        match kind {
            ComponentExternalKind::Module => self.modules.push(made),
            ComponentExternalKind::Component => self.components.push(made),
            _ => {}
        }
    }

    fn get(&self, kind: ComponentExternalKind, index: u32) -> Made {
        let known = match kind {
            ComponentExternalKind::Module => &self.modules,
            _ => &self.components,
        };
        known.get(index as usize).copied().unwrap_or(Made::UNBOUNDED)
    }
}

/// Components within it are read once each, however often they are made.
fn of_component(bytes: &[u8], outer: &[&Scope]) -> Result<Made> {
    if outer.len() > DEPTH_MAX {
        return Err(Unreadable::TooDeep);
    }
    let (mut scope, mut made) = (Scope::default(), Made::default());
    for section in sections(bytes) {
        let (id, payload) = section?;
        match id {
            MODULE => scope.modules.push(Made { bytes: of_module(payload)?, parts: 1 }),
            COMPONENT => {
                let scopes: Vec<&Scope> = outer.iter().copied().chain([&scope]).collect();
                let made = of_component(payload, &scopes)?;
                scope.components.push(made);
            }
            INSTANCES..=EXPORTS => of_section(id, payload, (&mut scope, outer), &mut made)?,
            _ => {}
        }
    }
    Ok(made)
}

// Sections of a component.
const MODULE: u8 = 1;
const INSTANCES: u8 = 2;
const COMPONENT: u8 = 4;
const COMPONENT_INSTANCES: u8 = 5;
const ALIASES: u8 = 6;
const CANONICAL: u8 = 8;
const IMPORTS: u8 = 10;
const EXPORTS: u8 = 11;

/// A section of things that a component makes, or names.
fn of_section(id: u8, payload: &[u8], (scope, outer): (&mut Scope, &[&Scope]), made: &mut Made) -> Result<()> {
    use ComponentExternalKind::{Component, Module};
    let reader = || BinaryReader::new(payload, 0);
    match id {
        INSTANCES | COMPONENT_INSTANCES | ALIASES | CANONICAL | IMPORTS | EXPORTS => made.add_parts(count(payload)?),
        _ => return Ok(()),
    }
    match id {
        INSTANCES => {
            for instance in InstanceSectionReader::new(reader())? {
                match instance? {
                    Instance::Instantiate { module_index, .. } => made.add(scope.get(Module, module_index)),
                    Instance::FromExports(exports) => made.add_parts(exports.len() as u64),
                }
            }
        }
        COMPONENT_INSTANCES => {
            for instance in ComponentInstanceSectionReader::new(reader())? {
                match instance? {
                    ComponentInstance::Instantiate { component_index, .. } => {
                        made.add(scope.get(Component, component_index));
                    }
                    ComponentInstance::FromExports(exports) => made.add_parts(exports.len() as u64),
                }
            }
        }
        ALIASES => {
            for alias in ComponentAliasSectionReader::new(reader())? {
                alias_to(&alias?, scope, outer);
            }
        }
        IMPORTS => {
            for import in ComponentImportSectionReader::new(reader())? {
                scope.push(import?.ty.kind(), Made::UNBOUNDED);
            }
        }
        EXPORTS => {
            for export in ComponentExportSectionReader::new(reader())? {
                let export = export?;
                scope.push(export.kind, scope.get(export.kind, export.index));
            }
        }
        _ => {}
    }
    Ok(())
}

fn alias_to(alias: &ComponentAlias, scope: &mut Scope, outer: &[&Scope]) {
    match alias {
        ComponentAlias::InstanceExport { kind, .. } => scope.push(*kind, Made::UNBOUNDED),
        ComponentAlias::Outer { kind, count, index } => {
            let kind = match kind {
                ComponentOuterAliasKind::CoreModule => ComponentExternalKind::Module,
                ComponentOuterAliasKind::Component => ComponentExternalKind::Component,
                ComponentOuterAliasKind::CoreType | ComponentOuterAliasKind::Type => return,
            };
            let made = match (*count as usize).checked_sub(1) {
                None => scope.get(kind, *index),
                Some(above) => outer.iter().rev().nth(above).map_or(Made::UNBOUNDED, |scope| scope.get(kind, *index)),
            };
            scope.push(kind, made);
        }
        ComponentAlias::CoreInstanceExport { .. } => {}
    }
}

fn of_module(bytes: &[u8]) -> Result<u64> {
    let (mut globals, mut references) = (0u64, 0u64);
    for section in sections(bytes) {
        let (id, payload) = section?;
        match id {
            // Imports and exports.
            2 | 7 => references = references.saturating_add(count(payload)?),
            6 => globals = globals.saturating_add(count(payload)?),
            9 => {
                for element in ElementSectionReader::new(BinaryReader::new(payload, 0))? {
                    let count = match element?.items {
                        ElementItems::Functions(functions) => functions.count(),
                        ElementItems::Expressions(_, expressions) => expressions.count(),
                    };
                    references = references.saturating_add(count.into());
                }
            }
            _ => {}
        }
    }
    let globals = globals.saturating_mul(GLOBAL_BYTES);
    Ok(INSTANCE_BYTES.saturating_add(globals).saturating_add(references.saturating_mul(REFERENCE_BYTES)))
}

/// How many things a section holds.
fn count(payload: &[u8]) -> Result<u64> {
    Ok(BinaryReader::new(payload, 0).read_var_u32()?.into())
}

/// The sections after the header, by their number.
fn sections(bytes: &[u8]) -> impl Iterator<Item = Result<(u8, &[u8])>> {
    let mut reader = BinaryReader::new(bytes.get(HEADER_BYTES..).unwrap_or_default(), 0);
    std::iter::from_fn(move || (!reader.eof()).then(|| section(&mut reader)))
}

fn section<'a>(reader: &mut BinaryReader<'a>) -> Result<(u8, &'a [u8])> {
    let id = reader.read_u8()?;
    let size = reader.read_var_u32()? as usize;
    Ok((id, reader.read_bytes(size)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> u64 {
        made(text).bytes
    }

    fn made(text: &str) -> Made {
        made_by(&wat::parse_str(text).unwrap()).unwrap()
    }

    fn globals(count: usize) -> String {
        "(global i32 (i32.const 0))".repeat(count)
    }

    #[test]
    fn each_instance_of_a_module_counts() {
        let with = |instances: &str| of(&format!("(component (core module $m {}) {instances})", globals(100)));
        let one = with("(core instance (instantiate $m))");
        assert!((1600..10_000).contains(&one), "{one}");
        assert_eq!(with(""), 0);
        assert_eq!(with(&"(core instance (instantiate $m))".repeat(7)), 7 * one);
    }

    #[test]
    fn components_that_make_components_count_as_often_as_they_are_made() {
        let module = format!("(core module $m {})", globals(10));
        let one = of(&format!("(component {module} (core instance (instantiate $m)))"));
        let twice = format!(
            "(component $c {module} (core instance (instantiate $m))) (instance (instantiate $c)) (instance (instantiate $c))"
        );
        assert_eq!(of(&format!("(component {twice})")), 2 * one);
        // A module or component of further out.
        let nested = format!("(component $d {twice}) (instance (instantiate $d)) (instance (instantiate $d))");
        assert_eq!(of(&format!("(component {nested})")), 4 * one);
        let outer = "(component $c (core instance (instantiate $m)) (core instance (instantiate $m)))";
        assert_eq!(of(&format!("(component {module} {outer} (instance (instantiate $c)))")), 2 * one);
        let outer = "(component $d (instance (instantiate $c)) (instance (instantiate $c)))";
        let inner = format!("(component $c {module} (core instance (instantiate $m)))");
        assert_eq!(of(&format!("(component {inner} {outer} (instance (instantiate $d)))")), 2 * one);
    }

    #[test]
    fn sixty_levels_of_two_end_at_once() {
        let mut text = "(component $c0 (core module $m) (core instance (instantiate $m)))".to_owned();
        for level in 1..60 {
            let below = level - 1;
            text += &format!(
                "(component $c{level} (alias outer 1 $c{below} (component $b)) (instance (instantiate $b)) (instance (instantiate $b)))"
            );
        }
        assert_eq!(of(&format!("(component {text} (instance (instantiate $c59)))")), u64::MAX);
        assert!(of(&format!("(component {text} (instance (instantiate $c39)))")) < u64::MAX);
    }

    #[test]
    fn what_is_handed_in_is_without_bound() {
        let handed = "(component $c (import \"m\" (core module $m)) (core instance (instantiate $m)))";
        let bytes = of(&format!(
            "(component (core module $m) {handed} (instance (instantiate $c (with \"m\" (core module $m)))))"
        ));
        assert_eq!(bytes, u64::MAX);
    }

    #[test]
    fn parts_count_as_often_as_they_are_made() {
        let parts = |text: &str| made(text).parts;
        assert_eq!(parts("(component)"), 0);
        let three = "(core module $m) (core instance (instantiate $m)) (core instance (instantiate $m))";
        assert_eq!(parts(&format!("(component {three})")), 4);
        let twice = format!("(component $c {three}) (instance (instantiate $c)) (instance (instantiate $c))");
        assert_eq!(parts(&format!("(component {twice})")), 10);
        let bag = r#"(core instance $i (instantiate $m)) (alias core export $i "f" (core func $f)) (core instance (export "a" (func $f)) (export "b" (func $f)))"#;
        assert_eq!(parts(&format!("(component (core module $m (func (export \"f\"))) {bag})")), 6);
    }

    #[test]
    fn nesting_has_a_limit() {
        let around = |inner: Vec<u8>, _| {
            let length = inner.len() as u16;
            // Its size in LEB128, in two bytes.
            let header = [b"\0asm\x0d\0\x01\0".as_slice(), &[COMPONENT, length as u8 | 0x80, (length >> 7) as u8]];
            [header.concat(), inner].concat()
        };
        let nested = |depth| (0..depth).fold(wat::parse_str("(component)").unwrap(), around);
        assert_eq!(made_by(&nested(DEPTH_MAX)).unwrap(), Made::default());
        assert!(matches!(made_by(&nested(DEPTH_MAX + 1)), Err(Unreadable::TooDeep)));
    }
}
