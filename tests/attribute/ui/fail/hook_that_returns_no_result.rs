use daemon_rt::daemon;

#[daemon(init = bind)]
fn main() {}

fn bind() -> u16 {
    80
}
