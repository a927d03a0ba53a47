//! The Prometheus door and those who ask wrongly, too much, or never end.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use fleetgauge_server::door::prometheus::PrometheusApiConfig;
use fleetgauge_testkit::http::percent_encode;

use crate::support::door::{Door, START, ask, exchange, window};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_refused_in_the_envelope() {
    let door = Door::open().await;
    let long = format!("query={}", "1%2B".repeat(300_000));
    let deep = format!("query={}1{}", "(".repeat(100_000), ")".repeat(100_000));
    let heavy = percent_encode("sum_over_time(count_over_time({__name__=~\".+\"}[1m:10ms])[1m:1s])");
    let heavy = format!("query={heavy}&time={}&timeout=1ms", START + 300);
    let many = format!("query=up&start={START}&end={}&step=1", START + 1_000_000);
    let selectors = "match[]=up&".repeat(2_000);
    let long_target = format!("/api/v1/query?query={}", "1%2B".repeat(10_000));
    for (method, path, form, status, error_type) in [
        ("GET", "/api/v1/nothing", None, 404, "not_found"),
        ("GET", "/api/v1/", None, 404, "not_found"),
        ("GET", "/api/v1/label/%ff/values", None, 400, "bad_data"),
        ("DELETE", "/api/v1/query", None, 405, "bad_data"),
        ("POST", "/api/v1/metadata", None, 405, "bad_data"),
        ("GET", &*long_target, None, 414, "bad_data"),
        ("POST", "/api/v1/query", Some(&*long), 413, "bad_data"),
        ("POST", "/api/v1/query", Some(&deep), 400, "bad_data"),
        ("POST", "/api/v1/query", Some(&heavy), 503, "timeout"),
        ("POST", "/api/v1/query_range", Some(&many), 400, "bad_data"),
        ("POST", "/api/v1/series", Some(&selectors), 400, "bad_data"),
        ("POST", "/api/v1/query", Some("query=%zz"), 400, "bad_data"),
    ] {
        let (got, answer) = ask(door.addr, method, path, form);
        let start = form.unwrap_or_default().get(..20).unwrap_or_default();
        assert_eq!(got, status, "{method} {path} {start}: {answer}");
        assert_eq!(answer["status"], "error", "{path}");
        assert_eq!(answer["errorType"], error_type, "{path}: {answer}");
        assert!(
            answer["error"].as_str().is_some_and(|error| !error.is_empty()),
            "{path}"
        );
        assert!(answer.to_string().len() < 2_000, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_or_goes_away_is_cut_and_others_are_served() {
    let mut config = PrometheusApiConfig::default();
    config.request_timeout = Duration::from_millis(200);
    let door = Door::over(window(), config).await;
    let half = b"POST /api/v1/query HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
        Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\nquery=";
    // Those that go away.
    for _ in 0..50 {
        TcpStream::connect(door.addr).unwrap().write_all(half).unwrap();
    }
    // One that stays, and says no more.
    let (status, _, body) = exchange(door.addr, half);
    let answer: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, &answer["errorType"]), (408, &"timeout".into()));
    let (status, _) = door.get("/api/v1/query?query=1");
    assert_eq!((status, door.api.requests()), (200, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn bounds_are_kept_and_named() {
    let check = async |change: fn(&mut PrometheusApiConfig), path: &str, expected: (u16, &str, &str)| {
        let mut config = PrometheusApiConfig::default();
        change(&mut config);
        let door = Door::over(window(), config).await;
        let (status, answer) = door.get(path);
        let (expected_status, error_type, words) = expected;
        assert_eq!(
            (status, &answer["errorType"]),
            (expected_status, &error_type.into()),
            "{path}"
        );
        assert!(
            answer["error"].as_str().unwrap().contains(words),
            "{path}: {answer}"
        );
    };
    let all = percent_encode("{__name__=~\".+\"}");
    let range = format!(
        "/api/v1/query_range?query={all}&start={START}&end={}&step=15",
        START + 600
    );
    let series = format!("/api/v1/series?match[]={all}");
    check(
        |config| config.max_requests = 0,
        &range,
        (503, "unavailable", "0 requests"),
    )
    .await;
    check(
        |config| config.max_answer_bytes = 2_000,
        &range,
        (422, "execution", "2000 bytes"),
    )
    .await;
    check(
        |config| config.max_answer_bytes = 500,
        &series,
        (422, "execution", "500 bytes"),
    )
    .await;
    check(
        |config| config.engine = config.engine.clone().with_max_series(3),
        &range,
        (422, "execution", "3 series"),
    )
    .await;
    check(
        |config| config.engine.max_series = 3,
        &series,
        (422, "execution", "3 series"),
    )
    .await;
    check(
        |config| config.engine = config.engine.clone().with_max_samples(10),
        &range,
        (422, "execution", "10 samples"),
    )
    .await;
}

/// `/federate` has no envelope, and Prometheus says there in a line what is wrong.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_page_is_a_line_of_text() {
    let door = Door::open().await;
    let long = format!("/federate?match[]={}", "x".repeat(40_000));
    let large = format!("X-Large: {}\r\n", "x".repeat(20_000));
    let endless = "x".repeat(100_000);
    for (method, path, header, status, words) in [
        ("GET", "/federate?match[]=%7B%7D", "", 400, "match[]"),
        ("POST", "/federate", "", 405, "POST is not served"),
        ("GET", &*long, "", 414, "longer than 32768 bytes"),
        (
            "GET",
            "/federate?match[]=up",
            &*large,
            431,
            "longer than 16384 bytes",
        ),
        (
            "GET",
            "/federate?match[]=up",
            "Content-Length: 9999999\r\n",
            413,
            "longer than 1048576 bytes",
        ),
        // Beyond what a connection reads there is no door that could say something.
        (
            "GET",
            "/federate?match[]=up",
            &*format!("X-Large: {endless}\r\n"),
            431,
            "",
        ),
        ("GET", &*format!("/federate?match[]={endless}"), "", 431, ""),
    ] {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n");
        let (found, head, body) = exchange(door.addr, request.as_bytes());
        let body = String::from_utf8(body).unwrap();
        let start = path.get(..30).unwrap_or(path);
        assert_eq!(found, status, "{method} {start}: {body}");
        assert!(
            body.contains(words) && body.lines().count() <= 1,
            "{start}: {body}"
        );
        assert!(words.is_empty() || head.contains("text/plain"), "{start}: {head}");
    }
}
