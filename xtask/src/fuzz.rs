//! cargo-fuzz, where it is installed.

use anyhow::{Result, ensure};

use crate::shell::call;

pub(crate) fn run(target: &str, seconds: u64) -> Result<()> {
    // The `cargo` of rustup, not the one that runs this: `+nightly` is rustup's.
    let installed = call("cargo").args(["+nightly", "fuzz", "--version"]).succeeds();
    ensure!(
        installed,
        "cargo-fuzz is missing: rustup toolchain install nightly && cargo install cargo-fuzz --locked"
    );
    let limit = format!("-max_total_time={seconds}");
    call("cargo")
        .args(["+nightly", "fuzz", "run", target, "--", &limit])
        .run()
}
