//! Compiles the guest crate in a folder, or takes a core module of another language, and makes a component of it.
//!
//! The crate's release profile holds, with SIMD switched on. Cargo's own messages go to stderr as they come, and cargo
//! keeps what it compiled. The component is written only when it has been loaded as a pipeline would load it, and at once:
//! a file that was good stays good until there is a better one.
//!
//! * `tool_chain` - which of the machine's Rust tool chains can do it.
//! * `encode` - a core module becomes a component.

mod encode;
mod tool_chain;

use std::error::Error;
use std::ffi::OsString;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::new_file::{NewFile, NotAFile};
use crate::message::Hint;
use crate::udf::{Component, Engine, UdfError};
use tool_chain::{Suitable, TARGET};

/// What is to become a component.
pub struct Build<'a> {
    /// A crate's folder, or a core module.
    pub path: &'a Path,
    /// The component's file; none for one beside the module, or in the crate's folder.
    pub out: Option<&'a Path>,
    /// The folder for what cargo makes, which all guests share.
    pub target_dir: &'a Path,
}

/// A component that was written.
#[derive(Debug)]
pub struct Built {
    /// As a pipeline would load it.
    pub component: Component,
    /// How it was made, in words.
    pub how: String,
}

/// A component that is not written yet.
struct Made {
    out: PathBuf,
    bytes: Vec<u8>,
    /// How it was made, in words.
    how: String,
}

/// Why nothing was built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The folder holds no crate.
    #[error("{} has no Cargo.toml", dir.display())]
    NotACrate {
        /// The folder.
        dir: PathBuf,
    },
    /// Nothing on this machine compiles for the guest target.
    #[error(
        "no Rust tool chain here can compile for {TARGET}{}",
        tried.iter().map(|line| format!("\n  {line}")).collect::<String>()
    )]
    NoToolChain {
        /// What was looked at, and what it lacks.
        tried: Vec<String>,
    },
    /// Cargo does not understand the crate's manifest.
    #[error("cargo cannot read {}\n{}", manifest.display(), message.trim_end())]
    Manifest {
        /// The crate's Cargo.toml.
        manifest: PathBuf,
        /// What cargo says.
        message: String,
    },
    /// The crate makes no WebAssembly module.
    #[error("{} makes no module", manifest.display())]
    NotACdylib {
        /// The crate's Cargo.toml.
        manifest: PathBuf,
    },
    /// The crate does not compile.
    #[error("cargo could not build {} ({status}) with {tool_chain}", dir.display())]
    Cargo {
        /// The crate's folder.
        dir: PathBuf,
        /// The tool chain that was used, in words.
        tool_chain: String,
        /// How cargo ended.
        status: String,
    },
    /// The module cannot be made a component.
    #[error("{} cannot be made a component", module.display())]
    NotAComponent {
        /// The core module.
        module: PathBuf,
        /// Why not.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The file is no core module.
    #[error("{} is {what}", path.display())]
    NotAModule {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        what: String,
    },
    /// A module would be replaced by its component.
    #[error("{} would be replaced by the component that is made of it", module.display())]
    NoOut {
        /// The core module.
        module: PathBuf,
    },
    /// What was made is no component of ours; the old one stays.
    #[error(transparent)]
    Unfit(#[from] UdfError),
    /// The component would take the place of something that is no file.
    #[error(transparent)]
    NotAFile(#[from] NotAFile),
    /// A file or a program could not be used.
    #[error("{what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl Hint for BuildError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            BuildError::NotACrate { .. } => "name the folder of a guest crate; `wasmpipe udf new` makes one".into(),
            BuildError::NoToolChain { .. } => format!(
                "run `rustup target add {TARGET}`; on Debian 12 this does as well: `apt-get install rustc-web cargo-web \
                 rust-web-src lld-19`"
            ),
            BuildError::Manifest { .. } => "correct it there".into(),
            BuildError::NotACdylib { .. } => "add crate-type = [\"cdylib\"] to its [lib] section".into(),
            BuildError::Cargo { .. } => "cargo says why, above".into(),
            BuildError::NotAComponent { .. } => "does it use the wasmpipe guest SDK of this version, or the names and \
                types that `wit/udf.wit` lists under \"Without generated bindings\"?"
                .into(),
            BuildError::NotAModule { .. } => "name a crate's folder, or a core module: .wasm, or .wat text".into(),
            BuildError::NoOut { .. } => "name the component's file: --out FILE".into(),
            BuildError::Unfit(error) => return error.hint(),
            BuildError::NotAFile(error) => return error.hint(),
            BuildError::Io { .. } => {
                "check that it is there, that this user may use it, and that the disk is not full".into()
            }
        })
    }
}

