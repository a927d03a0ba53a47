//! A cluster of a test's own, in which the daemon is an API server: what is registered there is everybody's.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use axum::http::Request;
use fleetgauge_testcluster::Cluster;
use k8s_openapi::ByteString;
use kube::{Client, Config};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::daemon::{PATIENCE, until};

pub(crate) const NAMESPACE: &str = "scaled";
/// An address of the cluster's services, which is one of loopback.
pub(crate) const SERVICE: &str = "127.96.77.1";
const HOST: &str = "fleetgauge.scaled.svc";
const EXTERNAL: &str = "v1beta1.external.metrics.k8s.io";
const CUSTOM: &str = "v1beta2.custom.metrics.k8s.io";

/// With an account for the daemon, and what its configuration names beside it: `kubeconfig`, `tls.crt` and `tls.key`.
pub(crate) struct Aggregation {
    pub(crate) runtime: Runtime,
    pub(crate) cluster: Cluster,
    pub(crate) directory: tempfile::TempDir,
    authority: String,
}

// === impl Aggregation ===

impl Aggregation {
    pub(crate) fn open() -> Self {
        let runtime = Runtime::new().unwrap();
        let cluster = Cluster::start().unwrap();
        runtime.block_on(cluster.namespace(NAMESPACE)).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let authority = certificate(directory.path());
        let aggregation = Self {
            runtime,
            cluster,
            directory,
            authority,
        };
        aggregation.kubectl(&["create", "serviceaccount", "fleetgauge", "--namespace", NAMESPACE]);
        let token = aggregation.kubectl(&["create", "token", "fleetgauge", "--namespace", NAMESPACE]);
        aggregation.write_kubeconfig(&json!({"token": token.trim()}));
        aggregation
    }

    /// By which the daemon comes in.
    pub(crate) fn write_kubeconfig(&self, user: &Value) {
        let kubeconfig = fs::read_to_string(self.cluster.kubeconfig()).unwrap();
        let mut kubeconfig: Value = serde_json::from_str(&kubeconfig).unwrap();
        kubeconfig["users"][0]["user"] = user.clone();
        fs::write(self.directory.path().join("kubeconfig"), kubeconfig.to_string()).unwrap();
    }

    /// Until the daemon has read whom to believe, it says so, and the API server would complain.
    pub(crate) fn until_open(&self, door: SocketAddr) {
        let on_behalf = [("X-Remote-User", "admin"), ("X-Remote-Group", "system:masters")];
        until(|| self.ask(door, self.front_proxy(), &on_behalf, "/apis").0 == 200);
    }

