//! What asks for metrics: HorizontalPodAutoscalers, and ScaledObjects of KEDA.

use fleetgauge_core::policy::Fold;
use fleetgauge_core::printable::Excerpt;
use fleetgauge_kube::survey::Survey;
use fleetgauge_kube::watch::WatchConfig;
use fleetgauge_server::door::kubernetes::selector::Selector;
use fleetgauge_server::metric::{ForEach, MetricFold, MetricSpec};
use serde_json::Value;

use super::group::Server;
use super::offer::Offer;
use super::report::Report;
use super::workload::Target;

/// One of them.
pub(super) struct Autoscaler {
    kind: Kind,
    object: Value,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    HorizontalPodAutoscaler,
    ScaledObject,
    VariantAutoscaling,
}

/// All of the cluster, but for those that KEDA makes for its own.
pub(super) async fn read(survey: &Survey, report: &mut Report) -> Vec<Autoscaler> {
    let mut all = Vec::new();
    for (kind, path, subject) in [
        (
            Kind::HorizontalPodAutoscaler,
            "/apis/autoscaling/v2/horizontalpodautoscalers",
            "horizontalpodautoscalers",
        ),
        (
            Kind::ScaledObject,
            "/apis/keda.sh/v1alpha1/scaledobjects",
            "scaledobjects",
        ),
        (
            Kind::VariantAutoscaling,
            "/apis/llmd.ai/v1alpha1/variantautoscalings",
            "variantautoscalings",
        ),
    ] {
        match survey.list(path).await {
            Ok(objects) => {
                let objects = objects.unwrap_or_default().into_iter();
                let made = objects.map(|object| Autoscaler { kind, object });
                all.extend(made.filter(|one| !one.is_kedas()));
            }
            Err(error) => report.unread(subject, &error),
        }
    }
    all
}

// === impl Autoscaler ===

impl Autoscaler {
    fn is_kedas(&self) -> bool {
        let owners = self.object["metadata"]["ownerReferences"].as_array();
        owners
            .into_iter()
            .flatten()
            .any(|owner| owner["kind"] == "ScaledObject")
    }

    fn namespace(&self) -> &str {
        self.object["metadata"]["namespace"].as_str().unwrap_or_default()
    }

