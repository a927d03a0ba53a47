//! What a client asked, as it came.

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// A request as the server saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request {
    /// The method.
    pub method: String,
    /// Path and query, as in the request line.
    pub target: String,
    /// Request line and headers, byte for byte up to the empty line.
    pub head: String,
    /// The body, decoded if it came in chunks.
    pub body: Vec<u8>,
    /// Number of the connection that it came on, from 1.
    pub connection: u64,
    /// The DER of the client's certificate, if it showed one.
    pub client_certificate: Option<Vec<u8>>,
}

// === impl Request ===

impl Request {
    /// The first header with this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (this, value) = line.split_once(':')?;
            this.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The body as text.
    pub fn body_text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Reads one request from the connection; `None` when the client has left or does not speak HTTP.
    /// `buffer` holds what came beyond the last request.
    pub(super) async fn read(io: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> Option<Self> {
        let end = read_until(io, buffer, b"\r\n\r\n", 0).await?;
        let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
        buffer.drain(..end + 4);
        let mut words = head.split_whitespace();
        let mut request = Self {
            method: words.next()?.to_owned(),
            target: words.next()?.to_owned(),
            head,
            ..Self::default()
        };
        if request
            .header("transfer-encoding")
            .is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
        {
            loop {
                let end = read_until(io, buffer, b"\r\n", 0).await?;
                let line = String::from_utf8_lossy(&buffer[..end]).into_owned();
                let length = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
                buffer.drain(..end + 2);
                request.body.extend(take(io, buffer, length).await?);
                take(io, buffer, 2).await?;
                if length == 0 {
                    break;
                }
            }
        } else if let Some(length) = request.header("content-length") {
            let length = length.parse().ok()?;
            request.body = take(io, buffer, length).await?;
        }
        Some(request)
    }

    /// Whether the connection stays open after the answer, as far as the client is concerned.
    pub(super) fn keeps_alive(&self) -> bool {
        let http_1_0 = self
            .head
            .lines()
            .next()
            .is_some_and(|line| line.ends_with("HTTP/1.0"));
        !http_1_0
            && !self
                .header("connection")
                .is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

// === helpers ===

async fn read_until(
    io: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
    mark: &[u8],
    mut from: usize,
) -> Option<usize> {
    loop {
        if let Some(at) = buffer[from..].windows(mark.len()).position(|some| some == mark) {
            return Some(from + at);
        }
        from = buffer.len().saturating_sub(mark.len() - 1);
        read_more(io, buffer).await?;
    }
}

async fn take(io: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>, length: usize) -> Option<Vec<u8>> {
    while buffer.len() < length {
        read_more(io, buffer).await?;
    }
    Some(buffer.drain(..length).collect())
}

/// Reads something into the buffer; `None` when the client has left.
pub(super) async fn read_more(io: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> Option<()> {
    matches!(io.read_buf(buffer).await, Ok(1..)).then_some(())
}
