//! Connections of a door, within bounds: HTTP/1.1 and HTTP/2 on one port, with TLS or without.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// What one door bears.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// How many connections are open at once; more wait to be accepted.
    pub max_connections: usize,
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
    /// Whether it has shown a certificate, which was verified.
    pub has_certificate: bool,
}

/// What a door has seen of connections.
///
/// Cheap to clone; clones count together.
#[derive(Clone, Debug, Default)]
pub struct ConnectionCounts(Arc<[AtomicU64; 3]>);

const ACCEPTED: usize = 0;
const CLOSED: usize = 1;
const FAILED: usize = 2;

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

// === impl ConnectionCounts ===

impl ConnectionCounts {
    /// Connections that were accepted.
    pub fn accepted(&self) -> u64 {
        self.0[ACCEPTED].load(Ordering::Relaxed)
    }

    /// Connections that are open.
    pub fn open(&self) -> u64 {
        self.accepted()
            .saturating_sub(self.0[CLOSED].load(Ordering::Relaxed))
    }

    /// Connections that ended in an error, of TLS or of HTTP.
    pub fn failed(&self) -> u64 {
        self.0[FAILED].load(Ordering::Relaxed)
    }

    fn count(&self, what: usize) {
        self.0[what].fetch_add(1, Ordering::Relaxed);
    }
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
        let connections = TaskTracker::new();
        let cut = CancellationToken::new();
        loop {
            let accepted = async {
                // It is never closed.
                let slot = Arc::clone(&slots).acquire_owned().await.ok();
                (slot, self.listener.accept().await)
            };
            let (slot, accepted) = tokio::select! {
                () = stop.cancelled() => break,
                accepted = accepted => accepted,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // There may be no file descriptors left: others have to end first.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            self.counts.count(ACCEPTED);
            let connection = Connection {
                router: router.clone(),
                tls: self.tls.clone(),
                limits: self.limits.clone(),
                stop: stop.clone(),
            };
            let (counts, cut) = (self.counts.clone(), cut.clone());
            connections.spawn(async move {
                let served = tokio::select! {
                    served = connection.serve(stream, address) => served,
                    () = cut.cancelled() => Ok(()),
                };
                if let Err(error) = served {
                    tracing::debug!(%address, error = %error, "a connection ended in an error");
                    counts.count(FAILED);
                }
                counts.count(CLOSED);
                drop(slot);
            });
        }
        drop(self.listener);
        connections.close();
        if tokio::time::timeout(self.limits.close_within, connections.wait())
            .await
            .is_err()
        {
            cut.cancel();
            connections.wait().await;
        }
    }
}

/// One connection of a door.
struct Connection {
    router: Router,
    tls: Option<Tls>,
    limits: Limits,
    stop: CancellationToken,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

// === impl Connection ===

impl Connection {
    async fn serve(self, stream: TcpStream, address: SocketAddr) -> Result<(), Failure> {
        // Answers are small, and wanted at once.
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else {
            let peer = Peer {
                address,
                has_certificate: false,
            };
            return self.serve_http(stream, peer).await;
        };
        let acceptor = TlsAcceptor::from(tls.0.load_full());
        let stream = tokio::time::timeout(self.limits.head_timeout, acceptor.accept(stream)).await??;
        let peer = Peer {
            address,
            has_certificate: stream.get_ref().1.peer_certificates().is_some(),
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
        let service = tower::service_fn(move |request: Request<Incoming>| {
            asks.store(true, Ordering::Relaxed);
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer.clone());
            router.clone().oneshot(request)
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
            .max_header_list_size(16 << 10)
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(self.limits.head_timeout);
        let service = TowerToHyperService::new(service);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        tokio::select! {
            served = connection.as_mut() => return served,
            () = self.stop.cancelled() => connection.as_mut().graceful_shutdown(),
            // hyper waits without end for the bytes that tell one version of HTTP from the other.
            () = silent(self.limits.head_timeout, &has_asked) => {
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
