//! Sends all that windows hold to a server that takes Prometheus's remote write 1.0 or 2.0.
//!
//! Nothing is stored here: the window is the queue, and is as long as its retention. A request is sent again, byte by byte the
//! same, until the server has taken or refused it; what comes meanwhile waits in the window. So a sample that is sent twice
//! has the same time and value, and a server that was gone is sent what it missed. What this process has not sent when it is
//! killed is lost.
//!
//! A server refuses a request whole for the sake of one series in it. Then its halves are sent, and theirs, until it is known
//! which ones are refused; the others are taken. One that takes 2.0 writes what it can, and says how much: then the rest is
//! given up at once.
//!
//! Source: <https://prometheus.io/docs/specs/prw/remote_write_spec/>,
//! <https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/>.

mod histogram;
mod message;
mod protobuf_message;
mod queue;
mod sender;
#[cfg(test)]
mod tests;
mod version_2;
mod wire;

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use fleetgauge_core::time::{Clock, Timestamp};
use fleetgauge_promql::window::Window;
use futures_util::FutureExt;
use tokio::sync::watch;

use super::config::PrometheusSourceConfig;
use crate::client::ConfigError;
pub use protobuf_message::ProtobufMessage;
use queue::{Part, Queue};
use sender::{Failure, Sender, Sent, Written};

/// The waits between two tries.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// Who asks for more is asked again nevertheless: what has left the window by then is lost.
const LONGEST_WAIT_ASKED_FOR: Duration = Duration::from_secs(300);

/// How a [`RemoteWrite`] works.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RemoteWriteConfig {
    /// What it is called in logs. Default: where its URL leads to.
    pub name: Option<String>,
    /// How the server is reached. Its URL is that of the endpoint, such as `http://victoria:8428/api/v1/write`, and its
    /// `query_timeout` is how long the server may take for a request.
    pub client: PrometheusSourceConfig,
    /// Which message is sent. Default: that of 1.0.
    pub protobuf_message: ProtobufMessage,
    /// How often what has come is sent. Default: 10 s.
    pub every: Duration,
    /// How long what is left is tried to be sent at the end. Default: 5 s.
    pub flush_timeout: Duration,
    /// What was taken within this time before the server began to fail is sent again afterwards: for servers that keep what
    /// they have taken in memory for a while, and may lose it. Default: zero.
    pub resend: Duration,
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
    /// Samples of which nobody knows whether the server has them: they were refused after a try that may have been taken, or the
    /// server says of them what cannot be.
    pub unconfirmed: u64,
    /// Samples that the server has not written, though it took the request: one that takes 2.0 says so.
    pub not_written: u64,
    /// Samples for which the message of 1.0 has no form, and which were not sent: histograms with custom buckets.
    pub left_out: u64,
    /// Tries that failed and were followed by another one.
    pub retries: u64,
    /// Samples that are under way.
    pub pending: u64,
    /// Samples that the windows let go before they were sent.
    pub lost: u64,
    /// For how long there has been something that is not sent: since the last pass began that sent all there was.
    pub lag: Duration,
    /// When that was, if there was one.
    pub sent_until: Option<Timestamp>,
    /// Whether the server takes nothing now, and is tried again.
    pub is_failing: bool,
}

/// Sends what windows hold.
#[derive(Debug)]
pub struct RemoteWrite {
    sender: Sender,
    config: RemoteWriteConfig,
    shared: Arc<Shared>,
    /// What is there for as long as this is, and that of the one that takes its place.
    alive: Arc<()>,
    successor: Mutex<Weak<()>>,
    /// Whether this is the end, for which nobody waits long.
    is_ending: watch::Sender<bool>,
}

/// What one that takes the place of another goes on with.
#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    counts: Counts,
    told: Told,
    /// When the last pass began that sent all there was; first, when this was made.
    synced: Mutex<Instant>,
}

#[derive(Debug)]
struct Counts {
    sent: AtomicU64,
    refused: AtomicU64,
    unconfirmed: AtomicU64,
    not_written: AtomicU64,
    left_out: AtomicU64,
    retries: AtomicU64,
    pending: AtomicU64,
    lost: AtomicU64,
    sent_until: AtomicI64,
}

