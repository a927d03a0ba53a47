//! The rules of prometheus-adapter, as a configuration of ours.
//!
//! The adapter asks Prometheus anew for each request, with the objects and namespace of that request in the query; we ask ahead of
//! all requests, for all pods and namespaces at once, and select rows. So a query is translated only where it can be seen that its
//! rows are then the same, and what cannot be translated is told with its place: a rule that is silently left out, or one whose sum
//! runs over all namespaces, would be found out by an HPA.
//!
//! *Source*: <https://github.com/kubernetes-sigs/prometheus-adapter/blob/master/docs/config.md>

mod name;
mod query;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fmt::Write as _;

use fleetgauge::document::{Document, Node, Problem, Reader};
use fleetgauge_core::printable::Excerpt;

use self::query::{Labels, Section, Translated};

/// What is made of a file.
#[derive(Debug)]
pub(crate) struct Translation {
    /// The configuration, with a comment for each rule that is not in it.
    pub(crate) yaml: String,
    /// What has been left out, and, as warnings, what is otherwise than it was.
    pub(crate) problems: Vec<Problem>,
    /// Whether anything has been left out.
    pub(crate) is_partial: bool,
}

/// A metric as it is written.
struct Metric {
    /// Of the rule.
    line: usize,
    name: String,
    query: Translated,
}

/// What goes before: all that the rules do not say.
const HEAD: &str = "\
# Made of the rules of prometheus-adapter by `fleetgauge check --from prometheus-adapter`.
sources:
  prometheus:
    # What the adapter has as --prometheus-url.
    prometheus: {url: \"http://prometheus:9090\", companions: ages}
kubernetes: {}
external_metrics:
  listen: \"0.0.0.0:6443\"
  tls: {cert_file: tls.crt, key_file: tls.key}
";

/// Translates a configuration of the adapter's.
///
/// *Errors*: it is not the file of one.
pub(crate) fn translate(document: &Document) -> Result<Translation, Vec<Problem>> {
    let mut reader = document.reader();
    let root = document.root();
    if root.has_field("kind") {
        let message = "this is a manifest of Kubernetes; what is wanted is the file in its ConfigMap, as \
                       `kubectl get configmap NAME -o jsonpath='{.data.config\\.yaml}'` prints it";
        reader.problem(root.position(), message);
    }
    let Some(mut fields) = reader.fields(root, "a configuration of prometheus-adapter") else {
        return Err(problems(reader));
    };
    // The values of the adapter's Helm chart have the same rules below `rules`, and much else beside it.
    let is_of_chart = |rules: &&Node| CHART.iter().any(|field| rules.has_field(field));
    let of_chart = root.field("rules").filter(is_of_chart);
    let (sections, resources) = match of_chart {
        Some(rules) => read_chart(rules, &mut reader),
        None => {
            let sections = [
                (Section::Rules, "rules", fields.take("rules")),
                (
                    Section::ExternalRules,
                    "externalRules",
                    fields.take("externalRules"),
                ),
            ];
            let resources = fields.take("resourceRules");
            fields.finish(&mut reader);
            (sections, resources.map(|node| ("resourceRules", node)))
        }
    };
    if reader.problem_count() > 0 {
        return Err(problems(reader));
    }
    let mut names = HashSet::new();
    let (mut metrics, mut left_out) = (Vec::new(), Vec::new());
    for (section, field, node) in sections {
        let Some(node) = node else { continue };
        let rules = reader.list(node, "a list of rules");
        for (at, rule) in rules.iter().enumerate() {
            let before = reader.problem_count();
            if let Some(found) = read_rule(rule, section, &mut names, &mut reader) {
                metrics.extend(found);
            }
            if reader.problem_count() > before {
                left_out.push((format!("{field}[{at}]"), rule.position().line));
            }
        }
    }
    if let Some((field, node)) = resources {
        let message =
            "CPU and memory of pods and nodes (metrics.k8s.io) are not served here: metrics-server has them";
        reader.problem(node.position(), message);
        left_out.push((field.to_owned(), node.position().line));
    }
    Ok(Translation {
        yaml: write(&metrics, &left_out),
        is_partial: reader.problem_count() > 0,
        problems: problems(reader),
    })
}

/// What `rules` may have in values of the adapter's Helm chart.
const CHART: [&str; 5] = ["default", "custom", "external", "existing", "resource"];

type Sections<'n> = [(Section, &'static str, Option<&'n Node>); 2];

/// The rules in values of the adapter's Helm chart, and those for CPU and memory.
///
/// *Source*: <https://github.com/prometheus-community/helm-charts/blob/main/charts/prometheus-adapter/values.yaml>
fn read_chart<'n>(rules: &'n Node, reader: &mut Reader) -> (Sections<'n>, Option<(&'static str, &'n Node)>) {
    let mut sections = [
        (Section::Rules, "rules.custom", None),
        (Section::ExternalRules, "rules.external", None),
    ];
    let Some(mut fields) = reader.fields(rules, "rules") else {
        return (sections, None);
    };
    let (default, existing) = (fields.take("default"), fields.take("existing"));
    sections[0].2 = fields.take("custom");
    sections[1].2 = fields.take("external");
    let resource = fields.take("resource");
    fields.finish(reader);
    if let Some(node) = existing.filter(|node| node.is_text()) {
        let message = "with `existing` the chart's rules do not count, but those in a ConfigMap; translate the file in it, as \
                       `kubectl get configmap NAME -o jsonpath='{.data.config\\.yaml}'` prints it";
        reader.problem(node.position(), message);
    }
    if default.is_none_or(|node| reader.bool(node) == Some(true)) {
        let message = "the chart's own rules (`default`) are not here: which metrics they make depends on what is in Prometheus; \
                       write a rule for each metric of theirs that HPAs ask for";
        reader.warning(default.unwrap_or(rules).position(), message);
    }
    let is_empty =
        |node: &Node, reader: &mut Reader| reader.pairs(node, "rules").is_none_or(|rules| rules.is_empty());
    let resource = resource.filter(|node| !is_empty(node, reader));
    (sections, resource.map(|node| ("rules.resource", node)))
}

