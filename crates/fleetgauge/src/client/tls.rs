//! Whom to trust and what to show, for rustls.
//!
//! The cryptography (ring) is handed to each configuration: a library that installed a default for the whole
//! process would decide for everything else in it.

mod certificate;
mod trust;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fleetgauge_core::time::Clock;
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, SignatureScheme};

use self::certificate::certificates;
use self::trust::{Anyone, Authorities};
use super::config::{ConfigError, TlsConfig};
use super::watch::{FileError, Watched};

/// The configuration of all connections. `needed` says that there will be some: then it is an error to trust
/// nobody.
pub(crate) fn client_config(
    tls: &TlsConfig,
    needed: bool,
    clock: &Clock,
) -> Result<ClientConfig, ConfigError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| invalid("tls", error.to_string()))?;
    let builder = if tls.insecure_skip_verify {
        let verifier = Arc::new(Anyone(Arc::clone(&provider)));
        builder.dangerous().with_custom_certificate_verifier(verifier)
    } else if let Some(path) = &tls.ca_file {
        let verifier = Authorities::in_file(path, Arc::clone(&provider), clock)
            .map_err(|error| ConfigError::file("tls.ca_file", error))?;
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
    } else {
        builder.with_root_certificates(platform_roots(needed)?)
    };
    match (&tls.client_cert_file, &tls.client_key_file) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(cert), Some(key)) => {
            let identity = Identity::new(cert, key, provider, clock)
                .map_err(|error| ConfigError::file("tls.client_cert_file and tls.client_key_file", error))?;
            let mut config = builder.with_client_cert_resolver(Arc::new(identity));
            // A resumed session would go on with the certificate that it was begun with.
            config.resumption = Resumption::disabled();
            Ok(config)
        }
        (Some(_), None) => Err(invalid(
            "tls.client_key_file",
            "missing, while tls.client_cert_file is set; a client certificate takes both".into(),
        )),
        (None, Some(_)) => Err(invalid(
            "tls.client_cert_file",
            "missing, while tls.client_key_file is set; a client certificate takes both".into(),
        )),
    }
}

/// The name to ask for and to verify instead of the URL's host.
pub(crate) fn server_name(name: &str) -> Result<ServerName<'static>, ConfigError> {
    ServerName::try_from(name.to_owned()).map_err(|_| {
        let problem = format!("{name:?} is neither a DNS name nor an IP address");
        invalid("tls.server_name", problem)
    })
}

fn invalid(field: &str, problem: String) -> ConfigError {
    ConfigError::Invalid {
        field: field.into(),
        problem,
    }
}

fn platform_roots(needed: bool) -> Result<RootCertStore, ConfigError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (used, _) = roots.add_parsable_certificates(found.certs);
    if used == 0 && needed {
        let why = found
            .errors
            .first()
            .map(|e| format!(" ({e})"))
            .unwrap_or_default();
        let problem =
            format!("not set, and this system has no certificate authorities{why}; name a file of them");
        return Err(invalid("tls.ca_file", problem));
    }
    Ok(roots)
}

/// Our own certificate and key, read again when they change.
struct Identity(Watched<CertifiedKey>);

// === impl Identity ===

impl Identity {
    fn new(cert: &Path, key: &Path, provider: Arc<CryptoProvider>, clock: &Clock) -> Result<Self, FileError> {
        let paths: Vec<PathBuf> = vec![cert.to_owned(), key.to_owned()];
        let parse = move |contents: &[Vec<u8>]| {
            let chain = certificates(&contents[0]).map_err(|problem| (0, problem))?;
            let key = PrivateKeyDer::from_pem_slice(&contents[1]).map_err(|error| {
                let problem = match error {
                    pem::Error::NoItemsFound => {
                        "holds no unencrypted PEM private key (-----BEGIN PRIVATE KEY-----)".to_owned()
                    }
                    // Not the error itself: it might quote the file.
                    _ => "is not valid PEM".to_owned(),
                };
                (1, problem)
            })?;
            CertifiedKey::from_der(chain, key, &provider).map_err(|error| {
                let problem = match error {
                    rustls::Error::InconsistentKeys(_) => {
                        "is not the private key of the certificate".to_owned()
                    }
                    other => format!("cannot be used: {other}"),
                };
                (1, problem)
            })
        };
        // Looked at for each new connection, beside whose handshake it costs nothing.
        Ok(Self(Watched::new(paths, Duration::ZERO, clock.clone(), parse)?))
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.get())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity(<secret>)")
    }
}
