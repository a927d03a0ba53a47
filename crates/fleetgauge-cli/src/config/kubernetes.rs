//! The section `kubernetes`, and the discovery of pods there, by themselves and by their Services.

use std::path::{Path, PathBuf};

use fleetgauge::document::{Node, Position, Reader};
use fleetgauge::file;
use fleetgauge_core::variant::VariantRef;
use fleetgauge_server::door::kubernetes::selector::Selector;

use super::text::texts;
use crate::kubeconfig;

/// No kubeconfig is longer.
const MAX_BYTES: u64 = 4 << 20;

/// The cluster that is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KubernetesSection {
    /// `None`: the service account of the pod, or what `KUBECONFIG` names.
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The labels of what is a variant among what scales workloads.
    pub(crate) selector: Option<String>,
    /// Those of the kinds that scale workloads by which workloads are variants; `None`: all that are known.
    pub(crate) kinds: Option<Vec<VariantKind>>,
    /// The namespaces whose variants are read; none for all.
    pub(crate) namespaces: Vec<String>,
    /// The label of pods that names their variant.
    pub(crate) variant_label: Option<String>,
    /// Where the model of a variant is told, the first that is there; `None`: as is usual.
    pub(crate) model: Option<Vec<ModelFrom>>,
    /// What the file says, and what its kubeconfig held: as long as that is the same, it is the same cluster.
    pub(crate) content: String,
}

/// A kind that scales workloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VariantKind {
    ScaledObject,
    HorizontalPodAutoscaler,
    VariantAutoscaling,
}

/// What of an object tells the model that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ModelFrom {
    Field(String),
    Annotation(String),
    Label(String),
}

/// Pods of the cluster as targets.
#[derive(Clone, Debug)]
pub(crate) struct PodsSection {
    /// None for all.
    pub(crate) namespaces: Vec<String>,
    pub(crate) selector: Option<String>,
    pub(crate) field_selector: Option<String>,
    /// None for the annotation.
    pub(crate) ports: Vec<PodPort>,
    pub(crate) labels: Vec<String>,
    pub(super) position: Position,
}

/// What is behind Services as targets.
#[derive(Clone, Debug)]
pub(crate) struct ServicesSection {
    pub(crate) names: Vec<String>,
    /// None for all.
    pub(crate) namespaces: Vec<String>,
    pub(crate) ports: Vec<PodPort>,
    pub(super) position: Position,
}

/// A port of a pod.
#[derive(Clone, Debug)]
pub(crate) enum PodPort {
    Number(u16),
    Name(String),
}

/// Reads `kubernetes`.
pub(super) fn read_kubernetes(
    node: &Node,
    directory: &Path,
    reader: &mut Reader,
) -> Option<KubernetesSection> {
    let mut fields = reader.fields(node, "kubernetes")?;
    let named = fields.take("kubeconfig");
    let selector = fields
        .take("selector")
        .and_then(|node| read_selector(node, reader));
    let kinds = fields.take("variant_kinds").map(|node| read_kinds(node, reader));
    let model = fields.take("model").map(|node| read_model(node, reader));
    let namespaces = fields.take("namespaces");
    let namespaces = namespaces.map(|node| read_namespaces(node, reader));
    let variant_label = fields.take("variant_label").and_then(|node| reader.text(node));
    fields.finish(reader);
    if let Some(why) = kubeconfig::LEFT_OUT {
        reader.problem(node.position(), why);
    }
    let mut content = node.content();
    let named = match named {
        Some(node) => Some((node, directory.join(reader.text(node)?))),
        None => None,
    };
    if let Some((node, path)) = &named {
        match file::read(path, MAX_BYTES) {
            Ok(bytes) => {
                content.push_str(&String::from_utf8_lossy(&bytes));
                if let Err(error) = kubeconfig::check(path) {
                    reader.problem(node.position(), format!("kubeconfig {error:#}"));
                }
            }
            // It may be there where the configuration is used.
            Err(error) => reader.warning(node.position(), error.to_string()),
        }
    }
    Some(KubernetesSection {
        kubeconfig: named.map(|(_, path)| path),
        selector,
        kinds,
        namespaces: namespaces.unwrap_or_default(),
        variant_label: variant_label.map(str::to_owned),
        model,
        content,
    })
}

fn read_selector(node: &Node, reader: &mut Reader) -> Option<String> {
    let text = reader.text(node)?;
    let problem = match text.parse::<Selector>() {
        Ok(selector) => selector.problem_of_objects(),
        Err(error) => Some(error.to_string()),
    };
    if let Some(problem) = problem {
        reader.problem(node.position(), format!("the API server refuses this: {problem}"));
    }
    Some(text.to_owned())
}

