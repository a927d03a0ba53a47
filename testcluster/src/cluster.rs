//! etcd, API server and controller manager, started in this order and ended in the other.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use fleetgauge_testkit::http;
use fleetgauge_testkit::process::{Server, temp_dir};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{Api, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::wait::await_condition;
use kube::{Client, Config};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::assets::Assets;
use crate::authority::{self, Authority};
use crate::{Error, Result};

/// How long a controller may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running control plane.
#[derive(Debug)]
pub struct Cluster {
    // Ended in this order.
    manager: Server,
    /// `None` while it is killed.
    api: Option<Server>,
    api_address: SocketAddr,
    etcd: Server,
    assets: Assets,
    is_audited: bool,
}

// === impl Cluster ===

impl Cluster {
    /// Starts one and waits until its controllers work, which takes some seconds.
    ///
    /// # Errors
    /// When the programs are not there, or one of them does not become ready.
    pub fn start() -> Result<Self> {
        Self::start_with(false)
    }

    /// One that also writes down who asks it for what: [`audited`](Self::audited).
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_audited() -> Result<Self> {
        Self::start_with(true)
    }

    fn start_with(is_audited: bool) -> Result<Self> {
        let assets = Assets::find()?;
        // With etcd, which outlives the others.
        let dir = temp_dir()?;
        let keys = Keys::generate(dir.path())?;
        let etcd = start_etcd(&assets, dir)?;
        let api = start_api(&assets, &keys, etcd.addr(), temp_dir()?, None, is_audited)?;
        keys.write_kubeconfigs(api.addr())?;
        let manager = start_manager(&assets, &keys, temp_dir()?)?;
        Ok(Self {
            manager,
            api_address: api.addr(),
            api: Some(api),
            etcd,
            assets,
            is_audited,
        })
    }

    /// One that all tests of a binary share, each in a [namespace](Cluster::namespace) of its own.
    ///
    /// # Panics
    /// When there is none.
    pub fn shared() -> &'static Self {
        // It is never dropped, but ends with the process.
        static SHARED: LazyLock<Result<Cluster>> = LazyLock::new(Cluster::start);
        match &*SHARED {
            Ok(cluster) => cluster,
            Err(error) => panic!("{error}"),
        }
    }

    /// The file by which clients come in as an administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.keys().kubeconfig("admin")
    }

    /// Of the API server.
    pub fn address(&self) -> SocketAddr {
        self.api_address
    }

    /// How an administrator's client comes in.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn config(&self) -> Result<Config> {
        let kubeconfig = Kubeconfig::read_from(self.kubeconfig())?;
        Ok(Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?)
    }

    /// An administrator's client, whose connections belong to the present runtime.
    ///
    /// # Errors
    /// When it cannot be made; the API server is not asked yet.
    pub async fn client(&self) -> Result<Client> {
        Client::try_from(self.config().await?).map_err(Error::kubernetes("making a client"))
    }

    /// Makes a namespace and waits until pods can be made in it.
    ///
    /// # Errors
    /// When there is one by this name, or no controller takes care of it.
    pub async fn namespace(&self, name: &str) -> Result<()> {
        let client = self.client().await?;
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some(name.to_owned());
        Api::all(client.clone())
            .create(&PostParams::default(), &namespace)
            .await
            .map_err(Error::kubernetes(format!("making the namespace {name}")))?;
        // Admission refuses pods whose service account is not there.
        let accounts: Api<ServiceAccount> = Api::namespaced(client, name);
        let is_there = await_condition(accounts, "default", |account: Option<&ServiceAccount>| {
            account.is_some()
        });
        match timeout(PATIENCE, is_there).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Error::Timeout {
                event: format!("the service account of {name}"),
            }),
        }
    }

    /// Runs kubectl as an administrator and gives what it printed.
    ///
    /// # Errors
    /// When it fails.
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        let mut command = kubectl(&self.assets, &self.kubeconfig());
        command.args(args);
        run(command, &format!("kubectl {}", args.join(" ")))
    }

    /// Kills the API server as `kill -9` does. What was written is with etcd.
    pub fn kill_api_server(&mut self) {
        self.api = None;
    }

    /// Starts the API server again, at its address, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn start_api_server(&mut self) -> Result<()> {
        self.kill_api_server();
        let port = Some(self.api_address.port());
        let (keys, etcd) = (self.keys(), self.etcd.addr());
        let api = start_api(&self.assets, &keys, etcd, temp_dir()?, port, self.is_audited)?;
        self.api = Some(api);
        Ok(())
    }

    /// What `user` has asked the API server for so far, in the order of the answers: events of `audit.k8s.io/v1`, without what was
    /// sent. None where the cluster is not [audited](Self::start_audited).
    pub fn audited(&self, user: &str) -> Vec<Value> {
        let log = fs::read_to_string(self.keys().audit_log()).unwrap_or_default();
        // The last line may be half written.
        let events = log
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.filter(|event| event["user"]["username"] == user).collect()
    }

    /// Runs helm as an administrator, with folders of its own; gives what it printed.
    ///
    /// # Errors
    /// When it fails, what it said.
    pub fn helm(&self, args: &[&str]) -> Result<String> {
        let mut command = Command::new(self.assets.program("helm"));
        for (variable, folder) in [
            ("HELM_CACHE_HOME", "helm-cache"),
            ("HELM_CONFIG_HOME", "helm-config"),
            ("HELM_DATA_HOME", "helm-data"),
        ] {
            command.env(variable, self.keys().folder.join(folder));
        }
        command
            .env("KUBECONFIG", self.kubeconfig())
            .args(args)
            .stdin(Stdio::null());
        run(command, &format!("helm {}", args.join(" ")))
    }

    /// Makes etcd forget all but what is: whoever watches from before is told that it is too old (410).
    ///
    /// # Errors
    /// When etcd refuses.
    pub fn compact(&self) -> Result<()> {
        let ask = |path: &str, body: &serde_json::Value| -> Result<serde_json::Value> {
            let answer = http::post(self.etcd.addr(), path, body.to_string().as_bytes())?;
            let text = answer.text();
            serde_json::from_str(&text).map_err(|_| {
                let doing = format!("asking etcd for {path}: {text}");
                Error::io(doing)(std::io::ErrorKind::InvalidData.into())
            })
        };
        // Any key: the answer tells the revision.
        let now = ask("/v3/kv/range", &json!({"key": "YQ=="}))?;
        let revision = &now["header"]["revision"];
        ask(
            "/v3/kv/compaction",
            &json!({"revision": revision, "physical": true}),
        )
        .map(drop)
    }

    /// What the controller manager has written so far, to look into when a controller does not do its work.
    pub fn controllers_log(&self) -> String {
        self.manager.log()
    }

    /// What the API server has written since it was started last.
    pub fn api_log(&self) -> String {
        self.api.as_ref().map(Server::log).unwrap_or_default()
    }

    /// The process IDs of what runs.
    pub fn pids(&self) -> Vec<u32> {
        let servers = [Some(&self.etcd), self.api.as_ref(), Some(&self.manager)];
        servers.into_iter().flatten().map(Server::pid).collect()
    }

    fn keys(&self) -> Keys {
        Keys {
            folder: self.etcd.path().to_owned(),
        }
    }
}

