//! An end that loses no request, in three phases: accept no connection any more; finish what was
//! accepted, and tell each client that this was the last answer on its connection; end.
//!
//! axum's (hyper's) own graceful end closes at once what it has accepted and not read from, and
//! connections on which the next request is on its way.

use std::future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use axum::response::Response;
use axum::serve::Listener;
use daemon_rt::{Hold, shutdown};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// At most so many connections are still taken out of the queue.
const BACKLOG: usize = 4096;

/// A listener that accepts until the service is to end, and is closed then.
pub(crate) struct Draining {
    /// With what holds the end up until the last connection is accepted.
    open: Option<(TcpListener, Hold)>,
    /// How many connections may still be in the queue.
    left: usize,
}

impl Draining {
    pub(crate) fn new(listener: TcpListener) -> Self {
        Self {
            open: Some((listener, shutdown().hold())),
            left: BACKLOG,
        }
    }

    /// Accepts a connection. From the request to end on only what is in the queue: in a restart the
    /// new instance accepts that.
    async fn next(&mut self) -> Option<(TcpStream, SocketAddr)> {
        let (listener, _) = self.open.as_mut()?;
        if shutdown().requested() {
            if shutdown().replaced() || self.left == 0 {
                return None;
            }
            self.left -= 1;
        }
        tokio::select! {
            biased;
            accepted = Listener::accept(listener) => Some(accepted),
            () = shutdown() => None,
        }
    }
}

impl Listener for Draining {
    type Io = Held;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Held, SocketAddr) {
        if let Some((stream, peer)) = self.next().await {
            let hold = shutdown().hold();
            return (
                Held {
                    stream,
                    _hold: hold,
                },
                peer,
            );
        }
        self.open = None;
        future::pending().await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.open {
            Some((listener, _)) => listener.local_addr(),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

/// Ends the connection after this answer, if the service is to end.
pub(crate) async fn last_answer(mut response: Response) -> Response {
    if shutdown().requested() {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    response
}

/// A connection, which holds the end of the service up.
pub(crate) struct Held {
    stream: TcpStream,
    _hold: Hold,
}

impl AsyncRead for Held {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Held {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
