//! The sections `metrics` and `variants`: what the daemon keeps fresh, and for whom.

use std::time::Duration;

use fleetgauge::document::{Node, Position, Reader};
use fleetgauge::pack::read_policy;
use fleetgauge_core::params::Params;
use fleetgauge_core::policy::Fold;
use fleetgauge_core::similar::similar;
use fleetgauge_core::variant::{VariantRef, Workload, WorkloadKind};
use fleetgauge_server::metric::{ForEach, MetricFold, MetricSpec};
use fleetgauge_server::variant::{MODEL_PARAM, ToldModel, Variant};

/// The shortest interval at which a metric is refreshed.
const SHORTEST: Duration = Duration::from_millis(100);

/// A metric, and where it stands in the file. Its policy is its own until it is put over those beneath it.
pub(crate) struct MetricSection {
    pub(crate) spec: MetricSpec,
    pub(super) position: Position,
}

/// Reads `metrics`; `source` is who is asked where a metric names nobody, `every` how often where it says nothing.
pub(super) fn read_metrics(
    node: &Node,
    source: Option<&str>,
    every: Option<Duration>,
    reader: &mut Reader,
) -> Vec<MetricSection> {
    let nodes = reader.list(node, "a list of metrics");
    let metrics = nodes
        .iter()
        .filter_map(|node| read_metric(node, source, every, reader));
    metrics.collect()
}

fn read_metric(
    node: &Node,
    source: Option<&str>,
    every: Option<Duration>,
    reader: &mut Reader,
) -> Option<MetricSection> {
    let mut fields = reader.fields(node, "a metric")?;
    let name_node = fields.require("name", reader);
    let source_node = fields.take("source");
    let query = fields
        .require("query", reader)
        .and_then(|node| Some((node, reader.text(node)?)));
    let params = fields.take("params").map(|node| read_params(node, reader));
    let own_every = fields.take("every").and_then(|node| read_every(node, reader));
    let fold = fields.take("fold").map(|node| read_fold(node, reader));
    let for_each = fields.take("for_each").map(|node| read_for_each(node, reader));
    let namespaces = fields.take("namespaces").map(|node| {
        let nodes = reader.list(node, "a list of namespaces");
        nodes
            .iter()
            .filter_map(|node| Some(reader.text(node)?.into()))
            .collect()
    });
    let policy = fields.take("policy").map(|node| read_policy(node, None, reader));
    fields.finish(reader);
    let source = match source_node {
        Some(node) => reader.text(node),
        None if source.is_none() => {
            reader.problem(
                node.position(),
                "there are several sources; say with `source` which one is asked",
            );
            None
        }
        None => source,
    };
    let (name_node, (query_node, query)) = (name_node?, query?);
    let name = match reader.text(name_node)?.parse() {
        Ok(name) => name,
        Err(error) => {
            reader.problem(name_node.position(), format!("{error}"));
            return None;
        }
    };
    let mut spec = match MetricSpec::new(name, source?, query) {
        Ok(spec) => spec,
        Err(error) => {
            reader.problem(query_node.position(), error.to_string());
            return None;
        }
    };
    spec.params = params.unwrap_or_default();
    spec.every = own_every.or(every).unwrap_or(spec.every);
    spec.fold = fold.unwrap_or(Some(MetricFold::Declared))?;
    // What it would be asked with is not known then.
    spec.for_each = match for_each {
        Some(None) => return None,
        known => known.flatten(),
    };
    spec.policy = policy.unwrap_or_default();
    let of_params = || {
        spec.params
            .get("namespace")
            .map(|namespace| vec![namespace.into()])
    };
    spec.namespaces = namespaces.or_else(of_params).unwrap_or_default();
    Some(MetricSection {
        spec,
        position: name_node.position(),
    })
}

pub(super) fn read_every(node: &Node, reader: &mut Reader) -> Option<Duration> {
    let every = reader.positive_duration(node)?;
    if every < SHORTEST {
        reader.problem(node.position(), "a metric is refreshed every 100ms at most");
        return None;
    }
    Some(every)
}

/// Names and values; a list of values is one of a parameter that takes several.
fn read_params(node: &Node, reader: &mut Reader) -> Params {
    let mut params = Params::new();
    for (_, name, value) in reader.pairs(node, "names and values").unwrap_or_default() {
        let values = match value.as_list() {
            Some(values) => values,
            None => std::slice::from_ref(value),
        };
        for value in values {
            if let Some(text) = reader.verbatim(value) {
                params.push(name, text);
            }
        }
    }
    params
}

fn read_fold(node: &Node, reader: &mut Reader) -> Option<MetricFold> {
    let text = reader.text(node)?;
    if text == "none" {
        return Some(MetricFold::Rows);
    }
    let fold = text.parse::<Fold>();
    if fold.is_err() {
        let message =
            "fold is sum, max, min, mean, or none for rows as they are; without it the query's own is taken";
        reader.problem(node.position(), message);
    }
    fold.ok().map(MetricFold::By)
}

