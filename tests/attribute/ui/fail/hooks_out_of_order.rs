use daemon_rt::Daemon;

fn main() {
    let hooks = Daemon::new().hooks().init(|| -> Result<(), String> { Ok(()) });
    let _ = hooks.privileged_init(|| -> Result<(), String> { Ok(()) });
}
