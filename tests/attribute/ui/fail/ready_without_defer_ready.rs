use daemon_rt::daemon;

#[daemon]
fn main(ready: daemon_rt::Ready) {
    ready.notify();
}
