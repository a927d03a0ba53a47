//! Where Prometheus 3 and its promtool are. Tests that ask them are ignored unless they are asked for, which the test
//! command does where it can get both.

use std::path::PathBuf;

/// Of `FLEETGAUGE_PROMETHEUS_3` or `FLEETGAUGE_PROMTOOL_3`.
///
/// # Panics
/// Where it is not set.
pub(crate) fn program(variable: &str) -> PathBuf {
    let path = std::env::var_os(variable).filter(|path| !path.is_empty());
    let path = path.unwrap_or_else(|| {
        panic!("{variable} is not set: `cargo xtask test` gets Prometheus 3 where it can")
    });
    path.into()
}
