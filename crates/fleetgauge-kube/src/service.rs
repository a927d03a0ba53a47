//! What is behind Services as targets.
//!
//! Who is behind a Service, its EndpointSlices say, of which it may have several. A pod is a target while one of them says that it is
//! ready, or serves on while it terminates. One that is not ready is no target, and never without a word: it is starting if it has
//! not been ready yet, and else it is missing, since it may be what the others are waiting for.
//!
//! A pod that is behind several Services, or has addresses of both families, is one target for each port: twice would be counted
//! twice. So nothing of the Service is in the labels that samples get.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use fleetgauge_core::target::{
    ADDRESS, Discovered, DiscoveryError, Snapshot, SnapshotStream, TargetDiscovery, TargetLabels,
};
use fleetgauge_core::time::{Clock, Moment};
use futures_util::StreamExt as _;
use k8s_openapi::api::discovery::v1::{self, EndpointSlice};
use kube::runtime::watcher;
use kube::{Client, ResourceExt as _};

use crate::discovery::PodPort;
use crate::object::Kind;
use crate::right::Right;
use crate::told::{Told, apis, are_told, silence};
use crate::watch::WatchConfig;
use crate::watched::{Listing, Watched};

/// The label of an EndpointSlice that names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Whose endpoints are targets, and where these are scraped.
///
/// ```
/// use fleetgauge_kube::discovery::PodPort;
/// use fleetgauge_kube::service::ServiceSelection;
///
/// let behind = ServiceSelection::new(["vllm"], PodPort::Name("metrics".into())).in_namespaces(["chat"]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServiceSelection {
    /// The names of the Services.
    pub names: Vec<String>,
    /// The namespaces, each of which has all of them; none for all namespaces.
    pub namespaces: Vec<String>,
    /// The ports: a target each. A name is that of the Service's port. Nothing is annotated here.
    pub ports: Vec<PodPort>,
}

/// Finds targets by watching EndpointSlices, for as long as it is there or what it tells is read.
///
/// Labels: `namespace`, `pod`, `node`, and for relabeling these of Prometheus's: `__meta_kubernetes_` with `namespace`,
/// `service_name` (of several the first that is named), `pod_name`, `pod_uid`, `pod_ip`, `pod_node_name`,
/// `endpointslice_port` and `endpointslice_port_name`.
///
/// *Source*: <https://kubernetes.io/docs/reference/kubernetes-api/service-resources/endpoint-slice-v1/>.
pub struct ServiceDiscovery {
    title: String,
    told: Told,
}

/// What is kept of an EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Slice {
    namespace: Box<str>,
    service: Box<str>,
    ports: Vec<(Box<str>, u16)>,
    endpoints: Vec<Endpoint>,
}

/// One that is behind a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Endpoint {
    address: IpAddr,
    /// The pod's name and UID, if it is one.
    pod: Option<(Box<str>, Box<str>)>,
    node: Box<str>,
    state: State,
}

/// What is to be had of an endpoint, the best last: of several slices, one may not have been written yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    /// Nothing, and nobody misses it: it terminates.
    Leaving,
    /// Nothing as long as it is not ready.
    Unready,
    Serving,
}

/// What tells an endpoint from others: a pod by its UID, anything else by its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who<'a> {
    Pod(&'a str),
    Address(&'a str, IpAddr),
}

/// All that the slices say of one endpoint.
struct Behind<'a> {
    namespace: &'a str,
    /// The place of the first Service in the configuration.
    service: usize,
    endpoint: &'a Endpoint,
    address: IpAddr,
    state: State,
    /// With the name, where there is one.
    ports: BTreeMap<u16, &'a str>,
    /// What was asked for and is not there, by its place in the configuration.
    named: BTreeSet<usize>,
}

/// Makes targets of slices, and remembers what they do not say.
struct Targets {
    selection: ServiceSelection,
    silent_for: Duration,
    /// Which of the watches have been known.
    were_known: Vec<bool>,
    /// The UIDs of pods that were ready once, or may have been.
    were_ready: HashSet<Box<str>>,
    /// The targets that were told last, whose pointers are kept.
    last: HashSet<Arc<TargetLabels>>,
}

// === impl ServiceSelection ===