fn read_for_each(node: &Node, reader: &mut Reader) -> Option<ForEach> {
    match reader.text(node)? {
        "variant" => Some(ForEach::Variant),
        _ => {
            reader.problem(node.position(), "for_each knows variant alone");
            None
        }
    }
}

/// Reads `variants`.
pub(super) fn read_variants(node: &Node, reader: &mut Reader) -> Vec<Variant> {
    let mut variants: Vec<Variant> = Vec::new();
    for node in reader.list(node, "a list of variants") {
        let Some(variant) = read_variant(node, reader) else {
            continue;
        };
        let is_of_same = |other: &&Variant| {
            other.workload == variant.workload
                && other.variant.namespace() == variant.variant.namespace()
                && other.variant != variant.variant
        };
        if let Some(other) = variants.iter().find(is_of_same) {
            let message = format!(
                "{} has the workload of {}: whose its pods are cannot be told, unless a label names the variant",
                variant.variant, other.variant
            );
            reader.warning(node.position(), message);
        }
        variants.push(variant);
    }
    variants
}

fn read_variant(node: &Node, reader: &mut Reader) -> Option<Variant> {
    let mut fields = reader.fields(node, "a variant")?;
    let name = fields.require("name", reader).and_then(|node| reader.text(node));
    let namespace = fields
        .require("namespace", reader)
        .and_then(|node| reader.text(node));
    let workload = fields
        .require("workload", reader)
        .and_then(|node| read_workload(node, reader));
    let params = fields.take("params").map(|node| read_params(node, reader));
    fields.finish(reader);
    let variant = match VariantRef::new(namespace?, name?) {
        Ok(variant) => variant,
        Err(error) => {
            reader.problem(node.position(), error.to_string());
            return None;
        }
    };
    let params = params.unwrap_or_default();
    let models = params.get(MODEL_PARAM).map(|model| ToldModel {
        by: "params of the variant in the configuration".into(),
        model: model.into(),
    });
    Some(Variant {
        variant,
        workload: workload?,
        models: models.into_iter().collect(),
        params,
    })
}

fn read_workload(node: &Node, reader: &mut Reader) -> Option<Workload> {
    let mut fields = reader.fields(node, "a workload")?;
    let kind = fields.require("kind", reader);
    let name = fields.require("name", reader).and_then(|node| reader.text(node));
    fields.finish(reader);
    let kind_node = kind?;
    let text = reader.text(kind_node)?;
    let kinds = [
        ("Deployment", WorkloadKind::Deployment),
        ("StatefulSet", WorkloadKind::StatefulSet),
        ("LeaderWorkerSet", WorkloadKind::LeaderWorkerSet),
    ];
    let Some((_, kind)) = kinds.into_iter().find(|(name, _)| *name == text) else {
        let meant = kinds.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        let names = kinds.iter().map(|(name, _)| *name);
        let meant = meant.map(|(name, _)| *name).or_else(|| similar(text, names));
        let hint = meant.map_or_else(String::new, |meant| format!("; did you mean {meant:?}?"));
        let message = format!("kind is Deployment, StatefulSet or LeaderWorkerSet{hint}");
        reader.problem(kind_node.position(), message);
        return None;
    };
    Some(Workload::new(kind, name?))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use fleetgauge::document::Document;

    use crate::config::file::read_config;

    #[test]
    fn what_is_hardly_meant_is_a_warning() {
        let of_metric = |more: &str| {
            format!(
                "sources: {{pods: {{scrape: {{interval: 1s, discovery: [{{static: ['127.0.0.1:1']}}]}}}}}}\n\
                 queries: [{{name: q, template: sum by (pod) (q), fold: {{pod: max, variant: sum}}}}]\n\
                 metrics: [{{name: m, query: q, {more}}}]\n"
            )
        };
        let held = "policy: {max_age: 1m, on_error: hold, hold: 30s}";
        let variants = "variants:\n- {name: a, namespace: n, workload: {kind: Deployment, name: d}}\n\
                        - {name: b, namespace: n, workload: {kind: Deployment, name: d}}\n";
        for (text, expected) in [
            (of_metric(held), "hold, 30s, is shorter than max_age, 60s"),
            (
                of_metric("every: 2m, policy: {max_age: 1m}"),
                "it is refreshed every 120s",
            ),
            (
                of_metric("for_each: variant"),
                "and there are none: add `variants`",
            ),
            (
                of_metric("for_each: variant") + variants,
                "n/b has the workload of n/a",
            ),
            (
                of_metric("every: 1m, policy: {max_age: 1m, on_error: hold, hold: 2m}"),
                "",
            ),
        ] {
            let document = Document::parse("file", &text).unwrap();
            let config = read_config(&document, Path::new("/conf"), Vec::new()).unwrap();
            let told: Vec<_> = config.warnings.iter().map(ToString::to_string).collect();
            assert_eq!(told.len(), usize::from(!expected.is_empty()), "{text}: {told:?}");
            assert!(
                told.iter().all(|told| told.contains(expected)),
                "{text}: {told:?}"
            );
        }
    }
}
