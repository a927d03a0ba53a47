//! Several daemons that have all pods among them, each of whose doors answers for all.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use fleetgauge_testkit::{Answer, FaultyServer, http};
use serde_json::{Value, json};

use crate::support::daemon::{Daemon, until};

const PODS: usize = 6;
const SHARDS: usize = 3;

/// Which sources know the pods of each shard: the third has two daemons.
const SOURCES: [&[usize]; SHARDS] = [&[0], &[1], &[2, 3]];

/// Who scrapes which shard.
const SHARD_OF: [usize; 4] = [0, 1, 2, 2];

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}

/// A configuration that all of them have.
fn config(directory: &Path, pods: &[FaultyServer], addresses: &[SocketAddr]) -> PathBuf {
    let group = |(number, pod): (usize, &FaultyServer)| {
        let url = pod.url();
        let address = url.trim_start_matches("http://").trim_end_matches('/');
        json!({"targets": [address], "labels": {"namespace": "chat", "pod": format!("llama-{number}")}})
    };
    let groups: Vec<Value> = pods.iter().enumerate().map(group).collect();
    std::fs::write(directory.join("targets.json"), json!(groups).to_string()).unwrap();
    let sources = addresses.iter().enumerate();
    let sources: String = sources
        .map(|(at, address)| {
            format!("  at_{at}: {{prometheus: {{url: \"http://{address}\", companions: ages}}}}\n")
        })
        .collect();
    let member = |(shard, daemons): (usize, &&[usize])| {
        let daemons: Vec<_> = daemons.iter().map(|at| format!("at_{at}")).collect();
        format!(
            "shard_{shard}: {{sources: [{}], labels: {{shard: \"{shard}\"}}}}",
            daemons.join(", ")
        )
    };
    let members: Vec<_> = SOURCES.iter().enumerate().map(member).collect();
    let text = format!(
        "sources:\n  pods: {{scrape: {{interval: 200ms, discovery: [{{files: [targets.json]}}]}}}}\n{sources}  \
         fleet: {{federated: {{members: {{{}}}, require: all}}}}\n\
         queries:\n  - {{name: waiting, template: \"sum by (namespace, pod) (waiting)\", fold: {{pod: max, variant: sum}}}}\n\
         metrics:\n  - {{name: total, source: fleet, query: waiting, every: 200ms, fold: sum}}\n\
         \x20 - {{name: variant_queue, source: fleet, query: waiting, every: 200ms, for_each: variant}}\n\
         variants:\n  - {{name: llama, namespace: chat, workload: {{kind: StatefulSet, name: llama}}}}\n\
         shard: {{of: {SHARDS}}}\n",
        members.join(", ")
    );
    let file = directory.join("fleetgauge.yaml");
    std::fs::write(&file, text).unwrap();
    file
}

fn shard_at(file: &Path, address: SocketAddr, shard: usize) -> Daemon {
    let (address, shard) = (address.to_string(), shard.to_string());
    let environment = [("FLEETGAUGE_SHARD_INDEX", Path::new(&*shard))];
    Daemon::start_with(file, &["--listen", &address], &environment)
}

#[test]
fn each_door_of_each_shard_answers_for_all_and_says_what_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    let pods: Vec<_> = (0..PODS)
        .map(|number| FaultyServer::start([Answer::text(format!("waiting {}\n", 1 << number))]).unwrap())
        .collect();
    let addresses: Vec<_> = SHARD_OF.iter().map(|_| free_address()).collect();
    let file = config(directory.path(), &pods, &addresses);
    let start = |(address, shard): (&SocketAddr, &usize)| shard_at(&file, *address, *shard);
    let mut daemons: Vec<_> = addresses.iter().zip(&SHARD_OF).map(start).collect();
    let all = f64::from((1 << PODS) - 1);
    for daemon in &daemons {
        for metric in ["total", "variant_queue"] {
            daemon.reading(metric, |reading| {
                // Once all of it is there it may not be a part again.
                assert!(
                    reading["status"] != "value" || reading["value"] == all,
                    "{reading}"
                );
                reading["status"] == "value"
            });
        }
        let (_, text) = daemon.get("/api/v1/query?query=sum(fleetgauge_reading%7Bmetric%3D%22total%22%7D)");
        assert!(text.contains("\"63\""), "{text}");
        // What is scraped is a part, and says so.
        let (_, text) = daemon.get("/api/v1/query?query=count(waiting)");
        assert!(text.contains("samples of pods are those of shard "), "{text}");
    }
    // Each pod is scraped by one shard alone.
    let scraped = |daemon: &Daemon| -> BTreeSet<String> {
        let targets = daemon.json("targets");
        let targets = targets["targets"].as_array().unwrap().iter();
        targets
            .map(|target| target["labels"]["pod"].as_str().unwrap().to_owned())
            .collect()
    };
    let shards: Vec<_> = daemons.iter().map(scraped).collect();
    assert_eq!(
        shards[..SHARDS].iter().map(BTreeSet::len).sum::<usize>(),
        PODS,
        "{shards:?}"
    );
    assert_eq!(
        shards[..SHARDS].iter().flatten().collect::<BTreeSet<_>>().len(),
        PODS
    );
    assert_eq!(shards[2], shards[3]);

    // Of the third shard the other one answers.
    drop(daemons.remove(2));
    let asked = || {
        let page = daemons[0].json("sources");
        let mut sources = page["sources"].as_array().unwrap().iter();
        let fleet = sources.find(|source| source["name"] == "fleet").unwrap();
        fleet["flights"].as_u64().unwrap()
    };
    let before = asked();
    until(|| asked() > before + 20);
    daemons[0].reading("total", |reading| {
        reading["status"] == "value" && reading["value"] == all
    });
    // Nobody answers for it any more.
    drop(daemons.remove(2));
    for daemon in &daemons {
        for metric in ["total", "variant_queue"] {
            let reading = daemon.reading(metric, |reading| {
                assert!(
                    reading["status"] != "value" || reading["value"] == all,
                    "{reading}"
                );
                reading["status"] == "withheld"
            });
            assert!(
                reading["reason"]["text"].as_str().unwrap().contains("shard_2"),
                "{reading}"
            );
        }
        assert_eq!(http::get(daemon.address, "/-/healthy").unwrap().status, 200);
    }
}

