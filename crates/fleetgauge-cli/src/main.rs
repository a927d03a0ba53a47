//! The `fleetgauge` command line.
//!
//! [`cli`] is what was typed, [`config`] what was meant, [`command`] one file for each subcommand, and
//! [`output`] the formats that people and programs read. Everything that knows about metrics is in the
//! library.

mod cli;
mod command;
mod config;
mod demo;
mod failure;
mod input;
mod output;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match command::run(cli::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error),
    }
}
