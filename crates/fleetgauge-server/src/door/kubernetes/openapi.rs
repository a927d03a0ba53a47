//! The description of the API, as OpenAPI 2 and 3: the API server adds it to its own.

use serde_json::{Map, Value, json};

use super::group::Group;

/// What the two versions of OpenAPI write otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V2,
    V3,
}

/// All of the API, as OpenAPI 2.
pub(super) fn v2() -> Value {
    json!({
        "swagger": "2.0",
        "info": info(),
        "paths": merged(|group| paths(group, Version::V2)),
        "definitions": merged(|group| schemas(group, Version::V2)),
    })
}

/// Where the descriptions of the groups are, as OpenAPI 3.
pub(super) fn v3_index() -> Value {
    let paths = Group::ALL.map(|group| {
        let path = format!("apis/{}", group.group_version());
        // What it is changes with this program alone.
        let url = format!("/openapi/v3/{path}?hash={}", env!("CARGO_PKG_VERSION"));
        (path, json!({"serverRelativeURL": url}))
    });
    json!({"paths": Map::from_iter(paths)})
}

/// One group, as OpenAPI 3.
pub(super) fn v3(group: Group) -> Value {
    json!({
        "openapi": "3.0.0",
        "info": info(),
        "paths": paths(group, Version::V3),
        "components": {"schemas": schemas(group, Version::V3)},
    })
}

fn info() -> Value {
    json!({"title": "Fleetgauge", "version": env!("CARGO_PKG_VERSION")})
}

fn merged(of: impl Fn(Group) -> Map<String, Value>) -> Value {
    Value::Object(Group::ALL.into_iter().flat_map(of).collect())
}

/// The name of a kind among those of the API server.
fn definition(group: Group, kind: &str) -> String {
    let package = match group {
        Group::External => "external_metrics",
        Group::Custom => "custom_metrics",
    };
    format!("io.k8s.metrics.pkg.apis.{package}.{}.{kind}", group.version())
}

fn reference(group: Group, kind: &str, version: Version) -> Value {
    let place = match version {
        Version::V2 => "#/definitions/",
        Version::V3 => "#/components/schemas/",
    };
    json!({"$ref": format!("{place}{}", definition(group, kind))})
}

fn paths(group: Group, version: Version) -> Map<String, Value> {
    let text = |name: &str, place: &str, description: &str| {
        let mut param = json!({"name": name, "in": place, "description": description});
        if place == "path" {
            param["required"] = true.into();
        }
        match version {
            Version::V2 => param["type"] = "string".into(),
            Version::V3 => param["schema"] = json!({"type": "string"}),
        }
        param
    };
    let namespace = text("namespace", "path", "the namespace that asks");
    let metric = text("metric", "path", "the metric's name");
    let (path, params, description) = match group {
        Group::External => (
            "namespaces/{namespace}/{metric}",
            vec![
                namespace,
                metric,
                text("labelSelector", "query", "the labels of the rows that are meant"),
            ],
            "the rows of a metric",
        ),
        Group::Custom => (
            "namespaces/{namespace}/pods/{name}/{metric}",
            vec![
                namespace,
                text("name", "path", "the pod's name, or * for those with the labels"),
                metric,
                text("labelSelector", "query", "the labels of the pods that are meant"),
                text(
                    "metricLabelSelector",
                    "query",
                    "the labels of the rows that are meant",
                ),
            ],
            "a metric of pods",
        ),
    };
    let schema = reference(group, group.list_kind(), version);
    let mut operation = json!({
        "description": description,
        "operationId": format!("read{}{}", group.list_kind(), group.version()),
        "tags": [group.name()],
        "parameters": params,
        "x-kubernetes-action": "list",
        "x-kubernetes-group-version-kind": kind(group),
    });
    match version {
        Version::V2 => {
            operation["produces"] = json!(["application/json"]);
            operation["responses"] = json!({"200": {"description": "OK", "schema": schema}});
        }
        Version::V3 => {
            let content = json!({"application/json": {"schema": schema}});
            operation["responses"] = json!({"200": {"description": "OK", "content": content}});
        }
    }
    let path = format!("/apis/{}/{path}", group.group_version());
    Map::from_iter([(path, json!({"get": operation}))])
}

fn kind(group: Group) -> Value {
    json!({"group": group.name(), "version": group.version(), "kind": group.list_kind()})
}

fn schemas(group: Group, version: Version) -> Map<String, Value> {
    let text = |description: &str| json!({"type": "string", "description": description});
    let seconds = json!({"type": "integer", "format": "int64", "description": "how far back the query looks, in seconds"});
    let time = json!({
        "type": "string", "format": "date-time",
        "description": "when the sample was taken; null where that is not known",
    });
    let value = text("the number, as a quantity");
    let labels = json!({"type": "object", "additionalProperties": {"type": "string"}});
    let (item, properties, required) = match group {
        Group::External => (
            "ExternalMetricValue",
            json!({
                "apiVersion": text("the version of the API"),
                "kind": text("the kind of the object"),
                "metricName": text("the metric's name"),
                "metricLabels": labels,
                "timestamp": time,
                "window": seconds,
                "value": value,
            }),
            json!(["metricName", "metricLabels", "timestamp", "value"]),
        ),
        Group::Custom => (
            "MetricValue",
            json!({
                "apiVersion": text("the version of the API"),
                "kind": text("the kind of the object"),
                "describedObject": {"type": "object", "description": "the pod", "properties": {
                    "apiVersion": text("v1"), "kind": text("Pod"), "namespace": text("its namespace"), "name": text("its name"),
                }},
                "metric": {"type": "object", "properties": {"name": text("the metric's name"), "selector": {"type": "object"}}},
                "timestamp": time,
                "windowSeconds": seconds,
                "value": value,
            }),
            json!(["describedObject", "metric", "timestamp", "value"]),
        ),
    };
    let item_schema = json!({"type": "object", "properties": properties, "required": required});
    let list = json!({
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": text("the version of the API"),
            "kind": text("the kind of the object"),
            "metadata": {"type": "object"},
            "items": {"type": "array", "items": reference(group, item, version)},
        },
        "x-kubernetes-group-version-kind": [kind(group)],
    });
    Map::from_iter([
        (definition(group, item), item_schema),
        (definition(group, group.list_kind()), list),
    ])
}
