//! Connections of a door that say nothing, or half of what they mean.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use fleetgauge_server::door::listener::{Limits, Listener};
use tokio_util::sync::CancellationToken;

use crate::support::door::exchange;

/// They would otherwise keep everybody else outside.
#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_is_cut_and_makes_room() {
    let mut limits = Limits::default();
    limits.max_connections = 4;
    limits.head_timeout = Duration::from_millis(300);
    let listener = Listener::bind(([127, 0, 0, 1], 0).into(), None, limits)
        .await
        .unwrap();
    let (address, counts) = (listener.address().unwrap(), listener.counts());
    let stop = CancellationToken::new();
    let router = Router::new().route("/", get(|| async { "here" }));
    let served = tokio::spawn(listener.serve(router, stop.clone()));
    let silent: Vec<TcpStream> = ["", "PRI * HTTP/2", "GET / HT", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
        .iter()
        .cycle()
        .take(40)
        .map(|said| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(said.as_bytes()).unwrap();
            stream
        })
        .collect();
    let (status, _, body) = exchange(address, b"GET / HTTP/1.0\r\nHost: x\r\n\r\n");
    assert_eq!((status, &body[..]), (200, &b"here"[..]));
    for mut stream in silent {
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut rest = Vec::new();
        // Closed, be it with a goodbye or without.
        if let Err(error) = stream.read_to_end(&mut rest) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        }
    }
    stop.cancel();
    served.await.unwrap();
    assert_eq!(counts.open(), 0);
}
