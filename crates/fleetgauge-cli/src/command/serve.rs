//! `fleetgauge serve`: keeps the metrics of a configuration fresh, and serves them.

use crate::cli::Serve;
use crate::config::{self, Environment};
use crate::daemon::Daemon;
use crate::log::Log;

pub(super) fn run(args: &Serve) -> anyhow::Result<()> {
    let environment = Environment::of_collector()?;
    let config = config::read_if_given(Some(&args.config))?;
    let log = Log::to_stderr(
        args.log_level.unwrap_or(config.log.level),
        args.log_format.unwrap_or(config.log.format),
        args.log_level.is_some(),
    )?;
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
        let daemon = Daemon::start(args, &config, environment, log)?;
        let doors = daemon.open(&config, args).await?;
        daemon.serve(doors).await
    })
}
