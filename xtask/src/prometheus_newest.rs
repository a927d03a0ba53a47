//! The newest Prometheus with its promtool, for benches alone, built from its sources by Go.
//!
//! Tests ask the Prometheus that is known to answer as they expect, and which Debian has. Whoever says how fast something
//! is beside Prometheus has to take the newest one. It takes some twelve minutes of a processor's time, so it is made
//! only for whoever asks for it.

use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::go;
use crate::made::Made;
use crate::shell::call;

/// Version 3.16: the module counts so.
const PACKAGES: [&str; 2] = [
    "github.com/prometheus/prometheus/cmd/prometheus@v0.316.0",
    "github.com/prometheus/prometheus/cmd/promtool@v0.316.0",
];

/// Built so, it does not know its version, which benches tell.
const LINKER_FLAGS: &str = "-s -w -X github.com/prometheus/common/version.Version=3.16.0";

/// The folder with `prometheus` and `promtool`, which are made where they are missing.
pub(crate) fn programs() -> Result<PathBuf> {
    let made = Made {
        what: "Prometheus 3.16 and its promtool",
        folder: "prometheus-newest",
        of: [&PACKAGES[..], &[LINKER_FLAGS]].concat(),
        programs: &["prometheus", "promtool"],
        takes: "a quarter of an hour",
    };
    made.get(|folder| {
        ensure!(call("go").args(["version"]).succeeds(), "there is no Go");
        let install = go::Install {
            what: "Prometheus 3.16 and its promtool",
            packages: &PACKAGES,
            count: 1100,
            linker_flags: LINKER_FLAGS,
        };
        install.run(folder)
    })
}
