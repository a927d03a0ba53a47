//! `fleetgauge check`: every problem and warning of configuration files and packs, a line each.

use std::fmt::{self, Write as _};

use crate::adapter;
use crate::cli::{Check, Foreign};
use crate::config::{self, Checked, Environment};
use crate::failure::{Reported, Usage};
use crate::output;

pub(super) fn run(args: &Check) -> anyhow::Result<()> {
    if args.schema {
        return output::print(config::SCHEMA.as_bytes());
    }
    if let Some(Foreign::PrometheusAdapter) = args.from {
        return translate(args);
    }
    let environment = Environment::of_process();
    let mut report = String::new();
    let mut failed = false;
    for file in &args.files {
        match config::check(file) {
            Ok(checked) => {
                for warning in checked.warnings() {
                    writeln!(report, "{warning}")?;
                }
                if let Checked::Config(config) = &checked
                    && let Some(shard) = config.shard
                    && let Err(error) = shard.check(&environment)
                {
                    failed = true;
                    writeln!(report, "{}: {error:#}", file.display())?;
                    continue;
                }
                if !args.quiet {
                    writeln!(report, "{}: ok, {}", file.display(), Summary(&checked))?;
                }
            }
            Err(problems) => {
                failed = true;
                for problem in problems {
                    writeln!(report, "{problem}")?;
                }
            }
        }
    }
    output::print_line(&report)?;
    if failed { Err(Reported.into()) } else { Ok(()) }
}

/// Prints what the rules of prometheus-adapter amount to.
fn translate(args: &Check) -> anyhow::Result<()> {
    let [file] = &args.files[..] else {
        return Err(Usage("--from takes one file".to_owned()).into());
    };
    let (problems, is_partial) = match config::open(file).and_then(|document| adapter::translate(&document)) {
        Ok(translation) => {
            output::print_data(&translation.yaml)?;
            (translation.problems, translation.is_partial)
        }
        Err(problems) => (problems, true),
    };
    for problem in problems
        .iter()
        .filter(|problem| !(args.quiet && problem.is_warning))
    {
        output::note(&problem.to_string());
    }
    if is_partial { Err(Reported.into()) } else { Ok(()) }
}

struct Summary<'a>(&'a Checked);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Checked::Pack(pack) => {
                write!(
                    f,
                    "pack {} with {}",
                    pack.name(),
                    Count(pack.queries().len(), "query", "queries")
                )
            }
            Checked::Config(config) => {
                let parts = [
                    Count(config.sources.len(), "source", "sources"),
                    Count(config.packs.len(), "file of queries", "files of queries"),
                    Count(config.queries.len(), "query", "queries"),
                    Count(config.metrics.len(), "metric", "metrics"),
                    Count(config.remote_write.len(), "remote write", "remote writes"),
                ];
                let parts = parts.iter().filter(|Count(count, ..)| *count > 0);
                let parts: Vec<String> = parts.map(ToString::to_string).collect();
                match parts.split_last() {
                    None => write!(f, "configuration"),
                    Some((only, [])) => write!(f, "configuration with {only}"),
                    Some((last, others)) => write!(f, "configuration with {} and {last}", others.join(", ")),
                }
            }
        }
    }
}

struct Count(usize, &'static str, &'static str);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count, one, several) = self;
        write!(f, "{count} {}", if *count == 1 { one } else { several })
    }
}
