//! A service without hooks or settings.

#[daemon_rt::daemon]
fn main() -> Result<(), String> {
    println!("main");
    match std::env::args().nth(1) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}
