//! The daemon over the simulated fleet, with a configuration that can be read and changed: all of `fleetgauge demo --serve`, and
//! the dashboard beside the live table.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fleetgauge_sim::{Fleet, SimPod, WorkloadKind};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::hint::{aside, count, misbehaving, query_command};
use super::targets::{TARGETS_EVERY, TargetsFile};
use crate::cli::{Demo, OutputFormat, Serve};
use crate::config::Environment;
use crate::daemon::{self, Daemon, Doors};
use crate::log::Log;
use crate::output;

/// How long the daemon is not ready at most while samples have only begun to come.
const READY_AFTER: Duration = Duration::from_secs(120);

/// What waits now. That of the pack `inference` is the most of the last minute, which nobody knows in the first one.
const QUERY: &str = r#"queries:
  - name: waiting
    unit: requests
    params: [namespace, modelID]
    template: |
      sum by (namespace, pod) (vllm:num_requests_waiting{namespace="{{.namespace}}", model_name="{{.modelID}}"})
      or sum by (namespace, pod) (sglang:num_queue_reqs{namespace="{{.namespace}}", model_name="{{.modelID}}"})
    fold: {pod: max, variant: sum}
"#;

/// A daemon over the simulated fleet.
pub(super) struct Served {
    daemon: Daemon,
    doors: Doors,
    targets: TargetsFile,
    file: PathBuf,
    watching: JoinSet<()>,
    _directory: TempDir,
}

/// Serves until `signal`, and ends what is under way then.
pub(super) async fn serve(
    args: &Demo,
    fleet: &Fleet,
    mut signal: oneshot::Receiver<()>,
) -> anyhow::Result<()> {
    let mut served = Served::open(args, fleet).await?;
    let text = match args.output {
        OutputFormat::Table => hints(&fleet.pods(), &served.doors, &served.file),
        OutputFormat::Json => {
            let (doors, file) = (&served.doors, &served.file);
            let served = serde_json::json!({"url": doors.server, "keda": doors.keda, "configuration": file});
            served.to_string()
        }
    };
    aside(move || output::print_line(&text)).await?;
    let mut ticks = tokio::time::interval(TARGETS_EVERY);
    loop {
        tokio::select! {
            _ = ticks.tick() => served.update(fleet)?,
            _ = &mut signal => break,
        }
    }
    drop(served.watching);
    served.daemon.end(served.doors).await;
    Ok(())
}

// === impl Served ===

impl Served {
    pub(super) async fn open(args: &Demo, fleet: &Fleet) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("fleetgauge-demo-").tempdir()?;
        let file = directory.path().join("fleetgauge.yaml");
        std::fs::write(&file, configuration(args, &fleet.pods()))?;
        let mut targets = TargetsFile::new(&directory.path().join("targets.json"));
        targets.write(fleet)?;
        let serve = Serve {
            config: file.clone(),
            listen: None,
            log_level: None,
            log_format: None,
            ready_after: READY_AFTER,
        };
        let (config, contents) = daemon::read(&file)?;
        let environment = Environment::of_collector()?;
        let daemon = Daemon::start(&serve, (&config, contents), environment, Log::default())?;
        let doors = daemon.open(&config, &serve).await?;
        let mut watching = JoinSet::new();
        watching.spawn(daemon.clone().watch_files());
        Ok(Self {
            daemon,
            doors,
            targets,
            file,
            watching,
            _directory: directory,
        })
    }

    /// Where its dashboard is.
    pub(super) fn url(&self) -> &str {
        &self.doors.server
    }

    /// Lets it know the pods as they are now.
    pub(super) fn update(&mut self, fleet: &Fleet) -> std::io::Result<()> {
        self.targets.write(fleet)
    }
}

/// One pod of each model.
fn models(pods: &[SimPod]) -> Vec<&SimPod> {
    let mut models = BTreeMap::new();
    for pod in pods.iter().filter(|pod| !pod.model.is_empty()) {
        models.entry((&pod.namespace, &pod.model)).or_insert(pod);
    }
    models.into_values().collect()
}

