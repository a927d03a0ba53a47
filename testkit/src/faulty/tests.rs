//! Each behaviour, as a client sees it on the wire or through `reqwest`.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Once;
use std::time::{Duration, SystemTime};

use super::*;
use crate::tls::{Client, Server};
use crate::{Certificates, http};

const PAUSE: Duration = Duration::from_millis(1);

/// What one raw request gets until the connection ends.
fn wire(server: &FaultyServer) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(server.addr())?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(
        b"POST /api/v1/query HTTP/1.1\r\nConnection: close\r\nContent-Length: 8\r\n\r\nquery=up",
    )?;
    let mut out = Vec::new();
    stream.read_to_end(&mut out)?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

fn one(answer: Answer) -> FaultyServer {
    FaultyServer::start([answer]).unwrap()
}

fn client() -> reqwest::ClientBuilder {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    reqwest::Client::builder().no_proxy()
}

#[test]
fn what_is_on_the_wire() {
    let json = "Content-Type: application/json\r\n";
    let cases = [
        (
            Answer::respond(418, &[("X-A", "b")], "c"),
            "HTTP/1.1 418 Whatever\r\nX-A: b\r\nContent-Length: 1\r\nConnection: close\r\n\r\nc".to_owned(),
        ),
        (
            Answer::status(429).retry_after_seconds(7),
            "HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/plain\r\nRetry-After: 7\r\n\
             Content-Length: 11\r\nConnection: close\r\n\r\nstatus 429\n"
                .to_owned(),
        ),
        (
            Answer::redirect_loop(),
            "HTTP/1.1 307 Temporary Redirect\r\nLocation: /api/v1/query\r\nContent-Length: 0\r\n\
             Connection: close\r\n\r\n"
                .to_owned(),
        ),
        (
            Answer::truncated("{}"),
            format!("HTTP/1.1 200 OK\r\n{json}Content-Length: 102\r\nConnection: close\r\n\r\n{{}}"),
        ),
        (
            Answer::truncated_chunk("{}"),
            format!(
                "HTTP/1.1 200 OK\r\n{json}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n66\r\n{{}}"
            ),
        ),
        (
            Answer::drip("{}", PAUSE),
            format!(
                "HTTP/1.1 200 OK\r\n{json}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
                 1\r\n{{\r\n1\r\n}}\r\n0\r\n\r\n"
            ),
        ),
        (
            Answer::malformed_http(),
            "HTP/9.9 whatever\r\nno colon here\r\n\r\n".to_owned(),
        ),
        (Answer::close(), String::new()),
    ];
    for (answer, expected) in cases {
        let server = one(answer.clone());
        assert_eq!(wire(&server).unwrap(), expected, "{answer:?}");
    }
}

