//! KEDA's operator. What answers the HPA for KEDA, its adapter, is not started: it listens on all interfaces. So a workload
//! is scaled from zero and to zero, which the operator does itself, and not between one and more.

use std::env;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use fleetgauge_testkit::process::{Server, free_port, temp_dir};

use crate::authority::Authority;
use crate::cluster::Cluster;
use crate::{Error, Result};

/// A running operator, with KEDA's kinds in the cluster.
#[derive(Debug)]
pub struct Keda(Server);

// === impl Keda ===

impl Keda {
    /// Starts the operator that `FLEETGAUGE_KEDA` names.
    ///
    /// # Errors
    /// When it is not there, or does not become ready.
    pub fn start(cluster: &Cluster) -> Result<Self> {
        let folder = PathBuf::from(env::var_os("FLEETGAUGE_KEDA").unwrap_or_default());
        if !folder.join("operator").is_file() {
            return Err(Error::Keda);
        }
        let kinds = folder.join("crds").display().to_string();
        cluster.kubectl(&["apply", "--server-side", "--filename", &kinds])?;
        cluster.kubectl(&[
            "wait",
            "--for=condition=Established",
            "--timeout=60s",
            "--filename",
            &kinds,
        ])?;
        let dir = temp_dir()?;
        certificates(dir.path())?;
        let metrics = free_port()?;
        let kubeconfig = cluster.kubeconfig();
        let args = |health: SocketAddr| {
            let flags = [
                // Its own certificates are written into objects that only a chart makes.
                "--enable-cert-rotation=false".to_owned(),
                "--cert-dir=.".to_owned(),
                "--leader-elect=false".to_owned(),
                "--metrics-bind-address=0".to_owned(),
                format!("--health-probe-bind-address={health}"),
                format!("--metrics-service-bind-address={metrics}"),
            ];
            let program = folder.join("operator").display().to_string();
            let mut args = vec![
                format!("KUBECONFIG={}", kubeconfig.display()),
                "POD_NAMESPACE=default".to_owned(),
                "KEDA_CLUSTER_OBJECT_NAMESPACE=default".to_owned(),
                "WATCH_NAMESPACE=".to_owned(),
                program,
            ];
            args.extend(flags);
            args
        };
        let ready =
            |_: SocketAddr, log: &str| log.contains("Starting workers") && log.contains("\"scaledobject\"");
        // It takes some of its settings from the environment alone.
        Ok(Self(Server::start(
            Path::new("/usr/bin/env"),
            dir,
            None,
            args,
            ready,
        )?))
    }

    /// What it has written so far.
    pub fn log(&self) -> String {
        self.0.log()
    }
}

impl Drop for Keda {
    /// What it has written goes with it.
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

/// Those by which its adapter and it would know each other.
fn certificates(folder: &Path) -> Result<()> {
    let authority = Authority::new(folder, "ca")?;
    authority.server("tls", &["127.0.0.1"])
}