/// All of them, warnings included.
fn problems(reader: Reader) -> Vec<Problem> {
    let warnings = reader.warnings();
    match reader.finish() {
        Ok(()) => warnings,
        Err(problems) => problems.iter().cloned().collect(),
    }
}

/// The metrics of one rule: one for each series that it names.
fn read_rule(
    node: &Node,
    section: Section,
    names: &mut HashSet<String>,
    reader: &mut Reader,
) -> Option<Vec<Metric>> {
    let before = reader.problem_count();
    let mut fields = reader.fields(node, "a rule")?;
    let series = fields.require("seriesQuery", reader);
    let filters = fields.take("seriesFilters");
    let resources = fields.take("resources");
    let name = fields.take("name");
    let query = fields.require("metricsQuery", reader);
    let replacements = fields.take("labelValueReplacements");
    fields.finish(reader);
    let (series, query) = (series?, query?);
    let names_of_series = name::series(series, reader);
    let filters = name::read_filters(filters, reader);
    let naming = name::read_naming(name, reader);
    let labels = read_resources(resources, section, node, reader);
    if reader.problem_count() > before {
        return None;
    }
    let (filters, naming, labels) = (filters?, naming?, labels?);
    if let Some(node) = replacements {
        let message =
            "labelValueReplacements has no counterpart: an HPA selects rows by the values that they have";
        reader.warning(node.position(), message);
    }
    let mut metrics = Vec::new();
    for series in names_of_series? {
        if !filters.iter().all(|filter| filter.takes(&series)) {
            continue;
        }
        // What `matches` does not fit is filtered out, too.
        let Some(asked_for) = naming.apply(&series) else {
            continue;
        };
        let Some(query) = query::translate(query, &series, section, &labels, reader) else {
            continue;
        };
        let name = name::ours(&asked_for, section == Section::ExternalRules, names);
        let Some(name) = name else {
            let message = format!(
                "the metric {} is there twice, of the same kind",
                Excerpt(&asked_for)
            );
            reader.problem(node.position(), message);
            continue;
        };
        if name != asked_for {
            let (asked_for, name) = (Excerpt(&asked_for), Excerpt(&name));
            let message = format!("HPAs that ask for {asked_for} have to ask for {name}");
            reader.warning(node.position(), message);
        }
        if section == Section::ExternalRules {
            let by = match query.selectable() {
                None => "by the labels of their rows".to_owned(),
                Some([]) => "by none: its row has no other label".to_owned(),
                Some(labels) => format!("by {} alone", labels.join(", ")),
            };
            let message = format!(
                "HPAs can select from {} {by}, once its query has been computed: before, the adapter selects series",
                Excerpt(&name)
            );
            reader.warning(node.position(), message);
        }
        let line = node.position().line;
        metrics.push(Metric { line, name, query });
    }
    if metrics.is_empty() && reader.problem_count() == before {
        let message = "its filters and its name leave none of its series, so it has no metric";
        reader.problem(node.position(), message);
    }
    Some(metrics)
}

