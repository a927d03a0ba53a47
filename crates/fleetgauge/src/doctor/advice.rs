//! What to change, in words and pieces of configuration.

use std::collections::BTreeSet;

use fleetgauge_core::backend::FetchError;
use fleetgauge_core::source::QueryError;
use fleetgauge_syntax::similar::similar;

use super::words::some;

pub(super) const WIDER_WINDOW: &str = "make the window at least four scrapes long, or scrape more often (scrape_interval); after a start, wait for the second scrape";
pub(super) const OLD_SAMPLES: &str = "see whether the target is still scraped: `up` of it, and the page /targets of Prometheus; where samples come by \
     remote write or federation, see whether they still do";
pub(super) const FILTERED: &str = "nothing is wrong where the servers are idle; where they are not, look at the bound that it is compared with";
pub(super) const NO_MATCH: &str =
    "aggregate both sides by the labels that they share, or name those in on (…) behind the operator";
/// Where a bound of the examination was met.
pub(super) const NOT_EXAMINED: &str = "examine fewer queries at once, one pack or one query after the other";

/// What is asked of a native histogram in the place of a part of a classic one.
pub(super) const OF_NATIVE: [(&str, &str); 3] = [
    (
        "_bucket",
        "histogram_quantile(0.9, sum by (pod) (rate(NAME[5m])))",
    ),
    ("_count", "histogram_count(rate(NAME[5m]))"),
    ("_sum", "histogram_sum(rate(NAME[5m]))"),
];

pub(super) fn native(histogram: &str, instead: &str) -> String {
    let instead = instead.replace("NAME", histogram);
    format!(
        "{histogram} is there as a native histogram, which has no such series: ask as {instead}, without le; or have the classic \
         series scraped as well (always_scrape_classic_histograms: true)"
    )
}

pub(super) fn classic(bucket: &str) -> String {
    format!(
        "{bucket} is there, a classic histogram: ask for that; or have the native one scraped, where the server exposes it: \
         scrape_native_histograms: true, and PrometheusProto first in scrape_protocols where these are named"
    )
}

/// Labels that scrape configurations add of what a cluster knows, with the one it is in Prometheus's discovery.
const META: [(&str, &str); 5] = [
    ("namespace", "__meta_kubernetes_namespace"),
    ("pod", "__meta_kubernetes_pod_name"),
    ("container", "__meta_kubernetes_pod_container_name"),
    ("node", "__meta_kubernetes_pod_node_name"),
    ("service", "__meta_kubernetes_service_name"),
];

/// What else `namespace` and `pod` are called.
const SYNONYMS: [(&str, &[&str]); 2] = [
    (
        "namespace",
        &[
            "kubernetes_namespace",
            "k8s_namespace_name",
            "kube_namespace",
            "exported_namespace",
        ],
    ),
    (
        "pod",
        &[
            "kubernetes_pod_name",
            "k8s_pod_name",
            "pod_name",
            "kube_pod",
            "exported_pod",
        ],
    ),
];

/// What to do about a metric that no series has, nor any whose name begins with `prefix`.
pub(super) fn not_scraped(prefix: &str) -> String {
    format!(
        "no metric begins with {prefix}: no server that has it is scraped. Where it runs in a cluster, let Prometheus find \
         its pods:\n{}",
        scrape_config()
    )
}

/// What to do about a metric that an engine has, but these servers do not show, which show `names`.
pub(super) fn not_shown(prefix: &str, names: &BTreeSet<&str>) -> String {
    format!(
        "servers of that engine are scraped, with {} and their like, and none shows it: look at a page of theirs (fleetgauge \
         scrape URL). Their version may not have it, some metrics begin with the first request, and metric_relabel_configs may \
         drop what begins with {prefix}",
        some(names)
    )
}

