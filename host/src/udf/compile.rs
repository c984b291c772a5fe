//! Compiling, where it can be ended. Cranelift takes time and memory of its own choosing: half a megabyte of a hostile component
//! costs it 9 GB, and some make it panic. So a component is compiled by another process of this program, `wasmpipe
//! compile-component`, which ends when it goes past a limit, and takes nothing along when it breaks.
//!
//! ```text
//! host                                            compiler
//!  | component --> file in memory --> stdin -->     | sets its limits, compares the engine's key,
//!  | looks at time and memory every few ms          | validates, adds stop checks, compiles
//!  | code      <-- file in memory <-- stdout <--    | exit code 0: code; another: words why there is none, and whose fault it is
//! ```
//!
//! **What is run as native code** is what came back, so who could have written it matters. The two files have no name and
//! are this process's and its child's alone. The child is this very program; where the host is a library in another one, it
//! is the wasmpipe that the person who runs it names, or has on their `PATH`, as trustworthy as anything that they run. It
//! must be of the same build: it compares the key of its engine, stop checks included, with that of the host before it reads
//! a byte.
//!
//! **Where there is no such program**, or none can be started, compiling happens here, for components within the
//! [static limits](super::bounds::refuse_here) only, and a panic is an answer. These limits are rougher: a component made to
//! break them may take gigabytes and minutes.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::engine::Maker;
use super::journal::tame;
use super::{UdfError, bounds, trap};
use crate::message::Message;
use crate::{panics, size};

/// Bytes of a component in the form that the processor runs: four times those of the largest file that is taken.
const COMPILED_BYTES_MAX: u64 = 512 << 20;
/// Bytes of the compiler's words.
const WORDS_BYTES_MAX: u64 = 4 << 10;
/// Threads that compile. More of them take memory, and gain little.
const THREADS_MAX: usize = 16;
/// How much more than its limit the compiler can allocate at once; what it allocates bit by bit is seen earlier.
const BURST_BYTES_MAX: u64 = 64 << 20;
/// How often a compiler is looked at; earlier at first.
const LOOK: Duration = Duration::from_millis(10);

/// The hidden command.
pub const COMPILE_COMMAND: &str = "compile-component";
/// Names the program that compiles.
const COMPILER: &str = "WASMPIPE_COMPILER";
/// Limits what the compiler may allocate for one component.
const MEMORY_MAX: &str = "WASMPIPE_COMPILE_MEMORY_MAX";
/// Limits how long it may take.
const SECONDS_MAX: &str = "WASMPIPE_COMPILE_SECONDS_MAX";

/// What the compiler's exit codes mean, beside 0.
const INVALID: u8 = 10;
const BROKE: u8 = 11;
const OTHER_BUILD: u8 = 12;
/// It cannot begin; no component is to blame.
const UNREADY: u8 = 13;

/// Who compiles components, and within which limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiler {
    /// A wasmpipe of the same build. Without one, components are compiled in this process, within rougher limits.
    pub program: Option<PathBuf>,
    /// What the compiler may allocate for one component.
    pub memory_bytes_max: u64,
    /// Wall time of one component.
    pub time_max: Duration,
}

impl Compiler {
    /// With the limits that hold unless others are asked for. A Python interpreter takes 400 MB and 20 seconds of a processor.
    pub fn by(program: Option<PathBuf>) -> Compiler {
        Compiler { program, memory_bytes_max: 2 << 30, time_max: Duration::from_secs(300) }
    }

    /// As the environment says: `WASMPIPE_COMPILER`, which is otherwise `program`, `WASMPIPE_COMPILE_MEMORY_MAX` and
    /// `WASMPIPE_COMPILE_SECONDS_MAX`.
    pub fn from_environment(program: impl FnOnce() -> Option<PathBuf>) -> Result<Compiler, UdfError> {
        let written = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let text = |name| written(name).map(|value| value.to_string_lossy().into_owned());
        let program = written(COMPILER).map(PathBuf::from).or_else(program);
        let mut compiler = Compiler::by(program);
        if let Some(written) = text(MEMORY_MAX) {
            compiler.memory_bytes_max = size::of_environment(&written).map_err(|hint| {
                UdfError::Environment(Message::new(format!("{MEMORY_MAX} is not a size: \"{written}\"")).hint(hint))
            })?;
        }
        if let Some(written) = text(SECONDS_MAX) {
            compiler.time_max = seconds(&written).ok_or_else(|| {
                let what = format!("{SECONDS_MAX} is not a time: \"{written}\"");
                UdfError::Environment(Message::new(what).hint("write a number of seconds above 0, such as 300"))
            })?;
        }
        Ok(compiler)
    }

