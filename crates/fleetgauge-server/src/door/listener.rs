//! Connections of a door, within bounds: HTTP/1.1 and HTTP/2 on one port, with TLS or without.

mod any_client;
mod connections;
mod kept;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{self, Next};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::MissedTickBehavior;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use connections::{Connection, Connections};

pub use any_client::asking_for_certificates;
pub use connections::{ConnectionCounts, Cut};

/// What one door bears.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// How many connections are open at once. Those beyond wait until one of the others ends; those that ask for nothing do
    /// so for them.
    pub max_connections: usize,
    /// For how long a connection must have asked for nothing until it makes room for another one.
    pub idle_for: Duration,
    /// How long a reader may take for 64 KiB of an answer; one that is slower is cut.
    pub read_within: Duration,
    /// How much of answers is kept for readers that have not taken it yet; beyond it, those are cut whose answers have waited
    /// for the longest. *Unit*: bytes.
    pub max_unread: usize,
    /// How many streams one HTTP/2 connection has at once.
    pub max_streams: u32,
    /// How long a client may take for a request's head, its first request, and a TLS handshake.
    pub head_timeout: Duration,
    /// How long connections may take to end once the door is closed.
    pub close_within: Duration,
}

/// A door's TLS, which may be renewed while it is open.
#[derive(Clone)]
pub struct Tls(Arc<ArcSwap<ServerConfig>>);

/// Who is at the other end of a connection. Each request has it among its extensions.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// Whether it has shown a certificate, which was verified as the door's TLS does it.
    pub has_certificate: bool,
    /// Its certificate, of which it has the key, and those beneath that.
    pub certificates: Arc<[CertificateDer<'static>]>,
}

/// Streams of HTTP/2 that a client has taken back and that are not cleared away yet. One that opens more of them than that
/// at once only wants to make work.
const MAX_RESET_STREAMS: usize = 20;

/// How often it is looked for room while a door is full.
const LOOK_FOR_ROOM: Duration = Duration::from_millis(50);

/// A door that is open: it listens, and serves a router.
pub struct Listener {
    listener: TcpListener,
    tls: Option<Tls>,
    limits: Limits,
    counts: ConnectionCounts,
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 4_096,
            idle_for: Duration::from_secs(1),
            read_within: Duration::from_secs(30),
            max_unread: 256 << 20,
            max_streams: 256,
            head_timeout: Duration::from_secs(10),
            close_within: Duration::from_secs(5),
        }
    }
}

// === impl Tls ===

impl Tls {
    /// TLS by `config`; HTTP/2 and HTTP/1.1 are offered where it offers nothing, since gRPC's clients insist on an offer.
    pub fn new(config: Arc<ServerConfig>) -> Self {
        Self(Arc::new(ArcSwap::new(offering(config))))
    }

    /// Takes another one for the connections from now on.
    pub fn renew(&self, config: Arc<ServerConfig>) {
        self.0.store(offering(config));
    }
}

fn offering(mut config: Arc<ServerConfig>) -> Arc<ServerConfig> {
    if config.alpn_protocols.is_empty() {
        Arc::make_mut(&mut config).alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    }
    config
}

// === impl Listener ===

impl Listener {
    /// Listens at `address`.
    ///
    /// *Errors*: the address cannot be listened at.
    pub async fn bind(address: SocketAddr, tls: Option<Tls>, limits: Limits) -> io::Result<Self> {
        Ok(Self {
            listener: TcpListener::bind(address).await?,
            tls,
            limits,
            counts: ConnectionCounts::default(),
        })
    }

    /// Where it listens.
    ///
    /// *Errors*: the operating system does not tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// What it has seen of connections.
    pub fn counts(&self) -> ConnectionCounts {
        self.counts.clone()
    }

