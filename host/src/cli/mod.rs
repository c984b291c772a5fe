//! What a person types and reads. The only room that prints: data to stdout, talk to stderr.
//!
//! * `args` - the command line.
//! * `run` - `wasmpipe run` and `wasmpipe plan`; `fresh` - what `run --fresh` asks.
//! * `inspect` - `wasmpipe checkpoint inspect`; `checkpoint` - verify, compact, stop, delete.
//! * `exchange` - `wasmpipe checkpoint import` and `export`.
//! * `output` - `wasmpipe output list` and `verify`.
//! * `look` - which checkpoint such a command is about, and what it says.
//! * `dead_letters` - `wasmpipe dead-letters show`.
//! * `check` - `wasmpipe check`.
//! * `udf` - `wasmpipe udf`: which function a command is about, and with what config.
//! * `compile` - the process that compiles a component for another one, and the limits that it does so under.
//! * `udf_new` - a crate to start from.
//! * `udf_build` - from a guest crate, or a core module, to a component.
//! * `udf_inspect` - what a component offers.
//! * `udf_test` - one function on a few rows; `udf_bench` - how fast it is.
//! * `table` - rows as text.
//! * `progress` - how far a run is: a live display, or lines in a log.
//! * `screen` - stderr, shared by talk, log lines and the display.

/// A line of data, to stdout. A reader that has gone away is no reason to stop. Whatever stands in it steers no terminal.
macro_rules! out {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let text = format!($($text)*);
        if let Err(error) = writeln!(std::io::stdout(), "{}", crate::text::steady(&text)) {
            crate::cli::output_failed(&error);
        }
    }};
}

/// A line of talk, to stderr, above the live display if there is one. It steers no terminal either.
macro_rules! say {
    ($($text:tt)*) => {{
        let _ = crate::cli::screen::write(format!("{}\n", format_args!($($text)*)).as_bytes());
    }};
}

mod args;
mod check;
mod checkpoint;
mod compile;
mod dead_letters;
mod exchange;
mod fresh;
mod inspect;
mod look;
mod output;
mod progress;
mod run;
mod screen;
mod table;
mod udf;
mod udf_bench;
mod udf_build;
mod udf_inspect;
mod udf_new;
mod udf_test;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use args::{Args, CheckpointCommand, Command, DeadLettersCommand, OutputCommand, UdfCommand};
use clap::Parser;

use crate::message::{Hint, Message, Refused};
use crate::{config, private, text};

/// Every row is covered.
const FINISHED: u8 = 0;
/// An error ended the run; the same command goes on where it was.
const FAILED: u8 = 1;
/// Nothing was done, and nothing changed.
const REFUSED: u8 = 2;
/// Every row is covered; some failed and are left out.
const FINISHED_WITH_FAILED_ROWS: u8 = 3;
/// Stopped by a person; the same command goes on where it was.
const INTERRUPTED: u8 = 4;
/// Another run took over.
const FENCED: u8 = 5;

/// Runs the command line; clap ends bad arguments with code 2, which is "refused".
pub fn main() -> ExitCode {
    let args = Args::parse();
    start_log();
    std::panic::set_hook(Box::new(broke));
    // What becomes of a job does not depend on who reads about it.
    let is_run = matches!(args.command, Command::Run(_));
    let code = match args.command {
        Command::Run(options) => run::run(&options),
        Command::Plan(options) => run::plan(&options),
        Command::Check(options) => check::check(&options),
        Command::Schema(options) => print_schema(&options),
        Command::Udf(UdfCommand::New(options)) => udf_new::new(&options),
        Command::Udf(UdfCommand::Build(options)) => udf_build::build(&options),
        Command::Udf(UdfCommand::Inspect(options)) => udf_inspect::inspect(&options),
        Command::Udf(UdfCommand::Test(options)) => udf_test::test(&options),
        Command::Udf(UdfCommand::Bench(options)) => udf_bench::bench(&options),
        Command::Checkpoint(CheckpointCommand::Inspect(options)) => inspect::inspect(&options),
        Command::Checkpoint(CheckpointCommand::Verify(options)) => checkpoint::verify(&options),
        Command::Checkpoint(CheckpointCommand::Compact(options)) => checkpoint::compact(&options),
        Command::Checkpoint(CheckpointCommand::Stop(options)) => checkpoint::stop(&options),
        Command::Checkpoint(CheckpointCommand::Delete(options)) => checkpoint::delete(&options),
        Command::Checkpoint(CheckpointCommand::Import(options)) => exchange::import(&options),
        Command::Checkpoint(CheckpointCommand::Export(options)) => exchange::export(&options),
        Command::Output(OutputCommand::List(options)) => output::list(&options),
        Command::Output(OutputCommand::Verify(options)) => output::verify(&options),
        Command::Output(OutputCommand::Publish(options)) => output::publish(&options),
        Command::DeadLetters(DeadLettersCommand::Show(options)) => dead_letters::show(&options),
        Command::CompileComponent(options) => compile::compile(options, std::io::stdout()),
    };
    drop(FRESH_CACHE.lock().unwrap_or_else(PoisonError::into_inner).take());
    let is_cut_short = OUTPUT_FAILED.load(Ordering::Relaxed) && !is_run;
    ExitCode::from(if is_cut_short && code == FINISHED { FAILED } else { code })
}

