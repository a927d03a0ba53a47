//! What the clones of a source share, and how the backend is asked: in turn, within a deadline, again if need be.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant as StdInstant};

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::config::CachedSourceConfig;
use crate::backend::{Backend, Request};
use crate::cache::Cache;
use crate::error::FetchError;
use crate::params::Params;
use crate::query::Shape;
use crate::query_list::{QueryList, RegisteredQuery};
use crate::result::{Answer, AnswerKind, Provenance};
use crate::source::flight::{Flights, Freshness};
use crate::source::pace::Pace;
use crate::source::stats::Counts;
use crate::time::{Clock, Timestamp};

pub(super) struct Inner {
    pub(super) backend: Arc<dyn Backend>,
    pub(super) config: CachedSourceConfig,
    pub(super) clock: Clock,
    pub(super) queries: QueryList,
    pub(super) cache: Cache,
    pub(super) flights: Arc<Flights>,
    pub(super) permits: Semaphore,
    pub(super) pace: Option<Pace>,
    pub(super) counts: Counts,
}

/// What is asked of a batch of queries.
pub(super) struct Ask {
    pub(super) params: Arc<Params>,
    pub(super) shape: Shape,
    pub(super) at: Option<Timestamp>,
    pub(super) freshness: Freshness,
}

// === impl Inner ===

impl Inner {
    pub(super) fn request(&self, query: &RegisteredQuery, text: String, ask: &Ask) -> Request {
        let timeout = query.template().timeout.unwrap_or(self.config.query_timeout);
        let query_type = query.template().query_type;
        let mut request = Request::new(query.name().clone(), query_type, text, timeout)
            .with_params(Arc::clone(&ask.params))
            .with_shape(ask.shape);
        request.at = ask.at;
        request.asked_at = ask.freshness.asked_at;
        request.max_age = ask.freshness.max_age;
        request.companions = query.template().companions;
        // What is done with answers is done with numbers.
        request.histograms = query.template().histograms && query.template().transform.is_empty();
        request
    }

    /// The right to ask the backend.
    pub(super) async fn permit(&self) -> Result<SemaphorePermit<'_>, FetchError> {
        // Never closed.
        let permit = self.permits.acquire().await.map_err(|_| FetchError::Aborted)?;
        // Last, so that what has waited for others is not sent all at once.
        if let Some(pace) = &self.pace {
            pace.turn().await;
        }
        Ok(permit)
    }

    /// Asks the backend, again if need be, within the query's timeout. `sent` is when the latest try was sent.
    pub(super) async fn ask(
        &self,
        mut permit: SemaphorePermit<'_>,
        request: &mut Request,
        sent: &mut StdInstant,
    ) -> Result<Answer, FetchError> {
        let after = request.timeout;
        let mut now = Instant::now();
        let deadline = later(now, after);
        let tries = async {
            let mut delays = self.config.retry.delays();
            loop {
                request.timeout = whole_millis(deadline.saturating_duration_since(now));
                *sent = now.into_std();
                let error = match self.backend.fetch(request).await {
                    Err(error) if error.is_retryable() => error,
                    done => {
                        if let (Some(pace), Ok(answer)) = (&self.pace, &done) {
                            pace.spend(sent_beside(answer));
                        }
                        return done
                            .and_then(|answer| known(answer, request.shape))
                            .and_then(|answer| taken(answer, request));
                    }
                };
                let Some(delay) = delays.next() else {
                    return Err(error);
                };
                let delay = delay.max(error.retry_after().unwrap_or_default());
                if deadline.saturating_duration_since(Instant::now()) <= delay {
                    // Says what failed, where waiting would only end in "timeout".
                    return Err(error);
                }
                // Others are asked meanwhile.
                drop(permit);
                tokio::time::sleep(delay).await;
                permit = match tokio::time::timeout_at(deadline, self.permit()).await {
                    Ok(permit) => permit?,
                    Err(_) => return Err(error),
                };
                self.counts.retries.fetch_add(1, Ordering::Relaxed);
                now = Instant::now();
            }
        };
        tokio::time::timeout_at(deadline, tries)
            .await
            .unwrap_or(Err(FetchError::Timeout { after }))
    }
}

/// How many queries were sent beside the one that was asked.
fn sent_beside(answer: &Answer) -> usize {
    let origin = answer.provenance().and_then(Provenance::origin);
    origin.map_or(0, |origin| origin.sent.len())
}

/// An error names no more of what is missing.
const SHOWN_WARNINGS: usize = 5;

/// `answer`, unless it is a range vector, which is not one value a series.
///
/// *Errors*: [`FetchError::Unsupported`].
pub(super) fn one_a_series(answer: Answer) -> Result<Answer, FetchError> {
    match answer.kind() {
        AnswerKind::Matrix => Err(FetchError::Unsupported {
            what: "the query gives a range vector, which is not one value a series; put it into a function, such as \
                   last_over_time() or rate()"
                .into(),
        }),
        _ => Ok(answer),
    }
}

/// `answer`, unless it is empty because of what is missing from it: that is not "no data", and must not take
/// the place of a value.
///
/// *Errors*: [`FetchError::Incomplete`], [`FetchError::Malformed`].
pub(super) fn known(answer: Answer, shape: Shape) -> Result<Answer, FetchError> {
    if shape != Shape::Instant && answer.kind() != AnswerKind::Matrix {
        return Err(FetchError::Malformed {
            detail: "the answer to a range is not a matrix".into(),
            source: None,
        });
    }
    if !answer.is_no_data() || answer.is_complete() {
        return Ok(answer);
    }
    let all = answer.warnings().len();
    let mut shown: Vec<_> = answer
        .warnings()
        .take(SHOWN_WARNINGS)
        .map(str::to_owned)
        .collect();
    if all > shown.len() {
        shown.push(format!("and {} more", all - shown.len()));
    }
    Err(FetchError::Incomplete {
        detail: shown.join("; "),
        is_short: answer
            .completeness()
            .is_some_and(|completeness| completeness.short() > 0),
    })
}

/// `answer`, unless it has native histograms, and who asks does not take them.
///
/// *Errors*: [`FetchError::Unsupported`].
fn taken(answer: Answer, request: &Request) -> Result<Answer, FetchError> {
    match request.histograms {
        true => Ok(answer),
        false => answer.numbers().map_err(|error| FetchError::Unsupported {
            what: error.to_string(),
        }),
    }
}

/// The time `duration` after `now`; a year after it where it is longer, since clocks do not reach to the end of a
/// `Duration`.
pub(super) fn later(now: Instant, duration: Duration) -> Instant {
    now + duration.min(Duration::from_secs(365 * 24 * 3600))
}

/// Rounded up, so that a backend that keeps the time itself is never ahead of the deadline, and names the
/// timeout that was configured instead of what a few microseconds have left of it.
fn whole_millis(duration: Duration) -> Duration {
    let millis = duration.as_nanos().div_ceil(1_000_000);
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}
