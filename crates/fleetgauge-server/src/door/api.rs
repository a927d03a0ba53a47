//! The JSON door under `/api/fleetgauge/v1`: readings with all that they stand on, and what they come from.

mod events;
mod fleet;
mod query;
mod state;
mod stream;
mod view;

use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};

use super::access::Access;
use super::problem::Problem;

use query::only;

pub use fleet::{Reloads, SourceView};
pub use state::Api;

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
    let sources = api.sources();
    let scraped = sources.iter().filter_map(|source| {
        let scraping = source.scraping.as_ref()?;
        Some(view::Scraped {
            source: source.name.clone(),
            targets: scraping.targets(),
            errors: scraping.discovery_errors(),
        })
    });
    let scraped: Vec<_> = scraped.collect();
    Json(view::TargetsPage::new(&scraped)).into_response()
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