impl ServiceSelection {
    /// The endpoints of these Services in all namespaces, at this port.
    pub fn new<N: Into<String>>(names: impl IntoIterator<Item = N>, port: PodPort) -> Self {
        Self {
            names: names.into_iter().map(Into::into).collect(),
            namespaces: Vec::new(),
            ports: vec![port],
        }
    }

    /// Only the Services of these namespaces.
    #[must_use]
    pub fn in_namespaces<N: Into<String>>(mut self, namespaces: impl IntoIterator<Item = N>) -> Self {
        self.namespaces = namespaces.into_iter().map(Into::into).collect();
        self
    }

    /// At this port, too.
    #[must_use]
    pub fn with_port(mut self, port: PodPort) -> Self {
        self.ports.push(port);
        self
    }

    fn place(&self, service: &str) -> Option<usize> {
        self.names.iter().position(|name| *name == *service)
    }

    /// The port of an endpoint behind `slice`, with its name.
    fn port_of<'a>(wanted: &PodPort, slice: &'a Slice) -> Option<(u16, &'a str)> {
        let mut ports = slice.ports.iter();
        match wanted {
            PodPort::Number(number) => {
                let name = ports.find(|(_, port)| port == number);
                Some((*number, name.map_or("", |(name, _)| name)))
            }
            PodPort::Name(wanted) => ports
                .find(|(name, _)| **name == **wanted)
                .map(|(name, port)| (*port, &**name)),
            PodPort::Annotated => None,
        }
    }
}

// === impl ServiceDiscovery ===

impl ServiceDiscovery {
    /// Watches the EndpointSlices of `selection`, within the present runtime. Of `config` it takes how patient it is.
    pub fn start(client: &Client, selection: ServiceSelection, config: &WatchConfig, clock: &Clock) -> Self {
        let namespaces = match &selection.namespaces[..] {
            [] => String::new(),
            some => format!(" in {}", some.join(", ")),
        };
        let title = format!(
            "kubernetes_sd endpointslice {}{namespaces}",
            selection.names.join(", ")
        );
        let of_them = format!("{SERVICE_NAME} in ({})", selection.names.join(","));
        let which = watcher::Config::default().labels(&of_them);
        let apis = apis(client, &selection.namespaces);
        let mut targets = Targets::new(selection, config.silent_for);
        let tell = move |known: &[Watched<Slice>], now| targets.snapshot(known, now);
        let kind = Kind::of("discovery.k8s.io/v1", "EndpointSlice");
        let told = Told::start(&kind, apis, &which, config, clock, Slice::read, tell);
        Self { title, told }
    }

    /// What has to be allowed for it in all namespaces.
    pub fn right() -> Right {
        Right::to_watch("discovery.k8s.io", "endpointslices")
    }
}

impl TargetDiscovery for ServiceDiscovery {
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

// === impl Slice ===

impl Slice {
    fn read(slice: &EndpointSlice) -> Option<Self> {
        let ports = slice.ports.iter().flatten();
        let ports = ports.filter_map(|port| {
            let number = u16::try_from(port.port?).ok()?;
            Some((port.name.as_deref().unwrap_or_default().into(), number))
        });
        Some(Self {
            namespace: slice.namespace()?.into(),
            service: slice.labels().get(SERVICE_NAME)?.as_str().into(),
            ports: ports.collect(),
            // Those of a name have no address, and Services no longer make them.
            endpoints: (slice.endpoints.iter().flatten())
                .filter_map(Endpoint::read)
                .collect(),
        })
    }
}

// === impl Endpoint ===

impl Endpoint {
    fn read(endpoint: &v1::Endpoint) -> Option<Self> {
        let pod = endpoint.target_ref.as_ref();
        let pod = pod.filter(|target| target.kind.as_deref() == Some("Pod"));
        let pod = pod.and_then(|pod| Some((pod.name.as_deref()?.into(), pod.uid.as_deref()?.into())));
        Some(Self {
            // Several are the same endpoint's, and may not be told apart.
            address: endpoint.addresses.first()?.parse().ok()?,
            pod,
            node: endpoint.node_name.as_deref().unwrap_or_default().into(),
            state: State::of(endpoint.conditions.as_ref()),
        })
    }