#[test]
fn bodies_are_what_they_say() {
    let body = |answer| String::from_utf8(http::get(one(answer).addr(), "/").unwrap().body).unwrap();
    assert_eq!(
        body(Answer::vector(
            1.5,
            &[(&[("pod", "a")], f64::INFINITY), (&[], 2.0)]
        )),
        r#"{"data":{"result":[{"metric":{"pod":"a"},"value":[1.5,"+Inf"]},{"metric":{},"value":[1.5,"2"]}],"resultType":"vector"},"status":"success"}"#
    );
    assert!(body(Answer::error_in_200()).contains(r#""status":"error""#));
    assert!(serde_json::from_str::<serde_json::Value>(&body(Answer::malformed_json())).is_err());
    assert!(body(Answer::html_page()).starts_with("<!doctype html>"));
    let error = http::get(
        one(Answer::prometheus_error(422, "execution", "too many")).addr(),
        "/",
    )
    .unwrap();
    assert_eq!(error.status, 422);
    assert_eq!(
        error.text(),
        r#"{"error":"too many","errorType":"execution","status":"error"}"#
    );
    let epoch = http::get(
        one(Answer::status(503).retry_after_date(SystemTime::UNIX_EPOCH)).addr(),
        "/",
    )
    .unwrap();
    assert!(epoch.head.contains("Retry-After: Thu, 01 Jan 1970 00:00:00 GMT"));
}

#[test]
fn resets_reset_and_a_refused_address_refuses() {
    let server = one(Answer::reset());
    assert_eq!(wire(&server).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(server.counters().requests, 1);

    let server = FaultyServer::start([Answer::reset_on_accept(), Answer::close()]).unwrap();
    let kind = wire(&server).unwrap_err().kind();
    assert!(
        matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
        "{kind}"
    );
    assert_eq!(
        (server.counters().connections, server.counters().requests),
        (1, 0)
    );
    assert_eq!(wire(&server).unwrap(), "");

    let refused = Refused::new().unwrap();
    let error = TcpStream::connect(refused.addr()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn hanging_and_endless_answers_notice_that_the_client_left() {
    for answer in [
        Answer::hang(),
        Answer::drip_forever(PAUSE),
        Answer::status(200).gated(&Gate::new()),
    ] {
        let server = one(answer.clone());
        let mut stream = TcpStream::connect(server.addr()).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let during = server.until_blocking(|counters| counters.requests == 1).unwrap();
        assert_eq!((during.in_flight, during.abandoned), (1, 0), "{answer:?}");
        drop(stream);
        server
            .until_blocking(|counters| counters.in_flight == 0 && counters.abandoned == 1)
            .unwrap();
    }
}

#[tokio::test]
async fn a_script_goes_in_order_and_its_last_answer_repeats() {
    let server =
        FaultyServer::start([Answer::status(500), Answer::status(502), Answer::text("a 1\n")]).unwrap();
    let client = client().build().unwrap();
    let mut seen = Vec::new();
    for at in 0..4 {
        let response = client
            .post(format!("{}/{at}", server.url()))
            .body("x")
            .send()
            .await
            .unwrap();
        seen.push(response.status().as_u16());
        response.bytes().await.unwrap();
    }
    assert_eq!(seen, [500, 502, 200, 200]);
    let counters = server.counters();
    assert_eq!(
        (counters.connections, counters.requests, counters.peak_in_flight),
        (1, 4, 1)
    );
    let last = &server.requests()[3];
    assert_eq!(
        (
            last.method.as_str(),
            last.target.as_str(),
            last.body_text().as_str()
        ),
        ("POST", "/3", "x")
    );
    assert_eq!(last.header("HOST"), Some(server.addr().to_string().as_str()));
    server.set_script([Answer::status(404)]).unwrap();
    assert_eq!(
        client.get(server.url()).send().await.unwrap().status().as_u16(),
        404
    );
}

#[tokio::test]
async fn a_gate_holds_answers_until_it_opens() {
    let gate = Gate::new();
    let server = one(Answer::json("{}").gated(&gate));
    let client = client().build().unwrap();
    let asking: Vec<_> = (0..3)
        .map(|_| tokio::spawn(client.get(server.url()).send()))
        .collect();
    let counters = server.until(|counters| counters.requests == 3).await.unwrap();
    assert_eq!((counters.in_flight, counters.peak_in_flight), (3, 3));
    gate.pass(1);
    server.until(|counters| counters.in_flight == 2).await.unwrap();
    gate.open();
    for asked in asking {
        assert_eq!(asked.await.unwrap().unwrap().status().as_u16(), 200);
    }
    assert_eq!(
        client.get(server.url()).send().await.unwrap().status().as_u16(),
        200
    );
}

#[tokio::test]
async fn large_answers_are_good_answers_for_who_has_no_bound() {
    const MIB: usize = 1 << 20;
    let answers = [
        Answer::oversized(2 * MIB),
        Answer::oversized_announced(2 * MIB),
        Answer::gzip_bomb(2 * MIB),
        Answer::json(format!("\"{}\"", "a".repeat(3 * MIB))).gzipped(),
    ];
    for answer in answers {
        let server = one(answer);
        let body = client()
            .build()
            .unwrap()
            .get(server.url())
            .send()
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap();
        assert!(body.len() > 2 * MIB);
        serde_json::from_slice::<serde_json::Value>(&body).unwrap();
    }
}

#[tokio::test]
async fn redirects_are_followed_to_where_they_point() {
    let other = one(Answer::json("{}"));
    let server = FaultyServer::start([
        Answer::redirect(302, "/same"),
        Answer::redirect(307, &format!("{}/other", other.url())),
        Answer::redirect_loop(),
    ])
    .unwrap();
    let client = client().build().unwrap();
    assert_eq!(
        client.get(server.url()).send().await.unwrap().status().as_u16(),
        200
    );
    assert_eq!(server.requests()[1].target, "/same");
    assert_eq!(other.requests()[0].target, "/other");
    assert!(client.get(server.url()).send().await.unwrap_err().is_redirect());
}

#[tokio::test]
async fn a_choice_sees_the_request() {
    let server = one(Answer::choose(|request| match request.header("authorization") {
        Some("Bearer new") => Answer::json("{}"),
        _ => Answer::status(401),
    }));
    let client = client().build().unwrap();
    for (token, status) in [("old", 401), ("new", 200)] {
        let response = client.get(server.url()).bearer_auth(token).send().await.unwrap();
        assert_eq!(response.status().as_u16(), status);
    }
}

#[tokio::test]
async fn tls_accepts_the_valid_and_only_the_valid() {
    let certificates = Certificates::generate().unwrap();
    let root = reqwest::Certificate::from_pem(&std::fs::read(certificates.ca()).unwrap()).unwrap();
    let client = client().tls_certs_only([root]).build().unwrap();
    let cases = [
        (Server::Valid, true),
        (Server::WrongName, false),
        (Server::Expired, false),
        (Server::WrongCa, false),
    ];
    for (kind, accepted) in cases {
        let config = certificates.server_config(kind).unwrap();
        let server = FaultyServer::start_tls([Answer::json("{}")], config).unwrap();
        assert_eq!(
            client.get(server.url()).send().await.is_ok(),
            accepted,
            "{kind:?}"
        );
        server
            .until(|counters| counters.failed_handshakes == u64::from(!accepted))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_required_client_certificate_is_required() {
    let certificates = Certificates::generate().unwrap();
    let config = certificates.server_config_requiring_client().unwrap();
    let server = FaultyServer::start_tls([Answer::json("{}")], config).unwrap();
    let cases = [
        (None, false),
        (Some(Client::Valid), true),
        (Some(Client::Expired), false),
        (Some(Client::WrongCa), false),
    ];
    for (kind, accepted) in cases {
        let root = reqwest::Certificate::from_pem(&std::fs::read(certificates.ca()).unwrap()).unwrap();
        let mut builder = client().tls_certs_only([root]);
        if let Some(kind) = kind {
            let identity = certificates.client(kind).unwrap();
            let pem = [
                std::fs::read(identity.cert).unwrap(),
                std::fs::read(identity.key).unwrap(),
            ]
            .concat();
            builder = builder.identity(reqwest::Identity::from_pem(&pem).unwrap());
        }
        let asked = builder.build().unwrap().get(server.url()).send().await;
        assert_eq!(asked.is_ok(), accepted, "{kind:?}");
    }
    assert!(server.requests()[0].client_certificate.is_some());
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn dropping_the_server_ends_its_connections() {
    let server = one(Answer::hang());
    let mut stream = TcpStream::connect(server.addr()).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    server.until_blocking(|counters| counters.in_flight == 1).unwrap();
    let addr = server.addr();
    drop(server);
    let mut out = Vec::new();
    let _ = stream.read_to_end(&mut out);
    assert!(out.is_empty());
    assert_eq!(
        TcpStream::connect(addr).unwrap_err().kind(),
        ErrorKind::ConnectionRefused
    );
}
