//! The dashboard's door: who may come in, what is said of what is not there, and what a page may load.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request};
use fleetgauge_core::time::Clock;
use fleetgauge_server::door::access::Access;
use fleetgauge_server::door::api::Api;
use fleetgauge_server::door::prometheus::{PrometheusApi, PrometheusApiConfig};
use fleetgauge_server::door::{dashboard, fallback};
use fleetgauge_server::readiness::Readiness;
use fleetgauge_server::scheduler::Scheduler;
use fleetgauge_server::store::Store;
use futures_util::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

fn door(access: &Access) -> Router {
    let store = Store::new(Clock::system());
    let scheduler = Scheduler::new(store.clone());
    let readiness = Readiness::new(store, Duration::ZERO);
    let api = Api::new(&scheduler, readiness, CancellationToken::new());
    let prometheus = PrometheusApi::new(PrometheusApiConfig::default());
    dashboard::routes(api, prometheus, access)
}

async fn get(door: &Router, path: &str, headers: &[(&str, &str)]) -> (u16, HeaderMap, String) {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::empty()).unwrap();
    let response = door.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    (
        parts.status.as_u16(),
        parts.headers,
        String::from_utf8(body.to_vec()).unwrap(),
    )
}

const BROWSER: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");

#[tokio::test]
async fn people_find_pages_at_the_root_and_programs_what_there_is() {
    let door = door(&Access::open());
    let (status, headers, page) = get(&door, "/", &[BROWSER]).await;
    assert_eq!(status, 200);
    assert!(
        page.starts_with("<!DOCTYPE html>") && page.contains("No metrics are kept fresh"),
        "{page}"
    );
    // Nothing is wrong with nothing, which is no comfort.
    assert!(
        page.contains("Not all is well") && page.contains("There is no reading"),
        "{page}"
    );
    assert!(page.contains("data-live=\"/dashboard/live?page=%2F\""), "{page}");
    let policy = headers["content-security-policy"].to_str().unwrap();
    assert!(
        policy.starts_with("default-src 'none';") && !policy.contains("unsafe"),
        "{policy}"
    );
    let (status, _, text) = get(&door, "/", &[("accept", "*/*")]).await;
    assert_eq!(status, 200);
    assert!(
        text.starts_with("Fleetgauge\n\nthere are /api/fleetgauge/v1/metrics"),
        "{text}"
    );
    for path in ["/dashboard/targets", "/dashboard/sources"] {
        assert_eq!(get(&door, path, &[]).await.0, 200, "{path}");
    }
    for path in [
        "/dashboard/metrics/queue",
        "/dashboard/metrics/%3Cscript%3E",
        "/dashboard/other",
        "/dashboard/metrics/%ff",
        "/dashboard/live?page=/dashboard/other",
        "/dashboard/live?page=http://elsewhere/",
        "/dashboard/live",
    ] {
        let (status, headers, page) = get(&door, path, &[BROWSER]).await;
        assert_eq!(status, 404, "{path}");
        assert!(headers.contains_key("content-security-policy"));
        assert!(!page.contains("data-live"), "{path} {page}");
        assert!(
            page.contains("there is no ") && !page.contains("<script>"),
            "{path} {page}"
        );
    }
}

#[tokio::test]
async fn people_give_the_token_as_a_password() {
    let door = door(&Access::new(Some("secret"), false));
    for path in [
        "/",
        "/dashboard/targets",
        "/dashboard/live?page=/",
        "/dashboard/style.css",
    ] {
        let (status, headers, page) = get(&door, path, &[BROWSER]).await;
        assert_eq!(status, 401, "{path}");
        assert!(
            headers["www-authenticate"]
                .to_str()
                .unwrap()
                .starts_with("Basic ")
        );
        assert!(!page.contains("<html"), "{page}");
    }
    for authorization in ["Basic YW55Ym9keTpzZWNyZXQ=", "Bearer secret"] {
        let (status, ..) = get(&door, "/", &[BROWSER, ("authorization", authorization)]).await;
        assert_eq!(status, 200, "{authorization}");
    }
    let wrong = [BROWSER, ("authorization", "Basic YW55Ym9keTp3cm9uZw==")];
    assert_eq!(get(&door, "/", &wrong).await.0, 401);
    // Programs that only ask whether somebody is there.
    assert_eq!(get(&door, "/", &[]).await.0, 200);
}

/// Guards against a token that was taken back and goes on reading what it had begun to read.
#[tokio::test]
async fn a_stream_ends_when_its_token_is_no_longer_taken() {
    let access = Access::new(Some("secret"), false);
    let door = door(&access);
    let mut streams = Vec::new();
    for authorization in ["Basic YW55Ym9keTpzZWNyZXQ=", "Bearer secret"] {
        let request = Request::get("/dashboard/live?page=/").header("authorization", authorization);
        let response = door
            .clone()
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
        let mut events = response.into_body().into_data_stream();
        assert!(events.next().await.unwrap().is_ok());
        streams.push(events);
    }
    access.renew("other");
    for events in streams {
        let rest = events.collect::<Vec<_>>();
        // Without an end it would go on, once a second.
        tokio::time::timeout(Duration::from_secs(60), rest).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_not_there_is_said_to_people_in_a_page_and_nothing_is_written_at_the_root() {
    let door = door(&Access::open());
    let all = fallback::pages(Router::new(), dashboard::error_page).merge(door);
    let (status, headers, page) = get(&all, "/nope", &[BROWSER]).await;
    assert_eq!(status, 404);
    assert!(headers.contains_key("content-security-policy"), "{headers:?}");
    assert!(
        page.starts_with("<!DOCTYPE html>") && page.contains("there is no such page"),
        "{page}"
    );
    let (status, headers, text) = get(&all, "/nope", &[]).await;
    assert_eq!(
        (status, &headers["content-type"]),
        (404, &"application/problem+json".parse().unwrap())
    );
    assert!(text.contains("there is no such page; there are /api"), "{text}");
    let (status, _, page) = get(&all, "/dashboard/", &[BROWSER]).await;
    assert!(
        status == 200 && page.contains("data-live=\"/dashboard/live?page=%2F\""),
        "{page}"
    );
    for method in ["POST", "PUT", "DELETE"] {
        let request = Request::builder().method(method).uri("/");
        let response = all
            .clone()
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["allow"]),
            (405, &"GET,HEAD".parse().unwrap())
        );
    }
}

#[tokio::test]
async fn a_parameter_that_a_page_does_not_have_is_named_on_it() {
    let door = door(&Access::open());
    let (status, _, page) = get(&door, "/?filter=%3Cb%3E&q=a", &[BROWSER]).await;
    assert_eq!(status, 200);
    assert!(
        page.contains("no parameter <code>filter</code>") && page.contains("it has q."),
        "{page}"
    );
    let (_, _, page) = get(&door, "/dashboard/targets?q=a&state=ill", &[BROWSER]).await;
    assert!(!page.contains("no parameter"), "{page}");
    let (_, _, page) = get(&door, "/dashboard/sources?%3Cb%3E=1", &[BROWSER]).await;
    assert!(
        page.contains("<code>&lt;b&gt;</code>") && page.contains("it has none."),
        "{page}"
    );
}
