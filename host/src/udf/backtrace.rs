//! Where in the author's code a guest trapped: the innermost frame that is not of the language's own libraries, by its name
//! and, where the component has debug information, by file and line.

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

/// `` `code::facts::count` (src/facts.rs:12) ``, or as much of it as is known.
pub(super) fn place(backtrace: &WasmBacktrace) -> Option<String> {
    let frames: Vec<Frame> = backtrace.frames().iter().flat_map(frames).collect();
    let own = frames.iter().find(|frame| !frame.is_library())?;
    Some(quote(&own.to_string()))
}

struct Frame {
    name: String,
    file: Option<String>,
}

/// A function and what was inlined into it, innermost first.
fn frames(frame: &FrameInfo) -> Vec<Frame> {
    let symbols = frame.symbols().iter().map(|symbol| {
        let line = symbol.line().map(|line| format!(":{line}")).unwrap_or_default();
        let file = symbol.file().map(|file| format!("{file}{line}"));
        Frame { name: demangled(symbol.name().or(frame.func_name()).unwrap_or_default()), file }
    });
    let frames: Vec<Frame> = symbols.collect();
    if frames.is_empty() {
        vec![Frame { name: demangled(frame.func_name().unwrap_or_default()), file: None }]
    } else {
        frames
    }
}

/// Without the hash that the compiler puts at the end. What the SDK's attributes make of a function has the function's name.
fn demangled(name: &str) -> String {
    let name = format!("{:#}", rustc_demangle::demangle(name));
    let inner = name.strip_prefix('<').and_then(|name| name.split_once(" as wasmpipe_sdk::"));
    inner.map_or(name.clone(), |(own, _)| own.to_owned())
}

impl Frame {
    /// So is what has no name, and what has no path: exports and glue of the component model.
    fn is_library(&self) -> bool {
        let name = self.name.trim_start_matches(['<', '&', '[', '(', ' ']);
        let first = name.split("::").next().unwrap_or_default();
        !self.name.contains("::") || LIBRARIES.contains(&first)
    }
}

impl std::fmt::Display for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}`", self.name)?;
        self.file.as_ref().map_or(Ok(()), |file| write!(f, " ({file})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_not_the_authors_code() {
        let is_library = |name: &str| Frame { name: demangled(name), file: None }.is_library();
        assert!(is_library("_ZN4core9panicking5panic17h0123456789abcdefE"));
        assert!(is_library("<alloc::vec::Vec<T> as core::clone::Clone>::clone"));
        assert!(is_library("cabi_realloc"));
        assert!(!is_library("_ZN4code5facts5count17h0123456789abcdefE"));
        assert!(!is_library("<code::facts::Facts as core::clone::Clone>::clone"));
        assert_eq!(demangled("<code::count as wasmpipe_sdk::function::Exported>::F::bind::{{closure}}"), "code::count");
        assert_eq!(demangled("_ZN4code5facts5count17h0123456789abcdefE"), "code::facts::count");
    }
}