/// The labels by which `resources` knows namespace and pod.
fn read_resources(node: Option<&Node>, section: Section, rule: &Node, reader: &mut Reader) -> Option<Labels> {
    let mut labels = Labels::default();
    let mut others = Vec::new();
    if let Some(node) = node {
        let mut fields = reader.fields(node, "resources")?;
        let template = fields.take("template");
        let overrides = fields.take("overrides");
        let namespaced = fields.take("namespaced");
        fields.finish(reader);
        if let Some(node) = namespaced {
            labels.is_namespaced = reader.bool(node)?;
        }
        if let Some(node) = template {
            let template = reader.text(node)?;
            let label = |resource: &str| query::expand(template, &[("Group", ""), ("Resource", resource)]);
            match (label("namespace"), label("pod")) {
                (Ok(namespace), Ok(pod)) => {
                    labels.namespace = Some(namespace);
                    labels.pod = Some(pod);
                }
                (Err(action), _) | (_, Err(action)) => {
                    let message = format!("{} is more than <<.Group>> and <<.Resource>>", Excerpt(&action));
                    reader.problem(node.position(), message);
                }
            }
        }
        let (mut namespaces, mut pods) = (None, None);
        for (_, label, node) in overrides.map_or(Some(Vec::new()), |node| reader.pairs(node, "overrides"))? {
            let mut fields = reader.fields(node, "a resource")?;
            let group = fields
                .take("group")
                .and_then(|node| reader.text(node))
                .unwrap_or("");
            let resource = fields.require("resource", reader);
            fields.finish(reader);
            let known = match (group, reader.text(resource?)?) {
                ("", "namespace" | "namespaces") => &mut namespaces,
                ("", "pod" | "pods") => &mut pods,
                (_, other) => {
                    others.push(other.to_owned());
                    continue;
                }
            };
            // The adapter takes one of them, and another one after its next start.
            if let Some(first) = known.replace(label.to_owned()) {
                let message = format!(
                    "{} and {} are both said to be the {}, and the adapter takes either: leave one of them out",
                    Excerpt(&first),
                    Excerpt(label),
                    reader.text(resource?)?
                );
                reader.problem(node.position(), message);
                return None;
            }
        }
        labels.namespace = namespaces.or(labels.namespace);
        labels.pod = pods.or(labels.pod);
    }
    if section == Section::ExternalRules {
        return Some(labels);
    }
    if labels.pod.is_none() || labels.namespace.is_none() {
        let message = match others.is_empty() {
            true => "its resources name no labels for namespace and pod, and only pods have metrics here"
                .to_owned(),
            false => format!(
                "only pods have metrics here, and it is about {}",
                Excerpt(&others.join(", "))
            ),
        };
        reader.problem(node.unwrap_or(rule).position(), message);
        return None;
    }
    if !others.is_empty() {
        let message = format!(
            "its metrics of pods are translated, and those of {} are not: only pods have metrics here",
            Excerpt(&others.join(", "))
        );
        reader.warning(rule.position(), message);
    }
    Some(labels)
}

fn write(metrics: &[Metric], left_out: &[(String, usize)]) -> String {
    let mut yaml = HEAD.to_owned();
    for (rule, line) in left_out {
        let _ = writeln!(yaml, "# {rule} (line {line}) is not here, or not all of it.");
    }
    if metrics.is_empty() {
        return yaml;
    }
    yaml.push_str("queries:\n");
    for Metric { line, name, query } in metrics {
        let _ = writeln!(yaml, "  # Line {line}.");
        let _ = writeln!(yaml, "  - name: {name}");
        let _ = writeln!(yaml, "    template: {}", quoted(&query.promql));
        if query.is_sum {
            // Several rows are added up by an HPA.
            yaml.push_str("    fold: {pod: sum, variant: sum}\n");
        }
        if !query.renamed.is_empty() {
            let names = query
                .renamed
                .iter()
                .map(|(from, to)| format!("{}: {to}", quoted(from)));
            let names = names.collect::<Vec<_>>().join(", ");
            let _ = writeln!(yaml, "    transform: [{{labels: {{rename: {{{names}}}}}}}]");
        }
    }
    yaml.push_str("metrics:\n");
    for Metric { name, .. } in metrics {
        let _ = writeln!(yaml, "  - {{name: {name}, query: {name}, fold: none}}");
    }
    yaml
}

/// As a text of YAML's.
fn quoted(text: &str) -> String {
    match text.chars().any(char::is_control) {
        // What JSON quotes, YAML reads.
        true => serde_json::Value::from(text).to_string(),
        false => format!("'{}'", text.replace('\'', "''")),
    }
}
