//! The two groups of the API, and how clients find out what is in them.
//!
//! *Source*: <https://kubernetes.io/docs/reference/using-api/api-concepts/#api-discovery>

use std::collections::BTreeSet;

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;
use serde_json::{Value, json};

use crate::store::Store;

/// One of the groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    External,
    Custom,
}

/// The media type of what an aggregator asks for: all groups at once.
pub(super) const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

// === impl Group ===

impl Group {
    pub(super) const ALL: [Self; 2] = [Self::External, Self::Custom];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::External => "external.metrics.k8s.io",
            Self::Custom => "custom.metrics.k8s.io",
        }
    }

    pub(super) fn version(self) -> &'static str {
        match self {
            Self::External => "v1beta1",
            Self::Custom => "v1beta2",
        }
    }

    /// As in an `apiVersion`.
    pub(super) fn group_version(self) -> String {
        format!("{}/{}", self.name(), self.version())
    }

    pub(super) fn list_kind(self) -> &'static str {
        match self {
            Self::External => "ExternalMetricValueList",
            Self::Custom => "MetricValueList",
        }
    }

    /// What stands for all of its metrics: a client takes a group without resources for one that is broken.
    fn any(self) -> &'static str {
        match self {
            Self::External => "externalmetrics",
            Self::Custom => "metrics",
        }
    }

    /// The metrics that all may see; which those are that some may see is not for everybody.
    fn metrics(self, store: &Store) -> BTreeSet<String> {
        let all = store.all();
        let open = all.iter().filter(|entry| entry.spec().namespaces.is_empty());
        let named = open.map(|entry| entry.spec().name.to_string());
        named.chain([self.any().to_owned()]).collect()
    }
}

/// `APIGroup`.
pub(super) fn group(group: Group) -> Value {
    let mut described = described(group);
    described["kind"] = "APIGroup".into();
    described["apiVersion"] = "v1".into();
    described
}

fn described(group: Group) -> Value {
    let version = json!({"groupVersion": group.group_version(), "version": group.version()});
    json!({"name": group.name(), "versions": [version], "preferredVersion": version})
}

/// `APIGroupList`.
pub(super) fn groups() -> Value {
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": Group::ALL.map(described)})
}

/// `APIResourceList`.
pub(super) fn resources(group: Group, store: &Store) -> Value {
    let resource = |metric: String| {
        let name = match group {
            Group::External => metric,
            Group::Custom => format!("pods/{metric}"),
        };
        json!({"name": name, "singularName": "", "namespaced": true, "kind": group.list_kind(), "verbs": ["get"]})
    };
    let resources: Vec<_> = group.metrics(store).into_iter().map(resource).collect();
    json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group.group_version(),
        "resources": resources,
    })
}

/// Whether all groups are asked for at once.
pub(super) fn is_aggregated(headers: &HeaderMap) -> bool {
    let accepted = headers
        .get_all(ACCEPT)
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    let mut ranges = accepted.flat_map(|value| value.split(','));
    ranges.any(|range| {
        let parts: Vec<&str> = range.split(';').map(str::trim).collect();
        let wanted = [
            "application/json",
            "g=apidiscovery.k8s.io",
            "v=v2",
            "as=APIGroupDiscoveryList",
        ];
        wanted.iter().all(|part| parts.contains(part))
    })
}

/// `APIGroupDiscoveryList`.
pub(super) fn aggregated(store: &Store) -> Value {
    let item = |group: Group| {
        let kind = json!({"group": group.name(), "version": group.version(), "kind": group.list_kind()});
        let metrics = group.metrics(store).into_iter();
        let resources: Vec<Value> = match group {
            Group::External => metrics
                .map(|metric| {
                    json!({
                        "resource": metric, "responseKind": kind, "scope": "Namespaced", "singularResource": "",
                        "verbs": ["get"],
                    })
                })
                .collect(),
            Group::Custom => {
                let metrics =
                    metrics.map(|metric| json!({"subresource": metric, "responseKind": kind, "verbs": ["get"]}));
                let nothing = json!({"group": "", "version": "", "kind": ""});
                // Pods themselves are the core's.
                vec![json!({
                    "resource": "pods", "responseKind": nothing, "scope": "Namespaced", "singularResource": "",
                    "verbs": [], "subresources": metrics.collect::<Vec<_>>(),
                })]
            }
        };
        json!({
            "metadata": {"name": group.name()},
            "versions": [{"version": group.version(), "freshness": "Current", "resources": resources}],
        })
    };
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": Group::ALL.map(item),
    })
}
