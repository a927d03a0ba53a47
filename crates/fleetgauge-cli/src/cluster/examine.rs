//! What does not fit together in a cluster: rights, API groups, autoscalers, workloads.

mod autoscaler;
mod group;
mod offer;
mod report;
mod rights;
mod workload;

use fleetgauge::doctor::Finding;
use fleetgauge_kube::Client;
use fleetgauge_kube::survey::Survey;
use fleetgauge_kube::watch::WatchConfig;

use crate::config::Config;
use crate::kubeconfig::Account;

use offer::Offer;
use report::Report;

/// What is found out of the cluster of `config`.
pub(super) async fn examine(
    client: &Client,
    watched: &WatchConfig,
    config: &Config,
    account: &Account,
) -> Vec<Finding> {
    let mut report = Report::default();
    if !rights::examine(client, watched, config, account, &mut report).await {
        // All else would say the same.
        return report.findings();
    }
    let survey = Survey::new(client.clone());
    let offer = Offer::new(config);
    let external = group::examine(&survey, "external.metrics.k8s.io", "v1beta1", config, &mut report).await;
    let custom = group::examine(&survey, "custom.metrics.k8s.io", "v1beta2", config, &mut report).await;
    let kinds = workload::Kinds::new(survey.clone());
    kinds.examine(watched, config, &mut report).await;
    let autoscalers = autoscaler::read(&survey, &mut report).await;
    for autoscaler in &autoscalers {
        autoscaler.examine(&offer, &external, &custom, &mut report);
    }
    let scaled = autoscalers
        .iter()
        .filter(|autoscaler| autoscaler.is_ours(watched, &offer));
    for autoscaler in scaled {
        let (subject, place) = (autoscaler.subject(), autoscaler.target());
        kinds.examine_workload(&subject, &place, &mut report).await;
    }
    for variant in &config.variants {
        let place = workload::Target::configured(variant);
        let subject = format!("variant {}", variant.variant);
        kinds.examine_workload(&subject, &place, &mut report).await;
    }
    report.findings()
}
