//! Through a proxy: absolute URLs for `http`, a tunnel for `https`, and credentials that go to it alone.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use fleetgauge::prometheus::{PrometheusBackend, PrometheusSourceConfig, ProxyConfig};
use fleetgauge::scrape::{PageFetcher, ScrapeConfig, TlsConfig};
use fleetgauge::target::{Scheme, Target};
use fleetgauge_core::backend::{self, Backend, FetchError};
use fleetgauge_core::query::QueryType;
use fleetgauge_core::result::Answer as Values;
use fleetgauge_testkit::proxy::HttpProxy;
use fleetgauge_testkit::tls::Server;
use fleetgauge_testkit::{Answer, Certificates, FaultyServer, Refused};

/// `me:hunter2`
const AUTHORIZATION: &str = "Basic bWU6aHVudGVyMg==";

fn through(proxy: &HttpProxy) -> ProxyConfig {
    ProxyConfig::url(&format!("http://me:hunter2@{}", proxy.addr())).unwrap()
}

async fn query(config: PrometheusSourceConfig) -> Result<Values, FetchError> {
    let query = backend::Request::new(
        "q".parse().unwrap(),
        QueryType::PromQl,
        "up",
        Duration::from_secs(30),
    );
    PrometheusBackend::new(&config).unwrap().fetch(&query).await
}

async fn scrape(address: &str, scheme: Scheme, config: ScrapeConfig) -> Result<Vec<u8>, FetchError> {
    let labels = [("__address__".to_owned(), address.to_owned())].into();
    let defaults = config.clone().with_scheme(scheme).defaults;
    let target = Target::from_labels(&labels, &defaults).unwrap();
    let fetcher = PageFetcher::new(config.with_scheme(scheme)).unwrap();
    fetcher.fetch(&target).await.map(|page| page.body)
}

fn prometheus() -> Answer {
    Answer::vector(1.0, &[(&[("pod", "a")], 1.0)])
}

#[tokio::test]
async fn a_proxy_is_told_the_whole_url_of_what_is_reached_by_http() {
    let server = FaultyServer::start([prometheus(), Answer::text("a 1\n")]).unwrap();
    let proxy = HttpProxy::start(server.addr(), Some(AUTHORIZATION)).unwrap();
    // Neither name exists.
    let config = PrometheusSourceConfig::new("http://prom.test:9090").with_bearer_token("t0ken");
    assert_eq!(query(config.with_proxy(through(&proxy))).await.unwrap().len(), 1);
    let config = ScrapeConfig::new("j").with_proxy(through(&proxy));
    assert_eq!(
        scrape("pod.test:8000", Scheme::Http, config).await.unwrap(),
        b"a 1\n"
    );
    assert_eq!(
        proxy.asked(),
        [
            "POST http://prom.test:9090/api/v1/query HTTP/1.1",
            "GET http://pod.test:8000/metrics HTTP/1.1"
        ]
    );
    let hosts: Vec<_> = server
        .requests()
        .iter()
        .map(|r| r.header("host").unwrap().to_owned())
        .collect();
    assert_eq!(hosts, ["prom.test:9090", "pod.test:8000"]);
}

#[tokio::test]
async fn what_is_reached_by_https_is_reached_through_a_tunnel() {
    let certificates = Certificates::generate().unwrap();
    let tls = certificates.server_config(Server::Valid).unwrap();
    let server = FaultyServer::start_tls([prometheus(), Answer::text("a 1\n")], tls).unwrap();
    let proxy = HttpProxy::start(server.addr(), Some(AUTHORIZATION)).unwrap();
    let config = PrometheusSourceConfig::new(server.url()).with_ca_file(certificates.ca());
    assert_eq!(query(config.with_proxy(through(&proxy))).await.unwrap().len(), 1);
    let mut tls = TlsConfig::default();
    tls.ca_file = Some(certificates.ca());
    let config = ScrapeConfig::new("j").with_tls(tls).with_proxy(through(&proxy));
    let address = server.addr().to_string();
    assert_eq!(scrape(&address, Scheme::Https, config).await.unwrap(), b"a 1\n");
    let connect = format!("CONNECT {address} HTTP/1.1");
    assert_eq!(proxy.asked(), [connect.clone(), connect]);
    // The server sees neither the proxy's credentials nor its form of a URL.
    for request in server.requests() {
        assert_eq!(request.header("proxy-authorization"), None);
        assert!(request.target.starts_with('/'), "{}", request.target);
    }
}

#[tokio::test]
async fn a_failing_proxy_is_named_and_its_password_is_not() {
    let server = FaultyServer::start([prometheus()]).unwrap();
    let strict = HttpProxy::start(server.addr(), Some("Basic other")).unwrap();
    let refused = Refused::new().unwrap();
    let nobody = ProxyConfig::url(&format!("http://me:hunter2@{}", refused.addr())).unwrap();
    let certificates = Certificates::generate().unwrap();
    for (proxy, scheme, reason, expected) in [
        (
            through(&strict),
            "http",
            "rejected",
            "the proxy wants other credentials (407)",
        ),
        (
            through(&strict),
            "https",
            "unreachable",
            "proxy authorization required",
        ),
        (nobody.clone(), "http", "unreachable", "connection refused"),
        (nobody, "https", "unreachable", "connection refused"),
    ] {
        let config = PrometheusSourceConfig::new(format!("{scheme}://prom.test:9090"))
            .with_ca_file(certificates.ca())
            .with_proxy(proxy.clone());
        let scraping = {
            let mut tls = TlsConfig::default();
            tls.ca_file = Some(certificates.ca());
            ScrapeConfig::new("j").with_tls(tls).with_proxy(proxy)
        };
        let by = if scheme == "http" {
            Scheme::Http
        } else {
            Scheme::Https
        };
        for error in [
            query(config).await.unwrap_err(),
            scrape("prom.test:9090", by, scraping).await.unwrap_err(),
        ] {
            let shown = format!("{error} {error:?}");
            assert_eq!(error.reason(), reason, "{shown}");
            assert!(shown.contains(expected), "{shown}");
            assert!(!shown.contains("hunter2") && !shown.contains("bWU6"), "{shown}");
            if reason == "unreachable" {
                assert!(
                    shown.contains("prom.test:9090 through the proxy 127.0.0.1:"),
                    "{shown}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_destination_that_needs_no_proxy_is_reached_directly() {
    let server = FaultyServer::start([prometheus()]).unwrap();
    let refused = Refused::new().unwrap();
    let vars = [("HTTP_PROXY".to_owned(), format!("http://{}", refused.addr()))];
    // Loopback, as by Go's rules.
    let from_vars = ProxyConfig::from_vars(vars).unwrap();
    let named = ProxyConfig::url(&refused.addr().to_string()).unwrap();
    for proxy in [from_vars, named.with_no_proxy("127.0.0.0/8"), ProxyConfig::none()] {
        let config = PrometheusSourceConfig::new(server.url()).with_proxy(proxy);
        assert_eq!(query(config).await.unwrap().len(), 1);
    }
}
