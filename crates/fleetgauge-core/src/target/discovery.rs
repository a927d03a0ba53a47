//! Where targets come from.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use tokio::sync::watch;

use super::labels::{ADDRESS, TargetLabels};
use crate::printable::Printable;

/// Says which targets there are, and goes on saying so.
///
/// What is told of changes, such as a cluster, keeps a [`watch::Sender`] of snapshots and gives
/// [`pushed`] of its receiver. What has to be asked again and again, such as DNS, gives [`polled`]. What
/// never changes tells one snapshot and stays silent.
///
/// ```
/// use std::sync::Arc;
///
/// use fleetgauge_core::target::{self, Snapshot, SnapshotStream, TargetDiscovery};
/// use tokio::sync::watch;
///
/// /// Something else sends the snapshots.
/// struct Cluster(watch::Receiver<Snapshot>);
///
/// impl TargetDiscovery for Cluster {
///     fn name(&self) -> &str {
///         "kubernetes_sd pod"
///     }
///
///     fn watch(self: Arc<Self>) -> SnapshotStream {
///         target::pushed(self.0.clone())
///     }
/// }
/// ```
pub trait TargetDiscovery: Send + Sync + 'static {
    /// What it is called in errors and logs, such as `file_sd /etc/targets.json`.
    fn name(&self) -> &str;

    /// What is known, from now on.
    ///
    /// *Shape*: each snapshot is the whole, and takes the place of the one before. A reader may skip snapshots:
    /// only the newest counts. The stream runs in the reader's task, so it ends when it is dropped and must not
    /// block. One that ends or panics is a failed discovery, whose targets stay as it last told them.
    fn watch(self: Arc<Self>) -> SnapshotStream;
}

/// What a discovery tells, newest last.
pub type SnapshotStream = BoxStream<'static, Snapshot>;

/// What a discovery knows at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Snapshot {
    /// Nothing has been found out yet. This is not "no targets". After something was known, it changes nothing.
    #[default]
    NotYet,
    /// These are the targets.
    Known(Discovered),
}

/// The targets that a discovery knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Discovered {
    /// The targets. They are shared: a discovery that knows that one has not changed gives the same pointer.
    pub targets: Vec<Arc<TargetLabels>>,
    /// Why some of them are not as of now, or are missing: one of several files that cannot be read, say.
    pub problems: Vec<DiscoveryError>,
    /// Whether these are only those that are ready, as those are that DNS knows of a service: where there are none, it is
    /// not known that there are no replicas.
    pub are_ready_alone: bool,
}

/// Why a discovery does not know its targets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DiscoveryError {
    /// What it asks could not be reached, or did not answer.
    #[error("{}", Printable(.detail))]
    Unreachable {
        /// What, and why.
        detail: String,
    },
    /// A file could not be read.
    #[error("{}", Printable(.detail))]
    File {
        /// Which, and why.
        detail: String,
    },
    /// What it was told makes no sense.
    #[error("{}", Printable(.detail))]
    Malformed {
        /// What, and where.
        detail: String,
    },
    /// One that ought to be a target cannot be, as a pod without the port that is asked for.
    #[error("{}", Printable(.detail))]
    Target {
        /// What is known of its labels.
        labels: Arc<TargetLabels>,
        /// Which it is, and why.
        detail: String,
    },
    /// One that is to be a target has not been ready yet, so that nothing is expected of it.
    #[error("{}", Printable(.detail))]
    Starting {
        /// What is known of its labels.
        labels: Arc<TargetLabels>,
        /// Which it is.
        detail: String,
    },
    /// What is named is not there, as a Service.
    #[error("{}", Printable(.detail))]
    NotFound {
        /// What, and where it was looked for.
        detail: String,
    },
    /// It did not answer in time.
    #[error("no answer within {after:?}")]
    Timeout {
        /// How long it was waited.
        after: Duration,
    },
    /// It panicked.
    #[error("the discovery was aborted")]
    Aborted,
    /// It tells nothing any more.
    #[error("the discovery has ended")]
    Ended,
}

