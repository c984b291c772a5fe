//! A Python with pyarrow: tests let it read what wasmpipe wrote, so that not only our own reader vouches for it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process::{apt_install, is_there, run, succeeds};
use crate::{Result, place};

const PYARROW: &str = "pyarrow==26.0.1";
const START_TIME_MAX: Duration = Duration::from_secs(60);

/// A Python interpreter that has pyarrow.
pub(crate) fn ensure() -> Result<PathBuf> {
    let home = place::cache()?.join("venv");
    let python = home.join("bin/python");
    let done = home.join(format!("{PYARROW}.installed"));
    if !(done.is_file() && has_pyarrow(&python)) {
        install(&home, &python)?;
        std::fs::write(&done, "").map_err(|e| format!("{}: {e}", done.display()))?;
    }
    Ok(python)
}

fn has_pyarrow(python: &Path) -> bool {
    succeeds(Command::new(python).args(["-c", "import pyarrow.parquet"]), START_TIME_MAX)
}

fn install(home: &Path, python: &Path) -> Result {
    // A virtual environment that was made half, or for a Python that is gone, is of no use.
    let _ = std::fs::remove_dir_all(home);
    let can_install = || with_environment(home, python) || without_environment(home, python);
    if !is_there("python3") || !can_install() {
        apt_install(&["python3", "python3-venv"])?;
        if !with_environment(home, python) {
            return Err(format!("cannot install {PYARROW} into {}\nhint: is PyPI reachable?", home.display()));
        }
    }
    if has_pyarrow(python) { Ok(()) } else { Err(format!("{} cannot import pyarrow", python.display())) }
}

fn with_environment(home: &Path, python: &Path) -> bool {
    let made = run(Command::new("python3").args(["-m", "venv"]).arg(home));
    made.and_then(|()| run(pip(Command::new(python).args(["-m", "pip"])).arg(PYARROW))).is_ok()
}

/// Where Debian's Python cannot make environments: a folder, and a script that adds it to the path.
fn without_environment(home: &Path, python: &Path) -> bool {
    let packages = home.join("packages");
    let _ = std::fs::remove_dir_all(home);
    let installed = run(pip(Command::new("python3").args(["-m", "pip"])).arg("--target").arg(&packages).arg(PYARROW));
    installed.and_then(|()| write_script(python, &packages)).is_ok()
}

fn pip(command: &mut Command) -> &mut Command {
    command.args(["install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"])
}

fn write_script(python: &Path, packages: &Path) -> Result {
    let script = format!("#!/bin/sh\nPYTHONPATH='{}' exec python3 \"$@\"\n", packages.display());
    let write = || {
        std::fs::create_dir_all(python.parent().unwrap_or(python))?;
        std::fs::write(python, script)?;
        std::fs::set_permissions(python, std::fs::Permissions::from_mode(0o755))
    };
    write().map_err(|e| format!("{}: {e}", python.display()))
}
