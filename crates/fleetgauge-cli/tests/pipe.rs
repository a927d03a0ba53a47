//! Whoever reads the output may go away.
#![allow(clippy::unwrap_used, missing_docs)]

use std::io::Read;
use std::process::{Command, Stdio};

/// A pipe that nobody reads.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

fn fleetgauge(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleetgauge"));
    command
        .args(args)
        .env_clear()
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

#[test]
fn a_closed_stdout_ends_the_program_quietly() {
    for args in [
        &["packs"][..],
        &["packs", "vllm", "-o", "json"],
        &["man"],
        &["completions", "zsh"],
        &["demo", "--pods", "1"],
        &["demo", "--pods", "1", "-o", "json"],
    ] {
        let mut child = fleetgauge(args)
            .stdout(closed())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert_eq!(
            (child.wait().unwrap().code(), &*stderr),
            (Some(0), ""),
            "{args:?}"
        );
    }
}

#[test]
fn a_closed_stderr_does_not_change_the_exit_status() {
    let status = fleetgauge(&["packs", "nothing"])
        .stderr(closed())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(1));
}

#[test]
#[cfg(target_os = "linux")]
fn output_that_cannot_be_written_is_an_error() {
    for args in [&["packs"][..], &["demo", "--pods", "1", "-o", "json"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let output = fleetgauge(args)
            .stdout(full)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            error.starts_with("error: the output can't be written: No space left"),
            "{error}"
        );
    }
}
