//! What a script says for one request.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};

use super::body::{PREFIX, SUFFIX, Stream, gzip};
use super::{Gate, Request};

/// The behaviour for one request. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Answer {
    pub(super) act: Act,
    pub(super) gate: Option<Gate>,
    pub(super) delay: Option<Duration>,
}

#[derive(Clone)]
pub(super) enum Act {
    Respond(Response),
    /// Exactly these bytes, then the end of the connection.
    Raw(Arc<[u8]>),
    Reset,
    ResetOnAccept,
    Close,
    Hang,
    Choose(Arc<dyn Fn(&Request) -> Answer + Send + Sync>),
}

#[derive(Clone, Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Body,
    pub(super) framing: Framing,
}

#[derive(Clone, Debug)]
pub(super) enum Body {
    Whole(Arc<[u8]>),
    Stream(Stream),
    /// Byte by byte with a pause between; then, if endless, blanks until the client leaves.
    Drip {
        bytes: Arc<[u8]>,
        pause: Duration,
        endless: bool,
    },
}

/// How the end of the body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length,
    Chunked,
    /// `Content-Length` promises this many bytes too many.
    LengthBeyond(usize),
    /// The last chunk is announced longer than it is, and nothing follows.
    ChunkCut,
}

// === impl Answer ===

/// Proper answers.
impl Answer {
    /// Status, headers and body, as given. `Content-Length` is added.
    pub fn respond(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Self {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let body = Body::Whole(body.as_ref().into());
        Act::Respond(Response {
            status,
            headers,
            body,
            framing: Framing::Length,
        })
        .into()
    }

    /// 200 with a JSON body.
    pub fn json(body: impl AsRef<[u8]>) -> Self {
        Self::respond(200, &[("Content-Type", "application/json")], body)
    }

    /// 200 with `text/plain` in the exposition format.
    pub fn text(body: impl AsRef<[u8]>) -> Self {
        Self::respond(
            200,
            &[("Content-Type", "text/plain; version=0.0.4; charset=utf-8")],
            body,
        )
    }

    /// A successful instant query: each series' labels and value, all at `time` (Unix seconds).
    pub fn vector(time: f64, series: &[(&[(&str, &str)], f64)]) -> Self {
        let sample = |(labels, value): &(&[(&str, &str)], f64)| {
            let metric: Map<_, _> = labels
                .iter()
                .map(|(name, value)| ((*name).to_owned(), Value::from(*value)))
                .collect();
            json!({ "metric": metric, "value": [time, prometheus_number(*value)] })
        };
        let result: Vec<_> = series.iter().map(sample).collect();
        let data = json!({ "resultType": "vector", "result": result });
        Self::json(json!({ "status": "success", "data": data }).to_string())
    }

    /// The body, where it is sent as it is and at once.
    pub fn body(&self) -> Option<&[u8]> {
        match &self.act {
            Act::Respond(Response {
                body: Body::Whole(bytes),
                ..
            }) => Some(bytes),
            _ => None,
        }
    }
}

/// Refusals.
impl Answer {
    /// An error status with the body of a proxy (`text/plain`), not of Prometheus.
    pub fn status(status: u16) -> Self {
        Self::respond(
            status,
            &[("Content-Type", "text/plain")],
            format!("status {status}\n"),
        )
    }

    /// An error as Prometheus says it, such as `prometheus_error(400, "bad_data", "parse error")`.
    pub fn prometheus_error(status: u16, error_type: &str, message: &str) -> Self {
        let body = json!({ "status": "error", "errorType": error_type, "error": message });
        Self::respond(status, &[("Content-Type", "application/json")], body.to_string())
    }

    /// `{"status":"error"}` inside a 200.
    pub fn error_in_200() -> Self {
        Self::prometheus_error(200, "execution", "query processing would load too many samples")
    }

    /// A page of a login proxy: 200 with `text/html`.
    pub fn html_page() -> Self {
        Self::respond(
            200,
            &[("Content-Type", "text/html; charset=utf-8")],
            "<!doctype html><title>Sign in</title>",
        )
    }

    /// A redirect to `location`, which is a path of the same host or a URL of any.
    pub fn redirect(status: u16, location: &str) -> Self {
        Self::respond(status, &[("Location", location)], "")
    }

    /// Redirects every request to where it came from.
    pub fn redirect_loop() -> Self {
        Self::choose(|request| Self::redirect(307, &request.target))
    }
}

/// Broken answers.
impl Answer {
    /// Reads the request and resets the connection (RST).
    pub fn reset() -> Self {
        Act::Reset.into()
    }

    /// Resets a new connection before anything is read. On a connection that is already open it is as
    /// [`Answer::reset`]. The connection counts as one; no request is seen.
    pub fn reset_on_accept() -> Self {
        Act::ResetOnAccept.into()
    }

    /// Reads the request and closes the connection without a word.
    pub fn close() -> Self {
        Act::Close.into()
    }

    /// Reads the request and says nothing until the client leaves.
    pub fn hang() -> Self {
        Act::Hang.into()
    }

    /// A JSON body, byte by byte with a pause after each.
    pub fn drip(body: impl AsRef<[u8]>, pause: Duration) -> Self {
        Self::drip_body(body.as_ref().into(), pause, false)
    }

