//! What goes over the wire, seen from a scripted server: forms, headers, credentials, connections.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::time::Duration;

use fleetgauge::prometheus::{
    Auth, PrometheusBackend, PrometheusSource, PrometheusSourceConfig, QueryMethod,
};
use fleetgauge_core::backend::{self, Backend, FetchError};
use fleetgauge_core::cache::Lookup;
use fleetgauge_core::params::Params;
use fleetgauge_core::query::{QueryTemplate, QueryType, Shape};
use fleetgauge_core::result::Answer as Values;
use fleetgauge_core::source::{MetricsSource, RefreshSpec};
use fleetgauge_core::time::Timestamp;
use fleetgauge_testkit::faulty::Request;
use fleetgauge_testkit::tls::{Client, Server};
use fleetgauge_testkit::{Answer, Certificates, FaultyServer};

const PATIENT: Duration = Duration::from_secs(30);

fn good() -> Answer {
    Answer::vector(1763930000.5, &[(&[("pod", "a")], 1.0)])
}

fn query(text: &str) -> backend::Request {
    backend::Request::new("q".parse().unwrap(), QueryType::PromQl, text, PATIENT)
}

async fn fetch(config: PrometheusSourceConfig) -> Result<Values, FetchError> {
    PrometheusBackend::new(&config).unwrap().fetch(&query("up")).await
}

fn serve(answer: Answer) -> (FaultyServer, PrometheusSourceConfig) {
    let server = FaultyServer::start([answer]).unwrap();
    let config = PrometheusSourceConfig::new(server.url());
    (server, config)
}

#[tokio::test]
async fn a_query_is_posted_as_a_form() {
    let (server, config) = serve(good());
    let config = config
        .with_url(format!(
            "{}/prefix/",
            server.url().replace("://", "://us%C3%A9r:pa%3Ass@")
        ))
        .with_header("X-Scope-OrgID", "team-a|team-b")
        .with_header("User-Agent", "mine")
        .with_query_param("dedup", "true");
    let answer = fetch(config).await.unwrap();
    assert_eq!(
        answer.values().next().unwrap().to_string(),
        r#"{pod="a"} => 1 @[1763930000.5]"#
    );
    let request = &server.requests()[0];
    assert_eq!(
        (&*request.method, &*request.target),
        ("POST", "/prefix/api/v1/query")
    );
    assert_eq!(request.body_text(), "query=up&timeout=30.000&dedup=true");
    for (name, expected) in [
        ("content-type", Some("application/x-www-form-urlencoded")),
        ("accept", Some("application/json")),
        ("accept-encoding", Some("gzip")),
        ("x-scope-orgid", Some("team-a|team-b")),
        ("user-agent", Some("mine")),
        // `usér:pa:ss`
        ("authorization", Some("Basic dXPDqXI6cGE6c3M=")),
        ("cookie", None),
    ] {
        assert_eq!(request.header(name), expected, "{name}");
    }
}

#[tokio::test]
async fn get_takes_over_where_post_is_refused_and_is_remembered() {
    for refusal in [403, 405, 501] {
        let by_method = move |request: &Request| match &*request.method {
            "POST" => Answer::status(refusal),
            _ => good(),
        };
        let (server, config) = serve(Answer::choose(by_method));
        let backend = PrometheusBackend::new(&config.with_query_param("a", "b c")).unwrap();
        for _ in 0..2 {
            backend.fetch(&query("x{y=\"z\"}")).await.unwrap();
        }
        let seen: Vec<_> = server
            .requests()
            .iter()
            .map(|r| format!("{} {}", r.method, r.target))
            .collect();
        let get = "GET /api/v1/query?query=x%7By%3D%22z%22%7D&timeout=30.000&a=b+c";
        assert_eq!(seen, ["POST /api/v1/query", get, get]);
        assert_eq!(server.requests()[1].body_text(), "");
        assert_eq!(server.requests()[1].header("content-type"), None);
    }
}

