//! What is scraped: targets, and where they come from.
//!
//! In the words and by the rules of Prometheus. A discovery says labels, `__address__` among them; from these
//! a target is made, in one place for all discoveries. This module talks to nothing: what reads files, asks
//! DNS or watches a cluster implements [`TargetDiscovery`] elsewhere.

mod discovery;
mod labels;

use std::fmt;

use crate::printable::Printable;

pub use discovery::{
    Discovered, DiscoveryError, Snapshot, SnapshotStream, StaticTargets, TargetDiscovery, polled, pushed,
};
pub use labels::{ADDRESS, TargetLabels};

/// One place to scrape, and the labels of what is found there.
///
/// *Source*: <https://prometheus.io/docs/prometheus/latest/configuration/configuration/#relabel_config>, the
/// labels that are there before relabeling and those that are left after it.
///
/// ```
/// use fleetgauge_core::target::{Target, TargetDefaults, TargetLabels};
///
/// let labels = [("__address__", "10.0.0.7:8000"), ("__meta_x", "y"), ("pod", "llama-0")];
/// let labels: TargetLabels = labels.map(|(n, v)| (n.into(), v.into())).into();
/// let target = Target::from_labels(&labels, &TargetDefaults::default())?;
/// assert_eq!(target.url(), "http://10.0.0.7:8000/metrics");
/// assert_eq!(target.labels()["instance"], "10.0.0.7:8000");
/// assert_eq!(target.labels().len(), 2);
/// # Ok::<(), fleetgauge_core::target::TargetError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    labels: TargetLabels,
    scheme: Scheme,
    address: String,
    metrics_path: String,
    params: Vec<(String, String)>,
}

/// How a target is talked to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// In the clear.
    #[default]
    Http,
    /// By TLS.
    Https,
}

/// What holds for targets whose discovery does not say otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TargetDefaults {
    /// How to talk to them. Default: `http`.
    pub scheme: Scheme,
    /// Where the metrics are. Default: `/metrics`.
    pub metrics_path: String,
    /// Parameters of the URL.
    pub params: Vec<(String, String)>,
    /// Labels for targets that lack them, such as `job`.
    pub labels: TargetLabels,
}

/// Why labels do not describe a target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// There is no `__address__`.
    #[error("a target has no __address__")]
    NoAddress,
    /// The address is not valid.
    #[error("{address:?} is not a valid address: it takes host or host:port, an IPv6 address in brackets")]
    Address {
        /// What was given, shortened.
        address: String,
    },
    /// The scheme is not valid.
    #[error("{scheme:?} is not a valid scheme: it takes http or https")]
    Scheme {
        /// What was given, shortened.
        scheme: String,
    },
    /// The path is not valid.
    #[error("{path:?} is not a valid path of a URL")]
    Path {
        /// What was given, shortened.
        path: String,
    },
    /// The labels are too many or too long.
    #[error("the labels of target {address:?} exceed {limit} bytes")]
    TooLarge {
        /// Where it is.
        address: String,
        /// The limit.
        limit: usize,
    },
}

/// Limits the total size of a target's labels.
const MAX_LABEL_BYTES: usize = 64 << 10;

// === impl Target ===

