//! One request, one response: connections that are reused, and words for those that fail.

use std::time::Duration;

use bytes::Bytes;
use fleetgauge_core::backend::FetchError;
use fleetgauge_core::time::Clock;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use self::alert::{Alerts, Noting};
use self::cause::Connection;
use super::config::{ConfigError, PrometheusSourceConfig};
use super::endpoint::Origin;
use super::tls;

mod alert;
pub(super) mod body;
mod cause;

/// How long a connection that nobody uses is kept: longer than the usual interval between two refreshes,
/// shorter than the time after which load balancers drop connections.
const IDLE: Duration = Duration::from_secs(90);

/// The pool of connections. It holds as many as queries run at once.
pub(super) struct Transport {
    client: Client<Noting<HttpsConnector<HttpConnector>>, Full<Bytes>>,
    alerts: Alerts,
    shows_certificate: bool,
}

// === impl Transport ===

impl Transport {
    /// *Errors*: [`ConfigError`] if the settings of TLS are not usable.
    pub(super) fn new(
        config: &PrometheusSourceConfig,
        origin: &Origin,
        clock: &Clock,
    ) -> Result<Self, ConfigError> {
        let tls = tls::client_config(&config.tls, origin.is_https(), clock)?;
        let shows_certificate = tls.client_auth_cert_resolver.has_certs();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(config.connect_timeout));
        tcp.set_keepalive(Some(Duration::from_secs(30)));
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
        let connector = match &config.tls.server_name {
            Some(name) => {
                connector.with_server_name_resolver(FixedServerNameResolver::new(tls::server_name(name)?))
            }
            None => connector,
        };
        let alerts = Alerts::default();
        let connector = Noting {
            connector: connector.enable_all_versions().wrap_connector(tcp),
            alerts: alerts.clone(),
        };
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            // A query that gives up closes its connection, but over HTTP/2 it only leaves it: a peer that is
            // silently gone would hold up one refresh after the other. While a query waits, the peer is asked
            // whether it lives.
            .http2_keep_alive_interval(Duration::from_secs(5))
            .http2_keep_alive_timeout(Duration::from_secs(3))
            .build(connector);
        Ok(Self {
            client,
            alerts,
            shows_certificate,
        })
    }

    /// Sends `request` to `origin` and waits for the head of the response.
    ///
    /// *Errors*: [`FetchError::Unreachable`], [`FetchError::Tls`], and [`FetchError::Malformed`] if what
    /// answers does not speak HTTP.
    pub(super) async fn send(
        &self,
        request: Request<Full<Bytes>>,
        origin: &Origin,
    ) -> Result<Response<Incoming>, FetchError> {
        let response = self.client.request(request).await;
        response.map_err(|error| {
            if error.is_connect() {
                let connection = self.connection(origin);
                // What ended another connection does not explain why there is none.
                Connection {
                    alerts: None,
                    ..connection
                }
                .failed(error)
            } else {
                self.connection(origin).failed(error)
            }
        })
    }

    /// What is known of the connection that a failure is to be told of.
    pub(super) fn connection<'a>(&'a self, origin: &'a Origin) -> Connection<'a> {
        Connection {
            origin,
            alerts: origin.is_https().then_some(&self.alerts),
            shows_certificate: self.shows_certificate,
        }
    }
}
