//! The JSON door under `/api/fleetgauge/v1`: readings with all that they stand on, and what they come from.

mod stream;
mod view;

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use fleetgauge::scrape::ScrapeSource;
use fleetgauge_core::printable::Quoted;
use fleetgauge_core::similar::similar;
use fleetgauge_core::source::MetricsSource;
use fleetgauge_core::time::Timestamp;
use tokio_util::sync::CancellationToken;

use super::access::Access;
use super::problem::Problem;
use crate::readiness::Readiness;
use crate::scheduler::Scheduler;
use crate::store::{Entry, Store};
use crate::variant::Variant;

use stream::Events;

/// What the door shows.
///
/// Cheap to clone; clones show the same.
#[derive(Clone)]
pub struct Api(Arc<Inner>);

struct Inner {
    store: Store,
    scheduler: Scheduler,
    readiness: Readiness,
    events: Events,
    /// What the configuration describes.
    fleet: ArcSwap<FleetView>,
    reloads: Mutex<Reloads>,
}

/// A source, as it is shown.
#[derive(Clone)]
pub struct SourceView {
    /// Its name.
    pub name: String,
    /// What it is, in one word.
    pub kind: &'static str,
    /// The source.
    pub source: Arc<dyn MetricsSource>,
    /// Itself, if it scrapes.
    pub scraping: Option<ScrapeSource>,
}

#[derive(Default)]
struct FleetView {
    sources: Vec<SourceView>,
    variants: Vec<Variant>,
}

/// How the configuration was read since the start.
#[derive(Clone, Debug, Default)]
pub struct Reloads {
    /// How often it was taken.
    pub taken: u64,
    /// How often it was not, since something was wrong with it.
    pub refused: u64,
    /// What is wrong with it as it is now.
    pub error: Option<String>,
    /// When it was read last.
    pub at: Option<Timestamp>,
}

// === impl Api ===

impl Api {
    /// A door over the store of `scheduler`, whose streams end with `stop`.
    pub fn new(scheduler: &Scheduler, readiness: Readiness, stop: CancellationToken) -> Self {
        Self(Arc::new(Inner {
            store: scheduler.store().clone(),
            scheduler: scheduler.clone(),
            readiness,
            events: Events::new(stop),
            fleet: ArcSwap::default(),
            reloads: Mutex::default(),
        }))
    }

    /// Shows these sources and variants from now on.
    pub fn set_sources(&self, sources: Vec<SourceView>, variants: Vec<Variant>) {
        self.0.fleet.store(Arc::new(FleetView { sources, variants }));
    }

    /// Notes that the configuration was read anew, and what was wrong with it.
    pub fn reloaded(&self, outcome: Result<(), String>) {
        let mut reloads = self.0.reloads.lock().unwrap_or_else(PoisonError::into_inner);
        reloads.at = Some(self.0.store.clock().wall());
        match outcome {
            Ok(()) => {
                reloads.taken += 1;
                reloads.error = None;
            }
            Err(error) => {
                reloads.refused += 1;
                reloads.error = Some(error);
            }
        }
    }