/// The method, redirects and faults of a range are those of an instant query.
#[tokio::test]
async fn a_range_is_asked_for_at_its_own_path() {
    // A point at either end of what is asked for.
    let matrix = |target: &str| {
        let time = |name: &str| {
            let (_, after) = target.split_once(name).unwrap();
            after.split_once('&').unwrap().0.to_owned()
        };
        let (start, end) = (time("&start="), time("&end="));
        format!(
            r#"{{"status":"success","data":{{"resultType":"matrix","result":[
                {{"metric":{{"pod":"a"}},"values":[[{start},"1"],[{end},"2"]]}}]}}}}"#
        )
    };
    let answers = move |request: &Request| match (&*request.method, &*request.target) {
        ("POST", _) => Answer::status(405),
        (_, target) if target.starts_with("/p/api/v1/query_range?") => Answer::json(matrix(target)),
        _ => Answer::status(404),
    };
    let (server, config) = serve(Answer::choose(answers));
    let config = config.with_url(format!("{}/p", server.url()));
    let source = PrometheusSource::new(config).unwrap();
    source
        .query_list()
        .must_register(QueryTemplate::promql("q", "up"));
    let seconds = Duration::from_secs;
    let spec = || RefreshSpec::queries(["q"]).range(seconds(15), seconds(15));
    let at = Timestamp::from_millis(15_000);
    let results = source.refresh(spec().at(at)).await;
    let series = results["q"].as_ref().unwrap().answer().series().next().unwrap();
    let points: Vec<_> = series
        .points()
        .map(|p| (p.timestamp.as_millis(), p.value))
        .collect();
    assert_eq!(points, [(0, 1.0), (15_000, 2.0)]);
    let target = &server.requests()[1].target;
    let asked = "/p/api/v1/query_range?query=up&start=0.000&end=15.000&step=15.000&timeout=";
    assert!(target.starts_with(asked), "{target}");

    // Nothing was kept of a given time; now is, and in its own shape.
    let shape = Shape::Range {
        window: seconds(15),
        step: seconds(15),
    };
    let lookup = || source.lookup_shape("q", &Params::new(), shape);
    assert!(matches!(lookup(), Lookup::NeverRefreshed));
    assert!(source.refresh(spec()).await.is_complete());
    assert!(matches!(lookup(), Lookup::Value(_)));
    assert!(source.get("q", &Params::new()).is_none());
    let wrong = source.refresh(RefreshSpec::queries(["q"])).await;
    let message = wrong["q"].as_ref().unwrap_err().to_string();
    assert!(message.contains("/p/api/v1/query (404)"), "{message}");
}

#[tokio::test]
async fn a_refusal_that_is_not_of_post_is_told_and_not_remembered() {
    let (server, config) = serve(Answer::status(403));
    let backend = PrometheusBackend::new(&config).unwrap();
    for _ in 0..2 {
        assert_eq!(
            backend.fetch(&query("up")).await.unwrap_err().reason(),
            "unauthorized"
        );
    }
    let methods: Vec<_> = server.requests().iter().map(|r| r.method.clone()).collect();
    assert_eq!(methods, ["POST", "GET", "POST", "GET"]);
}

#[tokio::test]
async fn the_method_can_be_told() {
    for (method, expected) in [(QueryMethod::Get, "GET"), (QueryMethod::Post, "POST")] {
        let (server, config) = serve(Answer::status(405));
        fetch(config.with_method(method)).await.unwrap_err();
        let methods: Vec<_> = server.requests().iter().map(|r| r.method.clone()).collect();
        assert_eq!(methods, [expected]);
    }
    assert_eq!("get".parse(), Ok(QueryMethod::Get));
    assert_eq!("POST".parse(), Ok(QueryMethod::Post));
    assert_eq!("auto".parse(), Ok(QueryMethod::Auto));
    let error = "PUT".parse::<QueryMethod>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "\"PUT\" is not a method of queries; use POST, GET or auto"
    );
}

#[tokio::test]
async fn another_refusal_than_of_post_is_not_asked_again() {
    for status in [401, 404, 500] {
        let (server, config) = serve(Answer::status(status));
        fetch(config).await.unwrap_err();
        assert_eq!(server.counters().requests, 1, "{status}");
    }
}