    /// The program that this is, where it is wasmpipe itself.
    pub fn this_program() -> Option<PathBuf> {
        // Linux runs the same file again even if another one has its name by now.
        let same = Path::new("/proc/self/exe");
        if same.exists() { Some(same.into()) } else { std::env::current_exe().ok() }
    }

    /// The wasmpipe on the `PATH`, for a host in another program.
    pub fn on_path() -> Option<PathBuf> {
        found_in(&std::env::var_os("PATH")?)
    }

    /// The component, checked and compiled for the engine.
    pub(super) fn compile(&self, maker: &Maker, component: &[u8]) -> Result<Code, NoCode> {
        let Some(program) = &self.program else { return here(maker, component) };
        match self.there(program, maker, component) {
            Err(Elsewhere::NotThere(why)) => {
                tracing::warn!(
                    "components are compiled in this process, within rough limits: {}: {why}; {COMPILER} names a wasmpipe of this build",
                    program.display()
                );
                here(maker, component)
            }
            Err(Elsewhere::No(no)) => Err(no),
            Ok(code) => Ok(code),
        }
    }

    fn there(&self, program: &Path, maker: &Maker, component: &[u8]) -> Result<Code, Elsewhere> {
        let mut command = apart(program);
        command.arg(COMPILE_COMMAND).arg(maker.key());
        command.arg(self.memory_bytes_max.to_string()).arg(self.time_max.as_secs().to_string());
        command.arg(std::process::id().to_string());
        self.run(command, component)
    }

    fn run(&self, mut command: Command, component: &[u8]) -> Result<Code, Elsewhere> {
        let mut files = Files::of(component)?;
        command.stdin(files.component.try_clone()?).stdout(files.code.try_clone()?).stderr(files.words.try_clone()?);
        let mut child = Running(command.spawn()?);
        let ended = self.watch(&mut child.0)?;
        self.judge(ended, &mut files)
    }

    /// Waits for the end of a compiler, or makes it one.
    fn watch(&self, child: &mut Child) -> io::Result<Ended> {
        let (begun, mut pause) = (Instant::now(), Duration::from_millis(1));
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(Ended::ByItself(status));
            }
            if allocated(child.id()) > self.memory_bytes_max {
                return Ok(Ended::OutOfMemory);
            }
            let Some(left) = self.time_max.checked_sub(begun.elapsed()) else { return Ok(Ended::OutOfTime) };
            std::thread::sleep(pause.min(left));
            pause = (pause * 2).min(LOOK);
        }
    }

    fn judge(&self, ended: Ended, files: &mut Files) -> Result<Code, Elsewhere> {
        let status = match ended {
            Ended::ByItself(status) => status,
            Ended::OutOfMemory => return Err(self.out_of_memory().into()),
            Ended::OutOfTime => return Err(self.out_of_time().into()),
        };
        match status.code().and_then(|code| u8::try_from(code).ok()) {
            Some(0) => Ok(files.code()?),
            Some(INVALID) => Err(NoCode::Invalid(words(&mut files.code)?).into()),
            Some(BROKE) => Err(NoCode::broken(&words(&mut files.code)?).into()),
            Some(OTHER_BUILD) => Err(Elsewhere::NotThere("it is of another build".to_owned())),
            Some(UNREADY) => {
                let why = tame(words(&mut files.code)?.trim_end(), WORDS_BYTES_MAX as usize);
                Err(Elsewhere::NotThere(format!("it cannot begin: {why}")))
            }
            Some(code) => Err(Elsewhere::NotThere(format!("it ends with code {code}"))),
            None => Err(self.signalled(status, &words(&mut files.words)?).into()),
        }
    }

    /// A signal that nobody here has sent. Allocations that fail abort the process, and the standard library says so.
    fn signalled(&self, status: ExitStatus, words: &str) -> NoCode {
        const SIGXCPU: i32 = 24;
        const SIGXFSZ: i32 = 25;
        match status.signal() {
            Some(SIGXCPU) => self.out_of_time(),
            Some(SIGXFSZ) => too_large(),
            _ if trap::is_out_of_memory(words) => self.out_of_memory(),
            signal => NoCode::broken(&match signal {
                Some(9) => "it was killed; the machine may be out of memory".to_owned(),
                signal => format!("it ended by signal {}", signal.unwrap_or_default()),
            }),
        }
    }

    fn out_of_memory(&self) -> NoCode {
        let max = self.memory_bytes_max;
        let message = Message::new(format!("takes too much memory to compile: compile_memory_bytes_max = {max} bytes"));
        NoCode::Limit(message.hint(format!("WASMPIPE_COMPILE_MEMORY_MAX raises it; {TAKES_MOST}")))
    }

    fn out_of_time(&self) -> NoCode {
        let max = self.time_max.as_secs_f64();
        let message = Message::new(format!("takes too long to compile: compile_seconds_max = {max} s"));
        NoCode::Limit(message.hint(format!("WASMPIPE_COMPILE_SECONDS_MAX raises it; {TAKES_MOST}")))
    }
}

