use std::convert::Infallible;

use daemon_rt::daemon;

#[daemon(init = init)]
fn main(names: &[&str]) {
    let _ = names.len();
}

fn init() -> Result<&'static [&'static str], Infallible> {
    Ok(&["greeter"])
}
