use std::thread;

use daemon_rt::daemon;

#[daemon]
fn main() -> ! {
    loop {
        thread::park();
    }
}
