//! `fleetgauge man`: for `man -l -` and for packagers.

use clap::CommandFactory;

use crate::cli::{Cli, Man};
use crate::failure::Usage;
use crate::output;

pub(super) fn run(args: &Man) -> anyhow::Result<()> {
    let mut command = Cli::command();
    command.build();
    let mut title = "fleetgauge".to_owned();
    for name in &args.subcommand {
        let subcommand = command.find_subcommand(name).cloned();
        command = subcommand.ok_or_else(|| Usage(format!("there is no subcommand {name:?}")))?;
        title = format!("{title}-{}", command.get_name());
    }
    let page = clap_mangen::Man::new(command)
        .title(title)
        .source(concat!("fleetgauge ", env!("CARGO_PKG_VERSION")));
    let mut roff = Vec::new();
    page.render(&mut roff)?;
    output::print(&roff)
}
