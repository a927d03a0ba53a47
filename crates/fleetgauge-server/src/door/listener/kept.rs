//! Answers that are kept until their reader has taken them.
//!
//! They are given to the connection in pieces, of which each knows when the connection lets it go: when it is written, or, of
//! HTTP/2, sent within the reader's window. So it shows which reader takes nothing, by all versions of HTTP and under TLS.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use axum::response::Response;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::connections::{Answering, Connection, Handed, Kept};

/// How long a piece is at most. *Unit*: bytes.
const PIECE: usize = 64 << 10;

/// Marks a response whose bytes are counted by a layer within.
#[derive(Clone, Copy)]
struct IsCounted;

/// The body of an answer.
struct KeptBody {
    inner: Body,
    connection: Connection,
    /// What is counted of all of it, where its length is known.
    whole: Option<Arc<Kept>>,
    /// Whether a layer within counts it.
    is_counted: bool,
    /// What is left of a frame, and what is counted of that.
    rest: Bytes,
    of_rest: Option<Arc<Kept>>,
    _answering: Option<Answering>,
}

/// A piece, until the connection lets it go.
struct Piece {
    bytes: Bytes,
    _handed: Handed,
    _kept: Option<Arc<Kept>>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// `response`, whose bytes are counted as kept by `connection`; `answering` ends with its body.
pub(super) fn keep(response: Response, connection: Connection, answering: Option<Answering>) -> Response {
    let (mut parts, inner) = response.into_parts();
    let length = inner.size_hint().exact();
    // One that is compressed without is another one than that within.
    let is_counted = parts.extensions.insert(IsCounted).is_some() && length.is_some();
    let length = length.and_then(|length| usize::try_from(length).ok());
    let whole = length.filter(|length| *length > 0 && !is_counted);
    let body = KeptBody {
        inner,
        whole: whole.map(|length| Arc::new(connection.keep(length))),
        is_counted,
        connection,
        rest: Bytes::new(),
        of_rest: None,
        _answering: answering,
    };
    Response::from_parts(parts, Body::new(body))
}

impl HttpBody for KeptBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            self.of_rest = self.whole.clone();
            let frame = match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                end => return Poll::Ready(end),
            };
            match frame.into_data() {
                Ok(data) if !data.is_empty() => {
                    if self.of_rest.is_none() && !self.is_counted {
                        self.of_rest = Some(Arc::new(self.connection.keep(data.len())));
                    }
                    self.rest = data;
                }
                Ok(empty) => return Poll::Ready(Some(Ok(Frame::data(empty)))),
                Err(frame) => return Poll::Ready(Some(Ok(frame))),
            }
        }
        let length = self.rest.len().min(PIECE);
        let piece = Piece {
            bytes: self.rest.split_to(length),
            _handed: self.connection.hand(),
            _kept: self.of_rest.clone(),
        };
        if self.rest.is_empty() {
            self.of_rest = None;
        }
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_owner(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let inner = self.inner.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(rest));
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}
