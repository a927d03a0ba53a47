//! The binary as a child process.

use std::process::{Command, Output};

/// Runs `fleetgauge COMMAND ARGS…` with an environment of these variables alone.
pub(crate) fn fleetgauge(command: &str, args: &[&str], vars: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fleetgauge"))
        .arg(command)
        .args(args)
        .env_clear()
        .envs(vars.iter().copied())
        .output()
        .unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}
