//! The daemon as an API server of a real cluster: the aggregator finds it, the HPA controller scales by it, and strangers stay
//! outside.

use std::fs;
use std::net::SocketAddr;
use std::ops::Deref;
use std::time::Instant;

use axum::Router;
use fleetgauge_testcluster::NodeAgent;
use fleetgauge_testkit::{Answer, FaultyServer};
use kube::api::{Api, Patch, PatchParams};
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

use crate::support::aggregation::{Aggregation, NAMESPACE, SERVICE};
use crate::support::daemon::{Daemon, PATIENCE, QUEUE, config, until};

const QUEUE_PATH: &str = "/apis/external.metrics.k8s.io/v1beta1/namespaces/scaled/queue";
/// There are rows of pods, but nobody can tell in which namespace these are.
const POD_PATH: &str = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/scaled/pods/*/rows";

/// A cluster of its own, since what is registered there is everybody's.
struct World {
    aggregation: Aggregation,
    daemon: Daemon,
    pod: FaultyServer,
    /// Where the door is.
    address: SocketAddr,
}

impl Deref for World {
    type Target = Aggregation;

    fn deref(&self) -> &Aggregation {
        &self.aggregation
    }
}

fn page(queue: f64, calls: f64) -> [Answer; 1] {
    [Answer::text(format!(
        "waiting{{pod=\"a\"}} {queue}\ncalls{{pod=\"a\"}} {calls}\n"
    ))]
}

/// Without a metric of those that are there.
fn page_without(queue: &str) -> [Answer; 1] {
    [Answer::text(format!("{queue}{{pod=\"a\"}} 1\n"))]
}

// === impl World ===

impl World {
    /// The daemon has the rights that are documented, and no others.
    fn start() -> Self {
        let aggregation = Aggregation::open();
        let directory = aggregation.directory.path();
        let pod = FaultyServer::start(page(50.0, 1.0)).unwrap();
        let metrics = format!(
            "{QUEUE}  - {{name: calls, query: calls, every: 100ms}}\n  \
             - {{name: rows, query: waiting, every: 100ms, fold: none}}\n\
             kubernetes: {{kubeconfig: kubeconfig}}\n\
             external_metrics: {{listen: \"{SERVICE}:0\", tls: {{cert_file: tls.crt, key_file: tls.key}}}}\n"
        );
        let file = config(directory, &pod, &metrics);
        let text = fs::read_to_string(&file).unwrap();
        let calls = "queries:\n  - {name: calls, template: 'sum(max_over_time(calls[2s]))', fold: {pod: max, variant: sum}}";
        fs::write(&file, text.replace("queries:", calls)).unwrap();
        let daemon = Daemon::start(&file);
        let logged = daemon.logged("serving the metrics APIs of Kubernetes at");
        let address = logged.rsplit(' ').next().unwrap().parse().unwrap();
        daemon.reading("queue", |reading| reading["value"] == 50);
        daemon.reading("calls", |reading| reading["value"] == 1);
        aggregation
            .give_rights(&json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}]));
        aggregation.until_open(address);
        Self {
            aggregation,
            daemon,
            pod,
            address,
        }
    }

    fn register(&self) {
        self.aggregation.register(self.address.port());
    }

    fn ask(&self, as_whom: Value, headers: &[(&str, &str)], path: &str) -> (u16, String) {
        self.aggregation.ask(self.address, as_whom, headers, path)
    }

    fn deploy(&self) -> NodeAgent {
        let labels = json!({"app": "chat"});
        self.apply(&json!([{
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "chat", "namespace": NAMESPACE},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"containers": [{"name": "engine", "image": "engine"}]},
                },
            },
        }]));
        self.runtime.block_on(async {
            let client = self.cluster.client().await.unwrap();
            NodeAgent::start(client, NAMESPACE, |_: &_| Router::new())
                .await
                .unwrap()
        })
    }

    /// Scales by these metrics, each of which is to be 10 of each replica.
    fn scale_by(&self, metrics: &[&str]) {
        let metric = |name: &&str| {
            json!({"type": "External", "external": {
                "metric": {"name": name}, "target": {"type": "AverageValue", "averageValue": "10"},
            }})
        };
        self.scale(metrics.iter().map(metric).collect());
    }

    fn scale(&self, metrics: Vec<Value>) {
        // At once, and from any number to any other.
        self.autoscale("chat", &json!(metrics), 0);
    }

    fn until_replicas(&self, expected: u32) {
        let deadline = Instant::now() + PATIENCE;
        while self.replicas() != expected {
            let said = || self.kubectl(&["get", "hpa", "--namespace", NAMESPACE, "--output", "yaml"]);
            assert!(
                Instant::now() < deadline,
                "not {expected} but {}: {}",
                self.replicas(),
                said()
            );
        }
    }

    fn replicas(&self) -> u32 {
        let path = "jsonpath={.spec.replicas}";
        let get = [
            "get",
            "deployment",
            "chat",
            "--namespace",
            NAMESPACE,
            "--output",
            path,
        ];
        self.kubectl(&get).parse().unwrap()
    }

    /// The condition `ScalingActive` of the HPA.
    fn is_active(&self) -> (String, String) {
        self.scaling_active("chat")
    }

    /// How many requests were answered with this status.
    fn answered(&self, code: u16) -> u32 {
        let own = self.daemon.get("/metrics").1;
        let series = format!("fleetgauge_door_requests_total{{door=\"external_metrics\",code=\"{code}\"}} ");
        let count = own.lines().find_map(|line| line.strip_prefix(&series));
        count.map_or(0, |count| count.parse().unwrap())
    }

    /// The HPA controller has asked so many times for what it was not told.
    fn until_refused(&self, times: u32) {
        let before = self.answered(503);
        until(|| self.answered(503) >= before + times);
    }
}

#[test]
#[ignore = "needs a Kubernetes control plane"]
fn the_real_hpa_scales_by_what_it_is_told_and_never_down_on_what_is_missing() {
    let world = World::start();
    world.register();

    // What clients see of it, by way of the API server.
    let list = world.get(QUEUE_PATH).unwrap();
    assert_eq!(list["items"][0]["value"], "50", "{list}");
    assert!(
        list["items"][0]["timestamp"].as_str().unwrap().ends_with('Z'),
        "{list}"
    );
    let calls = world.get(&QUEUE_PATH.replace("queue", "calls")).unwrap();
    assert_eq!(calls["items"][0]["window"], 2, "{calls}");
    let rows = QUEUE_PATH.replace("queue", "rows?labelSelector=pod%20in%20(a,b),!model");
    assert_eq!(world.get(&rows).unwrap()["items"][0]["metricLabels"]["pod"], "a");
    let error = world.get(&QUEUE_PATH.replace("queue", "queu")).unwrap_err();
    assert!(error.contains("did you mean \"queue\"?"), "{error}");
    let resources = world.kubectl(&[
        "api-resources",
        "--api-group=external.metrics.k8s.io",
        "--output=name",
    ]);
    assert!(resources.contains("queue.external.metrics.k8s.io"), "{resources}");
    let described = world.until_described();
    let v3 = world
        .get("/openapi/v3/apis/external.metrics.k8s.io/v1beta1")
        .unwrap();
    assert!(v3.to_string().contains("ExternalMetricValue"), "{v3}");

    let _agent = world.deploy();
    world.scale_by(&["queue"]);
    world.until_replicas(5);
    world.pod.set_script(page(12.0, 1.0)).unwrap();
    world.until_replicas(2);
    world.pod.set_script(page(25.0, 1.0)).unwrap();
    world.until_replicas(3);

    // It is withheld, and so it holds.
    world.pod.set_script([Answer::status(503)]).unwrap();
    world
        .daemon
        .reading("queue", |reading| reading["status"] == "withheld");
    until(|| world.is_active().0 == "False");
    world.until_refused(5);
    let (_, message) = world.is_active();
    assert!(message.contains("metric queue: "), "{message}");
    assert_eq!(world.replicas(), 3);
    // So it does where the other metric is fine and asks for less, and goes up where that asks for more.
    world.scale_by(&["queue", "calls"]);
    world.pod.set_script(page_without("calls")).unwrap();
    until(|| world.answered(503) > 0 && world.get(&QUEUE_PATH.replace("queue", "calls")).is_ok());
    assert!(world.get(QUEUE_PATH).is_err());
    world.until_refused(5);
    assert_eq!(world.replicas(), 3);
    world
        .pod
        .set_script([Answer::text("calls{pod=\"a\"} 45\n")])
        .unwrap();
    world.until_replicas(5);
    // What is measured counts again, be it little.
    world.pod.set_script(page(0.0, 0.0)).unwrap();
    world.until_replicas(1);
    assert_eq!(world.get(QUEUE_PATH).unwrap()["items"][0]["value"], "0");
    world.pod.set_script(page(60.0, 0.0)).unwrap();
    world.until_replicas(6);

    world.hears_no_complaint_since(described);

    // Nobody is there any more.
    let pid = world.daemon.process.id().to_string();
    assert!(
        std::process::Command::new("kill")
            .args(["-9", &pid])
            .status()
            .unwrap()
            .success()
    );
    until(|| world.is_active().0 == "False");
    assert_eq!(world.replicas(), 6, "{}", world.cluster.controllers_log());
}

/// So many requests wait at each of these pods.
fn page_of(pods: &[String], waiting: u32) -> [Answer; 1] {
    let rows = pods
        .iter()
        .map(|pod| format!("waiting{{namespace=\"scaled\",pod=\"{pod}\"}} {waiting}\n"));
    [Answer::text(rows.collect::<String>())]
}

#[test]
#[ignore = "needs a Kubernetes control plane"]
fn the_real_hpa_scales_by_metrics_of_pods() {
    let world = World::start();
    world.register();
    let _agent = world.deploy();
    world.kubectl(&[
        "scale",
        "deployment",
        "chat",
        "--replicas=2",
        "--namespace",
        NAMESPACE,
    ]);
    // Of pods that are ready: of the others nobody expects anything.
    let pods = |count: usize| {
        let path =
            "jsonpath={range .items[?(@.status.containerStatuses[0].ready==true)]}{.metadata.name} {end}";
        let get = [
            "get",
            "pods",
            "--selector=app=chat",
            "--namespace",
            NAMESPACE,
            "--output",
            path,
        ];
        let mut pods: Vec<String> = Vec::new();
        until(|| {
            pods = world
                .kubectl(&get)
                .split_whitespace()
                .map(str::to_owned)
                .collect();
            pods.len() == count
        });
        pods
    };
    let all = POD_PATH.to_owned() + "?labelSelector=app%3Dchat";
    let two = pods(2);
    world.pod.set_script(page_of(&two, 25)).unwrap();
    until(|| {
        world
            .get(&all)
            .is_ok_and(|list| list["items"].as_array().unwrap().len() == 2)
    });
    let list = world.get(&all).unwrap();
    assert_eq!(list["items"][0]["value"], "25", "{list}");
    let error = world
        .get(&(POD_PATH.to_owned() + "?labelSelector=app%3Dother"))
        .unwrap_err();
    assert!(error.contains("no pod is selected"), "{error}");

    world.scale(vec![json!({"type": "Pods", "pods": {
        "metric": {"name": "rows"}, "target": {"type": "AverageValue", "averageValue": "10"},
    }})]);
    // Those that are new have no number, and are taken to be idle.
    world.until_replicas(5);
    let five = pods(5);
    world.pod.set_script([Answer::status(503)]).unwrap();
    until(|| world.is_active().0 == "False");
    world.until_refused(5);
    let (_, message) = world.is_active();
    assert!(message.contains("metric rows: "), "{message}");
    assert_eq!(world.replicas(), 5);
    world.pod.set_script(page_of(&five, 1)).unwrap();
    world.until_replicas(1);
}

#[test]
#[ignore = "needs a Kubernetes control plane"]
fn strangers_stay_outside_and_the_cluster_says_who_sees_what() {
    let world = World::start();
    for account in ["reader", "stranger"] {
        world.kubectl(&["create", "serviceaccount", account, "--namespace", NAMESPACE]);
    }
    world.apply(&json!([
        {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "metadata": {"name": "reader", "namespace": NAMESPACE},
            "rules": [{"apiGroups": ["external.metrics.k8s.io"], "resources": ["queue"], "verbs": ["list"]}],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": "reader", "namespace": NAMESPACE},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
            "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": NAMESPACE}],
        },
    ]));
    let token = |account: &str| {
        let token = world.kubectl(&["create", "token", account, "--namespace", NAMESPACE]);
        json!({"token": token.trim()})
    };
    let (reader, stranger) = (token("reader"), token("stranger"));
    let files = world.cluster.kubeconfig();
    let file = |name: &str| files.with_file_name(name).display().to_string();
    let certificate = |name: &str| json!({"client-certificate": file(&format!("{name}.crt")), "client-key": file(&format!("{name}.key"))});
    // Of an authority that the cluster does not know, for the name that the front proxy has.
    let strange = world.directory.path().join("strange");
    fs::create_dir(&strange).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "front-proxy-client");
    fs::write(strange.join("crt"), params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(strange.join("key"), key.serialize_pem()).unwrap();
    let forger = json!({"client-certificate": strange.join("crt"), "client-key": strange.join("key")});

    let forged = [("X-Remote-User", "admin"), ("X-Remote-Group", "system:masters")];
    let on_behalf = [("X-Remote-User", "system:serviceaccount:scaled:reader")];
    let calls = QUEUE_PATH.replace("queue", "calls");
    let elsewhere = QUEUE_PATH.replace("scaled", "default");
    // What the front proxy is, is read when the door is opened.
    until(|| world.ask(certificate("front-proxy"), &on_behalf, "/apis").0 != 503);
    for (who, as_whom, headers, path, expected) in [
        ("anonymous", json!({}), &[][..], QUEUE_PATH, 401),
        ("anonymous, forged", json!({}), &forged, QUEUE_PATH, 401),
        ("anonymous", json!({}), &[], "/apis", 401),
        ("anonymous", json!({}), &[], "/openapi/v2", 401),
        ("anonymous", json!({}), &[], "/livez", 200),
        (
            "no token of the cluster",
            json!({"token": "nonsense"}),
            &[],
            QUEUE_PATH,
            401,
        ),
        ("a stranger's certificate", forger.clone(), &[], QUEUE_PATH, 401),
        (
            "a stranger's certificate, forged",
            forger,
            &forged,
            QUEUE_PATH,
            401,
        ),
        (
            "an account without rights",
            stranger.clone(),
            &[],
            QUEUE_PATH,
            403,
        ),
        (
            "an account without rights, forged",
            stranger.clone(),
            &forged,
            QUEUE_PATH,
            403,
        ),
        // Everybody who is known may find out what there is.
        ("an account without rights", stranger, &[], "/apis", 200),
        (
            "an account with rights to one metric",
            reader.clone(),
            &[],
            QUEUE_PATH,
            200,
        ),
        (
            "an account with rights to one metric",
            reader.clone(),
            &[],
            &calls,
            403,
        ),
        (
            "an account with rights to one metric",
            reader,
            &[],
            &elsewhere,
            403,
        ),
        (
            "a user of the cluster",
            certificate("admin"),
            &[],
            QUEUE_PATH,
            200,
        ),
        ("a user of the cluster", certificate("admin"), &[], POD_PATH, 400),
        // The controller manager's own user may list everything and get little, whoever he says he is.
        (
            "another user, forged",
            certificate("manager"),
            &forged,
            POD_PATH,
            403,
        ),
        (
            "the front proxy",
            certificate("front-proxy"),
            &on_behalf,
            QUEUE_PATH,
            200,
        ),
        (
            "the front proxy",
            certificate("front-proxy"),
            &on_behalf,
            &calls,
            403,
        ),
        (
            "the front proxy on behalf of nobody",
            certificate("front-proxy"),
            &[],
            QUEUE_PATH,
            401,
        ),
    ] {
        let (code, message) = world.ask(as_whom, headers, path);
        assert_eq!(code, expected, "{who} {path}: {message}");
    }

    // The cluster says otherwise from now on, and the door hears of it.
    let change = |names: &str| {
        world.runtime.block_on(async {
            let client = world.cluster.client().await.unwrap();
            let maps: Api<k8s_openapi::api::core::v1::ConfigMap> = Api::namespaced(client, "kube-system");
            let patch = Patch::Merge(json!({"data": {"requestheader-allowed-names": names}}));
            let name = "extension-apiserver-authentication";
            maps.patch(name, &PatchParams::default(), &patch).await.unwrap();
        });
    };
    let proxied = || world.ask(certificate("front-proxy"), &on_behalf, QUEUE_PATH).0;
    change("[\"another\"]");
    until(|| proxied() == 401);
    change("[\"front-proxy-client\"]");
    until(|| proxied() == 200);
}
