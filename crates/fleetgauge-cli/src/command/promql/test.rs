//! `fleetgauge promql test`: test scripts, and how many of their evaluations are as expected.

use std::fmt::Write as _;

use anyhow::bail;
use fleetgauge_core::printable::Printable;
use fleetgauge_promql::engine::{Engine, EngineConfig, Features};
use fleetgauge_promql::script::{Runner, Script};

use crate::cli::PromqlTest;
use crate::failure::Reported;
use crate::input;
use crate::output;

use super::features::features;

/// No script is longer.
const MAX_BYTES: u64 = 64 << 20;

pub(super) fn run(args: &PromqlTest) -> anyhow::Result<()> {
    let unasked = match args.server_defaults {
        true => Features::default(),
        false => Features::of_scripts(),
    };
    let features = features(unasked, &args.features)?;
    let mut runner = Runner::new(Engine::new(EngineConfig::default())).with_features(features);
    if let Some(tolerance) = args.tolerance {
        runner = runner.with_tolerance(tolerance);
    }
    let (mut passed, mut failed, mut unread, mut idle) = (0, 0, 0, 0);
    for path in &args.scripts {
        let name = path.display().to_string();
        let mut line = String::new();
        let script = input::read_text(path, MAX_BYTES)
            .map_err(|error| format!("{}: {}", Printable(&name), error.problem()))
            .and_then(|text| Script::parse(&name, &text).map_err(|error| error.to_string()));
        match script {
            Ok(script) => {
                let report = runner.run(&script);
                passed += report.passed;
                failed += report.failures.len();
                // A test that expects nothing holds for any evaluator.
                idle += usize::from(report.passed + report.failures.len() == 0);
                writeln!(line, "{report}")?;
            }
            Err(error) => {
                unread += 1;
                writeln!(line, "{error}")?;
            }
        }
        // At once: a long list of scripts should show how far it is.
        output::print_line(&line)?;
    }
    let of_all = args.scripts.len();
    if of_all > 1 {
        output::print_line(&format!("{passed} passed, {failed} failed"))?;
    }
    match (unread, failed, idle) {
        (0, 0, 0) => Ok(()),
        (0, 0, idle) => bail!("{idle} of {of_all} scripts have nothing to evaluate"),
        (0, ..) => Err(Reported.into()),
        (unread, ..) => bail!("{unread} of {of_all} scripts cannot be read"),
    }
}
