use daemon_rt::daemon;

#[daemon(main_loop = serve)]
fn main() {}

fn serve(ready: daemon_rt::Ready) {
    ready.notify();
}
