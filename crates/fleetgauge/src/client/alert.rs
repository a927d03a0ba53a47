//! Remembers why TLS ended a connection.
//!
//! In TLS 1.3 a server refuses our certificate after the handshake is complete for us. Its alert is then
//! read by the connection's own task, which may be before a request is on that connection; the request only
//! learns that the connection is gone. What the connection read is therefore noted here.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use http::Uri;
use http::uri::Scheme;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::client::legacy::connect::{Connected, Connection};
use tower_service::Service;

use super::proxy::ProxyConfig;

/// For how long an alert explains the end of a connection.
const RECENT: Duration = Duration::from_secs(1);

/// The newest error of TLS on any connection of a transport.
#[derive(Clone, Default)]
pub(crate) struct Alerts(Arc<Mutex<Option<(Instant, rustls::Error)>>>);

/// A connector whose connections note their errors.
#[derive(Clone)]
pub(crate) struct Noting<C> {
    pub(crate) connector: C,
    pub(crate) alerts: Alerts,
    /// What `connector` goes by.
    pub(crate) proxy: ProxyConfig,
}

/// A connection that notes its errors.
pub(crate) struct NotingStream<S> {
    stream: MaybeHttpsStream<S>,
    alerts: Alerts,
    /// It leads to a proxy that is to hand on requests, and no tunnel through it.
    is_proxied: bool,
}

// === impl Alerts ===

impl Alerts {
    /// The error that came a moment ago, if one did.
    pub(crate) fn recent(&self) -> Option<rustls::Error> {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, error) = noted.as_ref()?;
        (at.elapsed() < RECENT).then(|| error.clone())
    }

    fn note<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &polled
            && let Some(tls) = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>())
        {
            let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            *noted = Some((Instant::now(), tls.clone()));
        }
        polled
    }
}

// === impl Noting ===

impl<C, S> Service<Uri> for Noting<C>
where
    C: Service<Uri, Response = MaybeHttpsStream<S>>,
    C::Future: Send + 'static,
    C::Error: 'static,
{
    type Response = NotingStream<S>;
    type Error = C::Error;
    type Future = BoxFuture<'static, Result<NotingStream<S>, C::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), C::Error>> {
        self.connector.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let is_proxied = uri.scheme() == Some(&Scheme::HTTP) && self.proxy.through(&uri).is_some();
        let connecting = self.connector.call(uri);
        let alerts = self.alerts.clone();
        Box::pin(async move {
            let stream = connecting.await?;
            Ok(NotingStream {
                stream,
                alerts,
                is_proxied,
            })
        })
    }
}

// === impl NotingStream ===

impl<S: Read + Write + Unpin> Read for NotingStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.alerts.note(polled)
    }
}

impl<S: Read + Write + Unpin> Write for NotingStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.alerts.note(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        self.alerts.note(polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(context);
        self.alerts.note(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.alerts.note(polled)
    }
}

impl<S: Read + Write + Connection + Unpin> Connection for NotingStream<S> {
    fn connected(&self) -> Connected {
        self.stream.connected().proxy(self.is_proxied)
    }
}
