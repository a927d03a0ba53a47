//! Readings as they change: server-sent events.
//!
//! A reader is never queued for: when it has taken one event it is given the metrics as they are by then. One that is slow
//! skips what was in between, and holds nobody up. What is sent of a metric is made once for all readers.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::events::MAX_STREAMS;
use super::query::Params;
use super::state::Api;
use crate::door::problem::Problem;
use crate::store::Entry;

/// How often a stream is sent events at most.
const EVERY: Duration = Duration::from_millis(100);

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

/// All metrics, or those that are named by `metric`; each once, and again whenever it changes.
pub(super) async fn stream(State(api): State<Api>, params: Params) -> Result<Response, Problem> {
    params.only(&["metric"])?;
    let metrics: Vec<String> = params.0.into_iter().map(|(_, metric)| metric).collect();
    for metric in &metrics {
        api.entry(metric)?;
    }
    let Some(slot) = api.0.events.slot() else {
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
                let (changed, text) = self.api.0.events.of(self.api.0.store.clock(), &entry);
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