#[tokio::test]
async fn a_redirect_on_the_same_host_keeps_query_and_credentials() {
    for status in [301, 302, 303, 307, 308] {
        let by_target = move |request: &Request| match &*request.target {
            "/api/v1/query" => Answer::redirect(status, "/moved/api/v1/query"),
            _ => good(),
        };
        let (server, config) = serve(Answer::choose(by_target));
        fetch(config.with_bearer_token("hunter2")).await.unwrap();
        let requests = server.requests();
        assert_eq!(requests.len(), 2);
        assert_eq!(
            (&*requests[1].method, &*requests[1].target),
            ("POST", "/moved/api/v1/query")
        );
        assert_eq!(requests[1].body, requests[0].body);
        assert_eq!(requests[1].header("authorization"), Some("Bearer hunter2"));
        assert_eq!(server.counters().connections, 1);
    }
}

#[tokio::test]
async fn another_host_gets_nothing() {
    let other = FaultyServer::start([good()]).unwrap();
    let locations = [
        format!("{}/api/v1/query", other.url()),
        format!("//{}/api/v1/query", other.addr()),
        format!("http://localhost:{}/api/v1/query", other.addr().port()),
    ];
    for location in locations {
        let (_server, config) = serve(Answer::redirect(307, &location));
        let config = config
            .with_bearer_token("hunter2")
            .with_header("X-Scope-OrgID", "hunter2");
        let error = fetch(config).await.unwrap_err();
        assert!(
            matches!(&error, FetchError::Rejected { kind, .. } if kind == "redirect"),
            "{error}"
        );
    }
    assert_eq!(other.counters().connections, 0);
}

#[tokio::test]
async fn answers_may_be_compressed() {
    let (_server, config) = serve(good().gzipped());
    assert_eq!(fetch(config).await.unwrap().len(), 1);
    // Also beyond the size from which on decoding has a thread of its own.
    let series: Vec<_> = (0..10_000).map(|i| format!("pod-{i:05}")).collect();
    let series: Vec<_> = series.iter().map(|pod| [("pod", &**pod)]).collect();
    let series: Vec<(&[(&str, &str)], f64)> = series.iter().map(|labels| (&labels[..], 1.0)).collect();
    let (_server, config) = serve(Answer::vector(1.0, &series).gzipped());
    let answer = fetch(config).await.unwrap();
    assert_eq!(answer.values().last().unwrap().label("pod"), "pod-09999");
}

#[tokio::test]
async fn connections_are_reused_from_refresh_to_refresh() {
    let (server, config) = serve(good());
    let source = PrometheusSource::new(config).unwrap();
    for i in 0..10 {
        let template = QueryTemplate::promql(format!("q{i}"), format!("x{i}"));
        source.query_list().register(template).unwrap();
    }
    let mut connections = Vec::new();
    for _ in 0..3 {
        assert!(source.refresh(RefreshSpec::all()).await.is_complete());
        connections.push(server.counters().connections);
    }
    assert_eq!(server.counters().requests, 30);
    assert!(
        connections[0] <= 10 && connections[2] == connections[0],
        "{connections:?}"
    );
}

#[tokio::test]
async fn the_pipeline_retries_what_may_pass_and_tells_the_server_the_time_left() {
    let script = [Answer::status(503), Answer::reset(), good()];
    let server = FaultyServer::start(script).unwrap();
    let source = PrometheusSource::new(PrometheusSourceConfig::new(server.url())).unwrap();
    source
        .query_list()
        .register(QueryTemplate::promql("q", "up"))
        .unwrap();
    let results = source.refresh(RefreshSpec::all()).await;
    assert!(results.is_complete());
    assert_eq!((server.counters().requests, source.stats().retries), (3, 2));
    let left: Vec<f64> = server
        .requests()
        .iter()
        .map(|request| {
            request
                .body_text()
                .rsplit_once("timeout=")
                .unwrap()
                .1
                .parse()
                .unwrap()
        })
        .collect();
    assert!(left[0] <= 10.0 && left[2] < left[0], "{left:?}");
}

#[tokio::test]
async fn a_rotated_token_is_read_after_a_401() {
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    let accepts_new = |request: &Request| match request.header("authorization") {
        Some("Bearer new") => good(),
        _ => Answer::status(401),
    };
    let (server, config) = serve(Answer::choose(accepts_new));
    fs::write(&token, "old\n").unwrap();
    let backend = PrometheusBackend::new(&config.with_bearer_token_file(&token)).unwrap();

    let error = backend.fetch(&query("up")).await.unwrap_err();
    assert!(matches!(error, FetchError::Unauthorized { status: 401, .. }));
    assert_eq!(server.counters().requests, 1, "the same token is not sent twice");

    fs::write(&token, "new\n").unwrap();
    backend.fetch(&query("up")).await.unwrap();
    assert_eq!(server.counters().requests, 3);

    fs::remove_file(&token).unwrap();
    backend.fetch(&query("up")).await.unwrap();
    assert_eq!(server.counters().requests, 4, "the last good token stays in use");
}