/// The name of a model's metric: letters, digits and `_`.
fn metric(pod: &SimPod, what: &str) -> String {
    let name = pod.variant.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    format!("{}_{what}", name.to_ascii_lowercase())
}

fn configuration(args: &Demo, pods: &[SimPod]) -> String {
    let mut text = format!(
        "sources:\n  pods: {{scrape: {{interval: {:?}, discovery: [{{files: [targets.json]}}]}}}}\n{QUERY}metrics:\n  - {{name: \
         variant_queue, query: waiting, every: 1s, for_each: variant}}\n",
        args.interval
    );
    for pod in models(pods) {
        for (what, query) in [("queue", "waiting"), ("kv_cache", "inference/kv_cache_usage")] {
            let _ = writeln!(
                text,
                "  - {{name: {}, query: {query}, every: 1s, params: {{namespace: {}, modelID: {:?}}}}}",
                metric(pod, what),
                pod.namespace,
                pod.model
            );
        }
    }
    text.push_str("variants:\n");
    let mut variants = BTreeMap::new();
    for pod in pods.iter().filter(|pod| !pod.model.is_empty()) {
        variants.entry((&pod.namespace, &pod.variant)).or_insert(pod);
    }
    for pod in variants.into_values() {
        let kind = match pod.workload.kind {
            WorkloadKind::Deployment => "Deployment",
            WorkloadKind::StatefulSet => "StatefulSet",
            _ => "LeaderWorkerSet",
        };
        let _ = writeln!(
            text,
            "  - {{name: {}, namespace: {}, workload: {{kind: {kind}, name: {}}}, params: {{modelID: {:?}}}}}",
            pod.variant, pod.namespace, pod.workload.name, pod.model
        );
    }
    text.push_str("server: {listen: \"127.0.0.1:0\"}\nkeda: {listen: \"127.0.0.1:0\"}\n");
    text
}

/// What to try, with the ports of this very daemon.
fn hints(pods: &[SimPod], doors: &Doors, file: &Path) -> String {
    let url = &doors.server;
    let mut text = format!(
        "fleetgauge demo: a daemon over {}; its dashboard: {url}/\n",
        count(pods.len(), "simulated pod")
    );
    if let Some(pod) = misbehaving(pods) {
        let _ = writeln!(
            text,
            "{} fails in a new way every 24 s: what lacks it says so",
            pod.name
        );
    }
    let _ = writeln!(
        text,
        "its configuration, which it reads again when it changes: {}\n\ntry:",
        file.display()
    );
    for command in commands(pods, doors) {
        let _ = writeln!(text, "  {command}");
    }
    text.push_str("\nCtrl-C ends the demo");
    text
}

fn commands(pods: &[SimPod], doors: &Doors) -> Vec<String> {
    let url = &doors.server;
    let models = models(pods);
    let Some(pod) = models.first() else {
        return Vec::new();
    };
    let queue = metric(pod, "queue");
    let mut commands = vec![
        format!("curl {url}/api/fleetgauge/v1/metrics/{queue}"),
        format!(
            "curl '{url}/api/fleetgauge/v1/metrics/variant_queue?variant={}'",
            pod.variant
        ),
        format!("curl -N '{url}/api/fleetgauge/v1/stream?metric={queue}'"),
        format!("promtool query instant {url} 'fleetgauge_reading{{metric=\"{queue}\"}}'"),
        format!("promtool query instant {url} 'sum by (pod) (vllm:num_requests_waiting)'"),
    ];
    commands.extend(query_command(pods, url));
    if let Some(keda) = doors.keda {
        commands.push(format!(
            "grpcurl -plaintext -d '{{\"name\": \"{}\", \"namespace\": \"{}\", \"scalerMetadata\": {{\"metric\": \
             \"{queue}\", \"target\": \"5\"}}}}' {keda} externalscaler.ExternalScaler/IsActive",
            pod.variant, pod.namespace
        ));
    }
    commands
}
