//! The one engine of a process, its clock, and the cache of compiled components. Another process [compiles](super::compile).
//!
//! The cache is a private folder of native code, `components/<digest>-<engine>.cwasm`. `<digest>` names the component's
//! bytes, `<engine>` all that compiling depends on: the version, the settings, the processor, and how
//! [stop checks](super::checks) are added. A file is
//!
//! ```text
//! offset  bytes
//!      0     32  BLAKE3 of all that follows
//!     32      n  the compiled component, as the engine serialises it
//! ```
//!
//! A file that does not match its checksum is compiled anew. Nothing else makes such a file trustworthy: it belongs to the
//! user that runs the host, or to root, in a folder that only this user enters, and is never taken from a pipeline file. A
//! folder that cannot be trusted, or not be made, is not used, and each start compiles.

use std::fs::File;
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::Component as Compiled;

use super::alarm::{Alarm, Clock, Memories};
use super::compile::{Compiler, NoCode};
use super::{UdfError, checks};
use crate::private;

/// Stack of one call. A worker thread needs this and room for the host: the 2 MiB that threads have by default will do.
const STACK_BYTES_MAX: usize = 512 << 10;

/// When it is set, `perf` can name the functions of guests: they are listed in `/tmp/perf-<process>.map`.
const PERF_MAP: &str = "WASMPIPE_PERF_MAP";

const CHECKSUM_BYTES: usize = blake3::OUT_LEN;

/// Compiles and runs components. One per process; clones are handles to the same engine.
#[derive(Clone)]
pub struct Engine {
    pub(super) wasm: wasmtime::Engine,
    clock: Arc<Clock>,
    cache: Option<Cache>,
    compiler: Compiler,
}

impl Engine {
    /// How often [`Engine::tick`] has to be called for time limits to hold.
    pub const TICK: Duration = Duration::from_millis(10);

    /// `cache` is a folder for compiled components; without it, or where it cannot be used, each start compiles.
    pub fn new(cache: Option<PathBuf>, compiler: Compiler) -> Result<Engine, UdfError> {
        let wasm = wasmtime::Engine::new(&config()).map_err(|e| UdfError::Engine(e.into()))?;
        let cache = cache.and_then(|folder| Cache::open_or_warn(&folder, &wasm));
        Ok(Engine { wasm, clock: Arc::default(), cache, compiler })
    }

    /// Lets time pass for all running functions.
    pub fn tick(&self) {
        self.clock.tick();
    }

    /// The alarm of a new guest.
    pub(super) fn alarm(&self) -> Arc<Alarm> {
        self.clock.alarm()
    }

    /// How many ticks cover `time`, rounded up; one more, as the current one is under way.
    pub(super) fn ticks(time: Duration) -> u64 {
        let ticks = time.as_nanos().div_ceil(Self::TICK.as_nanos());
        u64::try_from(ticks).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// Compiles, or takes from the cache what was compiled before.
    pub(super) fn compile(&self, bytes: &[u8], digest: &str) -> Result<Compiled, NoCode> {
        if let Some(known) = self.cache.as_ref().and_then(|cache| cache.get(&self.wasm, digest)) {
            return Ok(known);
        }
        let code = self.compiler.compile(&Maker { wasm: self.wasm.clone() }, bytes)?;
        let code: &[u8] = (*code).as_ref();
        // SAFETY: the compiler is of this build, and nobody else could write what it gave; `compile` says why.
        let compiled = unsafe { Compiled::deserialize(&self.wasm, code) };
        let compiled = compiled.map_err(|error| NoCode::Invalid(format!("{error:#}")))?;
        if let Some(cache) = &self.cache {
            cache.put(digest, code);
        }
        Ok(compiled)
    }
}

/// Makes code that an engine of the same build can run.
pub(super) struct Maker {
    wasm: wasmtime::Engine,
}

impl Maker {
    pub(super) fn new() -> wasmtime::Result<Maker> {
        Ok(Maker { wasm: wasmtime::Engine::new(&config())? })
    }

    /// All that the code depends on beside the component.
    pub(super) fn key(&self) -> String {
        key(&self.wasm)
    }

