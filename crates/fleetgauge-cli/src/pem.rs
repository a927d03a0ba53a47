//! Certificates and keys in files of PEM.

use std::path::Path;

use anyhow::{Context, anyhow, ensure};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// No certificate and no key is longer.
const MAX_BYTES: u64 = 1 << 20;

/// The certificates of a file, of which there is at least one.
///
/// *Errors*: there is none, or one that cannot be read.
pub(crate) fn certificates(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
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

/// The key of a file.
///
/// *Errors*: there is none; nothing of what is there.
pub(crate) fn key(file: &Path) -> anyhow::Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(&fleetgauge::file::read(file, MAX_BYTES)?)
        .map_err(|_| anyhow!("{}: there is no private key in PEM", file.display()))
}

/// Whether a certificate is that of a key.
///
/// *Errors*: it is not, or one of them cannot be read.
pub(crate) fn check(certificate: &Path, key_file: &Path) -> anyhow::Result<()> {
    let (chain, key) = (certificates(certificate)?, key(key_file)?);
    let provider = rustls::crypto::ring::default_provider();
    CertifiedKey::from_der(chain, key, &provider)
        .map(drop)
        .with_context(|| format!("{} and {} do not fit", certificate.display(), key_file.display()))
}
