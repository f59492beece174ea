use std::fs::File;
use std::io;
use std::net::TcpListener;

use daemon_rt::{Daemon, daemon};

struct Settings {
    host: String,
    port: u16,
}

// The order in which they are written does not matter.
#[daemon(init = open, configure = configure, privileged_init = bind)]
fn main((listener, log): (TcpListener, File)) -> io::Result<()> {
    let _ = (listener.local_addr()?, log);
    Ok(())
}

fn configure(daemon: &mut Daemon) -> io::Result<Settings> {
    daemon.umask(0o027).pidfile("/run/greeter.pid");
    Ok(Settings { host: "127.0.0.1".to_owned(), port: 0 })
}

fn bind(settings: Settings) -> io::Result<TcpListener> {
    TcpListener::bind((settings.host, settings.port))
}

fn open(listener: TcpListener) -> io::Result<(TcpListener, File)> {
    Ok((listener, File::open("/dev/null")?))
}
