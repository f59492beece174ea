use std::collections::HashMap;
use std::io;

use daemon_rt::{Daemon, daemon};

trait Load: Sized {
    fn load(text: String) -> io::Result<Self>;
}

impl Load for HashMap<String, u16> {
    fn load(text: String) -> io::Result<Self> {
        Ok([(text, 80)].into())
    }
}

struct Server<T>(T);

impl<T> Server<T> {
    fn new(table: T) -> io::Result<Self> {
        Ok(Self(table))
    }
}

fn configure<T: Default, E>(_: &mut Daemon) -> Result<T, E> {
    Ok(T::default())
}

#[daemon(
    configure = crate::configure::<String, std::fmt::Error>,
    privileged_init = <HashMap<String, u16> as Load>::load,
    init = Server::<HashMap<String, u16>>::new,
    umask = 0o022,
)]
fn main(server: Server<HashMap<String, u16>>) {
    drop(server.0);
}
