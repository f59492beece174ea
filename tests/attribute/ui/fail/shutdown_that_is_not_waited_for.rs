#![deny(unused_must_use)]

#[daemon_rt::daemon]
fn main() {
    daemon_rt::shutdown();
}