// === the servers ===

fn start_etcd(assets: &Assets, dir: TempDir) -> Result<Server> {
    let args = |address: SocketAddr| {
        let flags = [
            "--name=default".to_owned(),
            "--data-dir=data".to_owned(),
            format!("--listen-client-urls=http://{address}"),
            format!("--advertise-client-urls=http://{address}"),
            // It has no peers, but listens to them all the same.
            "--listen-peer-urls=http://127.0.0.1:0".to_owned(),
            "--unsafe-no-fsync".to_owned(),
        ];
        flags.to_vec()
    };
    let ready = |_: SocketAddr, log: &str| log.contains("ready to serve client requests");
    Ok(Server::start(&assets.program("etcd"), dir, None, args, ready)?)
}

fn start_api(
    assets: &Assets,
    keys: &Keys,
    etcd: SocketAddr,
    dir: TempDir,
    port: Option<u16>,
    is_audited: bool,
) -> Result<Server> {
    let file = |name: &str| keys.folder.join(name).display().to_string();
    let args = |address: SocketAddr| {
        let flags = [
            format!("--etcd-servers=http://{etcd}"),
            "--bind-address=127.0.0.1".to_owned(),
            "--advertise-address=127.0.0.1".to_owned(),
            format!("--secure-port={}", address.port()),
            "--endpoint-reconciler-type=none".to_owned(),
            // Every address of a service is then one of loopback, which a test's own server can be bound to.
            "--service-cluster-ip-range=127.96.0.0/16".to_owned(),
            "--authorization-mode=Node,RBAC".to_owned(),
            format!("--client-ca-file={}", file("cluster-ca.crt")),
            format!("--tls-cert-file={}", file("api.crt")),
            format!("--tls-private-key-file={}", file("api.key")),
            format!("--requestheader-client-ca-file={}", file("front-proxy-ca.crt")),
            "--requestheader-allowed-names=front-proxy-client".to_owned(),
            "--requestheader-username-headers=X-Remote-User".to_owned(),
            "--requestheader-group-headers=X-Remote-Group".to_owned(),
            "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
            format!("--proxy-client-cert-file={}", file("front-proxy.crt")),
            format!("--proxy-client-key-file={}", file("front-proxy.key")),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={}", file("accounts.pub")),
            format!("--service-account-signing-key-file={}", file("accounts.key")),
        ];
        let mut flags = flags.to_vec();
        if is_audited {
            flags.push(format!("--audit-policy-file={}", file("audit.json")));
            flags.push(format!("--audit-log-path={}", keys.audit_log().display()));
        }
        flags
    };
    let ready = |address: SocketAddr, log: &str| {
        let is_ours = log.contains(&format!("Serving securely on {address}"));
        is_ours && keys.write_kubeconfigs(address).is_ok() && answers(assets, keys, "/readyz")
    };
    Ok(Server::start(
        &assets.program("kube-apiserver"),
        dir,
        port,
        args,
        ready,
    )?)
}