fn read_kinds(node: &Node, reader: &mut Reader) -> Vec<VariantKind> {
    const WHAT: &str = "a list of kinds: ScaledObject, HorizontalPodAutoscaler, VariantAutoscaling";
    let before = reader.problem_count();
    let nodes = reader.list(node, WHAT);
    if nodes.is_empty() && reader.problem_count() == before {
        reader.problem(node.position(), format!("expected {WHAT}, found none in it"));
    }
    let kinds = nodes.iter().filter_map(|node| {
        let kind = match reader.text(node)? {
            "ScaledObject" => VariantKind::ScaledObject,
            "HorizontalPodAutoscaler" => VariantKind::HorizontalPodAutoscaler,
            "VariantAutoscaling" => VariantKind::VariantAutoscaling,
            _ => {
                reader.problem(node.position(), format!("expected {WHAT}"));
                return None;
            }
        };
        Some(kind)
    });
    kinds.collect()
}

fn read_model(node: &Node, reader: &mut Reader) -> Vec<ModelFrom> {
    const WHAT: &str = "a list of places, each a field, annotation or label";
    let before = reader.problem_count();
    let nodes = reader.list(node, WHAT);
    if nodes.is_empty() && reader.problem_count() == before {
        reader.problem(node.position(), format!("expected {WHAT}, found none in it"));
    }
    nodes.iter().filter_map(|node| read_place(node, reader)).collect()
}

fn read_place(node: &Node, reader: &mut Reader) -> Option<ModelFrom> {
    let mut fields = reader.fields(node, "a place")?;
    let (field, annotation, label) = (
        fields.take("field"),
        fields.take("annotation"),
        fields.take("label"),
    );
    fields.finish(reader);
    match (field, annotation, label) {
        (Some(node), None, None) => Some(ModelFrom::Field(reader.text(node)?.to_owned())),
        (None, Some(node), None) => Some(ModelFrom::Annotation(reader.text(node)?.to_owned())),
        (None, None, Some(node)) => Some(ModelFrom::Label(reader.text(node)?.to_owned())),
        _ => {
            reader.problem(node.position(), "a place is one of field, annotation and label");
            None
        }
    }
}

/// Reads the discovery `kubernetes`.
pub(super) fn read_pods(node: &Node, reader: &mut Reader) -> Option<PodsSection> {
    let mut fields = reader.fields(node, "kubernetes")?;
    let namespaces = fields.take("namespaces");
    let selector = fields
        .take("selector")
        .and_then(|node| read_selector(node, reader));
    let field_selector = fields.take("field_selector").and_then(|node| reader.text(node));
    let ports = fields.take("ports");
    let labels = fields.take("labels");
    fields.finish(reader);
    let namespaces = namespaces.map(|node| read_namespaces(node, reader));
    let labels = labels.map(|node| texts(node, "a list of pods' labels", reader));
    let labels = labels.map(|labels| labels.into_iter().map(str::to_owned).collect());
    Some(PodsSection {
        namespaces: namespaces.unwrap_or_default(),
        selector,
        field_selector: field_selector.map(str::to_owned),
        ports: ports.map(|node| read_ports(node, reader)).unwrap_or_default(),
        labels: labels.unwrap_or_default(),
        position: node.position(),
    })
}

/// Reads the discovery `services`.
pub(super) fn read_services(node: &Node, reader: &mut Reader) -> Option<ServicesSection> {
    let mut fields = reader.fields(node, "services")?;
    let names = fields.require("names", reader);
    let namespaces = fields.take("namespaces");
    let ports = fields.require("ports", reader);
    fields.finish(reader);
    let names = texts(names?, "a list of Services", reader).into_iter();
    let namespaces = namespaces.map(|node| read_namespaces(node, reader));
    let section = ServicesSection {
        names: names.map(str::to_owned).collect(),
        namespaces: namespaces.unwrap_or_default(),
        ports: read_ports(ports?, reader),
        position: node.position(),
    };
    // They are values of a label by which slices are selected.
    if let Some(name) = section.names.iter().find(|name| !is_service(name)) {
        let message = format!("{name:?} is not a name that a Service can have: up to 63 of a-z 0-9 -");
        reader.problem(node.position(), message);
    }
    Some(section)
}

