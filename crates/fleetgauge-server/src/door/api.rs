//! The JSON door under `/api/fleetgauge/v1`: readings with all that they stand on, and what they come from.

mod events;
mod fleet;
mod query;
mod state;
mod stream;
mod view;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};

use fleetgauge_core::printable::Quoted;
use fleetgauge_core::reading::Status;

use super::access::Access;
use super::excess::bounded;
use super::problem::Problem;
use crate::store::Row;

use query::{NAMESPACE, Name, NoParams, Params};

pub use fleet::{Reloads, RemoteView, SourceView};
pub use state::Api;

/// The door's routes, for whoever `access` lets in.
pub fn routes(api: Api, access: Access) -> Router {
    let check = move |request: Request, next: Next| {
        let admitted = access.admit(&request);
        async move {
            match admitted {
                Ok(admitted) => admitted.while_admitted(next.run(request).await),
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
    let pages = Router::new().nest("/api/fleetgauge/v1", pages);
    bounded(pages, |excess| Problem::from(excess).into_response())
}

async fn metrics(State(api): State<Api>, params: Params) -> Result<Response, Problem> {
    params.only(&[NAMESPACE])?;
    params.each_once()?;
    let namespace = params.namespace()?;
    let all = api.0.store.all();
    let visible = all
        .iter()
        .filter(|entry| namespace.is_none_or(|namespace| entry.spec().is_visible_in(namespace)));
    let snapshots: Vec<_> = visible.map(|entry| entry.read(api.0.store.clock())).collect();
    let entries = snapshots
        .iter()
        .map(|snapshot| view::MetricEntry::new(snapshot, |row| namespace.is_none_or(|of| is_of(row, of))));
    // As of one metric, a list without readings would look like a metric without any.
    let metrics = entries.filter(|entry| namespace.is_none() || !entry.is_empty());
    let page = view::MetricsPage {
        metrics: metrics.collect(),
        ready: api.0.readiness.check().is_ok(),
        configuration: view::ConfigurationEntry::new(&api.reloads()),
    };
    Ok(Json(page).into_response())
}

/// The rows that have the labels that are given. `namespace` is who asks: it must be one that may see the metric, and rows
/// without this label belong to all of them.
async fn metric(State(api): State<Api>, Name(name): Name, params: Params) -> Result<Response, Problem> {
    params.each_once()?;
    params.namespace()?;
    let snapshot = api.entry(&name)?.read(api.0.store.clock());
    let labels: Vec<(&str, &str)> = (params.0.iter())
        .map(|(name, value)| (&**name, &**value))
        .collect();
    for (_, namespace) in labels.iter().filter(|(label, _)| *label == NAMESPACE) {
        if !snapshot.spec().is_visible_in(namespace) {
            let (name, namespace) = (Quoted(&name), Quoted(namespace));
            let detail = format!("there is no metric {name} that the namespace {namespace} may see");
            return Err(Problem::new(StatusCode::NOT_FOUND, detail));
        }
    }
    let is_asked_for = |row: &Row<'_>| {
        // Where nothing is known of any row, that is the answer for each of them.
        let is_all = row.labels().next().is_none() && matches!(row.reading().status(), Status::Withheld);
        is_all
            || labels.iter().all(|(label, value)| match *label {
                NAMESPACE => is_of(row, value),
                label => row.label(label) == Some(value),
            })
    };
    let entry = view::MetricEntry::new(&snapshot, is_asked_for);
    if entry.is_empty() && !labels.is_empty() {
        let detail = format!(
            "no reading of {} has these labels; without parameters, all of its readings are shown",
            Quoted(&name)
        );
        return Err(Problem::new(StatusCode::NOT_FOUND, detail));
    }
    Ok(Json(entry).into_response())
}

/// Whether the row is one of `namespace`, or belongs to all of them.
fn is_of(row: &Row<'_>, namespace: &str) -> bool {
    row.label(NAMESPACE).is_none_or(|of_row| of_row == namespace)
}

async fn explain(State(api): State<Api>, Name(name): Name, _: NoParams) -> Result<Response, Problem> {
    let snapshot = api.entry(&name)?.read(api.0.store.clock());
    let fleet = api.0.fleet.load();
    let source = fleet
        .sources
        .iter()
        .find(|source| *source.name == *snapshot.spec().source);
    let query = source.and_then(|source| source.source.query_list().get(snapshot.spec().query.as_str()));
    Ok(Json(view::Explanation::new(&snapshot, query.as_ref(), &fleet.variants)).into_response())
}

async fn variants(State(api): State<Api>, _: NoParams) -> Response {
    let fleet = api.0.fleet.load();
    let all = api.0.store.all();
    let snapshots: Vec<_> = all.iter().map(|entry| entry.read(api.0.store.clock())).collect();
    let pods = api.0.scheduler.pods();
    let index = pods.snapshot();
    let variants = fleet.variants.iter().map(|variant| {
        let replicas = index.replicas_of(&variant.variant);
        view::VariantEntry::new(variant, replicas, &snapshots)
    });
    let variants = variants.collect();
    drop(index);
    Json(view::VariantsPage { variants }).into_response()
}

async fn targets(State(api): State<Api>, _: NoParams) -> Response {
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

async fn sources(State(api): State<Api>, _: NoParams) -> Response {
    let fleet = api.0.fleet.load();
    let sources = fleet.sources.iter().map(view::SourceEntry::new).collect();
    Json(view::SourcesPage {
        sources,
        refreshes: view::RefreshEntry::new(api.0.scheduler.counts()),
    })
    .into_response()
}

async fn openapi(_: NoParams) -> Response {
    let text = include_str!("api/openapi.json");
    ([("content-type", "application/json")], text).into_response()
}
