//! Pods as targets.
//!
//! A pod is a target as soon as it has an address and until it is gone, ready or not, as Prometheus has it: one that is not ready may have
//! much to tell. One that ought to be a target and cannot be, since it lacks the port that was named, is told as a problem; so is
//! an outage, in which the targets stay as they were.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use fleetgauge_core::target::{
    ADDRESS, Discovered, DiscoveryError, Snapshot, SnapshotStream, TargetDiscovery, TargetLabels,
};
use fleetgauge_core::time::{Clock, Moment};
use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::{Container, ContainerPort, Pod};
use kube::api::Api;
use kube::runtime::watcher;
use kube::{Client, ResourceExt as _};

use crate::object::Kind;
use crate::told::{Told, apis, are_told, silence};
use crate::watch::WatchConfig;
use crate::watched::Watched;

/// Which pods are targets, and where they are scraped.
///
/// ```
/// use fleetgauge_kube::discovery::{PodPort, PodSelection};
///
/// let pods = PodSelection::new(PodPort::Name("metrics".into())).in_namespaces(["chat"]).selected_by("app=vllm");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PodSelection {
    /// The namespaces; none for all.
    pub namespaces: Vec<String>,
    /// A selector of labels.
    pub selector: Option<String>,
    /// A selector of fields.
    pub field_selector: Option<String>,
    /// Labels of pods that their samples get, such as `llm-d.ai/variant` as `llm_d_ai_variant`.
    pub labels: Vec<String>,
    /// The ports: a target each. Several are those of a server with several ranks.
    pub ports: Vec<PodPort>,
}

/// A port of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PodPort {
    /// This one, whether or not the pod declares it.
    Number(u16),
    /// The one that a container declares by this name.
    Name(String),
    /// The one in the annotation `prometheus.io/port`, with the path and the scheme in those beside it.
    Annotated,
}

/// Finds targets by watching pods, for as long as it is there or what it tells is read.
///
/// Labels: `namespace`, `pod`, `node`, `container` of a port that one declares, and for relabeling these of Prometheus's:
/// `__meta_kubernetes_` with `namespace`, `pod_name`, `pod_uid`, `pod_ip`, `pod_node_name`, `pod_phase`, `pod_ready`, `pod_label_NAME`,
/// `pod_container_name`, `pod_container_port_name` and `pod_container_port_number`.
///
/// *Source*: <https://prometheus.io/docs/prometheus/latest/configuration/configuration/#pod>.
pub struct PodDiscovery {
    title: String,
    told: Told,
}

/// What is known of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Found {
    targets: Vec<Arc<TargetLabels>>,
    problems: Vec<DiscoveryError>,
}

// === impl PodSelection ===

impl PodSelection {
    /// All pods, at this port.
    pub fn new(port: PodPort) -> Self {
        Self {
            namespaces: Vec::new(),
            selector: None,
            field_selector: None,
            labels: Vec::new(),
            ports: vec![port],
        }
    }

    /// Only the pods of these namespaces.
    #[must_use]
    pub fn in_namespaces<N: Into<String>>(mut self, namespaces: impl IntoIterator<Item = N>) -> Self {
        self.namespaces = namespaces.into_iter().map(Into::into).collect();
        self
    }

    /// Only the pods whose labels a selector fits, such as `app=vllm`.
    #[must_use]
    pub fn selected_by(mut self, selector: impl Into<String>) -> Self {
        self.selector = Some(selector.into());
        self
    }

    /// Only the pods whose fields a selector fits, such as `spec.nodeName=gpu-7`.
    #[must_use]
    pub fn with_fields(mut self, selector: impl Into<String>) -> Self {
        self.field_selector = Some(selector.into());
        self
    }

    /// Gives samples this label of their pod.
    #[must_use]
    pub fn with_label(mut self, name: impl Into<String>) -> Self {
        self.labels.push(name.into());
        self
    }

    /// At this port, too.
    #[must_use]
    pub fn with_port(mut self, port: PodPort) -> Self {
        self.ports.push(port);
        self
    }