fn start_manager(assets: &Assets, keys: &Keys, dir: TempDir) -> Result<Server> {
    let file = |name: &str| keys.folder.join(name).display().to_string();
    let args = |_: SocketAddr| {
        let flags = [
            format!("--kubeconfig={}", keys.kubeconfig("manager").display()),
            "--secure-port=0".to_owned(),
            "--leader-elect=false".to_owned(),
            "--use-service-account-credentials=true".to_owned(),
            format!("--service-account-private-key-file={}", file("accounts.key")),
            format!("--root-ca-file={}", file("cluster-ca.crt")),
            // The default is a folder of the system, which it would make.
            "--flex-volume-plugin-dir=plugins".to_owned(),
            // Nodes without a kubelet would be found dead, and their pods not ready.
            "--controllers=*,-node-lifecycle-controller".to_owned(),
            // What takes minutes in a cluster, so that flapping costs nothing, is not to take them in a test.
            "--horizontal-pod-autoscaler-sync-period=2s".to_owned(),
            "--horizontal-pod-autoscaler-downscale-stabilization=5s".to_owned(),
            "--horizontal-pod-autoscaler-initial-readiness-delay=1s".to_owned(),
            "--horizontal-pod-autoscaler-cpu-initialization-period=1s".to_owned(),
        ];
        flags.to_vec()
    };
    let account = "/api/v1/namespaces/default/serviceaccounts/default";
    let ready =
        |_: SocketAddr, log: &str| log.contains("Caches are synced") && answers(assets, keys, account);
    Ok(Server::start(
        &assets.program("kube-controller-manager"),
        dir,
        None,
        args,
        ready,
    )?)
}

/// What a program prints.
fn run(mut command: Command, line: &str) -> Result<String> {
    let output = command.output().map_err(Error::io(format!("starting {line}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(fleetgauge_testkit::Error::Failed {
        program: line.to_owned(),
        status: output.status.to_string(),
        tail: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
    .into())
}

/// Whether there is an answer to this path, and a good one.
fn answers(assets: &Assets, keys: &Keys, path: &str) -> bool {
    let mut asking = kubectl(assets, &keys.kubeconfig("admin"));
    asking
        .args(["get", "--raw", path])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    asking.status().is_ok_and(|status| status.success())
}

fn kubectl(assets: &Assets, kubeconfig: &Path) -> Command {
    let mut command = Command::new(assets.program("kubectl"));
    let cache = kubeconfig.with_file_name("kubectl-cache");
    command
        .env("KUBECONFIG", kubeconfig)
        .env("KUBECACHEDIR", cache)
        .arg("--request-timeout=10s")
        .stdin(Stdio::null());
    command
}

// === impl Keys ===

/// The keys and certificates of a cluster, in etcd's directory.
struct Keys {
    folder: PathBuf,
}

impl Keys {
    fn generate(folder: &Path) -> Result<Self> {
        let cluster = Authority::new(folder, "cluster-ca")?;
        let names = [
            "127.0.0.1",
            "localhost",
            "kubernetes.default.svc",
            // The first address of the services, which is the API server's.
            "127.96.0.1",
        ];
        cluster.server("api", &names)?;
        cluster.client("admin", "admin", Some("system:masters"))?;
        cluster.client("manager", "system:kube-controller-manager", None)?;
        // By another authority, or whoever has a client certificate could say that he is someone else.
        let front_proxy = Authority::new(folder, "front-proxy-ca")?;
        front_proxy.client("front-proxy", "front-proxy-client", None)?;
        authority::keys(folder, "accounts")?;
        let policy = json!({
            "apiVersion": "audit.k8s.io/v1", "kind": "Policy",
            "rules": [{"level": "Metadata"}],
            "omitStages": ["RequestReceived"],
        });
        authority::write(&folder.join("audit.json"), &policy.to_string())?;
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    fn write_kubeconfigs(&self, api: SocketAddr) -> Result<()> {
        for user in ["admin", "manager"] {
            let config = json!({
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "test", "cluster": {
                    "server": format!("https://{api}"),
                    "certificate-authority": self.folder.join("cluster-ca.crt"),
                }}],
                "users": [{"name": user, "user": {
                    "client-certificate": self.folder.join(format!("{user}.crt")),
                    "client-key": self.folder.join(format!("{user}.key")),
                }}],
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
                "current-context": "test",
            });
            // JSON is YAML.
            authority::write(&self.kubeconfig(user), &config.to_string())?;
        }
        Ok(())
    }

    fn audit_log(&self) -> PathBuf {
        self.folder.join("audit.log")
    }

    fn kubeconfig(&self, user: &str) -> PathBuf {
        self.folder.join(format!("{user}.kubeconfig"))
    }
}
