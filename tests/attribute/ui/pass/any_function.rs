//! Functions of any name, in any place. Their visibility is kept.

use std::process::ExitCode;

mod agent {
    use std::io;

    use daemon_rt::daemon;

    /// The agent.
    #[daemon(init = listen)]
    pub(crate) fn serve(state: u8) -> io::Result<()> {
        let _ = state;
        Ok(())
    }

    #[allow(clippy::unnecessary_wraps)]
    fn listen() -> io::Result<u8> {
        Ok(1)
    }

    #[daemon]
    pub(super) fn main() {}
}

struct Server;

impl Server {
    #[daemon_rt::daemon(defer_ready)]
    fn run(ready: daemon_rt::Ready) {
        ready.notify();
    }

    #[daemon_rt::daemon]
    #[tokio::main(flavor = "current_thread")]
    async fn run_on_tokio() {}
}

fn nested() -> ExitCode {
    #[daemon_rt::daemon(pidfile = "/run/nested.pid")]
    fn main() {}
    main()
}

fn main() -> ExitCode {
    match std::env::args().count() {
        1 => agent::serve(),
        2 => agent::main(),
        3 => Server::run(),
        4 => Server::run_on_tokio(),
        _ => nested(),
    }
}
