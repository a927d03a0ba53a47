//! The listener, its thread, and what tests can ask about it.

use std::collections::VecDeque;
use std::net::{self, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime;
use tokio::sync::{oneshot, watch};
use tokio_rustls::TlsAcceptor;

use super::answer::{Act, Answer};
use super::connection::{Connection, End, Io, reset};
use super::request::Request;
use crate::{Error, Result};

/// What is waited for comes at once, or the test is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server with a script; dropping it ends its thread and every connection.
#[derive(Debug)]
pub struct FaultyServer {
    shared: Arc<Shared>,
    addr: SocketAddr,
    tls: bool,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Connections accepted.
    pub connections: u64,
    /// Requests read to their end.
    pub requests: u64,
    /// Requests whose answer is waiting or being sent.
    pub in_flight: u64,
    /// The highest `in_flight` ever.
    pub peak_in_flight: u64,
    /// Requests whose client left before it had the answer.
    pub abandoned: u64,
    /// TLS handshakes that failed.
    pub failed_handshakes: u64,
}

/// An address on which nobody listens: connections are refused as long as this lives.
///
/// The port is bound, so that no other process gets it.
#[derive(Debug)]
pub struct Refused {
    addr: SocketAddr,
    _socket: TcpSocket,
}

#[derive(Debug)]
struct Shared {
    script: Mutex<VecDeque<Answer>>,
    requests: Mutex<Vec<Request>>,
    counters: watch::Sender<Counters>,
}

// === impl FaultyServer ===

impl FaultyServer {
    /// Serves the script over plain HTTP.
    ///
    /// # Errors
    /// When the script is empty or the machine has no port or thread to give.
    pub fn start(script: impl IntoIterator<Item = Answer>) -> Result<Self> {
        Self::launch(script, None)
    }

    /// Serves the script behind TLS: see [`Certificates`](crate::Certificates).
    ///
    /// # Errors
    /// As [`FaultyServer::start`].
    pub fn start_tls(script: impl IntoIterator<Item = Answer>, config: ServerConfig) -> Result<Self> {
        Self::launch(script, Some(TlsAcceptor::from(Arc::new(config))))
    }

    fn launch(script: impl IntoIterator<Item = Answer>, tls: Option<TlsAcceptor>) -> Result<Self> {
        let shared = Arc::new(Shared {
            script: Mutex::new(checked(script)?),
            requests: Mutex::default(),
            counters: watch::Sender::default(),
        });
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Error::io("starting a runtime"))?;
        // Not tokio's own `bind`: the caller may be inside another runtime.
        let listener = net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .map_err(Error::io("listening on loopback"))?;
        let addr = listener.local_addr().map_err(Error::io("asking for the port"))?;
        let (stop, stopped) = oneshot::channel::<()>();
        let (ours, is_tls) = (Arc::clone(&shared), tls.is_some());
        let serve = move || {
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).expect("inside the runtime");
                tokio::select! {
                    () = accept(listener, ours, tls) => {}
                    // An error is the sender's end, which means the same.
                    _ = stopped => {}
                }
            });
            // Dropping the runtime ends every connection's task.
        };
        let thread = thread::Builder::new()
            .name("faulty-server".to_owned())
            .spawn(serve)
            .map_err(Error::io("starting a thread"))?;
        Ok(Self {
            shared,
            addr,
            tls: is_tls,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// The address that it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The base URL without a slash at the end.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.addr)
    }

    /// Replaces the rest of the script.
    ///
    /// # Errors
    /// When it is empty.
    pub fn set_script(&self, script: impl IntoIterator<Item = Answer>) -> Result<()> {
        *lock(&self.shared.script) = checked(script)?;
        Ok(())
    }

    /// The requests so far, in the order in which they were read.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.shared.requests).clone()
    }

    /// The counters now.
    pub fn counters(&self) -> Counters {
        *self.shared.counters.borrow()
    }

    /// Waits until the counters are as wanted, without blocking the runtime.
    ///
    /// # Errors
    /// When they are not so within a minute of real time.
    pub async fn until(&self, wanted: impl FnMut(&Counters) -> bool) -> Result<Counters> {
        let mut counters = self.shared.counters.subscribe();
        let reached = tokio::time::timeout(PATIENCE, counters.wait_for(wanted)).await;
        match reached {
            Ok(Ok(counters)) => Ok(*counters),
            _ => Err(self.timeout()),
        }
    }

    /// As [`FaultyServer::until`], for blocking tests.
    ///
    /// # Errors
    /// When they are not so within a minute.
    pub fn until_blocking(&self, wanted: impl Fn(&Counters) -> bool) -> Result<Counters> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let counters = self.counters();
            if wanted(&counters) {
                return Ok(counters);
            }
            if Instant::now() > deadline {
                return Err(self.timeout());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn timeout(&self) -> Error {
        Error::Timeout {
            event: "wanted counters".to_owned(),
            seen: format!("{:?}", self.counters()),
        }
    }
}

