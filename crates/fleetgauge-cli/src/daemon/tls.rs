//! A door's TLS from its files.

use std::sync::Arc;

use anyhow::Context;
use fleetgauge_server::door::listener::asking_for_certificates;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::config::DoorTls;
use crate::pem;

/// Reads the files of a door.
///
/// *Errors*: which one is wrong, and how; nothing of a key.
pub(super) fn read(files: &DoorTls) -> anyhow::Result<Arc<ServerConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let builder = match &files.client_ca_file {
        _ if files.asks_cluster => builder.with_client_cert_verifier(asking_for_certificates()),
        Some(file) => {
            let mut roots = RootCertStore::empty();
            for certificate in pem::certificates(file)? {
                roots
                    .add(certificate)
                    .with_context(|| file.display().to_string())?;
            }
            // Health is asked without a certificate.
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()?;
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let (cert_file, key_file) = (&files.cert_file, &files.key_file);
    let config = builder.with_single_cert(pem::certificates(cert_file)?, pem::key(key_file)?);
    let mut config =
        config.with_context(|| format!("{} and {} do not fit", cert_file.display(), key_file.display()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
