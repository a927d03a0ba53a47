//! How a connection is made: TCP, through a proxy where one is set, TLS where the scheme asks for it, and its
//! errors noted.

use std::task::{Context, Poll};
use std::time::Duration;

use fleetgauge_core::time::Clock;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::Uri;
use http::uri::Scheme;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use super::alert::{Alerts, Noting};
use super::config::{ConfigError, TlsConfig};
use super::proxy::ProxyConfig;
use super::tls;

/// Makes the connections of one client. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Connector {
    https: HttpsConnector<Dialer>,
    pub(crate) proxy: ProxyConfig,
    /// Whether a certificate of our own is shown.
    pub(crate) shows_certificate: bool,
}

/// Connects to a host, or to the proxy before it.
#[derive(Clone)]
pub(crate) struct Dialer {
    tcp: HttpConnector,
    proxy: ProxyConfig,
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
        proxy: &ProxyConfig,
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
        let dialer = Dialer {
            tcp,
            proxy: proxy.clone(),
        };
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
            Versions::Http1 => connector.enable_http1().wrap_connector(dialer),
            Versions::All => connector.enable_all_versions().wrap_connector(dialer),
        };
        Ok(Self {
            https,
            proxy: proxy.clone(),
            shows_certificate,
        })
    }

    /// The connector whose connections note their errors in `alerts`.
    pub(crate) fn noting(&self, alerts: &Alerts) -> Noting<HttpsConnector<Dialer>> {
        Noting {
            connector: self.https.clone(),
            alerts: alerts.clone(),
            proxy: self.proxy.clone(),
        }
    }
}

// === impl Dialer ===

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Service<Uri> for Dialer {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, destination: Uri) -> Self::Future {
        match self.proxy.through(&destination) {
            None => self.tcp.call(destination).map(|tcp| Ok(tcp?)).boxed(),
            Some(proxy) if destination.scheme() == Some(&Scheme::HTTPS) => {
                let tunnel = Tunnel::new(proxy.uri, self.tcp.clone());
                let mut tunnel = match proxy.auth {
                    Some(auth) => tunnel.with_auth(auth),
                    None => tunnel,
                };
                tunnel.call(destination).map(|tunnel| Ok(tunnel?)).boxed()
            }
            // The request itself says where it is to go.
            Some(proxy) => self.tcp.call(proxy.uri).map(|tcp| Ok(tcp?)).boxed(),
        }
    }
}
