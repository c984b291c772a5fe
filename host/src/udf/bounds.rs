//! What is refused of a component before it is compiled, as the file tells it in a moment.
//!
//! Here are no limits on what a compiler may take, which would refuse people's own components, or let hostile ones pass: a
//! function of 7 MB compiles in a second, or in a minute with 6 GB. The [compiler's process](super::compile) has those. Only
//! where there is no such process, estimates stand in for them.

use wasmparser::{FunctionBody, Operator, Parser, Payload};

use super::state::{DEPTH_MAX, Unreadable, made_by};
use crate::message::Message;

/// What a component makes: those of tools make some hundreds of parts.
const PARTS_MAX: u64 = 100_000;

/// Why a component is not compiled, and what to do.
#[derive(Debug)]
pub(super) struct TooMuch {
    pub(super) found: String,
    pub(super) hint: &'static str,
}

/// Refuses what makes too much when it starts. What cannot be read is left to the validator.
pub(super) fn refuse(component: &[u8]) -> Result<(), TooMuch> {
    match made_by(component) {
        Err(Unreadable::Invalid) => Ok(()),
        Err(Unreadable::TooDeep) => Err(TooMuch {
            found: format!("a component with components within it, more than {DEPTH_MAX} deep"),
            hint: "let it contain its parts side by side",
        }),
        Ok(made) if made.bytes == u64::MAX => Err(TooMuch {
            found: "a component that makes more instances of modules than can be counted before they are made"
                .to_owned(),
            hint: "let each part make instances of its own modules only",
        }),
        Ok(made) if made.parts > PARTS_MAX => Err(TooMuch {
            found: format!("a component that makes more than component_parts_max = {PARTS_MAX} parts when it starts"),
            hint: "this limit is fixed; let components within it make each other less often",
        }),
        Ok(_) => Ok(()),
    }
}

/// Functions of a component that is compiled in this process. A Python interpreter with its modules has 13,000.
const FUNCTIONS_MAX: u64 = 100_000;
/// Bytes of one. The largest of that interpreter, which runs its bytecode, has 427,000.
const FUNCTION_BYTES_MAX: usize = 1 << 20;
/// Bytes of all. That interpreter's have 6.5 MB.
const CODE_BYTES_MAX: usize = 32 << 20;
/// Locals of a function times its blocks: the compiler may make a value for each pair. That interpreter has 10^6 at most.
const LOCAL_BLOCKS_MAX: u64 = 8 << 20;

/// Refuses what is too much for this process. The words continue a sentence whose subject is the component.
pub(super) fn refuse_here(component: &[u8]) -> Result<(), Message> {
    let mut code = Code::default();
    for payload in Parser::new(0).parse_all(component) {
        let found = match payload {
            Ok(Payload::CodeSectionEntry(body)) => code.add(&body),
            Err(_) => return Ok(()),
            Ok(_) => None,
        };
        if let Some(found) = found {
            let message = Message::new(format!("{found}, which is compiled by another process only"));
            return Err(message.hint("let WASMPIPE_COMPILER name a wasmpipe of this build"));
        }
    }
    Ok(())
}

/// The code so far.
#[derive(Default)]
struct Code {
    functions: u64,
    bytes: usize,
}

impl Code {
    /// What is too much of it, with one more function.
    fn add(&mut self, body: &FunctionBody<'_>) -> Option<String> {
        let bytes = body.range().len();
        self.functions += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        if self.functions > FUNCTIONS_MAX {
            return Some(format!("has more than {FUNCTIONS_MAX} functions"));
        }
        if self.bytes > CODE_BYTES_MAX {
            return Some(format!("has more than {CODE_BYTES_MAX} bytes of code"));
        }
        if bytes > FUNCTION_BYTES_MAX {
            return Some(format!("has a function of {bytes} bytes, more than {FUNCTION_BYTES_MAX}"));
        }
        let pairs = local_blocks(body).unwrap_or_default();
        (pairs > LOCAL_BLOCKS_MAX)
            .then(|| format!("has a function with {pairs} pairs of a local and a block, more than {LOCAL_BLOCKS_MAX}"))
    }
}

fn local_blocks(body: &FunctionBody<'_>) -> wasmparser::Result<u64> {
    let (mut locals, mut blocks) = (0u64, 0u64);
    for group in body.get_locals_reader()? {
        locals = locals.saturating_add(group?.0.into());
    }
    // Not worth reading.
    if locals.saturating_mul(body.range().len() as u64) <= LOCAL_BLOCKS_MAX {
        return Ok(0);
    }
    let mut operators = body.get_operators_reader()?;
    while !operators.eof() {
        let is_block =
            matches!(operators.read()?, Operator::Loop { .. } | Operator::Block { .. } | Operator::If { .. });
        blocks += u64::from(is_block);
    }
    Ok(locals.saturating_mul(blocks))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<u8> {
        wat::parse_str(text).unwrap()
    }

    /// Components that make each other twice, so many levels of them.
    fn doubling(levels: usize) -> Vec<u8> {
        let level = |inner: String, level: usize| {
            let twice = "(instance (instantiate $c))".repeat(2);
            format!("(component ${} {} {twice})", if level == levels { "top" } else { "c" }, inner)
        };
        parsed(&(1..=levels).fold("(component $c)".to_owned(), level))
    }

    #[test]
    fn components_that_make_each_other_too_often_are_refused() {
        refuse(&doubling(15)).unwrap();
        let refused = refuse(&doubling(26)).unwrap_err();
        assert_eq!(refused.found, "a component that makes more than component_parts_max = 100000 parts when it starts");
    }

    #[test]
    fn what_cannot_be_read_is_left_to_the_validator() {
        let whole = doubling(26);
        for length in 0..whole.len() - 1 {
            refuse(&whole[..length]).unwrap_or_else(|too_much| assert!(too_much.found.contains("parts"), "{length}"));
            refuse_here(&whole[..length]).unwrap();
        }
    }

    #[track_caller]
    fn is_refused_here(module: &str, words: &str) {
        let refused = refuse_here(&parsed(&format!("(component (core module {module}))"))).unwrap_err();
        assert!(refused.what.starts_with(words), "{refused}");
    }

    #[test]
    fn what_compiles_for_long_is_not_compiled_in_this_process() {
        refuse_here(&parsed("(component (core module (func (local i32) (loop))))")).unwrap();
        is_refused_here(&format!("(func {})", "nop ".repeat(FUNCTION_BYTES_MAX)), "has a function of 1048578 bytes");
        let looping = format!("(func {} {})", "(local i32)".repeat(9000), "(loop)".repeat(1000));
        is_refused_here(&looping, "has a function with 9000000 pairs of a local and a block");
        is_refused_here(&"(func)".repeat(FUNCTIONS_MAX as usize + 1), "has more than 100000 functions");
    }
}
