//! What `fleetgauge query` sends, and what it makes of a server that misbehaves.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::process::Output;

use fleetgauge_testkit::{Answer, FaultyServer};
use serde_json::{Value, json};

use crate::support::binary::{fleetgauge, text};

const ONE: &str = r#"{"status":"success","data":{"resultType":"vector","result":[
    {"metric":{"pod":"a"},"value":[1763930000.5,"3"]}]},
    "warnings":["store \"b\" did not answer"],"infos":["metric might not be a counter"]}"#;

/// Runs `fleetgauge query` with an environment of these variables alone.
fn query(args: &[&str], vars: &[(&str, &str)]) -> Output {
    fleetgauge("query", args, vars)
}

#[test]
fn the_json_is_what_the_contract_says() {
    let server = FaultyServer::start([Answer::json(ONE)]).unwrap();
    let output = query(
        &["--promql", "up", "--prometheus", &server.url(), "-o", "json"],
        &[],
    );
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stderr), "", "warnings are in the JSON");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected = json!({
        "query": "up",
        "status": "value",
        "error": null,
        "complete": false,
        "warnings": ["store \"b\" did not answer"],
        "values": [{
            "labels": {"pod": "a"},
            "value": 3,
            "timestamp": 1763930000.5,
            "age_seconds": null,
            "age_is_bound": false,
            "ended": false,
        }],
        "completeness": {
            "expected": null,
            "reporting": null,
            "missing": [],
            "missing_count": 0,
            "starting": [],
        },
        "infos": ["metric might not be a counter"],
        "unit": "",
        "promql": "up",
    });
    assert_eq!(found, expected);
}

#[test]
fn people_see_warnings_beside_the_table() {
    let server = FaultyServer::start([Answer::json(ONE)]).unwrap();
    let output = query(&["--promql", "up", "--prometheus", &server.url()], &[]);
    assert_eq!(text(&output.stdout), "pod  value\na        3\n");
    let warnings = "warning: store \"b\" did not answer\ninfo: metric might not be a counter\n";
    assert_eq!(text(&output.stderr), warnings);
}

