//! `peer-daemonize DIRECTORY`: as `examples/complex.rs` of daemonize, with a user of Debian's.

use std::{env, fs::File, path::PathBuf, thread::park};

use daemonize::Daemonize;

fn main() {
    let directory = PathBuf::from(env::args_os().nth(1).expect("a directory"));
    let stdout = File::create(directory.join("daemon.out")).unwrap();
    let stderr = File::create(directory.join("daemon.err")).unwrap();

    let daemonize = Daemonize::new()
        .pid_file(directory.join("pid"))
        .chown_pid_file(true)
        .working_directory("/tmp")
        .user("nobody")
        .group("nogroup")
        .stdout(stdout)
        .stderr(stderr)
        .privileged_action(|| "Executed before drop privileges");

    match daemonize.start() {
        Ok(_) => println!("Success, daemonized"),
        // As the example has it, but for the status, which it leaves at 0.
        Err(e) => {
            eprintln!("Error, {}", e);
            std::process::exit(1);
        }
    }
    loop {
        park();
    }
}
