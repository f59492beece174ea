use daemon_rt::daemon;

#[daemon(working_directory = "here")]
fn main() {}