    fn name(&self) -> &str {
        self.object["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// As a finding names it.
    pub(super) fn subject(&self) -> String {
        let kind = match self.kind {
            Kind::HorizontalPodAutoscaler => "hpa",
            Kind::ScaledObject => "scaledobject",
            Kind::VariantAutoscaling => "variantautoscaling",
        };
        format!("{kind} {}/{}", self.namespace(), self.name())
    }

    /// What it scales.
    pub(super) fn target(&self) -> Target {
        let target = &self.object["spec"]["scaleTargetRef"];
        // As KEDA has it where they are not given.
        let text = |field: &str, default: &str| target[field].as_str().unwrap_or(default).to_owned();
        Target {
            namespace: self.namespace().to_owned(),
            api_version: text("apiVersion", "apps/v1"),
            kind: text("kind", "Deployment"),
            name: text("name", ""),
        }
    }

    /// Whether it is a variant, or asks for one of the metrics.
    pub(super) fn is_ours(&self, watched: &WatchConfig, offer: &Offer<'_>) -> bool {
        if self.kind == Kind::VariantAutoscaling {
            return true;
        }
        let name = match self.kind {
            Kind::ScaledObject => "ScaledObject",
            _ => "HorizontalPodAutoscaler",
        };
        let scaler = watched.scalers.iter().find(|scaler| scaler.kind().name == name);
        let selector = scaler.and_then(|scaler| scaler.selector()?.parse::<Selector>().ok());
        let labels = &self.object["metadata"]["labels"];
        let is_variant = selector.is_some_and(|selector| selector.matches(|label| labels[label].as_str()));
        is_variant || self.asked().any(|asked| offer.metric(asked.name).is_some())
    }

    fn asked(&self) -> impl Iterator<Item = Asked<'_>> {
        let list = match self.kind {
            Kind::HorizontalPodAutoscaler => &self.object["spec"]["metrics"],
            Kind::ScaledObject => &self.object["spec"]["triggers"],
            Kind::VariantAutoscaling => &Value::Null,
        };
        list.as_array().into_iter().flatten().filter_map(Asked::read)
    }

    /// What it asks for has to be there, and to be what it takes it for.
    pub(super) fn examine(&self, offer: &Offer<'_>, external: &Server, custom: &Server, report: &mut Report) {
        for asked in self.asked() {
            let metric = offer.metric(asked.name);
            let server = match asked.by {
                By::External => external,
                By::Pods => custom,
                By::Keda => {
                    self.examine_trigger(&asked, metric, offer, report);
                    continue;
                }
            };
            self.examine_metric(&asked, metric, offer, server, report);
        }
    }

    fn examine_metric(
        &self,
        asked: &Asked<'_>,
        metric: Option<&MetricSpec>,
        offer: &Offer<'_>,
        server: &Server,
        report: &mut Report,
    ) {
        let (subject, namespace) = (&self.subject(), self.namespace());
        let name = Excerpt(asked.name);
        match (server, metric) {
            // It is between these two.
            (Server::Other(_), None) => return,
            (Server::Other(owner), Some(_)) => {
                return report.error(
                    subject,
                    format!("it asks {owner} for {name}, which is a metric of this daemon"),
                    match owner.contains("keda") {
                        true => "let a ScaledObject ask for it, by the door keda (docs/keda.md)",
                        false => "let the APIService name the daemon's Service, or ask for a metric that the other one has",
                    },
                );
            }
            (Server::Nobody, _) => {
                return report.error(
                    subject,
                    format!("it asks for {name}, and nobody is registered for such metrics"),
                    "register the daemon, as the Helm chart does it (docs/external-metrics.md)",
                );
            }
            (Server::Ours | Server::Unknown, None) => {
                // Whose the group is, is not known, and perhaps nobody's business here.
                if matches!(server, Server::Ours) || offer.has_external_metrics() {
                    let what = format!("it asks for {name}, which nobody offers");
                    report.error(subject, what, offer.hint(asked.name, namespace));
                }
                return;
            }
            (Server::Ours | Server::Unknown, Some(_)) => {}
        }
        let Some(metric) = metric else { return };
        if !metric.is_visible_in(namespace) {
            let what = format!("it asks for {name}, which the namespace {namespace} may not see");
            return report.error(
                subject,
                what,
                format!("add {namespace} to `namespaces` of the metric, or take one of its own"),
            );
        }
        if asked.by == By::Pods && metric.fold != MetricFold::Rows {
            return report.error(
                subject,
                format!("it asks for {name} of each pod, and the metric is one number"),
                "ask for it with `type: External`, or let the metric have `fold: none`",
            );
        }
        if asked.by == By::External {
            self.examine_average(asked, metric, offer, report);
        }
    }

    fn examine_trigger(
        &self,
        asked: &Asked<'_>,
        metric: Option<&MetricSpec>,
        offer: &Offer<'_>,
        report: &mut Report,
    ) {
        let (subject, namespace) = (&self.subject(), self.namespace());
        let name = Excerpt(asked.name);
        match metric {
            Some(_) if !offer.has_keda() => report.error(
                subject,
                format!("its trigger asks for {name}, and the door keda is not open"),
                "add `keda: {listen: …}` to the configuration (docs/keda.md)",
            ),
            Some(metric) if !metric.is_visible_in(namespace) => report.error(
                subject,
                format!("its trigger asks for {name}, which the namespace {namespace} may not see"),
                format!("add {namespace} to `namespaces` of the metric, or take one of its own"),
            ),
            Some(metric) => self.examine_average(asked, metric, offer, report),
            // The address may be somebody else's.
            None if offer.has_keda() => report.warning(
                subject,
                format!("its trigger asks for {name}, which this daemon does not offer"),
                format!(
                    "{}; nothing is wrong if its scalerAddress is another server's",
                    offer.hint(asked.name, namespace)
                ),
            ),
            None => {}
        }
    }

    /// Of what is no sum over the pods, a share for each replica means nothing.
    fn examine_average(
        &self,
        asked: &Asked<'_>,
        metric: &MetricSpec,
        offer: &Offer<'_>,
        report: &mut Report,
    ) {
        if !asked.is_averaged {
            return;
        }
        // One for each pod is added up, and divided again.
        let is_each_pod = metric.for_each != Some(ForEach::Variant) && metric.fold == MetricFold::Rows;
        let Some(fold) = offer
            .folds_by(metric)
            .filter(|fold| *fold != Fold::Sum && !is_each_pod)
        else {
            return;
        };
        let (value, fold) = (
            if asked.by == By::Keda {
                "`metricType: Value` in the trigger"
            } else {
                "`type: Value` in the target"
            },
            fold.as_str(),
        );
        report.warning(
            &self.subject(),
            format!(
                "it divides {} by the number of replicas (AverageValue), and that is the {fold} over the pods, which does not grow \
                 with them: with more replicas the same load looks like less",
                Excerpt(asked.name)
            ),
            format!("take {value}, or a metric that is a sum over the pods"),
        );
    }
}

/// What is asked for.
struct Asked<'a> {
    by: By,
    name: &'a str,
    /// Whether what is told is divided by the number of replicas.
    is_averaged: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    External,
    Pods,
    Keda,
}

// === impl Asked ===

impl<'a> Asked<'a> {
    /// A metric of an HPA, or a trigger of a ScaledObject, if it is one that a server like ours answers.
    fn read(value: &'a Value) -> Option<Self> {
        let of_hpa = |by, source: &'a Value| {
            Some(Self {
                by,
                name: source["metric"]["name"].as_str()?,
                is_averaged: source["target"]["type"] == "AverageValue",
            })
        };
        match value["type"].as_str()? {
            "External" => of_hpa(By::External, &value["external"]),
            "Pods" => of_hpa(By::Pods, &value["pods"]),
            "external" | "external-push" => Some(Self {
                by: By::Keda,
                name: value["metadata"]["metric"].as_str()?,
                is_averaged: value["metricType"].as_str().unwrap_or("AverageValue") == "AverageValue",
            }),
            _ => None,
        }
    }
}
