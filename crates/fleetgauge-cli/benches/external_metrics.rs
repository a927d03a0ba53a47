//! What do 500 questions of HPAs a second cost, asked as the API server asks them?
//!
//! A real API server tells who is believed and what he may see; this process asks the door itself, by TLS and as the front proxy, on
//! behalf of the HPA controller, for one of 50 rows of a metric that is refreshed every second over 100 simulated pods. It prints
//! latencies, and the processor time of whoever answers; the daemon's without requests beside it.
//!
//! The alternative in the same run is prometheus-adapter, if `FLEETGAUGE_PROMETHEUS_ADAPTER` names its program, with a Prometheus
//! (`FLEETGAUGE_PROMETHEUS_3`, else the one that is installed) that scrapes the same pods, which it asks at each question. It is had by
//! `go build -mod=mod sigs.k8s.io/prometheus-adapter/cmd/adapter` in a module that requires its version.
//!
//! The aims: p99 under 5 ms, at most half a core. It needs a control plane: `KUBEBUILDER_ASSETS=$(cargo xtask control-plane)`.

#[cfg(all(target_os = "linux", feature = "kubernetes"))]
mod support {
    pub(crate) mod prometheus;
    pub(crate) mod rate;
}

#[cfg(all(target_os = "linux", feature = "kubernetes"))]
#[allow(
    dead_code,
    clippy::unwrap_used,
    reason = "the tests use the rest, and a bench may end where a test would"
)]
#[path = "../tests/support"]
mod cluster {
    pub(crate) mod aggregation;
    pub(crate) mod daemon;
}

