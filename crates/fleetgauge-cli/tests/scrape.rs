//! What `fleetgauge scrape` sends, and what it makes of targets that misbehave.
#![allow(clippy::unwrap_used, missing_docs)]

use std::process::Output;
use std::time::Duration;

use fleetgauge_testkit::{Answer, Certificates, FaultyServer, Refused, tls};
use serde_json::Value;

use crate::support::binary::{fleetgauge, text};

fn scrape(args: &[&str]) -> Output {
    fleetgauge("scrape", args, &[])
}

#[test]
fn what_goes_wrong_is_an_error_and_never_a_sample() {
    let check = |answer: Answer, expected: &str| {
        let server = FaultyServer::start([answer]).unwrap();
        let output = scrape(&[&server.url(), "--timeout", "300ms", "-o", "json"]);
        assert_eq!(output.status.code(), Some(1), "{expected}");
        let error = text(&output.stderr);
        assert!(
            error.starts_with("error: http://127.0.0.1:") && error.contains(expected),
            "{expected}: {error}"
        );
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        let target = &json["targets"][0];
        assert_eq!(target["samples"], Value::Array(Vec::new()));
        assert!(target["error"].as_str().unwrap().contains(expected), "{json}");
    };
    check(Answer::hang(), "no answer within 300ms");
    check(Answer::reset(), "127.0.0.1:");
    check(Answer::close(), "127.0.0.1:");
    check(Answer::status(500), "500");
    check(Answer::status(401), "401");
    check(Answer::status(404), "404");
    check(Answer::html_page(), "found HTML: \"<!doctype html>");
    check(Answer::json("[]"), "exposes its metrics at /prometheus/metrics");
    check(Answer::json("{}"), "found JSON: \"{}\" (application/json)");
    check(Answer::text("{\"a\": 1}\n"), "found JSON: ");
    check(Answer::text("\u{1b}[2J?\n"), "found something else: ");
    check(Answer::malformed_http(), "127.0.0.1:");
    check(
        Answer::redirect(302, "http://elsewhere.test/metrics"),
        "redirected to http://elsewhere.test",
    );
    check(Answer::redirect_loop(), "redirects");
    check(
        Answer::drip_forever(Duration::from_millis(5)),
        "no answer within 300ms",
    );
}

#[test]
fn a_target_that_is_not_there_does_not_cost_the_others() {
    let refused = Refused::new().unwrap();
    let good = FaultyServer::start([Answer::text("waiting 3\n").after(Duration::from_millis(50))]).unwrap();
    let output = scrape(&[&refused.url(), &good.url(), "--timeout", "5s"]);
    assert_eq!(output.status.code(), Some(1));
    let expected = format!("{}/metrics\nmetric   value  labels\nwaiting      3\n", good.url());
    assert_eq!(text(&output.stdout), expected);
    let error = text(&output.stderr);
    assert!(
        error.starts_with("error: ") && error.contains("connection refused"),
        "{error}"
    );
}

#[test]
fn a_page_that_is_not_read_whole_says_so() {
    let check = |page: &str, samples: usize, error: &str| {
        let server = FaultyServer::start([Answer::text(page)]).unwrap();
        let output = scrape(&[&server.url(), "--timeout", "5", "-o", "json"]);
        assert_eq!(output.status.code(), Some(i32::from(!error.is_empty())), "{page}");
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        let target = &json["targets"][0];
        assert_eq!(target["samples"].as_array().unwrap().len(), samples, "{json}");
        assert_eq!(target["error"].as_str().unwrap_or_default(), error, "{json}");
        let stderr = text(&output.stderr);
        assert!(
            stderr.contains(error) && stderr.contains("line 2") != error.is_empty(),
            "{stderr}"
        );
    };
    check("a 1\nb 2\n", 2, "");
    check("a 1\nb two\nc 3\n", 2, "not all of it: 1 line can't be read");
    check(
        "a 1\nb two\nc {\nd 3\n",
        2,
        "not all of it: 2 lines can't be read",
    );
}

#[test]
fn credentials_are_sent_and_not_shown() {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    std::fs::write(&token, "hunter2\n").unwrap();
    let server = FaultyServer::start([Answer::status(401)]).unwrap();
    let output = scrape(&[&server.url(), "--bearer-token-file", token.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let request = server.requests().pop().unwrap();
    assert_eq!(request.header("authorization"), Some("Bearer hunter2"));
    assert!(
        !text(&output.stderr).contains("hunter2"),
        "{}",
        text(&output.stderr)
    );

    let with_user = server.url().replace("//", "//fleet:hunter2@");
    let output = scrape(&[&with_user, "-o", "json"]);
    let request = server.requests().pop().unwrap();
    assert_eq!(
        request.header("authorization"),
        Some("Basic ZmxlZXQ6aHVudGVyMg==")
    );
    for printed in [&output.stdout, &output.stderr] {
        assert!(!text(printed).contains("hunter2"), "{}", text(printed));
    }

    let missing = directory.path().join("missing");
    let output = scrape(&[&server.url(), "--bearer-token-file", missing.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains(&format!(
            "--bearer-token-file: {} cannot be read: No such file",
            missing.display()
        )),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn a_target_behind_tls_is_asked_by_its_authority() {
    let certificates = Certificates::generate().unwrap();
    let config = certificates.server_config(tls::Server::Valid).unwrap();
    let server = FaultyServer::start_tls([Answer::text("waiting 3\n")], config).unwrap();
    let ca = certificates.ca();
    let output = scrape(&[&server.url(), "--ca-file", ca.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "metric   value  labels\nwaiting      3\n");
    let other = certificates.other_ca();
    let output = scrape(&[&server.url(), "--ca-file", other.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("certificate"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn parameters_of_the_url_are_sent_as_they_are_meant() {
    let server = FaultyServer::start([Answer::text("waiting 3\n")]).unwrap();
    let output = scrape(&[&format!("{}/probe?module=a%20b", server.url())]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(server.requests().pop().unwrap().target, "/probe?module=a+b");
}

#[test]
fn a_fallback_protocol_reads_what_its_content_type_does_not_name() {
    let server = FaultyServer::start([Answer::json("ovms_requests_success 3\n")]).unwrap();
    let url = format!("{}/metrics", server.url());
    let refused = scrape(&[&url]);
    assert_eq!(refused.status.code(), Some(1));
    let read = scrape(&[&url, "--fallback-scrape-protocol", "PrometheusText0.0.4"]);
    let table = String::from_utf8_lossy(&read.stdout).into_owned();
    assert!(
        read.status.success() && table.contains("ovms_requests_success      3"),
        "{table}"
    );
    let unknown = scrape(&[&url, "--fallback-scrape-protocol", "PrometheusText9.9"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).contains("OpenMetricsText1.0.0"));
}
