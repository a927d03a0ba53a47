//! One request, and what its outcome means for the samples in it.

use std::time::Duration;

use bytes::Bytes;
use fleetgauge_core::backend::FetchError;
use fleetgauge_core::printable::ExcerptBytes;
use fleetgauge_core::time::Clock;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::Full;

use super::super::backend::{authorized, headers};
use super::super::config::PrometheusSourceConfig;
use super::super::endpoint::Base;
use super::super::failure::refused;
use super::super::transport::Transport;
use super::protobuf_message::ProtobufMessage;
use crate::client::credentials::Credentials;
use crate::client::endpoint::{Endpoint, Origin};
use crate::client::failure::found_refusal;
use crate::client::{Auth, ConfigError, body};

/// How many samples a server has written of a request, which one that takes 2.0 says: numbers, and histograms.
const WRITTEN: [&str; 2] = [
    "x-prometheus-remote-write-samples-written",
    "x-prometheus-remote-write-histograms-written",
];

/// What a Prometheus says that takes no native histograms.
const NO_HISTOGRAMS: &str = "native histograms are disabled";

pub(super) struct Sender {
    message: ProtobufMessage,
    endpoint: Endpoint,
    query: Option<String>,
    transport: Transport,
    credentials: Credentials,
    headers: HeaderMap,
    timeout: Duration,
}

/// How many samples a request has.
#[derive(Clone, Copy)]
pub(super) struct Sent {
    pub(super) numbers: u64,
    pub(super) histograms: u64,
}

/// What a server says that it has written of a request.
pub(super) enum Written {
    /// Nothing is said, as by 1.0, where all of a request is taken or refused.
    Unsaid,
    Samples(u64),
    /// What cannot be, in words.
    Doubtful(String),
}

/// Why a request was not taken.
pub(super) enum Failure {
    /// It would be refused again; of its samples some may be written nevertheless.
    Refused { error: FetchError, written: Written },
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
    pub(super) fn new(
        config: &PrometheusSourceConfig,
        message: ProtobufMessage,
    ) -> Result<Self, ConfigError> {
        config.check_bounds()?;
        let clock = Clock::system();
        let base = Base::parse(&config.url)?;
        let auth = authorized(config, base.user)?;
        let mut headers = headers(config, auth != Auth::None)?;
        headers.remove(ACCEPT);
        // As it was before there was another one: servers of 1.0 know no more.
        let (content_type, version) = match message {
            ProtobufMessage::V1 => ("application/x-protobuf", "0.1.0"),
            ProtobufMessage::V2 => (
                "application/x-protobuf;proto=io.prometheus.write.v2.Request",
                "2.0.0",
            ),
        };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("snappy"));
        let version = HeaderValue::from_static(version);
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
            message,
            endpoint,
        })
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.endpoint.origin
    }

    /// Sends a request with these samples. Gives how many of them were written.
    pub(super) async fn send(&self, body: Bytes, sent: Sent) -> Result<Written, Failure> {
        let uri = self
            .endpoint
            .uri(self.query.as_deref())
            .map_err(|error| Failure::Refused {
                error: FetchError::Rejected {
                    kind: "bad_url".into(),
                    message: error.to_string(),
                },
                written: Written::Unsaid,
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
        let written = match self.message {
            // By 1.0 nothing of it is said that could be trusted.
            ProtobufMessage::V1 => Written::Unsaid,
            ProtobufMessage::V2 => sent.written(&headers),
        };
        if status.is_success() {
            return match (self.message, written) {
                // One that knows 1.0 alone, and does not look at what it is sent, sees an empty request.
                (ProtobufMessage::V2, Written::Unsaid) => {
                    let detail = format!(
                        "the answer {} does not say how much was written, as one of remote write 2.0 does: where the server \
                         knows 1.0 alone, it has taken nothing, and {}",
                        status.as_u16(),
                        self.set_other()
                    );
                    Err(again(FetchError::Malformed { detail, source: None }, true))
                }
                (_, written) => Ok(written),
            };
        }
        let error = self.refusal(status, &headers, &body);
        match status.as_u16() {
            // A Prometheus 3.5 that is told not to accept it says so, and writes it nevertheless.
            415 => {
                let message = format!(
                    "the server does not take {} (415): {}; {error}",
                    self.message.as_str(),
                    self.set_other()
                );
                let kind = "http_415".into();
                Err(again(FetchError::Rejected { kind, message }, true))
            }
            // These are about who asks, where and when, which may be set right; the others are about the samples.
            401 | 403 | 404 | 405 | 407 | 408 | 429 => {
                if status.as_u16() == 401 {
                    self.credentials.renewed(auth.as_deref());
                }
                Err(again(error, false))
            }
            400..500 => Err(Failure::Refused { error, written }),
            // Redirects too: they say that the URL is not right.
            500.. => Err(again(error, true)),
            _ => Err(again(error, false)),
        }
    }

    /// What a server says that takes nothing, with what it may lack to take it.
    fn refusal(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> FetchError {
        let path = self.endpoint.path.path();
        let mut error = refused(status, headers, body, path);
        match &mut error {
            // It may say by which flag there is something.
            FetchError::Rejected { message, .. } if status == StatusCode::NOT_FOUND => {
                let found = found_refusal(headers, body);
                *message = format!("nothing takes samples at {path} (404): {found}");
            }
            FetchError::Unavailable { message, .. } if message.contains(NO_HISTOGRAMS) => {
                message.push_str("; where it is a Prometheus, it wants `--enable-feature=native-histograms`");
            }
            _ => {}
        }
        error
    }

    /// What is to be set where the server does not know the message.
    fn set_other(&self) -> String {
        let other = match self.message {
            ProtobufMessage::V1 => ProtobufMessage::V2,
            ProtobufMessage::V2 => ProtobufMessage::V1,
        };
        format!("set `protobuf_message: {}`", other.as_str())
    }
}

// === impl Sent ===

impl Sent {
    /// How many of these the server says that it has written: what it does not name is none. It cannot be more than was sent of a
    /// kind, nor be said twice.
    fn written(self, headers: &HeaderMap) -> Written {
        let (mut total, mut said, mut is_doubtful) = (0, Vec::new(), false);
        for (name, sent) in WRITTEN.into_iter().zip([self.numbers, self.histograms]) {
            for (at, value) in headers.get_all(name).iter().take(2).enumerate() {
                let count = value.to_str().ok().and_then(|text| text.trim().parse().ok());
                let count = count.filter(|count| at == 0 && *count <= sent);
                is_doubtful |= count.is_none();
                total += count.unwrap_or(0);
                said.push(format!("{name}: {}", ExcerptBytes(value.as_bytes(), 40)));
            }
        }
        match said.is_empty() {
            true => Written::Unsaid,
            false if is_doubtful => Written::Doubtful(format!(
                "it says {}, of {} numbers and {} histograms that it was sent",
                said.join(", "),
                self.numbers,
                self.histograms
            )),
            false => Written::Samples(total),
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
