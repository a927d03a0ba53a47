//! A cluster in which the loop is closed: users make engines busy, the daemon reads them, the HPA controller scales by that, and what
//! is scaled changes what is read.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fleetgauge_testcluster::{Engines, NodeAgent};
use fleetgauge_testkit::process::free_port;
use fleetgauge_testkit::{Answer, FaultyServer};
use futures_util::StreamExt as _;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};

use super::aggregation::{Aggregation, NAMESPACE, SERVICE};
use super::daemon::{Daemon, PATIENCE, until};

/// How many requests an HPA wants for each replica.
pub(crate) const TARGET: u32 = 10;

/// A request that goes from one engine to another between the scrapes of both may be seen at neither.
pub(crate) const UNDER_WAY: u32 = 5;

/// From what the engines have to what the HPA desires: a scrape, a refresh, one of its rounds, which are two seconds apart, and the
/// next, which may just have asked.
pub(crate) const LAG: Duration = Duration::from_secs(8);

/// An HPA scales down by what it has wanted for so many seconds: a pod that goes takes its requests along until they are
/// sent again.
pub(crate) const STABILIZATION: u32 = 5;

/// Two Deployments that serve one model in one namespace: one that scales by the load of its engines alone, and one that has a
/// second metric.
pub(crate) const ALONE: &str = "alone";
pub(crate) const PAIR: &str = "pair";

pub(crate) const FIFTY: u32 = 50;

pub(crate) struct Loop {
    pub(crate) aggregation: Aggregation,
    pub(crate) engines: Engines,
    pub(crate) _agent: NodeAgent,
    /// What says how much of other work there is, and never fails.
    pub(crate) backlog: FaultyServer,
    pub(crate) daemon: Option<Daemon>,
    pub(crate) door: SocketAddr,
    pub(crate) desires: Arc<Mutex<Vec<Desire>>>,
}

/// What an HPA said, and what it could not have meant to go below.
#[derive(Debug)]
#[expect(dead_code, reason = "`hpa` is told where it is wrong")]
pub(crate) struct Desire {
    pub(crate) hpa: String,
    pub(crate) replicas: u32,
    pub(crate) least: u32,
}

pub(crate) fn backlog(items: u32) -> [Answer; 1] {
    [Answer::text(format!("backlog{{pod=\"other\"}} {items}\n"))]
}

pub(crate) fn load_of(variant: &str) -> Value {
    external(json!({"name": "variant_load", "selector": {"matchLabels": {"variant": variant}}}))
}

pub(crate) fn external(metric: Value) -> Value {
    let target = json!({"type": "AverageValue", "averageValue": TARGET.to_string()});
    json!({"type": "External", "external": {"metric": metric, "target": target}})
}

pub(crate) fn deployment(name: &str, namespace: &str) -> Value {
    let labels = json!({"app": name, "engine": "simulated"});
    let ports = json!([{"name": "metrics", "containerPort": 8124}]);
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "engine", "image": "engine", "ports": ports}]},
            },
        },
    })
}

/// What an HPA has to desire at least, whose engines have had so much.
pub(crate) fn least_replicas(requests: u32) -> u32 {
    requests.saturating_sub(UNDER_WAY).div_ceil(TARGET).clamp(1, 6)
}

/// Writes down what HPAs desire, each time that one of them says something.
async fn listen(client: Client, engines: Engines, desires: Arc<Mutex<Vec<Desire>>>) {
    let hpas: Api<HorizontalPodAutoscaler> = Api::namespaced(client, NAMESPACE);
    let mut events = watcher(hpas, watcher::Config::default())
        .default_backoff()
        .boxed();
    while let Some(event) = events.next().await {
        if let Ok(watcher::Event::Apply(hpa) | watcher::Event::InitApply(hpa)) = event
            && let Some(status) = &hpa.status
            // Before it has known a number for the first time, it desires none, and does nothing.
            && status.desired_replicas > 0
        {
            let name = hpa.name_any();
            let least = least_replicas(engines.fewest(&name, LAG));
            let replicas = u32::try_from(status.desired_replicas).unwrap();
            desires.lock().unwrap().push(Desire {
                hpa: name,
                replicas,
                least,
            });
        }
    }
}

// === impl Loop ===

