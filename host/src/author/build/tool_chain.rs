//! Which of the machine's Rust tool chains can compile guests, and how cargo is called with it.
//!
//! A tool chain that has the standard library for the guest target is best: the active one, else any that rustup knows.
//! Next comes one that has the standard library's source, and a linker for WebAssembly: cargo then compiles the library
//! too. Linux distributions ship the latter.

use std::cmp::Reverse;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What guests are compiled for: bare WebAssembly, which imports nothing that the contract does not name.
pub(super) const TARGET: &str = "wasm32-unknown-unknown";

/// A distribution's own tool chain, which is not on the `PATH` if rustup's comes first.
const SYSTEM_FOLDER: &str = "/usr/bin";

/// A Rust compiler and its cargo.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ToolChain {
    /// How a person would name it.
    name: String,
    cargo: PathBuf,
    rustc: PathBuf,
    sysroot: PathBuf,
    target_libdir: PathBuf,
}

/// A tool chain that can compile guests, and what it takes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Suitable {
    tool_chain: ToolChain,
    /// The standard library is compiled from its source.
    from_source: bool,
    /// The linker, where the tool chain has none of its own.
    linker: Option<PathBuf>,
}

/// The tool chain to use for the crate in `dir`, or what was looked at and what it lacks.
pub(super) fn find(dir: &Path) -> Result<Suitable, Vec<String>> {
    let tool_chains = installed(dir);
    let folders: Vec<PathBuf> = env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect();
    let linker = linker(&folders);
    let suitable = choose(&tool_chains, linker.as_deref());
    suitable.map(|suitable| suitable.with_version(dir)).ok_or_else(|| lacks(&tool_chains, linker.as_deref()))
}

impl Suitable {
    /// Cargo, in the crate's folder, with nothing in its environment that was meant for another build.
    pub(super) fn cargo(&self, dir: &Path) -> Command {
        let mut cargo = clean(&self.tool_chain.cargo);
        cargo.current_dir(dir).env("RUSTC", &self.tool_chain.rustc).env("RUSTFLAGS", "-C target-feature=+simd128");
        if let Some(linker) = &self.linker {
            cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
        }
        if self.from_source {
            // Compiling the standard library is an unstable feature of cargo; this opens it in a stable one.
            cargo.env("RUSTC_BOOTSTRAP", "1");
        }
        cargo
    }

    fn with_version(mut self, dir: &Path) -> Self {
        if let Some(version) = ask(clean(&self.tool_chain.rustc).current_dir(dir).arg("--version")) {
            self.tool_chain.name = format!("{} ({})", self.tool_chain.name, version.trim_end());
        }
        self
    }

    /// What `cargo rustc` needs in addition.
    pub(super) fn build_arguments(&self) -> &'static [&'static str] {
        if self.from_source { &["-Zbuild-std=std,panic_abort"] } else { &[] }
    }
}

impl fmt::Display for Suitable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let std = if self.from_source { ", standard library from source" } else { "" };
        write!(f, "{}{std}", self.tool_chain.name)
    }
}

/// The tool chains of this machine, the preferred ones first, each once.
fn installed(dir: &Path) -> Vec<ToolChain> {
    let active = probe("the active tool chain".to_owned(), "cargo".into(), "rustc".into(), dir);
    let rustup = rustup_names(dir).into_iter().filter_map(|name| probe_rustup(&name, dir));
    let system = Path::new(SYSTEM_FOLDER);
    let system = probe(format!("{SYSTEM_FOLDER}/rustc"), system.join("cargo"), system.join("rustc"), dir);
    let mut tool_chains: Vec<ToolChain> = Vec::new();
    for tool_chain in active.into_iter().chain(rustup).chain(system) {
        if tool_chains.iter().all(|known| known.sysroot != tool_chain.sysroot) {
            tool_chains.push(tool_chain);
        }
    }
    tool_chains
}

fn rustup_names(dir: &Path) -> Vec<String> {
    let listed = ask(clean("rustup").current_dir(dir).args(["toolchain", "list"])).unwrap_or_default();
    listed.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

fn probe_rustup(name: &str, dir: &Path) -> Option<ToolChain> {
    let which = |program| ask(clean("rustup").current_dir(dir).args(["which", "--toolchain", name, program]));
    let path = |program| which(program).map(|path| PathBuf::from(path.trim_end()));
    // A tool chain that was linked without a cargo works with any other's.
    let cargo = path("cargo").unwrap_or_else(|| "cargo".into());
    probe(format!("rustup tool chain {name}"), cargo, path("rustc")?, dir)
}

fn probe(name: String, cargo: PathBuf, rustc: PathBuf, dir: &Path) -> Option<ToolChain> {
    let printed =
        ask(clean(&rustc).current_dir(dir).args(["--print=sysroot", "--print=target-libdir", "--target", TARGET]))?;
    let mut paths = printed.lines().map(PathBuf::from);
    Some(ToolChain { name, cargo, rustc, sysroot: paths.next()?, target_libdir: paths.next()? })
}

/// What a program prints, if there is such a program and it succeeds.
fn ask(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8(output.stdout).ok())?
}

