//! Sends all that windows hold to a server that takes Prometheus's remote write 1.0.
//!
//! Nothing is stored here: the window is the queue, and is as long as its retention. A request is sent again, byte by byte the
//! same, until the server has taken or refused it; what comes meanwhile waits in the window. So a sample that is sent twice
//! has the same time and value, and a server that was gone is sent what it missed. What this process has not sent when it is
//! killed is lost.
//!
//! Source: <https://prometheus.io/docs/specs/prw/remote_write_spec/>.

mod message;
mod sender;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use fleetgauge_core::time::{Clock, Timestamp};
use fleetgauge_promql::window::{Cursor, Window};
use futures_util::FutureExt;

use super::config::PrometheusSourceConfig;
use crate::client::ConfigError;
use message::Message;
use sender::{Failure, Sender};

/// How long a request is at most before it is compressed, but for the last series in it.
const MAX_BYTES: usize = 4 << 20;

/// The waits between two tries.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// How a [`RemoteWrite`] works.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RemoteWriteConfig {
    /// How the server is reached. Its URL is that of the endpoint, such as `http://victoria:8428/api/v1/write`, and its
    /// `query_timeout` is how long the server may take for a request.
    pub client: PrometheusSourceConfig,
    /// How often what has come is sent. Default: 10 s.
    pub every: Duration,
    /// How long what is left is tried to be sent at the end. Default: 5 s.
    pub flush_timeout: Duration,
    /// Labels for all series that have no label of this name.
    pub external_labels: Vec<(String, String)>,
}

/// What has become of the samples so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RemoteWriteStats {
    /// Samples that the server has taken.
    pub sent: u64,
    /// Samples that the server has refused: they are not sent again.
    pub refused: u64,
    /// Samples of requests that were refused after a try whose outcome is not known: that one may have been taken.
    pub unconfirmed: u64,
    /// Tries that failed and were followed by another one.
    pub retries: u64,
    /// Samples of the request that is under way.
    pub pending: u64,
    /// Series that may have lost samples: they were out of the window's retention before they were sent.
    pub lost_series: u64,
    /// Until when all that was there is sent.
    pub sent_until: Option<Timestamp>,
}

/// Sends what windows hold.
#[derive(Debug)]
pub struct RemoteWrite {
    sender: Sender,
    config: RemoteWriteConfig,
    cursors: Mutex<Vec<Cursor>>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    refused: AtomicU64,
    unconfirmed: AtomicU64,
    retries: AtomicU64,
    pending: AtomicU64,
    lost_series: AtomicU64,
    sent_until: AtomicI64,
}

// === impl RemoteWriteConfig ===

impl RemoteWriteConfig {
    /// The defaults, for the endpoint at `url`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            client: PrometheusSourceConfig::new(url).with_query_timeout(Duration::from_secs(30)),
            every: Duration::from_secs(10),
            flush_timeout: Duration::from_secs(5),
            external_labels: Vec::new(),
        }
    }

    fleetgauge_core::setters! {
        /// Sets how the server is reached.
        with_client(client: PrometheusSourceConfig) => client = client;
        /// Sets how often what has come is sent.
        with_every(every: Duration) => every = every;
        /// Sets how long what is left is tried to be sent at the end.
        with_flush_timeout(timeout: Duration) => flush_timeout = timeout;
    }

    /// Adds a label to all series that have none of this name.
    pub fn with_external_label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.external_labels.push((name.into(), value.into()));
        self
    }
}

// === impl RemoteWrite ===

impl RemoteWrite {
    /// For what `windows` hold. Nothing is sent before [`run`](Self::run).
    ///
    /// *Errors*: [`ConfigError`], also if a file cannot be read. The server is not asked.
    pub fn new(
        mut config: RemoteWriteConfig,
        windows: impl IntoIterator<Item = Window>,
    ) -> Result<Self, ConfigError> {
        if config.every.is_zero() {
            return Err(ConfigError::Invalid {
                field: "every".into(),
                problem: "must be more than zero".into(),
            });
        }
        // As the labels of a series are.
        config.external_labels.sort();
        config.external_labels.retain(|(_, value)| !value.is_empty());
        config.external_labels.dedup_by(|later, kept| later.0 == kept.0);
        let sender = Sender::new(&config.client)?;
        let counts = Counts {
            sent_until: AtomicI64::new(i64::MIN),
            ..Counts::default()
        };
        Ok(Self {
            sender,
            config,
            cursors: Mutex::new(windows.into_iter().map(Cursor::new).collect()),
            counts: Arc::new(counts),
        })
    }

