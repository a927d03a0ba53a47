//! `fleetgauge serve`: keeps the metrics of a configuration fresh, and serves them.

use crate::cli::Serve;
use crate::config::Environment;
use crate::daemon::{self, Daemon, Signals};
use crate::log::Log;

pub(super) fn run(args: &Serve) -> anyhow::Result<()> {
    let environment = Environment::of_collector()?;
    let (config, contents) = daemon::read(&args.config)?;
    let log = Log::to_stderr(
        args.log_level.unwrap_or(config.log.level),
        args.log_format.unwrap_or(config.log.format),
        args.log_level.is_some(),
    )?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    if config.metrics.is_empty() && config.remote_write.is_empty() {
        tracing::warn!(
            "{} names no metrics, and nobody that is written to, so there is nothing to keep fresh",
            args.config.display()
        );
    }
    allow_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        // Before there is anything that a signal could end halfway.
        let signals = Signals::listen()?;
        let daemon = Daemon::start(args, (&config, contents), environment, log)?;
        let doors = daemon.open(&config, args).await?;
        daemon.serve(doors, signals).await
    });
    // A query that is being evaluated has had its time to end.
    runtime.shutdown_background();
    served
}

/// Each pod and each client takes an open file; the limit that processes begin with is meant for others.
fn allow_files() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, getrlimit, setrlimit};
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!("the limit on open files can't be raised: {error}");
        }
    }
}
