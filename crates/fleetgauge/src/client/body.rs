//! The body of a response, decompressed and bounded while it is read.

use std::io::{self, Write};
use std::time::Duration;

use flate2::write::MultiGzDecoder;
use fleetgauge_core::backend::FetchError;
use http::Response;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::cause::Connection;
use super::failure::excerpt;

/// Error messages need no more.
const ERROR_BYTES: usize = 16 << 10;

/// Of what is announced, this much is made room for at once; the rest when it comes.
const TRUSTED_BYTES: usize = 4 << 20;

/// How gzip begins, with the one method of compression that there is.
///
/// Source: <https://www.rfc-editor.org/rfc/rfc1952#section-2.3.1>.
const GZIP_MAGIC: [u8; 3] = [0x1f, 0x8b, 8];

/// How long the body of an error is waited for.
const ERROR_PATIENCE: Duration = Duration::from_secs(1);

/// Takes a body as it comes, and refuses more of it than allowed.
pub(crate) struct BodySink {
    sink: Sink,
}

/// What a body is read into.
enum Sink {
    Plain(Bounded),
    Gzip(Box<MultiGzDecoder<Bounded>>),
}

struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
    exceeded: bool,
}

/// The whole body.
///
/// *Errors*: [`FetchError::TooLarge`] as soon as more than `limit` bytes have come out of the decompression,
/// or are announced; [`FetchError::Malformed`] if it cannot be decompressed; and what a broken connection
/// gives.
pub(crate) async fn read(
    response: Response<Incoming>,
    limit: usize,
    connection: Connection<'_>,
) -> Result<Vec<u8>, FetchError> {
    let mut sink = BodySink::new(&response, limit, Vec::new())?;
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| connection.failed(error))?;
        let Some(data) = frame.data_ref() else { continue };
        sink.write(data)?;
    }
    sink.finish()
}

// === impl BodySink ===

impl BodySink {
    /// For the body of `response`, to be held in `buffer`, whose contents go.
    ///
    /// *Errors*: [`FetchError::TooLarge`] if it is announced to be, [`FetchError::Malformed`] if it is
    /// compressed in a way that was not asked for.
    pub(crate) fn new(
        response: &Response<Incoming>,
        limit: usize,
        mut buffer: Vec<u8>,
    ) -> Result<Self, FetchError> {
        let announced = announced(response);
        if announced.is_some_and(|length| length > limit) {
            return Err(too_large(limit));
        }
        buffer.clear();
        buffer.reserve(announced.unwrap_or(0).min(TRUSTED_BYTES));
        let sink = Sink::new(response, limit, buffer)?;
        Ok(Self { sink })
    }

    /// *Errors*: as [`read`].
    pub(crate) fn write(&mut self, data: &[u8]) -> Result<(), FetchError> {
        let written = self.sink.write(data);
        written.map_err(|error| match self.sink.bounded() {
            Bounded {
                exceeded: true,
                limit,
                ..
            } => too_large(*limit),
            _ => garbled(error),
        })
    }

    /// How much has come out so far. *Unit*: bytes.
    pub(crate) fn len(&self) -> usize {
        self.sink.bounded().bytes.len()
    }

    /// The whole body.
    ///
    /// *Errors*: as [`read`].
    pub(crate) fn finish(self) -> Result<Vec<u8>, FetchError> {
        let limit = self.sink.bounded().limit;
        let is_plain = matches!(self.sink, Sink::Plain(_));
        match self.sink.finish() {
            // Neither JSON nor an exposition begins so.
            Ok(bounded) if is_plain && bounded.bytes.starts_with(&GZIP_MAGIC) => Err(FetchError::Malformed {
                detail: "the body is gzip, but no header Content-Encoding says so".into(),
                source: None,
            }),
            Ok(bounded) => Ok(bounded.bytes),
            Err((true, _)) => Err(too_large(limit)),
            Err((false, error)) => Err(garbled(error)),
        }
    }
}

/// How long the response says its body is, as it comes. *Unit*: bytes.
pub(crate) fn announced(response: &Response<Incoming>) -> Option<usize> {
    let length = response.headers().get(CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

fn too_large(limit: usize) -> FetchError {
    FetchError::TooLarge {
        limit: limit as u64,
        unit: "bytes",
    }
}

fn garbled(error: io::Error) -> FetchError {
    FetchError::Malformed {
        detail: format!("the compressed answer is broken: {}", excerpt(&error.to_string())),
        source: Some(std::sync::Arc::new(error)),
    }
}

/// As much of the body of an error as can be had. It is read to its end where that is near, so that the
/// connection can be used again.
pub(crate) async fn read_error(response: Response<Incoming>) -> Vec<u8> {
    let Ok(mut sink) = Sink::new(&response, ERROR_BYTES, Vec::new()) else {
        return Vec::new();
    };
    let mut body = response.into_body();
    let read = async {
        while let Some(Ok(frame)) = body.frame().await {
            if frame.data_ref().is_some_and(|data| sink.write(data).is_err()) {
                break;
            }
        }
    };
    // The status is the message; a body that keeps one waiting must not turn it into a timeout.
    let _ = tokio::time::timeout(ERROR_PATIENCE, read).await;
    match &mut sink {
        Sink::Plain(_) => {}
        Sink::Gzip(gzip) => drop(gzip.flush()),
    }
    std::mem::take(&mut sink.bounded_mut().bytes)
}

// === impl Sink ===

impl Sink {
    fn new(response: &Response<Incoming>, limit: usize, bytes: Vec<u8>) -> Result<Self, FetchError> {
        let bounded = Bounded {
            bytes,
            limit,
            exceeded: false,
        };
        let encoding = response.headers().get(CONTENT_ENCODING);
        let encoding = encoding.map(|e| e.as_bytes().trim_ascii().to_ascii_lowercase());
        match encoding.as_deref() {
            None | Some(b"" | b"identity") => Ok(Self::Plain(bounded)),
            Some(b"gzip" | b"x-gzip") => Ok(Self::Gzip(Box::new(MultiGzDecoder::new(bounded)))),
            Some(other) => Err(FetchError::Malformed {
                detail: format!(
                    "the answer is compressed as {:?}, which was not asked for",
                    excerpt(&String::from_utf8_lossy(other))
                ),
                source: None,
            }),
        }
    }

    fn write(&mut self, data: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(bounded) => bounded.write_all(data),
            Self::Gzip(gzip) => gzip.write_all(data),
        }
    }

    fn finish(self) -> Result<Bounded, (bool, io::Error)> {
        match self {
            Self::Plain(bounded) => Ok(bounded),
            Self::Gzip(mut gzip) => match gzip.try_finish() {
                Ok(()) => gzip.finish().map_err(|error| (false, error)),
                Err(error) => Err((gzip.get_ref().exceeded, error)),
            },
        }
    }

    fn bounded(&self) -> &Bounded {
        match self {
            Self::Plain(bounded) => bounded,
            Self::Gzip(gzip) => gzip.get_ref(),
        }
    }

    fn bounded_mut(&mut self) -> &mut Bounded {
        match self {
            Self::Plain(bounded) => bounded,
            Self::Gzip(gzip) => gzip.get_mut(),
        }
    }
}

// === impl Bounded ===

impl Write for Bounded {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let room = self.limit - self.bytes.len();
        let taken = data.len().min(room);
        self.bytes.extend_from_slice(&data[..taken]);
        if taken < data.len() {
            self.exceeded = true;
            return Err(io::Error::other("too large"));
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
