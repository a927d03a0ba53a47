//! The sections `server`, `keda`, `external_metrics` and `log`: where the daemon's doors are, who may come in, and what is logged.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use fleetgauge::document::{Node, Reader};

use crate::log::{LogFormat, LogLevel};
use crate::pem;

/// Where the daemon listens if nothing else is said.
pub(crate) const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9095);

/// Where one door is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DoorSection {
    pub(crate) listen: SocketAddr,
    pub(crate) tls: Option<DoorTls>,
    /// The token that is asked for.
    pub(crate) bearer_token_file: Option<PathBuf>,
    /// It may listen anywhere without TLS.
    pub(crate) insecure: bool,
}

// === impl DoorSection ===

impl DoorSection {
    /// The same door at another address.
    ///
    /// *Errors*: nothing guards it there.
    pub(crate) fn at(mut self, listen: SocketAddr) -> anyhow::Result<Self> {
        self.listen = listen;
        match exposed(listen) {
            Some(problem) if self.tls.is_none() && !self.insecure => Err(anyhow::anyhow!(problem)),
            _ => Ok(self),
        }
    }
}

/// The files of a door's TLS.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DoorTls {
    pub(crate) cert_file: PathBuf,
    pub(crate) key_file: PathBuf,
    /// The authorities whose certificates clients may show.
    pub(crate) client_ca_file: Option<PathBuf>,
    /// Clients may show any certificate, and the cluster says whether it counts.
    pub(crate) asks_cluster: bool,
}

/// What is logged, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogSection {
    pub(crate) level: LogLevel,
    pub(crate) format: LogFormat,
}

/// Reads a door; `default` is where it is if the section does not say.
pub(super) fn read_door(
    node: &Node,
    what: &'static str,
    default: Option<SocketAddr>,
    directory: &Path,
    reader: &mut Reader,
) -> Option<DoorSection> {
    let mut fields = reader.fields(node, what)?;
    let listen = match (fields.take("listen"), default) {
        (Some(node), _) => read_address(node, reader),
        (None, Some(default)) => Some(default),
        (None, None) => {
            fields.require("listen", reader);
            None
        }
    };
    let tls = fields.take("tls").map(|node| read_tls(node, directory, reader));
    let token = fields.take("bearer_token_file");
    let bearer_token_file = token
        .and_then(|node| reader.text(node))
        .map(|file| directory.join(file));
    let insecure = fields.take("insecure").and_then(|node| reader.bool(node));
    fields.finish(reader);
    let listen = listen?;
    let insecure = insecure.unwrap_or(false);
    if tls.is_none()
        && !insecure
        && let Some(message) = exposed(listen)
    {
        reader.problem(node.position(), message);
    }
    Some(DoorSection {
        listen,
        tls: match tls {
            Some(tls) => Some(tls?),
            None => None,
        },
        bearer_token_file,
        insecure,
    })
}

/// What is wrong with a door at this address that has no TLS and was not said to be `insecure`.
fn exposed(listen: SocketAddr) -> Option<String> {
    (!listen.ip().is_loopback()).then(|| {
        format!(
            "{listen} can be reached from elsewhere, and whoever is on the way could read and change what is said: add \
             `tls: {{cert_file: …, key_file: …}}`, or `insecure: true` if that is taken care of"
        )
    })
}