#[tokio::test]
async fn a_rotated_client_certificate_is_shown_on_the_next_connection() {
    let certificates = Certificates::generate().unwrap();
    let tls = certificates.server_config_requiring_client().unwrap();
    let server = FaultyServer::start_tls([good().header("Connection", "close")], tls).unwrap();
    let client = certificates.client(Client::Valid).unwrap();
    let config = PrometheusSourceConfig::new(server.url())
        .with_ca_file(certificates.ca())
        .with_client_cert(&client.cert, &client.key);
    let backend = PrometheusBackend::new(&config).unwrap();
    backend.fetch(&query("up")).await.unwrap();
    certificates.client(Client::Valid).unwrap();
    backend.fetch(&query("up")).await.unwrap();
    // Half a rotation: the certificate is there, its key is not yet.
    fs::write(&client.key, "").unwrap();
    backend.fetch(&query("up")).await.unwrap();
    let shown: Vec<_> = server
        .requests()
        .into_iter()
        .map(|r| r.client_certificate)
        .collect();
    assert!(shown[0].is_some() && shown[0] != shown[1] && shown[1] == shown[2]);
}

#[tokio::test]
async fn whom_to_trust_can_be_changed() {
    let certificates = Certificates::generate().unwrap();
    let start = |kind| FaultyServer::start_tls([good()], certificates.server_config(kind).unwrap()).unwrap();

    let other_name = start(Server::WrongName);
    let mut config = PrometheusSourceConfig::new(other_name.url()).with_ca_file(certificates.ca());
    config.tls.server_name = Some("elsewhere.test".into());
    fetch(config).await.unwrap();

    let other_ca = start(Server::WrongCa);
    let mut config = PrometheusSourceConfig::new(other_ca.url());
    let error = fetch(config.clone()).await.unwrap_err();
    assert_eq!(
        error.reason(),
        "tls",
        "the system's authorities do not know the test's"
    );
    config.tls.insecure_skip_verify = true;
    assert!(format!("{config:?}").contains("insecure_skip_verify: true"));
    fetch(config).await.unwrap();
}

#[tokio::test]
async fn a_rotated_authority_is_trusted_on_the_next_connection() {
    let certificates = Certificates::generate().unwrap();
    let tls = certificates.server_config(Server::WrongCa).unwrap();
    let server = FaultyServer::start_tls([good()], tls).unwrap();
    let trusted = certificates.dir().join("trusted.pem");
    fs::copy(certificates.ca(), &trusted).unwrap();
    let config = PrometheusSourceConfig::new(server.url()).with_ca_file(&trusted);
    let backend = PrometheusBackend::new(&config).unwrap();
    assert_eq!(backend.fetch(&query("up")).await.unwrap_err().reason(), "tls");
    // As Kubernetes rotates: another file takes the name.
    let next = certificates.dir().join("next.pem");
    fs::copy(certificates.other_ca(), &next).unwrap();
    fs::rename(&next, &trusted).unwrap();
    backend.fetch(&query("up")).await.unwrap();
}

