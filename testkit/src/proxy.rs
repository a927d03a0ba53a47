//! A small HTTP proxy on loopback that leads everything to one server.
//!
//! Names that a client asks for need not exist: whatever the destination, the bytes go to the one server that the
//! proxy was started for, so a test sees by its answer alone that the proxy was used.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::{Error, Result};

/// A running proxy; dropping it ends its listener, and each connection ends with its client.
#[derive(Debug)]
pub struct HttpProxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    /// The value of `Proxy-Authorization` that is let in.
    authorization: Option<String>,
    /// The heads of what was asked first on each connection.
    heads: Mutex<Vec<String>>,
    stopped: AtomicBool,
}

// === impl HttpProxy ===

impl HttpProxy {
    /// A proxy that leads to `upstream`, and lets in whoever shows `authorization` (such as `Basic …`), or
    /// everyone.
    ///
    /// # Errors
    /// When the machine has no port or thread to give.
    pub fn start(upstream: SocketAddr, authorization: Option<&str>) -> Result<Self> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Error::io("listening on loopback"))?;
        let addr = listener.local_addr().map_err(Error::io("asking for the port"))?;
        let shared = Arc::new(Shared {
            upstream,
            authorization: authorization.map(str::to_owned),
            heads: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        let ours = Arc::clone(&shared);
        let accept = move || {
            for client in listener.incoming() {
                if ours.stopped.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(client) = client else { continue };
                let ours = Arc::clone(&ours);
                // A connection that breaks is the client's to notice.
                thread::spawn(move || drop(ours.serve(client)));
            }
        };
        thread::Builder::new()
            .name("http-proxy".to_owned())
            .spawn(accept)
            .map_err(Error::io("starting a thread"))?;
        Ok(Self { addr, shared })
    }

    /// Its address, as `host:port`.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The first line of what was asked first on each connection, such as `CONNECT host:443 HTTP/1.1`.
    pub fn asked(&self) -> Vec<String> {
        let heads = self.shared.heads.lock().unwrap_or_else(PoisonError::into_inner);
        heads
            .iter()
            .map(|head| head.lines().next().unwrap_or_default().to_owned())
            .collect()
    }
}

impl Drop for HttpProxy {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        // Wakes the listener.
        drop(TcpStream::connect(self.addr));
    }
}

// === impl Shared ===

impl Shared {
    fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            client.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let text = String::from_utf8_lossy(&head).into_owned();
        let shown = text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("proxy-authorization")
                .then(|| value.trim().to_owned())
        });
        let tunnel = text.starts_with("CONNECT ");
        self.heads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(text);
        if self.authorization.is_some() && shown != self.authorization {
            let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            return client.write_all(refusal.as_bytes());
        }
        let mut server = TcpStream::connect(self.upstream)?;
        if tunnel {
            client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
        } else {
            server.write_all(&head)?;
        }
        let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
        let upwards = thread::spawn(move || {
            let _ = io::copy(&mut from_client, &mut to_server);
            let _ = to_server.shutdown(Shutdown::Write);
        });
        let _ = io::copy(&mut server, &mut client);
        let _ = client.shutdown(Shutdown::Both);
        let _ = upwards.join();
        Ok(())
    }
}
