//! Noise for the tests: until the end of its stdin it holds locks on the files of a tmpfs that
//! nobody else sees, with the inode numbers that files of every other tmpfs have.

use std::{io, path::Path};

use daemon_tests::noise::{enter_tmpfs, hold_locks};

fn main() -> io::Result<()> {
    enter_tmpfs()?;
    let _locks = hold_locks(Path::new("/tmp"))?;
    println!("ready");
    io::copy(&mut io::stdin(), &mut io::sink()).map(drop)
}
