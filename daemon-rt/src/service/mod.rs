//! What the running service calls: its sockets, the request to terminate, the requests to reload.

pub(crate) mod drain;
pub(crate) mod end;
pub(crate) mod limit;
pub(crate) mod listen;
pub(crate) mod reload;
pub(crate) mod requests;
mod selfpipe;
pub(crate) mod shutdown;
pub(crate) mod status;
mod tasks;
