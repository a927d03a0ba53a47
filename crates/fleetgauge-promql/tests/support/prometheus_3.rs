//! Where Prometheus 3 and its promtool are, if they are there: the test command gets them and says so.

use std::path::PathBuf;

const MISSING: &str = "is not set: nothing asked of Prometheus 3 (`cargo xtask test` gets it where it can)";

/// Of `FLEETGAUGE_PROMETHEUS_3` or `FLEETGAUGE_PROMTOOL_3`; where it is not, that is said.
pub(crate) fn program(variable: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).filter(|path| !path.is_empty());
    if path.is_none() {
        println!("{variable} {MISSING}");
    }
    path.map(PathBuf::from)
}
