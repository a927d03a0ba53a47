//! Prometheus's HTTP API over what is in memory: the samples of scrape sources, and the readings as series.
//!
//! What takes it for a Prometheus is to be right in that: routes, parameters, shapes, codes and types of errors are those
//! of Prometheus 3.5, only the words of errors are our own. What may be missing from an answer is among its `warnings`.
//! Nothing of a source is waited for. A query is evaluated on a thread of its own, of which few run at once; what exceeds
//! a bound is refused with an error that names it.

mod api;
mod data;
mod federate;
mod history;
mod listing;
mod param;
mod query;
mod reply;
mod request;
mod status;
mod time;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, get};
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::SizeAbove;

use super::excess::bounded;
use super::listener::keeping;
use api::{Call, Work};
use reply::{ApiError, ErrorKind};

pub(super) use api::Evaluator;
pub use api::{PrometheusApi, PrometheusApiConfig, ScrapedSource, Served};
pub use data::QueryData;
pub use history::History;

/// A body that is smaller is not worth compressing. *Unit*: bytes.
const COMPRESSED_FROM: u64 = 1_024;

/// `/api/v1/…` and `/federate`.
pub fn routes(api: PrometheusApi) -> Router {
    let ask = |work: Work| {
        move |State(api): State<PrometheusApi>, request: Request| async move { api.answer(request, work).await }
    };
    let asked = |work: Work| get(ask(work)).post(ask(work));
    let got = |work: Work| get(ask(work));
    let values = |State(api): State<PrometheusApi>,
                  name: Result<Path<String>, PathRejection>,
                  request: Request| async move {
        match name {
            Ok(Path(name)) => {
                api.answer(request, move |call: &Call| listing::values(call, &name))
                    .await
            }
            Err(error) => ApiError::new(ErrorKind::BadData, error.body_text()).into_response(),
        }
    };
    let api_routes: [(&str, MethodRouter<PrometheusApi>); 18] = [
        ("query", asked(query::instant)),
        ("query_range", asked(query::range)),
        ("query_exemplars", asked(query::exemplars)),
        ("format_query", asked(query::format)),
        ("series", asked(listing::series)),
        ("labels", asked(listing::names)),
        ("label/{name}/values", get(values)),
        ("metadata", got(status::metadata)),
        ("targets", got(status::targets)),
        ("targets/metadata", got(status::target_metadata)),
        ("scrape_pools", got(status::pools)),
        ("rules", got(status::rules)),
        ("alerts", got(status::alerts)),
        ("alertmanagers", got(status::alertmanagers)),
        ("status/buildinfo", got(status::build)),
        ("status/runtimeinfo", got(status::runtime)),
        ("status/config", got(status::config)),
        ("status/flags", got(status::flags)),
    ];
    let federate = |State(api): State<PrometheusApi>, request: Request| async move {
        api.page(request, federate::federate).await
    };
    let not_so = |request: Request| async move { not_served(&request, ApiError::into_text) };
    let page = Router::new().route("/federate", get(federate).fallback(not_so));
    let page = bounded(page.with_state(api.clone()), |excess| {
        ApiError::from(excess).into_text()
    });
    let mut router = Router::new();
    for (path, methods) in api_routes {
        router = router.route(&format!("/api/v1/{path}"), methods.fallback(refused_method));
    }
    // Whatever else is asked for.
    router = router
        .route("/api/v1/", any(unknown))
        .route("/api/v1/{*rest}", any(unknown));
    let compression = CompressionLayer::new()
        .no_br()
        .no_deflate()
        .no_zstd()
        .compress_when(SizeAbove::new(COMPRESSED_FROM));
    let router = bounded(router.with_state(api), |excess| {
        ApiError::from(excess).into_response()
    });
    keeping(router.merge(page)).layer(compression)
}

async fn unknown(request: Request) -> Response {
    let path = request.uri().path();
    ApiError::new(ErrorKind::NotFound, format!("there is nothing at {path:?}")).into_response()
}

async fn refused_method(request: Request) -> Response {
    not_served(&request, ApiError::into_response)
}

fn not_served(request: &Request, tell: fn(ApiError) -> Response) -> Response {
    let message = format!("{} is not served at {:?}", request.method(), request.uri().path());
    let mut response = tell(ApiError::new(ErrorKind::Method, message));
    let allowed = HeaderValue::from_static("GET, POST");
    response.headers_mut().insert(header::ALLOW, allowed);
    response
}
