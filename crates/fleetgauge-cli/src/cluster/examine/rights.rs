//! Whether the daemon may do what its configuration asks for.

use fleetgauge_kube::Client;
use fleetgauge_kube::config_map::ConfigMapWatch;
use fleetgauge_kube::review::{Attributes, Reviews, Subject};
use fleetgauge_kube::right::Right;
use fleetgauge_kube::service::ServiceDiscovery;
use fleetgauge_kube::watch::WatchConfig;

use super::report::Report;
use crate::config::{Config, Discovery, SourceKind};
use crate::kubeconfig::Account;

const SUBJECT: &str = "rights";

/// Asks for each right that is needed. `false` where the API server does not answer.
pub(super) async fn examine(
    client: &Client,
    watched: &WatchConfig,
    config: &Config,
    account: &Account,
    report: &mut Report,
) -> bool {
    let reviews = Reviews::new(client.clone());
    let subject = account
        .as_ref()
        .map(|(namespace, name)| Subject::service_account(namespace, name));
    let who = match &subject {
        Some(subject) => subject.name.clone(),
        None => match reviews.who_are_we().await {
            Ok(name) => name,
            Err(error) => {
                report.error(
                    SUBJECT,
                    format!(
                        "the API server does not say who we are: {:#}",
                        anyhow::Error::new(error)
                    ),
                    ADVICE,
                );
                return false;
            }
        },
    };
    let mut is_all = true;
    for (right, depends) in needed(watched, config) {
        let mut missing = right.clone();
        missing.verbs.clear();
        for verb in &right.verbs {
            let attributes = Attributes::of(&right, verb);
            let decision = match &subject {
                Some(subject) => reviews.may(subject, &attributes).await,
                None => reviews.may_we(&attributes).await,
            };
            match decision {
                Ok(decision) if decision.is_allowed => {}
                Ok(_) => missing.verbs.push(verb),
                Err(error) => {
                    report.error(
                        SUBJECT,
                        format!(
                            "the API server does not say what {who} may do: {:#}",
                            anyhow::Error::new(error)
                        ),
                        ADVICE,
                    );
                    return false;
                }
            }
        }
        if !missing.verbs.is_empty() {
            is_all = false;
            let role = match &*missing.namespace {
                "" => "a ClusterRole and a ClusterRoleBinding".to_owned(),
                namespace => format!("a Role and a RoleBinding in {namespace}"),
            };
            let advice = format!("give it by {role} for {who}:\n{}", missing.rule());
            report.error(SUBJECT, format!("{who} may not {missing}: {depends}"), advice);
        }
    }
    if is_all {
        let advice = match &subject {
            Some(_) => "",
            None => {
                "these are the rights of who runs this; --service-account NAMESPACE/NAME asks for those of the daemon"
            }
        };
        report.ok(
            SUBJECT,
            format!("{who} may do all that the configuration needs"),
            advice,
        );
    }
    true
}

const ADVICE: &str =
    "see that the kubeconfig, or the service account, is of this cluster, and that the API server is reached";

/// What is needed, each with what becomes of its lack.
fn needed(watched: &WatchConfig, config: &Config) -> Vec<(Right, String)> {
    let mut needed: Vec<(Right, String)> = Vec::new();
    let mut add = |right: Right, depends: &str| match needed.iter_mut().find(|(known, _)| *known == right) {
        Some((_, known)) => *known = format!("{known}; {depends}"),
        None => needed.push((right, depends.to_owned())),
    };
    let by_variant = "whose pods are whose is not known, and numbers by variant are withheld";
    add(Right::to_watch("", "pods"), by_variant);
    for controller in &watched.controllers {
        add(controller.right(), by_variant);
    }
    for scaler in &watched.scalers {
        let depends = format!(
            "variants that a {} scales are not known, and numbers by variant are withheld where no label names the variant",
            scaler.kind().name
        );
        add(scaler.right(), &depends);
    }
    for source in &config.sources {
        let SourceKind::Scrape(section) = &source.kind else {
            continue;
        };
        for discovery in &section.discoveries {
            let (right, namespaces) = match discovery {
                Discovery::Made(_) => continue,
                Discovery::Pods(pods) => (Right::to_watch("", "pods"), &pods.namespaces),
                Discovery::Services(services) => (ServiceDiscovery::right(), &services.namespaces),
            };
            let depends = format!("the source {} finds no pods there", source.name);
            match &namespaces[..] {
                [] => add(right, &depends),
                some => some
                    .iter()
                    .for_each(|namespace| add(right.clone().in_namespace(namespace), &depends)),
            }
        }
    }
    if config.external_metrics.is_some() {
        let map = ConfigMapWatch::right("kube-system", "extension-apiserver-authentication");
        add(
            map,
            "whose certificates external_metrics believes is not known, and no HPA gets an answer",
        );
        for right in Reviews::rights() {
            add(
                right,
                "external_metrics cannot find out who asks and what he may see, and refuses him",
            );
        }
    }
    needed
}