    /// The beginning of a good answer and then blanks, byte by byte, until the client leaves.
    pub fn drip_forever(pause: Duration) -> Self {
        Self::drip_body(PREFIX.as_bytes().into(), pause, true)
    }

    fn drip_body(bytes: Arc<[u8]>, pause: Duration, endless: bool) -> Self {
        Self::json("").with_body(
            Body::Drip {
                bytes,
                pause,
                endless,
            },
            Framing::Chunked,
        )
    }

    /// A JSON body that ends 100 bytes before the `Content-Length`.
    pub fn truncated(body: impl AsRef<[u8]>) -> Self {
        Self::json("").with_body(Body::Whole(body.as_ref().into()), Framing::LengthBeyond(100))
    }

    /// A JSON body that ends in the middle of a chunk.
    pub fn truncated_chunk(body: impl AsRef<[u8]>) -> Self {
        Self::json("").with_body(Body::Whole(body.as_ref().into()), Framing::ChunkCut)
    }

    /// Exactly these bytes, then the end of the connection.
    pub fn raw(bytes: impl AsRef<[u8]>) -> Self {
        Act::Raw(bytes.as_ref().into()).into()
    }

    /// No HTTP at all.
    pub fn malformed_http() -> Self {
        Self::raw("HTP/9.9 whatever\r\nno colon here\r\n\r\n")
    }

    /// 200 with something that begins like an answer and is no JSON.
    pub fn malformed_json() -> Self {
        Self::json(format!("{PREFIX}{{]{SUFFIX}"))
    }

    /// A good answer of at least `total` bytes, in chunks, without buffering. A client without a bound
    /// reads it as an empty vector.
    pub fn oversized(total: usize) -> Self {
        Self::json("").with_body(Body::Stream(Stream::oversized(total)), Framing::Chunked)
    }

    /// As [`Answer::oversized`], announced by `Content-Length`.
    pub fn oversized_announced(total: usize) -> Self {
        Self::json("").with_body(Body::Stream(Stream::oversized(total)), Framing::Length)
    }

    /// A good answer of at least `total` bytes, compressed to a thousandth with gzip.
    pub fn gzip_bomb(total: usize) -> Self {
        let bomb = Body::Stream(Stream::gzip_bomb(total));
        Self::json("")
            .with_body(bomb, Framing::Length)
            .header("Content-Encoding", "gzip")
    }
}

/// Changes to any answer.
impl Answer {
    /// Decides when the request is there.
    pub fn choose(choose: impl Fn(&Request) -> Self + Send + Sync + 'static) -> Self {
        Act::Choose(Arc::new(choose)).into()
    }

    /// Adds a header; no effect on an answer that is no response.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Act::Respond(response) = &mut self.act {
            response.headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// Sets `Content-Type` instead of the one it has; no effect on an answer that is no response.
    #[must_use]
    pub fn content_type(mut self, media: &str) -> Self {
        if let Act::Respond(response) = &mut self.act {
            response
                .headers
                .retain(|(name, _)| !name.eq_ignore_ascii_case("content-type"));
        }
        self.header("Content-Type", media)
    }

    /// Takes a header away; no effect on an answer that is no response.
    #[must_use]
    pub fn without_header(mut self, without: &str) -> Self {
        if let Act::Respond(response) = &mut self.act {
            response
                .headers
                .retain(|(name, _)| !name.eq_ignore_ascii_case(without));
        }
        self
    }

    /// Adds `Retry-After` in seconds.
    #[must_use]
    pub fn retry_after_seconds(self, seconds: u64) -> Self {
        self.header("Retry-After", &seconds.to_string())
    }

    /// Adds `Retry-After` as a date, which has whole seconds.
    #[must_use]
    pub fn retry_after_date(self, at: SystemTime) -> Self {
        self.header("Retry-After", &httpdate::fmt_http_date(at))
    }

    /// Compresses a whole body.
    #[must_use]
    pub fn gzipped(mut self) -> Self {
        if let Act::Respond(Response {
            body: Body::Whole(bytes),
            ..
        }) = &mut self.act
        {
            *bytes = gzip(bytes).into();
        }
        self.header("Content-Encoding", "gzip")
    }

    /// Waits this long before answering: a slow server.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }

    /// Waits at the gate before answering.
    #[must_use]
    pub fn gated(mut self, gate: &Gate) -> Self {
        self.gate = Some(gate.clone());
        self
    }

    fn with_body(mut self, new_body: Body, new_framing: Framing) -> Self {
        if let Act::Respond(Response { body, framing, .. }) = &mut self.act {
            (*body, *framing) = (new_body, new_framing);
        }
        self
    }
}

impl From<Act> for Answer {
    fn from(act: Act) -> Self {
        Self {
            act,
            gate: None,
            delay: None,
        }
    }
}

impl fmt::Debug for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Respond(response) => response.fmt(f),
            Self::Raw(bytes) => write!(f, "Raw({})", bytes.escape_ascii()),
            Self::Reset => f.write_str("Reset"),
            Self::ResetOnAccept => f.write_str("ResetOnAccept"),
            Self::Close => f.write_str("Close"),
            Self::Hang => f.write_str("Hang"),
            Self::Choose(_) => f.write_str("Choose(..)"),
        }
    }
}

fn prometheus_number(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    value.to_string()
}
