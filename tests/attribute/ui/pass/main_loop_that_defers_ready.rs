use daemon_rt::{Ready, daemon};

#[daemon(main_loop = serve, defer_ready)]
fn main() {}

fn serve(ready: Ready) {
    ready.notify();
}
