use daemon_rt::daemon;

#[daemon]
async fn main() {}