const TAKES_MOST: &str = "what takes most is functions of megabytes, or with thousands of locals, or very many of them";

fn too_large() -> NoCode {
    let what = format!("becomes too large when it is compiled: compiled_bytes_max = {COMPILED_BYTES_MAX} bytes");
    NoCode::Limit(Message::new(what).hint("this limit is fixed; split the component"))
}

/// A program with nothing of this one: it has no use for secrets, and what it reads is hostile.
fn apart(program: &Path) -> Command {
    let mut command = Command::new(program);
    let kept = std::env::vars_os().filter(|(name, _)| is_for_loading(&name.to_string_lossy()));
    command.env_clear().envs(kept).env("RAYON_NUM_THREADS", threads().to_string());
    // What a terminal sends is for the host, which ends its compiler.
    command.process_group(0);
    command
}

/// Why there is no code. Messages continue a sentence whose subject is the component; the words of `Invalid` are the
/// validator's own.
#[derive(Debug)]
pub(super) enum NoCode {
    Invalid(String),
    Limit(Message),
    Broken(Message),
}

impl NoCode {
    fn broken(how: &str) -> NoCode {
        let how = tame(how, WORDS_BYTES_MAX as usize);
        let message = Message::new(format!("breaks the compiler: {how}"));
        NoCode::Broken(
            message.hint("no other component is harmed; build it with other tools or settings, and report it"),
        )
    }
}

/// Code that an engine of the same build made.
pub(super) type Code = Box<dyn AsRef<[u8]>>;

/// Why another process gave no code.
enum Elsewhere {
    No(NoCode),
    /// It is not a compiler for this host, or cannot be started.
    NotThere(String),
}

impl From<NoCode> for Elsewhere {
    fn from(no: NoCode) -> Elsewhere {
        Elsewhere::No(no)
    }
}

impl From<io::Error> for Elsewhere {
    fn from(error: io::Error) -> Elsewhere {
        Elsewhere::NotThere(error.to_string())
    }
}

enum Ended {
    ByItself(ExitStatus),
    OutOfMemory,
    OutOfTime,
}

/// A compiler that ends with this value at the latest.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What stands between host and compiler.
struct Files {
    component: File,
    code: File,
    words: File,
}

impl Files {
    fn of(component: &[u8]) -> io::Result<Files> {
        let mut files = Files { component: nameless()?, code: nameless()?, words: nameless()? };
        files.component.write_all(component)?;
        files.component.rewind()?;
        Ok(files)
    }

    fn code(&self) -> io::Result<Code> {
        // SAFETY: nobody changes it any more: the compiler has ended, and nobody else had the file.
        Ok(Box::new(unsafe { memmap2::Mmap::map(&self.code)? }))
    }
}

