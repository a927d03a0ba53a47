//! The body of a response, decompressed and bounded while it is read.

use std::io::{self, Write};
use std::time::Duration;

use flate2::write::MultiGzDecoder;
use fleetgauge_core::backend::FetchError;
use http::Response;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::super::failure::excerpt;
use super::cause::Connection;

/// Error messages need no more.
const ERROR_BYTES: usize = 16 << 10;

/// How long the body of an error is waited for.
const ERROR_PATIENCE: Duration = Duration::from_secs(1);

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
pub(in super::super) async fn read(
    response: Response<Incoming>,
    limit: usize,
    connection: Connection<'_>,
) -> Result<Vec<u8>, FetchError> {
    let too_large = FetchError::TooLarge {
        limit: limit as u64,
        unit: "bytes",
    };
    let announced = response.headers().get(CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large);
    }
    let mut sink = Sink::new(&response, limit, announced.unwrap_or(0))?;
    let mut body = response.into_body();
    let garbled = |error: io::Error| FetchError::Malformed {
        detail: format!("the compressed answer is broken: {}", excerpt(&error.to_string())),
        source: Some(std::sync::Arc::new(error)),
    };
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| connection.failed(error))?;
        let Some(data) = frame.data_ref() else { continue };
        if let Err(error) = sink.write(data) {
            return Err(if sink.bounded().exceeded {
                too_large
            } else {
                garbled(error)
            });
        }
    }
    match sink.finish() {
        Ok(bounded) => Ok(bounded.bytes),
        Err((true, _)) => Err(too_large),
        Err((false, error)) => Err(garbled(error)),
    }
}

/// As much of the body of an error as can be had. It is read to its end where that is near, so that the
/// connection can be used again.
pub(in super::super) async fn read_error(response: Response<Incoming>) -> Vec<u8> {
    let Ok(mut sink) = Sink::new(&response, ERROR_BYTES, 0) else {
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
    fn new(response: &Response<Incoming>, limit: usize, announced: usize) -> Result<Self, FetchError> {
        let bounded = Bounded {
            bytes: Vec::with_capacity(announced.min(limit)),
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
