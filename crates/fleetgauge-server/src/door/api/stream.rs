//! Readings as they change: server-sent events.
//!
//! A reader is never queued for: when it has taken one event it is given the metrics as they are by then. One that is slow
//! skips what was in between, and holds nobody up. What is sent of a metric is made once for all readers.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::view::MetricEntry;
use super::{Api, Problem};
use crate::store::Entry;

/// How many streams there are at once.
const MAX_STREAMS: usize = 1_000;

/// How often a stream is sent events at most.
const EVERY: Duration = Duration::from_millis(100);

/// What streams have in common.
pub(super) struct Events {
    stop: CancellationToken,
    slots: Arc<Semaphore>,
    /// What is sent of each metric, as of which of its changes.
    made: Mutex<HashMap<Box<str>, (u64, Arc<str>)>>,
}

/// Where one stream is.
struct Position {
    api: Api,
    metrics: Vec<String>,
    /// Up to which change of each metric it has been told.
    told: HashMap<Box<str>, u64>,
    pending: Vec<Arc<Entry>>,
    /// Those that it was told of and that are no more.
    gone: Vec<Box<str>>,
    changes: tokio::sync::watch::Receiver<u64>,
    is_first: bool,
    next: Instant,
    _slot: OwnedSemaphorePermit,
}

// === impl Events ===

impl Events {
    pub(super) fn new(stop: CancellationToken) -> Self {
        Self {
            stop,
            slots: Arc::new(Semaphore::new(MAX_STREAMS)),
            made: Mutex::default(),
        }
    }

    /// How many streams are open.
    pub(super) fn open(&self) -> usize {
        MAX_STREAMS - self.slots.available_permits()
    }

    /// What is sent of `entry`, and as of which change.
    fn of(&self, api: &Api, entry: &Entry) -> (u64, Arc<str>) {
        let name = entry.spec().name.as_str();
        let changed = entry.changed();
        let known = |made: &HashMap<Box<str>, (u64, Arc<str>)>| {
            made.get(name).filter(|(at, _)| *at >= changed).cloned()
        };
        let lock = || self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known(&lock()) {
            return known;
        }
        let snapshot = entry.read(api.0.store.clock());
        let text = serde_json::to_string(&MetricEntry::new(&snapshot, &[]));
        // It is made of texts and numbers.
        let text: Arc<str> = text.unwrap_or_default().into();
        lock().insert(name.into(), (changed, Arc::clone(&text)));
        (changed, text)
    }
}

/// All metrics, or those that are named by `metric`; each once, and again whenever it changes.
pub(super) async fn stream(
    State(api): State<Api>,
    Query(params): Query<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    super::only(&params, &["metric"])?;
    let metrics: Vec<String> = params.into_iter().map(|(_, metric)| metric).collect();
    for metric in &metrics {
        api.entry(metric)?;
    }
    let Ok(slot) = Arc::clone(&api.0.events.slots).try_acquire_owned() else {
        let detail = format!("there are {MAX_STREAMS} streams already; try again later");
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail));
    };
    let position = Position {
        changes: api.0.store.changes(),
        metrics,
        told: HashMap::new(),
        pending: Vec::new(),
        gone: Vec::new(),
        is_first: true,
        next: Instant::now(),
        api,
        _slot: slot,
    };
    let events = stream::unfold(position, |mut position| async move {
        let event = position.next().await?;
        Some((Ok::<_, Infallible>(event), position))
    });
    Ok(Sse::new(events)
        .keep_alive(KeepAlive::new().interval(Duration::from_secs(15)))
        .into_response())
}

// === impl Position ===

impl Position {
    /// The next metric that has changed or is no more; `None` when the daemon ends.
    async fn next(&mut self) -> Option<Event> {
        let stop = self.api.0.events.stop.clone();
        loop {
            if let Some(name) = self.gone.pop() {
                let text = serde_json::json!({"metric": name}).to_string();
                return Some(Event::default().event("removed").data(text));
            }
            while let Some(entry) = self.pending.pop() {
                let (changed, text) = self.api.0.events.of(&self.api, &entry);
                let name = entry.spec().name.as_str();
                if self.told.get(name).is_none_or(|told| *told < changed) {
                    self.told.insert(name.into(), changed);
                    return Some(
                        Event::default()
                            .event("metric")
                            .id(changed.to_string())
                            .data(&*text),
                    );
                }
            }
            if !std::mem::take(&mut self.is_first) {
                let changed = async {
                    tokio::time::sleep_until(self.next).await;
                    self.changes.changed().await
                };
                tokio::select! {
                    () = stop.cancelled() => return None,
                    changed = changed => changed.ok()?,
                }
                self.next = Instant::now() + EVERY;
            }
            self.changes.borrow_and_update();
            let mut all = self.api.0.store.all();
            all.retain(|entry| {
                let name = entry.spec().name.as_str();
                self.metrics.is_empty() || self.metrics.iter().any(|metric| metric == name)
            });
            let is_there = |name: &str| all.iter().any(|entry| entry.spec().name.as_str() == name);
            self.gone = self.told.keys().filter(|name| !is_there(name)).cloned().collect();
            self.told.retain(|name, _| is_there(name));
            all.reverse();
            self.pending = all;
        }
    }
}
