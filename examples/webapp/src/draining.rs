//! An end that loses no connection: from the request to end on none is accepted any more, but those
//! that were accepted are served to their end.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use daemon_rt::{Hold, shutdown};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// At most so many connections are still taken out of the queue.
const BACKLOG: usize = 4096;

/// Before it tries again, for example when no descriptor was left.
const PAUSE: Duration = Duration::from_millis(10);

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
    pub(crate) async fn accept(&mut self) -> Option<(Held, SocketAddr)> {
        while let Some((listener, _)) = &self.open {
            if shutdown().requested() {
                if shutdown().replaced() || self.left == 0 {
                    break;
                }
                self.left -= 1;
            }
            tokio::select! {
                biased;
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        let hold = shutdown().hold();
                        return Some((Held { stream, _hold: hold }, peer));
                    }
                    Err(_) => tokio::time::sleep(PAUSE).await,
                },
                () = shutdown() => break,
            }
        }
        self.open = None;
        None
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.open {
            Some((listener, _)) => listener.local_addr(),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
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