impl Target {
    /// The target that `labels` describe. An address without a port gets that of its scheme, 80 or 443;
    /// `instance` is the address where it is not set.
    ///
    /// *Errors*: [`TargetError`].
    pub fn from_labels(labels: &TargetLabels, defaults: &TargetDefaults) -> Result<Self, TargetError> {
        let given = |name: &str| labels.get(name).map(String::as_str).filter(|v| !v.is_empty());
        let address = given(ADDRESS).ok_or(TargetError::NoAddress)?;
        let scheme = match given("__scheme__") {
            None => defaults.scheme,
            Some(scheme) => scheme.parse()?,
        };
        let address = with_port(address, scheme)?;
        let bytes: usize = labels.iter().map(|(n, v)| n.len() + v.len()).sum();
        if bytes > MAX_LABEL_BYTES {
            let limit = MAX_LABEL_BYTES;
            return Err(TargetError::TooLarge { address, limit });
        }
        let metrics_path = given("__metrics_path__").unwrap_or(&defaults.metrics_path);
        let metrics_path = if metrics_path.starts_with('/') {
            metrics_path.to_owned()
        } else {
            format!("/{metrics_path}")
        };
        if !metrics_path.bytes().all(is_path_byte) {
            let path = shortened(&metrics_path);
            return Err(TargetError::Path { path });
        }
        let mut params = defaults.params.clone();
        for (name, value) in labels {
            if let Some(param) = name.strip_prefix("__param_") {
                params.retain(|(other, _)| other != param);
                params.push((param.to_owned(), value.clone()));
            }
        }
        let own = |(name, value): &(&String, &String)| !name.starts_with("__") && !value.is_empty();
        let mut kept: TargetLabels = labels
            .iter()
            .filter(own)
            .map(|(n, v)| (n.clone(), v.clone()))
            .collect();
        for (name, value) in &defaults.labels {
            if !value.is_empty() {
                kept.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
        kept.entry("instance".to_owned())
            .or_insert_with(|| address.clone());
        Ok(Self {
            labels: kept,
            scheme,
            address,
            metrics_path,
            params,
        })
    }

    /// What every series of the target is labelled with, sorted by name.
    pub fn labels(&self) -> &TargetLabels {
        &self.labels
    }

    /// How it is talked to.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Where it listens, as `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where its metrics are, beginning with `/`.
    pub fn metrics_path(&self) -> &str {
        &self.metrics_path
    }

    /// The parameters of its URL, not encoded.
    pub fn params(&self) -> &[(String, String)] {
        &self.params
    }

    /// Its URL, without parameters: they may be secret.
    pub fn url(&self) -> String {
        format!("{}://{}{}", self.scheme, self.address, self.metrics_path)
    }
}

/// `namespace/pod` where the target has these labels, otherwise its `instance`.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = |name: &str| self.labels.get(name).map(String::as_str);
        match (label("namespace"), label("pod")) {
            (Some(namespace), Some(pod)) => write!(f, "{}/{}", Printable(namespace), Printable(pod)),
            (None, Some(pod)) => write!(f, "{}", Printable(pod)),
            _ => write!(f, "{}", Printable(label("instance").unwrap_or(&self.address))),
        }
    }
}

fn with_port(address: &str, scheme: Scheme) -> Result<String, TargetError> {
    let bad = || TargetError::Address {
        // What stands before an `@` may be a password.
        address: match address.rsplit_once('@') {
            Some((_, host)) => shortened(&format!("<secret>@{host}")),
            None => shortened(address),
        },
    };
    let is_host = |host: &str| match host.strip_prefix('[') {
        Some(v6) => v6
            .strip_suffix(']')
            .is_some_and(|v6| v6.parse::<std::net::Ipv6Addr>().is_ok()),
        None => {
            let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
            (1..=253).contains(&host.len()) && host.bytes().all(allowed)
        }
    };
    let port_at = match address.rfind(']') {
        Some(bracket) => address[bracket..].find(':').map(|at| bracket + at),
        None => address.find(':'),
    };
    let (host, port) = match port_at {
        Some(at) => (&address[..at], Some(&address[at + 1..])),
        None => (address, None),
    };
    let is_port =
        |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|p| p > 0);
    if !is_host(host) || port.is_some_and(|port| !is_port(port)) {
        return Err(bad());
    }
    Ok(match (port, scheme) {
        (Some(_), _) => address.to_owned(),
        (None, Scheme::Http) => format!("{host}:80"),
        (None, Scheme::Https) => format!("{host}:443"),
    })
}

/// Source: <https://www.rfc-editor.org/rfc/rfc3986#section-3.3>, and the `%` of what is encoded.
fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@%".contains(&byte)
}

fn shortened(text: &str) -> String {
    text.chars().take(100).collect()
}

// === impl Scheme ===

impl std::str::FromStr for Scheme {
    type Err = TargetError;

    fn from_str(scheme: &str) -> Result<Self, TargetError> {
        match scheme {
            "http" => Ok(Self::Http),
            "https" => Ok(Self::Https),
            other => Err(TargetError::Scheme {
                scheme: shortened(other),
            }),
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
        })
    }
}

