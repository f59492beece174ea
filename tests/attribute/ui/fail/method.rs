use daemon_rt::daemon;

struct Server;

impl Server {
    #[daemon]
    fn run(&self) {}
}

fn main() {
    Server.run();
}
