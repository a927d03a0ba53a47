//! What the daemon logs, and how: the same words in the configuration and among the flags.

use std::io::{self, IsTerminal};

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, fmt, reload};

/// From which severity on something is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    #[default]
    Text,
    Json,
}

/// The log of this process, whose level may change.
#[derive(Default)]
pub(crate) struct Log {
    /// None where nothing is logged, or a flag says what.
    filter: Option<reload::Handle<EnvFilter, Registry>>,
}

// === impl Log ===

impl Log {
    /// Logs to stderr from now on. The level stays as it is where it `is_fixed`.
    pub(crate) fn to_stderr(level: LogLevel, format: LogFormat, is_fixed: bool) -> anyhow::Result<Self> {
        let (filter, handle) = reload::Layer::new(filter(level));
        let lines = fmt::layer()
            .with_writer(io::stderr)
            .with_ansi(io::stderr().is_terminal());
        let lines = match format {
            LogFormat::Text => lines.with_target(false).boxed(),
            LogFormat::Json => lines.json().boxed(),
        };
        tracing_subscriber::registry()
            .with(filter)
            .with(lines)
            .try_init()?;
        Ok(Self {
            filter: Some(handle).filter(|_| !is_fixed),
        })
    }

    /// Logs from `level` on.
    pub(crate) fn set_level(&self, level: LogLevel) {
        if let Some(handle) = &self.filter {
            // It is there as long as the process.
            let _ = handle.reload(filter(level));
        }
    }
}

fn filter(level: LogLevel) -> EnvFilter {
    let level = match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
    };
    // Others' crates tell of each connection at debug. Those that ask the API server tell of each try that fails, for as long as it
    // does; what they tell is an error to us, too, and logged when it begins and when it ends.
    EnvFilter::new(format!(
        "warn,kube_client=off,kube_runtime=off,fleetgauge={level},fleetgauge_core={level},fleetgauge_server={level}"
    ))
}
