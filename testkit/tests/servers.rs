//! The real servers start, answer what they were given, hang and come back, and end.

use std::time::Duration;

use fleetgauge_testkit::prometheus::{BASIC_AUTH, BASIC_AUTH_WEB_CONFIG};
use fleetgauge_testkit::tls::Server;
use fleetgauge_testkit::{
    Answer, Certificates, FaultyServer, OpenMetrics, Prometheus, VictoriaMetrics, http,
};

const START: u32 = 1_700_000_000;

fn document() -> OpenMetrics {
    OpenMetrics::new()
        .steady(
            "vllm:num_requests_waiting",
            &[("pod", "a")],
            3.0,
            (START, START + 600, 15),
        )
        .steady(
            "vllm:num_requests_waiting",
            &[("pod", "b")],
            4.0,
            (START, START + 600, 15),
        )
}

#[test]
fn prometheus_answers_from_blocks_and_survives_a_restart() {
    let prometheus = Prometheus::builder()
        .data(&document())
        .route_prefix("monitoring")
        .start()
        .unwrap();
    let sum = |prometheus: &Prometheus| {
        prometheus
            .query("sum(vllm:num_requests_waiting)", Some(f64::from(START) + 300.0))
            .unwrap()
    };
    assert_eq!(sum(&prometheus)[0]["value"][1], "7");
    assert!(prometheus.url().ends_with("/monitoring"));
    let (url, pid) = (prometheus.url(), prometheus.pid());
    let prometheus = prometheus.restart().unwrap();
    assert_eq!(prometheus.url(), url);
    assert_ne!(prometheus.pid(), pid);
    assert_eq!(sum(&prometheus)[0]["value"][1], "7");
}

#[test]
fn prometheus_scrapes_a_target() {
    let target = FaultyServer::start([Answer::text("vllm:num_requests_running 5\n")]).unwrap();
    let every = Duration::from_secs(1);
    let prometheus = Prometheus::builder()
        .scrape("pods", target.addr(), every, &[("pod", "x")])
        .start()
        .unwrap();
    let result = prometheus
        .wait_for("vllm:num_requests_running{job=\"pods\"}")
        .unwrap();
    assert_eq!(result[0]["metric"]["pod"], "x");
    assert_eq!(result[0]["value"][1], "5");
}

#[tokio::test]
async fn prometheus_starts_behind_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let certificates = Certificates::generate().unwrap();
    let identity = certificates.server(Server::Valid).unwrap();
    let yaml = format!(
        "tls_server_config:\n  cert_file: {}\n  key_file: {}\n",
        identity.cert.display(),
        identity.key.display()
    );
    let prometheus = Prometheus::builder().web_config(yaml).start().unwrap();
    assert!(prometheus.url().starts_with("https://"));
    let root = reqwest::Certificate::from_pem(&std::fs::read(certificates.ca()).unwrap()).unwrap();
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([root])
        .build()
        .unwrap();
    let ready = client
        .get(format!("{}/-/ready", prometheus.url()))
        .send()
        .await
        .unwrap();
    assert_eq!(ready.status().as_u16(), 200);
}

#[tokio::test]
async fn prometheus_requires_basic_authentication() {
    let prometheus = Prometheus::builder()
        .web_config(BASIC_AUTH_WEB_CONFIG)
        .start()
        .unwrap();
    assert_eq!(http::get(prometheus.addr(), "/-/ready").unwrap().status, 401);
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let (user, password) = BASIC_AUTH;
    let ready = client
        .get(format!("{}/-/ready", prometheus.url()))
        .basic_auth(user, Some(password));
    assert_eq!(ready.send().await.unwrap().status().as_u16(), 200);
}

#[test]
fn prometheus_says_why_it_does_not_start() {
    let error = Prometheus::builder()
        .config("scrape_configs: 7")
        .start()
        .unwrap_err();
    assert!(error.to_string().contains("ScrapeConfig"), "{error}");
    let error = Prometheus::builder().open_metrics("a 1\n").start().unwrap_err();
    assert!(error.to_string().contains("promtool"), "{error}");
}

#[test]
fn a_paused_server_answers_after_it_is_resumed() {
    let prometheus = Prometheus::builder().start().unwrap();
    prometheus.pause().unwrap();
    let addr = prometheus.addr();
    let asking = std::thread::spawn(move || http::get(addr, "/-/ready").map(|response| response.status));
    prometheus.resume().unwrap();
    assert_eq!(asking.join().unwrap().unwrap(), 200);
    prometheus.stop();
    assert!(http::get(addr, "/-/ready").is_err());
}

#[test]
fn victoria_metrics_answers_what_was_imported() {
    let victoria = VictoriaMetrics::start().unwrap();
    victoria
        .import(&document().series("odd", &[], &[(f64::from(START), f64::NAN)]))
        .unwrap();
    let at = Some(f64::from(START) + 600.0);
    let result = victoria.query("sum(vllm:num_requests_waiting)", at).unwrap();
    assert_eq!(result[0]["value"][1], "7");
    victoria.import_text("fresh{pod=\"c\"} 9\n").unwrap();
    assert_eq!(victoria.wait_for("fresh").unwrap()[0]["value"][1], "9");
}
