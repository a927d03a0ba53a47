//! What a scheduler and a kubelet do for pods, as far as anyone can tell from outside: each pod is bound to a node, gets an
//! address on loopback where something answers, is said to be running and ready, and goes when it is deleted.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use futures_util::StreamExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use k8s_openapi::api::core::v1::{Binding, Node, ObjectReference, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};

use crate::{Error, Result};

/// The port of an engine whose pod declares none.
const PORT: u16 = 8000;

/// Between two tries to tell the API server something, while it cannot be told.
const PAUSE: Duration = Duration::from_millis(100);

type Engine = dyn Fn(&Pod) -> Router + Send + Sync;

/// The node of one namespace's pods, within the present runtime. When it is dropped, its engines end, and nothing tells the
/// API server so, as when a node loses its power.
pub struct NodeAgent {
    node: Arc<NodeState>,
    task: AbortHandle,
}

struct NodeState {
    name: String,
    pods: Api<Pod>,
    engine: Box<Engine>,
    /// By the pod's UID.
    engines: Mutex<HashMap<String, RunningEngine>>,
}

/// It and its connections end when it is dropped.
struct RunningEngine {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

// === impl NodeAgent ===

impl NodeAgent {
    /// Takes care of the pods of `namespace`, each of which is to answer with the router that `engine` makes for it, at its
    /// address, on the first port that it declares, or on 8000.
    ///
    /// # Errors
    /// When the node cannot be made.
    pub async fn start(
        client: Client,
        namespace: &str,
        engine: impl Fn(&Pod) -> Router + Send + Sync + 'static,
    ) -> Result<Self> {
        let name = format!("node-of-{namespace}");
        // Pods of a node that is not there are taken for orphans and deleted.
        let mut node = Node::default();
        node.metadata.name = Some(name.clone());
        Api::all(client.clone())
            .create(&PostParams::default(), &node)
            .await
            .map_err(Error::kubernetes(format!("making the node {name}")))?;
        let node = Arc::new(NodeState {
            name,
            pods: Api::namespaced(client, namespace),
            engine: Box::new(engine),
            engines: Mutex::default(),
        });
        let task = tokio::spawn(NodeState::run(node.clone())).abort_handle();
        Ok(Self { node, task })
    }

    /// Where the engine of the pod by this UID answers, while it does.
    pub fn address(&self, uid: &str) -> Option<SocketAddr> {
        self.node.engines().get(uid).map(|engine| engine.address)
    }

