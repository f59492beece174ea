//! Control needs Linux's pidfds and peer credentials.

#[path = "handover/none.rs"]
pub(crate) mod handover;
#[path = "keeper/none.rs"]
pub(crate) mod keeper;
