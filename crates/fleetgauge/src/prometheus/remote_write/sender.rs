//! One request, and what its outcome means for the samples in it.

use std::time::Duration;

use bytes::Bytes;
use fleetgauge_core::backend::FetchError;
use fleetgauge_core::time::Clock;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request};
use http_body_util::Full;

use super::super::backend::{authorized, headers};
use super::super::config::PrometheusSourceConfig;
use super::super::endpoint::Base;
use super::super::failure::refused;
use super::super::transport::Transport;
use crate::client::credentials::Credentials;
use crate::client::endpoint::{Endpoint, Origin};
use crate::client::{Auth, ConfigError, body};

pub(super) struct Sender {
    endpoint: Endpoint,
    query: Option<String>,
    transport: Transport,
    credentials: Credentials,
    headers: HeaderMap,
    timeout: Duration,
}

/// Why a request was not taken.
pub(super) enum Failure {
    /// It would be refused again.
    Refused(FetchError),
    /// It may be taken at another time.
    Again {
        error: FetchError,
        after: Duration,
        /// Nobody knows whether it was taken: the connection ended before there was an answer.
        is_taken_maybe: bool,
    },
}

// === impl Sender ===

impl Sender {
    pub(super) fn new(config: &PrometheusSourceConfig) -> Result<Self, ConfigError> {
        config.check_bounds()?;
        let clock = Clock::system();
        let base = Base::parse(&config.url)?;
        let auth = authorized(config, base.user)?;
        let mut headers = headers(config, auth != Auth::None)?;
        headers.remove(ACCEPT);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("snappy"));
        let version = HeaderValue::from_static("0.1.0");
        headers.insert("x-prometheus-remote-write-version", version);
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in &config.query_params {
            query.append_pair(name, value.expose());
        }
        let endpoint = Endpoint {
            origin: base.endpoint.origin,
            path: base.path,
        };
        Ok(Self {
            transport: Transport::new(config, &endpoint.origin, &clock)?,
            credentials: Credentials::new(&auth, &clock)?,
            query: Some(query.finish()).filter(|query| !query.is_empty()),
            headers,
            timeout: config.query_timeout,
            endpoint,
        })
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.endpoint.origin
    }

    pub(super) async fn send(&self, body: Bytes) -> Result<(), Failure> {
        let uri = self.endpoint.uri(self.query.as_deref()).map_err(|error| {
            Failure::Refused(FetchError::Rejected {
                kind: "bad_url".into(),
                message: error.to_string(),
            })
        })?;
        let mut request = Request::new(Full::new(body));
        *request.uri_mut() = uri;
        *request.method_mut() = Method::POST;
        *request.headers_mut() = self.headers.clone();
        let auth = self.credentials.header();
        if let Some(auth) = &auth {
            request.headers_mut().insert(AUTHORIZATION, (**auth).clone());
        }
        let sending = async {
            let response = self.transport.send(request, &self.endpoint.origin).await?;
            let (status, headers) = (response.status(), response.headers().clone());
            Ok((status, headers, body::read_error(response).await))
        };
        let again = |error: FetchError, is_taken_maybe| Failure::Again {
            after: error.retry_after().unwrap_or_default(),
            error,
            is_taken_maybe,
        };
        let (status, headers, body) = match tokio::time::timeout(self.timeout, sending).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(again(error, true)),
            Err(_) => {
                let after = self.timeout;
                return Err(again(FetchError::Timeout { after }, true));
            }
        };
        if status.is_success() {
            return Ok(());
        }
        let error = refused(status, &headers, &body, self.endpoint.path.path());
        match status.as_u16() {
            // These are about who asks, where and when, which may be set right; the others are about the samples.
            401 | 403 | 404 | 405 | 407 | 408 | 429 => {
                if status.as_u16() == 401 {
                    self.credentials.renewed(auth.as_deref());
                }
                Err(again(error, false))
            }
            400..500 => Err(Failure::Refused(error)),
            // Redirects too: they say that the URL is not right.
            500.. => Err(again(error, true)),
            _ => Err(again(error, false)),
        }
    }
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender")
            .field("origin", &self.endpoint.origin.url())
            .finish_non_exhaustive()
    }
}
