//! Clients that misbehave.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, Version};
use fleetgauge_core::time::Clock;
use fleetgauge_server::door::keda::KedaConfig;
use fleetgauge_server::readiness::Readiness;
use fleetgauge_server::scheduler::Scheduler;
use fleetgauge_server::store::Store;
use futures_util::future::join_all;
use futures_util::stream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tower::ServiceExt as _;

use super::{Door, h100, numbers, routes, until, until_number};

#[tokio::test]
async fn a_client_that_misbehaves_costs_the_others_nothing() {
    let mut config = KedaConfig::default();
    config.max_streams = 8;
    let door = Door::with(config, None).await;
    until_number(&door, &h100("queue"), 2.5).await;
    let mut scaler = door.scaler().await;

    // Too large to be read.
    let mut large = h100("queue");
    large
        .scaler_metadata
        .insert("comment".to_owned(), "x".repeat(64 << 10));
    let status = door.scaler().await.is_active(large).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status}");
    assert_eq!(numbers(&mut scaler, &h100("queue")).await.unwrap(), (3, 2.5));

    // Streams that are taken back as soon as they are asked for, until the connection is cut.
    let storms = (0..4).map(|_| reset_storm(door.address));
    let asking = async {
        for _ in 0..50 {
            assert_eq!(numbers(&mut scaler, &h100("queue")).await.unwrap(), (3, 2.5));
        }
    };
    tokio::join!(join_all(storms), asking);
    // They have left nothing open.
    let asked = scaler.clone();
    let ask = || async {
        let open = (0..8).map(|_| {
            let mut scaler = asked.clone();
            async move { scaler.stream_is_active(h100("queue")).await }
        });
        join_all(open).await.into_iter().collect::<Result<Vec<_>, _>>()
    };
    until(&door, ask, Result::is_ok).await.unwrap();
    door.close().await;
}

/// Opens streams and resets each at once, 20,000 of them, or until the server no longer wants to hear of it.
async fn reset_storm(address: SocketAddr) {
    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        frame
    }
    const HEADERS: u8 = 1;
    const RST_STREAM: u8 = 3;
    const SETTINGS: u8 = 4;
    const END_HEADERS: u8 = 4;
    const CANCEL: u32 = 8;
    // `:method: POST` and `:scheme: http` of the static table, then a path and the type of the content.
    let mut head = vec![0x83, 0x86];
    for (name, value) in [
        (&[0x04][..], "/externalscaler.ExternalScaler/StreamIsActive"),
        (&[0x01], "localhost"),
        (&[0x0f, 0x10], "application/grpc"),
    ] {
        head.extend(name);
        head.push(u8::try_from(value.len()).unwrap());
        head.extend(value.bytes());
    }
    let (mut reader, mut writer) = TcpStream::connect(address).await.unwrap().into_split();
    let mut drain = tokio::spawn(async move {
        let mut buffer = [0; 4_096];
        while reader.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
    });
    let mut begin = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    begin.extend(frame(SETTINGS, 0, 0, &[]));
    writer.write_all(&begin).await.unwrap();
    for chunk in 0..200 {
        let mut frames = Vec::new();
        for at in 0..100 {
            let stream = 2 * (chunk * 100 + at) + 1;
            frames.extend(frame(HEADERS, END_HEADERS, stream, &head));
            frames.extend(frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes()));
        }
        if writer.write_all(&frames).await.is_err() {
            break;
        }
    }
    let cut = tokio::time::timeout(Duration::from_secs(10), &mut drain).await;
    assert!(cut.is_ok(), "the connection goes on");
}

#[tokio::test(start_paused = true)]
async fn half_a_request_is_not_waited_for_and_http_1_is_refused() {
    let scheduler = Scheduler::new(Store::new(Clock::system()));
    let readiness = Readiness::new(scheduler.store().clone(), Duration::ZERO);
    let routes = routes(
        &scheduler,
        &readiness,
        KedaConfig::default(),
        &CancellationToken::new(),
    );
    let half = |version: Version, timeout: Option<&str>| {
        let mut request = Request::post("/externalscaler.ExternalScaler/GetMetrics")
            .version(version)
            .header("content-type", "application/grpc");
        if let Some(timeout) = timeout {
            request = request.header("grpc-timeout", timeout);
        }
        let never = stream::pending::<Result<Vec<u8>, std::io::Error>>();
        routes
            .clone()
            .oneshot(request.body(Body::from_stream(never)).unwrap())
    };
    for (timeout, expected, within) in [
        (None, Code::DeadlineExceeded, Duration::from_secs(10)),
        (Some("200m"), Code::DeadlineExceeded, Duration::from_millis(200)),
        (Some("1H"), Code::DeadlineExceeded, Duration::from_secs(10)),
        (Some("soon"), Code::InvalidArgument, Duration::ZERO),
    ] {
        let since = tokio::time::Instant::now();
        let response = half(Version::HTTP_2, timeout).await.unwrap();
        let status = Status::from_header_map(response.headers()).unwrap();
        assert_eq!(status.code(), expected, "{timeout:?}: {status}");
        let waited = since.elapsed();
        assert!(
            waited >= within && waited < within + Duration::from_millis(100),
            "{waited:?}"
        );
    }
    let response = half(Version::HTTP_11, None).await.unwrap();
    assert_eq!(response.status(), StatusCode::HTTP_VERSION_NOT_SUPPORTED);
}
