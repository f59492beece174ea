use daemon_rt::daemon;

#[daemon(oom_score_adj = "-500")]
fn main() {}
