//! Much memory, touched where the first argument says, in MiB as the second says: in an `empty`
//! program, in the `floor` before its forks, or in ours in `configure` or `init`.

use std::env::args;
use std::io::{Read, Write, pipe};

use daemon_bench::{fork, leave, sleep};
use daemon_rt::Daemon;
use nix::unistd::{ForkResult, setsid};

fn main() -> std::io::Result<()> {
    match place().as_str() {
        "empty" => drop(touch()),
        "floor" => floor(&touch())?,
        _ => ours(),
    }
    Ok(())
}

fn place() -> String {
    args().nth(1).expect("where")
}

fn touch() -> Vec<u8> {
    let size: usize = args()
        .nth(2)
        .and_then(|size| size.parse().ok())
        .expect("how many MiB");
    std::hint::black_box(vec![1; size << 20])
}

/// As in `floor.rs`.
fn floor(_memory: &[u8]) -> std::io::Result<()> {
    let (mut reader, mut writer) = pipe()?;
    if let ForkResult::Parent { .. } = fork()? {
        drop(writer);
        reader.read_exact(&mut [0])?;
        leave();
    }
    setsid()?;
    if let ForkResult::Parent { .. } = fork()? {
        leave();
    }
    writer.write_all(b"1")?;
    sleep()
}

/// The attribute stands above `main` only; this is what it expands to.
fn ours() {
    let mut daemon = Daemon::new();
    let service = daemon
        .hooks()
        .configure(|_: &mut Daemon| Ok::<_, String>((place() == "configure").then(touch)))
        .init(|memory: Option<Vec<u8>>| Ok::<_, String>(memory.unwrap_or_else(touch)))
        .main(|_: Vec<u8>| -> () { sleep() });
    // SAFETY: nothing in this program has opened a descriptor, kept a pointer into the environment
    // or started a thread.
    unsafe { daemon.run(service) };
}
