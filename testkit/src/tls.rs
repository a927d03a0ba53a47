//! Certificates for the faults of TLS, made anew for every test and written as PEM files.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tempfile::TempDir;

use crate::{Error, Result, process};

/// Two authorities and certificates by them, in a directory that goes with the handle.
#[derive(Debug)]
pub struct Certificates {
    dir: TempDir,
    ca: Issuer<'static, KeyPair>,
    other: Issuer<'static, KeyPair>,
}

/// The PEM files of a certificate and its private key.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate.
    pub cert: PathBuf,
    /// The private key (PKCS #8).
    pub key: PathBuf,
}

/// Which server certificate to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// Valid for `127.0.0.1` and `localhost`, by [`Certificates::ca`].
    Valid,
    /// By the same authority, but for `elsewhere.test` only.
    WrongName,
    /// Right name, but long expired.
    Expired,
    /// Right name, but by [`Certificates::other_ca`].
    WrongCa,
}

/// Which client certificate to make; all for the common name `fleetgauge`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// Valid.
    Valid,
    /// Long expired.
    Expired,
    /// By [`Certificates::other_ca`].
    WrongCa,
}

// === impl Certificates ===

impl Certificates {
    /// Makes the two authorities.
    ///
    /// # Errors
    /// When there is no directory to write to.
    pub fn generate() -> Result<Self> {
        let dir = process::temp_dir()?;
        let ca = authority("Fleetgauge test CA", &dir.path().join("ca.pem"))?;
        let other = authority("Some other CA", &dir.path().join("other-ca.pem"))?;
        Ok(Self { dir, ca, other })
    }

    /// The directory with all files.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The certificate of the authority that signs what is valid.
    pub fn ca(&self) -> PathBuf {
        self.dir().join("ca.pem")
    }

    /// The certificate of an authority that signed nothing valid.
    pub fn other_ca(&self) -> PathBuf {
        self.dir().join("other-ca.pem")
    }

    /// Makes a server certificate, for a web configuration of Prometheus.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn server(&self, kind: Server) -> Result<Identity> {
        let names: &[&str] = if kind == Server::WrongName {
            &["elsewhere.test"]
        } else {
            &["localhost", "127.0.0.1"]
        };
        let issuer = if kind == Server::WrongCa {
            &self.other
        } else {
            &self.ca
        };
        let mut params = leaf(names, ExtendedKeyUsagePurpose::ServerAuth)?;
        expire(&mut params, kind == Server::Expired);
        self.write(&format!("server-{kind:?}"), &params, issuer)
    }

    /// Makes a client certificate. Each call makes a new one and replaces the files of the last call
    /// with the same kind, as a rotation does.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn client(&self, kind: Client) -> Result<Identity> {
        let issuer = if kind == Client::WrongCa {
            &self.other
        } else {
            &self.ca
        };
        let mut params = leaf(&[], ExtendedKeyUsagePurpose::ClientAuth)?;
        params.distinguished_name.push(DnType::CommonName, "fleetgauge");
        expire(&mut params, kind == Client::Expired);
        self.write(&format!("client-{kind:?}"), &params, issuer)
    }

    /// A configuration for [`FaultyServer::start_tls`](crate::FaultyServer::start_tls), which asks no
    /// client for a certificate.
    ///
    /// # Errors
    /// When a certificate cannot be made.
    pub fn server_config(&self, kind: Server) -> Result<ServerConfig> {
        let identity = self.server(kind)?;
        let config = config_builder()?.with_no_client_auth();
        Ok(config.with_single_cert(chain(&identity.cert)?, key(&identity.key)?)?)
    }

    /// As [`Certificates::server_config`], for a valid server that requires a client certificate by
    /// [`Certificates::ca`].
    ///
    /// # Errors
    /// When a certificate cannot be made.
    pub fn server_config_requiring_client(&self) -> Result<ServerConfig> {
        let identity = self.server(Server::Valid)?;
        let mut roots = RootCertStore::empty();
        for certificate in chain(&self.ca())? {
            roots.add(certificate)?;
        }
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        let config = config_builder()?.with_client_cert_verifier(verifier);
        Ok(config.with_single_cert(chain(&identity.cert)?, key(&identity.key)?)?)
    }

    fn write(
        &self,
        name: &str,
        params: &CertificateParams,
        issuer: &Issuer<'_, KeyPair>,
    ) -> Result<Identity> {
        let key_pair = KeyPair::generate()?;
        let certificate = params.signed_by(&key_pair, issuer)?;
        let identity = Identity {
            cert: self.dir().join(format!("{name}.pem")),
            key: self.dir().join(format!("{name}.key")),
        };
        write(&identity.cert, &certificate.pem())?;
        write(&identity.key, &key_pair.serialize_pem())?;
        Ok(identity)
    }
}

// === helpers ===

fn authority(name: &str, file: &Path) -> Result<Issuer<'static, KeyPair>> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, name);
    let key_pair = KeyPair::generate()?;
    write(file, &params.self_signed(&key_pair)?.pem())?;
    Ok(Issuer::new(params, key_pair))
}

fn leaf(names: &[&str], usage: ExtendedKeyUsagePurpose) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?;
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn expire(params: &mut CertificateParams, expired: bool) {
    if expired {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    }
}

fn config_builder() -> Result<rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier>> {
    let provider = Arc::new(ring::default_provider());
    Ok(ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?)
}

fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error| rustls::Error::General(error.to_string()).into())
}

fn key(file: &Path) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(file).map_err(|error| rustls::Error::General(error.to_string()).into())
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).map_err(Error::io(format!("writing {}", file.display())))
}
