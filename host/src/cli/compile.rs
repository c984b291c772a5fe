//! `wasmpipe compile-component`, which wasmpipe itself starts: a component is compiled where that can be ended.

use std::io::Write;
use std::time::Duration;

use super::{Refused, args, size_of_environment};
use crate::udf::{CompileRequest, Compiler, compile_for_host};

/// Limits what the compiler may allocate for one component.
const MEMORY_MAX: &str = "WASMPIPE_COMPILE_MEMORY_MAX";
/// Limits how long it may take.
const SECONDS_MAX: &str = "WASMPIPE_COMPILE_SECONDS_MAX";

/// This program compiles, within the limits of its environment.
pub(super) fn compiler() -> Result<Compiler, Refused> {
    let compiler = Compiler::of_this_program();
    Ok(Compiler {
        memory_bytes_max: size_of_environment(MEMORY_MAX)?.unwrap_or(compiler.memory_bytes_max),
        time_max: seconds_of_environment()?.unwrap_or(compiler.time_max),
        ..compiler
    })
}

fn seconds_of_environment() -> Result<Option<Duration>, Refused> {
    let Some(written) = std::env::var_os(SECONDS_MAX).filter(|value| !value.is_empty()) else { return Ok(None) };
    let written = written.to_string_lossy();
    let seconds = written.parse().ok().filter(|seconds| *seconds > 0.0);
    match seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) {
        Some(time) => Ok(Some(time)),
        None => Err(Refused(format!(
            "{SECONDS_MAX} is not a time: \"{written}\"\nhint: write a number of seconds above 0, such as 300"
        ))),
    }
}

pub(super) fn compile(options: args::CompileComponent, output: impl Write) -> u8 {
    let args::CompileComponent { key, memory_bytes_max, seconds_max, host } = options;
    let request = CompileRequest { key, memory_bytes_max, seconds_max, host };
    compile_for_host(&request, std::io::stdin().lock(), output)
}