/// What to do about series without `label`, which have the labels `has`.
pub(super) fn absent_label(label: &str, has: &BTreeSet<&str>) -> String {
    let known = match has.len() {
        0 => "they have no labels".to_owned(),
        _ => format!("they have {}", has.iter().copied().collect::<Vec<_>>().join(", ")),
    };
    let synonyms = SYNONYMS.iter().find(|(name, _)| *name == label);
    let synonym = synonyms.and_then(|(_, others)| others.iter().find(|other| has.contains(**other)));
    if let Some(synonym) = synonym {
        return format!(
            "{known}; it is called {synonym} there. Rename it in the scrape configuration:\n\
             metric_relabel_configs:\n- source_labels: [{synonym}]\n  target_label: {label}"
        );
    }
    match META.iter().find(|(name, _)| *name == label) {
        Some((_, meta)) => format!(
            "{known}; the scrape configuration is to add it:\n\
             relabel_configs:\n- source_labels: [{meta}]\n  target_label: {label}\n\
             A PodMonitor adds it by itself; for pods that are scraped without Prometheus, give it as a label of the target"
        ),
        None => match similar(label, has.iter().copied()) {
            Some(meant) => format!("{known}; did you mean {meant}?"),
            None => format!(
                "{known}; where the server does not tell it, the scrape configuration may:\n\
                 relabel_configs:\n- target_label: {label}\n  replacement: VALUE"
            ),
        },
    }
}

/// Pods of vLLM and its like.
fn scrape_config() -> &'static str {
    "scrape_configs:\n\
     - job_name: inference\n\
    \x20 kubernetes_sd_configs: [{role: pod}]\n\
    \x20 relabel_configs:\n\
    \x20 - source_labels: [__meta_kubernetes_pod_container_port_name]\n\
    \x20   regex: http|metrics\n\
    \x20   action: keep\n\
    \x20 - source_labels: [__meta_kubernetes_namespace]\n\
    \x20   target_label: namespace\n\
    \x20 - source_labels: [__meta_kubernetes_pod_name]\n\
    \x20   target_label: pod"
}

/// What to do about a query that failed.
pub(super) fn of_failure(error: &QueryError) -> String {
    let Some(error) = error.fetch_error() else {
        return match error {
            QueryError::Render(_) => {
                "correct the query, or give its parameters with -p NAME=VALUE".to_owned()
            }
            _ => String::new(),
        };
    };
    of_fetch(error)
}

fn of_fetch(error: &FetchError) -> String {
    let text = match error {
        FetchError::Unreachable { .. } => {
            "see that the URL names a host and port that are reached from here (curl URL/-/healthy), that its scheme is \
             right, and that no NetworkPolicy or proxy is in between"
        }
        FetchError::Tls { .. } => {
            "name the authority that signed the server's certificate (--ca-file, tls: {ca_file: …}), or the name that it was \
             made for (--server-name, tls: {server_name: …})"
        }
        FetchError::Timeout { .. } => {
            "raise the timeout (--timeout, timeout: …), or see what keeps the server busy"
        }
        FetchError::Unauthorized {
            status: 401,
            message: _,
        } => {
            "it does not accept who asks: give a token or a password that is valid now (--bearer-token-file, \
             bearer_token_file: …; in a pod /var/run/secrets/kubernetes.io/serviceaccount/token)"
        }
        FetchError::Unauthorized { message, .. } => return forbidden(message),
        FetchError::RateLimited { .. } => "ask less often, or raise the server's limit",
        FetchError::Unavailable { .. } => "see the server's own log; it says that it cannot answer now",
        FetchError::Rejected { kind, message } if kind == "http_404" || message.contains("(404)") => {
            "see whether the URL needs a path before /api/v1, as /prometheus or /select/0/prometheus"
        }
        FetchError::Rejected { .. } => "correct the query: the server does not take it as it is",
        FetchError::Malformed { .. } => {
            "see whether the URL is that of a server that speaks Prometheus's API, and not of a login page or a proxy"
        }
        FetchError::Discovery { .. } => "see whether the discovery's file, name or permission is there",
        FetchError::Incomplete { .. } => {
            "mend what is named as missing; then it is known whether there is data"
        }
        FetchError::TooLarge { .. } => "select fewer series, or raise the bound",
        FetchError::Input { error, .. } => return of_failure(error),
        FetchError::AllTargets(error) => return of_fetch(error),
        _ => "",
    };
    text.to_owned()
}

