use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

use fleetgauge_promql::window::WindowConfig;
use fleetgauge_testkit::{Prometheus, VictoriaMetrics};

use super::*;

/// A window with three samples of one series, and one with a marker as its newest; and when the newest are.
fn window() -> (Window, f64) {
    let window = Window::new(WindowConfig::default());
    let mut target = window.appender([("pod", "vllm-0")]);
    let now = Clock::system().wall().as_millis();
    for (at, names) in [
        (-2_000, &["x", "gone"][..]),
        (-1_000, &["x", "gone"]),
        (0, &["x"]),
    ] {
        let mut page = target.scrape(Timestamp::from_millis(now + at));
        for name in names {
            let value = 7.5 + at as f64;
            let appended = page.append(name, value, None, |labels| labels.label("__name__", name));
            appended.expect("there is room");
        }
        page.commit();
    }
    (window, now as f64 / 1000.0)
}

/// Sends all that `window` has to `url`, and ends.
fn send(url: &str, window: &Window) -> RemoteWriteStats {
    let config = RemoteWriteConfig::new(url).with_external_label("replica", "a");
    let remote = RemoteWrite::new(config, [window.clone()]).expect("a configuration");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(remote.run(async {}));
    remote.stats()
}

#[test]
fn a_prometheus_and_a_victoria_metrics_have_what_the_window_had() {
    let prometheus = Prometheus::builder()
        .flag("--web.enable-remote-write-receiver")
        .start()
        .expect("a Prometheus");
    let victoria = VictoriaMetrics::start().expect("a VictoriaMetrics");
    let (window, now) = window();
    for url in [prometheus.url(), victoria.url()] {
        let stats = send(&format!("{url}/api/v1/write"), &window);
        // With the marker.
        assert_eq!((stats.sent, stats.refused, stats.retries), (6, 0, 0), "{url}");
        assert!(stats.sent_until.is_some() && stats.pending == 0 && stats.lost_series == 0);
    }
    victoria.wait_for("x").expect("it becomes searchable");
    let value = |answer: &serde_json::Value| answer[0]["value"][1].clone();
    let mut answers = Vec::new();
    for (promql, at) in [
        (r#"x{pod="vllm-0", replica="a"}"#, now),
        ("x", now - 1.0),
        ("x", now - 2.0),
        ("gone", now - 1.0),
        ("gone", now),
    ] {
        let of_prometheus = prometheus.query(promql, Some(at)).expect("an answer");
        let of_victoria = victoria.query(promql, Some(at)).expect("an answer");
        assert_eq!(value(&of_prometheus), value(&of_victoria), "{promql} at {at}");
        answers.push(value(&of_prometheus));
    }
    let texts: Vec<_> = answers.iter().map(|value| value.as_str()).collect();
    assert_eq!(
        texts,
        [Some("7.5"), Some("-992.5"), Some("-1992.5"), Some("-992.5"), None]
    );
}

/// Answers one request after the other by these texts, without an answer where one is empty; gives their bodies back.
fn scripted(answers: &'static [&'static str]) -> (String, thread::JoinHandle<Vec<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!(
        "http://{}/api/v1/write",
        listener.local_addr().expect("an address")
    );
    let serving = thread::spawn(move || {
        let mut bodies = Vec::new();
        for answer in answers {
            let (mut connection, _) = listener.accept().expect("a connection");
            let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
            let body = loop {
                let count = connection.read(&mut buffer).expect("a request");
                read.extend_from_slice(&buffer[..count]);
                let Some(end) = read.windows(4).position(|part| part == b"\r\n\r\n") else {
                    continue;
                };
                let head = String::from_utf8_lossy(&read[..end]).to_lowercase();
                for header in [
                    "content-encoding: snappy",
                    "content-type: application/x-protobuf",
                    "version: 0.1.0",
                ] {
                    assert!(head.contains(header), "{head}");
                }
                let length = head.split("content-length: ").nth(1).expect("a length");
                let length: usize = length
                    .lines()
                    .next()
                    .unwrap_or_default()
                    .parse()
                    .expect("a number");
                if read.len() >= end + 4 + length {
                    break read[end + 4..].to_vec();
                }
            };
            bodies.push(body);
            connection.write_all(answer.as_bytes()).expect("an answer");
        }
        bodies
    });
    (url, serving)
}

#[test]
fn what_fails_is_sent_again_byte_by_byte_and_what_is_refused_is_told() {
    let (url, serving) = scripted(&[
        "",
        "HTTP/1.1 500 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        "HTTP/1.1 429 No\r\nretry-after: 0\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        "HTTP/1.1 401 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        "HTTP/1.1 204 Yes\r\nconnection: close\r\n\r\n",
    ]);
    let stats = send(&url, &window().0);
    assert_eq!(
        (stats.sent, stats.retries, stats.refused, stats.unconfirmed),
        (6, 4, 0, 0)
    );
    let bodies = serving.join().expect("no panic");
    assert!(!bodies[0].is_empty() && bodies.iter().all(|body| *body == bodies[0]));

    let (url, serving) = scripted(&["HTTP/1.1 400 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"]);
    let stats = send(&url, &window().0);
    assert_eq!(
        (stats.sent, stats.retries, stats.refused, stats.unconfirmed),
        (0, 0, 6, 0)
    );
    serving.join().expect("no panic");

    // The first try may have been taken.
    let (url, serving) = scripted(&[
        "",
        "HTTP/1.1 400 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    ]);
    let stats = send(&url, &window().0);
    assert_eq!(
        (stats.sent, stats.retries, stats.refused, stats.unconfirmed),
        (0, 1, 0, 6)
    );
    serving.join().expect("no panic");
}