    /// Those that are documented, and no others: of what is watched, these.
    pub(crate) fn give_rights(&self, watched: &Value) {
        let daemon = json!([{"kind": "ServiceAccount", "name": "fleetgauge", "namespace": NAMESPACE}]);
        let binding = |kind: &str, metadata: Value, role: (&str, &str)| {
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata,
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role.0, "name": role.1},
                "subjects": daemon,
            })
        };
        let reader = ("Role", "extension-apiserver-authentication-reader");
        self.apply(&json!([
            binding(
                "ClusterRoleBinding",
                json!({"name": "fleetgauge"}),
                ("ClusterRole", "system:auth-delegator")
            ),
            binding(
                "RoleBinding",
                json!({"name": "fleetgauge", "namespace": "kube-system"}),
                reader
            ),
            {
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
                "metadata": {"name": "fleetgauge-watches"},
                "rules": watched,
            },
            binding(
                "ClusterRoleBinding",
                json!({"name": "fleetgauge-watches"}),
                ("ClusterRole", "fleetgauge-watches")
            ),
        ]));
    }

    pub(crate) fn apply(&self, objects: &Value) {
        let file = self.directory.path().join("objects.json");
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        fs::write(&file, list.to_string()).unwrap();
        let file = file.display().to_string();
        self.kubectl(&["apply", "--server-side", "--force-conflicts", "--filename", &file]);
    }

    pub(crate) fn kubectl(&self, args: &[&str]) -> String {
        self.cluster.kubectl(args).unwrap()
    }

    /// Tells the API server where the daemon is, and waits until it has found it.
    pub(crate) fn register(&self, port: u16) {
        let ca = serde_json::to_value(ByteString(self.authority.clone().into_bytes())).unwrap();
        let service = |name: &str, group: &str, version: &str| {
            json!({
                "apiVersion": "apiregistration.k8s.io/v1",
                "kind": "APIService",
                "metadata": {"name": name},
                "spec": {
                    "group": group, "version": version, "groupPriorityMinimum": 100, "versionPriority": 100,
                    "service": {"name": "fleetgauge", "namespace": NAMESPACE, "port": port},
                    "caBundle": ca,
                },
            })
        };
        self.apply(&json!([
            {
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"name": "fleetgauge", "namespace": NAMESPACE},
                "spec": {"clusterIP": SERVICE, "ports": [{"port": port, "name": "https"}]},
            },
            // Somebody has to be behind the service; nobody dials there.
            {
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                "metadata": {
                    "name": "fleetgauge", "namespace": NAMESPACE,
                    "labels": {"kubernetes.io/service-name": "fleetgauge"},
                },
                "endpoints": [{"addresses": ["192.0.2.200"], "conditions": {"ready": true}}],
                "ports": [{"port": port, "name": "https"}],
            },
            service(EXTERNAL, "external.metrics.k8s.io", "v1beta1"),
            service(CUSTOM, "custom.metrics.k8s.io", "v1beta2"),
        ]));
        for name in [EXTERNAL, CUSTOM] {
            let deadline = Instant::now() + PATIENCE;
            while !self.is_available(name) {
                let said = self.kubectl(&["get", "apiservice", name, "--output", "yaml"]);
                assert!(Instant::now() < deadline, "{said}");
            }
        }
    }

    /// Waits until the API server has found who serves the groups, and has read what they are like. Gives how often it has complained
    /// until then: of itself, before it has found anybody, and of whoever is not there.
    pub(crate) fn until_described(&self) -> usize {
        let is_described = |path: &str, text: &str| {
            let page = self.cluster.kubectl(&["get", "--raw", path]);
            page.is_ok_and(|page| page.contains(text))
        };
        for name in [EXTERNAL, CUSTOM] {
            until(|| self.is_available(name));
        }
        for (path, text) in [
            ("/openapi/v2", "external_metrics.v1beta1.ExternalMetricValueList"),
            ("/openapi/v2", "custom_metrics.v1beta2.MetricValueList"),
            ("/openapi/v3", "apis/external.metrics.k8s.io/v1beta1"),
            ("/openapi/v3", "apis/custom.metrics.k8s.io/v1beta2"),
            ("/apis", "external.metrics.k8s.io"),
            ("/apis", "custom.metrics.k8s.io"),
        ] {
            // The API server adds it when it has time.
            until(|| is_described(path, text));
        }
        self.complaints().len()
    }

    /// Clients find out all that there is, and since so many complaints the API server has had none of who serves the groups.
    pub(crate) fn hears_no_complaint_since(&self, complaints: usize) {
        for path in [
            "/apis",
            "/apis/external.metrics.k8s.io",
            "/apis/external.metrics.k8s.io/v1beta1",
            "/apis/custom.metrics.k8s.io/v1beta2",
            "/openapi/v2",
            "/openapi/v3/apis/external.metrics.k8s.io/v1beta1",
            "/openapi/v3/apis/custom.metrics.k8s.io/v1beta2",
        ] {
            self.kubectl(&["get", "--raw", path]);
        }
        let found = self.kubectl(&[
            "api-resources",
            "--api-group=external.metrics.k8s.io",
            "--output=name",
        ]);
        assert!(found.contains("external.metrics.k8s.io"), "{found}");
        let listed = self.kubectl(&["get", "apiservices"]);
        for name in [EXTERNAL, CUSTOM] {
            let mut lines = listed.lines();
            let line = lines.find(|line| line.starts_with(name)).unwrap_or_default();
            assert!(line.contains("True"), "{listed}");
        }
        let since = &self.complaints()[complaints..];
        assert!(since.is_empty(), "{since:#?}");
    }

    /// What the API server has complained of since it was started, as far as it may be of who serves the groups.
    fn complaints(&self) -> Vec<String> {
        let log = self.cluster.api_log();
        let complaints = log.lines().filter(|line| {
            let is_of_it = [
                "metrics.k8s.io",
                "OpenAPI",
                "openapi",
                "APIService",
                "proxy",
                SERVICE,
                HOST,
            ];
            line.starts_with(['E', 'W']) && is_of_it.iter().any(|word| line.contains(word))
        });
        complaints.map(str::to_owned).collect()
    }

    fn is_available(&self, name: &str) -> bool {
        let path = "jsonpath={.status.conditions[?(@.type==\"Available\")].status}";
        self.kubectl(&["get", "apiservice", name, "--output", path]) == "True"
    }

    pub(crate) fn get(&self, path: &str) -> Result<Value, String> {
        let printed = self.cluster.kubectl(&["get", "--raw", path]);
        let printed = printed.map_err(|error| error.to_string())?;
        Ok(serde_json::from_str(&printed).unwrap())
    }

    /// Asks the door itself, and not by way of the API server: status and message.
    pub(crate) fn ask(
        &self,
        door: SocketAddr,
        as_whom: Value,
        headers: &[(&str, &str)],
        path: &str,
    ) -> (u16, String) {
        let _inside = self.runtime.enter();
        let client = self.client(door, as_whom);
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Vec::new()).unwrap();
        match self.runtime.block_on(client.request_text(request)) {
            Ok(text) => (200, text),
            Err(kube::Error::Api(status)) => (status.code, status.message.clone()),
            Err(error) => panic!("{error:?}"),
        }
    }

    /// Who asks the door itself.
    pub(crate) fn client(&self, door: SocketAddr, as_whom: Value) -> Client {
        let mut config = Config::new(format!("https://{door}").parse().unwrap());
        let ca = pem_bytes(&self.authority);
        config.root_cert = Some(vec![ca]);
        config.tls_server_name = Some(HOST.to_owned());
        // What is withheld is an answer, and is not asked for again.
        config.default_retry = false;
        config.auth_info = serde_json::from_value(as_whom).unwrap();
        Client::try_from(config).unwrap()
    }

    /// The certificate by which the API server asks on behalf of others.
    pub(crate) fn front_proxy(&self) -> Value {
        let file = |name: &str| self.cluster.kubeconfig().with_file_name(name);
        json!({"client-certificate": file("front-proxy.crt"), "client-key": file("front-proxy.key")})
    }

    /// An HPA by this name of the Deployment of the same name, which scales down once it has wanted to for so many seconds.
    pub(crate) fn autoscale(&self, name: &str, metrics: &Value, stabilization: u32) {
        self.apply(&json!([autoscaler(name, NAMESPACE, metrics, stabilization)]));
    }

    /// The condition `ScalingActive` of an HPA, and what it says.
    pub(crate) fn scaling_active(&self, name: &str) -> (String, String) {
        let hpa = self.kubectl(&["get", "hpa", name, "--namespace", NAMESPACE, "--output", "json"]);
        let hpa: Value = serde_json::from_str(&hpa).unwrap();
        let conditions = hpa["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let active = conditions.into_iter().find(|one| one["type"] == "ScalingActive");
        let text = |field: &str| {
            let text = active.as_ref().and_then(|one| one[field].as_str());
            text.unwrap_or_default().to_owned()
        };
        (text("status"), text("message"))
    }
}

pub(crate) fn autoscaler(name: &str, namespace: &str, metrics: &Value, stabilization: u32) -> Value {
    json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {
            "name": name, "namespace": namespace,
            "labels": {"llm-d.ai/managed": "true"}, "annotations": {"llm-d.ai/model": "llama"},
        },
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": 1, "maxReplicas": 6, "metrics": metrics,
            "behavior": {
                "scaleUp": {"policies": [{"type": "Percent", "value": 900, "periodSeconds": 1}]},
                "scaleDown": {
                    "stabilizationWindowSeconds": stabilization,
                    "policies": [{"type": "Percent", "value": 100, "periodSeconds": 1}],
                },
            },
        },
    })
}

/// Writes a certificate for the door; gives that of its authority.
fn certificate(directory: &Path) -> String {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new([HOST.to_owned()]).unwrap();
    let signed = params.signed_by(&key, &issuer).unwrap();
    fs::write(directory.join("tls.crt"), signed.pem()).unwrap();
    fs::write(directory.join("tls.key"), key.serialize_pem()).unwrap();
    authority
}

/// What stands in a PEM file's only certificate.
fn pem_bytes(pem: &str) -> Vec<u8> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}
