//! Who is believed to be the server.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fleetgauge_core::time::Clock;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::super::watch::{FileError, Watched};
use super::certificate::certificates;

/// Takes certificates by the authorities in a file, which is read again when it changes.
pub(super) struct Authorities(Watched<Arc<WebPkiServerVerifier>>);

/// Takes every certificate, and checks only that whoever shows it has its key.
pub(super) struct Anyone(pub(super) Arc<CryptoProvider>);

// === impl Authorities ===

impl Authorities {
    pub(super) fn in_file(
        path: &Path,
        provider: Arc<CryptoProvider>,
        clock: &Clock,
    ) -> Result<Self, FileError> {
        let parse = move |contents: &[Vec<u8>]| {
            let certificates = certificates(&contents[0]).map_err(|problem| (0, problem))?;
            let mut roots = RootCertStore::empty();
            // Those that cannot be used are skipped, as in every TLS stack: bundles hold ones of all ages.
            roots.add_parsable_certificates(certificates);
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
            let unusable = || {
                (
                    0,
                    "holds no certificate of an authority that can be used".to_owned(),
                )
            };
            verifier.build().map_err(|_| unusable())
        };
        let paths = vec![path.to_owned()];
        // Looked at for each new connection, beside whose handshake it costs nothing.
        Ok(Self(Watched::new(paths, Duration::ZERO, clock.clone(), parse)?))
    }
}

impl ServerCertVerifier for Authorities {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verifier = self.0.get();
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.get().verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.get().verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.get().supported_verify_schemes()
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorities")
    }
}

// === impl Anyone ===

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl fmt::Debug for Anyone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Anyone")
    }
}
