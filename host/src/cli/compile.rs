//! `wasmpipe compile-component`, which wasmpipe itself starts: a component is compiled where that can be ended.

use std::io::Write;

use super::{Refused, args};
use crate::udf::{CompileRequest, Compiler, compile_for_host};

/// This program compiles, unless the environment names another, within the limits there.
pub(super) fn compiler() -> Result<Compiler, Refused> {
    Ok(Compiler::from_environment(Compiler::this_program)?)
}

pub(super) fn compile(options: args::CompileComponent, output: impl Write) -> u8 {
    let args::CompileComponent { key, memory_bytes_max, seconds_max, host } = options;
    let request = CompileRequest { key, memory_bytes_max, seconds_max, host };
    compile_for_host(&request, std::io::stdin().lock(), output)
}
