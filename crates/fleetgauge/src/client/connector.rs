//! How a connection is made: TCP, TLS where the scheme asks for it, and its errors noted.

use std::time::Duration;

use fleetgauge_core::time::Clock;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;

use super::alert::{Alerts, Noting};
use super::config::{ConfigError, TlsConfig};
use super::tls;

/// Makes the connections of one client. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Connector {
    https: HttpsConnector<HttpConnector>,
    /// Whether a certificate of our own is shown.
    pub(crate) shows_certificate: bool,
}

/// Which versions of HTTP are offered to a TLS server.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Versions {
    Http1,
    All,
}

// === impl Connector ===

impl Connector {
    /// `needs_tls` says that there will be connections by TLS: then it is an error to trust nobody.
    ///
    /// *Errors*: [`ConfigError`] if the settings of TLS are not usable.
    pub(crate) fn new(
        tls: &TlsConfig,
        needs_tls: bool,
        versions: Versions,
        connect_timeout: Duration,
        clock: &Clock,
    ) -> Result<Self, ConfigError> {
        let config = tls::client_config(tls, needs_tls, clock)?;
        let shows_certificate = config.client_auth_cert_resolver.has_certs();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(connect_timeout));
        tcp.set_keepalive(Some(Duration::from_secs(30)));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http();
        let connector = match &tls.server_name {
            Some(name) => {
                connector.with_server_name_resolver(FixedServerNameResolver::new(tls::server_name(name)?))
            }
            None => connector,
        };
        let https = match versions {
            Versions::Http1 => connector.enable_http1().wrap_connector(tcp),
            Versions::All => connector.enable_all_versions().wrap_connector(tcp),
        };
        Ok(Self {
            https,
            shows_certificate,
        })
    }

    /// The connector whose connections note their errors in `alerts`.
    pub(crate) fn noting(&self, alerts: &Alerts) -> Noting<HttpsConnector<HttpConnector>> {
        Noting {
            connector: self.https.clone(),
            alerts: alerts.clone(),
        }
    }
}