/// *Source*: RFC 1035, as <https://kubernetes.io/docs/concepts/services-networking/service/> has it.
fn is_service(name: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(is_inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

fn read_namespaces(node: &Node, reader: &mut Reader) -> Vec<String> {
    let names = texts(node, "a list of namespaces", reader);
    for name in &names {
        // It looks at the namespace first.
        if let Err(error) = VariantRef::new(name, "any") {
            reader.problem(node.position(), error.to_string());
        }
    }
    names.into_iter().map(str::to_owned).collect()
}

fn read_ports(node: &Node, reader: &mut Reader) -> Vec<PodPort> {
    const WHAT: &str = "a list of ports, by number or by name";
    let before = reader.problem_count();
    let nodes = reader.list(node, WHAT);
    if nodes.is_empty() && reader.problem_count() == before {
        reader.problem(node.position(), format!("expected {WHAT}, found none in it"));
    }
    nodes.iter().filter_map(|node| read_port(node, reader)).collect()
}

fn read_port(node: &Node, reader: &mut Reader) -> Option<PodPort> {
    if !node.is_text() {
        let number = u16::try_from(reader.count(node)?);
        if let Some(number) = number.ok().filter(|number| *number > 0) {
            return Some(PodPort::Number(number));
        }
        reader.problem(
            node.position(),
            "a port is a number from 1 to 65535, or the name of one",
        );
        return None;
    }
    let name = reader.text(node)?;
    // Source: <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#Container>, `IANA_SVC_NAME`.
    let is_name = name.len() <= 15
        && name.bytes().any(|byte| byte.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !is_name {
        let message = "a port's name takes up to 15 of a-z 0-9 -, a letter among them; numbers are written without quotes";
        reader.problem(node.position(), message);
        return None;
    }
    Some(PodPort::Name(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use crate::config::file::problems;

    /// Samples of one pod that is scraped twice would be added up.
    #[test]
    fn a_source_finds_pods_by_services_or_by_themselves() {
        let discoveries =
            |list: &str| format!("kubernetes: {{}}\nsources: {{pods: {{scrape: {{discovery: [{list}]}}}}}}");
        let services = "{services: {names: [vllm], namespaces: [chat], ports: [metrics]}}";
        for (text, expected) in [
            (discoveries(services), ""),
            (discoveries(&format!("{services}, {services}")), ""),
            (
                discoveries(&format!("{services}, {{kubernetes: {{namespaces: [other]}}}}")),
                "",
            ),
            (
                discoveries(&format!("{services}, {{kubernetes: {{namespaces: [chat]}}}}")),
                "a pod that services and kubernetes both find would be scraped twice, and counted twice",
            ),
            (
                discoveries(&format!("{{kubernetes: {{}}}}, {services}")),
                "a pod that services and kubernetes both find",
            ),
            (
                discoveries("{services: {names: [Vllm], ports: [metrics]}}"),
                "\"Vllm\" is not a name that a Service can have",
            ),
            (
                discoveries(services).replace("kubernetes: {}\n", ""),
                "add `kubernetes: {}`",
            ),
        ] {
            let told = problems(&text);
            assert_eq!(told.is_empty(), expected.is_empty(), "{text}: {told}");
            assert!(told.contains(expected), "{text}: {told}");
        }
    }

    #[test]
    fn what_the_api_server_would_refuse_is_refused() {
        let pods = |selector: &str| {
            format!(
                "kubernetes: {{}}\nsources: {{pods: {{scrape: {{discovery: [{{kubernetes: {{selector: '{selector}'}}}}]}}}}}}"
            )
        };
        for (text, expected) in [
            (
                "kubernetes: {selector: 'llm-d.ai/managed in (true,yes),!canary'}".to_owned(),
                "",
            ),
            (
                "kubernetes: {selector: 'a=b=c'}".to_owned(),
                "file:1:24: the API server refuses this: \"=\" at byte 3",
            ),
            (
                "kubernetes: {selector: 'model=a/b'}".to_owned(),
                "no label in Kubernetes can have the value \"a/b\"",
            ),
            (pods("app=vllm"), ""),
            (pods("app in vllm"), "is not an opening parenthesis"),
            (
                pods("app=meta-llama/Llama-3"),
                "no label in Kubernetes can have the value",
            ),
            ("kubernetes: {variant_kinds: [ScaledObject]}".to_owned(), ""),
            ("kubernetes: {variant_kinds: }".to_owned(), "found none in it"),
            (
                "kubernetes: {variant_kinds: [scaledobjects]}".to_owned(),
                "expected a list of kinds: ScaledObject,",
            ),
        ] {
            let told = problems(&text);
            assert_eq!(told.is_empty(), expected.is_empty(), "{text}: {told}");
            assert!(told.contains(expected), "{text}: {told}");
        }
    }
}
