//! What the door bears of one request and of all: how many at once, for how long, and who may ask at all.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Version};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::body::{Body as HttpBody, Frame};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::{Code, Status};

use crate::door::access::Access;
use crate::door::excess::Excess;

/// How long a request may take to be there. Answers are read from memory, so a client that is slower than this has sent
/// half a request.
const REQUEST_WITHIN: Duration = Duration::from_secs(10);

/// What stays open until somebody ends it; everything else is answered at once.
const STREAMS: [&str; 5] = [
    "/externalscaler.ExternalScaler/StreamIsActive",
    "/externalscaler.ExternalScaler/StreamMetricSpec",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];
/// Who asks whether the door may be asked has no credentials.
const HEALTH: &str = "/grpc.health.v1.Health/";

#[derive(Clone)]
pub(super) struct Bounds(Arc<Inner>);

struct Inner {
    access: Access,
    streams: Arc<Semaphore>,
    requests: Arc<Semaphore>,
    stop: CancellationToken,
}

/// A stream that ends when the door closes, or when its caller no longer waits.
struct Bounded {
    inner: Body,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Comes when the caller may no longer come in.
    revoked: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    deadline: Option<Pin<Box<Sleep>>>,
    over: bool,
    _slot: OwnedSemaphorePermit,
}

// === impl Bounds ===

impl Bounds {
    pub(super) fn new(access: Access, streams: usize, requests: usize, stop: CancellationToken) -> Self {
        Self(Arc::new(Inner {
            access,
            streams: Arc::new(Semaphore::new(streams)),
            requests: Arc::new(Semaphore::new(requests)),
            stop,
        }))
    }

    async fn answer(&self, request: Request, next: Next) -> Result<Response, Status> {
        let Inner {
            access,
            streams,
            requests,
            stop,
        } = &*self.0;
        if let Some(excess) = Excess::of(&request) {
            return Err(Status::resource_exhausted(excess.to_string()));
        }
        let path = request.uri().path();
        let admitted = match path.starts_with(HEALTH) {
            true => None,
            false => {
                let admitted = access.admit(&request);
                Some(admitted.map_err(|error| Status::unauthenticated(error.to_string()))?)
            }
        };
        let is_stream = STREAMS.contains(&path);
        let slots = if is_stream { streams } else { requests };
        // Who had to wait here would wait without end: KEDA sets no deadline.
        let slot = Arc::clone(slots).try_acquire_owned().map_err(|_| {
            let kind = if is_stream { "streams" } else { "requests" };
            Status::resource_exhausted(format!(
                "as many {kind} are open as this door bears: ask again later"
            ))
        })?;
        let now = Instant::now();
        let deadline = deadline(request.headers())?.map(|timeout| now + timeout);
        let there_by = now + REQUEST_WITHIN;
        let until = deadline.map_or(there_by, |deadline| deadline.min(there_by));
        let answered = timeout_at(until, next.run(request)).await;
        let response =
            answered.map_err(|_| Status::deadline_exceeded("the request was not there in time"))?;
        if !is_stream {
            return Ok(response);
        }
        Ok(response.map(|inner| {
            Body::new(Bounded {
                inner,
                stop: Box::pin(stop.clone().cancelled_owned()),
                revoked: admitted.map(|admitted| Box::pin(admitted.over()) as _),
                deadline: deadline.map(|deadline| Box::pin(sleep_until(deadline))),
                over: false,
                _slot: slot,
            })
        }))
    }
}

/// Answers `request` within `bounds`.
pub(super) async fn within(State(bounds): State<Bounds>, request: Request, next: Next) -> Response {
    if request.version() < Version::HTTP_2 {
        // The outcome of a call stands in trailers, which a client of HTTP/1.1 does not read: it would take an error for
        // an empty success.
        let text = "this door speaks gRPC, which needs HTTP/2\n";
        return (StatusCode::HTTP_VERSION_NOT_SUPPORTED, text).into_response();
    }
    let answered = bounds.answer(request, next).await;
    answered.unwrap_or_else(Status::into_http)
}

/// How long the caller waits, where it says so: at most eight digits and a unit.
fn deadline(headers: &HeaderMap) -> Result<Option<Duration>, Status> {
    let Some(given) = headers.get("grpc-timeout") else {
        return Ok(None);
    };
    let read = |given: &HeaderValue| {
        let text = given.to_str().ok()?;
        let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let count: u64 = digits.parse().ok()?;
        Some(match unit {
            "H" => Duration::from_secs(count * 3_600),
            "M" => Duration::from_secs(count * 60),
            "S" => Duration::from_secs(count),
            "m" => Duration::from_millis(count),
            "u" => Duration::from_micros(count),
            "n" => Duration::from_nanos(count),
            _ => return None,
        })
    };
    let wrong =
        "the header `grpc-timeout` is not a timeout: at most eight digits and one of H, M, S, m, u and n";
    read(given)
        .map(Some)
        .ok_or_else(|| Status::invalid_argument(wrong))
}

// === impl Bounded ===

impl Bounded {
    fn end(&mut self, status: Status) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.over = true;
        // What is under way ends now, and not when the connection does.
        self.inner = Body::empty();
        let mut trailers = HeaderMap::new();
        let added = status.add_header(&mut trailers);
        Poll::Ready(Some(
            added
                .map(|()| Frame::trailers(trailers))
                .map_err(axum::Error::new),
        ))
    }
}

impl HttpBody for Bounded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.over {
            return Poll::Ready(None);
        }
        if self.stop.as_mut().poll(context).is_ready() {
            // A good end: after an error KEDA waits longer each time before it opens the stream anew.
            return self.end(Status::new(Code::Ok, ""));
        }
        let revoked = self.revoked.as_mut();
        if revoked.is_some_and(|revoked| revoked.as_mut().poll(context).is_ready()) {
            return self.end(Status::unauthenticated(
                "the token with which it was opened is no longer taken",
            ));
        }
        let deadline = self.deadline.as_mut();
        if deadline.is_some_and(|deadline| deadline.as_mut().poll(context).is_ready()) {
            return self.end(Status::deadline_exceeded("the caller waited until now"));
        }
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        self.over = frame.is_none();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.inner.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_read_or_refused() {
        for (text, expected) in [
            ("1S", Some(Duration::from_secs(1))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3_600))),
            ("20M", Some(Duration::from_secs(1_200))),
            ("250m", Some(Duration::from_millis(250))),
            ("7u", Some(Duration::from_micros(7))),
            ("0n", Some(Duration::ZERO)),
            ("", None),
            ("S", None),
            ("1", None),
            ("+1S", None),
            ("100000000S", None),
            ("1s", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", HeaderValue::from_static(text));
            assert_eq!(deadline(&headers).ok(), expected.map(Some), "{text}");
        }
        assert_eq!(deadline(&HeaderMap::new()).unwrap(), None);
    }
}
