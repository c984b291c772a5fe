//! Pythons with packages from PyPI, each in a folder of the cache: with pyarrow, which reads what wasmpipe wrote, and moto, an
//! S3 server, so that not only our own reader and our own server vouch for what we do; with Ray Data, which begins and
//! finishes our jobs; and with DuckDB, Polars and NumPy, which some of our times stand
//! beside.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process::{apt_install, is_there, run, succeeds};
use crate::{Result, place};

const START_TIME_MAX: Duration = Duration::from_secs(60);

/// Packages that are installed together.
struct Environment {
    /// The folder in the cache.
    folder: &'static str,
    packages: &'static [&'static str],
    /// What can be imported when all is well.
    modules: &'static str,
}

const READERS: Environment = Environment {
    folder: "venv",
    packages: &["pyarrow==26.0.1", "moto[server]==5.2.5"],
    modules: "pyarrow.parquet, moto.server, boto3",
};
const RAY: Environment = Environment {
    folder: "venv-ray",
    packages: &["ray[data]==2.60.0", "pyarrow==26.0.1"],
    modules: "ray.data.checkpoint",
};

const PEERS: Environment = Environment {
    folder: "venv-peers",
    packages: &["duckdb==2.0.0", "polars==2.1.0", "pyarrow==26.0.1", "matplotlib==3.11.2", "numpy==2.4.6"],
    modules: "duckdb, polars, pyarrow.json, matplotlib.pyplot, numpy",
};

/// A Python interpreter that has pyarrow and moto.
pub(crate) fn ensure() -> Result<PathBuf> {
    READERS.ensure()
}

/// A Python interpreter that has Ray Data and pyarrow.
pub(crate) fn ensure_ray() -> Result<PathBuf> {
    RAY.ensure()
}

/// A Python interpreter that has DuckDB, Polars, pyarrow, NumPy and matplotlib.
pub(crate) fn ensure_peers() -> Result<PathBuf> {
    PEERS.ensure()
}

impl Environment {
    fn ensure(&self) -> Result<PathBuf> {
        let home = place::cache()?.join(self.folder);
        let python = home.join("bin/python");
        let done = home.join(format!("{}.installed", self.packages.join(" ")));
        if !(done.is_file() && self.works(&python)) {
            self.install(&home, &python)?;
            std::fs::write(&done, "").map_err(|e| format!("{}: {e}", done.display()))?;
        }
        Ok(python)
    }

    fn works(&self, python: &Path) -> bool {
        succeeds(Command::new(python).args(["-c", &format!("import {}", self.modules)]), START_TIME_MAX)
    }

    fn install(&self, home: &Path, python: &Path) -> Result {
        // One that was made for fewer packages gets the others.
        if run(pip(Command::new(python).args(["-m", "pip"])).args(self.packages)).is_ok() && self.works(python) {
            return Ok(());
        }
        // A virtual environment that was made half, or for a Python that is gone, is of no use.
        let _ = std::fs::remove_dir_all(home);
        let can_install = || self.with_environment(home, python) || self.without_environment(home, python);
        if !is_there("python3") || !can_install() {
            apt_install(&["python3", "python3-venv"])?;
            if !self.with_environment(home, python) {
                let packages = self.packages.join(", ");
                return Err(format!("cannot install {packages} into {}\nhint: is PyPI reachable?", home.display()));
            }
        }
        if self.works(python) { Ok(()) } else { Err(format!("{} cannot import {}", python.display(), self.modules)) }
    }

    fn with_environment(&self, home: &Path, python: &Path) -> bool {
        let made = run(Command::new("python3").args(["-m", "venv"]).arg(home));
        made.and_then(|()| run(pip(Command::new(python).args(["-m", "pip"])).args(self.packages))).is_ok()
    }

    /// Where Debian's Python cannot make environments: a folder, and a script that adds it to the path.
    fn without_environment(&self, home: &Path, python: &Path) -> bool {
        let folder = home.join("packages");
        let _ = std::fs::remove_dir_all(home);
        let mut python3 = Command::new("python3");
        let installed = run(pip(python3.args(["-m", "pip"])).arg("--target").arg(&folder).args(self.packages));
        installed.and_then(|()| write_script(python, &folder)).is_ok()
    }
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