fn read_address(node: &Node, reader: &mut Reader) -> Option<SocketAddr> {
    let text = reader.text(node)?;
    let whole = match text.strip_prefix(':') {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    let address = whole.parse();
    if address.is_err() {
        let message = "listen takes an IP address with a port, as 127.0.0.1:9095, 0.0.0.0:9095 or [::]:9095";
        reader.problem(node.position(), message);
    }
    address.ok()
}

fn read_tls(node: &Node, directory: &Path, reader: &mut Reader) -> Option<DoorTls> {
    let mut fields = reader.fields(node, "tls")?;
    let cert = fields
        .require("cert_file", reader)
        .and_then(|node| reader.text(node));
    let key = fields
        .require("key_file", reader)
        .and_then(|node| reader.text(node));
    let ca = fields.take("client_ca_file").and_then(|node| reader.text(node));
    fields.finish(reader);
    let (cert_file, key_file) = (directory.join(cert?), directory.join(key?));
    check_files(node, &cert_file, &key_file, reader);
    Some(DoorTls {
        cert_file,
        key_file,
        client_ca_file: ca.map(|file| directory.join(file)),
        asks_cluster: false,
    })
}

/// Says what is wrong with a certificate and its key. They may not be here, but where the configuration is used.
fn check_files(node: &Node, certificate: &Path, key: &Path, reader: &mut Reader) {
    let missing = [certificate, key].into_iter().find(|file| !file.exists());
    if let Some(file) = missing {
        reader.warning(
            node.position(),
            format!("{}: there is no such file", file.display()),
        );
    } else if let Err(error) = pem::check(certificate, key) {
        reader.problem(node.position(), format!("{error:#}"));
    }
}

/// Reads `external_metrics`: who may come in, the cluster says.
pub(super) fn read_external_metrics(
    node: &Node,
    directory: &Path,
    reader: &mut Reader,
) -> Option<DoorSection> {
    let mut fields = reader.fields(node, "external_metrics")?;
    let listen = fields.require("listen", reader);
    let listen = listen.and_then(|node| read_address(node, reader));
    let tls = fields.require("tls", reader);
    fields.finish(reader);
    let tls = tls?;
    let mut files = reader.fields(tls, "tls")?;
    let cert = files.require("cert_file", reader);
    let cert = cert.and_then(|node| reader.text(node));
    let key = files.require("key_file", reader);
    let key = key.and_then(|node| reader.text(node));
    files.finish(reader);
    let (cert_file, key_file) = (directory.join(cert?), directory.join(key?));
    check_files(tls, &cert_file, &key_file, reader);
    Some(DoorSection {
        listen: listen?,
        tls: Some(DoorTls {
            cert_file,
            key_file,
            client_ca_file: None,
            asks_cluster: true,
        }),
        bearer_token_file: None,
        insecure: false,
    })
}

/// Reads `log`.
pub(super) fn read_log(node: &Node, reader: &mut Reader) -> LogSection {
    let mut log = LogSection::default();
    let Some(mut fields) = reader.fields(node, "log") else {
        return log;
    };
    if let Some(node) = fields.take("level") {
        log.level = read_choice(node, "level is error, warn, info or debug", reader).unwrap_or_default();
    }
    if let Some(node) = fields.take("format") {
        log.format = read_choice(node, "format is text or json", reader).unwrap_or_default();
    }
    fields.finish(reader);
    log
}

fn read_choice<T: clap::ValueEnum>(node: &Node, message: &str, reader: &mut Reader) -> Option<T> {
    let choice = T::from_str(reader.text(node)?, false).ok();
    if choice.is_none() {
        reader.problem(node.position(), message);
    }
    choice
}

#[cfg(test)]
mod tests {
    use fleetgauge::document::Document;

    use crate::config::file::{problems, read_config};

    #[test]
    fn external_metrics_need_tls_and_a_cluster_and_an_address_of_their_own() {
        let tls = "tls: {cert_file: a.crt, key_file: a.key}";
        for (text, expected) in [
            (format!("kubernetes: {{}}\nexternal_metrics: {{listen: ':6443', {tls}}}"), &[][..]),
            (
                format!("external_metrics: {{listen: ':6443', {tls}}}"),
                &["who may ask for external metrics is said by the cluster", "add `kubernetes: {}`"],
            ),
            // On loopback as well, and whatever is on the way.
            ("kubernetes: {}\nexternal_metrics: {listen: ':6443'}".to_owned(), &["tls"]),
            (
                format!("kubernetes: {{}}\nexternal_metrics: {{listen: ':6443', insecure: true, {tls}}}"),
                &["insecure"],
            ),
            (
                "kubernetes: {}\nexternal_metrics: {listen: ':6443', tls: {cert_file: a.crt, key_file: a.key, client_ca_file: a}}"
                    .to_owned(),
                &["client_ca_file"],
            ),
            (format!("kubernetes: {{}}\nexternal_metrics: {{{tls}}}"), &["listen"]),
            (
                format!("kubernetes: {{}}\nexternal_metrics: {{listen: ':9095', {tls}}}"),
                &["server listens there, too: 127.0.0.1:9095"],
            ),
            (
                format!("kubernetes: {{}}\nkeda: {{listen: ':9096'}}\nexternal_metrics: {{listen: ':9096', {tls}}}"),
                &["keda listens there, too: 127.0.0.1:9096"],
            ),
        ] {
            let told = problems(&text);
            assert_eq!(told.is_empty(), expected.is_empty(), "{text}: {told}");
            for expected in expected {
                assert!(told.contains(expected), "{text}: {told}");
            }
        }
    }

    #[test]
    fn a_certificate_that_is_there_has_to_be_that_of_its_key() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["one", "other"] {
            let key = rcgen::KeyPair::generate().unwrap();
            let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
            std::fs::write(folder.path().join(format!("{name}.crt")), certificate.pem()).unwrap();
            std::fs::write(folder.path().join(format!("{name}.key")), key.serialize_pem()).unwrap();
        }
        let checked = |certificate: &str, key: &str| {
            let text = format!("server: {{tls: {{cert_file: {certificate}, key_file: {key}}}}}");
            let document = Document::parse("file", &text).unwrap();
            let told = match read_config(&document, folder.path(), Vec::new()) {
                Ok(config) => config.warnings,
                Err(problems) => problems,
            };
            told.iter()
                .map(|problem| format!("{problem}\n"))
                .collect::<String>()
        };
        assert_eq!(checked("one.crt", "one.key"), "");
        for (certificate, key, expected) in [
            ("one.crt", "other.key", "one.crt and"),
            ("one.key", "one.key", "one.key: there is no certificate in PEM"),
            ("one.crt", "one.crt", "one.crt: there is no private key in PEM"),
            // It may be there where the configuration is used.
            ("one.crt", "none.key", "warning: "),
        ] {
            let told = checked(certificate, key);
            assert!(told.contains(expected) && told.contains("file:1:"), "{told}");
        }
        assert!(checked("one.crt", "other.key").contains("do not fit"));
    }
}
