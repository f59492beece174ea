use daemon_rt::daemon;

#[daemon]
#[tokio::main(flavor = "current_thread")]
async fn main() -> u8 {
    1
}
