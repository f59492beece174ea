use daemon_rt::daemon;

#[daemon(started = greet)]
fn main() {}

fn greet(pid: u32) {
    println!("running as {pid}");
}
