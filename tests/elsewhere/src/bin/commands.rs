//! A service with the control commands.

#[daemon_rt::daemon(pidfile, cli)]
fn main() {
    println!("main");
}