#[cfg(all(target_os = "linux", feature = "kubernetes"))]
mod measured {
    use std::fs;
    use std::io::{BufRead as _, BufReader};
    use std::net::SocketAddr;
    use std::path::Path;
    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};

    use axum::http::Request;
    use fleetgauge_testkit::process::free_port;
    use kube::Client;
    use serde_json::{Value, json};

    use crate::cluster::aggregation::{Aggregation, NAMESPACE, SERVICE};
    use crate::cluster::daemon::{Daemon, until};
    use crate::support::prometheus::prometheus_of;
    use crate::support::rate::{MEASURED, at_rate, cpu};

    const PODS: &str = "100";
    const GROUPS: usize = 50;
    const RATE: u32 = 500;
    const CONNECTIONS: usize = 16;

    /// Ended when it is dropped.
    struct Ended(Child);

    impl Drop for Ended {
        fn drop(&mut self) {
            // It may have ended already.
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    pub(crate) fn all() {
        if std::env::var_os("KUBEBUILDER_ASSETS").is_none_or(|folder| folder.is_empty()) {
            println!("nothing is measured: KUBEBUILDER_ASSETS is not set");
            return;
        }
        let aggregation = Aggregation::open();
        let (_fleet, targets) = fleet();
        ours(&aggregation, &targets);
        match std::env::var_os("FLEETGAUGE_PROMETHEUS_ADAPTER") {
            Some(program) => adapters(&aggregation, &targets, Path::new(&program)),
            None => println!("prometheus-adapter is not measured: FLEETGAUGE_PROMETHEUS_ADAPTER is not set"),
        }
    }

    /// Simulated pods, and the file of their targets.
    fn fleet() -> (Ended, String) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_fleetgauge"))
            .args(["demo", "--serve-fleet-only", "-o", "json", "--pods", PODS])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the fleet starts");
        let mut line = String::new();
        let out = child.stdout.as_mut().expect("piped");
        BufReader::new(out).read_line(&mut line).expect("a line");
        let told: Value = serde_json::from_str(&line).expect("JSON");
        let targets = told["targets_file"].as_str().expect("a file").to_owned();
        (Ended(child), targets)
    }

    /// Puts pods into groups, in both.
    fn relabeling() -> Value {
        json!([{
            "action": "hashmod", "source_labels": ["__address__"], "modulus": GROUPS, "target_label": "group",
        }])
    }

    fn ours(aggregation: &Aggregation, targets: &str) {
        aggregation
            .give_rights(&json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}]));
        let config = json!({
            "kubernetes": {"kubeconfig": "kubeconfig"},
            "external_metrics": {
                "listen": format!("{SERVICE}:0"), "tls": {"cert_file": "tls.crt", "key_file": "tls.key"},
            },
            "sources": {"pods": {"scrape": {
                "interval": "1s", "discovery": [{"files": [targets]}], "relabel_configs": relabeling(),
            }}},
            "queries": [{"name": "waiting", "template": "sum by (group) (vllm:num_requests_waiting)"}],
            "metrics": [{"name": "waiting", "source": "pods", "query": "waiting", "every": "1s", "fold": "none"}],
        });
        let file = aggregation.directory.path().join("fleetgauge.yaml");
        fs::write(&file, config.to_string()).expect("written");
        let daemon = Daemon::start(&file);
        let logged = daemon.logged("serving the metrics APIs of Kubernetes at");
        let door = logged
            .rsplit(' ')
            .next()
            .expect("words")
            .parse()
            .expect("an address");
        aggregation.until_open(door);
        ask_at_rate("fleetgauge", aggregation, door, daemon.process.id());
        // What it does without anybody who asks.
        let (before, begun) = (cpu(daemon.process.id()), Instant::now());
        std::thread::sleep(MEASURED);
        let cores = (cpu(daemon.process.id()) - before).as_secs_f64() / begun.elapsed().as_secs_f64();
        println!("fleetgauge, without requests, scraping {PODS} pods every second: {cores:.2} cores");
    }

    fn adapters(aggregation: &Aggregation, targets: &str, program: &Path) {
        let prometheus = prometheus_of(targets, &relabeling());
        let rules = json!({"externalRules": [{
            "seriesQuery": "vllm:num_requests_waiting",
            "resources": {"namespaced": false},
            "name": {"as": "waiting"},
            "metricsQuery": "sum(<<.Series>>{<<.LabelMatchers>>}) by (group)",
        }]});
        let file = |name: &str| aggregation.directory.path().join(name).display().to_string();
        fs::write(file("rules.yaml"), rules.to_string()).expect("written");
        let door = free_port().expect("a port");
        let log = fs::File::create(file("adapter.log")).expect("a file");
        let kubeconfig = aggregation.cluster.kubeconfig().display().to_string();
        let adapter = Command::new(program)
            .args([
                format!("--bind-address={}", door.ip()),
                format!("--secure-port={}", door.port()),
                format!("--tls-cert-file={}", file("tls.crt")),
                format!("--tls-private-key-file={}", file("tls.key")),
                format!("--config={}", file("rules.yaml")),
                format!("--prometheus-url=http://{}", prometheus.addr()),
                "--metrics-relist-interval=5s".to_owned(),
                "--metrics-max-age=60s".to_owned(),
                format!("--authentication-kubeconfig={kubeconfig}"),
                format!("--authorization-kubeconfig={kubeconfig}"),
                format!("--lister-kubeconfig={kubeconfig}"),
            ])
            .stderr(log)
            .spawn()
            .expect("prometheus-adapter starts");
        let adapter = Ended(adapter);
        let (of_prometheus, begun) = (prometheus.pid(), Instant::now());
        let before = cpu(of_prometheus);
        ask_at_rate("prometheus-adapter", aggregation, door, adapter.0.id());
        let cores = (cpu(of_prometheus) - before).as_secs_f64() / begun.elapsed().as_secs_f64();
        println!("the Prometheus that it asks, with its scrapes: {cores:.2} cores");
    }

    /// As the API server asks on behalf of the HPA controller.
    fn ask_at_rate(what: &str, aggregation: &Aggregation, door: SocketAddr, pid: u32) {
        let user = "system:serviceaccount:kube-system:horizontal-pod-autoscaler";
        let on_behalf = [
            ("X-Remote-User", user),
            ("X-Remote-Group", "system:authenticated"),
        ];
        let path = |group: usize| {
            format!(
                "/apis/external.metrics.k8s.io/v1beta1/namespaces/{NAMESPACE}/waiting?labelSelector=group%3D{group}"
            )
        };
        let request = |group: usize| {
            let mut request = Request::get(path(group));
            for (name, value) in on_behalf {
                request = request.header(name, value);
            }
            request.body(Vec::new()).expect("a request")
        };
        let _inside = aggregation.runtime.enter();
        let client = || aggregation.client(door, aggregation.front_proxy());
        // Some groups are empty, but not most of them.
        let mut groups = Vec::new();
        until(|| {
            let client = client();
            let known = (0..GROUPS).filter(|group| {
                let asked =
                    tokio::time::timeout(Duration::from_secs(2), client.request_text(request(*group)));
                let answer = aggregation.runtime.block_on(asked);
                matches!(answer, Ok(Ok(answer)) if answer.contains("\"value\""))
            });
            groups = known.collect();
            groups.len() > GROUPS / 2
        });
        println!("{what} answers for {} groups", groups.len());
        let clients: Vec<(Client, usize)> = (0..CONNECTIONS).map(|at| (client(), at)).collect();
        let ask = async |(client, turn): (Client, usize)| {
            let request = request(groups[turn % groups.len()]);
            // Pods of this fleet die and come back: what is withheld meanwhile is an answer.
            match client.request_text(request).await {
                Ok(answer) => assert!(answer.contains("\"items\""), "{answer}"),
                Err(kube::Error::Api(status)) if status.code == 503 => {}
                Err(error) => panic!("{error}"),
            }
            (client, turn + CONNECTIONS)
        };
        aggregation
            .runtime
            .block_on(at_rate(what, pid, RATE, clients, ask));
    }
}

fn main() {
    #[cfg(all(target_os = "linux", feature = "kubernetes"))]
    measured::all();
}
