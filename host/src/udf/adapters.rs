//! Copies between the parts of a component. Where one part calls a function that another part exports, the engine makes an
//! adapter, which copies arguments and results from the one's memory into the other's. An adapter is code of the engine: no
//! stop check stands in it. A list whose elements are lists that lie in one place takes a few kilobytes and 10^11 copies, so
//! a component in which an adapter can be is refused.
//!
//! It is harmless if its core modules call each other directly, and only the host by the canonical ABI: functions that are
//! lowered are those that the component imports. Components within it may give functions other names and types, as all
//! tools make them do for exported interfaces, but lower none: what they would be given is not looked into.

use wasmparser::{
    CanonicalFunction, ComponentAlias, ComponentExport, ComponentExternalKind, ComponentInstance, ComponentTypeRef,
    Parser, Payload,
};

/// Whether the engine may make an adapter for a component. What is no component is nobody's caller.
pub(super) fn may_be_in(component: &[u8]) -> bool {
    let mut levels: Vec<Level> = vec![Level::default()];
    for payload in Parser::new(0).parse_all(component) {
        let is_nested = levels.len() > 1;
        let Some(level) = levels.last_mut() else { return false };
        match payload {
            // The validator has the word for what is wrong with it.
            Err(_) => return false,
            Ok(Payload::ModuleSection { .. } | Payload::ComponentSection { .. }) => levels.push(Level::default()),
            Ok(Payload::End(_)) => drop(levels.pop()),
            Ok(payload) => {
                if level.read(payload, is_nested) == Some(Call::BetweenParts) {
                    return true;
                }
            }
        }
    }
    false
}

/// Who gives a function or an instance.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Giver {
    Host,
    Part,
}

/// That a function is lowered which a part gives.
#[derive(PartialEq)]
enum Call {
    BetweenParts,
}

/// The functions and instances of a component so far, by index.
#[derive(Default)]
struct Level {
    functions: Vec<Giver>,
    instances: Vec<Giver>,
}

impl Level {
    /// `None` for sections that say nothing of functions, or cannot be read.
    fn read(&mut self, payload: Payload<'_>, is_nested: bool) -> Option<Call> {
        match payload {
            Payload::ComponentImportSection(imports) => {
                let giver = if is_nested { Giver::Part } else { Giver::Host };
                imports.into_iter().flatten().for_each(|import| self.import(&import.ty, giver));
            }
            Payload::ComponentAliasSection(aliases) => {
                aliases.into_iter().flatten().for_each(|alias| self.alias(&alias));
            }
            Payload::ComponentInstanceSection(instances) => {
                instances.into_iter().flatten().for_each(|instance| self.instance(&instance));
            }
            Payload::ComponentExportSection(exports) => {
                exports.into_iter().flatten().for_each(|export| self.export(&export));
            }
            Payload::ComponentCanonicalSection(functions) => {
                return functions.into_iter().flatten().find_map(|function| self.canonical(&function));
            }
            _ => {}
        }
        None
    }

    fn canonical(&mut self, function: &CanonicalFunction) -> Option<Call> {
        match function {
            CanonicalFunction::Lift { .. } => self.functions.push(Giver::Part),
            CanonicalFunction::Lower { func_index, .. } if self.function(*func_index) == Giver::Part => {
                return Some(Call::BetweenParts);
            }
            // They make core functions.
            _ => {}
        }
        None
    }

    fn import(&mut self, what: &ComponentTypeRef, giver: Giver) {
        match what {
            ComponentTypeRef::Func(_) => self.functions.push(giver),
            ComponentTypeRef::Instance(_) => self.instances.push(giver),
            _ => {}
        }
    }

    fn alias(&mut self, alias: &ComponentAlias) {
        let ComponentAlias::InstanceExport { kind, instance_index, .. } = alias else { return };
        self.push(*kind, self.instance_of(*instance_index));
    }