    fn who<'a>(&'a self, namespace: &'a str) -> Who<'a> {
        match &self.pod {
            Some((_, uid)) => Who::Pod(uid),
            None => Who::Address(namespace, self.address),
        }
    }
}

// === impl State ===

impl State {
    /// What is not said counts as ready.
    fn of(conditions: Option<&v1::EndpointConditions>) -> Self {
        let Some(conditions) = conditions else {
            return Self::Serving;
        };
        let is_ready = conditions.ready.unwrap_or(true);
        match conditions.serving.unwrap_or(is_ready) || is_ready {
            true => Self::Serving,
            false if conditions.terminating == Some(true) => Self::Leaving,
            false => Self::Unready,
        }
    }
}

// === impl Targets ===

impl Targets {
    fn new(selection: ServiceSelection, silent_for: Duration) -> Self {
        Self {
            were_known: vec![false; selection.namespaces.len().max(1)],
            selection,
            silent_for,
            were_ready: HashSet::new(),
            last: HashSet::new(),
        }
    }

    /// Nothing, until it is known of every namespace which endpoints there are, or why that is not known.
    fn snapshot(&mut self, known: &[Watched<Slice>], now: Moment) -> Snapshot {
        if !are_told(known) {
            return Snapshot::NotYet;
        }
        let (mut targets, mut problems) = (Vec::new(), Vec::new());
        let mut there = HashSet::new();
        for (place, watched) in known.iter().enumerate() {
            let is_known = matches!(watched.listing(), Listing::Known | Listing::Absent);
            if is_known {
                problems.extend(self.lacking(place, watched));
            }
            // Of those that were there before we were, nobody knows whether they were ready.
            let may_have_been_ready = !self.were_known[place];
            self.were_known[place] |= is_known;
            for behind in self.behind(watched).into_values() {
                if let Some((_, uid)) = &behind.endpoint.pod {
                    there.insert(uid.clone());
                    if may_have_been_ready || behind.state == State::Serving {
                        self.were_ready.insert(uid.clone());
                    }
                }
                self.tell(&behind, &mut targets, &mut problems);
            }
            problems.extend(silence(watched, now, self.silent_for));
        }
        self.were_ready.retain(|uid| there.contains(uid));
        self.last = targets.iter().cloned().collect();
        Snapshot::Known(Discovered::new(targets).with_problems(problems))
    }

    /// The Services that have nobody behind them: they are nowhere, or select none.
    fn lacking(&self, place: usize, watched: &Watched<Slice>) -> Vec<DiscoveryError> {
        let namespace = self.selection.namespaces.get(place);
        let lacking = self.selection.names.iter().filter_map(|name| {
            let slices = || watched.objects().filter(|slice| *slice.service == **name);
            let full_name = match namespace {
                Some(namespace) => format!("{namespace}/{name}"),
                None => name.clone(),
            };
            let detail = match slices().next() {
                None => format!(
                    "the Service {full_name} has no EndpointSlice: there is no such Service, or it selects no pods"
                ),
                Some(_) if slices().all(|slice| slice.endpoints.is_empty()) => format!(
                    "the Service {full_name} has no endpoints: no pod has the labels that it selects by, or there are no replicas"
                ),
                Some(_) => return None,
            };
            Some(DiscoveryError::NotFound { detail })
        });
        lacking.collect()
    }

    /// Who is behind the Services, each once.
    fn behind<'a>(&self, watched: &'a Watched<Slice>) -> BTreeMap<Who<'a>, Behind<'a>> {
        let mut all: BTreeMap<Who<'a>, Behind<'a>> = BTreeMap::new();
        for slice in watched.objects() {
            let Some(service) = self.selection.place(&slice.service) else {
                continue;
            };
            for endpoint in &slice.endpoints {
                let behind = all
                    .entry(endpoint.who(&slice.namespace))
                    .or_insert_with(|| Behind {
                        namespace: &slice.namespace,
                        service,
                        endpoint,
                        address: endpoint.address,
                        state: endpoint.state,
                        ports: BTreeMap::new(),
                        named: BTreeSet::new(),
                    });
                behind.service = behind.service.min(service);
                behind.state = behind.state.max(endpoint.state);
                // One of IPv4 comes before all of IPv6.
                behind.address = behind.address.min(endpoint.address);
                for (place, wanted) in self.selection.ports.iter().enumerate() {
                    if let Some((port, name)) = ServiceSelection::port_of(wanted, slice) {
                        behind.ports.insert(port, name);
                        behind.named.insert(place);
                    }
                }
            }
        }
        all
    }

