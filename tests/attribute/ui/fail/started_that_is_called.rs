use daemon_rt::{Started, daemon};

#[daemon(started = greet())]
fn main() {}

fn greet(started: &Started) {
    println!("running as {}", started.pid);
}