#[test]
fn every_way_to_configure_reaches_the_server() {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    fs::write(&token, "from-flag\n").unwrap();
    fs::write(directory.path().join("token-of-file"), "from-file\n").unwrap();
    let server = FaultyServer::start([Answer::json(ONE)]).unwrap();
    let config = directory.path().join("fleetgauge.yaml");
    let yaml = format!(
        "prometheus:
  url: {}/prefix
  headers: {{X-Scope-OrgID: file, X-File: \"1\"}}
  query_params: {{dedup: \"false\", max: \"1\"}}
  bearer_token_file: token-of-file
  timeout: 7s\n",
        server.url()
    );
    fs::write(&config, yaml).unwrap();
    let (config, token) = (config.to_str().unwrap(), token.to_str().unwrap());

    let check = |args: &[&str], vars: &[(&str, &str)], expected: [&str; 4]| {
        let output = query(&[&["--promql", "up", "--config", config], args].concat(), vars);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let request = server.requests().pop().unwrap();
        let header = |name| request.header(name).unwrap_or_default().to_owned();
        let [path, tenant, authorization, timeout] = expected;
        assert!(request.target.starts_with(path), "{}", request.target);
        assert_eq!(
            (&*header("x-scope-orgid"), &*header("authorization")),
            (tenant, authorization)
        );
        assert_eq!(header("x-file"), "1");
        let sent = format!("{}&{}", request.target, request.body_text());
        assert!(sent.contains("dedup=false") && sent.contains(timeout), "{sent}");
    };
    let (file, environment) = (
        "Bearer from-file",
        [("PROMETHEUS_BEARER_TOKEN", "from-environment")],
    );
    check(&[], &[], ["/prefix/api/v1/query", "file", file, "max=1"]);
    check(
        &[],
        &environment,
        ["/prefix/api/v1/query", "file", "Bearer from-environment", "max=1"],
    );
    check(
        &[
            "--bearer-token-file",
            token,
            "--header",
            "x-scope-orgid=flag",
            "--query-param",
            "max=2",
        ],
        &environment,
        ["/prefix/api/v1/query", "flag", "Bearer from-flag", "max=2"],
    );
    let url = server.url();
    let elsewhere = [("PROMETHEUS_BASE_URL", &*url)];
    check(&[], &elsewhere, ["/api/v1/query", "file", file, "max=1"]);
    check(
        &["--prometheus", &url],
        &[("PROMETHEUS_BASE_URL", "nonsense")],
        ["/api/v1/query", "file", file, "max=1"],
    );
}

#[test]
fn credentials_go_to_the_server_they_stand_beside_and_to_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("fleetgauge.yaml");
    let yaml =
        "prometheus: {url: 'http://own.test:9090', bearer_token: of-file, headers: {X-Scope-OrgID: own}}";
    fs::write(&config, yaml).unwrap();
    let server = FaultyServer::start([Answer::json(ONE)]).unwrap();
    let url = server.url();
    let check = |args: &[&str], vars: &[(&str, &str)], whose: &str| {
        let output = query(&[&["--promql", "up"], args].concat(), vars);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let warning =
            format!("warning: the credentials of {whose} are for http://own.test:9090, and are not sent");
        assert!(
            text(&output.stderr).contains(&warning),
            "{}",
            text(&output.stderr)
        );
        let request = server.requests().pop().unwrap();
        assert_eq!(
            (request.header("authorization"), request.header("x-scope-orgid")),
            (None, None)
        );
    };
    let file = ["--config", config.to_str().unwrap()];
    check(
        &[&file[..], &["--prometheus", &url]].concat(),
        &[],
        "the configuration file",
    );
    check(&file, &[("PROMETHEUS_BASE_URL", &url)], "the configuration file");
    let own = [
        ("PROMETHEUS_BASE_URL", "http://own.test:9090"),
        ("PROMETHEUS_BEARER_TOKEN", "of-environment"),
    ];
    check(&["--prometheus", &url], &own, "the environment");
}

#[test]
fn what_goes_wrong_is_an_error_and_never_an_answer() {
    let check = |answer: Answer, expected: &str| {
        let server = FaultyServer::start([answer]).unwrap();
        let args = [
            "--promql",
            "up",
            "--prometheus",
            &server.url(),
            "--timeout",
            "300ms",
            "-o",
            "json",
        ];
        let output = query(&args, &[]);
        assert_eq!(output.status.code(), Some(1));
        let error = text(&output.stderr);
        assert!(
            error.starts_with("error: ") && error.contains(expected),
            "{error}"
        );
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&json["status"], &json["values"]), (&json!("error"), &json!([])));
        assert_eq!(json["complete"], json!(false));
        assert!(json["error"].as_str().unwrap().contains(expected), "{json}");
    };
    check(Answer::hang(), "no answer within");
    check(Answer::status(401), "401");
    check(
        Answer::prometheus_error(422, "execution", "too many samples"),
        "too many samples",
    );
    check(Answer::error_in_200(), "rejected");
    check(Answer::html_page(), "malformed");
    check(Answer::truncated(ONE), "");
}

#[test]
fn durations_and_urls_are_taken_alike_everywhere() {
    let server = FaultyServer::start([Answer::json(ONE)]).unwrap();
    let address = server.addr().to_string();
    let port = format!(":{}", server.addr().port());
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("fleetgauge.yaml");
    let check = |url: &str, timeout: &str| {
        let yaml = format!("prometheus: {{url: '{url}', timeout: {timeout}, ttl: {timeout}}}");
        fs::write(&config, yaml).unwrap();
        let config = config.to_str().unwrap();
        for (args, vars) in [
            (&["--prometheus", url, "--timeout", timeout][..], &[][..]),
            (&["--timeout", timeout], &[("PROMETHEUS_BASE_URL", url)]),
            (&["--config", config], &[]),
        ] {
            let output = query(&[&["--promql", "up"], args].concat(), vars);
            assert_eq!(
                text(&output.stderr).lines().next(),
                Some("warning: store \"b\" did not answer"),
                "{args:?}"
            );
            assert_eq!(output.status.code(), Some(0), "{args:?}");
            let request = server.requests().pop().unwrap();
            assert_eq!(request.body_text(), "query=up&timeout=5.000", "{args:?}");
        }
    };
    let url = server.url();
    for url in [&*url, &*address, &*port] {
        for timeout in ["5", "5.0", "5s", "5000ms"] {
            check(url, timeout);
        }
    }
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let refused = fleetgauge_testkit::Refused::new().unwrap();
    let args = [
        "vllm/queue_length",
        "-p",
        "namespace=a",
        "-p",
        "modelID=b",
        "--prometheus",
        &refused.url(),
    ];
    let output = query(&[&args[..], &["--timeout", "300ms"]].concat(), &[]);
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(error.starts_with("error: query vllm/queue_length: "), "{error}");
    assert!(error.contains(&refused.addr().to_string()), "{error}");
    assert_eq!(text(&output.stdout), "");
}

/// Secrets that were given in any way are in no message.
#[test]
fn secrets_are_not_shown() {
    let refused = fleetgauge_testkit::Refused::new().unwrap();
    let url = refused.url().replace("//", "//user:hunter2@");
    let vars = [("PROMETHEUS_BASE_URL", &*url)];
    let output = query(
        &[
            "--promql",
            "up",
            "--header",
            "X-Key=hunter2",
            "--timeout",
            "100ms",
        ],
        &vars,
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(
        !text(&output.stderr).contains("hunter2"),
        "{}",
        text(&output.stderr)
    );
}

/// The scripted server stands for the proxy, which is told the whole URL; that of the Prometheus does not exist.
#[test]
fn a_proxy_is_taken_from_the_flag_else_the_file_else_the_environment() {
    const PROM: &str = "http://prom.test:9090";
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("fleetgauge.yaml");
    let check = |flag: Option<&str>, in_file: Option<&str>, in_environment: Option<&str>, reached: bool| {
        let proxy = FaultyServer::start([Answer::json(ONE)]).unwrap();
        let port = proxy.addr().port().to_string();
        let named = |what: &str| {
            what.replace("PROXY", &proxy.addr().to_string())
                .replace("PORT", &port)
        };
        let in_file = in_file.map_or_else(String::new, |value| format!("  proxy: {}\n", named(value)));
        fs::write(&file, format!("prometheus:\n  url: {PROM}\n{in_file}")).unwrap();
        let flag = flag.map(named);
        let vars: Vec<_> = in_environment
            .map(|value| ("HTTP_PROXY", named(value)))
            .into_iter()
            .collect();
        let vars: Vec<_> = vars.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut args = vec![
            "--promql",
            "up",
            "--timeout",
            "2s",
            "--config",
            file.to_str().unwrap(),
        ];
        args.extend(flag.iter().flat_map(|flag| ["--proxy", flag]));
        let output = query(&args, &vars);
        let targets: Vec<_> = proxy
            .requests()
            .into_iter()
            .map(|request| request.target)
            .collect();
        let expected = format!("{PROM}/api/v1/query");
        let expected: &[String] = if reached { &[expected] } else { &[] };
        assert_eq!(targets, expected, "{args:?} {vars:?} {}", text(&output.stderr));
        assert_eq!(output.status.success(), reached);
    };
    check(None, None, Some("http://PROXY"), true);
    check(None, None, None, false);
    check(Some("PROXY"), Some("none"), Some("http://nobody.test"), true);
    check(Some(":PORT"), None, None, true);
    check(None, Some("PROXY"), Some("socks5://nobody.test"), true);
    check(None, Some("none"), Some("http://PROXY"), false);
    check(Some("none"), Some("PROXY"), Some("http://PROXY"), false);
    check(Some("environment"), Some("none"), Some("http://PROXY"), true);
    check(None, Some("environment"), Some("http://PROXY"), true);
}

#[test]
fn a_bad_proxy_is_told_without_its_password() {
    let check = |args: &[&str], vars: &[(&str, &str)], status: i32, expected: &str| {
        let mut all = vec!["--promql", "up", "--prometheus", "http://prom.test"];
        all.extend(args);
        let output = query(&all, vars);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{error}");
        assert!(error.contains(expected) && !error.contains("hunter2"), "{error}");
    };
    let socks = "socks5://me:hunter2@proxy";
    check(
        &["--proxy", socks],
        &[],
        2,
        "--proxy: a proxy is spoken to by http:// alone",
    );
    check(
        &[],
        &[("HTTP_PROXY", socks)],
        1,
        "HTTP_PROXY: a proxy is spoken to by http:// alone",
    );
}

#[test]
fn errors_name_the_flag_that_was_typed() {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    fs::write(&token, "hunter2\n").unwrap();
    let token = token.to_str().unwrap();
    let check = |args: &[&str], status: i32, expected: &str| {
        let typed = ["--promql", "up", "--prometheus", "https://prom.test"];
        let output = query(&[&typed, args].concat(), &[]);
        let error = text(&output.stderr);
        assert!(
            error.starts_with(&format!("error: {expected}")),
            "{args:?}: {error}"
        );
        assert_eq!(output.status.code(), Some(status), "{args:?}");
        assert!(!error.contains("hunter2"), "{error}");
    };
    let file = "cannot be read: No such file";
    check(
        &["--bearer-token-file", "no/token"],
        1,
        &format!("--bearer-token-file: no/token {file}"),
    );
    check(
        &["--bearer-token-file", "hunter2"],
        1,
        &format!("--bearer-token-file: the file that it names {file}"),
    );
    check(&["--ca-file", "ca.pem"], 1, &format!("--ca-file: ca.pem {file}"));
    check(
        &["--cert-file", "cert.pem", "--key-file", "key.pem"],
        1,
        &format!("--cert-file and --key-file: cert.pem {file}"),
    );
    check(&["--server-name", "a b"], 2, "--server-name: \"a b\" is neither");
    check(
        &["--header", "X-Foo=hunter2\n"],
        2,
        "--header X-Foo: its value holds other",
    );
    check(
        &["--header", "X Foo=hunter2"],
        2,
        "--header: one of them has a name",
    );
    check(&["--header", "host=a"], 2, "--header host: is set by the client");
    check(
        &["--header", "Authorization=hunter2", "--bearer-token-file", token],
        2,
        "--header Authorization: set, while --bearer-token-file is",
    );
    check(
        &["--query-param", "time=1"],
        2,
        "--query-param time: is set by each query itself",
    );
    let url = ["--prometheus", "http://prom.test?a=hunter2"];
    let output = query(&[&["--promql", "up"], &url[..]].concat(), &[]);
    assert!(text(&output.stderr).contains("set query parameters by --query-param"));
}

#[test]
fn the_companions_of_the_file_are_asked() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("fleetgauge.yaml");
    for (companions, expected) in [("none", false), ("ages", true)] {
        let server = FaultyServer::start([Answer::json(ONE)]).unwrap();
        let config = format!(
            "prometheus: {{url: {:?}, companions: {companions}}}\n",
            server.url()
        );
        fs::write(&file, config).unwrap();
        let output = query(&["--promql", "up", "--config", file.to_str().unwrap()], &[]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let asked = server.requests();
        let is_companion = |body: String| body.starts_with("query=timestamp%28up%29&");
        assert_eq!(
            asked.iter().any(|request| is_companion(request.body_text())),
            expected
        );
    }
    fs::write(&file, "prometheus: {url: http://prom.test, companions: age}\n").unwrap();
    let output = query(&["--promql", "up", "--config", file.to_str().unwrap()], &[]);
    let error = text(&output.stderr);
    assert!(error.contains("use none, ages or all"), "{error}");
}

#[test]
fn the_method_of_the_file_is_used() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("fleetgauge.yaml");
    for (method, expected) in [("GET", "GET"), ("post", "POST"), ("auto", "POST")] {
        let server = FaultyServer::start([Answer::json(ONE)]).unwrap();
        let config = format!("prometheus: {{url: {:?}, method: {method}}}\n", server.url());
        fs::write(&file, config).unwrap();
        let output = query(&["--promql", "up", "--config", file.to_str().unwrap()], &[]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(server.requests()[0].method, expected);
    }
    fs::write(
        &file,
        "prometheus: {url: http://prom.test, method: PUT, proxy: https://p}\n",
    )
    .unwrap();
    let output = query(&["--promql", "up", "--config", file.to_str().unwrap()], &[]);
    let error = text(&output.stderr);
    assert!(error.contains(":1:45: \"PUT\" is not a method"), "{error}");
    assert!(error.contains("a proxy is spoken to by http:// alone"), "{error}");
}

#[test]
fn very_many_label_names_cost_no_more_than_their_number() {
    let labels: Vec<_> = (0..100_000).map(|i| format!(r#""l{i}":"x""#)).collect();
    let body = format!(
        r#"{{"status":"success","data":{{"resultType":"vector","result":[{{"metric":{{{}}},"value":[1,"7"]}}]}}}}"#,
        labels.join(",")
    );
    let server = FaultyServer::start([Answer::json(&body)]).unwrap();
    for format in ["table", "csv", "json"] {
        let args = ["--promql", "up", "--prometheus", &server.url(), "-o", format];
        let output = query(&args, &[]);
        assert!(output.status.success(), "{format}: {}", text(&output.stderr));
        let shown = text(&output.stdout);
        assert!(shown.contains("l99999") && shown.contains('7'), "{format}");
    }
}
