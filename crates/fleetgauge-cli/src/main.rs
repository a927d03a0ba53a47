//! The `fleetgauge` command line.
//!
//! [`cli`] is what was typed, [`config`] what was meant, [`command`] one file for each subcommand, and
//! [`output`] the formats that people and programs read. Everything that knows about metrics is in the
//! library.

mod adapter;
mod cli;
#[cfg(not(feature = "kubernetes"))]
#[path = "cluster/left_out.rs"]
mod cluster;
#[cfg(feature = "kubernetes")]
mod cluster;
mod command;
mod config;
mod daemon;
mod demo;
mod explained;
mod failure;
mod input;
mod kubeconfig;
mod log;
mod output;
mod pem;
mod place;
mod scraped;
mod sources;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return failure::not_parsed(&error),
    };
    match command::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error),
    }
}