fn choose(tool_chains: &[ToolChain], linker: Option<&Path>) -> Option<Suitable> {
    let suitable = |tool_chain: &ToolChain, from_source| {
        let linker = linker.filter(|_| !tool_chain.has_linker()).map(Path::to_owned);
        Suitable { tool_chain: tool_chain.clone(), from_source, linker }
    };
    let links = |tool_chain: &&ToolChain| tool_chain.has_linker() || linker.is_some();
    let shipped = tool_chains.iter().filter(links).find(|tool_chain| tool_chain.has_std());
    let source = || tool_chains.iter().filter(links).find(|tool_chain| tool_chain.has_source());
    shipped
        .map(|tool_chain| suitable(tool_chain, false))
        .or_else(|| source().map(|tool_chain| suitable(tool_chain, true)))
}

fn lacks(tool_chains: &[ToolChain], linker: Option<&Path>) -> Vec<String> {
    if tool_chains.is_empty() {
        return vec!["there is no rustc on the PATH".to_owned()];
    }
    let lacks = |tool_chain: &ToolChain| match (tool_chain.has_std() || tool_chain.has_source(), linker) {
        (true, None) if !tool_chain.has_linker() => "a linker (rust-lld, wasm-ld)",
        _ => "the standard library for this target, and its source",
    };
    tool_chains.iter().map(|tool_chain| format!("{} lacks {}", tool_chain.name, lacks(tool_chain))).collect()
}

impl ToolChain {
    fn has_std(&self) -> bool {
        let is_std = |name: &str| name.starts_with("libstd-") && name.ends_with(".rlib");
        names(&self.target_libdir).iter().any(|name| is_std(name))
    }

    fn has_source(&self) -> bool {
        self.sysroot.join("lib/rustlib/src/rust/library/Cargo.lock").is_file()
    }

    /// rustc looks for a linker with its own libraries: `lib/rustlib/HOST/bin/rust-lld`.
    fn has_linker(&self) -> bool {
        let rustlib = self.sysroot.join("lib/rustlib");
        names(&rustlib).iter().any(|host| rustlib.join(host).join("bin/rust-lld").is_file())
    }
}

/// The best linker for WebAssembly in these folders: Rust's own, the system's default, the newest LLVM's.
fn linker(folders: &[PathBuf]) -> Option<PathBuf> {
    let rank = |name: &str| match name {
        "rust-lld" => Some(u32::MAX),
        "wasm-ld" => Some(u32::MAX - 1),
        _ => name.strip_prefix("wasm-ld-")?.parse().ok(),
    };
    let ranked = |folder: &PathBuf| -> Vec<(u32, PathBuf)> {
        names(folder).iter().filter_map(|name| Some((rank(name)?, folder.join(name)))).collect()
    };
    // Debian's rust-web-llvm has a rust-lld that is a link to nothing.
    let linkers = folders.iter().flat_map(ranked).filter(|(_, path)| path.is_file());
    linkers.min_by_key(|&(rank, _)| Reverse(rank)).map(|(_, path)| path)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// A command that does not see what a cargo, rustup or rustc around us has put into the environment for its own build.
fn clean(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, value) in env::vars_os() {
        if is_of_another_build(&name.to_string_lossy()) {
            command.env_remove(&name);
        } else if name == "LD_LIBRARY_PATH" || name == "DYLD_FALLBACK_LIBRARY_PATH" {
            command.env(&name, without_tool_chains(&value));
        }
    }
    command
}

/// Where crates come from and how cargo speaks is the user's; what and how it builds is not.
fn is_of_another_build(name: &str) -> bool {
    const KEPT: [&str; 6] =
        ["CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTRIES_", "CARGO_REGISTRY_", "CARGO_SOURCE_", "CARGO_TERM_"];
    let is_kept = name == "CARGO_HOME" || name == "CARGO_BUILD_JOBS" || KEPT.iter().any(|kept| name.starts_with(kept));
    let is_build = ["CARGO", "RUSTC", "RUSTDOC", "RUSTFLAGS", "RUSTUP_TOOLCHAIN", "RUST_RECURSION_COUNT"];
    !is_kept && is_build.iter().any(|prefix| name.starts_with(prefix))
}

