//! A crate whose `main` has more to it than its name.
#![deny(missing_docs)]

use std::io;

use daemon_rt::daemon;

/// Says hello.
///
/// And nothing else.
#[daemon(init = init)]
#[inline(never)]
#[allow(unused_variables, unused_mut)]
pub(crate) fn main(mut listener: Vec<(u8, u16)>,) -> Result<(), io::Error>
{
    Ok(())
}

fn init() -> io::Result<Vec<(u8, u16)>> {
    Ok(Vec::new())
}
