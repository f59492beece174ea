//! What the running service calls: its sockets, the request to terminate, the requests to reload.

pub(crate) mod listen;
pub(crate) mod reload;
pub(crate) mod selfpipe;
pub(crate) mod shutdown;
