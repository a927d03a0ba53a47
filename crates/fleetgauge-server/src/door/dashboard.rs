//! The dashboard: pages for people, of the readings that programs get by the other doors.
//!
//! A page is rendered here, in parts; a stream of events replaces the parts that have changed, once a second at most, and
//! says each second that it is alive: a page that hears nothing says so over its numbers. What is rendered for one reader is
//! given to all who look at the same page. All that a page loads is from here, and its content security policy allows nothing
//! else, so that no label of a pod can become a script.

mod chart;
mod live;
mod metric;
mod overview;
mod page;
mod pods;
mod reading;
mod rendered;
mod sources;
mod targets;
mod words;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use maud::{Markup, html};
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};

use super::access::Access;
use super::api::Api;
use super::excess::bounded;
use super::fallback;
use super::prometheus::PrometheusApi;
use page::{Frame, ICON, Page, told};
use rendered::Renderer;

/// What a page may load: what is from here, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// A body that is smaller is not worth compressing. *Unit*: bytes.
const COMPRESSED_FROM: u64 = 1_024;

/// The dashboard over what these doors serve, for whoever `access` lets in: by a token, a certificate, or as browsers ask
/// people, with the token as the password.
pub fn routes(api: Api, prometheus: PrometheusApi, access: &Access) -> Router {
    let renderer = Arc::new(Renderer::new(api, prometheus));
    let pages = Router::new()
        .route("/", get(page))
        .route("/dashboard/live", get(live::live))
        .route(
            "/dashboard/style.css",
            get(|| file("text/css", include_str!("dashboard/style.css"))),
        )
        .route(
            "/dashboard/live.js",
            get(|| file("text/javascript", include_str!("dashboard/live.js"))),
        )
        .route("/dashboard/icon.svg", get(icon))
        .route("/dashboard", get(page))
        .route("/dashboard/", get(page))
        .route("/dashboard/{*rest}", get(page))
        .with_state(renderer);
    let pages = access.guard_people(pages);
    // Programs ask the root whether somebody is there, without credentials, and cannot read pages.
    let pages = pages.layer(middleware::from_fn(|request: Request, next: Next| async move {
        let is_root = request.uri().path() == "/";
        match request.method() {
            _ if !is_root => next.run(request).await,
            &Method::GET | &Method::HEAD if fallback::reads_pages(request.headers()) => {
                next.run(request).await
            }
            &Method::GET | &Method::HEAD => fallback::root().into_response(),
            _ => {
                let allowed = [(ALLOW, "GET,HEAD")];
                (StatusCode::METHOD_NOT_ALLOWED, allowed, "this is read by GET\n").into_response()
            }
        }
    }));
    let pages = pages.layer(middleware::map_response(secured));
    // An event that is compressed comes when the next ones fill its block.
    let predicate = SizeAbove::new(COMPRESSED_FROM).and(NotForContentType::SSE);
    let compression = CompressionLayer::new()
        .no_br()
        .no_deflate()
        .no_zstd()
        .compress_when(predicate);
    bounded(pages.layer(compression), |excess| {
        told(excess.status(), &excess.to_string())
    })
}

/// A page that says why there is none.
pub fn error_page(status: StatusCode, detail: &str) -> Response {
    with_policy(told(status, detail))
}

async fn secured(response: Response) -> Response {
    with_policy(response)
}

fn with_policy(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let fixed: [(HeaderName, &'static str); 4] = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CACHE_CONTROL, "no-cache"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn page(State(renderer): State<Arc<Renderer>>, uri: Uri) -> Response {
    let Some(page) = Page::of(uri.path(), uri.query().unwrap_or_default()) else {
        return told(StatusCode::NOT_FOUND, "there is no such page");
    };
    match renderer.parts(&page).await {
        Ok(parts) => {
            let mut frame = frame(&page);
            let unknown = page.unknown(uri.query().unwrap_or_default());
            frame.head = html! { (frame.head) (unknown) };
            Html(page.document(&frame, &parts).into_string()).into_response()
        }
        Err(error) => told(error.status, &error.detail),
    }
}

/// What stays as it is of a page.
fn frame(page: &Page) -> Frame {
    let titled = |title: &str, head: Markup| Frame {
        title: title.to_owned(),
        head,
    };
    match page {
        Page::Overview { filter } => {
            let nothing_more = html! {};
            let label = "Variant, metric or label";
            titled("Fleet", page::filter_form("/", label, filter, &nothing_more))
        }
        Page::Metric { name, range } => titled(
            name,
            html! {
                h1 { (name) }
                (range.links(name))
            },
        ),
        Page::Targets { filter, only_ill } => titled("Targets", targets::head(filter, *only_ill)),
        Page::Sources => titled("Sources", html! {}),
    }
}

async fn file(kind: &'static str, text: &'static str) -> Response {
    ([(CONTENT_TYPE, kind)], text).into_response()
}

async fn icon() -> Response {
    let text = format!(r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">{ICON}</svg>"#);
    ([(CONTENT_TYPE, "image/svg+xml")], text).into_response()
}
