//! Reads certificates.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};

/// The certificates of a file in PEM, at least one.
///
/// *Errors*: what is wrong with it, to follow its name.
pub(super) fn certificates(contents: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(contents).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => {
            Err("holds no PEM certificate (-----BEGIN CERTIFICATE-----)".into())
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(format!("is not valid PEM ({error})")),
    }
}
