//! A library that is loaded late, and starts a service.

use std::process::ExitCode;

#[daemon_rt::daemon(mode = "detach", configure = pidfile)]
fn serve() {
    daemon_rt::shutdown().wait();
}

fn pidfile(daemon: &mut daemon_rt::Daemon) -> Result<(), &'static str> {
    daemon.pidfile(std::env::var_os("PIDFILE_PATH").ok_or("no path")?);
    Ok(())
}

/// Starts it.
#[unsafe(no_mangle)]
pub extern "C" fn start() -> i32 {
    i32::from(serve() != ExitCode::SUCCESS)
}
