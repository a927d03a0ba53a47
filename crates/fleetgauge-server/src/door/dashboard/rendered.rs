//! Pages as they are now, each rendered once for all who look at it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use fleetgauge::scrape::TargetStatus;
use fleetgauge_core::printable::Quoted;
use fleetgauge_core::time::Timestamp;
use tokio::time::Instant;

use super::chart::Span;
use super::metric::MetricPage;
use super::overview::Overview;
use super::page::{Page, Part};
use super::reading::History;
use super::{pods, sources, targets};
use crate::door::api::Api;
use crate::door::prometheus::{Evaluator, PrometheusApi};
use crate::series::{READING, READING_HELD};

/// Renders pages.
pub(super) struct Renderer {
    pub(super) api: Api,
    prometheus: PrometheusApi,
    /// The pages that somebody looked at not long ago.
    made: Mutex<HashMap<Page, Arc<tokio::sync::Mutex<Option<Made>>>>>,
}

/// The parts of a page, and when they were rendered.
struct Made {
    at: Instant,
    parts: Parts,
}

/// The parts of a page by the `id` of their elements.
pub(super) type Parts = Arc<[(&'static str, Arc<str>)]>;

/// Why there is no page.
#[derive(Debug)]
pub(super) struct NoPage {
    pub(super) status: StatusCode,
    pub(super) detail: String,
}

/// A page is rendered anew when what there is of it is as old as this.
pub(super) const FRESH_FOR: Duration = Duration::from_millis(900);

/// So many pages are kept, which anybody may make up by filtering for something else.
const MAX_PAGES: usize = 100;

// === impl Renderer ===

impl Renderer {
    pub(super) fn new(api: Api, prometheus: PrometheusApi) -> Self {
        Self {
            api,
            prometheus,
            made: Mutex::default(),
        }
    }

    /// The parts of `page` as they are now, or were a moment ago.
    ///
    /// *Errors*: there is no such page, or no room to render it.
    pub(super) async fn parts(self: &Arc<Self>, page: &Page) -> Result<Parts, NoPage> {
        let slot = {
            let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
            if made.len() >= MAX_PAGES && !made.contains_key(page) {
                // Those that nobody is just rendering.
                made.retain(|_, slot| Arc::strong_count(slot) > 1);
            }
            Arc::clone(made.entry(page.clone()).or_default())
        };
        let mut made = slot.lock().await;
        if let Some(made) = made.as_ref().filter(|made| made.at.elapsed() < FRESH_FOR) {
            return Ok(Arc::clone(&made.parts));
        }
        let (this, page) = (Arc::clone(self), page.clone());
        let work = move |evaluator: &Evaluator<'_>| this.render(&page, evaluator);
        let rendered = self.prometheus.evaluate(work).await;
        let parts = rendered.map_err(|detail| NoPage {
            status: StatusCode::SERVICE_UNAVAILABLE,
            detail,
        })??;
        let parts = parts.into_iter();
        let parts: Parts = parts
            .map(|part| (part.id, Arc::from(part.content.into_string())))
            .collect();
        *made = Some(Made {
            at: Instant::now(),
            parts: Arc::clone(&parts),
        });
        Ok(parts)
    }

    fn render(&self, page: &Page, evaluator: &Evaluator<'_>) -> Result<Vec<Part>, NoPage> {
        let now = evaluator.now();
        match page {
            Page::Overview { filter } => Ok(self.overview(filter, evaluator, now)),
            Page::Metric { name, range } => self.metric(name, range.span(now), evaluator),
            Page::Targets { filter, only_ill } => Ok(targets::parts(&self.targets(), filter, *only_ill, now)),
            Page::Sources => {
                let (sources, reloads) = (self.api.sources(), self.api.reloads());
                Ok(sources::parts(
                    &sources,
                    &self.api.remotes(),
                    self.api.scheduler().counts(),
                    &reloads,
                    now,
                ))
            }
        }
    }

    fn overview(&self, filter: &str, evaluator: &Evaluator<'_>, now: Timestamp) -> Vec<Part> {
        let store = self.api.store();
        let snapshots: Vec<_> = store
            .all()
            .iter()
            .map(|entry| entry.read(store.clock()))
            .collect();
        let span = Span::last(Duration::from_secs(900), 45, now);
        let history = evaluator.range(READING, span.start, span.end, span.step);
        let fills = evaluator.instant(pods::FILL, now);
        let targets: Vec<TargetStatus> = self
            .targets()
            .into_iter()
            .flat_map(|(_, targets)| targets)
            .collect();
        let pods = self.api.scheduler().pods();
        let overview = Overview {
            now,
            filter,
            snapshots: &snapshots,
            variants: &self.api.variants(),
            sources: &self.api.sources(),
            targets: &targets,
            index: &*pods.snapshot(),
            // Numbers that cannot be drawn are not: those of now stand beside.
            fills: &fills.as_ref().map(pods::fills).unwrap_or_default(),
            history: &history.as_ref().map(History::of).unwrap_or_default(),
            span,
            not_ready: self.api.readiness().check().err(),
            reloads: self.api.reloads(),
        };
        overview.parts()
    }

    fn metric(&self, name: &str, span: Span, evaluator: &Evaluator<'_>) -> Result<Vec<Part>, NoPage> {
        let Some(entry) = self.api.store().get(name) else {
            return Err(NoPage {
                status: StatusCode::NOT_FOUND,
                detail: format!("there is no metric {}", Quoted(name)),
            });
        };
        let snapshot = entry.read(self.api.store().clock());
        let sources = self.api.sources();
        let source = sources
            .iter()
            .find(|source| *source.name == *snapshot.spec().source);
        let query = source.and_then(|one| one.source.query_list().get(snapshot.spec().query.as_str()));
        let read = |series: &str| {
            let selector = format!("{series}{{metric=\"{}\"}}", snapshot.spec().name);
            let answer = evaluator.range(&selector, span.start, span.end, span.step);
            answer.as_ref().map(History::of).unwrap_or_default()
        };
        let page = MetricPage {
            snapshot: &snapshot,
            query: query.as_ref(),
            numbers: &read(READING),
            held: &read(READING_HELD),
            span,
        };
        Ok(page.parts())
    }

    /// What each source scrapes.
    fn targets(&self) -> Vec<(String, Vec<TargetStatus>)> {
        let sources = self.api.sources().into_iter();
        let scraping = sources.filter_map(|source| Some((source.name, source.scraping?.targets())));
        scraping.collect()
    }
}