// === impl TargetDefaults ===

impl TargetDefaults {
    /// `discovered`, with what holds where it says nothing: the labels that a target has before relabeling.
    pub fn described(&self, discovered: &TargetLabels) -> TargetLabels {
        let mut labels = self.labels.clone();
        labels.insert("__scheme__".to_owned(), self.scheme.to_string());
        labels.insert("__metrics_path__".to_owned(), self.metrics_path.clone());
        let params = self.params.iter();
        labels.extend(params.map(|(name, value)| (format!("__param_{name}"), value.clone())));
        let given = discovered.iter().filter(|(_, value)| !value.is_empty());
        labels.extend(given.map(|(name, value)| (name.clone(), value.clone())));
        labels
    }
}

impl Default for TargetDefaults {
    fn default() -> Self {
        Self {
            scheme: Scheme::Http,
            metrics_path: "/metrics".to_owned(),
            params: Vec::new(),
            labels: TargetLabels::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(labels: &[(&str, &str)]) -> Result<Target, TargetError> {
        let labels = labels.iter().map(|&(n, v)| (n.into(), v.into())).collect();
        let mut defaults = TargetDefaults::default();
        defaults.labels.insert("job".into(), "pods".into());
        Target::from_labels(&labels, &defaults)
    }

    #[test]
    fn urls() {
        let check = |labels: &[(&str, &str)], expected: &str| {
            assert_eq!(target(labels).unwrap().url(), expected);
        };
        check(&[("__address__", "a:1")], "http://a:1/metrics");
        check(&[("__address__", "a")], "http://a:80/metrics");
        check(&[("__address__", "[::1]")], "http://[::1]:80/metrics");
        check(&[("__address__", "[::1]:9")], "http://[::1]:9/metrics");
        check(
            &[
                ("__address__", "a"),
                ("__scheme__", "https"),
                ("__metrics_path__", "m/x"),
            ],
            "https://a:443/m/x",
        );
    }

    #[test]
    fn labels_that_are_the_targets_own() {
        let labels = [
            ("__address__", "a:1"),
            ("__meta_k", "v"),
            ("pod", "p"),
            ("empty", ""),
            ("job", "own"),
        ];
        let labels = target(&labels).unwrap().labels().clone();
        let labels: Vec<_> = labels.iter().map(|(n, v)| format!("{n}={v}")).collect();
        assert_eq!(labels, ["instance=a:1", "job=own", "pod=p"]);
        let set = target(&[("__address__", "a:1"), ("instance", "i")]).unwrap();
        assert_eq!(
            (set.labels()["instance"].as_str(), set.labels()["job"].as_str()),
            ("i", "pods")
        );
    }

    #[test]
    fn parameters() {
        let set = target(&[("__address__", "a:1"), ("__param_module", "x y")]).unwrap();
        assert_eq!(set.params(), [("module".to_owned(), "x y".to_owned())]);
    }

    #[test]
    fn labels_that_do_not_describe_a_target() {
        let check = |labels: &[(&str, &str)], expected: &str| {
            let error = target(labels).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(&[], "no __address__");
        check(&[("__address__", "")], "no __address__");
        for bad in [
            "a:0", "a:99999", "a:+1", "a:", ":80", "::1", "[x]:80", "a b", "http://a", "a/b", "u@a",
        ] {
            check(&[("__address__", bad)], "is not a valid address");
        }
        check(
            &[("__address__", "user:hunter2@pod:1")],
            "\"<secret>@pod:1\" is not a valid address",
        );
        check(
            &[("__address__", "a"), ("__scheme__", "ftp")],
            "is not a valid scheme",
        );
        check(
            &[("__address__", "a"), ("__metrics_path__", "/a b")],
            "is not a valid path",
        );
        check(
            &[("__address__", "a"), ("__metrics_path__", "/a?b")],
            "is not a valid path",
        );
        let long = "x".repeat(70_000);
        check(&[("__address__", "a"), ("l", &long)], "exceed");
    }
}