/// What cargo says about the crate before it compiles anything.
#[derive(Debug, PartialEq, Eq)]
struct Package {
    name: String,
    manifest: PathBuf,
    workspace_root: PathBuf,
    /// It is its workspace's only member.
    is_alone: bool,
}

impl BuildError {
    /// Whether it was tried, and did not work; else nothing was done.
    pub fn is_failure(&self) -> bool {
        matches!(self, BuildError::Cargo { .. } | BuildError::Io { .. })
    }
}

/// Makes the component and writes it. It is checked before it is written: the old one stays until there is one that works.
pub fn build(engine: &Engine, wanted: &Build<'_>) -> Result<Built, BuildError> {
    // Before anything is compiled.
    wanted.out.map(NewFile::at).transpose()?;
    let made = if wanted.path.is_file() { of_module(wanted)? } else { of_crate(wanted)? };
    let component = Component::new(engine, &made.out, &made.bytes)?;
    let file = NewFile::at(&made.out)?;
    if file.is(&made.bytes) {
        return Ok(Built { component, how: format!("{}; the component is as it was", made.how) });
    }
    let written: io::Result<()> = file.with_folders().and_then(|()| file.write(|out| out.write_all(&made.bytes)));
    written.map_err(io_error("cannot write", &made.out))?;
    Ok(Built { component, how: made.how })
}

fn of_module(wanted: &Build<'_>) -> Result<Made, BuildError> {
    let module = wanted.path;
    let out = wanted.out.map_or_else(|| module.with_extension("wasm"), Path::to_owned);
    if out == *module {
        return Err(BuildError::NoOut { module: module.to_owned() });
    }
    let bytes = encode::of_file(module)?;
    Ok(Made { out, bytes, how: format!("made of {}", module.display()) })
}

fn of_crate(wanted: &Build<'_>) -> Result<Made, BuildError> {
    let dir = crate_folder(wanted.path)?;
    let suitable = tool_chain::find(&dir).map_err(|tried| BuildError::NoToolChain { tried })?;
    let package = package(&dir, &suitable)?;
    let (bytes, is_fresh) = component(&dir, &target_dir(wanted.target_dir, &package), &package, &suitable)?;
    let in_crate = || match wanted.path.as_os_str() == "." {
        true => PathBuf::from(format!("{}.wasm", package.name)),
        false => wanted.path.join(format!("{}.wasm", package.name)),
    };
    let out = wanted.out.map_or_else(in_crate, Path::to_owned);
    let how = if is_fresh { "up to date, built before with" } else { "built with" };
    Ok(Made { out, bytes, how: format!("{how} {suitable}") })
}

fn crate_folder(dir: &Path) -> Result<PathBuf, BuildError> {
    if !dir.join("Cargo.toml").is_file() {
        return Err(BuildError::NotACrate { dir: dir.to_owned() });
    }
    fs::canonicalize(dir).map_err(io_error("cannot find", dir))
}

/// Asked before anything is compiled, so that what cannot make a module is refused at once.
fn package(dir: &Path, suitable: &Suitable) -> Result<Package, BuildError> {
    let manifest = dir.join("Cargo.toml");
    let mut cargo = suitable.cargo(dir);
    cargo.args(["metadata", "--no-deps", "--format-version=1"]);
    let output = run(cargo.stderr(Stdio::piped()))?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(BuildError::Manifest { manifest, message });
    }
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    cdylib_package(&metadata, &manifest).ok_or(BuildError::NotACdylib { manifest })
}

fn cdylib_package(metadata: &Value, manifest: &Path) -> Option<Package> {
    let packages = metadata["packages"].as_array()?;
    let package = packages.iter().find(|package| is_path(&package["manifest_path"], manifest))?;
    let is_cdylib = |target: &Value| holds(&target["crate_types"], "cdylib");
    package["targets"].as_array()?.iter().find(|target| is_cdylib(target))?;
    Some(Package {
        name: package["name"].as_str()?.to_owned(),
        manifest: manifest.to_owned(),
        workspace_root: metadata["workspace_root"].as_str()?.into(),
        is_alone: packages.len() == 1,
    })
}

