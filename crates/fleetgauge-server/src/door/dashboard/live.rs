//! A page as it changes: server-sent events with the parts of it that are others than before.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::page::{Page, told};
use super::rendered::Renderer;

/// How often a page is brought up to date, and says that it is alive.
const EVERY: Duration = Duration::from_secs(1);

/// Where one reader is.
struct Position {
    renderer: Arc<Renderer>,
    page: Page,
    /// What he has of each part.
    shown: HashMap<&'static str, Arc<str>>,
    next: Instant,
    stop: CancellationToken,
    _slot: OwnedSemaphorePermit,
}

/// The page `page`: all of its parts, and each again when it is another one.
pub(super) async fn live(State(renderer): State<Arc<Renderer>>, uri: Uri) -> Response {
    let mut params = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let asked = params.find(|(name, _)| name == "page");
    let asked = asked.map(|(_, page)| page).unwrap_or_default();
    let (path, query) = asked.split_once('?').unwrap_or((&asked, ""));
    let Some(page) = Page::of(path, query).filter(|_| path.starts_with('/')) else {
        return told(StatusCode::NOT_FOUND, "there is no such page");
    };
    let Some(slot) = renderer.api.stream_slot() else {
        return told(
            StatusCode::SERVICE_UNAVAILABLE,
            "there are as many streams as are borne",
        );
    };
    let position = Position {
        stop: renderer.api.stopping(),
        renderer,
        page,
        shown: HashMap::new(),
        next: Instant::now(),
        _slot: slot,
    };
    let events = stream::unfold(position, |mut position| async move {
        let event = position.next().await?;
        Some((Ok::<_, Infallible>(event), position))
    });
    Sse::new(events).into_response()
}

// === impl Position ===

impl Position {
    /// What has changed since the last event; `None` when the daemon ends.
    async fn next(&mut self) -> Option<Event> {
        tokio::select! {
            () = self.stop.cancelled() => return None,
            () = tokio::time::sleep_until(self.next) => {}
        }
        // A reader who is slow is not sent more for it.
        self.next = Instant::now() + EVERY;
        let parts = match self.renderer.parts(&self.page).await {
            Ok(parts) => parts,
            Err(error) => {
                let text = serde_json::json!(error.detail).to_string();
                return Some(Event::default().event("failed").data(text));
            }
        };
        let mut changed = HashMap::new();
        for (id, text) in &*parts {
            if self.shown.get(id) != Some(text) {
                self.shown.insert(id, Arc::clone(text));
                changed.insert(*id, Arc::clone(text));
            }
        }
        let changed: HashMap<&str, &str> = changed.iter().map(|(id, text)| (*id, &**text)).collect();
        // It is made of texts.
        let text = serde_json::to_string(&changed).unwrap_or_default();
        Some(Event::default().event("parts").data(text))
    }
}