    /// An instance of a part is the part's, whatever it was given; one that is made of others' exports is the host's if all
    /// of them are.
    fn instance(&mut self, instance: &ComponentInstance) {
        let giver = match instance {
            ComponentInstance::Instantiate { .. } => Giver::Part,
            ComponentInstance::FromExports(exports) => {
                let is_part = |export: &ComponentExport| self.giver(export.kind, export.index) == Giver::Part;
                if exports.iter().any(is_part) { Giver::Part } else { Giver::Host }
            }
        };
        self.instances.push(giver);
    }

    /// What is exported has a new index.
    fn export(&mut self, export: &ComponentExport) {
        self.push(export.kind, self.giver(export.kind, export.index));
    }

    fn push(&mut self, kind: ComponentExternalKind, giver: Giver) {
        match kind {
            ComponentExternalKind::Func => self.functions.push(giver),
            ComponentExternalKind::Instance => self.instances.push(giver),
            _ => {}
        }
    }

    fn giver(&self, kind: ComponentExternalKind, index: u32) -> Giver {
        match kind {
            ComponentExternalKind::Func => self.function(index),
            ComponentExternalKind::Instance => self.instance_of(index),
            _ => Giver::Host,
        }
    }

    fn function(&self, index: u32) -> Giver {
        self.functions.get(index as usize).copied().unwrap_or(Giver::Part)
    }

    fn instance_of(&self, index: u32) -> Giver {
        self.instances.get(index as usize).copied().unwrap_or(Giver::Part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> bool {
        may_be_in(&wat::parse_str(text).unwrap())
    }

    const CORE: &str = r#"(core module $m (func (export "f"))) (core instance $i (instantiate $m))"#;
    const LOWERED: &str = r#"(core func (canon lower (func $f)))"#;

    #[test]
    fn functions_of_the_host_may_be_lowered() {
        assert!(!of(&format!(r#"(component (import "f" (func $f)) {LOWERED})"#)));
        assert!(!of(
            r#"(component (import "h" (instance $h (export "f" (func)))) (core func (canon lower (func $h "f"))))"#
        ));
        assert!(!of(
            r#"(component (import "f" (func $f)) (instance $i (export "g" (func $f))) (core func (canon lower (func $i "g"))))"#
        ));
    }

    /// As tools export an interface: a component gives a lifted function its type.
    #[test]
    fn parts_may_give_functions_other_names() {
        let renamed = r#"(component $c (import "f" (func $f)) (export "g" (func $f)))"#;
        assert!(!of(&format!(
            r#"(component {CORE} (func $f (canon lift (core func $i "f"))) {renamed}
                (instance $j (instantiate $c (with "f" (func $f)))) (export "x" (instance $j)))"#
        )));
    }

    #[test]
    fn functions_of_parts_may_not_be_lowered() {
        let lifted = format!(r#"{CORE} (func $f (canon lift (core func $i "f")))"#);
        assert!(of(&format!("(component {lifted} {LOWERED})")));
        let part = format!(r#"(component $c {lifted} (export "f" (func $f))) (instance $j (instantiate $c))"#);
        assert!(of(&format!(r#"(component {part} (core func (canon lower (func $j "f"))))"#)));
        assert!(of(&format!(
            r#"(component {part} (alias export $j "f" (func $f)) (instance $k (export "f" (func $f)))
                (core func (canon lower (func $k "f"))))"#
        )));
        assert!(of(&format!(
            r#"(component {part} (export $e "e" (instance $j)) (core func (canon lower (func $e "f"))))"#
        )));
        assert!(of(&format!(r#"(component (component (import "f" (func $f)) {LOWERED}))"#)));
        assert!(of(&format!(r#"(component (component (component (import "f" (func $f)) {LOWERED})))"#)));
    }

    #[test]
    fn what_is_cut_short_is_left_to_the_validator() {
        let part = wat::parse_str(format!(r#"(component (component (import "f" (func $f)) {LOWERED}))"#)).unwrap();
        for length in 0..part.len() {
            may_be_in(&part[..length]);
        }
    }
}