    /// `None` for a pod that cannot be scraped: it has no address yet, or has finished.
    fn find(&self, pod: &Pod) -> Option<Found> {
        let status = pod.status.as_ref()?;
        let address: IpAddr = status.pod_ip.as_ref()?.parse().ok()?;
        if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
            return None;
        }
        let common = self.labels_of(pod, address);
        let mut found = Found::default();
        for port in &self.ports {
            match port.of(pod) {
                Ok(places) => found.targets.extend(places.into_iter().map(|place| {
                    let mut labels = common.clone();
                    labels.insert(ADDRESS.into(), SocketAddr::new(address, place.port).to_string());
                    labels.extend(place.labels);
                    Arc::new(labels)
                })),
                Err(lack) => {
                    let namespace = pod.namespace().unwrap_or_default();
                    let detail = format!("{namespace}/{} {lack}", pod.name_any());
                    let labels = Arc::new(common.clone());
                    found.problems.push(DiscoveryError::Target { labels, detail });
                }
            }
        }
        Some(found)
    }

    fn labels_of(&self, pod: &Pod, address: IpAddr) -> TargetLabels {
        let status = pod.status.as_ref();
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
        let node = node.unwrap_or_default();
        let mut conditions = status
            .iter()
            .flat_map(|status| status.conditions.iter().flatten());
        let ready = conditions.find(|condition| condition.type_ == "Ready");
        let ready = ready.map_or("unknown".to_owned(), |ready| ready.status.to_lowercase());
        let meta = |name: &str, value: String| (format!("__meta_kubernetes_{name}"), value);
        let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
        let mut labels = BTreeMap::from([
            ("namespace".to_owned(), namespace.clone()),
            ("pod".to_owned(), name.clone()),
            ("node".to_owned(), node.clone()),
            meta("namespace", namespace),
            meta("pod_name", name),
            meta("pod_uid", pod.uid().unwrap_or_default()),
            meta("pod_ip", address.to_string()),
            meta("pod_node_name", node),
            meta(
                "pod_phase",
                status.and_then(|status| status.phase.clone()).unwrap_or_default(),
            ),
            meta("pod_ready", ready),
        ]);
        for (name, value) in pod.labels() {
            let sanitized = sanitized(name);
            labels.insert(format!("__meta_kubernetes_pod_label_{sanitized}"), value.clone());
            if self.labels.contains(name) {
                labels.insert(sanitized, value.clone());
            }
        }
        labels
    }
}

/// A label's name, as Prometheus takes it.
fn sanitized(name: &str) -> String {
    name.replace(|c: char| !c.is_ascii_alphanumeric() && c != '_', "_")
}

// === impl PodPort ===

/// A port, and the labels that come with it.
struct Place {
    port: u16,
    labels: Vec<(String, String)>,
}

impl PodPort {
    /// The ports of a pod, at least one; or what it lacks, as the end of a sentence.
    fn of(&self, pod: &Pod) -> Result<Vec<Place>, String> {
        let containers = || pod.spec.iter().flat_map(|spec| &spec.containers);
        let declared = || {
            containers().flat_map(|container| {
                let ports = container.ports.iter().flatten();
                ports.map(move |port| (container, port))
            })
        };
        match self {
            PodPort::Number(number) => {
                let declared = declared().find(|(_, port)| port.container_port == i32::from(*number));
                let labels = declared.map_or(Vec::new(), |(container, port)| labels_of(container, port));
                Ok(vec![Place {
                    port: *number,
                    labels,
                }])
            }
            PodPort::Name(name) => {
                let places = declared().filter(|(_, port)| port.name.as_ref() == Some(name));
                let places: Vec<_> = places
                    .filter_map(|(container, port)| {
                        Some(Place {
                            port: u16::try_from(port.container_port).ok()?,
                            labels: labels_of(container, port),
                        })
                    })
                    .collect();
                if places.is_empty() {
                    return Err(format!("has no port named {name:?}"));
                }
                Ok(places)
            }
            PodPort::Annotated => {
                let annotation = |name: &str| pod.annotations().get(&format!("prometheus.io/{name}"));
                let port = annotation("port").ok_or("has no annotation prometheus.io/port")?;
                let port = port
                    .parse()
                    .map_err(|_| format!("has {port:?} in its annotation prometheus.io/port"))?;
                let label = |name: &str, value: &String| (name.to_owned(), value.clone());
                let path = annotation("path").map(|path| label("__metrics_path__", path));
                let scheme = annotation("scheme").map(|scheme| label("__scheme__", scheme));
                Ok(vec![Place {
                    port,
                    labels: path.into_iter().chain(scheme).collect(),
                }])
            }
        }
    }
}

