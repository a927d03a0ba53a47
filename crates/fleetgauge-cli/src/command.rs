//! The subcommands, one a file.

mod check;
mod completions;
mod demo;
mod doctor;
mod explain;
mod man;
mod packs;
mod promql;
mod query;
mod question;
mod render;
mod scrape;
mod serve;

use crate::cli::{Cli, Command};

pub(crate) fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Demo(args) => demo::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Scrape(args) => scrape::run(&args),
        Command::Render(args) => render::run(args),
        Command::Query(args) => query::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Packs(args) => packs::run(&args),
        Command::Promql(args) => promql::run(&args.command),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
    }
}
