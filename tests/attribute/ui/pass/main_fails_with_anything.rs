//! A main loop may fail with whatever can be shown at all: an error that is `Debug` alone, too.

use std::error::Error;

use daemon_rt::daemon;

mod debug {
    #[derive(Debug)]
    pub struct Fault;

    #[daemon_rt::daemon(main_loop = serve)]
    fn main() {}

    fn serve() -> Result<(), Fault> {
        Err(Fault)
    }

    pub fn start() {
        main();
    }
}

#[daemon(main_loop = serve)]
fn main() {}

fn serve() -> Result<(), Box<dyn Error + Send + Sync>> {
    debug::start();
    Ok(())
}