    /// Adds the targets of an endpoint, and why it is none.
    fn tell(
        &self,
        behind: &Behind<'_>,
        targets: &mut Vec<Arc<TargetLabels>>,
        problems: &mut Vec<DiscoveryError>,
    ) {
        let service = &self.selection.names[behind.service];
        let labels = behind.labels(service);
        let who = match &behind.endpoint.pod {
            Some((pod, _)) => format!("{}/{pod}", behind.namespace),
            None => format!("{}/{}", behind.namespace, behind.address),
        };
        match behind.state {
            State::Leaving => {}
            State::Unready => {
                let pod = behind.endpoint.pod.as_ref();
                let is_starting = pod.is_some_and(|(_, uid)| !self.were_ready.contains(uid));
                let labels = Arc::new(labels);
                problems.push(match is_starting {
                    true => DiscoveryError::Starting {
                        labels,
                        detail: format!(
                            "{who} is not ready yet, by the EndpointSlices of the Service {service}"
                        ),
                    },
                    false => DiscoveryError::Target {
                        labels,
                        detail: format!("{who} is not ready, by the EndpointSlices of the Service {service}"),
                    },
                });
            }
            State::Serving => {
                for (port, name) in &behind.ports {
                    let mut labels = labels.clone();
                    let meta = |name: &str| format!("__meta_kubernetes_endpointslice_{name}");
                    labels.insert(ADDRESS.into(), SocketAddr::new(behind.address, *port).to_string());
                    labels.insert(meta("port"), port.to_string());
                    if !name.is_empty() {
                        labels.insert(meta("port_name"), (*name).to_owned());
                    }
                    let known = self.last.get(&labels).cloned();
                    targets.push(known.unwrap_or_else(|| Arc::new(labels)));
                }
                let wanted = self.selection.ports.iter().enumerate();
                for (_, port) in wanted.filter(|(place, _)| !behind.named.contains(place)) {
                    let PodPort::Name(port) = port else { continue };
                    let detail = format!("{who}: the Service {service} has no port named {port:?}");
                    let labels = Arc::new(labels.clone());
                    problems.push(DiscoveryError::Target { labels, detail });
                }
            }
        }
    }
}

// === impl Behind ===

impl Behind<'_> {
    fn labels(&self, service: &str) -> TargetLabels {
        let meta = |name: &str, value: &str| (format!("__meta_kubernetes_{name}"), value.to_owned());
        let mut labels = TargetLabels::from([
            ("namespace".to_owned(), self.namespace.to_owned()),
            meta("namespace", self.namespace),
            meta("service_name", service),
        ]);
        if let Some((pod, uid)) = &self.endpoint.pod {
            let address = self.address.to_string();
            labels.extend([
                ("pod".to_owned(), pod.to_string()),
                ("node".to_owned(), self.endpoint.node.to_string()),
                meta("pod_name", pod),
                meta("pod_uid", uid),
                meta("pod_ip", &address),
                meta("pod_node_name", &self.endpoint.node),
            ]);
        }
        labels
    }
}

#[cfg(test)]
mod tests {
    use fleetgauge_core::time::Timestamp;
    use serde_json::{Value, json};

    use super::*;
    use crate::watched::Failure;

    fn endpoint(pod: &str, address: &str, conditions: &Value) -> Value {
        json!({
            "addresses": [address],
            "conditions": conditions,
            "nodeName": "n",
            "targetRef": {"kind": "Pod", "name": pod, "uid": format!("uid-{pod}"), "namespace": "chat"},
        })
    }

    fn ready() -> Value {
        json!({"ready": true, "serving": true, "terminating": false})
    }

    fn unready() -> Value {
        json!({"ready": false, "serving": false, "terminating": false})
    }

    fn slice(service: &str, port: (&str, u16), endpoints: &[Value]) -> Slice {
        let slice = json!({
            "metadata": {"namespace": "chat", "name": "any", "labels": {SERVICE_NAME: service}},
            "addressType": "IPv4",
            "ports": [{"name": port.0, "port": port.1, "protocol": "TCP"}],
            "endpoints": endpoints,
        });
        Slice::read(&serde_json::from_value(slice).unwrap()).unwrap()
    }

