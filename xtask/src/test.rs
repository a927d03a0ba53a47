//! Runs every test and adds up what the test binaries say.

use std::fmt;
use std::io::{self, BufRead as _, BufReader, Write};
use std::ops::AddAssign;
use std::process::{ExitCode, Stdio};

use anyhow::{Context as _, Result};

use crate::shell::{Call, cargo, selects_packages};
use crate::{browser, control_plane, keda, prometheus_3, python, servers};

/// What all test binaries together say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Totals {
    passed: u64,
    failed: u64,
    skipped: u64,
    /// By a name that was given.
    filtered: u64,
}

/// Libraries, binaries, integration tests, examples and documentation; not benches, which `check`
/// compiles. With arguments it is one `cargo test` with these. The totals are the last line, on
/// standard output.
///
/// Tests that ask Prometheus 3, or by a Python package or a browser, or that start a Kubernetes control plane or KEDA, are marked `#[ignore]`, so that
/// they count as skipped where that is not there, and are included where it is.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    eprintln!(
        "The tests start real servers: Debian's packages {}, Prometheus 3 from Debian testing, and a Kubernetes control plane \
         that Go builds; one asks by a Python package, some by Debian's Chromium.",
        servers::PACKAGES
    );
    // Without the servers the other tests still tell something; those that need them fail and say so.
    let hint = servers::provide(&servers::SERVERS);
    if let Some(hint) = &hint {
        eprintln!("{hint}");
    }
    let is_everything = args.is_empty();
    let mut skip = Vec::new();
    let mut left_out = Vec::new();
    let mut announced = Vec::new();
    let wanted: [(&[&'static str], _); 5] = [
        (&prometheus_3::TESTS, prometheus_3::provide()),
        (&[python::TESTS], python::provide()),
        (&[control_plane::TESTS], control_plane::provide()),
        (&[keda::TESTS], keda::provide()),
        (&[browser::TESTS], browser::provide()),
    ];
    let count = wanted.len();
    for (tests, provided) in wanted {
        match provided {
            Ok(variables) => announced.extend(variables),
            Err(why) => {
                skip.extend(tests);
                left_out.push(why);
            }
        }
    }
    let args = &arguments(args, left_out.len() < count, &skip);
    let all: &[&str] = if selects_packages(args) {
        &[]
    } else {
        &["--workspace"]
    };
    let mut calls = vec![cargo(["test", "--no-fail-fast"]).args(all).args(args)];
    if is_everything {
        // Plain `cargo test` builds examples without running their tests.
        calls.push(
            cargo(["test", "--no-fail-fast", "--examples"])
                .args(all)
                .args(args),
        );
    }
    let mut totals = Totals::default();
    let mut failed = Vec::new();
    for call in calls {
        let call = announced
            .iter()
            .fold(call, |call, (variable, path)| call.env(variable, path));
        if !stream(&call, &mut totals, &mut io::stdout())? {
            failed.push(call.line());
        }
    }
    if is_everything {
        // No name was given but that of what cannot be asked.
        totals.skipped += std::mem::take(&mut totals.filtered);
    }
    for line in &failed {
        eprintln!("failed: {line}");
    }
    for hint in hint.iter().chain(&left_out) {
        eprintln!("{hint}");
    }
    println!("{totals}");
    Ok(if failed.is_empty() && totals.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The arguments of `cargo test`, to which those for the test binaries come last. Tests by the names to skip are ignored
/// anyway where the others are.
fn arguments(given: &[String], includes_ignored: bool, skip: &[&str]) -> Vec<String> {
    let mut args = given.to_vec();
    if includes_ignored {
        if !args.iter().any(|arg| arg == "--") {
            args.push("--".to_owned());
        }
        args.push("--include-ignored".to_owned());
        args.extend(skip.iter().map(|name| format!("--skip={name}")));
    }
    args
}

/// Passes the output through and adds up its results; gives whether cargo was content.
fn stream(call: &Call, totals: &mut Totals, shown: &mut impl Write) -> Result<bool> {
    let spawned = call.announced().stdout(Stdio::piped()).spawn();
    let mut child = spawned.with_context(|| format!("cannot run `{}`", call.line()))?;
    let mut output = BufReader::new(child.stdout.take().context("the output was piped")?);
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line)? > 0 {
        shown.write_all(&line)?;
        if let Some(one) = Totals::parse(&String::from_utf8_lossy(&line)) {
            *totals += one;
        }
        line.clear();
    }
    Ok(child.wait()?.success())
}

// === impl Totals ===

impl Totals {
    /// Reads `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; …`.
    fn parse(line: &str) -> Option<Self> {
        let (_, counts) = line.trim().strip_prefix("test result: ")?.split_once(". ")?;
        let count = |word: &str| {
            let (number, _) = counts.split("; ").find_map(|part| {
                let (number, what) = part.split_once(' ')?;
                (what == word).then_some((number, what))
            })?;
            number.parse().ok()
        };
        Some(Self {
            passed: count("passed")?,
            failed: count("failed")?,
            skipped: count("ignored")?,
            filtered: count("filtered out")?,
        })
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.filtered += other.filtered;
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;
    use crate::shell::call;

    #[test]
    fn reads_the_results_of_test_binaries() {
        let some = |passed, failed, skipped, filtered| {
            Some(Totals {
                passed,
                failed,
                skipped,
                filtered,
            })
        };
        let cases = [
            (
                "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.1s\n",
                some(3, 0, 1, 2),
            ),
            (
                "test result: FAILED. 20 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out",
                some(20, 1, 0, 0),
            ),
            ("test cache::tests::bounded ... ok", None),
            ("test result: ok. nonsense", None),
        ];
        for (line, expected) in cases {
            assert_eq!(Totals::parse(line), expected, "{line}");
        }
    }

    #[test]
    fn what_asks_what_may_be_missing_is_run_where_it_is() {
        let check = |given: &[&str], includes_ignored, skip: &[&str], expected: &str| {
            let given: Vec<_> = given.iter().map(|&arg| arg.to_owned()).collect();
            assert_eq!(arguments(&given, includes_ignored, skip).join(" "), expected);
        };
        check(&[], false, &["python"], "");
        check(&["-p", "a", "--", "b"], false, &[], "-p a -- b");
        check(&[], true, &[], "-- --include-ignored");
        check(&["cache"], true, &[], "cache -- --include-ignored");
        check(&["-p", "a", "--", "b"], true, &[], "-p a -- b --include-ignored");
        let skipping = "-- --include-ignored --skip=python --skip=cluster";
        check(&[], true, &["python", "cluster"], skipping);
    }

    /// The whole way: a test that is left out, as the compiler and its test harness count it.
    #[test]
    fn what_is_left_out_counts_as_skipped() {
        let directory = tempfile::tempdir().unwrap();
        let (source, program) = (directory.path().join("tests.rs"), directory.path().join("tests"));
        let text = "#[test] fn a() {}\n#[test] #[ignore = \"needs Prometheus 3\"] fn b() {}\n";
        std::fs::write(&source, text).unwrap();
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let compile = call(rustc).args([
            OsStr::new("--test"),
            source.as_ref(),
            "-o".as_ref(),
            program.as_ref(),
        ]);
        compile.run().unwrap();
        let check = |flags: &[&str], expected: &str| {
            let mut totals = Totals::default();
            // Not shown: whoever runs this test counts such lines, too.
            assert!(stream(&call(&program).args(flags), &mut totals, &mut io::sink()).unwrap());
            assert_eq!(totals.to_string(), expected);
        };
        check(&[], "1 passed, 0 failed, 1 skipped");
        check(&["--include-ignored"], "2 passed, 0 failed, 0 skipped");
    }

    #[test]
    fn totals_are_one_line() {
        let mut totals = Totals {
            passed: 1,
            failed: 0,
            skipped: 2,
            filtered: 0,
        };
        totals += Totals {
            passed: 2,
            failed: 1,
            skipped: 0,
            filtered: 0,
        };
        assert_eq!(totals.to_string(), "3 passed, 1 failed, 2 skipped");
    }
}
