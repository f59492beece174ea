//! The steps of daemon(7) that need more than a call, a file each, named for what it does.

pub(crate) mod descriptors;
pub(crate) mod environment;
mod journal;
pub(crate) mod own_directory;
pub(crate) mod pidfile;
pub(crate) mod privileges;
pub(crate) mod resources;
pub(crate) mod signals;
pub(crate) mod streams;
pub(crate) mod writer;
