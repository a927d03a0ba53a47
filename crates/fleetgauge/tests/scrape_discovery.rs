//! Where targets are found: files that change and break, and DNS.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleetgauge::scrape::{DnsDiscovery, FileDiscovery};
use fleetgauge::target::{Discovered, Snapshot, TargetDiscovery};
use futures_util::StreamExt;

/// The targets as `address label=value …`, without what tells where they were found.
fn shown(found: &Discovered) -> Vec<String> {
    let shown = |labels: &Arc<fleetgauge::target::TargetLabels>| {
        let own = labels.iter().filter(|(name, _)| !name.starts_with("__"));
        let own: String = own.map(|(name, value)| format!(" {name}={value}")).collect();
        format!("{}{own}", labels["__address__"])
    };
    found.targets.iter().map(shown).collect()
}

async fn found(discovery: &Arc<impl TargetDiscovery>) -> Discovered {
    match Arc::clone(discovery).watch().next().await {
        Some(Snapshot::Known(found)) => found,
        other => panic!("{other:?}"),
    }
}

/// As [`shown`], with how the problems begin after `dir`.
async fn look(discovery: &Arc<impl TargetDiscovery>, dir: &Path) -> (Vec<String>, String) {
    let found = found(discovery).await;
    let problems = found.problems.iter().map(ToString::to_string);
    let problems = problems.collect::<Vec<_>>().join("; ");
    (
        shown(&found),
        problems.replace(&format!("{}/", dir.display()), ""),
    )
}

/// Looks often, and so soon takes what was written just now.
fn files<const N: usize>(paths: [PathBuf; N]) -> Arc<FileDiscovery> {
    Arc::new(FileDiscovery::new(paths).with_interval(Duration::from_millis(20)))
}

/// Writes what differs in length from what was there, so that the status tells in any case.
fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
}

#[tokio::test]
async fn files_in_json_and_yaml() {
    let dir = tempfile::tempdir().unwrap();
    let (json, yaml) = (dir.path().join("a.json"), dir.path().join("b.yaml"));
    write(
        &json,
        r#"[{"targets": ["10.0.0.1:8000", "10.0.0.2:8000"], "labels": {"pod": "x", "shard": "1"}}, {"targets": []}]"#,
    );
    write(
        &yaml,
        "- targets: ['[::1]:9']\n  labels:\n    shard: 2\n    __metrics_path__: /stats\n- targets:\n  - plain:80\n",
    );
    let discovery = files([json, yaml]);
    let (targets, problem) = look(&discovery, dir.path()).await;
    let expected = [
        "10.0.0.1:8000 pod=x shard=1",
        "10.0.0.2:8000 pod=x shard=1",
        "[::1]:9 shard=2",
        "plain:80",
    ];
    assert_eq!(
        (targets, problem.as_str()),
        (expected.map(String::from).into(), "")
    );
}