    /// What has become of the samples so far.
    pub fn stats(&self) -> RemoteWriteStats {
        let Counts {
            sent,
            refused,
            unconfirmed,
            retries,
            pending,
            lost_series,
            sent_until,
        } = &*self.counts;
        let until = sent_until.load(Ordering::Relaxed);
        RemoteWriteStats {
            sent: sent.load(Ordering::Relaxed),
            refused: refused.load(Ordering::Relaxed),
            unconfirmed: unconfirmed.load(Ordering::Relaxed),
            retries: retries.load(Ordering::Relaxed),
            pending: pending.load(Ordering::Relaxed),
            lost_series: lost_series.load(Ordering::Relaxed),
            sent_until: (until > i64::MIN).then(|| Timestamp::from_millis(until)),
        }
    }

    /// Sends until `stop`, and then what is left, for as long as the configuration gives it. It is to be run once.
    pub async fn run(&self, stop: impl Future<Output = ()>) {
        self.send_on(stop.shared()).await;
    }

    async fn send_on(&self, stop: impl Future<Output = ()> + Clone) {
        let bound = async {
            stop.clone().await;
            tokio::time::sleep(self.config.flush_timeout).await;
        };
        let sending = async {
            let mut is_last = false;
            loop {
                self.flush().await;
                if is_last {
                    return;
                }
                is_last = tokio::select! {
                    () = stop.clone() => true,
                    () = tokio::time::sleep(self.config.every) => false,
                };
            }
        };
        tokio::select! {
            () = sending => {}
            () = bound => {
                let left = self.counts.pending.load(Ordering::Relaxed);
                tracing::error!(
                    remote = %self.sender.origin(),
                    "remote write: {left} samples, and what came after them, are not sent at the end"
                );
            }
        }
    }

    /// Sends all that has come.
    async fn flush(&self) {
        let began = Clock::system().wall();
        let mut cursors = std::mem::take(&mut *self.cursors());
        for cursor in &mut cursors {
            cursor.begin(began);
            loop {
                let mut message = Message::new(&self.config.external_labels);
                let goes_on = cursor.read(began, |labels, samples| {
                    message.push(labels, samples);
                    message.len() < MAX_BYTES
                });
                if message.samples() > 0 {
                    self.deliver(message.compressed(), message.samples()).await;
                }
                if !goes_on {
                    break;
                }
                // Other tasks of the thread have their turn.
                tokio::task::yield_now().await;
            }
        }
        let lost = cursors.iter().map(Cursor::lost_series).sum();
        if self.counts.lost_series.swap(lost, Ordering::Relaxed) < lost {
            tracing::error!(
                remote = %self.sender.origin(),
                "remote write: samples of {lost} series so far were out of the retention before they could be sent"
            );
        }
        *self.cursors() = cursors;
        self.counts.sent_until.store(began.as_millis(), Ordering::Relaxed);
    }

    /// Sends a request until the server has taken or refused it.
    async fn deliver(&self, body: Bytes, samples: u64) {
        let counts = &self.counts;
        counts.pending.store(samples, Ordering::Relaxed);
        let (mut wait, mut may_be_taken, mut has_failed) = (FIRST_WAIT, false, false);
        loop {
            match self.sender.send(body.clone()).await {
                Ok(()) => {
                    if has_failed {
                        tracing::info!(remote = %self.sender.origin(), "remote write: samples are taken again");
                    }
                    counts.sent.fetch_add(samples, Ordering::Relaxed);
                    break;
                }
                Err(Failure::Refused(error)) => {
                    let count = if may_be_taken {
                        &counts.unconfirmed
                    } else {
                        &counts.refused
                    };
                    count.fetch_add(samples, Ordering::Relaxed);
                    let may_be = if may_be_taken {
                        ", unless an earlier try was taken"
                    } else {
                        ""
                    };
                    tracing::error!(
                        remote = %self.sender.origin(),
                        "remote write: {samples} samples are refused, and lost to the server{may_be}: {error}"
                    );
                    break;
                }
                Err(Failure::Again {
                    error,
                    after,
                    is_taken_maybe,
                }) => {
                    may_be_taken |= is_taken_maybe;
                    if !std::mem::replace(&mut has_failed, true) {
                        tracing::warn!(
                            remote = %self.sender.origin(),
                            "remote write: the server takes no samples, which wait for it: {error}"
                        );
                    }
                    counts.retries.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(wait.max(after)).await;
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
            }
        }
        counts.pending.store(0, Ordering::Relaxed);
    }

    fn cursors(&self) -> std::sync::MutexGuard<'_, Vec<Cursor>> {
        self.cursors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
