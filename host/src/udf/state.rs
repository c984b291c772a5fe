//! What the engine keeps for each instance of a component's modules beside memories and tables: globals, what it imports,
//! functions that have a reference. A module of 6 MB with 10^6 globals, made 450 times, takes 7 GB. So it counts as memory of
//! the guest, as the file tells it before anything is made.

use wasmparser::{
    BinaryReader, ComponentAlias, ComponentAliasSectionReader, ComponentExportSectionReader, ComponentExternalKind,
    ComponentImportSectionReader, ComponentInstance, ComponentInstanceSectionReader, ComponentOuterAliasKind,
    ElementItems, ElementSectionReader, Instance, InstanceSectionReader, Result,
};

/// Bytes that any instance takes.
const INSTANCE_BYTES: u64 = 1 << 10;
/// Bytes of a global, which may be a vector.
const GLOBAL_BYTES: u64 = 16;
/// Bytes of something imported, and of a reference to a function: four pointers.
const REFERENCE_BYTES: u64 = 32;

const HEADER_BYTES: usize = 8;

/// Bytes of all instances of modules that are made when a valid component is; without bound if it makes instances of what
/// it is handed, which no tool lets it do.
pub(super) fn bytes_of(component: &[u8]) -> u64 {
    of_component(component, &[]).unwrap_or(u64::MAX)
}

/// The bytes that an instance of each module and component takes, by index.
#[derive(Default)]
struct Scope {
    modules: Vec<u64>,
    components: Vec<u64>,
}

impl Scope {
    fn push(&mut self, kind: ComponentExternalKind, bytes: u64) {
        match kind {
            ComponentExternalKind::Module => self.modules.push(bytes),
            ComponentExternalKind::Component => self.components.push(bytes),
            _ => {}
        }
    }

    fn get(&self, kind: ComponentExternalKind, index: u32) -> u64 {
        let known = match kind {
            ComponentExternalKind::Module => &self.modules,
            _ => &self.components,
        };
        known.get(index as usize).copied().unwrap_or(u64::MAX)
    }
}

/// Components within it are read once each, however often they are made.
fn of_component(bytes: &[u8], outer: &[&Scope]) -> Result<u64> {
    use ComponentExternalKind::{Component, Module};
    let mut scope = Scope::default();
    let mut made = 0u64;
    for section in sections(bytes) {
        let (id, payload) = section?;
        let reader = || BinaryReader::new(payload, 0);
        match id {
            1 => scope.modules.push(of_module(payload)?),
            2 => {
                for instance in InstanceSectionReader::new(reader())? {
                    if let Instance::Instantiate { module_index, .. } = instance? {
                        made = made.saturating_add(scope.get(Module, module_index));
                    }
                }
            }
            4 => {
                let scopes: Vec<&Scope> = outer.iter().copied().chain([&scope]).collect();
                let bytes = of_component(payload, &scopes)?;
                scope.components.push(bytes);
            }
            5 => {
                for instance in ComponentInstanceSectionReader::new(reader())? {
                    if let ComponentInstance::Instantiate { component_index, .. } = instance? {
                        made = made.saturating_add(scope.get(Component, component_index));
                    }
                }
            }
            6 => {
                for alias in ComponentAliasSectionReader::new(reader())? {
                    alias_to(&alias?, &mut scope, outer);
                }
            }
            10 => {
                for import in ComponentImportSectionReader::new(reader())? {
                    scope.push(import?.ty.kind(), u64::MAX);
                }
            }
            11 => {
                for export in ComponentExportSectionReader::new(reader())? {
                    let export = export?;
                    scope.push(export.kind, scope.get(export.kind, export.index));
                }
            }
            _ => {}
        }
    }
    Ok(made)
}

fn alias_to(alias: &ComponentAlias, scope: &mut Scope, outer: &[&Scope]) {
    match alias {
        ComponentAlias::InstanceExport { kind, .. } => scope.push(*kind, u64::MAX),
        ComponentAlias::Outer { kind, count, index } => {
            let kind = match kind {
                ComponentOuterAliasKind::CoreModule => ComponentExternalKind::Module,
                ComponentOuterAliasKind::Component => ComponentExternalKind::Component,
                ComponentOuterAliasKind::CoreType | ComponentOuterAliasKind::Type => return,
            };
            let bytes = match (*count as usize).checked_sub(1) {
                None => scope.get(kind, *index),
                Some(above) => outer.iter().rev().nth(above).map_or(u64::MAX, |scope| scope.get(kind, *index)),
            };
            scope.push(kind, bytes);
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
    BinaryReader::new(payload, 0).read_var_u32().map(u64::from)
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
        bytes_of(&wat::parse_str(text).unwrap())
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
}
