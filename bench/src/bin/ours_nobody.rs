//! This library with a user and no pidfile.

#[daemon_rt::daemon(user = "nobody", umask = 0o022)]
fn main() {
    daemon_bench::sleep();
}
