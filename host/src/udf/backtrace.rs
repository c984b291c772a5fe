//! Where in the author's code a guest trapped: the innermost function that is not of the language's own libraries, by its
//! name. Not by file and line: the stop checks move the code, so debug information does not get here
//! ([`checks`](super::checks)). A panic says its file and line itself.

use wasmtime::{FrameInfo, WasmBacktrace};

use super::guest::quote;

/// What a Rust program is made of besides the author's code, by the first part of its names.
const LIBRARIES: [&str; 12] = [
    "core",
    "std",
    "alloc",
    "compiler_builtins",
    "dlmalloc",
    "wasmpipe_sdk",
    "wasmpipe_wire",
    "serde",
    "serde_core",
    "serde_json",
    "wit_bindgen",
    "__rustc",
];

/// `` `code::facts::count` ``
pub(super) fn place(backtrace: &WasmBacktrace) -> Option<String> {
    innermost(backtrace.frames().iter().filter_map(FrameInfo::func_name))
}

fn innermost<'n>(names: impl Iterator<Item = &'n str>) -> Option<String> {
    let own = names.map(demangled).find(|name| !is_library(name))?;
    Some(quote(&format!("`{own}`")))
}

/// Without the hash that the compiler puts at the end. What the SDK's attributes make of a function has the function's name.
fn demangled(name: &str) -> String {
    let name = format!("{:#}", rustc_demangle::demangle(name));
    let inner = name.strip_prefix('<').and_then(|name| name.split_once(" as wasmpipe_sdk::"));
    inner.map_or(name.clone(), |(own, _)| own.to_owned())
}

/// So is what has no name, and what has no path: exports and glue of the component model.
fn is_library(name: &str) -> bool {
    let first = name.trim_start_matches(['<', '&', '[', '(', ' ']).split("::").next().unwrap_or_default();
    !name.contains("::") || LIBRARIES.contains(&first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_not_the_authors_code() {
        let is_library = |name: &str| is_library(&demangled(name));
        assert!(is_library("_ZN4core9panicking5panic17h0123456789abcdefE"));
        assert!(is_library("<alloc::vec::Vec<T> as core::clone::Clone>::clone"));
        assert!(is_library("cabi_realloc"));
        assert!(!is_library("_ZN4code5facts5count17h0123456789abcdefE"));
        assert!(!is_library("<code::facts::Facts as core::clone::Clone>::clone"));
        assert_eq!(demangled("<code::count as wasmpipe_sdk::function::Exported>::F::bind::{{closure}}"), "code::count");
        assert_eq!(demangled("_ZN4code5facts5count17h0123456789abcdefE"), "code::facts::count");
    }

    #[test]
    fn the_innermost_function_of_the_author_is_named() {
        let names = ["_ZN4core9panicking5panic17h0123456789abcdefE", "code::facts::count", "code::all", "process"];
        assert_eq!(innermost(names.into_iter()).unwrap(), "`code::facts::count`");
        assert_eq!(innermost(["core::panicking::panic", "process"].into_iter()), None);
    }
}