fn labels_of(container: &Container, port: &ContainerPort) -> Vec<(String, String)> {
    let meta = |name: &str, value: String| (format!("__meta_kubernetes_pod_container_{name}"), value);
    let mut labels = vec![
        ("container".to_owned(), container.name.clone()),
        meta("name", container.name.clone()),
        meta("port_number", port.container_port.to_string()),
    ];
    labels.extend(port.name.clone().map(|name| meta("port_name", name)));
    labels
}

// === impl PodDiscovery ===

impl PodDiscovery {
    /// Watches the pods of `selection`, within the present runtime. Of `config` it takes how patient it is.
    pub fn start(client: &Client, selection: PodSelection, config: &WatchConfig, clock: &Clock) -> Self {
        let apis: Vec<Api<Pod>> = apis(client, &selection.namespaces);
        let title = match &selection.namespaces[..] {
            [] => "kubernetes_sd pod".to_owned(),
            some => format!("kubernetes_sd pod {}", some.join(", ")),
        };
        let which = match &selection.selector {
            Some(selector) => watcher::Config::default().labels(selector),
            None => watcher::Config::default(),
        };
        let which = match &selection.field_selector {
            Some(selector) => which.fields(selector),
            None => which,
        };
        let silent_for = config.silent_for;
        let tell = move |known: &[Watched<Found>], now| snapshot(known, now, silent_for);
        let read = move |pod: &Pod| selection.find(pod);
        let told = Told::start(&Kind::POD, apis, &which, config, clock, read, tell);
        Self { title, told }
    }
}

impl TargetDiscovery for PodDiscovery {
    fn name(&self) -> &str {
        &self.title
    }

    fn watch(self: Arc<Self>) -> SnapshotStream {
        let snapshots = self.told.snapshots();
        // The watches go on for as long as someone reads what they tell.
        let keep = move |snapshot| {
            let _watches = &self;
            snapshot
        };
        snapshots.map(keep).boxed()
    }
}

