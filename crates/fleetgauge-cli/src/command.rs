//! The subcommands, one a file.

mod check;
mod completions;
mod man;
mod packs;
mod query;
mod render;

use crate::cli::{Cli, Command};

pub(crate) fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Render(args) => render::run(args),
        Command::Query(args) => query::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Packs(args) => packs::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
    }
}