/// Targets that are known beforehand.
///
/// ```
/// use fleetgauge_core::target::StaticTargets;
///
/// let targets = StaticTargets::new(["10.0.0.7:8000", "10.0.0.8:8000"]).with_label("namespace", "chat");
/// let targets = targets.with_target([("__address__", "10.0.0.9:9090"), ("__metrics_path__", "/stats")]);
/// assert_eq!(targets.len(), 3);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StaticTargets(Vec<Arc<TargetLabels>>);

// === impl Discovered ===

impl Discovered {
    /// These targets, all as of now.
    pub fn new(targets: Vec<Arc<TargetLabels>>) -> Self {
        Self {
            targets,
            problems: Vec::new(),
            are_ready_alone: false,
        }
    }

    /// Says that there may be others, which are not ready.
    #[must_use]
    pub fn ready_alone(mut self) -> Self {
        self.are_ready_alone = true;
        self
    }

    /// Says why some targets are not as of now, or are missing.
    #[must_use]
    pub fn with_problems(mut self, problems: impl IntoIterator<Item = DiscoveryError>) -> Self {
        self.problems.extend(problems);
        self
    }
}

impl FromIterator<TargetLabels> for Discovered {
    fn from_iter<T: IntoIterator<Item = TargetLabels>>(targets: T) -> Self {
        Self::new(targets.into_iter().map(Arc::new).collect())
    }
}

// === impl DiscoveryError ===

impl DiscoveryError {
    /// Whether it is of one target alone, and the others are as they should be.
    pub fn is_of_target(&self) -> bool {
        matches!(self, Self::Target { .. } | Self::Starting { .. })
    }

    /// Whether nothing is wrong: all that is told is that one has not been ready yet.
    pub fn is_starting(&self) -> bool {
        matches!(self, Self::Starting { .. })
    }

    /// One word for the variant, bounded for use as a label value.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::File { .. } => "file",
            Self::Malformed { .. } => "malformed",
            Self::Target { .. } => "target",
            Self::Starting { .. } => "starting",
            Self::NotFound { .. } => "not_found",
            Self::Timeout { .. } => "timeout",
            Self::Aborted => "aborted",
            Self::Ended => "ended",
        }
    }
}

// === impl StaticTargets ===

impl StaticTargets {
    /// The targets at these addresses.
    pub fn new<A: Into<String>>(addresses: impl IntoIterator<Item = A>) -> Self {
        let target = |address: A| Arc::new(TargetLabels::from([(ADDRESS.to_owned(), address.into())]));
        Self(addresses.into_iter().map(target).collect())
    }

    /// Adds a label to all targets so far.
    #[must_use]
    pub fn with_label(mut self, name: &str, value: &str) -> Self {
        for target in &mut self.0 {
            Arc::make_mut(target).insert(name.to_owned(), value.to_owned());
        }
        self
    }

    /// Adds a target by its labels, `__address__` among them.
    #[must_use]
    pub fn with_target<'a>(mut self, labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let labels = labels.into_iter().map(|(n, v)| (n.to_owned(), v.to_owned()));
        self.0.push(Arc::new(labels.collect()));
        self
    }

    /// How many targets there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl TargetDiscovery for StaticTargets {
    fn name(&self) -> &str {
        "static"
    }

    fn watch(self: Arc<Self>) -> SnapshotStream {
        let known = Snapshot::Known(Discovered::new(self.0.clone()));
        stream::iter([known]).chain(stream::pending()).boxed()
    }
}

// === ways to watch ===

/// How long one round of [`polled`] may take.
const POLL_TIMEOUT: Duration = Duration::from_secs(60);

/// The shortest time between two rounds, whatever is asked for.
const MIN_INTERVAL: Duration = Duration::from_millis(10);