#[test]
fn what_is_configured_wrongly_is_told_by_name_and_place() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, contents: &str| {
        let path = dir.path().join(name);
        fs::write(&path, contents).unwrap();
        path
    };
    let certificates = Certificates::generate().unwrap();
    let (valid, other) = (
        certificates.client(Client::Valid).unwrap(),
        certificates.client(Client::WrongCa).unwrap(),
    );
    let (empty, binary) = (file("empty", ""), file("text", "no PEM hunter2"));
    let missing = dir.path().join("missing");
    let config = || PrometheusSourceConfig::new("https://prom");
    let server_name = || {
        let mut config = config();
        config.tls.server_name = Some("not a name".into());
        config
    };
    let lone_key = || {
        let mut config = config();
        config.tls.client_key_file = Some("/key".into());
        config
    };
    let auth_and_user = PrometheusSourceConfig::new("http://u:hunter2@prom").with_bearer_token("hunter2");
    let path = |path: &Path| path.display().to_string();
    let cases: Vec<(PrometheusSourceConfig, Vec<String>)> = vec![
        (PrometheusSourceConfig::default(), vec!["url: missing".into()]),
        (
            auth_and_user,
            vec!["auth: set, while the URL holds a user".into()],
        ),
        (
            config().with_ca_file(&missing),
            vec!["tls.ca_file".into(), path(&missing), "cannot be read".into()],
        ),
        (
            config().with_ca_file(&binary),
            vec![path(&binary), "holds no PEM certificate".into()],
        ),
        (
            config().with_client_cert(&valid.cert, &empty),
            vec![path(&empty), "holds no unencrypted PEM private key".into()],
        ),
        (
            config().with_client_cert(&empty, &valid.key),
            vec![path(&empty), "no PEM certificate".into()],
        ),
        (
            config().with_client_cert(&valid.cert, &other.key),
            vec![
                path(&other.key),
                "is not the private key of the certificate".into(),
            ],
        ),
        (lone_key(), vec!["tls.client_cert_file: missing".into()]),
        (
            server_name(),
            vec!["tls.server_name: \"not a name\" is neither".into()],
        ),
        (
            config().with_bearer_token_file(&missing),
            vec!["auth.bearer: the file that it names cannot be read".into()],
        ),
        (
            config().with_bearer_token_file(&empty),
            vec!["auth.bearer: the file that it names is empty".into()],
        ),
        (
            config().with_bearer_token_file(file("lines", "hunter2\nhunter2")),
            vec!["holds a control character".into()],
        ),
        (
            config().with_header("X Y", "hunter2"),
            vec!["headers: one of them has a name that no header can have".into()],
        ),
        (
            config().with_header("X", "hunter2\n"),
            vec!["headers.X: its value holds other characters than visible ASCII".into()],
        ),
        (
            config().with_header("Host", "hunter2"),
            vec!["headers.Host: is set by the client".into()],
        ),
        (
            config()
                .with_header("Authorization", "hunter2")
                .with_bearer_token("hunter2"),
            vec!["headers.Authorization: set, while `auth` is".into()],
        ),
        (
            config().with_query_param("query", "hunter2"),
            vec!["query_params.query: is set by each".into()],
        ),
        (
            config().with_query_timeout(Duration::ZERO),
            vec!["query_timeout: must be more than zero".into()],
        ),
        (
            config().with_max_concurrency(0),
            vec!["max_concurrency: must be more than zero".into()],
        ),
    ];
    for (config, expected) in cases {
        let error = PrometheusSource::new(config).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(
            expected.iter().all(|e| error.to_string().contains(e)),
            "{error}: {expected:?}"
        );
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

/// Servers tell what they were sent, and people log what they have.
#[tokio::test]
async fn secrets_are_shown_nowhere() {
    let secrets = ["hunter2-pass", "hunter2-org", "hunter2 param"];
    let echo = |request: &Request| match &*request.method {
        "POST" => Answer::status(405),
        _ => Answer::respond(
            400,
            &[("Content-Type", "text/plain")],
            format!("{}\n", request.head),
        ),
    };
    let (server, config) = serve(Answer::choose(echo));
    let config = config
        .with_url(server.url().replace("://", "://user:hunter2-pass@"))
        .with_header("X-Scope-OrgID", secrets[1])
        .with_query_param("token", secrets[2]);
    let source = PrometheusSource::new(config.clone()).unwrap();
    let error = source.backend().fetch(&query("up")).await.unwrap_err();
    let auth = [
        Auth::Basic {
            user: "user".into(),
            password: secrets[0].into(),
        },
        Auth::Bearer {
            token: secrets[0].into(),
        },
    ];
    let shown = format!(
        "{config:?} {source:?} {:?} {error} {error:?} {auth:?}",
        source.backend()
    );
    assert!(shown.contains("400") && shown.contains("user"), "{shown}");
    for secret in ["hunter2", "aHVudGVy", "dXNlcjpodW50ZXIyLXBhc3M="] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}
