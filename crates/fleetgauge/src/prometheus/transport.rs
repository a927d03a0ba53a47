//! One request, one response: connections that are reused, and words for those that fail.

use std::time::Duration;

use bytes::Bytes;
use fleetgauge_core::backend::FetchError;
use fleetgauge_core::time::Clock;
use http::header::PROXY_AUTHORIZATION;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::config::PrometheusSourceConfig;
use crate::client::alert::{Alerts, Noting};
use crate::client::cause::Connection;
use crate::client::connector::{Connector, Dialer, Versions};
use crate::client::endpoint::Origin;
use crate::client::{ConfigError, ProxyConfig};

/// How long a connection that nobody uses is kept: longer than the usual interval between two refreshes,
/// shorter than the time after which load balancers drop connections.
const IDLE: Duration = Duration::from_secs(90);

/// The pool of connections. It holds as many as queries run at once.
pub(super) struct Transport {
    client: Client<Noting<HttpsConnector<Dialer>>, Full<Bytes>>,
    alerts: Alerts,
    shows_certificate: bool,
    proxy: ProxyConfig,
}

// === impl Transport ===

impl Transport {
    /// *Errors*: [`ConfigError`] if the settings of TLS are not usable.
    pub(super) fn new(
        config: &PrometheusSourceConfig,
        origin: &Origin,
        clock: &Clock,
    ) -> Result<Self, ConfigError> {
        let (is_https, timeout) = (origin.is_https(), config.connect_timeout);
        let connector = Connector::new(
            &config.tls,
            &config.proxy,
            is_https,
            Versions::All,
            timeout,
            clock,
        )?;
        let shows_certificate = connector.shows_certificate;
        let alerts = Alerts::default();
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            // A query that gives up closes its connection, but over HTTP/2 it only leaves it: a peer that is
            // silently gone would hold up one refresh after the other. While a query waits, the peer is asked
            // whether it lives.
            .http2_keep_alive_interval(Duration::from_secs(5))
            .http2_keep_alive_timeout(Duration::from_secs(3))
            .build(connector.noting(&alerts));
        Ok(Self {
            client,
            alerts,
            shows_certificate,
            proxy: connector.proxy,
        })
    }

    /// Sends `request` to `origin` and waits for the head of the response.
    ///
    /// *Errors*: [`FetchError::Unreachable`], [`FetchError::Tls`], and [`FetchError::Malformed`] if what
    /// answers does not speak HTTP.
    pub(super) async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
        origin: &Origin,
    ) -> Result<Response<Incoming>, FetchError> {
        // A tunnel is asked for with the same header by the connector.
        if !origin.is_https()
            && let Some(auth) = self.proxy.to_origin(origin).and_then(|through| through.auth)
        {
            request.headers_mut().insert(PROXY_AUTHORIZATION, auth);
        }
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

    pub(super) fn proxy(&self) -> &ProxyConfig {
        &self.proxy
    }

    /// What is known of the connection that a failure is to be told of.
    pub(super) fn connection<'a>(&'a self, origin: &'a Origin) -> Connection<'a> {
        Connection {
            origin,
            alerts: origin.is_https().then_some(&self.alerts),
            shows_certificate: self.shows_certificate,
            proxy: &self.proxy,
        }
    }
}