/// Watches what has to be asked: calls `ask` at once, and again `interval` after each answer.
///
/// An answer that is an error, does not come within a minute, or panics, leaves the targets as they were and
/// is told beside them. "None" is not an error but an empty answer, on which all targets go.
pub fn polled<A, F>(interval: Duration, ask: A) -> SnapshotStream
where
    A: FnMut() -> F + Send + 'static,
    F: Future<Output = Result<Discovered, DiscoveryError>> + Send + 'static,
{
    let interval = interval.max(MIN_INTERVAL);
    let round = move |(mut ask, mut known, is_first): (A, Discovered, bool)| async move {
        if !is_first {
            tokio::time::sleep(interval).await;
        }
        // Called inside, so that a panic of the call itself is caught too.
        let asked = AssertUnwindSafe(async { ask().await }).catch_unwind();
        let after = POLL_TIMEOUT;
        match tokio::time::timeout(after, asked).await {
            Ok(Ok(Ok(found))) => known = found,
            Ok(Ok(Err(error))) => known.problems = vec![error],
            Ok(Err(_panic)) => known.problems = vec![DiscoveryError::Aborted],
            Err(_) => known.problems = vec![DiscoveryError::Timeout { after }],
        }
        Some((Snapshot::Known(known.clone()), (ask, known, false)))
    };
    stream::unfold((ask, Discovered::default(), true), round).boxed()
}

/// Watches what tells of its changes by itself. It ends when the sender is dropped.
pub fn pushed(snapshots: watch::Receiver<Snapshot>) -> SnapshotStream {
    let next = |(mut snapshots, is_first): (watch::Receiver<Snapshot>, bool)| async move {
        if !is_first {
            snapshots.changed().await.ok()?;
        }
        let snapshot = snapshots.borrow_and_update().clone();
        Some((snapshot, (snapshots, false)))
    };
    stream::unfold((snapshots, true), next).boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(addresses: &[&str]) -> Discovered {
        Discovered::new(StaticTargets::new(addresses.iter().copied()).0)
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_when_it_is_asked_keeps_its_targets() {
        let unreachable = || DiscoveryError::Unreachable {
            detail: "away".into(),
        };
        let mut round = 0;
        let ask = move || {
            round += 1;
            let round = round;
            async move {
                match round {
                    1 | 4 => Err(unreachable()),
                    2 => Ok(found(&["a:1"])),
                    3 => Ok(found(&["b:1"]).with_problems([DiscoveryError::Ended])),
                    5 => std::future::pending().await,
                    6 => panic!("as the test wants"),
                    _ => Ok(found(&[])),
                }
            }
        };
        let mut snapshots = polled(Duration::from_secs(1), ask);
        let timeout = DiscoveryError::Timeout { after: POLL_TIMEOUT };
        for (targets, problems) in [
            (&[][..], vec![unreachable()]),
            (&["a:1"], vec![]),
            (&["b:1"], vec![DiscoveryError::Ended]),
            (&["b:1"], vec![unreachable()]),
            (&["b:1"], vec![timeout]),
            (&["b:1"], vec![DiscoveryError::Aborted]),
            (&[], vec![]),
        ] {
            let expected = Snapshot::Known(found(targets).with_problems(problems));
            assert_eq!(snapshots.next().await, Some(expected));
        }
    }

    #[tokio::test]
    async fn only_the_newest_that_is_pushed_is_read_and_it_ends_with_its_sender() {
        let (sender, receiver) = watch::channel(Snapshot::NotYet);
        let mut snapshots = pushed(receiver);
        assert_eq!(snapshots.next().await, Some(Snapshot::NotYet));
        sender.send_replace(Snapshot::Known(found(&["a:1"])));
        sender.send_replace(Snapshot::Known(found(&["b:1"])));
        drop(sender);
        assert_eq!(snapshots.next().await, Some(Snapshot::Known(found(&["b:1"]))));
        assert_eq!(snapshots.next().await, None);
    }

    #[test]
    fn static_targets_are_known_at_once_and_do_not_end() {
        let mut snapshots = Arc::new(StaticTargets::new(["a:1"])).watch();
        let first = snapshots.next().now_or_never();
        assert_eq!(first, Some(Some(Snapshot::Known(found(&["a:1"])))));
        assert_eq!(snapshots.next().now_or_never(), None);
    }
}
