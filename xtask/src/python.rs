//! The Python package `prometheus-api-client`, by which the tests ask the daemon's Prometheus API: in an environment of its own
//! under `target`, from the index that pip is set to.
//!
//! Nothing here can fail the tests: where the package cannot be had, what asks by it is skipped.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::shell::{call, root};

/// What says where its interpreter is, to the tests; set by hand, it is left as it is, and empty it is a no.
const VARIABLE: &str = "FLEETGAUGE_PYTHON";

/// The tests that ask by it have this in their names.
pub(crate) const TESTS: &str = "prometheus_api_client";

/// The version that is known to answer as the tests expect.
const PACKAGE: &str = "prometheus-api-client==0.7.2";

/// *Unit*: seconds, for each of two steps.
const PATIENCE: &str = "180";

/// The environment that announces the interpreter to the tests, or one line that says why there is none.
pub(crate) fn provide() -> Result<Vec<(&'static str, PathBuf)>, String> {
    let skipped = "tests by Python's prometheus-api-client are skipped, for";
    match std::env::var_os(VARIABLE) {
        Some(python) if python.is_empty() => {
            return Err(format!("{skipped} {VARIABLE} names no interpreter"));
        }
        Some(_) => return Ok(Vec::new()),
        None => {}
    }
    let home = root().join("target").join("python");
    let python = home.join("bin").join("python");
    let there = match has_package(&python) {
        Ok(()) => Ok(()),
        Err(_) => install(&home, &python).and_then(|()| has_package(&python)),
    };
    there
        .map(|()| vec![(VARIABLE, python)])
        .map_err(|error| format!("{skipped} it cannot be had: {error:#}"))
}

fn has_package(python: &Path) -> Result<()> {
    let words = ["-c", "import prometheus_api_client"];
    call(python).args(words).output().map(drop)
}

fn install(home: &Path, python: &Path) -> Result<()> {
    eprintln!("Installing {PACKAGE} into {}.", home.display());
    if home.exists() {
        // What was left half done.
        fs::remove_dir_all(home).with_context(|| format!("cannot remove {}", home.display()))?;
    }
    let timed = |program: &Path| call("timeout").args([PATIENCE]).args([program]);
    timed("python3".as_ref())
        .args(["-m", "venv"])
        .args([home])
        .output()?;
    let pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        PACKAGE,
    ];
    timed(python).args(pip).output().map(drop)
}