    /// Checks a component and compiles it, in this process. What is wrong with it is said in the validator's words.
    pub(super) fn make(&self, component: &[u8]) -> Result<Vec<u8>, String> {
        let checked = checks::add(component)?;
        self.wasm.precompile_component(&checked).map_err(|error| format!("{error:#}"))
    }
}

fn key(wasm: &wasmtime::Engine) -> String {
    let mut hasher = Blake3(blake3::Hasher::new());
    wasm.precompile_compatibility_hash().hash(&mut hasher);
    checks::VERSION.hash(&mut hasher);
    hasher.0.finalize().to_hex()[..16].to_owned()
}

fn config() -> wasmtime::Config {
    let mut config = wasmtime::Config::new();
    config
        .wasm_component_model(true)
        .concurrency_support(false)
        .max_wasm_stack(STACK_BYTES_MAX)
        .wasm_memory64(false)
        // Functions are pure: the same row gives the same result on every machine.
        .relaxed_simd_deterministic(true)
        // Stop checks rely on both: that functions stay apart, and that the host knows where the stop pages lie.
        .compiler_inlining(wasmtime::Inlining::No)
        .with_host_memory(Arc::new(Memories))
        // Such memories cannot be images of a file.
        .memory_init_cow(false);
    if std::env::var_os(PERF_MAP).is_some() {
        config.profiler(wasmtime::ProfilingStrategy::PerfMap);
    }
    config
}

#[derive(Clone)]
struct Cache {
    folder: PathBuf,
    engine: String,
}

impl Cache {
    fn open_or_warn(folder: &Path, wasm: &wasmtime::Engine) -> Option<Cache> {
        let opened = Cache::open(folder, wasm);
        let warn = |error: &io::Error| {
            tracing::warn!(
                folder = %folder.display(),
                "compiled components are not kept, each start compiles: {error}; WASMPIPE_CACHE names a folder of your own"
            );
        };
        opened.inspect_err(warn).ok()
    }

    fn open(folder: &Path, wasm: &wasmtime::Engine) -> io::Result<Cache> {
        let folder = private::folder(folder, "components")?;
        Ok(Cache { folder, engine: key(wasm) })
    }

    fn path(&self, digest: &str) -> PathBuf {
        self.folder.join(format!("{digest}-{}.cwasm", self.engine))
    }

    fn get(&self, wasm: &wasmtime::Engine, digest: &str) -> Option<Compiled> {
        let path = self.path(digest);
        let file = match read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            read => read.inspect_err(|error| tracing::warn!("a compiled component is not used: {error}")).ok()?,
        };
        let Some(code) = checked(&file) else {
            tracing::warn!(path = %path.display(), "a compiled component is damaged, compiling it anew");
            return None;
        };
        // SAFETY: the bytes are what `put` wrote: the checksum holds, and only this user writes into this folder.
        let compiled = unsafe { Compiled::deserialize(wasm, code) };
        compiled.inspect_err(|e| tracing::debug!(path = %path.display(), "compiling anew: {e:#}")).ok()
    }

    /// The cache is a convenience: that it cannot be written is said and does no harm.
    fn put(&self, digest: &str, code: &[u8]) {
        let path = self.path(digest);
        if let Err(e) = self.write(&path, code) {
            tracing::warn!(path = %path.display(), "a compiled component is not kept: {e}");
        }
    }

    fn write(&self, path: &Path, code: &[u8]) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(blake3::hash(code).as_bytes())?;
        file.write_all(code)?;
        // Not synced: what a power cut tears is caught by the checksum.
        file.persist(path)?;
        Ok(())
    }
}

fn checked(file: &[u8]) -> Option<&[u8]> {
    let (checksum, code) = file.split_at_checked(CHECKSUM_BYTES)?;
    (blake3::hash(code).as_bytes() == checksum).then_some(code)
}

/// A file that nobody else can have written.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    // A pipe would already hold up who opens it.
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut file = File::open(path)?;
    private::trust(path, &file.metadata()?)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Lets BLAKE3 hash what hashes itself.
struct Blake3(blake3::Hasher);

impl Hasher for Blake3 {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        unreachable!("the whole hash is asked for")
    }
}
