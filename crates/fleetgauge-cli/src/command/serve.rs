//! `fleetgauge serve`: keeps the metrics of a configuration fresh, and serves them.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::cli::Serve;
use crate::config::{self, Config, Environment};
use crate::daemon::Daemon;
use crate::log::{LogFormat, LogLevel};

pub(super) fn run(args: &Serve) -> anyhow::Result<()> {
    let environment = Environment::of_collector()?;
    let config = config::read_if_given(Some(&args.config))?;
    log(&config, args)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    if config.metrics.is_empty() {
        tracing::warn!(
            "{} names no metrics, so there is nothing to keep fresh",
            args.config.display()
        );
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let daemon = Daemon::start(args, &config, environment)?;
        daemon.serve(&config, args).await
    })
}

fn log(config: &Config, args: &Serve) -> anyhow::Result<()> {
    let level = match args.log_level.unwrap_or(config.log.level) {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
    };
    // Others' crates tell of each connection at debug.
    let filter = EnvFilter::try_new(format!(
        "warn,fleetgauge={level},fleetgauge_core={level},fleetgauge_server={level}"
    ))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    match args.log_format.unwrap_or(config.log.format) {
        LogFormat::Text => builder.with_target(false).init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}