impl Loop {
    pub(crate) fn start() -> Self {
        let aggregation = Aggregation::open();
        let watched = |group: &str, resources: &[&str]| json!({"apiGroups": [group], "resources": resources, "verbs": ["list", "watch"]});
        aggregation.give_rights(&json!([
            watched("", &["pods"]),
            watched("apps", &["replicasets", "statefulsets"]),
            watched("batch", &["jobs"]),
            watched("autoscaling", &["horizontalpodautoscalers"]),
            watched("keda.sh", &["scaledobjects"]),
            watched("llmd.ai", &["variantautoscalings"]),
        ]));
        let backlog = FaultyServer::start(backlog(0)).unwrap();
        // Where it is when it comes back, too.
        let door = SocketAddr::new(SERVICE.parse().unwrap(), free_port().unwrap().port());
        let text = format!(
            "kubernetes: {{kubeconfig: kubeconfig}}\n\
             external_metrics: {{listen: \"{door}\", tls: {{cert_file: tls.crt, key_file: tls.key}}}}\n\
             sources:\n  \
               pods: {{scrape: {{interval: 100ms, discovery: [{{kubernetes: {{namespaces: [{NAMESPACE}], selector: engine=simulated, ports: [metrics]}}}}]}}}}\n  \
               other: {{scrape: {{interval: 100ms, discovery: [{{static: [\"{}\"]}}]}}}}\n\
             queries:\n  \
               - {{name: load, template: 'sum by (namespace, pod) (vllm:num_requests_running + vllm:num_requests_waiting)', fold: {{pod: max, variant: sum}}}}\n  \
               - {{name: backlog, template: backlog, fold: {{pod: max, variant: sum}}}}\n  \
               - {{name: never, template: never, fold: {{pod: max, variant: sum}}}}\n\
             metrics:\n  \
               - {{name: variant_load, source: pods, query: load, every: 100ms, for_each: variant}}\n  \
               - {{name: pod_load, source: pods, query: load, every: 100ms, fold: none, policy: {{min_completeness: 0.5}}}}\n  \
               - {{name: backlog, source: other, query: backlog, every: 100ms}}\n  \
               - {{name: never, source: other, query: never, every: 100ms}}\n",
            backlog.addr()
        );
        fs::write(aggregation.directory.path().join("fleetgauge.yaml"), text).unwrap();
        let (engines, agent) = aggregation.runtime.block_on(async {
            let engines = Engines::start();
            let client = aggregation.cluster.client().await.unwrap();
            let routers = engines.clone();
            let agent = NodeAgent::start(client, NAMESPACE, move |pod| routers.router(pod)).await;
            (engines, agent.unwrap())
        });
        let mut made = Self {
            aggregation,
            engines,
            _agent: agent,
            backlog,
            daemon: None,
            door,
            desires: Arc::default(),
        };
        let token = json!({"tokenFile": made.token()});
        made.write_token("first");
        made.aggregation.write_kubeconfig(&token);
        made.start_daemon();
        made.aggregation.register(door.port());
        made
    }

    /// The file that the daemon's token is in.
    pub(crate) fn token(&self) -> PathBuf {
        self.aggregation.directory.path().join("token")
    }

    /// Writes another token for the daemon, which lasts as long as the secret of this name.
    pub(crate) fn write_token(&self, secret: &str) {
        let cluster = &self.aggregation;
        cluster.kubectl(&["create", "secret", "generic", secret, "--namespace", NAMESPACE]);
        let bound = ["--bound-object-kind=Secret", "--bound-object-name", secret];
        let args = [
            &["create", "token", "fleetgauge", "--namespace", NAMESPACE][..],
            &bound,
        ]
        .concat();
        fs::write(self.token(), cluster.kubectl(&args).trim()).unwrap();
    }

    /// The first token is refused, and who is new is judged all the same, which takes asking the API server.
    pub(crate) fn until_only_the_second_counts(&self, first: &str) {
        let is_refused = || {
            self.aggregation.runtime.block_on(async {
                let mut config = self.aggregation.cluster.config().await.unwrap();
                config.auth_info = serde_json::from_value(json!({"token": first})).unwrap();
                let pods: Api<Pod> = Api::all(Client::try_from(config).unwrap());
                let refused = pods.list(&ListParams::default()).await;
                matches!(refused, Err(kube::Error::Api(status)) if status.code == 401)
            })
        };
        until(is_refused);
        self.aggregation
            .kubectl(&["create", "serviceaccount", "stranger", "--namespace", NAMESPACE]);
        let token = self
            .aggregation
            .kubectl(&["create", "token", "stranger", "--namespace", NAMESPACE]);
        let path = format!("/apis/external.metrics.k8s.io/v1beta1/namespaces/{NAMESPACE}/variant_load");
        let ask = || {
            self.aggregation
                .ask(self.door, json!({"token": token.trim()}), &[], &path)
        };
        until(|| ask().0 == 403);
    }

    /// The HPA controller has come away without a number so many times.
    pub(crate) fn until_given_up(&self, times: usize) {
        let given_up = || {
            self.aggregation
                .cluster
                .controllers_log()
                .matches("failed to compute desired number of replicas")
                .count()
        };
        let before = given_up();
        until(|| given_up() >= before + times);
    }