    struct Told {
        targets: Targets,
        watched: Watched<Slice>,
        now: Moment,
    }

    impl Told {
        fn of(services: &[&str]) -> Self {
            let selection = ServiceSelection::new(services.iter().copied(), PodPort::Name("metrics".into()));
            Self {
                targets: Targets::new(selection.in_namespaces(["chat"]), Duration::from_secs(60)),
                watched: Watched::new(Kind::of("discovery.k8s.io/v1", "EndpointSlice")),
                now: Clock::manual(Timestamp::from_secs_f64(0.0)).0.now(),
            }
        }

        fn discovered(&mut self) -> Discovered {
            match self
                .targets
                .snapshot(std::slice::from_ref(&self.watched), self.now)
            {
                Snapshot::Known(found) => found,
                Snapshot::NotYet => panic!("it is known"),
            }
        }

        /// What is told of these slices: targets by pod and address, and problems with whether they are of who is only starting.
        fn told(&mut self, slices: Vec<Slice>) -> (Vec<String>, Vec<String>) {
            let slices = slices.into_iter().enumerate();
            self.watched
                .replace(slices.map(|(uid, slice)| (uid.to_string().into(), slice)));
            let found = self.discovered();
            let target = |target: &Arc<TargetLabels>| {
                let pod = target.get("pod").map_or("", String::as_str);
                format!("{pod} {}", target[ADDRESS])
            };
            let problem = |problem: &DiscoveryError| format!("{}: {problem}", problem.reason());
            (
                found.targets.iter().map(target).collect(),
                found.problems.iter().map(problem).collect(),
            )
        }
    }

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    const METRICS: (&str, u16) = ("metrics", 8001);

    #[test]
    fn who_is_ready_or_serves_on_is_a_target_and_who_was_ready_is_missed() {
        let mut told = Told::of(&["vllm"]);
        let mut check = |a: &Value, b: &Value, targets: &[&str], problems: &[&str]| {
            let endpoints = [endpoint("a", "10.0.0.1", a), endpoint("b", "10.0.0.2", b)];
            let told = told.told(vec![slice("vllm", METRICS, &endpoints)]);
            assert_eq!(told, (owned(targets), owned(problems)), "{a} {b}");
        };
        let (a, b) = ("a 10.0.0.1:8001", "b 10.0.0.2:8001");
        let not_ready = "target: chat/b is not ready, by the EndpointSlices of the Service vllm";
        // Nobody knows whether it was ready before we came.
        check(&ready(), &unready(), &[a], &[not_ready]);
        check(&ready(), &ready(), &[a, b], &[]);
        check(&json!({}), &unready(), &[a], &[not_ready]);
        let draining = json!({"ready": false, "serving": true, "terminating": true});
        check(&ready(), &draining, &[a, b], &[]);
        let leaving = json!({"ready": false, "serving": false, "terminating": true});
        check(&ready(), &leaving, &[a], &[]);
        // Written before there was such a condition as serving.
        check(
            &json!({"ready": true}),
            &json!({"ready": false}),
            &[a],
            &[not_ready],
        );
    }

    #[test]
    fn who_comes_later_is_starting_until_it_has_been_ready() {
        let mut told = Told::of(&["vllm"]);
        let a = endpoint("a", "10.0.0.1", &ready());
        let with = |b: &Value| vec![slice("vllm", METRICS, &[a.clone(), endpoint("b", "10.0.0.2", b)])];
        told.told(vec![slice("vllm", METRICS, std::slice::from_ref(&a))]);
        let starting = "starting: chat/b is not ready yet, by the EndpointSlices of the Service vllm";
        assert_eq!(told.told(with(&unready())).1, [starting]);
        assert_eq!(told.told(with(&ready())).1, owned(&[]));
        let missing = "target: chat/b is not ready, by the EndpointSlices of the Service vllm";
        assert_eq!(told.told(with(&unready())).1, [missing]);
    }