impl Drop for FaultyServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

// === impl Refused ===

impl Refused {
    /// Takes a port and does not listen on it.
    ///
    /// # Errors
    /// When the machine has no port to give.
    pub fn new() -> Result<Self> {
        let socket = TcpSocket::new_v4().map_err(Error::io("opening a socket"))?;
        socket
            .bind((Ipv4Addr::LOCALHOST, 0).into())
            .map_err(Error::io("binding a port"))?;
        let addr = socket.local_addr().map_err(Error::io("asking for the port"))?;
        Ok(Self {
            addr,
            _socket: socket,
        })
    }

    /// The address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The base URL without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }
}

// === impl Shared ===

impl Shared {
    fn next(&self) -> Answer {
        let mut script = lock(&self.script);
        let last = script.len() == 1;
        let answer = if last {
            script.front().cloned()
        } else {
            script.pop_front()
        };
        answer.expect("a script is never empty")
    }

    /// Consumes the next answer if it wants no request.
    fn next_resets_on_accept(&self) -> bool {
        let mut script = lock(&self.script);
        if !matches!(
            script.front(),
            Some(Answer {
                act: Act::ResetOnAccept,
                ..
            })
        ) {
            return false;
        }
        if script.len() > 1 {
            script.pop_front();
        }
        true
    }

    fn count(&self, change: impl FnOnce(&mut Counters)) {
        self.counters.send_modify(change);
    }
}

// === helpers ===

async fn accept(listener: TcpListener, shared: Arc<Shared>, tls: Option<TlsAcceptor>) {
    loop {
        let Ok((tcp, _)) = listener.accept().await else {
            continue;
        };
        let mut number = 0;
        shared.count(|counters| {
            counters.connections += 1;
            number = counters.connections;
        });
        if shared.next_resets_on_accept() {
            reset(&tcp);
            continue;
        }
        let _ = tcp.set_nodelay(true);
        tokio::spawn(connect(tcp, number, Arc::clone(&shared), tls.clone()));
    }
}

async fn connect(tcp: TcpStream, number: u64, shared: Arc<Shared>, tls: Option<TlsAcceptor>) {
    let io: Box<dyn Io> = match tls {
        None => Box::new(tcp),
        Some(acceptor) => match acceptor.accept(tcp).await {
            Ok(stream) => Box::new(stream),
            Err(_) => return shared.count(|counters| counters.failed_handshakes += 1),
        },
    };
    let certificate = io.peer_certificate();
    let mut connection = Connection {
        io,
        buffer: Vec::new(),
    };
    while let Some(mut request) = Request::read(&mut connection.io, &mut connection.buffer).await {
        request.connection = number;
        request.client_certificate.clone_from(&certificate);
        lock(&shared.requests).push(request.clone());
        let answer = shared.next();
        shared.count(|counters| {
            counters.requests += 1;
            counters.in_flight += 1;
            counters.peak_in_flight = counters.peak_in_flight.max(counters.in_flight);
        });
        let end = connection.play(answer, &request).await;
        shared.count(|counters| {
            counters.in_flight -= 1;
            counters.abandoned += u64::from(end == End::Abandoned);
        });
        if end != End::KeptOpen {
            return;
        }
    }
}

fn checked(script: impl IntoIterator<Item = Answer>) -> Result<VecDeque<Answer>> {
    let script: VecDeque<_> = script.into_iter().collect();
    if script.is_empty() {
        Err(Error::EmptyScript)
    } else {
        Ok(script)
    }
}

/// A test that panicked elsewhere says so itself.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
