//! `fleetgauge promql`: the evaluator alone, over files.

mod eval;
mod features;
mod test;

use crate::cli::PromqlCommand;

pub(super) fn run(command: &PromqlCommand) -> anyhow::Result<()> {
    match command {
        PromqlCommand::Eval(args) => eval::run(args),
        PromqlCommand::Test(args) => test::run(args),
    }
}
