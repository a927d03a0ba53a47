//! Why a connection failed, in words that say what to do about it.
//!
//! The layers below each wrap the one before, so the chain of sources is searched for the innermost error
//! that is understood.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use fleetgauge_core::backend::{FetchError, SharedError};
use rustls::{AlertDescription, CertificateError};

use super::alert::Alerts;
use super::endpoint::Origin;
use super::failure::excerpt;
use super::proxy::ProxyConfig;

/// A connection that a failure is told of.
#[derive(Clone, Copy)]
pub(crate) struct Connection<'a> {
    pub(crate) origin: &'a Origin,
    pub(crate) shows_certificate: bool,
    pub(crate) alerts: Option<&'a Alerts>,
    pub(crate) proxy: &'a ProxyConfig,
}

/// What is known of a connection that could not be made, or broke, beside the words of its [`FetchError`].
///
/// It prints as the transport's own error does.
#[derive(Debug)]
#[non_exhaustive]
pub struct ConnectionError {
    /// Where it led, and through which proxy.
    pub place: String,
    /// What happened there, in words.
    pub what: String,
    /// Whether it was closed before the answer was complete.
    pub is_cut_off: bool,
    error: Box<dyn Error + Send + Sync>,
}

enum Cause {
    /// Encryption could not be set up, and will not be the next time.
    Tls(String),
    Broken(String),
    /// The connection was closed before the answer was complete.
    CutOff,
    /// What came is not HTTP.
    Garbled(String),
}

// === impl Connection ===

impl Connection<'_> {
    pub(crate) fn failed(self, error: impl Error + Send + Sync + 'static) -> FetchError {
        let cause = self.cause(&error);
        let place = match self.origin.through(self.proxy) {
            None => self.origin.to_string(),
            Some(through) => {
                let proxy = through.uri.authority().map_or("", |proxy| proxy.as_str());
                format!("{} through the proxy {proxy}", self.origin)
            }
        };
        let what = match &cause {
            Cause::Tls(what) | Cause::Broken(what) | Cause::Garbled(what) => what.clone(),
            Cause::CutOff => "the connection was closed before the answer was complete".to_owned(),
        };
        let detail = format!("{place}: {what}");
        let source: Option<SharedError> = Some(Arc::new(ConnectionError {
            place,
            what,
            is_cut_off: matches!(cause, Cause::CutOff),
            error: Box::new(error),
        }));
        match cause {
            Cause::Tls(_) => FetchError::Tls { detail, source },
            Cause::Broken(_) | Cause::CutOff => FetchError::Unreachable { detail, source },
            Cause::Garbled(_) => FetchError::Malformed { detail, source },
        }
    }

    fn cause(self, error: &(dyn Error + 'static)) -> Cause {
        let mut at = Some(error);
        let mut innermost = error;
        let mut known = None;
        while let Some(error) = at {
            innermost = error;
            at = error.source();
            if let Some(tls) = error.downcast_ref::<rustls::Error>() {
                return self.tls(tls);
            } else if let Some(hyper) = error.downcast_ref::<hyper::Error>() {
                known = http(hyper).or(known);
            } else if let Some(io) = error.downcast_ref::<io::Error>() {
                known = network(io.kind()).or(known);
                // The source of such an error is the source of the one that it wraps.
                at = io.get_ref().map(|inner| inner as &(dyn Error + 'static)).or(at);
            }
        }
        match self.alerts.and_then(Alerts::recent) {
            Some(tls) => self.tls(&tls),
            None => known.unwrap_or_else(|| Cause::Broken(excerpt(&innermost.to_string()))),
        }
    }

    fn tls(self, error: &rustls::Error) -> Cause {
        use AlertDescription as Alert;
        let what = match error {
            rustls::Error::InvalidCertificate(certificate) => server_certificate(certificate),
            rustls::Error::AlertReceived(
                alert @ (Alert::CertificateRequired
                | Alert::NoCertificate
                | Alert::BadCertificate
                | Alert::UnsupportedCertificate
                | Alert::CertificateRevoked
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::UnknownCA
                | Alert::AccessDenied),
            ) => {
                if self.shows_certificate {
                    format!("the server refused our client certificate ({alert:?})")
                } else {
                    format!("the server wants a client certificate, and none is configured ({alert:?})")
                }
            }
            rustls::Error::AlertReceived(alert @ (Alert::InternalError | Alert::UserCanceled)) => {
                return Cause::Broken(format!("the server gave up the TLS handshake ({alert:?})"));
            }
            rustls::Error::AlertReceived(alert) => {
                format!("the server refused the TLS handshake ({alert:?})")
            }
            rustls::Error::InvalidMessage(_) => {
                "the server does not speak TLS; is the URL's scheme right?".to_owned()
            }
            rustls::Error::General(what) => return Cause::Broken(excerpt(what)),
            other => excerpt(&other.to_string()),
        };
        Cause::Tls(what)
    }
}

// === impl ConnectionError ===

impl ConnectionError {
    /// That of `error`, if a connection is what failed.
    pub fn of(error: &FetchError) -> Option<&Self> {
        let (FetchError::Unreachable { source, .. }
        | FetchError::Tls { source, .. }
        | FetchError::Malformed { source, .. }) = error
        else {
            return None;
        };
        source.as_deref()?.downcast_ref()
    }
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for ConnectionError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

// === causes ===

fn server_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer => {
            "the server's certificate is by an authority that is not trusted; is the CA file the right one?"
                .to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the server's certificate has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet; is the clock right?".to_owned()
        }
        CertificateError::NotValidForName => {
            "the server's certificate is for another name; is the server name right?".to_owned()
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let presented = match presented.len() {
                0 => "no name at all".to_owned(),
                _ => presented
                    .iter()
                    .map(|name| plain_name(name))
                    .collect::<Vec<_>>()
                    .join(", "),
            };
            excerpt(&format!(
                "the server's certificate is not for {}, but for {presented}",
                expected.to_str()
            ))
        }
        CertificateError::Revoked => "the server's certificate is revoked".to_owned(),
        other => excerpt(&format!("the server's certificate is not valid: {other}")),
    }
}

/// rustls gives names as `DnsName("…")`.
fn plain_name(name: &str) -> &str {
    name.split('"').nth(1).unwrap_or(name)
}

fn http(error: &hyper::Error) -> Option<Cause> {
    if error.is_incomplete_message() {
        Some(Cause::CutOff)
    } else if error.is_parse() {
        Some(Cause::Garbled(excerpt(&format!(
            "the answer is not HTTP ({error})"
        ))))
    } else if error.is_canceled() || error.is_closed() {
        Some(Cause::Broken("the connection was closed".into()))
    } else {
        None
    }
}

fn network(kind: io::ErrorKind) -> Option<Cause> {
    use io::ErrorKind as Kind;
    let what = match kind {
        Kind::ConnectionRefused => "connection refused",
        Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe => {
            "the connection was reset by the server"
        }
        Kind::TimedOut => "connecting took too long",
        Kind::UnexpectedEof => return Some(Cause::CutOff),
        Kind::HostUnreachable => "the host is unreachable",
        Kind::NetworkUnreachable => "the network is unreachable",
        _ => return None,
    };
    Some(Cause::Broken(what.into()))
}