    /// How the configuration was read since the start.
    pub fn reloads(&self) -> Reloads {
        self.0
            .reloads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The sources that are shown.
    pub(super) fn sources(&self) -> Vec<SourceView> {
        self.0.fleet.load().sources.clone()
    }

    pub(super) fn store(&self) -> &Store {
        &self.0.store
    }

    pub(super) fn scheduler(&self) -> &Scheduler {
        &self.0.scheduler
    }

    /// How many streams are open.
    pub(super) fn streams(&self) -> usize {
        self.0.events.open()
    }

    fn entry(&self, name: &str) -> Result<Arc<Entry>, Problem> {
        self.0.store.get(name).ok_or_else(|| {
            let all = self.0.store.all();
            let known = all.iter().map(|entry| entry.spec().name.as_str());
            let similar = match similar(name, known) {
                Some(similar) => format!("; did you mean {similar:?}?"),
                None => "; /api/fleetgauge/v1/metrics lists them".to_owned(),
            };
            let detail = format!("there is no metric {}{similar}", Quoted(name));
            Problem::new(StatusCode::NOT_FOUND, detail)
        })
    }
}

/// The door's routes, for whoever `access` lets in.
pub fn routes(api: Api, access: Access) -> Router {
    let check = move |request: Request, next: Next| {
        let allowed = access.check(&request);
        async move {
            match allowed {
                Ok(()) => next.run(request).await,
                Err(error) => Problem::from(error).into_response(),
            }
        }
    };
    let unknown = || async {
        Problem::new(
            StatusCode::NOT_FOUND,
            "there is no such page; there are metrics, metrics/NAME, explain/NAME, variants, targets, sources, stream and \
             openapi.json",
        )
    };
    let not_so = || async { Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this is read by GET") };
    let pages = Router::new()
        .route("/metrics", get(metrics))
        .route("/metrics/{name}", get(metric))
        .route("/explain/{name}", get(explain))
        .route("/variants", get(variants))
        .route("/targets", get(targets))
        .route("/sources", get(sources))
        .route("/stream", get(stream::stream))
        .route("/openapi.json", get(openapi))
        .method_not_allowed_fallback(not_so)
        .fallback(unknown)
        .layer(middleware::from_fn(check))
        .with_state(api);
    Router::new().nest("/api/fleetgauge/v1", pages)
}

async fn metrics(
    State(api): State<Api>,
    Query(params): Query<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    only(&params, &["namespace"])?;
    let namespace = params.first().map(|(_, value)| &**value);
    let all = api.0.store.all();
    let visible = all
        .iter()
        .filter(|entry| namespace.is_none_or(|namespace| entry.spec().is_visible_in(namespace)));
    let snapshots: Vec<_> = visible.map(|entry| entry.read(api.0.store.clock())).collect();
    let page = view::MetricsPage {
        metrics: snapshots
            .iter()
            .map(|snapshot| view::MetricEntry::new(snapshot, &[]))
            .collect(),
        ready: api.0.readiness.check().is_ok(),
        configuration: view::ConfigurationEntry::new(&api.reloads()),
    };
    Ok(Json(page).into_response())
}

async fn metric(
    State(api): State<Api>,
    Path(name): Path<String>,
    Query(labels): Query<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let snapshot = api.entry(&name)?.read(api.0.store.clock());
    let labels: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (&**name, &**value)).collect();
    Ok(Json(view::MetricEntry::new(&snapshot, &labels)).into_response())
}

async fn explain(State(api): State<Api>, Path(name): Path<String>) -> Result<Response, Problem> {
    let snapshot = api.entry(&name)?.read(api.0.store.clock());
    let fleet = api.0.fleet.load();
    let source = fleet
        .sources
        .iter()
        .find(|source| *source.name == *snapshot.spec().source);
    let query = source.and_then(|source| source.source.query_list().get(snapshot.spec().query.as_str()));
    Ok(Json(view::Explanation::new(&snapshot, query.as_ref())).into_response())
}

async fn variants(State(api): State<Api>) -> Response {
    let fleet = api.0.fleet.load();
    let all = api.0.store.all();
    let snapshots: Vec<_> = all.iter().map(|entry| entry.read(api.0.store.clock())).collect();
    let variants = fleet
        .variants
        .iter()
        .map(|variant| view::VariantEntry::new(variant, &snapshots));
    Json(view::VariantsPage {
        variants: variants.collect(),
    })
    .into_response()
}

async fn targets(State(api): State<Api>) -> Response {
    let fleet = api.0.fleet.load();
    let scraping = fleet
        .sources
        .iter()
        .filter_map(|source| Some((&source.name, source.scraping.as_ref()?)));
    let known: Vec<_> = scraping
        .map(|(name, scraping)| (name, scraping.targets(), scraping.discovery_errors()))
        .collect();
    Json(view::TargetsPage::new(&known)).into_response()
}

async fn sources(State(api): State<Api>) -> Response {
    let fleet = api.0.fleet.load();
    let sources = fleet.sources.iter().map(view::SourceEntry::new).collect();
    Json(view::SourcesPage {
        sources,
        refreshes: view::RefreshEntry::new(api.0.scheduler.counts()),
    })
    .into_response()
}

async fn openapi() -> Response {
    let text = include_str!("api/openapi.json");
    ([("content-type", "application/json")], text).into_response()
}

/// Refuses parameters that a page does not have: who misspells one must not be shown everything.
fn only(params: &[(String, String)], known: &[&str]) -> Result<(), Problem> {
    match params.iter().find(|(name, _)| !known.contains(&&**name)) {
        None => Ok(()),
        Some((unknown, _)) => {
            let known = match known {
                [] => "none".to_owned(),
                known => known.join(", "),
            };
            let detail = format!("there is no parameter {}; known: {known}", Quoted(unknown));
            Err(Problem::new(StatusCode::BAD_REQUEST, detail))
        }
    }
}
