use daemon_rt::daemon;

#[daemon(started = greet)]
fn main() {}

fn greet() {
    println!("running");
}
