//! `fleetgauge man`: for `man -l -` and for packagers.

use clap::CommandFactory;

use crate::cli::{Cli, Man};
use crate::failure::Usage;
use crate::output;

pub(super) fn run(args: &Man) -> anyhow::Result<()> {
    let mut command = Cli::command();
    command.build();
    let page = match &args.subcommand {
        None => clap_mangen::Man::new(command),
        Some(name) => {
            let subcommand = command.find_subcommand(name).cloned();
            let subcommand = subcommand.ok_or_else(|| Usage(format!("there is no subcommand {name:?}")))?;
            clap_mangen::Man::new(subcommand).title(format!("fleetgauge-{name}"))
        }
    };
    let page = page.source(concat!("fleetgauge ", env!("CARGO_PKG_VERSION")));
    let mut roff = Vec::new();
    page.render(&mut roff)?;
    output::print(&roff)
}
