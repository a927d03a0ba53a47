//! `fleetgauge demo --serve-fleet-only`: the simulated pods alone, for a collector of one's own.

use std::fmt::Write as _;
use std::path::Path;

use fleetgauge_sim::{Fleet, SimPod};

use super::hint::{aside, misbehaving, query_command, scrape_command};
use super::targets::{TARGETS_EVERY, TargetsFile};
use crate::cli::{Demo, OutputFormat};
use crate::output::{self, json};

/// Serves the pods, and says where they are, until it is dropped.
pub(super) async fn serve(args: &Demo, fleet: &Fleet) -> anyhow::Result<()> {
    let directory = tempfile::Builder::new().prefix("fleetgauge-fleet-").tempdir()?;
    let file = directory.path().join("targets.json");
    let config = directory.path().join("prometheus.yml");
    // Found from the configuration's own directory.
    let text = "scrape_configs:\n  - job_name: fleet\n    scrape_interval: 1s\n    \
                file_sd_configs: [{files: [targets.json]}]\n";
    std::fs::write(&config, text)?;
    let mut targets = TargetsFile::new(&file);
    let mut printed = false;
    let mut ticks = tokio::time::interval(TARGETS_EVERY);
    loop {
        ticks.tick().await;
        targets.write(fleet)?;
        if !printed {
            printed = true;
            let (file, config) = (file.to_string_lossy(), config.to_string_lossy());
            match args.output {
                OutputFormat::Table => {
                    let text = served(&fleet.pods(), &file, directory.path());
                    aside(move || output::print_line(&text)).await?;
                }
                OutputFormat::Json => {
                    let line = json::to_line(&json::demo::Served::new(&fleet.pods(), &file, &config))?;
                    aside(move || output::print(&line)).await?;
                }
            }
        }
    }
}

/// Where the pods are, and what to try with them.
fn served(pods: &[SimPod], file: &str, directory: &Path) -> String {
    let mut table = output::table::new(&["namespace", "variant", "model", "pod", "url"]);
    table.set_content_arrangement(comfy_table::ContentArrangement::Disabled);
    for pod in pods {
        let model = if pod.model.is_empty() { "-" } else { &pod.model };
        table.add_row([&*pod.namespace, &pod.variant, model, &pod.name, &pod.url]);
    }
    let mut text = output::table::render(&mut table);
    if let Some(pod) = misbehaving(pods) {
        let _ = write!(
            text,
            "\n{} fails in a new way every 24 s, and after a while has another name\n",
            pod.name
        );
    }
    let _ = write!(
        text,
        "\nfor Prometheus's file_sd_configs, kept up to date when a pod gets another name: {file}\n\n\
         a Prometheus gets to know the pods after five seconds, and needs two scrapes for a rate: wait a few seconds\n\n\
         try:\n"
    );
    let directory = directory.display();
    let prometheus =
        format!("prometheus --config.file={directory}/prometheus.yml --storage.tsdb.path={directory}/data");
    let query = query_command(pods, "http://localhost:9090");
    for command in scrape_command(pods).into_iter().chain([prometheus]).chain(query) {
        let _ = writeln!(text, "  {command}");
    }
    text.push_str("\nCtrl-C ends the fleet");
    text
}
