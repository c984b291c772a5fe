//! argv -> command -> exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    wasmpipe::cli::main()
}
