//! What the engine's errors mean. It gives most of them no kind of their own, so that they are told apart by its words; nobody
//! else looks into them.

use wasmtime::Trap;

use super::alarm::NO_ADDRESS_SPACE;

/// What ended a guest, beside a trap.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning<'a> {
    /// More data was to leave it than may.
    TooMuchData,
    /// There is no room for its memory.
    NoAddressSpace,
    /// It used an import that it was not given.
    NotGranted(&'a str),
    /// A trap; or pointers, lengths, texts or tags that the canonical ABI does not allow.
    Other,
}

/// What the root cause of a failed call means.
pub(super) fn meaning(reason: &str) -> Meaning<'_> {
    if reason.contains("fuel allocated for hostcalls") {
        Meaning::TooMuchData
    } else if reason.contains(NO_ADDRESS_SPACE) {
        Meaning::NoAddressSpace
    } else if let Some(import) = reason.strip_prefix("unknown import: ") {
        Meaning::NotGranted(import.trim_end_matches(" has not been defined"))
    } else {
        Meaning::Other
    }
}

/// A trap in a few words.
pub(super) fn named(trap: Trap) -> String {
    let words = trap.to_string();
    words.strip_prefix("wasm trap: ").unwrap_or(&words).to_owned()
}

/// Whether the validator came to the end of a component before it had all of it.
pub(super) fn is_truncated(reason: &str) -> bool {
    reason.contains("unexpected end") || reason.contains("out of bounds")
}

/// What the standard library says as the last of a process for which no memory is left.
pub(super) fn is_out_of_memory(words: &str) -> bool {
    words.starts_with("memory allocation of ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_told_apart() {
        assert_eq!(meaning("the fuel allocated for hostcalls has been exhausted"), Meaning::TooMuchData);
        assert_eq!(meaning(&format!("{NO_ADDRESS_SPACE}: ENOMEM")), Meaning::NoAddressSpace);
        assert_eq!(meaning("unknown import: `a` has not been defined"), Meaning::NotGranted("`a`"));
        assert_eq!(meaning(&Trap::StackOverflow.to_string()), Meaning::Other);
        assert_eq!(named(Trap::StackOverflow), "call stack exhausted");
        assert!(is_truncated("unexpected end-of-file") && !is_truncated("bad magic"));
    }
}