    pub(crate) fn start_daemon(&mut self) {
        let file = self.aggregation.directory.path().join("fleetgauge.yaml");
        let daemon = self.daemon.insert(Daemon::start(&file));
        daemon.logged("serving the metrics APIs of Kubernetes at");
        self.aggregation.until_open(self.door);
    }

    pub(crate) fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().unwrap()
    }

    pub(crate) fn deploy(&self, name: &str) {
        self.aggregation.apply(&json!([deployment(name, NAMESPACE)]));
    }

    /// Whoever scales is watched from now on.
    pub(crate) fn listen(&self) {
        let client = self
            .aggregation
            .runtime
            .block_on(self.aggregation.cluster.client())
            .unwrap();
        let listening = listen(client, self.engines.clone(), self.desires.clone());
        self.aggregation.runtime.spawn(listening);
    }

    /// What the daemon tells of a variant, if anything.
    pub(crate) fn told(&self, variant: &str) -> Option<u64> {
        let readings = self.daemon().json("metrics/variant_load")["readings"].take();
        let of_it = |reading: &&Value| reading["labels"]["variant"] == variant;
        let reading = readings.as_array().unwrap().iter().find(of_it)?;
        reading["value"].as_u64()
    }

    pub(crate) fn replicas(&self, deployment: &str) -> u32 {
        let path = "jsonpath={.spec.replicas}";
        let get = [
            "get",
            "deployment",
            deployment,
            "--namespace",
            NAMESPACE,
            "--output",
            path,
        ];
        self.aggregation.kubectl(&get).parse().unwrap()
    }

    /// There are so many engines, as the HPA wants it, they have all that is asked of them, and that is what is told.
    pub(crate) fn until_level(&self, deployment: &str, replicas: u32, users: u32) {
        let deadline = Instant::now() + PATIENCE;
        let is_level = || {
            self.replicas(deployment) == replicas
                && self.engines.count(deployment) == replicas as usize
                && self.told(deployment) == Some(users.into())
        };
        while !is_level() {
            let hpa = || {
                self.aggregation.kubectl(&[
                    "get",
                    "hpa",
                    deployment,
                    "--namespace",
                    NAMESPACE,
                    "--output",
                    "yaml",
                ])
            };
            assert!(
                Instant::now() < deadline,
                "{deployment}: {} replicas instead of {replicas}, {} requests, told are {:?}: {}\n{:#?}",
                self.replicas(deployment),
                self.engines.requests(deployment),
                self.told(deployment),
                hpa(),
                self.desires.lock().unwrap(),
            );
        }
        self.judge();
    }

    /// No HPA has ever desired fewer replicas than the engines needed.
    pub(crate) fn judge(&self) {
        let desires = self.desires.lock().unwrap();
        let wrong: Vec<_> = desires
            .iter()
            .filter(|desire| desire.replicas < desire.least)
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    /// The condition of both HPAs says that there is no number, and why: in one of these words.
    pub(crate) fn until_both_are_told(&self, reasons: &[&str]) {
        for hpa in [ALONE, PAIR] {
            let deadline = Instant::now() + PATIENCE;
            loop {
                let (status, message) = self.aggregation.scaling_active(hpa);
                if status == "False" && reasons.iter().any(|reason| message.contains(reason)) {
                    break;
                }
                assert!(
                    Instant::now() < deadline,
                    "{hpa}: {status} {message:?} has none of {reasons:?}"
                );
            }
        }
    }

    /// How many requests of HPAs were answered with this status.
    pub(crate) fn answered(&self, code: u16) -> u32 {
        let own = self.daemon().get("/metrics").1;
        let series = format!("fleetgauge_door_requests_total{{door=\"external_metrics\",code=\"{code}\"}} ");
        let count = own.lines().find_map(|line| line.strip_prefix(&series));
        count.map_or(0, |count| count.parse().unwrap())
    }

    /// Numbers are missing: both hold, whatever the other metric asks for that is less, for longer than the time for which an HPA
    /// remembers that it wanted more; and the one that has another metric follows that up.
    pub(crate) fn hold(&self, replicas: (u32, u32), reasons: &[&str]) {
        self.until_both_are_told(reasons);
        let before = self.answered(503);
        // At each round, one of each HPA.
        until(|| self.answered(503) >= before + 10);
        assert_eq!((self.replicas(ALONE), self.replicas(PAIR)), replicas);
        self.backlog.set_script(backlog(58)).unwrap();
        until(|| self.replicas(PAIR) == 6);
        self.backlog.set_script(backlog(0)).unwrap();
        let before = self.answered(503);
        until(|| self.answered(503) >= before + 10);
        assert_eq!((self.replicas(ALONE), self.replicas(PAIR)), (replicas.0, 6));
        self.judge();
    }
}