    /// Samples of one pod that is scraped twice would be added up.
    #[test]
    fn a_pod_is_one_target_however_many_slices_and_services_name_it() {
        let mut told = Told::of(&["vllm", "all"]);
        let a = endpoint("a", "10.0.0.1", &ready());
        let b = endpoint("b", "10.0.0.2", &ready());
        let old_b = endpoint("b", "10.0.0.2", &unready());
        let six = endpoint("a", "fd00::1", &ready());
        let slices = vec![
            slice("all", METRICS, &[a.clone(), b]),
            slice("vllm", METRICS, std::slice::from_ref(&a)),
            slice("vllm", METRICS, &[old_b]),
            slice("vllm", METRICS, &[six]),
            slice("strange", METRICS, &[endpoint("s", "10.0.0.9", &ready())]),
        ];
        let expected = (owned(&["a 10.0.0.1:8001", "b 10.0.0.2:8001"]), owned(&[]));
        assert_eq!(told.told(slices), expected);
        let before = told.discovered().targets;
        assert_eq!(before[0]["__meta_kubernetes_service_name"], "vllm");
        // Whose pointer is the same, nobody takes for another.
        let after = told.told(vec![
            slice("vllm", METRICS, std::slice::from_ref(&a)),
            slice("all", METRICS, &[a]),
        ]);
        assert_eq!(after.0, ["a 10.0.0.1:8001"]);
        assert!(Arc::ptr_eq(&before[0], &told.discovered().targets[0]));
    }

    #[test]
    fn a_service_without_anybody_says_so() {
        let mut told = Told::of(&["vllm", "gone"]);
        let none = "not_found: the Service chat/gone has no EndpointSlice: there is no such Service, or it selects no pods";
        let empty = "not_found: the Service chat/vllm has no endpoints: no pod has the labels that it selects by, or there are no \
                     replicas";
        assert_eq!(
            told.told(vec![slice("vllm", METRICS, &[])]),
            (owned(&[]), owned(&[empty, none]))
        );
        let a = [endpoint("a", "10.0.0.1", &ready())];
        let here = told.told(vec![slice("vllm", METRICS, &[]), slice("vllm", METRICS, &a)]);
        assert_eq!(here, (owned(&["a 10.0.0.1:8001"]), owned(&[none])));
        let other_port = told.told(vec![
            slice("vllm", ("http", 8000), &a),
            slice("gone", ("http", 8000), &a),
        ]);
        let portless = "target: chat/a: the Service vllm has no port named \"metrics\"";
        assert_eq!(other_port, (owned(&[]), owned(&[portless])));
        // By the other Service it has one.
        let here = told.told(vec![
            slice("vllm", ("http", 8000), &a),
            slice("gone", METRICS, &a),
        ]);
        assert_eq!(here, (owned(&["a 10.0.0.1:8001"]), owned(&[])));
    }

    #[test]
    fn what_is_not_listed_is_not_none() {
        let mut told = Told::of(&["vllm"]);
        let nothing = told
            .targets
            .snapshot(std::slice::from_ref(&told.watched), told.now);
        assert_eq!(nothing, Snapshot::NotYet);
        let detail = "endpointslices is forbidden".to_owned();
        told.watched.fail(Failure::Forbidden { detail }, told.now);
        let found = told.discovered();
        let problems: Vec<_> = found.problems.iter().map(ToString::to_string).collect();
        assert_eq!(problems, ["endpointslices is forbidden"]);
    }

    #[test]
    fn what_is_no_pod_has_no_name_and_ports_go_by_number_too() {
        let selection =
            ServiceSelection::new(["vllm"], PodPort::Number(9000)).with_port(PodPort::Number(8001));
        let mut told = Told::of(&["vllm"]);
        told.targets = Targets::new(selection, Duration::from_secs(60));
        let outside = json!({"addresses": ["192.0.2.1"], "conditions": ready()});
        let found = told.told(vec![slice("vllm", METRICS, &[outside])]);
        assert_eq!(
            found,
            (owned(&[" 192.0.2.1:8001", " 192.0.2.1:9000"]), owned(&[]))
        );
        let labels: Vec<_> = told.discovered().targets[0]
            .iter()
            .map(|(name, value)| format!("{}={value}", name.replace("__meta_kubernetes_", "META_")))
            .collect();
        let expected = [
            "__address__=192.0.2.1:8001",
            "META_endpointslice_port=8001",
            "META_endpointslice_port_name=metrics",
            "META_namespace=chat",
            "META_service_name=vllm",
            "namespace=chat",
        ];
        assert_eq!(labels, expected);
    }
}
