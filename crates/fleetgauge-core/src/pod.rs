//! A pod as the labels of a target name it.

use std::fmt;
use std::net::IpAddr;

use crate::printable::Printable;
use crate::time::Moment;

/// The label by which fleets of llm-d tell the variant of a pod: `llm-d.ai/variant`, as Prometheus writes it.
pub const VARIANT_LABEL: &str = "llm_d_ai_variant";

/// What tells a pod, and its variant, from others: the values of the labels `namespace`, `pod`, `instance` and [`VARIANT_LABEL`].
///
/// ```
/// use fleetgauge_core::pod::PodIdentity;
///
/// let labels = [("namespace", "chat"), ("pod", "llama-7d9c5b6f4-x2x9z")];
/// let label = |name: &str| labels.iter().find(|label| label.0 == name).map(|label| label.1);
/// assert_eq!(PodIdentity::of(label).unwrap().to_string(), "chat/llama-7d9c5b6f4-x2x9z");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PodIdentity {
    pub(crate) namespace: Option<Box<str>>,
    pub(crate) name: Box<str>,
    /// What the label says that names the variant.
    pub(crate) variant: Option<Box<str>>,
    /// Where it is scraped, which is another place where a pod of its name has come in its place.
    pub(crate) instance: Option<Box<str>>,
}

/// A pod of a variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VariantPod<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Why it has not been ready yet, if so. It is not expected until it was.
    pub starting: Option<&'a str>,
    /// When it has become ready, if that was seen: of one that was ready before it was watched nobody knows.
    pub ready_since: Option<Moment>,
}

/// The labels that tell whose a row is, the pod's own first.
pub(crate) const IDENTITY: [&str; 3] = ["pod", "namespace", VARIANT_LABEL];

/// Whether only endpoint pickers have a metric of this name: what it tells is of the pods behind the picker, and its labels are the
/// picker's own.
///
/// *Source*: <https://gateway-api-inference-extension.sigs.k8s.io/guides/metrics-and-observability/>.
pub fn is_of_endpoint_picker(metric: &str) -> bool {
    const PREFIXES: [&str; 3] = ["inference_pool_", "inference_extension_", "llm_d_epp_"];
    PREFIXES.iter().any(|prefix| metric.starts_with(prefix))
}

// === impl PodIdentity ===

impl PodIdentity {
    /// The pod whose labels `get` gives, if they name one.
    pub fn of<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        Some(Self {
            namespace: get("namespace").map(Box::from),
            name: get("pod")?.into(),
            variant: get(VARIANT_LABEL).map(Box::from),
            instance: get("instance").map(Box::from),
        })
    }

    /// Its namespace, where a label names it.
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is scraped, where a label says so.
    pub fn instance(&self) -> Option<&str> {
        self.instance.as_deref()
    }

    /// Where it is, as far as that tells it from others: its host, on which it may have several ports. On this machine, where
    /// all are processes of one host, it is the port.
    pub(crate) fn place(&self) -> Option<&str> {
        let instance = self.instance()?;
        let host = instance.rsplit_once(':').map_or(instance, |(host, _)| host);
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let is_here =
            bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        Some(if is_here { instance } else { host })
    }
}

/// `namespace/pod`.
impl fmt::Display for PodIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(namespace) = &self.namespace {
            write!(f, "{}/", Printable(namespace))?;
        }
        write!(f, "{}", Printable(&self.name))
    }
}
