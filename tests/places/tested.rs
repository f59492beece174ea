//! A program whose `main` is called by a test: beside the test's thread there is another.
#![forbid(unsafe_code)]

#[daemon_rt::daemon(mode = "foreground")]
fn main() {
    println!("in the main loop");
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_main_is_called_late() {
        super::main();
    }
}