/// Compiles, and makes a component of the module. Also whether there was nothing to compile.
fn component(
    dir: &Path,
    target_dir: &Path,
    package: &Package,
    suitable: &Suitable,
) -> Result<(Vec<u8>, bool), BuildError> {
    fs::create_dir_all(target_dir).map_err(io_error("cannot make the folder", target_dir))?;
    // Another crate of the same name must not put its module in the place of ours before we have read it.
    let _one_build_at_a_time = lock(&target_dir.join(".wasmpipe-lock"))?;
    let Module { path, is_fresh } = compile(dir, package, suitable, target_dir)?;
    let bytes = fs::read(&path).map_err(io_error("cannot read", &path))?;
    let encoded = encode::component(&bytes);
    Ok((encoded.map_err(|source| BuildError::NotAComponent { module: path, source })?, is_fresh))
}

fn lock(path: &Path) -> Result<File, BuildError> {
    let locked = File::create(path).and_then(|file| file.lock().map(|()| file));
    locked.map_err(io_error("cannot lock", path))
}

fn compile(dir: &Path, package: &Package, suitable: &Suitable, target_dir: &Path) -> Result<Module, BuildError> {
    let mut cargo = suitable.cargo(dir);
    cargo.args(["rustc", "--lib", "--release", "--target", TARGET, "--message-format=json-render-diagnostics"]);
    cargo.arg("--target-dir").arg(target_dir).args(suitable.build_arguments());
    // To cargo, crates of the same name, each alone in a workspace, are the same crate wherever they are: it would
    // answer with the module of the other. An argument that differs keeps them apart.
    cargo.arg("--").arg("--remap-path-prefix").arg(assignment(dir, &package.name));
    let output = run(cargo.stderr(Stdio::inherit()))?;
    if !output.status.success() {
        let tool_chain = suitable.to_string();
        return Err(BuildError::Cargo { dir: dir.to_owned(), tool_chain, status: output.status.to_string() });
    }
    let manifest = &package.manifest;
    let module = module(&String::from_utf8_lossy(&output.stdout), manifest);
    module.ok_or_else(|| BuildError::NotACdylib { manifest: manifest.clone() })
}

fn assignment(dir: &Path, name: &str) -> OsString {
    let mut assignment = dir.as_os_str().to_owned();
    assignment.push("=");
    assignment.push(name);
    assignment
}

/// What cargo made.
#[derive(Debug, PartialEq)]
struct Module {
    path: PathBuf,
    /// Nothing had changed since it was made.
    is_fresh: bool,
}

/// Finds the module among cargo's messages, which are one JSON object a line.
fn module(messages: &str, manifest: &Path) -> Option<Module> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut artifacts = messages.filter(|message| {
        message["reason"] == "compiler-artifact"
            && is_path(&message["manifest_path"], manifest)
            && holds(&message["target"]["crate_types"], "cdylib")
    });
    let artifact = artifacts.next()?;
    let files = artifact["filenames"].as_array()?.iter().filter_map(Value::as_str).map(PathBuf::from);
    let path = files.into_iter().find(|file| file.extension().is_some_and(|e| e == "wasm"))?;
    Some(Module { path, is_fresh: artifact["fresh"] == true })
}

/// Shared by all guests: they have most of their dependencies in common, and a standard library that has to be compiled
/// is compiled once. Only crates of a larger workspace keep to themselves: cargo takes members of two copies of a
/// workspace for the same crates.
fn target_dir(shared: &Path, package: &Package) -> PathBuf {
    match package.is_alone {
        true => shared.to_owned(),
        false => shared.join(format!("{:016x}", hash(&package.workspace_root))),
    }
}

fn hash(path: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}

fn run(command: &mut Command) -> Result<Output, BuildError> {
    let output = command.stdin(Stdio::null()).stdout(Stdio::piped()).output();
    output.map_err(io_error("cannot run", Path::new(command.get_program())))
}

fn is_path(json: &Value, path: &Path) -> bool {
    json.as_str().is_some_and(|json| Path::new(json) == path)
}

