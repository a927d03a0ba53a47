//! A blocking HTTP client for plain loopback servers, just enough to poll and to ask.
//!
//! It speaks HTTP/1.0, so that no server answers in chunks and the body ends with the connection.
//! It is no part of what is under test; tests of the project's own client use that client.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::{Error, Result};

/// No answer of a loopback server takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// An answer: status, head and body.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Status line and headers as they came.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// The body as text, with replacement characters where it is none.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Asks `addr` for `path_and_query` with GET.
///
/// # Errors
/// When there is no answer or it is not HTTP; a status other than 200 is an answer.
pub fn get(addr: SocketAddr, path_and_query: &str) -> Result<Response> {
    request(addr, "GET", path_and_query, b"")
}

/// Sends `body` to `path_and_query` of `addr` with POST.
///
/// # Errors
/// As [`get`].
pub fn post(addr: SocketAddr, path_and_query: &str, body: &[u8]) -> Result<Response> {
    request(addr, "POST", path_and_query, body)
}

/// Escapes a value for a query string.
pub fn percent_encode(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn request(addr: SocketAddr, method: &str, path: &str, body: &[u8]) -> Result<Response> {
    let url = format!("http://{addr}{path}");
    let exchange = || -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: {addr}\r\nContent-Length: {length}\r\n\r\n"
        )?;
        stream.write_all(body)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    };
    let answer = exchange().map_err(Error::io(format!("asking {url}")))?;
    parse(&answer).ok_or_else(|| Error::Answer {
        url,
        status: 0,
        body: String::from_utf8_lossy(&answer).chars().take(500).collect(),
    })
}

fn parse(answer: &[u8]) -> Option<Response> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    Some(Response {
        status,
        head,
        body: answer[end + 4..].to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_status_head_and_body() {
        let response = parse(b"HTTP/1.0 404 Not Found\r\nX: y\r\n\r\nbody").unwrap();
        assert_eq!((response.status, response.text()), (404, "body".to_owned()));
        assert!(response.head.ends_with("X: y"));
        assert!(parse(b"nonsense").is_none());
    }

    #[test]
    fn escapes_what_a_query_string_cannot_hold() {
        assert_eq!(percent_encode("a{b=\"c d\"}+1"), "a%7Bb%3D%22c%20d%22%7D%2B1");
    }
}