static OUTPUT_FAILED: AtomicBool = AtomicBool::new(false);

/// A list that was cut short must not pass for a whole one. Who has read enough of it and left is content.
fn output_failed(error: &std::io::Error) {
    if error.kind() != std::io::ErrorKind::BrokenPipe && !OUTPUT_FAILED.swap(true, Ordering::Relaxed) {
        let message = Message::new(format!("stdout: {error}"));
        say!("{}", message.hint("what was printed is not all; write it where there is room"));
    }
}

/// A defect of ours in a line. Where it came from is for who looks for it, and asks with `WASMPIPE_LOG=debug`.
fn broke(panic: &std::panic::PanicHookInfo<'_>) {
    let what = panic.payload_as_str().unwrap_or("no message");
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let message = Message::new(format!("wasmpipe broke at {place}: {what}"));
    say!("{}", message.hint("this is a defect of wasmpipe: report it with this line"));
    tracing::debug!("{}", std::backtrace::Backtrace::force_capture());
}

/// Log lines go to stderr. `WASMPIPE_LOG` chooses them, `info` or `wasmpipe=debug,guest=trace`.
fn start_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("WASMPIPE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(screen::Log)
        .with_ansi(false)
        .log_internal_errors(false)
        .init();
}

/// Limits the id files in the cache folder.
const CACHE_IDS_MAX: &str = "WASMPIPE_CACHE_IDS_MAX";

/// The most that id files in the cache folder may have together: `WASMPIPE_CACHE_IDS_MAX`, else 64 GiB.
fn cache_ids_bytes_max() -> Result<u64, Refused> {
    Ok(size_of_environment(CACHE_IDS_MAX)?.unwrap_or(64 << 30))
}

/// A size above 0 that the environment may name.
fn size_of_environment(name: &str) -> Result<Option<u64>, Refused> {
    let Some(written) = std::env::var_os(name).filter(|value| !value.is_empty()) else { return Ok(None) };
    let written = written.to_string_lossy();
    let size = crate::size::of_environment(&written);
    size.map(Some).map_err(|hint| Refused::new(format!("{name} is not a size: \"{written}\""), hint))
}

/// The local folder for derived files: `WASMPIPE_CACHE`, else `wasmpipe` in `XDG_CACHE_HOME` or `~/.cache`; else a fresh one that
/// goes with this process. Among the temporary files, a name that others can guess would let them put code there.
fn cache_folder() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("WASMPIPE_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("wasmpipe")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/wasmpipe")))
        .unwrap_or_else(fresh_cache)
}

/// What is removed when the process ends.
static FRESH_CACHE: Mutex<Option<tempfile::TempDir>> = Mutex::new(None);

fn fresh_cache() -> PathBuf {
    let mut kept = FRESH_CACHE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(folder) = kept.as_ref() {
        return folder.path().into();
    }
    tracing::warn!(
        "WASMPIPE_CACHE, XDG_CACHE_HOME and HOME are not set: what is compiled is not kept for the next start"
    );
    match private::fresh() {
        Ok(folder) => kept.insert(folder).path().into(),
        // Who needs a folder there says why there is none.
        Err(_) => std::env::temp_dir().join(format!("wasmpipe-{}", crate::commit::random_name())),
    }
}

/// Values of ours as JSON, several lines.
fn json(value: &impl serde::Serialize) -> String {
    text::json(&serde_json::to_string_pretty(value).expect("plain values are JSON"))
}

/// What a pipeline file may say: for editors, or for who writes it.
fn print_schema(options: &args::Schema) -> u8 {
    match options.markdown {
        true => out!("{}", config::page().trim_end()),
        false => out!("{}", json(&config::schema())),
    }
    FINISHED
}

/// An error, its causes below it, its hint last.
fn print_error(error: &impl Hint) {
    say!("{}", Message::of(error));
}

/// The engine, or why there is none.
fn pipeline_engine(cache: &std::path::Path) -> Result<std::sync::Arc<crate::udf::Engine>, Refused> {
    Ok(crate::pipeline::engine_with(cache, compile::compiler()?)?)
}