fn holds(json: &Value, word: &str) -> bool {
    json.as_array().is_some_and(|words| words.iter().any(|json| json == word))
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BuildError {
    let path = path.to_owned();
    move |source| BuildError::Io { what, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;
    use expect_test::{Expect, expect};
    use serde_json::json;

    #[test]
    fn packages() {
        let metadata = |name: &str, crate_types: &[&str]| {
            let packages = [
                json!({ "name": "other", "manifest_path": "/w/other/Cargo.toml", "targets": [] }),
                json!({ "name": name, "manifest_path": "/w/code/Cargo.toml", "targets": [{ "crate_types": crate_types }] }),
            ];
            json!({ "packages": packages, "workspace_root": "/w" })
        };
        let manifest = Path::new("/w/code/Cargo.toml");
        let package = cdylib_package(&metadata("my-code", &["rlib", "cdylib"]), manifest).unwrap();
        assert_eq!((package.name.as_str(), package.is_alone), ("my-code", false));
        assert_eq!(cdylib_package(&metadata("my-code", &["lib"]), manifest), None);
        assert_eq!(cdylib_package(&metadata("my-code", &["cdylib"]), Path::new("/w/Cargo.toml")), None);
        assert_eq!(cdylib_package(&Value::Null, manifest), None);
    }

    #[test]
    fn modules() {
        let artifact = |manifest: &str, crate_type: &str, file: &str| {
            let target = json!({ "crate_types": [crate_type] });
            let message = json!({ "reason": "compiler-artifact", "manifest_path": manifest, "target": target, "filenames": [file], "fresh": true });
            format!("{message}\n")
        };
        let own = "/w/code/Cargo.toml";
        let messages = [
            artifact("/w/dep/Cargo.toml", "cdylib", "/t/dep.wasm"),
            artifact(own, "custom-build", "/t/build-script"),
            "a line that a build script printed\n".to_owned(),
            artifact(own, "cdylib", "/t/my_code.wasm"),
        ];
        let made = Module { path: "/t/my_code.wasm".into(), is_fresh: true };
        assert_eq!(module(&messages.concat(), Path::new(own)), Some(made));
        assert_eq!(module(&messages[..3].concat(), Path::new(own)), None);
    }

    #[cfg(unix)]
    #[test]
    fn nothing_is_made_for_what_is_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("socket");
        let _socket = std::os::unix::net::UnixListener::bind(&out).unwrap();
        let engine = Engine::new(None, crate::udf::Compiler::by(None)).unwrap();
        let wanted = Build { path: folder.path(), out: Some(&out), target_dir: folder.path() };
        let error = build(&engine, &wanted).err().unwrap();
        assert!(matches!(error, BuildError::NotAFile(_)), "{error}");
    }

    fn check(error: &BuildError, expected: &Expect) {
        expected.assert_eq(&Message::brief(error).line());
    }

    #[test]
    fn refusals() {
        let empty = tempfile::tempdir().unwrap();
        let wanted = Build { path: empty.path(), out: None, target_dir: empty.path() };
        let error = of_crate(&wanted).err().unwrap();
        assert!(matches!(error, BuildError::NotACrate { .. }), "{error}");
        check(
            &BuildError::NotACrate { dir: "guests".into() },
            &expect![[r#"
            guests has no Cargo.toml
            hint: name the folder of a guest crate; `wasmpipe udf new` makes one"#]],
        );
        let tried = vec!["the active tool chain lacks the standard library for this target, and its source".to_owned()];
        check(
            &BuildError::NoToolChain { tried },
            &expect![[r#"
            no Rust tool chain here can compile for wasm32-unknown-unknown
              the active tool chain lacks the standard library for this target, and its source
            hint: run `rustup target add wasm32-unknown-unknown`; on Debian 12 this does as well: `apt-get install rustc-web cargo-web rust-web-src lld-19`"#]],
        );
        check(
            &BuildError::NotACdylib { manifest: "code/Cargo.toml".into() },
            &expect![[r#"
            code/Cargo.toml makes no module
            hint: add crate-type = ["cdylib"] to its [lib] section"#]],
        );
        let message = "error: failed to parse manifest\n".to_owned();
        check(
            &BuildError::Manifest { manifest: "code/Cargo.toml".into(), message },
            &expect![[r#"
            cargo cannot read code/Cargo.toml
            error: failed to parse manifest
            hint: correct it there"#]],
        );
        let (tool_chain, status) = ("the active tool chain".to_owned(), "exit status: 101".to_owned());
        check(
            &BuildError::Cargo { dir: "code".into(), tool_chain, status },
            &expect![[r#"
            cargo could not build code (exit status: 101) with the active tool chain
            hint: cargo says why, above"#]],
        );
        check(
            &io_error("cannot write", Path::new("code.wasm"))(io::ErrorKind::StorageFull.into()),
            &expect![[r#"
            cannot write code.wasm
            hint: check that it is there, that this user may use it, and that the disk is not full"#]],
        );
    }
}
