//! Debian's Chromium with its driver, in which the dashboard is tested.

use std::path::PathBuf;

use crate::servers::{Packaged, on_path, provide as provide_packaged};

/// What says where the driver is, to the tests; set by hand, it is left as it is, and empty it is a no.
const VARIABLE: &str = "FLEETGAUGE_CHROMEDRIVER";

/// The tests that need it have this in their names.
pub(crate) const TESTS: &str = "in_a_browser";

const PROGRAMS: [Packaged; 2] = [("chromium", "chromium"), ("chromedriver", "chromium-driver")];

/// The environment that announces the driver to the tests, or one line that says why there is none.
pub(crate) fn provide() -> Result<Vec<(&'static str, PathBuf)>, String> {
    let skipped = "tests of the dashboard in a browser are skipped, for";
    match std::env::var_os(VARIABLE) {
        Some(driver) if driver.is_empty() => return Err(format!("{skipped} {VARIABLE} names no driver")),
        Some(_) => return Ok(Vec::new()),
        None => {}
    }
    if let Some(missing) = provide_packaged(&PROGRAMS) {
        return Err(format!("{skipped} they need Chromium; {missing}"));
    }
    let driver = on_path(PROGRAMS[1].0).ok_or_else(|| format!("{skipped} the driver is gone"))?;
    Ok(vec![(VARIABLE, driver)])
}
