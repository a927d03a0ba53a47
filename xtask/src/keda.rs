//! KEDA's operator, which one test starts beside the control plane; built from its sources by Go.
//!
//! It takes a quarter of an hour of a processor's time and 5 GB of Go's caches for one test. So it is made only for whoever
//! asks for it; for others that test is skipped.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::go::{self, Module};
use crate::made::Made;
use crate::shell::call;

/// What says where the operator is, with its CRDs in `crds` beside it; set by hand, it is left as it is.
const VARIABLE: &str = "FLEETGAUGE_KEDA";

/// The tests that need it have this in their paths.
pub(crate) const TESTS: &str = "real_cluster_keda";

const PROGRAM: &str = "operator";
const MODULE: &str = "github.com/kedacore/keda/v2";

/// The environment that announces the operator to the tests, or one line that says why there is none.
pub(crate) fn provide() -> Result<Vec<(&'static str, PathBuf)>, String> {
    let skipped = "the test by KEDA's operator is skipped, for";
    if let Some(set) = std::env::var_os(VARIABLE) {
        return if Path::new(&set).join(PROGRAM).is_file() {
            Ok(Vec::new())
        } else {
            Err(format!("{skipped} there is no {PROGRAM} where {VARIABLE} says"))
        };
    }
    let module = go::module("keda").map_err(|error| format!("{skipped} it cannot be had: {error:#}"))?;
    match made(&module).found() {
        Some(folder) => Ok(vec![(VARIABLE, folder)]),
        None => Err(format!("{skipped} it is not there; `cargo xtask keda` makes it")),
    }
}

/// The folder with the operator and its CRDs, which are made where they are missing.
pub(crate) fn assets() -> Result<PathBuf> {
    let module = go::module("keda")?;
    made(&module).get(|folder| {
        ensure!(call("go").args(["version"]).succeeds(), "there is no Go");
        let build = go::Build {
            what: "KEDA's operator",
            module: &module.folder,
            packages: &["github.com/kedacore/keda/v2/cmd/operator"],
            count: 3500,
            linker_flags: "-s -w",
        };
        build.run(folder)?;
        copy_crds(&module.folder, &folder.join("crds"))
    })
}

fn made(module: &Module) -> Made<'_> {
    Made {
        what: "KEDA's operator",
        folder: "keda",
        of: vec![&module.required, &module.sums],
        programs: &[PROGRAM],
        takes: "a quarter of an hour",
    }
}

/// They are in the module's sources, which Go has by now.
fn copy_crds(module: &Path, to: &Path) -> Result<()> {
    let list = ["list", "-mod=readonly", "-m", "-f", "{{.Dir}}", MODULE];
    let sources = call("go")
        .args(list)
        .env("GOWORK", "off")
        .directory(module)
        .output()?;
    let from = Path::new(sources.trim()).join("config").join("crd").join("bases");
    fs::create_dir(to)?;
    for entry in fs::read_dir(&from).with_context(|| format!("cannot read {}", from.display()))? {
        let path = entry?.path();
        if let Some(name) = path
            .file_name()
            .filter(|_| path.extension().is_some_and(|kind| kind == "yaml"))
        {
            // Go keeps its sources read-only, and so would be the copy.
            fs::write(to.join(name), fs::read(&path)?)?;
        }
    }
    Ok(())
}
