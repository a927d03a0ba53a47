//! Who scrapes, and whom it trusts: token files and certificates that are rotated.
#![allow(clippy::unwrap_used)]

use fleetgauge::scrape::{ScrapeConfig, TlsConfig};
use fleetgauge::target::Scheme;
use fleetgauge_testkit::tls::{Client, Server};
use fleetgauge_testkit::{Answer, Certificates, FaultyServer};

use crate::support::scrape as support;

use support::*;

fn https(certificates: &Certificates) -> ScrapeConfig {
    let mut tls = TlsConfig::default();
    tls.ca_file = Some(certificates.ca());
    config().with_scheme(Scheme::Https).with_tls(tls)
}

#[tokio::test]
async fn a_token_file_is_read_again_when_the_token_was_refused() {
    let server = FaultyServer::start([Answer::choose(|request| match request.header("authorization") {
        Some("Bearer two") => Answer::text("a 1\n"),
        _ => Answer::status(401),
    })])
    .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "one\n").unwrap();
    let source = start(config().with_bearer_token_file(&token), at(&server));
    assert_eq!(refresh(&source, "a").await.unwrap_err().reason(), "unauthorized");
    std::fs::write(&token, "two\n").unwrap();
    assert_eq!(values(&source, "a").await.len(), 1);
    let sent: Vec<_> = server
        .requests()
        .iter()
        .map(|r| r.header("authorization").unwrap().to_owned())
        .collect();
    assert_eq!(sent, ["Bearer one", "Bearer one", "Bearer two"]);
}

#[tokio::test]
async fn targets_are_scraped_by_tls_over_one_connection() {
    let certificates = Certificates::generate().unwrap();
    let server_config = certificates.server_config(Server::Valid).unwrap();
    let server = FaultyServer::start_tls([Answer::text("a 1\n")], server_config).unwrap();
    let source = start(https(&certificates), at(&server));
    for _ in 0..3 {
        assert_eq!(values(&source, "a").await.len(), 1);
    }
    assert_eq!(server.counters().connections, 1);
    assert!(source.targets()[0].url.starts_with("https://"));
}

#[tokio::test]
async fn the_name_of_a_certificate_can_be_told() {
    let certificates = Certificates::generate().unwrap();
    let server_config = certificates.server_config(Server::WrongName).unwrap();
    let server = FaultyServer::start_tls([Answer::text("a 1\n")], server_config).unwrap();
    let source = start(https(&certificates), at(&server));
    assert_eq!(refresh(&source, "a").await.unwrap_err().reason(), "tls");
    let mut named = https(&certificates);
    named.tls.server_name = Some("elsewhere.test".into());
    let source = start(named, at(&server));
    assert_eq!(values(&source, "a").await.len(), 1);
}

#[tokio::test]
async fn a_client_certificate_is_shown_and_read_again() {
    let certificates = Certificates::generate().unwrap();
    let server_config = certificates.server_config_requiring_client().unwrap();
    let server = FaultyServer::start_tls([Answer::text("a 1\n")], server_config).unwrap();
    let good = certificates.client(Client::Valid).unwrap();
    let bad = certificates.client(Client::Expired).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = (dir.path().join("cert"), dir.path().join("key"));
    let place = |identity: &fleetgauge_testkit::tls::Identity| {
        std::fs::copy(&identity.cert, &cert).unwrap();
        std::fs::copy(&identity.key, &key).unwrap();
    };
    place(&bad);
    let mut config = https(&certificates);
    config.tls.client_cert_file = Some(cert.clone());
    config.tls.client_key_file = Some(key.clone());
    let source = start(config, at(&server));
    let error = refresh(&source, "a").await.unwrap_err();
    assert!(
        error.to_string().contains("refused our client certificate"),
        "{error}"
    );
    place(&good);
    assert_eq!(values(&source, "a").await.len(), 1);
    assert!(server.requests().last().unwrap().client_certificate.is_some());
}
