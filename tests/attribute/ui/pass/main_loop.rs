use std::io;

use daemon_rt::daemon;

#[daemon(init = greeter::init, main_loop = greeter::serve)]
fn main() {}

mod greeter {
    use super::io;

    pub(crate) fn init() -> io::Result<u8> {
        Ok(1)
    }

    pub(crate) fn serve(state: u8) -> io::Result<()> {
        let _ = state;
        Ok(())
    }
}
