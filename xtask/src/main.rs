//! The project's own commands: `cargo xtask check|test|bench|ci|fuzz|soak|control-plane|keda|prometheus-newest`.
//!
//! They are what a clean clone needs, and what the continuous integration runs; there is no second
//! way of doing either.

mod browser;
mod control_plane;
mod fuzz;
mod go;
mod keda;
mod made;
mod prometheus_3;
mod prometheus_newest;
mod python;
mod servers;
mod shell;
mod soak;
mod test;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use shell::cargo;

/// The project's own commands.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Formatting, lints, documentation, the arrows between the crates and, with cargo-deny, their dependencies.
    Check,
    /// Every test, real servers included, with one line of totals at the end.
    Test {
        /// Passed on to `cargo test`, such as `-p fleetgauge` or a part of a test's name.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Every benchmark.
    Bench {
        /// Passed on to `cargo bench`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// All that must hold before a merge: check, test, and the builds of binary and examples.
    Ci,
    /// Runs one fuzz target with cargo-fuzz, on the nightly compiler or, without sanitizers, on the stable one.
    Fuzz {
        /// The target, as `cargo fuzz list` names it.
        target: String,
        /// How long.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
    /// Runs the daemon for long while all goes wrong at random: no number that nobody measured, nothing left behind.
    Soak {
        /// How long.
        #[arg(long, default_value_t = 30.0)]
        minutes: f64,
        /// What goes wrong, as a run that failed has told; another one each time where nothing is said.
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Makes the Kubernetes control plane that tests start, where it is not there yet, and prints the folder that it is
    /// in, for `KUBEBUILDER_ASSETS`.
    ControlPlane,
    /// Makes KEDA's operator, by which one test more is run, where it is not there yet, and prints the folder that it is in.
    Keda,
    /// Makes the newest Prometheus and its promtool, for benches, where they are not there yet, and prints the folder that
    /// they are in, for `FLEETGAUGE_PROMETHEUS_3` and `FLEETGAUGE_PROMTOOL_3`.
    PrometheusNewest,
}

fn main() -> ExitCode {
    run(Cli::parse().command).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Check => check()?,
        Command::Test { args } => return test::run(&args),
        Command::Bench { args } => {
            let all: &[&str] = if shell::selects_packages(&args) {
                &[]
            } else {
                &["--workspace"]
            };
            cargo(["bench"]).args(all).args(args).run()?;
        }
        Command::Ci => {
            check()?;
            cargo(["build", "--release", "--package", "fleetgauge-cli"]).run()?;
            cargo(["build", "--workspace", "--examples"]).run()?;
            return test::run(&[]);
        }
        Command::Fuzz { target, seconds } => fuzz::run(&target, seconds)?,
        Command::Soak { minutes, seed } => soak::call(minutes, seed).run()?,
        Command::ControlPlane => println!("{}", control_plane::assets()?.display()),
        Command::Keda => println!("{}", keda::assets()?.display()),
        Command::PrometheusNewest => println!("{}", prometheus_newest::programs()?.display()),
    }
    Ok(ExitCode::SUCCESS)
}

/// What someone may want of the library alone; all of it is checked with everything else.
const FEATURE_SETS: &[&str] = &[
    "",
    "prometheus",
    "scrape",
    "promql",
    "packs",
    "prometheus,packs",
    "scrape,packs",
];

fn check() -> Result<()> {
    cargo(["fmt", "--all", "--check"]).run()?;
    cargo([
        "clippy",
        "--workspace",
        "--all-targets",
        "--all-features",
        "--",
        "-D",
        "warnings",
    ])
    .run()?;
    for features in FEATURE_SETS {
        cargo([
            "clippy",
            "--package",
            "fleetgauge",
            "--lib",
            "--no-default-features",
        ])
        .args(["--features", features, "--", "-D", "warnings"])
        .run()?;
    }
    cargo(["doc", "--workspace", "--no-deps"])
        .env("RUSTDOCFLAGS", "-D warnings")
        .run()?;
    cargo(["test", "--quiet", "--package", "xtask", "--test", "it"]).run()?;
    check_dependencies()
}

/// Licences, duplicate versions and sources of the dependencies, as `deny.toml` has them.
fn check_dependencies() -> Result<()> {
    if cargo(["deny", "--version"]).succeeds() {
        let check = [
            "deny",
            "check",
            "--hide-inclusion-graph",
            "licenses",
            "bans",
            "sources",
        ];
        return cargo(check).run();
    }
    eprintln!(
        "Licences, versions and sources of the dependencies are not checked, for cargo-deny is missing: \
         cargo install cargo-deny --locked"
    );
    Ok(())
}