/// Cargo lets what it runs find its own tool chain's libraries; another tool chain must not.
fn without_tool_chains(paths: &OsStr) -> OsString {
    let others = env::split_paths(paths).filter(|path| !path.join("rustlib").is_dir());
    env::join_paths(others).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of tool chains that hold what is named, and nothing that runs.
    fn tool_chain(folder: &Path, name: &str, holds: &[&str]) -> ToolChain {
        let sysroot = folder.join(name);
        let target_libdir = sysroot.join("lib/rustlib").join(TARGET).join("lib");
        for file in holds {
            let file = match *file {
                "std" => target_libdir.join("libstd-0123.rlib"),
                "source" => sysroot.join("lib/rustlib/src/rust/library/Cargo.lock"),
                "linker" => sysroot.join("lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld"),
                other => panic!("{other}"),
            };
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        ToolChain { name: name.to_owned(), cargo: "cargo".into(), rustc: "rustc".into(), sysroot, target_libdir }
    }

    /// Which tool chain is chosen, and how it is used.
    fn chosen(tool_chains: &[(&str, &[&str])], linker: Option<&str>) -> String {
        let folder = tempfile::tempdir().unwrap();
        let tool_chains: Vec<ToolChain> =
            tool_chains.iter().map(|(name, holds)| tool_chain(folder.path(), name, holds)).collect();
        let linker = linker.map(Path::new);
        match choose(&tool_chains, linker) {
            Some(suitable) => format!("{suitable}; linker {:?}", suitable.linker),
            None => lacks(&tool_chains, linker).join("; "),
        }
    }

    #[test]
    fn choices() {
        const FULL: &[&str] = &["std", "linker"];
        const SOURCE: &[&str] = &["source"];
        type Row = (&'static [(&'static str, &'static [&'static str])], Option<&'static str>, &'static str);
        let rows: [Row; 8] = [
            (&[("a", FULL), ("b", FULL)], None, "a; linker None"),
            (&[("a", &["linker"]), ("b", FULL)], None, "b; linker None"),
            (&[("a", SOURCE), ("b", FULL)], Some("wasm-ld"), "b; linker None"),
            (
                &[("a", &[]), ("b", SOURCE)],
                Some("wasm-ld"),
                "b, standard library from source; linker Some(\"wasm-ld\")",
            ),
            (&[("a", &["source", "linker"])], Some("wasm-ld"), "a, standard library from source; linker None"),
            (&[("a", &["std"])], Some("wasm-ld"), "a; linker Some(\"wasm-ld\")"),
            (
                &[("a", &["linker"]), ("b", SOURCE)],
                None,
                "a lacks the standard library for this target, and its source; b lacks a linker (rust-lld, wasm-ld)",
            ),
            (&[], None, "there is no rustc on the PATH"),
        ];
        for (tool_chains, linker, expected) in rows {
            assert_eq!(chosen(tool_chains, linker), expected);
        }
    }

    #[test]
    fn linkers() {
        let folder = tempfile::tempdir().unwrap();
        let folders = [folder.path().join("a"), folder.path().join("b"), folder.path().join("none")];
        let best = |name: &str| {
            let path = folders[usize::from(name.len().is_multiple_of(2))].join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
            linker(&folders).map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        };
        assert_eq!(best("ld.lld-19"), None);
        assert_eq!(best("wasm-ld-9").as_deref(), Some("wasm-ld-9"));
        assert_eq!(best("wasm-ld-19").as_deref(), Some("wasm-ld-19"));
        assert_eq!(best("wasm-ld").as_deref(), Some("wasm-ld"));
        assert_eq!(best("rust-lld").as_deref(), Some("rust-lld"));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_nothing_is_no_linker() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("lld-22", folder.path().join("rust-lld")).unwrap();
        assert_eq!(linker(&[folder.path().to_owned()]), None);
    }

    #[test]
    fn what_a_guest_build_inherits() {
        let kept =
            ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME", "CARGO_NET_OFFLINE", "CARGO_TERM_COLOR", "RUST_BACKTRACE"];
        let removed = [
            "CARGO",
            "CARGO_BUILD_TARGET",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_MAKEFLAGS",
            "CARGO_MANIFEST_DIR",
            "CARGO_PROFILE_RELEASE_LTO",
            "CARGO_TARGET_DIR",
            "RUSTC",
            "RUSTC_BOOTSTRAP",
            "RUSTC_WRAPPER",
            "RUSTC_WORKSPACE_WRAPPER",
            "RUSTFLAGS",
            "RUSTUP_TOOLCHAIN",
        ];
        assert_eq!(kept.map(is_of_another_build), [false; 7]);
        assert_eq!(removed.map(is_of_another_build), [true; 13]);
    }

    #[test]
    fn libraries_of_another_tool_chain_are_not_inherited() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("lib/rustlib")).unwrap();
        let paths = env::join_paths([folder.path().join("lib"), folder.path().join("own")]).unwrap();
        assert_eq!(without_tool_chains(&paths), folder.path().join("own"));
    }
}