/// What has been logged and is not over.
#[derive(Debug, Default)]
struct Told {
    is_failing: AtomicBool,
    is_refusing: AtomicBool,
    is_losing: AtomicBool,
    is_leaving_out: AtomicBool,
}

// === impl RemoteWriteConfig ===

impl RemoteWriteConfig {
    /// The defaults, for the endpoint at `url`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            name: None,
            client: PrometheusSourceConfig::new(url).with_query_timeout(Duration::from_secs(30)),
            protobuf_message: ProtobufMessage::default(),
            every: Duration::from_secs(10),
            flush_timeout: Duration::from_secs(5),
            resend: Duration::ZERO,
            external_labels: Vec::new(),
        }
    }

    fleetgauge_core::setters! {
        /// Sets how the server is reached.
        with_client(client: PrometheusSourceConfig) => client = client;
        /// Sets which message is sent.
        with_protobuf_message(message: ProtobufMessage) => protobuf_message = message;
        /// Sets how often what has come is sent.
        with_every(every: Duration) => every = every;
        /// Sets how long what is left is tried to be sent at the end.
        with_flush_timeout(timeout: Duration) => flush_timeout = timeout;
        /// Sets what is sent again after the server has failed.
        with_resend(time: Duration) => resend = time;
    }

    /// Sets what it is called in logs.
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
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
        config: RemoteWriteConfig,
        windows: impl IntoIterator<Item = Window>,
    ) -> Result<Self, ConfigError> {
        let counts = Counts {
            sent: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            unconfirmed: AtomicU64::new(0),
            not_written: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            pending: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            sent_until: AtomicI64::new(i64::MIN),
        };
        let shared = Shared {
            queue: Mutex::new(Queue::new(windows.into_iter().collect())),
            counts,
            told: Told::default(),
            synced: Mutex::new(Instant::now()),
        };
        Self::with(config, Arc::new(shared))
    }

    /// One that takes the place of `before`, whose [`run`](Self::run) must have ended: it goes on where that one was, and sends
    /// nothing again that was taken. It is to write to the same server.
    ///
    /// *Errors*: as of [`new`](Self::new).
    pub fn in_place_of(before: &Self, config: RemoteWriteConfig) -> Result<Self, ConfigError> {
        let next = Self::with(config, Arc::clone(&before.shared))?;
        *before.successor() = Arc::downgrade(&next.alive);
        Ok(next)
    }

    fn with(mut config: RemoteWriteConfig, shared: Arc<Shared>) -> Result<Self, ConfigError> {
        if config.every.is_zero() {
            return Err(ConfigError::Invalid {
                field: "every".into(),
                problem: "must be more than zero".into(),
            });
        }
        shared.told.is_leaving_out.store(false, Ordering::Relaxed);
        // As the labels of a series are.
        config.external_labels.sort();
        config.external_labels.retain(|(_, value)| !value.is_empty());
        config.external_labels.dedup_by(|later, kept| later.0 == kept.0);
        Ok(Self {
            sender: Sender::new(&config.client, config.protobuf_message)?,
            config,
            shared,
            alive: Arc::new(()),
            successor: Mutex::new(Weak::new()),
            is_ending: watch::Sender::new(false),
        })
    }

    /// What it is called in logs.
    fn name(&self) -> String {
        let name = self.config.name.clone();
        name.unwrap_or_else(|| self.sender.origin().to_string())
    }

    fn successor(&self) -> MutexGuard<'_, Weak<()>> {
        self.successor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it was made with; the external labels are sorted by name.
    pub fn config(&self) -> &RemoteWriteConfig {
        &self.config
    }

    /// Sends what these windows hold from the next pass on. Of one that is not among them any more, what is left is sent, and
    /// staleness markers behind it.
    pub fn set_windows(&self, windows: impl IntoIterator<Item = Window>) {
        self.shared.queue().set_windows(windows.into_iter().collect());
    }

    /// What has become of the samples so far.
    pub fn stats(&self) -> RemoteWriteStats {
        let shared = &self.shared;
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let until = shared.counts.sent_until.load(Ordering::Relaxed);
        RemoteWriteStats {
            sent: load(&shared.counts.sent),
            refused: load(&shared.counts.refused),
            unconfirmed: load(&shared.counts.unconfirmed),
            not_written: load(&shared.counts.not_written),
            left_out: load(&shared.counts.left_out),
            retries: load(&shared.counts.retries),
            pending: load(&shared.counts.pending),
            lost: load(&shared.counts.lost),
            lag: shared.synced().elapsed(),
            sent_until: (until > i64::MIN).then(|| Timestamp::from_millis(until)),
            is_failing: shared.told.is_failing.load(Ordering::Relaxed),
        }
    }

    /// Sends until `stop`, and then what is left, for as long as the configuration gives it. It is to be run once.
    pub async fn run(&self, stop: impl Future<Output = ()>) {
        self.send_on(stop.shared()).await;
    }

    async fn send_on(&self, stop: impl Future<Output = ()> + Clone) {
        let bound = async {
            stop.clone().await;
            self.is_ending.send_replace(true);
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
            // What is left is sent by the one that takes its place.
            () = bound => if self.successor().strong_count() == 0 {
                let left = self.shared.counts.pending.load(Ordering::Relaxed);
                tracing::error!(
                    remote = %self.name(),
                    "remote write: {left} samples, and what came after them, are not sent at the end"
                );
            }
        }
    }

    /// Sends all that has come.
    async fn flush(&self) {
        let (began, synced) = (Clock::system().wall(), Instant::now());
        let counted = || {
            let stats = self.stats();
            (stats.refused + stats.unconfirmed + stats.not_written, stats.sent)
        };
        let (refused, sent) = counted();
        self.on_queue(move |queue, _| queue.begin(began)).await;
        let message = self.config.protobuf_message;
        while let Some(part) = self
            .on_queue(move |queue, external| queue.next(external, message))
            .await
        {
            self.deliver(part).await;
        }
        self.tell_left_out();
        let resend = self.config.resend;
        self.tell_lost(self.on_queue(move |queue, _| queue.end(resend)).await);
        let told = &self.shared.told;
        let is_taken = counted().0 == refused && counted().1 > sent;
        if is_taken && told.is_refusing.swap(false, Ordering::Relaxed) {
            tracing::info!(remote = %self.name(), "remote write: no samples are refused any more");
        }
        *self.shared.synced() = synced;
        let until = &self.shared.counts.sent_until;
        until.store(began.as_millis(), Ordering::Relaxed);
    }

    /// Does `work` on a thread that may be busy with it for a while.
    async fn on_queue<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Queue, &[(String, String)]) -> T + Send + 'static,
    ) -> T {
        let shared = Arc::clone(&self.shared);
        let external = self.config.external_labels.clone();
        let work = tokio::task::spawn_blocking(move || shared.change(|queue| work(queue, &external)));
        match work.await {
            Ok(done) => done,
            // It is never aborted but with its runtime, and this with it.
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => std::future::pending().await,
            },
        }
    }

    /// Says so when samples begin to be lost, and when no more are; `lost` is of all times.
    fn tell_lost(&self, lost: u64) {
        let more = lost.saturating_sub(self.shared.counts.lost.swap(lost, Ordering::Relaxed));
        let was_losing = self.shared.told.is_losing.swap(more > 0, Ordering::Relaxed);
        let remote = self.name();
        match (was_losing, more > 0) {
            (false, true) => tracing::error!(
                %remote,
                "remote write: {more} samples went from the windows before they could be sent, and are lost to the server"
            ),
            (true, false) => {
                tracing::info!(%remote, "remote write: no samples are lost any more, {lost} were so far");
            }
            _ => {}
        }
    }

    /// Says so when the message begins to have no form for some samples, and when it has one for all.
    fn tell_left_out(&self) {
        let left_out = self.shared.queue().left_out();
        let more = left_out - self.shared.counts.left_out.swap(left_out, Ordering::Relaxed);
        let told = &self.shared.told.is_leaving_out;
        if more > 0 && !told.swap(true, Ordering::Relaxed) {
            tracing::error!(
                remote = %self.name(),
                "remote write: {more} histograms with custom buckets are left out, for which remote write 1.0 has no form: set \
                 `protobuf_message: {}`",
                ProtobufMessage::V2.as_str()
            );
        }
    }

    /// Sends a part of a request until the server has taken or refused it.
    async fn deliver(&self, mut part: Part) {
        let Shared { counts, told, .. } = &*self.shared;
        let remote = self.name();
        let mut wait = FIRST_WAIT;
        loop {
            let sent = Sent {
                numbers: part.samples - part.histograms,
                histograms: part.histograms,
            };
            match self.sender.send(part.body.clone(), sent).await {
                Ok(written) => {
                    if told.is_failing.swap(false, Ordering::Relaxed) {
                        tracing::info!(%remote, "remote write: the server takes samples again");
                    }
                    self.shared.change(|queue| queue.taken(&part));
                    let samples = part.samples;
                    let (written, count, why) = match written {
                        Written::Unsaid => (samples, &counts.not_written, String::new()),
                        Written::Samples(written) => (
                            written,
                            &counts.not_written,
                            format!(
                                "says that it has written {written} of its {samples} samples: the others are lost to it"
                            ),
                        ),
                        Written::Doubtful(said) => (
                            0,
                            &counts.unconfirmed,
                            format!("nobody knows which of its {samples} samples it has: {said}"),
                        ),
                    };
                    counts.sent.fetch_add(written, Ordering::Relaxed);
                    count.fetch_add(samples - written, Ordering::Relaxed);
                    if written < samples && !told.is_refusing.swap(true, Ordering::Relaxed) {
                        tracing::error!(%remote, "remote write: the server took a request, and {why}");
                    }
                    return;
                }
                Err(Failure::Refused { error, written }) => {
                    let (written, said) = match written {
                        Written::Samples(written) => (written, String::new()),
                        Written::Unsaid => (0, String::new()),
                        Written::Doubtful(said) => {
                            part.may_be_taken = true;
                            (0, format!("; {said}"))
                        }
                    };
                    counts.sent.fetch_add(written, Ordering::Relaxed);
                    let refused = match written {
                        0 => self.shared.change(|queue| queue.refused(&part)).map(|refused| {
                            (refused.samples, format!(", the first ones of {}", refused.series))
                        }),
                        _ => {
                            self.shared.change(|queue| queue.taken(&part));
                            Some((part.samples - written, String::new()))
                        }
                    };
                    let Some((refused, first)) = refused else {
                        // Its halves come next.
                        return;
                    };
                    let (count, may_be) = match part.may_be_taken {
                        true => (&counts.unconfirmed, ", unless an earlier try was taken"),
                        false => (&counts.refused, ""),
                    };
                    count.fetch_add(refused, Ordering::Relaxed);
                    if !told.is_refusing.swap(true, Ordering::Relaxed) {
                        tracing::error!(
                            %remote,
                            "remote write: samples are refused, and lost to the server{may_be}; {refused} samples{first}: {error}{said}"
                        );
                    }
                    return;
                }
                Err(Failure::Again {
                    error,
                    after,
                    is_taken_maybe,
                }) => {
                    part.may_be_taken |= is_taken_maybe;
                    self.shared.change(|queue| queue.may_be_taken(part.may_be_taken));
                    if !told.is_failing.swap(true, Ordering::Relaxed) {
                        self.shared.change(|queue| queue.send_again(self.config.resend));
                        tracing::warn!(
                            %remote,
                            "remote write: the server takes no samples, which wait for it: {error}"
                        );
                    }
                    counts.retries.fetch_add(1, Ordering::Relaxed);
                    if self.waits(wait, after).await {
                        wait = FIRST_WAIT;
                        continue;
                    }
                    if wait == LONGEST_WAIT {
                        self.on_queue(|queue, _| queue.let_go()).await;
                    }
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
            }
        }
    }

    /// Waits until it is time for the next try. Whether that is since the end has come meanwhile.
    async fn waits(&self, wait: Duration, asked_for: Duration) -> bool {
        let mut is_ending = self.is_ending.subscribe();
        if *is_ending.borrow() {
            tokio::time::sleep(wait).await;
            return false;
        }
        let wait = wait.max(asked_for.min(LONGEST_WAIT_ASKED_FOR));
        tokio::select! {
            () = tokio::time::sleep(wait) => false,
            _ = is_ending.wait_for(|is_ending| *is_ending) => true,
        }
    }
}

// === impl Shared ===

impl Shared {
    fn change<T>(&self, change: impl FnOnce(&mut Queue) -> T) -> T {
        let mut queue = self.queue();
        let done = change(&mut queue);
        self.counts.pending.store(queue.pending(), Ordering::Relaxed);
        done
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn synced(&self) -> MutexGuard<'_, Instant> {
        self.synced.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
