//! How a command ends that did not succeed: what goes to stderr, and the exit status.

use std::env;
use std::fmt;
use std::io;
use std::process::ExitCode;

use clap::Parser as _;
use fleetgauge_core::printable::Printable;

use crate::cli::Cli;
use crate::output;

/// The command line asks for something that makes no sense, although it could be parsed.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

/// The command has told its problems itself; nothing is left to say.
#[derive(Debug)]
pub(crate) struct Reported;

/// Prints `error: …` and gives the exit status: 1 where an answer could not be had, 2 for wrong usage.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    if is_broken_pipe(error) {
        // Whoever read our output has seen enough, as `head` does.
        return ExitCode::SUCCESS;
    }
    if error.is::<Reported>() {
        return ExitCode::from(1);
    }
    // A cause's text is often part of the text of what it caused.
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    output::note(&format!("error: {text}"));
    ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
}

/// Prints what clap says where the command line can't be parsed, which is the help as well where that was asked for.
pub(crate) fn not_parsed(error: &clap::Error) -> ExitCode {
    // It quotes what was typed, which clap prints as it is: what it says of the escaped words is the same, but that.
    let escaped = env::args_os().map(|arg| Printable(&arg.to_string_lossy()).to_string());
    match Cli::try_parse_from(escaped) {
        Err(error) => drop(error.print()),
        Ok(_) => output::note(error.to_string().trim_end()),
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe;
    error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(broken))
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

impl fmt::Display for Reported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("problems were found")
    }
}

impl std::error::Error for Reported {}
