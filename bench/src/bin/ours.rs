//! This library without a setting.

#[daemon_rt::daemon]
fn main() {
    daemon_bench::sleep();
}