/// Nothing, until it is known of every namespace which pods there are, or why that is not known.
fn snapshot(known: &[Watched<Found>], now: Moment, silent_for: Duration) -> Snapshot {
    if !are_told(known) {
        return Snapshot::NotYet;
    }
    let mut found = Found::default();
    for watched in known {
        for pod in watched.objects() {
            found.targets.extend_from_slice(&pod.targets);
            found.problems.extend_from_slice(&pod.problems);
        }
        found.problems.extend(silence(watched, now, silent_for));
    }
    Snapshot::Known(Discovered::new(found.targets).with_problems(found.problems))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(spec: Value, status: Value) -> Pod {
        let metadata = json!({
            "namespace": "chat",
            "name": "llama-0",
            "uid": "u",
            "labels": {"app": "vllm", "llm-d.ai/variant": "llama-h100"},
            "annotations": {"prometheus.io/port": "9000", "prometheus.io/path": "/stats"},
        });
        serde_json::from_value(json!({"metadata": metadata, "spec": spec, "status": status})).unwrap()
    }

    fn engine() -> Value {
        let port = |name: &str, number: u16| json!({"name": name, "containerPort": number});
        json!({"nodeName": "n", "containers": [
            {"name": "engine", "ports": [port("http", 8000), port("metrics", 8001)]},
            {"name": "proxy", "ports": [port("metrics", 9001)]},
        ]})
    }

    fn running(address: &str) -> Value {
        json!({"phase": "Running", "podIP": address, "conditions": [{"type": "Ready", "status": "False"}]})
    }

    /// Addresses with their containers, and problems.
    fn found(port: PodPort, pod: &Pod) -> (Vec<String>, Vec<String>) {
        let found = PodSelection::new(port).find(pod).unwrap();
        let target = |target: &Arc<TargetLabels>| {
            let container = target.get("container").map_or("", String::as_str);
            format!("{} {container}", target[ADDRESS])
        };
        let targets = found.targets.iter().map(target).collect();
        (targets, found.problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn ports_are_found_by_number_name_and_annotation() {
        let pod = pod(engine(), running("10.0.0.7"));
        let check = |port, expected: &[&str]| assert_eq!(found(port, &pod), (owned(expected), vec![]));
        check(PodPort::Number(8000), &["10.0.0.7:8000 engine"]);
        check(PodPort::Number(7000), &["10.0.0.7:7000 "]);
        let named = PodPort::Name("metrics".into());
        check(named, &["10.0.0.7:8001 engine", "10.0.0.7:9001 proxy"]);
        check(PodPort::Annotated, &["10.0.0.7:9000 "]);
        let annotated = PodSelection::new(PodPort::Annotated).find(&pod).unwrap();
        assert_eq!(annotated.targets[0]["__metrics_path__"], "/stats");
        let ranks = PodSelection::new(PodPort::Number(1)).with_port(PodPort::Number(2));
        assert_eq!(ranks.find(&pod).unwrap().targets.len(), 2);
    }

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    /// A sum over the others would look right.
    #[test]
    fn a_pod_that_lacks_its_port_is_a_problem() {
        let mut pod = pod(engine(), running("10.0.0.7"));
        let named = found(PodPort::Name("stats".into()), &pod);
        assert_eq!(
            named,
            (vec![], owned(&["chat/llama-0 has no port named \"stats\""]))
        );
        pod.annotations_mut()
            .insert("prometheus.io/port".into(), "x".into());
        let annotated = found(PodPort::Annotated, &pod).1;
        assert_eq!(
            annotated,
            ["chat/llama-0 has \"x\" in its annotation prometheus.io/port"]
        );
        pod.annotations_mut().clear();
        let annotated = found(PodPort::Annotated, &pod).1;
        assert_eq!(annotated, ["chat/llama-0 has no annotation prometheus.io/port"]);
    }

    #[test]
    fn what_cannot_be_scraped_is_no_target() {
        let selection = PodSelection::new(PodPort::Number(8000));
        for status in [
            json!({"phase": "Pending"}),
            json!({"phase": "Succeeded", "podIP": "10.0.0.7"}),
            json!({"phase": "Failed", "podIP": "10.0.0.7"}),
        ] {
            assert_eq!(selection.find(&pod(engine(), status)), None);
        }
        let six = found(PodPort::Number(8000), &pod(engine(), running("fd00::7"))).0;
        assert_eq!(six, ["[fd00::7]:8000 engine"]);
    }

    #[test]
    fn labels_are_prometheuss_and_those_that_are_asked_for() {
        let selection = PodSelection::new(PodPort::Name("http".into())).with_label("llm-d.ai/variant");
        let found = selection.find(&pod(engine(), running("10.0.0.7"))).unwrap();
        let labels: Vec<_> = found.targets[0]
            .iter()
            .map(|(name, value)| format!("{}={value}", name.replace("__meta_kubernetes_", "META_")))
            .collect();
        let expected = [
            "__address__=10.0.0.7:8000",
            "META_namespace=chat",
            "META_pod_container_name=engine",
            "META_pod_container_port_name=http",
            "META_pod_container_port_number=8000",
            "META_pod_ip=10.0.0.7",
            "META_pod_label_app=vllm",
            "META_pod_label_llm_d_ai_variant=llama-h100",
            "META_pod_name=llama-0",
            "META_pod_node_name=n",
            "META_pod_phase=Running",
            "META_pod_ready=false",
            "META_pod_uid=u",
            "container=engine",
            "llm_d_ai_variant=llama-h100",
            "namespace=chat",
            "node=n",
            "pod=llama-0",
        ];
        assert_eq!(labels, expected);
    }

    /// Pods are scraped whether or not the API server answers: for a while nothing is withheld because of that.
    #[test]
    fn a_silence_is_told_once_it_has_lasted() {
        let (clock, hand) = Clock::manual(fleetgauge_core::time::Timestamp::from_secs_f64(0.0));
        let failure = || crate::watched::Failure::Other {
            detail: "away".into(),
        };
        let minute = Duration::from_secs(60);
        let problems =
            |watched: &Watched<Found>| match snapshot(std::slice::from_ref(watched), clock.now(), minute) {
                Snapshot::Known(found) => found.problems.len(),
                _ => panic!("it is known"),
            };
        let mut watched = Watched::new(Kind::POD);
        watched.fail(failure(), clock.now());
        // Nothing was known before.
        assert_eq!(problems(&watched), 1);
        watched.replace([]);
        watched.fail(failure(), clock.now());
        assert_eq!(problems(&watched), 0);
        hand.advance(minute / 2);
        watched.fail(failure(), clock.now());
        assert_eq!(problems(&watched), 0);
        hand.advance(minute / 2);
        assert_eq!(problems(&watched), 1);
        watched.replace([]);
        assert_eq!(problems(&watched), 0);
    }
}