/// Guards against a sum in which pods are counted twice, or not at all, while all members answer.
#[test]
fn shards_that_are_not_all_or_not_once_each_have_no_number() {
    let directory = tempfile::tempdir().unwrap();
    let pods: Vec<_> = (0..PODS)
        .map(|number| FaultyServer::start([Answer::text(format!("waiting {}\n", 1 << number))]).unwrap())
        .collect();
    let addresses: Vec<_> = SHARD_OF.iter().map(|_| free_address()).collect();
    let file = config(directory.path(), &pods, &addresses);
    let start = |file: &Path, at: usize, shard: usize| shard_at(file, addresses[at], shard);
    let right = file.clone();
    let mut daemons: Vec<_> = (0..SHARDS).map(|at| start(&right, at, at)).collect();
    let all = f64::from((1 << PODS) - 1);
    let is_whole = |daemon: &Daemon| {
        daemon.reading("total", |reading| {
            reading["status"] == "value" && reading["value"] == all
        });
    };
    is_whole(&daemons[0]);
    // Another version of the file, and a discovery that lags behind.
    let text = std::fs::read_to_string(&file).unwrap();
    let of_four = directory.path().join("of_four.yaml");
    std::fs::write(&of_four, text.replace("shard: {of: 3}", "shard: {of: 4}")).unwrap();
    let lagging = directory.path().join("lagging.yaml");
    std::fs::write(&lagging, text.replace("targets.json", "fewer.json")).unwrap();
    let targets = std::fs::read(directory.path().join("targets.json")).unwrap();
    let mut targets: Vec<Value> = serde_json::from_slice(&targets).unwrap();
    targets.pop();
    std::fs::write(directory.path().join("fewer.json"), json!(targets).to_string()).unwrap();
    for (file, index, expected) in [
        (&file, 0, "both answer as shard 0 of 3"),
        (&of_four, 1, "one of 4"),
        (&lagging, 1, "do not know of the same targets (6 and 5)"),
    ] {
        drop(daemons.remove(1));
        daemons.insert(1, start(file, 1, index));
        daemons[0].reading("total", |reading| {
            let is_withheld = reading["status"] == "withheld";
            is_withheld && reading["reason"]["text"].as_str().unwrap().contains(expected)
        });
        // Nor is anything else than all of it shown when it is right again.
        drop(daemons.remove(1));
        daemons.insert(1, start(&right, 1, 1));
        is_whole(&daemons[0]);
    }
}

#[test]
fn what_would_be_of_a_part_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("fleetgauge.yaml");
    let check = |shard: &str, expected: &str| {
        let text = format!(
            "sources:\n  pods: {{scrape: {{discovery: [{{static: [\"127.0.0.1:1\"]}}]}}}}\n  \
             over: {{composed: {{inputs: {{x: {{source: pods, promql: up}}}}, queries: [{{name: x, template: sum(x)}}]}}}}\n\
             metrics:\n  - {{name: a, source: pods, query: up}}\n  - {{name: b, source: over, query: x}}\n\
             queries: [{{name: up, template: up}}]\nshard: {shard}\n"
        );
        std::fs::write(&file, text).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_fleetgauge"))
            .arg("check")
            .arg(&file)
            .output()
            .unwrap();
        let said =
            String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        let lines: Vec<_> = said.lines().filter(|line| line.contains(expected)).collect();
        assert!(!lines.is_empty(), "{said}");
        lines.len()
    };
    let of_a_part = "\"pods\" scrapes the pods of one shard";
    assert_eq!(check("{index: 0, of: 2}", of_a_part), 2);
    check("{index: 0, of: 1}", "2 metrics");
    check("{index: 2, of: 2}", "there is no shard 2 of 2");
    check("{index: 0}", "of");
}
