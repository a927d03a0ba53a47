//! A client that sees what a scraper sees, and a reader of pages that knows no more than these tests need.
#![allow(dead_code)]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An answer, as far as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// What `Content-Length` announced.
    pub(crate) announced: usize,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

/// One request on `stream`; generous, for a busy machine, unless the stream has a patience of its own.
pub(crate) fn ask(stream: &mut TcpStream, path: &str, headers: &str) -> io::Result<Answer> {
    if stream.read_timeout()?.is_none() {
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    }
    write!(stream, "GET {path} HTTP/1.1\r\nHost: pod\r\n{headers}\r\n")?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .unwrap();
    let announced: usize = length.parse().unwrap();
    let mut body = Vec::new();
    stream.take(announced as u64).read_to_end(&mut body)?;
    Ok(Answer {
        status,
        head,
        body,
        announced,
    })
}

/// A request on a connection of its own, from a thread where it may block.
pub(crate) async fn get(
    address: SocketAddr,
    path: &'static str,
    headers: &'static str,
) -> io::Result<Answer> {
    let request = move || ask(&mut TcpStream::connect(address)?, path, headers);
    tokio::task::spawn_blocking(request).await.unwrap()
}

/// The page of a pod that is well.
pub(crate) async fn page(address: SocketAddr) -> String {
    let answer = get(address, "/metrics", "").await.unwrap();
    assert_eq!(answer.status, 200);
    answer.text()
}

/// Series and value of every sample.
pub(crate) fn samples(page: &str) -> Vec<(&str, f64)> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series, value.parse().unwrap())
        })
        .collect()
}

/// The values of all samples of that name whose labels contain `part`.
pub(crate) fn values(page: &str, name: &str, part: &str) -> Vec<f64> {
    let fits = |series: &str| {
        series
            .strip_prefix(name)
            .is_some_and(|rest| (rest.is_empty() || rest.starts_with('{')) && rest.contains(part))
    };
    samples(page)
        .into_iter()
        .filter(|(series, _)| fits(series))
        .map(|(_, value)| value)
        .collect()
}

/// Their sum; there must be some.
pub(crate) fn sum(page: &str, name: &str, part: &str) -> f64 {
    let values = values(page, name, part);
    assert!(!values.is_empty(), "no {name} with {part}");
    values.iter().sum()
}