    /// Serves `router` until `stop`; then waits for the connections to end, within the bound.
    pub async fn serve(self, router: Router, stop: CancellationToken) {
        let slots = Arc::new(Semaphore::new(self.limits.max_connections));
        let open = Connections::new(self.counts.clone(), self.limits.max_unread);
        let tasks = TaskTracker::new();
        let cut = CancellationToken::new();
        let mut looks = tokio::time::interval(self.limits.read_within / 4);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let accepted = async {
                let slot = self.slot(&slots, &open).await;
                (slot, self.listener.accept().await)
            };
            tokio::pin!(accepted);
            let (slot, accepted) = loop {
                tokio::select! {
                    () = stop.cancelled() => break (None, None),
                    (slot, accepted) = &mut accepted => break (slot, Some(accepted)),
                    _ = looks.tick() => open.cut_slow_readers(self.limits.read_within),
                }
            };
            let (stream, address) = match accepted {
                None => break,
                Some(Ok(accepted)) => accepted,
                Some(Err(error)) => {
                    // There may be no file descriptors left: others have to end first.
                    tracing::warn!(%error, "a connection could not be accepted");
                    open.make_room(self.at_once(), self.limits.idle_for);
                    tokio::time::sleep(LOOK_FOR_ROOM).await;
                    continue;
                }
            };
            let connection = open.accept();
            let serving = Serving {
                router: router.clone(),
                tls: self.tls.clone(),
                limits: self.limits.clone(),
                stop: stop.clone(),
                connection: connection.clone(),
            };
            let (counts, cut) = (self.counts.clone(), cut.clone());
            tasks.spawn(async move {
                let served = tokio::select! {
                    served = serving.serve(stream, address) => served,
                    () = connection.ended() => Ok(()),
                    () = cut.cancelled() => Ok(()),
                };
                if let Err(error) = served {
                    tracing::debug!(%address, error = %error, "a connection ended in an error");
                    counts.count_failed();
                }
                connection.close();
                drop(slot);
            });
        }
        drop(self.listener);
        tasks.close();
        if tokio::time::timeout(self.limits.close_within, tasks.wait())
            .await
            .is_err()
        {
            cut.cancel();
            tasks.wait().await;
        }
    }

    /// A place for another connection, which idle ones make where there is none. The semaphore is never closed.
    async fn slot(&self, slots: &Arc<Semaphore>, open: &Connections) -> Option<OwnedSemaphorePermit> {
        if let Ok(slot) = Arc::clone(slots).try_acquire_owned() {
            return Some(slot);
        }
        loop {
            open.make_room(self.at_once(), self.limits.idle_for);
            let slot = tokio::time::timeout(LOOK_FOR_ROOM, Arc::clone(slots).acquire_owned()).await;
            if let Ok(slot) = slot {
                return slot.ok();
            }
        }
    }

    /// How many make room at once: who fills a door comes with many.
    fn at_once(&self) -> usize {
        self.limits.max_connections.div_ceil(16)
    }
}

/// Counts the answers of `router` as kept until their reader has taken them, before a layer around it makes others of them.
pub(super) fn keeping(router: Router) -> Router {
    router.layer(middleware::from_fn(|request: Request, next: Next| {
        let connection = request.extensions().get::<Connection>().cloned();
        async move {
            let response = next.run(request).await;
            match connection {
                Some(connection) => kept::keep(response, connection, None),
                None => response,
            }
        }
    }))
}

/// One connection of a door, to be served.
struct Serving {
    router: Router,
    tls: Option<Tls>,
    limits: Limits,
    stop: CancellationToken,
    connection: Connection,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

// === impl Serving ===

impl Serving {
    async fn serve(self, stream: TcpStream, address: SocketAddr) -> Result<(), Failure> {
        // Answers are small, and wanted at once.
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else {
            let peer = Peer {
                address,
                has_certificate: false,
                certificates: Arc::default(),
            };
            return self.serve_http(stream, peer).await;
        };
        let acceptor = TlsAcceptor::from(tls.0.load_full());
        let accepted = tokio::time::timeout(self.limits.head_timeout, acceptor.accept(stream)).await;
        let Ok(accepted) = accepted else {
            self.connection.count_cut(Cut::Silent);
            return Ok(());
        };
        let stream = accepted?;
        let certificates = stream.get_ref().1.peer_certificates();
        let peer = Peer {
            address,
            has_certificate: certificates.is_some(),
            certificates: certificates.unwrap_or_default().into(),
        };
        self.serve_http(stream, peer).await
    }

    async fn serve_http(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
        peer: Peer,
    ) -> Result<(), Failure> {
        let router = self.router;
        let has_asked = Arc::new(AtomicBool::new(false));
        let asks = Arc::clone(&has_asked);
        let asked = self.connection.clone();
        let service = tower::service_fn(move |request: Request<Incoming>| {
            asks.store(true, Ordering::Relaxed);
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer.clone());
            request.extensions_mut().insert(asked.clone());
            let (connection, answering) = (asked.clone(), asked.answering());
            let answered = router.clone().oneshot(request);
            async move {
                let answered = answered.await;
                answered.map(|response| kept::keep(response, connection, Some(answering)))
            }
        });
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.head_timeout)
            .max_buf_size(64 << 10);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.limits.max_streams)
            .max_header_list_size(64 << 10)
            .max_pending_accept_reset_streams(MAX_RESET_STREAMS)
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(self.limits.head_timeout);
        let service = TowerToHyperService::new(service);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        tokio::select! {
            served = connection.as_mut() => return served,
            () = self.stop.cancelled() => connection.as_mut().graceful_shutdown(),
            () = self.connection.ending() => {
                connection.as_mut().graceful_shutdown();
                let ended = tokio::time::timeout(self.limits.head_timeout, connection).await;
                return ended.unwrap_or(Ok(()));
            }
            // hyper waits without end for the bytes that tell one version of HTTP from the other.
            () = silent(self.limits.head_timeout, &has_asked) => {
                self.connection.count_cut(Cut::Silent);
                connection.as_mut().graceful_shutdown();
                // One of HTTP/2 is told so, and need not hear it.
                let ended = tokio::time::timeout(self.limits.head_timeout, connection).await;
                return ended.unwrap_or(Ok(()));
            }
        }
        connection.await
    }
}

/// Comes if nothing was asked for so long.
async fn silent(within: Duration, has_asked: &AtomicBool) {
    tokio::time::sleep(within).await;
    if has_asked.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}