/// What is missing for somebody who is known, and may not.
///
/// Source: the message of kube-rbac-proxy, `Forbidden (user=…, verb=…, resource=…, subresource=…)`, and that of
/// Kubernetes's API, `User "…" cannot get resource "…" in API group "…" in the namespace "…"` or `cannot get path "…"`.
fn forbidden(message: &str) -> String {
    let field = |name: &str| {
        let rest = &message[message.find(&format!("{name}="))? + name.len() + 1..];
        let end = rest.find([',', ')', ' ', '"', '\\']).unwrap_or(rest.len());
        (end > 0).then(|| rest[..end].to_owned())
    };
    let between = |before: &str, after: &str| {
        let rest = &message[message.find(before)? + before.len()..];
        Some(rest[..rest.find(after)?].to_owned())
    };
    // Quotes are escaped where the message is itself quoted.
    let quoted = |word: &str| {
        between(&format!("{word} \""), "\"").or_else(|| between(&format!("{word} \\\""), "\\\""))
    };
    let user = field("user").or_else(|| quoted("User"));
    let verb = field("verb").or_else(|| between("cannot ", " "));
    let path = quoted("path").or_else(|| field("path"));
    let resource = field("resource").or_else(|| quoted("resource"));
    let who = user.unwrap_or_else(|| "whoever asks".to_owned());
    let rule = match (&verb, path, resource) {
        (Some(verb), Some(path), _) => Some(format!("- nonResourceURLs: [\"{path}\"]\n  verbs: [{verb}]")),
        (Some(verb), None, Some(resource)) => {
            let resource = match field("subresource") {
                Some(sub) => format!("{resource}/{sub}"),
                None => resource,
            };
            let group = match quoted("API group") {
                Some(group) => group,
                None if resource.starts_with("prometheuses") => "monitoring.coreos.com".to_owned(),
                None => String::new(),
            };
            Some(format!(
                "- apiGroups: [\"{group}\"]\n  resources: [\"{resource}\"]\n  verbs: [{verb}]"
            ))
        }
        _ => None,
    };
    match (verb, rule) {
        (Some(verb), Some(rule)) => format!(
            "the verb {verb} is missing for {who}: bind it to a ClusterRole that has\nrules:\n{rule}"
        ),
        _ => "it knows who asks, who is not permitted, and does not say which permission is missing. On OpenShift, bind the \
              service account to the ClusterRole cluster-monitoring-view; behind kube-rbac-proxy, the verb get for the \
              resource or path of its configuration is needed"
            .to_owned(),
    }
}

/// What is added to a failure of the series: several for one of whom there should be one.
pub(super) fn fold(query: &str, labels: &BTreeSet<&str>) -> String {
    let text = query.trim();
    format!(
        "fold {} within the query, where one row for each pod is wanted: what adds up by sum, as queues and rates, and fill \
         ratios by max:\nmax by (namespace, pod, instance) ({text})",
        some(labels)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_verb_that_is_missing() {
        let check = |message: &str, expected: &str| assert_eq!(forbidden(message), expected, "{message}");
        check(
            "Forbidden (user=system:serviceaccount:llm:scaler, verb=get, resource=prometheuses, subresource=api)",
            "the verb get is missing for system:serviceaccount:llm:scaler: bind it to a ClusterRole that has\nrules:\n\
             - apiGroups: [\"monitoring.coreos.com\"]\n  resources: [\"prometheuses/api\"]\n  verbs: [get]",
        );
        check(
            r#"forbidden: User "system:anonymous" cannot get path "/metrics""#,
            "the verb get is missing for system:anonymous: bind it to a ClusterRole that has\nrules:\n\
             - nonResourceURLs: [\"/metrics\"]\n  verbs: [get]",
        );
        check(
            r#"pods.metrics.k8s.io is forbidden: User "a" cannot list resource "pods" in API group "metrics.k8s.io" in the namespace "x""#,
            "the verb list is missing for a: bind it to a ClusterRole that has\nrules:\n\
             - apiGroups: [\"metrics.k8s.io\"]\n  resources: [\"pods\"]\n  verbs: [list]",
        );
        assert!(forbidden("no").contains("does not say which permission"));
    }
}
