//! Plays answers on one connection.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::Request;
use super::answer::{Act, Answer, Body, Framing, Response};
use super::request::read_more;

/// A plain or an encrypted connection.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin + Send {
    fn tcp(&self) -> &TcpStream;
    /// The DER of the client's certificate.
    fn peer_certificate(&self) -> Option<Vec<u8>>;
}

impl Io for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }

    fn peer_certificate(&self) -> Option<Vec<u8>> {
        None
    }
}

impl Io for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }

    fn peer_certificate(&self) -> Option<Vec<u8>> {
        self.get_ref()
            .1
            .peer_certificates()?
            .first()
            .map(|certificate| certificate.to_vec())
    }
}

pub(super) struct Connection {
    pub(super) io: Box<dyn Io>,
    pub(super) buffer: Vec<u8>,
}

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It serves the next request.
    KeptOpen,
    /// The script wanted it to end.
    Closed,
    /// The client left before it had the answer.
    Abandoned,
}

// === impl Connection ===

impl Connection {
    pub(super) async fn play(&mut self, answer: Answer, request: &Request) -> End {
        // A loop, because a choice may lead to a choice.
        let mut answer = answer;
        loop {
            if let Some(gate) = answer.gate.take() {
                tokio::select! {
                    () = gate.wait() => {}
                    () = self.client_leaves() => return End::Abandoned,
                }
            }
            if let Some(delay) = answer.delay.take() {
                tokio::select! {
                    () = tokio::time::sleep(delay) => {}
                    () = self.client_leaves() => return End::Abandoned,
                }
            }
            let Act::Choose(choose) = &answer.act else { break };
            answer = choose(request);
        }
        match answer.act {
            Act::Choose(_) | Act::Close => End::Closed,
            Act::Reset | Act::ResetOnAccept => {
                reset(self.io.tcp());
                End::Closed
            }
            Act::Hang => {
                self.client_leaves().await;
                End::Abandoned
            }
            Act::Raw(bytes) => {
                let sent = self.send(&bytes).await;
                self.finish(sent).await
            }
            Act::Respond(response) => {
                let keep = request.keeps_alive()
                    && matches!(response.framing, Framing::Length | Framing::Chunked)
                    && !(response.framing == Framing::Chunked && is_endless(&response.body));
                let head_only = request.method == "HEAD";
                let sent = self.respond(&response, keep, head_only).await;
                if keep && sent.is_ok() {
                    return End::KeptOpen;
                }
                self.finish(sent).await
            }
        }
    }

    /// Ends when the client closes its side; what it sends meanwhile is kept for the next request.
    async fn client_leaves(&mut self) {
        while read_more(&mut self.io, &mut self.buffer).await.is_some() {}
    }

    async fn finish(&mut self, sent: io::Result<()>) -> End {
        if sent.is_err() {
            return End::Abandoned;
        }
        let _ = self.io.shutdown().await;
        End::Closed
    }

    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.io.write_all(bytes).await?;
        self.io.flush().await
    }

    async fn respond(&mut self, response: &Response, keep: bool, head_only: bool) -> io::Result<()> {
        let Response {
            status,
            headers,
            body,
            framing,
        } = response;
        let mut head = format!("HTTP/1.1 {status} {}\r\n", reason(*status));
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let length = match body {
            Body::Whole(bytes) | Body::Drip { bytes, .. } => bytes.len(),
            Body::Stream(stream) => stream.len(),
        };
        head.push_str(&match framing {
            Framing::Length => format!("Content-Length: {length}\r\n"),
            Framing::LengthBeyond(more) => format!("Content-Length: {}\r\n", length + more),
            Framing::Chunked | Framing::ChunkCut => "Transfer-Encoding: chunked\r\n".to_owned(),
        });
        head.push_str(if keep { "\r\n" } else { "Connection: close\r\n\r\n" });
        if head_only {
            return self.send(head.as_bytes()).await;
        }
        match body {
            // In one write, so that what was to be sent is sent before a connection ends.
            Body::Whole(bytes) => {
                let mut all = head.into_bytes();
                frame(&mut all, bytes, *framing);
                if *framing == Framing::Chunked {
                    all.extend(b"0\r\n\r\n");
                }
                self.send(&all).await
            }
            Body::Stream(stream) => {
                self.send(head.as_bytes()).await?;
                for (bytes, times) in &stream.parts {
                    let mut framed = Vec::new();
                    frame(&mut framed, bytes, *framing);
                    for _ in 0..*times {
                        self.io.write_all(&framed).await?;
                    }
                }
                self.send(if *framing == Framing::Chunked {
                    b"0\r\n\r\n"
                } else {
                    b""
                })
                .await
            }
            Body::Drip {
                bytes,
                pause,
                endless,
            } => {
                self.send(head.as_bytes()).await?;
                for byte in bytes.iter() {
                    self.drop_one(*byte, *pause).await?;
                }
                if *endless {
                    loop {
                        self.drop_one(b' ', *pause).await?;
                    }
                }
                self.send(b"0\r\n\r\n").await
            }
        }
    }

    async fn drop_one(&mut self, byte: u8, pause: Duration) -> io::Result<()> {
        self.send(&[b'1', b'\r', b'\n', byte, b'\r', b'\n']).await?;
        tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            () = self.client_leaves() => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

/// Makes closing the socket send RST instead of FIN.
pub(super) fn reset(tcp: &TcpStream) {
    let _ = tcp.set_zero_linger();
}

fn frame(out: &mut Vec<u8>, bytes: &[u8], framing: Framing) {
    let cut = if framing == Framing::ChunkCut { 100 } else { 0 };
    let chunked = matches!(framing, Framing::Chunked | Framing::ChunkCut);
    // An empty chunk would be the last one.
    if chunked && bytes.len() + cut > 0 {
        out.extend(format!("{:x}\r\n", bytes.len() + cut).bytes());
    }
    out.extend(bytes);
    if framing == Framing::Chunked && !bytes.is_empty() {
        out.extend(b"\r\n");
    }
}

fn is_endless(body: &Body) -> bool {
    matches!(body, Body::Drip { endless: true, .. })
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        301 => "Moved Permanently",
        302 => "Found",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        422 => "Unprocessable Entity",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Whatever",
    }
}
