//! A pod's port: a real HTTP/1.1 server on loopback, and the faults that only a socket can have.
//!
//! hyper serves the connections: keep-alive, framing and slow readers are its matter, and a real client then
//! meets what it meets in the field.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Either;
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};

use crate::fault::Fault;
use crate::pod::{Pod, Wanted, lock};

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A pod's port.
#[derive(Debug)]
pub(crate) struct Port {
    address: SocketAddr,
    orders: mpsc::UnboundedSender<(Order, oneshot::Sender<io::Result<()>>)>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// What happens to the port. Either way its connections are closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Open,
    Close,
}

enum Door {
    Open(TcpListener),
    /// Bound but not listening: connections are refused, and nobody else gets the port meanwhile.
    Shut(TcpSocket),
    /// Somebody else was faster; it is tried again when the port is to open.
    Lost,
}

// === impl Port ===

impl Port {
    /// Serves `pod` on a free port of the loopback interface, within the present runtime.
    pub(crate) fn open(pod: Arc<Pod>) -> io::Result<Self> {
        let listener = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?.listen(BACKLOG)?;
        let address = listener.local_addr()?;
        pod.lock().port = address.port();
        let (orders, received) = mpsc::unbounded_channel();
        let task = tokio::spawn(serve(pod, address, Door::Open(listener), received));
        Ok(Self {
            address,
            orders,
            task: Mutex::new(Some(task)),
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Carries `order` out; when it returns, it is done.
    pub(crate) async fn order(&self, order: Order) -> io::Result<()> {
        let (done, answer) = oneshot::channel();
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        self.orders.send((order, done)).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Closes the port and its connections for good; when it returns, they are.
    pub(crate) async fn close(&self) {
        let task = lock(&self.task).take();
        if let Some(task) = task {
            task.abort();
            // Cancelled, which is what was wanted.
            let _ = task.await;
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        if let Some(task) = lock(&self.task).take() {
            task.abort();
        }
    }
}

const BACKLOG: u32 = 1_024;

fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    // Closed connections linger on the port for a while.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

async fn serve(
    pod: Arc<Pod>,
    address: SocketAddr,
    mut door: Door,
    mut orders: mpsc::UnboundedReceiver<(Order, oneshot::Sender<io::Result<()>>)>,
) {
    // Dropped with this task, and its connections with it.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = door.accept() => match accepted {
                Ok(stream) => {
                    connections.spawn(converse(stream, Arc::clone(&pod)));
                }
                // Out of file descriptors, as a rule: it goes on when some are free.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
            order = orders.recv() => {
                let Some((order, done)) = order else { return };
                connections.shutdown().await;
                let (next, result) = door.follow(order, address);
                door = next;
                // Who gave the order may have stopped waiting.
                let _ = done.send(result);
            }
        }
    }
}

// === impl Door ===

impl Door {
    async fn accept(&self) -> io::Result<TcpStream> {
        match self {
            Self::Open(listener) => Ok(listener.accept().await?.0),
            Self::Shut(_) | Self::Lost => std::future::pending().await,
        }
    }

    fn follow(self, order: Order, address: SocketAddr) -> (Self, io::Result<()>) {
        let result = match (self, order) {
            (Self::Open(listener), Order::Open) => return (Self::Open(listener), Ok(())),
            (Self::Shut(socket), Order::Close) => return (Self::Shut(socket), Ok(())),
            (Self::Shut(socket), Order::Open) => socket.listen(BACKLOG).map(Self::Open),
            (Self::Lost, Order::Open) => bind(address).and_then(|s| s.listen(BACKLOG)).map(Self::Open),
            (Self::Lost, Order::Close) => return (Self::Lost, Ok(())),
            (Self::Open(listener), Order::Close) => {
                drop(listener);
                // Closed it is in any case.
                return (bind(address).map_or(Self::Lost, Self::Shut), Ok(()));
            }
        };
        match result {
            Ok(door) => (door, Ok(())),
            Err(error) => (Self::Lost, Err(error)),
        }
    }
}

async fn converse(stream: TcpStream, pod: Arc<Pod>) {
    // Without it a page's last segment may wait for an acknowledgement; a page comes late then, that's all.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| {
        let pod = Arc::clone(&pod);
        async move { Ok::<_, Infallible>(answer(&pod, &request).await) }
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    // No timer: a scraper that comes once a minute keeps its connection.
    server.header_read_timeout(None).max_buf_size(16 * 1_024);
    // How a connection ended (the client went away, the page was cut off) concerns nobody here.
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

type Answer = Response<Either<Full<Bytes>, CutOff>>;

async fn answer(pod: &Pod, request: &Request<Incoming>) -> Answer {
    if request.uri().path() != "/metrics" {
        return say(StatusCode::NOT_FOUND, "{\"detail\":\"Not Found\"}");
    }
    let fault = pod.lock().fault;
    if fault == Some(Fault::Hang) {
        std::future::pending::<()>().await;
    }
    if fault == Some(Fault::ServerError) {
        return say(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error");
    }
    let wanted = Wanted {
        open_metrics: mentions(request, &ACCEPT, "application/openmetrics-text"),
        gzip: mentions(request, &ACCEPT_ENCODING, "gzip"),
    };
    let (page, given) = pod.lock().page(wanted);
    let content_type = if given.open_metrics { OPEN_METRICS } else { TEXT };
    let body = match fault {
        Some(Fault::CutOff) => Either::Right(CutOff::new(&page)),
        _ => Either::Left(Full::new(page)),
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        hyper::header::HeaderValue::from_static(content_type),
    );
    if given.gzip {
        headers.insert(CONTENT_ENCODING, hyper::header::HeaderValue::from_static("gzip"));
    }
    response
}

fn say(status: StatusCode, text: &'static str) -> Answer {
    let mut response = Response::new(Either::Left(Full::new(Bytes::from_static(text.as_bytes()))));
    *response.status_mut() = status;
    response
}

/// Whether a header names `word`; preferences (`q=`) are not weighed.
fn mentions(request: &Request<Incoming>, header: &HeaderName, word: &str) -> bool {
    let values = request.headers().get_all(header);
    values
        .iter()
        .any(|value| value.to_str().is_ok_and(|value| value.contains(word)))
}

/// The first half of a page, announced as the whole.
#[derive(Debug)]
struct CutOff {
    announced: u64,
    half: Option<Bytes>,
    flushed: bool,
}

impl CutOff {
    fn new(page: &Bytes) -> Self {
        Self {
            announced: page.len() as u64,
            half: Some(page.slice(..page.len() / 2)),
            flushed: false,
        }
    }
}

impl Body for CutOff {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(half) = self.half.take() {
            return Poll::Ready(Some(Ok(Frame::data(half))));
        }
        // One turn for hyper to send what it has; then it finds the body shorter than announced and closes.
        if !std::mem::replace(&mut self.flushed, true) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(None)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.announced)
    }
}
