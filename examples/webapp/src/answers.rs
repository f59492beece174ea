//! What axum accepts by, and the last answer on each connection.
//!
//! axum's (hyper's) own graceful end closes at once what it has accepted and not read from, and
//! connections on which the next request is on its way.

use std::future;
use std::io;
use std::net::SocketAddr;

use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use axum::response::Response;
use axum::serve::Listener;
use daemon_rt::shutdown;

use crate::draining::{Draining, Held};

impl Listener for Draining {
    type Io = Held;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Held, SocketAddr) {
        match self.accept().await {
            Some(accepted) => accepted,
            None => future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.local_addr()
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
