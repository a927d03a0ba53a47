//! The dashboard's door: who may come in, what is said of what is not there, and what a page may load.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request};
use fleetgauge_core::time::Clock;
use fleetgauge_server::door::access::Access;
use fleetgauge_server::door::api::Api;
use fleetgauge_server::door::dashboard;
use fleetgauge_server::door::prometheus::{PrometheusApi, PrometheusApiConfig};
use fleetgauge_server::readiness::Readiness;
use fleetgauge_server::scheduler::Scheduler;
use fleetgauge_server::store::Store;
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