#[tokio::test]
async fn files_that_change_break_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one.json"), dir.path().join("two.yml"));
    write(&one, r#"[{"targets": ["a:1"]}]"#);
    write(&two, "- targets: [b:1]\n");
    let pattern = dir.path().join("*.*");
    let discovery = files([pattern.clone()]);
    let check = async |targets: &[&str], problem: &str| {
        let (found, why) = look(&discovery, dir.path()).await;
        assert_eq!(found, targets);
        assert!(
            why.starts_with(problem) && why.is_empty() == problem.is_empty(),
            "{why}"
        );
    };
    check(&["a:1", "b:1"], "").await;
    write(&one, r#"[{"targets": ["a:1", "a:2"]}]"#);
    check(&["a:1", "a:2", "b:1"], "").await;
    // Broken in the middle of being written: its last targets stay, the other file is read.
    write(&one, "[{\"targets\": [\"a:1\", \"a:2\"");
    write(&two, "- targets: [b:1, b:2]\n");
    check(&["a:1", "a:2", "b:1", "b:2"], "one.json:1:").await;
    write(&one, "[{\"targets\": [\"a:1\"],\n  \"label\": {}}]");
    check(
        &["a:1", "a:2", "b:1", "b:2"],
        "one.json:2:3: unknown field \"label\" in a group of targets; did you mean \"labels\"?",
    )
    .await;
    write(&one, r#"[{"targets": ["a:3"]}]"#);
    check(&["a:3", "b:1", "b:2"], "").await;
    // As Kubernetes mounts: another file takes the name.
    write(&dir.path().join("next"), r#"[{"targets": ["a:4"]}]"#);
    fs::rename(dir.path().join("next"), &one).unwrap();
    check(&["a:4", "b:1", "b:2"], "").await;
    fs::remove_file(&two).unwrap();
    check(&["a:4"], "").await;
    // One that is named itself does not just go.
    let named = files([one.clone()]);
    look(&named, dir.path()).await;
    fs::remove_file(&one).unwrap();
    let (found, why) = look(&named, dir.path()).await;
    assert_eq!(found, ["a:4"]);
    assert!(why.starts_with("one.json cannot be read: "), "{why}");
    check(&[], "").await;
}

#[tokio::test]
async fn a_file_that_was_never_read_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("targets.json");
    let discovery = files([path.clone()]);
    let check = async |expected: &str| {
        let (found, why) = look(&discovery, dir.path()).await;
        assert_eq!(found.len(), 0);
        assert!(why.starts_with(expected), "{why}");
    };
    check("targets.json cannot be read: No such file").await;
    for (text, expected) in [
        ("", "targets.json:1:1: the file is empty"),
        (
            "{}",
            "targets.json:1:1: expected a list of groups of targets, found a mapping",
        ),
        (
            "[1]",
            "targets.json:1:2: expected a group of targets: a mapping of fields, found a number",
        ),
        (
            "[{}]  ",
            "targets.json:1:2: field \"targets\" is missing in a group of targets",
        ),
        (
            "[{\"targets\": \"a\"}]",
            "targets.json:1:14: expected a list of addresses",
        ),
        (
            "[{\"targets\": [9]}]  ",
            "targets.json:1:15: expected a text, found the number 9",
        ),
    ] {
        write(&path, text);
        check(expected).await;
    }
    fs::write(&path, [0xff, 0xfe, 0, 0, 0]).unwrap();
    check("targets.json does not hold UTF-8 text").await;
    write(&path, "[]");
    assert_eq!(look(&discovery, dir.path()).await, (Vec::new(), String::new()));
    // Big, and a bomb of aliases.
    let many: Vec<_> = (0..5_000).map(|i| format!("\"10.0.0.1:{i}\"")).collect();
    write(&path, &format!("[{{\"targets\": [{}]}}]", many.join(",")));
    assert_eq!(look(&discovery, dir.path()).await.0.len(), 5_000);
    write(
        &path,
        &format!(
            "a: &a [x]\n{}",
            (0..30)
                .map(|i| format!("k{i}: &b{i} [*a, *a]\n"))
                .collect::<String>()
        ),
    );
    assert!(look(&discovery, dir.path()).await.1.contains("expected a list"));
}

// === DNS ===

/// A server that knows nothing of DNS but how to answer one question: code, records as data by type.
struct Dns {
    address: SocketAddr,
    answers: Arc<Mutex<(u8, Records)>>,
}

/// Type and data of each.
type Records = Vec<(u16, Vec<u8>)>;

const A: u16 = 1;
const AAAA: u16 = 28;
const SRV: u16 = 33;
const SERVFAIL: u8 = 2;
const NXDOMAIN: u8 = 3;

impl Dns {
    fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = socket.local_addr().unwrap();
        let answers = Arc::new(Mutex::new((0, Vec::new())));
        let ours = Arc::clone(&answers);
        // Ends with the process.
        std::thread::spawn(move || {
            let mut query = [0; 1500];
            while let Ok((length, client)) = socket.recv_from(&mut query) {
                let (code, records) = ours.lock().unwrap().clone();
                let reply = reply(&query[..length], code, &records);
                let _ = socket.send_to(&reply, client);
            }
        });
        Self { address, answers }
    }

    fn answer(&self, code: u8, records: Records) {
        *self.answers.lock().unwrap() = (code, records);
    }
}

/// Source: <https://www.rfc-editor.org/rfc/rfc1035#section-4>.
fn reply(query: &[u8], code: u8, records: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let question_end = 12 + query[12..].iter().position(|&b| b == 0).unwrap() + 5;
    let mut reply = query[..2].to_vec();
    reply.extend([0x81, 0x80 | code, 0, 1, 0, records.len() as u8, 0, 0, 0, 0]);
    reply.extend(&query[12..question_end]);
    for (record_type, data) in records {
        reply.extend([0xc0, 12]);
        reply.extend(record_type.to_be_bytes());
        reply.extend([0, 1, 0, 0, 0, 5]);
        reply.extend((data.len() as u16).to_be_bytes());
        reply.extend(data);
    }
    reply
}

fn srv(port: u16, host: &[&str]) -> (u16, Vec<u8>) {
    let mut data = vec![0, 0, 0, 0];
    data.extend(port.to_be_bytes());
    for part in host {
        data.push(part.len() as u8);
        data.extend(part.as_bytes());
    }
    data.push(0);
    (SRV, data)
}

#[tokio::test]
async fn addresses_behind_a_name() {
    let dns = Dns::start();
    let discovery = Arc::new(DnsDiscovery::a(["vllm.chat.svc."], 8000).with_servers([dns.address]));
    assert_eq!(discovery.name(), "dns_sd A vllm.chat.svc.");
    let dir = Path::new("/");
    dns.answer(0, vec![(A, vec![10, 0, 0, 9]), (A, vec![10, 0, 0, 7])]);
    let both = ["10.0.0.7:8000", "10.0.0.9:8000"].map(String::from).to_vec();
    assert_eq!(look(&discovery, dir).await, (both.clone(), String::new()));
    // A failure keeps them, no pods are no pods.
    dns.answer(SERVFAIL, Vec::new());
    let (kept, why) = look(&discovery, dir).await;
    assert_eq!(kept, both);
    assert!(why.starts_with("vllm.chat.svc.: "), "{why}");
    for none in [0, NXDOMAIN] {
        dns.answer(none, Vec::new());
        assert_eq!(look(&discovery, dir).await, (Vec::new(), String::new()));
        assert!(found(&discovery).await.are_ready_alone);
    }
    let v6 = Arc::new(DnsDiscovery::aaaa(["vllm.chat.svc."], 8000).with_servers([dns.address]));
    let mut address = vec![0; 16];
    address[15] = 1;
    dns.answer(0, vec![(AAAA, address)]);
    assert_eq!(look(&v6, dir).await.0, ["[::1]:8000"]);
}

#[tokio::test]
async fn services_with_their_ports() {
    let dns = Dns::start();
    let discovery = Arc::new(DnsDiscovery::srv(["_metrics._tcp.vllm."]).with_servers([dns.address]));
    dns.answer(0, vec![srv(9001, &["b", "vllm"]), srv(9000, &["a", "vllm"])]);
    assert_eq!(
        look(&discovery, Path::new("/")).await.0,
        ["a.vllm:9000", "b.vllm:9001"]
    );
}

#[tokio::test]
async fn a_server_that_refuses_from_the_start_is_an_error() {
    let dns = Dns::start();
    dns.answer(SERVFAIL, Vec::new());
    let discovery = Arc::new(DnsDiscovery::a(["x.test."], 1).with_servers([dns.address]));
    let found = found(&discovery).await;
    assert_eq!(found.targets.len(), 0);
    assert_eq!(found.problems[0].reason(), "unreachable");
}
