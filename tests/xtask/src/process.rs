//! Other programs: said aloud before they run, named when they fail.

use std::ffi::OsStr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Result;

/// Runs a program in the reader's sight. Its failure is an error that repeats the command.
pub(crate) fn run(command: &mut Command) -> Result {
    let line = line(command);
    eprintln!("$ {line}");
    let status = command.status().map_err(|e| format!("cannot run `{line}`: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{line}` ended with {status}")) }
}

/// Whether a program runs and succeeds, without a word and within a time.
pub(crate) fn succeeds(command: &mut Command, limit: Duration) -> bool {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else {
        return false;
    };
    let end = Instant::now() + limit;
    while Instant::now() < end {
        match child.try_wait() {
            Ok(None) => std::thread::sleep(Duration::from_millis(20)),
            Ok(Some(status)) => return status.success(),
            Err(_) => break,
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    false
}

/// What a program prints, if it succeeds.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Whether a program of this name is on the path.
pub(crate) fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Installs Debian packages, as root or with sudo.
pub(crate) fn apt_install(packages: &[&str]) -> Result {
    if !is_there("apt-get") {
        return Err(format!("this is no Debian: {} cannot be installed with apt-get", packages.join(", ")));
    }
    run(as_root("apt-get").args(["-q", "update"]))?;
    run(as_root("apt-get").args(["-q", "install", "-y", "--no-install-recommends"]).args(packages))
}

fn as_root(program: &str) -> Command {
    let mut command = match output(Command::new("id").arg("-u")).as_deref() {
        Some("0") => Command::new("env"),
        _ => Command::new("sudo"),
    };
    command.args(["DEBIAN_FRONTEND=noninteractive", program]);
    command
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