/// A file that nobody else can open, in memory where the system has such files.
fn nameless() -> io::Result<File> {
    #[cfg(target_os = "linux")]
    if let Ok(file) = rustix::fs::memfd_create("wasmpipe-compile", rustix::fs::MemfdFlags::CLOEXEC) {
        return Ok(file.into());
    }
    tempfile::tempfile()
}

fn words(file: &mut File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.take(WORDS_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What a process has allocated, as the kernel counts it against `RLIMIT_DATA`; 0 where it does not tell.
fn allocated(process: u32) -> u64 {
    const DATA_PAGES: usize = 5;
    let told = std::fs::read_to_string(format!("/proc/{process}/statm")).unwrap_or_default();
    let pages = told.split_whitespace().nth(DATA_PAGES).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or_default().saturating_mul(rustix::param::page_size() as u64)
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX)
}

/// What the system's loader and sanitizers read.
fn is_for_loading(name: &str) -> bool {
    ["LD_", "DYLD_", "ASAN_"].iter().any(|prefix| name.starts_with(prefix))
}

/// Entries that are relative, or empty, stand for the folder that somebody is in by chance: what lies there is not run.
fn found_in(path: &OsStr) -> Option<PathBuf> {
    let folders = std::env::split_paths(path).filter(|folder| folder.is_absolute());
    folders.map(|folder| folder.join("wasmpipe")).find(|program| program.is_file())
}

fn seconds(written: &str) -> Option<Duration> {
    let seconds = written.parse().ok().filter(|seconds| *seconds > 0.0)?;
    Duration::try_from_secs_f64(seconds).ok()
}

fn here(maker: &Maker, component: &[u8]) -> Result<Code, NoCode> {
    bounds::refuse_here(component).map_err(NoCode::Limit)?;
    let code = panics::guarded(|| maker.make(component)).map_err(|panic| NoCode::broken(&panic))?;
    Ok(Box::new(code.map_err(NoCode::Invalid)?))
}

/// What the hidden command was asked for.
pub struct CompileRequest {
    /// Of the engine that will run the code.
    pub key: String,
    pub memory_bytes_max: u64,
    pub seconds_max: u64,
    /// The process that waits for the code.
    pub host: u32,
}

/// The compiler's side: a component in, code or words out, and an exit code.
pub fn compile_for_host(request: &CompileRequest, input: impl Read, output: impl Write) -> u8 {
    // Whoever started it reads what broke from its output.
    std::panic::set_hook(Box::new(|_| {}));
    let unready = |error: io::Error| (UNREADY, error.to_string().into_bytes());
    let (code, said) = limit(request).and_then(|()| answer(request, input)).unwrap_or_else(unready);
    write(&said, output).map_or(BROKE, |()| code)
}

fn write(said: &[u8], mut output: impl Write) -> io::Result<()> {
    output.write_all(said)?;
    output.flush()
}

fn answer(request: &CompileRequest, mut input: impl Read) -> io::Result<(u8, Vec<u8>)> {
    let maker = Maker::new().map_err(|error| io::Error::other(format!("{error:#}")))?;
    if maker.key() != request.key {
        return Ok((OTHER_BUILD, Vec::new()));
    }
    let mut component = Vec::new();
    input.read_to_end(&mut component)?;
    Ok(match panics::guarded(|| maker.make(&component)) {
        Ok(Ok(code)) => (0, code),
        Ok(Err(words)) => (INVALID, words.into_bytes()),
        Err(panic) => (BROKE, panic.into_bytes()),
    })
}

/// The host looks often, and ends a compiler that goes past its limits. These hold if it allocates much at once, and if the
/// host is no more.
fn limit(request: &CompileRequest) -> io::Result<()> {
    // Mapped and not touched counts, reserved does not: so threads' arenas and stacks on a large machine cost little.
    set(Resource::Data, request.memory_bytes_max.saturating_add(BURST_BYTES_MAX))?;
    set(Resource::Cpu, request.seconds_max.saturating_add(1).saturating_mul(THREADS_MAX as u64))?;
    set(Resource::Fsize, COMPILED_BYTES_MAX)?;
    set(Resource::Core, 0)?;
    #[cfg(target_os = "linux")]
    {
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        // It may have ended before.
        if rustix::process::getppid().map(|host| host.as_raw_nonzero().get()) != i32::try_from(request.host).ok() {
            return Err(io::Error::other("another process than the one that waits for the code has started it"));
        }
        // If the machine has too little memory, the compiler goes first. Where this is not allowed, the system chooses.
        let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    }
    Ok(())
}

/// Sets a limit, or leaves a lower one as it is: only who may do anything can raise it.
fn set(resource: Resource, most: u64) -> io::Result<()> {
    let most = Some(getrlimit(resource).maximum.map_or(most, |present| present.min(most)));
    Ok(setrlimit(resource, Rlimit { current: most, maximum: most })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of a compiler that does what a line of shell says.
    fn ends(line: &str) -> Result<Vec<u8>, Elsewhere> {
        let compiler = Compiler { time_max: Duration::from_millis(500), ..Compiler::by(None) };
        let mut command = apart(Path::new("/bin/sh"));
        command.arg("-c").arg(line);
        compiler.run(command, b"component").map(|code| (*code).as_ref().to_vec())
    }

    #[track_caller]
    fn says(line: &str, expected: &str) {
        let said = match ends(line) {
            Ok(code) => format!("code: {}", code.escape_ascii()),
            Err(Elsewhere::NotThere(why)) => format!("not there: {why}"),
            Err(Elsewhere::No(NoCode::Invalid(words))) => format!("invalid: {words}"),
            Err(Elsewhere::No(NoCode::Limit(said) | NoCode::Broken(said))) => said.line(),
        };
        assert!(said.starts_with(expected), "{line}: {said}");
    }

    #[test]
    fn however_a_compiler_ends_it_is_an_answer() {
        says("/bin/cat", "code: component");
        says("echo 'bad magic'; exit 10", "invalid: bad magic");
        says("printf 'a\\033[31m panic'; exit 11", "breaks the compiler: a\\u{1b}[31m panic\nhint: ");
        says("exit 12", "not there: it is of another build");
        says("exit 2", "not there: it ends with code 2");
        says("echo 'no such limit'; exit 13", "not there: it cannot begin: no such limit");
        says("kill -SEGV $$", "breaks the compiler: it ended by signal 11\n");
        says("kill -KILL $$", "breaks the compiler: it was killed");
        says("echo raw >&2; kill -ABRT $$", "breaks the compiler: it ended by signal 6\n");
        says("echo memory allocation of 9 bytes failed >&2; kill -ABRT $$", "takes too much memory to compile: ");
        says("kill -XCPU $$", "takes too long to compile: compile_seconds_max = 0.5 s\nhint: ");
        says("kill -XFSZ $$", "becomes too large when it is compiled: ");
        says("exec /bin/sleep 60", "takes too long to compile: ");
    }

    #[test]
    fn what_lies_where_somebody_is_by_chance_is_no_compiler() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("wasmpipe");
        std::fs::write(&program, "").unwrap();
        let here = pathdiff_to(folder.path());
        assert!(here.join("wasmpipe").is_file());
        let path = |folders: &[&Path]| std::env::join_paths(folders).unwrap();
        assert_eq!(found_in(&path(&[&here, Path::new("")])), None);
        assert_eq!(found_in(&path(&[&here, folder.path()])), Some(program));
    }

    /// A path to a folder from the one that this process is in.
    fn pathdiff_to(folder: &Path) -> PathBuf {
        let up = std::env::current_dir().unwrap().components().skip(1).map(|_| "..").collect::<PathBuf>();
        up.join(folder.strip_prefix("/").unwrap())
    }

    #[test]
    fn a_compiler_has_no_secrets() {
        says("test -z \"$HOME$CARGO_MANIFEST_DIR\" && /bin/cat", "code: component");
    }

    #[test]
    fn where_there_is_no_compiler_this_process_is_it() {
        let compiler = Compiler::by(Some("/no/such/program".into()));
        let maker = Maker::new().unwrap();
        let component = wat::parse_str("(component (core module (func)))").unwrap();
        assert!(compiler.compile(&maker, &component).is_ok());
        let Err(NoCode::Invalid(_)) = compiler.compile(&maker, b"\0asm\x0d\0\x01\0\xff") else { panic!() };
    }
}
