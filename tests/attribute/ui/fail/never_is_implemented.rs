struct Mine;

impl daemon_rt::hooks::Never for Mine {}

fn main() {}
