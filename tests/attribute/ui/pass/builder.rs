use std::io;

use daemon_rt::{Daemon, Ready};

fn main() {
    let name = String::from("greeter");
    let mut daemon = Daemon::new();
    daemon.umask(0o022).keep_umask().keep_working_directory();
    let service = daemon
        .hooks()
        .configure(|daemon: &mut Daemon| -> io::Result<&str> {
            daemon.name(&name);
            Ok(&name)
        })
        .privileged_init(|name: &str| -> io::Result<usize> { Ok(name.len()) })
        .init(|length: usize| -> io::Result<()> {
            assert_eq!(length, 7);
            Ok(())
        })
        .defer_ready(|ready: Ready| ready.notify());
    drop(service);
    drop(daemon.hooks().main(|| ()));
}
