use daemon_rt::daemon;

#[daemon(defer_ready)]
fn main(ready: daemon_rt::Ready) {
    ready.notify();
}
