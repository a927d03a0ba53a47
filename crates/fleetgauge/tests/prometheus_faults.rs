//! What each fault of a server yields: the table in `docs/faults.md`, held in step with the code.
//!
//! Every row is produced here and compared with the document. To write the document anew:
//! `FLEETGAUGE_WRITE_DOCS=1 cargo test -p fleetgauge --test it prometheus_faults`.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, SystemTime};

use fleetgauge::prometheus::PrometheusSourceConfig;
use fleetgauge_core::backend::FetchError;
use fleetgauge_core::query::QueryTemplate;
use fleetgauge_core::result::Answer as Values;
use fleetgauge_core::source::{MetricsSource, RefreshSpec, RetryPolicy};
use fleetgauge_testkit::tls::{Client, Server};
use fleetgauge_testkit::{Answer, Certificates, FaultyServer, Refused};

/// Long enough that only a fault that hangs can reach it.
const PATIENT: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(300);
const MIB: usize = 1 << 20;

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/faults.md");
const HEAD: &str = "| fault | outcome | tried again | what the error says |\n|---|---|---|---|\n";

struct Row {
    fault: &'static str,
    outcome: Result<Values, FetchError>,
    /// What differs from run to run, and what stands for it.
    variable: Vec<(String, &'static str)>,
}

impl Row {
    fn line(&self) -> String {
        let (outcome, again, mut says) = match &self.outcome {
            Ok(values) if values.is_complete() => (format!("{} value", values.len()), "", String::new()),
            Ok(values) => {
                let warnings: Vec<_> = values.warnings().collect();
                (
                    format!("{} value, incomplete", values.len()),
                    "",
                    warnings.join("; "),
                )
            }
            Err(error) => {
                let again = if error.is_retryable() { "yes" } else { "no" };
                (format!("`{}`", error.reason()), again, error.to_string())
            }
        };
        for (from, to) in &self.variable {
            says = says.replace(from, to);
        }
        assert!(!says.contains("hunter2"), "{says}");
        let says = if says.is_empty() {
            says
        } else {
            format!("`{says}`")
        };
        format!("| {} | {outcome} | {again} | {says} |\n", self.fault).replace("  ", " ")
    }
}

/// One query, asked once of a source as users have it.
async fn ask(config: PrometheusSourceConfig, timeout: Duration) -> Result<Values, FetchError> {
    let source = config
        .with_bearer_token("hunter2")
        .with_header("X-Scope-OrgID", "hunter2")
        .with_query_timeout(timeout)
        .with_retry(RetryPolicy::never())
        .build()
        .unwrap();
    source
        .query_list()
        .must_register(QueryTemplate::promql("q", "up"));
    match &source.refresh(RefreshSpec::all()).await["q"] {
        Ok(result) => Ok(result.answer().clone()),
        Err(error) => Err(error.fetch_error().unwrap().clone()),
    }
}

fn config(server: &FaultyServer) -> PrometheusSourceConfig {
    PrometheusSourceConfig::new(server.url()).with_max_answer_bytes(MIB)
}

/// A server that answers so, asked once.
async fn answered(fault: &'static str, answer: Answer, timeout: Duration) -> Row {
    let server = FaultyServer::start([answer]).unwrap();
    let outcome = ask(config(&server), timeout).await;
    Row {
        fault,
        outcome,
        variable: vec![(server.addr().to_string(), "HOST:PORT")],
    }
}

/// A server behind TLS, asked once by a client that trusts its authority.
async fn encrypted(
    fault: &'static str,
    certificates: &Certificates,
    server: rustls::ServerConfig,
    configure: impl FnOnce(PrometheusSourceConfig) -> PrometheusSourceConfig,
) -> Row {
    let server = FaultyServer::start_tls([good()], server).unwrap();
    let config = configure(config(&server).with_ca_file(certificates.ca()));
    let outcome = ask(config, PATIENT).await;
    Row {
        fault,
        outcome,
        variable: vec![(server.addr().to_string(), "HOST:PORT")],
    }
}

fn good() -> Answer {
    Answer::vector(1763930000.5, &[(&[("pod", "a")], 1.0)])
}

/// Answers its first connection, whatever comes, as servers do that expected plain HTTP.
fn plain_server() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        let _ = connection.read(&mut [0; 4096]);
        let _ = connection.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    });
    addr
}