    /// Says of a pod that it is ready, or not, as its readiness probe would. Its engine answers in either case.
    ///
    /// # Errors
    /// When the API server refuses it, such as for a pod that is gone.
    pub async fn set_ready(&self, pod: &str, ready: bool) -> Result<()> {
        let doing = || format!("making {pod} ready: {ready}");
        let pods = &self.node.pods;
        let pod = pods.get(pod).await.map_err(Error::kubernetes(doing()))?;
        let address = pod.status.as_ref().and_then(|status| status.pod_ip.clone());
        let status = status(&pod, &address.unwrap_or_default(), ready);
        self.node
            .patch(&pod, &status)
            .await
            .map_err(Error::kubernetes(doing()))
    }
}

impl Drop for NodeAgent {
    fn drop(&mut self) {
        self.task.abort();
        self.node.engines().clear();
    }
}

// === impl NodeState ===

impl NodeState {
    async fn run(self: Arc<Self>) {
        let mut events = watcher(self.pods.clone(), watcher::Config::default())
            .default_backoff()
            .boxed();
        // Of the list that is being read; who is not in it has gone unseen.
        let mut listed = HashSet::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(watcher::Event::Init) => listed.clear(),
                Ok(watcher::Event::InitApply(pod)) => {
                    listed.extend(pod.uid());
                    self.care_for(&pod).await;
                }
                Ok(watcher::Event::InitDone) => self.engines().retain(|uid, _| listed.contains(uid)),
                Ok(watcher::Event::Apply(pod)) => self.care_for(&pod).await,
                Ok(watcher::Event::Delete(pod)) => self.end(&pod),
                // It lists or watches anew, after a pause.
                Err(_) => {}
            }
        }
    }

    /// Does what is to be done next for a pod, until it is done; what that changes comes back as an event.
    async fn care_for(&self, pod: &Pod) {
        while let Err(error) = self.try_to_care_for(pod).await {
            match &error {
                // It is another pod by now, or none; an event tells.
                kube::Error::Api(status) if matches!(status.code, 404 | 409) => return,
                kube::Error::Api(_) => eprintln!("{}: {error}", pod.name_any()),
                // The API server cannot be asked.
                _ => {}
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn try_to_care_for(&self, pod: &Pod) -> kube::Result<()> {
        if pod.metadata.deletion_timestamp.is_some() {
            self.end(pod);
            let at_once = DeleteParams::default().grace_period(0);
            return self.pods.delete(&pod.name_any(), &at_once).await.map(drop);
        }
        match pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) {
            None => self.bind(pod).await,
            Some(node) if node == self.name && !is_running(pod) => {
                let address = self.engine(pod).await;
                let address = address.map_err(|error| kube::Error::Service(error.into()))?;
                self.patch(pod, &status(pod, &address.ip().to_string(), true))
                    .await
            }
            Some(_) => Ok(()),
        }
    }

    async fn bind(&self, pod: &Pod) -> kube::Result<()> {
        let mut binding = Binding {
            target: ObjectReference {
                kind: Some("Node".to_owned()),
                name: Some(self.name.clone()),
                ..ObjectReference::default()
            },
            ..Binding::default()
        };
        binding.metadata.name = Some(pod.name_any());
        let post = PostParams::default();
        self.pods
            .create_subresource::<_, Value>("binding", &pod.name_any(), &post, &binding)
            .await
            .map(drop)
    }

    async fn patch(&self, pod: &Pod, status: &Value) -> kube::Result<()> {
        // With its UID, so that another pod of the same name is never meant.
        let patch = json!({"metadata": {"uid": pod.uid()}, "status": status});
        let patch = Patch::Strategic(patch);
        self.pods
            .patch_status(&pod.name_any(), &PatchParams::default(), &patch)
            .await
            .map(drop)
    }

    /// Where the pod's engine answers; it is started unless it has been.
    async fn engine(&self, pod: &Pod) -> io::Result<SocketAddr> {
        let uid = pod.uid().unwrap_or_default();
        if let Some(engine) = self.engines().get(&uid) {
            return Ok(engine.address);
        }
        let engine = RunningEngine::start(port(pod), (self.engine)(pod)).await?;
        let address = engine.address;
        self.engines().insert(uid, engine);
        Ok(address)
    }

    fn end(&self, pod: &Pod) {
        self.engines().remove(&pod.uid().unwrap_or_default());
    }

    fn engines(&self) -> MutexGuard<'_, HashMap<String, RunningEngine>> {
        self.engines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl RunningEngine ===

impl RunningEngine {
    async fn start(port: u16, router: Router) -> io::Result<Self> {
        let listener = bind(port).await?;
        let address = listener.local_addr()?;
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, router));
        Ok(Self {
            address,
            _tasks: tasks,
        })
    }
}

/// Until it is aborted, and all connections with it.
async fn serve(listener: TcpListener, router: Router) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                let service = TowerToHyperService::new(router.clone());
                connections.spawn(async move {
                    let builder = Builder::new(TokioExecutor::new());
                    // The client's fault, or its end.
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// An address of loopback that nobody else has this port on: the ports of pods are equal, and their addresses are not.
async fn bind(port: u16) -> io::Result<TcpListener> {
    // Where to look first; other processes of the same kind look elsewhere.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let offset = std::process::id().wrapping_mul(257).wrapping_add(next) % (1 << 21);
        // From 127.160.0.1 on, beside the services' and whatever else is on loopback.
        let address = Ipv4Addr::from_bits(Ipv4Addr::new(127, 160, 0, 1).to_bits() + offset);
        match TcpListener::bind((address, port)).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            bound => return bound,
        }
    }
}

fn is_running(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    phase.is_some_and(|phase| phase != "Pending")
}

fn port(pod: &Pod) -> u16 {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
    let first = ports.next().map(|port| port.container_port);
    first.and_then(|port| u16::try_from(port).ok()).unwrap_or(PORT)
}

/// What a kubelet says of a pod that runs.
fn status(pod: &Pod, address: &str, ready: bool) -> Value {
    let now = Timestamp::now().to_string();
    let condition = |kind: &str, is: bool| {
        let status = if is { "True" } else { "False" };
        json!({"type": kind, "status": status, "lastTransitionTime": now})
    };
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let containers: Vec<_> = containers
        .map(|container| {
            json!({
                "name": container.name,
                "image": container.image,
                "imageID": "",
                "ready": ready,
                "started": true,
                "restartCount": 0,
                "state": {"running": {"startedAt": now}},
            })
        })
        .collect();
    json!({
        "phase": "Running",
        "hostIP": "127.0.0.1",
        "hostIPs": [{"ip": "127.0.0.1"}],
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": now,
        "conditions": [
            condition("PodScheduled", true),
            condition("Initialized", true),
            condition("ContainersReady", ready),
            condition("Ready", ready),
        ],
        "containerStatuses": containers,
    })
}
