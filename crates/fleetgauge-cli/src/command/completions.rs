//! `fleetgauge completions`: for the shell.

use clap::CommandFactory;

use crate::cli::{Cli, Completions};
use crate::output;

pub(super) fn run(args: &Completions) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "fleetgauge", &mut script);
    output::print(&script)
}