async fn rows() -> Vec<Row> {
    let mut rows = Vec::new();

    let refused = Refused::new().unwrap();
    rows.push(Row {
        fault: "nobody listens",
        outcome: ask(PrometheusSourceConfig::new(refused.url()), PATIENT).await,
        variable: vec![(refused.addr().to_string(), "HOST:PORT")],
    });

    let body = r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;
    let values = body.replace("[]", r#"[{"metric":{"pod":"a"},"value":[1,"1"]}]"#);
    let with = |notes: &str, body: &str| Answer::json(body.replacen('{', &format!("{{{notes},"), 1));
    let matrix = r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#;
    let partial = r#""isPartial":true"#;
    let warned = r#""warnings":["receive series from Addr: 10.0.0.9:10901: context deadline exceeded"]"#;
    let in_an_hour = SystemTime::now() + Duration::from_secs(7200);
    for (fault, answer, timeout) in [
        (
            "connection reset when it is made",
            Answer::reset_on_accept(),
            PATIENT,
        ),
        ("connection reset after the request", Answer::reset(), PATIENT),
        ("connection closed without an answer", Answer::close(), PATIENT),
        ("no answer", Answer::hang(), SHORT),
        (
            "answer that drips in for ever",
            Answer::drip_forever(Duration::from_millis(5)),
            SHORT,
        ),
        (
            "answer that ends before its `Content-Length`",
            Answer::truncated(body),
            PATIENT,
        ),
        (
            "answer that ends in a chunk",
            Answer::truncated_chunk(body),
            PATIENT,
        ),
        ("no HTTP", Answer::malformed_http(), PATIENT),
        ("broken JSON", Answer::malformed_json(), PATIENT),
        ("JSON that ends too early", Answer::json(&body[..50]), PATIENT),
        (
            "JSON that goes on",
            Answer::json(format!("{body} {body}")),
            PATIENT,
        ),
        (
            "JSON of something else",
            Answer::json(r#"{"version":"1.0"}"#),
            PATIENT,
        ),
        (
            "number that is none",
            Answer::json(body.replace("[]", r#"[{"metric":{},"value":[1,"one"]}]"#)),
            PATIENT,
        ),
        ("empty body", Answer::json(""), PATIENT),
        ("login page", Answer::html_page(), PATIENT),
        (
            "other content type",
            Answer::respond(200, &[("Content-Type", "application/x-protobuf")], body),
            PATIENT,
        ),
        (
            "answer too large, announced",
            Answer::oversized_announced(8 * MIB),
            PATIENT,
        ),
        ("answer too large, in chunks", Answer::oversized(8 * MIB), PATIENT),
        ("decompression bomb", Answer::gzip_bomb(64 * MIB), PATIENT),
        (
            "compressed answer that is broken",
            Answer::json(body).header("Content-Encoding", "gzip"),
            PATIENT,
        ),
        (
            "compressed answer that does not say so",
            Answer::json(body).gzipped().without_header("Content-Encoding"),
            PATIENT,
        ),
        (
            "compression not asked for",
            Answer::json(body).header("Content-Encoding", "br"),
            PATIENT,
        ),
        ("redirects in a circle", Answer::redirect_loop(), PATIENT),
        (
            "redirect to another host",
            Answer::redirect(307, "https://login.example/?back=/"),
            PATIENT,
        ),
        (
            "redirect with a user in the URL",
            Answer::choose(|request| {
                let host = request.header("host").unwrap_or_default();
                Answer::redirect(302, &format!("http://admin:hunter2@{host}/api/v1/query"))
            }),
            PATIENT,
        ),
        ("redirect to nowhere", Answer::redirect(302, ""), PATIENT),
        (
            "400",
            Answer::prometheus_error(400, "bad_data", "1:3: parse error: unexpected end of input"),
            PATIENT,
        ),
        ("401", Answer::status(401), PATIENT),
        (
            "403",
            Answer::prometheus_error(403, "forbidden", "no access to this tenant"),
            PATIENT,
        ),
        ("404, as with a wrong path prefix", Answer::status(404), PATIENT),
        (
            "422",
            Answer::prometheus_error(422, "execution", "query processing would load too many samples"),
            PATIENT,
        ),
        ("429", Answer::status(429), PATIENT),
        (
            "429 with `Retry-After` in seconds",
            Answer::status(429).retry_after_seconds(7),
            PATIENT,
        ),
        (
            "429 with `Retry-After` as a date far away",
            Answer::status(429).retry_after_date(in_an_hour),
            PATIENT,
        ),
        ("500", Answer::status(500), PATIENT),
        ("502", Answer::status(502), PATIENT),
        (
            "503",
            Answer::prometheus_error(503, "timeout", "query timed out in expression evaluation"),
            PATIENT,
        ),
        (
            "503 with `Retry-After`",
            Answer::status(503).retry_after_seconds(2),
            PATIENT,
        ),
        ("504", Answer::status(504), PATIENT),
        ("error in a 200", Answer::error_in_200(), PATIENT),
        (
            "error beside a success",
            with(r#""error":"a store did not answer""#, &values),
            PATIENT,
        ),
        ("range vector", Answer::json(matrix), PATIENT),
        (
            "partial answer of VictoriaMetrics",
            with(partial, &values),
            PATIENT,
        ),
        (
            "partial answer of VictoriaMetrics, empty",
            with(partial, body),
            PATIENT,
        ),
        (
            "warning of Thanos, Cortex or Prometheus that something did not answer",
            with(warned, &values),
            PATIENT,
        ),
        ("the same beside an empty answer", with(warned, body), PATIENT),
        (
            "the same without a text",
            with(r#""warnings":[""]"#, body),
            PATIENT,
        ),
        (
            "error that repeats the token",
            Answer::prometheus_error(400, "bad_data", "bad header hunter2"),
            PATIENT,
        ),
    ] {
        rows.push(answered(fault, answer, timeout).await);
    }
    // Who is reset before it has written anything may see that the connection is closed, and not why.
    let reset = rows
        .iter_mut()
        .find(|row| row.fault == "connection reset when it is made");
    let closed = (
        "the connection was closed".to_owned(),
        "the connection was reset by the server",
    );
    reset.unwrap().variable.push(closed);

    let certificates = Certificates::generate().unwrap();
    for (fault, kind) in [
        ("certificate by another authority", Server::WrongCa),
        ("certificate for another name", Server::WrongName),
        ("certificate that has expired", Server::Expired),
    ] {
        let server = certificates.server_config(kind).unwrap();
        rows.push(encrypted(fault, &certificates, server, |config| config).await);
    }
    let plain = plain_server();
    let url = format!("https://{plain}");
    rows.push(Row {
        fault: "no TLS where `https` was asked for",
        outcome: ask(
            PrometheusSourceConfig::new(url).with_ca_file(certificates.ca()),
            PATIENT,
        )
        .await,
        variable: vec![(plain.to_string(), "HOST:PORT")],
    });
    let requiring = || certificates.server_config_requiring_client().unwrap();
    rows.push(
        encrypted(
            "client certificate missing",
            &certificates,
            requiring(),
            |config| config,
        )
        .await,
    );
    for (fault, kind) in [
        ("client certificate that has expired", Client::Expired),
        ("client certificate by another authority", Client::WrongCa),
        ("client certificate that is valid", Client::Valid),
    ] {
        let client = certificates.client(kind).unwrap();
        let row = encrypted(fault, &certificates, requiring(), |config| {
            config.with_client_cert(client.cert, client.key)
        });
        rows.push(row.await);
    }
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_yields_what_the_document_says() {
    let table: String = rows().await.iter().map(Row::line).collect();
    let document = std::fs::read_to_string(DOCUMENT).unwrap();
    let (before, rest) = document.split_once(HEAD).unwrap();
    let end = rest.find("\n\n").map_or(rest.len(), |end| end + 1);
    if std::env::var_os("FLEETGAUGE_WRITE_DOCS").is_some() {
        std::fs::write(DOCUMENT, format!("{before}{HEAD}{table}{}", &rest[end..])).unwrap();
        return;
    }
    let documented = &rest[..end];
    for (actual, documented) in table.lines().zip(documented.lines()) {
        assert_eq!(actual, documented);
    }
    assert_eq!(table.lines().count(), documented.lines().count());
}
