//! The crate daemonize, as its documentation has it, without a setting. It does not tell its
//! starter when it is ready.

use daemonize::{Daemonize, Error};

fn main() -> Result<(), Error> {
    Daemonize::new().start()?;
    daemon_bench::sleep()
}
