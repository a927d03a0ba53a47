//! Whose certificates are believed, and for what: the cluster says so in the ConfigMap
//! `kube-system/extension-apiserver-authentication`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use axum::http::HeaderMap;
use fleetgauge_core::printable::Quoted;
use percent_encoding::percent_decode_str;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::user::User;

/// Whose certificates are believed.
///
/// Cheap to clone; clones are the same.
#[derive(Clone)]
pub struct Trust(Arc<Inner>);

struct Inner {
    /// Who signs the certificates of users.
    users: Option<Authorities>,
    front_proxy: Option<FrontProxy>,
}

type Authorities = Arc<dyn ClientCertVerifier>;

/// The API server's aggregator, which says on whose behalf it asks.
struct FrontProxy {
    authorities: Authorities,
    /// The names that its certificate may have; none: any.
    names: Vec<String>,
    user_headers: Vec<String>,
    uid_headers: Vec<String>,
    group_headers: Vec<String>,
    extra_prefixes: Vec<String>,
}

/// What is wrong with the ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` of the ConfigMap extension-apiserver-authentication {problem}")]
#[non_exhaustive]
pub struct TrustError {
    /// The key.
    pub key: &'static str,
    /// What is wrong with its value.
    pub problem: String,
}

const USERS_CA: &str = "client-ca-file";
const PROXY_CA: &str = "requestheader-client-ca-file";
const PROXY_NAMES: &str = "requestheader-allowed-names";
const USER_HEADERS: &str = "requestheader-username-headers";
const UID_HEADERS: &str = "requestheader-uid-headers";
const GROUP_HEADERS: &str = "requestheader-group-headers";
const EXTRA_PREFIXES: &str = "requestheader-extra-headers-prefix";

// === impl Trust ===

impl Trust {
    /// As the data of the ConfigMap say.
    ///
    /// *Errors*: what of it cannot be read. A front proxy that anybody with a certificate of the cluster could pass for is an
    /// error, too.
    pub fn read(data: &BTreeMap<String, String>) -> Result<Self, TrustError> {
        let users = certificates(data, USERS_CA)?;
        let proxy = certificates(data, PROXY_CA)?;
        let names = list(data, PROXY_NAMES)?;
        if names.is_empty() && proxy.iter().any(|one| users.contains(one)) {
            let problem = format!(
                "is empty, and `{PROXY_CA}` and `{USERS_CA}` have a certificate in common: every user could say that he is \
                 another one"
            );
            return Err(TrustError {
                key: PROXY_NAMES,
                problem,
            });
        }
        let front_proxy = match authorities(proxy, PROXY_CA)? {
            None => None,
            Some(authorities) => Some(FrontProxy {
                authorities,
                names,
                user_headers: list(data, USER_HEADERS)?,
                uid_headers: list(data, UID_HEADERS)?,
                group_headers: list(data, GROUP_HEADERS)?,
                extra_prefixes: list(data, EXTRA_PREFIXES)?,
            }),
        };
        let users = authorities(users, USERS_CA)?;
        Ok(Self(Arc::new(Inner { users, front_proxy })))
    }

    /// On whose behalf the front proxy asks, if it is the front proxy that has these certificates.
    pub(super) fn on_behalf_of(
        &self,
        certificates: &[CertificateDer<'static>],
        headers: &HeaderMap,
    ) -> Option<User> {
        let proxy = self.0.front_proxy.as_ref()?;
        let subject = verified(&proxy.authorities, certificates)?;
        let is_named = |name: &String| subject.name.as_ref() == Some(name);
        if !proxy.names.is_empty() && !proxy.names.iter().any(is_named) {
            return None;
        }
        let all = |names: &[String]| -> Vec<String> {
            let values = names.iter().flat_map(|name| headers.get_all(name.as_str()));
            let values = values.filter_map(|value| std::str::from_utf8(value.as_bytes()).ok());
            values.map(str::to_owned).collect()
        };
        let first = |names: &[String]| all(names).into_iter().find(|value| !value.is_empty());
        let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for prefix in &proxy.extra_prefixes {
            let prefix = prefix.to_ascii_lowercase();
            for (name, value) in headers {
                // Names of headers are in lower case.
                let Some(key) = name.as_str().strip_prefix(&*prefix) else {
                    continue;
                };
                let key = percent_decode_str(key).decode_utf8();
                if let (Ok(key), Ok(value)) = (key, std::str::from_utf8(value.as_bytes())) {
                    extra.entry(key.into_owned()).or_default().push(value.to_owned());
                }
            }
        }
        Some(User {
            name: first(&proxy.user_headers)?,
            uid: first(&proxy.uid_headers).unwrap_or_default(),
            groups: all(&proxy.group_headers),
            extra,
        })
    }

    /// Whose certificates they are, if the cluster has signed them for a user.
    pub(super) fn user(&self, certificates: &[CertificateDer<'static>]) -> Option<User> {
        let subject = verified(self.0.users.as_ref()?, certificates)?;
        Some(User {
            name: subject.name.filter(|name| !name.is_empty())?,
            groups: subject.organizations,
            ..User::default()
        })
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust")
            .field("users", &self.0.users.is_some())
            .field("front_proxy", &self.0.front_proxy.is_some())
            .finish()
    }
}

/// Whom a certificate is for.
struct Subject {
    /// The only common name that it has.
    name: Option<String>,
    organizations: Vec<String>,
}

/// Whom these are for, if one of `authorities` has signed them, for clients, and they hold now. That who asks has the key was
/// found out when the connection was made.
fn verified(authorities: &Authorities, certificates: &[CertificateDer<'static>]) -> Option<Subject> {
    let (own, intermediates) = certificates.split_first()?;
    authorities
        .verify_client_cert(own, intermediates, UnixTime::now())
        .ok()?;
    let (_, certificate) = X509Certificate::from_der(own).ok()?;
    let subject = certificate.subject();
    let mut names = subject.iter_common_name();
    let name = names.next().and_then(|name| name.as_str().ok());
    let organizations = subject.iter_organization();
    let organizations: Result<Vec<_>, _> = organizations
        .map(|organization| organization.as_str().map(str::to_owned))
        .collect();
    Some(Subject {
        name: name.filter(|_| names.next().is_none()).map(str::to_owned),
        organizations: organizations.ok()?,
    })
}

fn certificates(
    data: &BTreeMap<String, String>,
    key: &'static str,
) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let pem = data.get(key).map(String::as_str).unwrap_or_default();
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    read.map_err(|_| TrustError {
        key,
        problem: "is not PEM".to_owned(),
    })
}

fn authorities(
    certificates: Vec<CertificateDer<'static>>,
    key: &'static str,
) -> Result<Option<Authorities>, TrustError> {
    if certificates.is_empty() {
        return Ok(None);
    }
    let wrong = |problem: String| TrustError { key, problem };
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        let added = roots.add(certificate);
        added.map_err(|error| wrong(format!("has a certificate that cannot be used: {error}")))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
    let verifier = verifier.map_err(|error| wrong(format!("cannot be used: {error}")))?;
    Ok(Some(verifier))
}

fn list(data: &BTreeMap<String, String>, key: &'static str) -> Result<Vec<String>, TrustError> {
    let Some(text) = data.get(key) else {
        return Ok(Vec::new());
    };
    serde_json::from_str(text).map_err(|_| TrustError {
        key,
        problem: format!("is {} and not a list of strings", Quoted(text)),
    })
}
