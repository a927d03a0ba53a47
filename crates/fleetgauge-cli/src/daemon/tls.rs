//! A door's TLS from its files.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow, ensure};
use fleetgauge_server::door::listener::asking_for_certificates;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::config::DoorTls;

/// No certificate and no key is longer.
const MAX_BYTES: u64 = 1 << 20;

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
            for certificate in certificates(file)? {
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
    let key_file = &files.key_file;
    let key = PrivateKeyDer::from_pem_slice(&fleetgauge::file::read(key_file, MAX_BYTES)?)
        .map_err(|_| anyhow!("{}: there is no private key in PEM", key_file.display()))?;
    let cert_file = &files.cert_file;
    let config = builder.with_single_cert(certificates(cert_file)?, key);
    let mut config =
        config.with_context(|| format!("{} and {} do not fit", cert_file.display(), key_file.display()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let bytes = fleetgauge::file::read(file, MAX_BYTES)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let certificates =
        read.map_err(|_| anyhow!("{}: there is a certificate that is not PEM", file.display()))?;
    ensure!(
        !certificates.is_empty(),
        "{}: there is no certificate in PEM",
        file.display()
    );
    Ok(certificates)
}
