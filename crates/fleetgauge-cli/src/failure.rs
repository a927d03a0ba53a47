//! How a command ends that did not succeed: what goes to stderr, and the exit status.

use std::fmt;
use std::io;
use std::process::ExitCode;

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
