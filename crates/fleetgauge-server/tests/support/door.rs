//! A Prometheus door over samples that a real Prometheus holds as well.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use fleetgauge_core::time::{Clock, Timestamp};
use fleetgauge_promql::window::{Window, WindowConfig};
use fleetgauge_server::door::access::Access;
use fleetgauge_server::door::api::Api;
use fleetgauge_server::door::listener::{Limits, Listener};
use fleetgauge_server::door::prometheus::{PrometheusApi, PrometheusApiConfig, Served, routes};
use fleetgauge_server::door::{dashboard, fallback};
use fleetgauge_server::readiness::Readiness;
use fleetgauge_server::scheduler::Scheduler;
use fleetgauge_server::store::Store;
use fleetgauge_testkit::OpenMetrics;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// When the samples begin. *Unit*: seconds, as below.
pub(crate) const START: i64 = 1_700_000_000;
/// How far they are apart.
pub(crate) const EVERY: i64 = 15;
/// How many there are of each series.
pub(crate) const COUNT: i64 = 41;

/// Name, labels, and the value of the sample with that number.
type Series = (&'static str, Vec<(&'static str, &'static str)>, fn(i64) -> f64);

fn all_series() -> Vec<Series> {
    let mut all: Vec<Series> = vec![
        ("up", vec![("job", "a"), ("instance", "x:1")], |_| 1.0),
        ("up", vec![("job", "b"), ("instance", "y:1")], |at| {
            f64::from(u8::from(at % 2 == 0))
        }),
        ("small", vec![], |at| at as f64 * 1e-9),
        ("large", vec![("pod", "é \"quoted\" \\ {}")], |at| {
            at as f64 * 1e25
        }),
        ("odd", vec![("kind", "nan")], |_| f64::NAN),
        ("odd", vec![("kind", "inf")], |_| f64::INFINITY),
        ("odd", vec![("kind", "minus")], |_| f64::NEG_INFINITY),
    ];
    for (pod, model) in [("p0", "llama"), ("p1", "llama"), ("p2", "qwen")] {
        all.push(("requests_total", vec![("pod", pod), ("model", model)], |at| {
            at as f64 * 3.5
        }));
        all.push(("queue", vec![("pod", pod), ("model", model)], |at| {
            (at % 7) as f64 - 2.0
        }));
    }
    for le in ["0.1", "1", "+Inf"] {
        all.push(("latency_bucket", vec![("pod", "p0"), ("le", le)], |at| at as f64));
    }
    all
}

fn time(number: i64) -> i64 {
    START + number * EVERY
}

/// The samples, for a Prometheus.
pub(crate) fn open_metrics() -> OpenMetrics {
    all_series()
        .into_iter()
        .fold(OpenMetrics::new(), |document, (name, labels, value)| {
            let samples: Vec<_> = (0..COUNT).map(|at| (time(at) as f64, value(at))).collect();
            document.series(name, &labels, &samples)
        })
}

/// The same in a window.
pub(crate) fn window() -> Window {
    let window = Window::new(WindowConfig::default());
    let mut appender = window.appender::<String, String>([]);
    let all = all_series();
    for number in 0..COUNT {
        let mut page = appender.scrape(Timestamp::from_millis(time(number) * 1_000));
        for (name, labels, value) in &all {
            let key = format!("{name}{labels:?}");
            let appended = page.append(&key, value(number), None, |into| {
                into.label("__name__", name);
                labels.iter().for_each(|(name, value)| into.label(name, value));
            });
            appended.unwrap();
        }
        page.commit();
    }
    window
}

/// A door that is open until it is dropped.
pub(crate) struct Door {
    pub(crate) addr: SocketAddr,
    pub(crate) api: PrometheusApi,
    stop: CancellationToken,
}

impl Door {
    /// Over [`window`].
    pub(crate) async fn open() -> Self {
        Self::over(window(), PrometheusApiConfig::default()).await
    }

    pub(crate) async fn over(window: Window, config: PrometheusApiConfig) -> Self {
        let api = PrometheusApi::new(config);
        let mut served = Served::default();
        served.series.push(Arc::new(window));
        api.serve(served);
        let listener = Listener::bind(([127, 0, 0, 1], 0).into(), None, Limits::default());
        let listener = listener.await.unwrap();
        let addr = listener.address().unwrap();
        let stop = CancellationToken::new();
        // As the daemon has it: programs ask the root, which is the dashboard's, whether somebody is there.
        let store = Store::new(Clock::system());
        let readiness = Readiness::new(store.clone(), Duration::ZERO);
        let json = Api::new(&Scheduler::new(store), readiness, CancellationToken::new());
        let root = dashboard::routes(json, api.clone(), &Access::open());
        let router = fallback::pages(Router::new(), dashboard::error_page)
            .merge(root)
            .merge(routes(api.clone()));
        tokio::spawn(listener.serve(router, stop.clone()));
        Self { addr, api, stop }
    }

    /// Asks with GET.
    pub(crate) fn get(&self, path: &str) -> (u16, Value) {
        ask(self.addr, "GET", path, None)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Asks, and reads the answer as JSON; null where it is none.
pub(crate) fn ask(addr: SocketAddr, method: &str, path: &str, form: Option<&str>) -> (u16, Value) {
    let form = form.unwrap_or_default();
    let content_type = match form {
        "" => "",
        _ => "Content-Type: application/x-www-form-urlencoded\r\n",
    };
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: {addr}\r\n{content_type}Content-Length: {}\r\n\r\n{form}",
        form.len()
    );
    let (status, _, body) = exchange(addr, request.as_bytes());
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

/// Sends these bytes and reads until the end: the status, the head, and the body.
pub(crate) fn exchange(addr: SocketAddr, request: &[u8]) -> (u16, String, Vec<u8>) {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    // Whoever is refused early may find the connection closed.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let end = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .expect("a head");
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.get(9..12).expect("a status").parse().unwrap();
    (status, head, answer[end + 4..].to_vec())
}
