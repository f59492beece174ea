//! The settings of a service, as the services under test take them: from their command line, or
//! from a variable where the command line is the library's.

use std::env;
use std::error::Error;
use std::fs::File;
use std::io;
use std::time::Duration;

use daemon_rt::{AlreadyRunning, Daemon, ErrorKind, Mode};

/// Words `KEY=VALUE` or `KEY`.
#[derive(Debug)]
pub struct Settings(Vec<(String, String)>);

impl Settings {
    /// The words in a variable, with spaces between. `pidfile` and `user` are set.
    pub fn of_variable(name: &str, daemon: &mut Daemon) -> Self {
        let text = env::var(name).unwrap_or_default();
        let settings = Self(text.split_whitespace().map(pair).collect());
        if let Some(path) = settings.get("pidfile") {
            daemon.pidfile(path);
        }
        if let Some(name) = settings.get("user") {
            daemon.user(name);
        }
        settings
    }

    /// The arguments. Those that are settings of the library are set.
    pub fn of_arguments(daemon: &mut Daemon) -> Result<Self, Box<dyn Error>> {
        let settings = Self(env::args().skip(1).map(|word| pair(&word)).collect());
        for (key, value) in settings.all() {
            set(daemon, key, value)?;
        }
        Ok(settings)
    }

    /// The value of this key: empty where there is the key alone.
    pub fn get(&self, key: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(known, _)| known == key)?;
        Some(value)
    }

    /// All of them, in their order.
    pub fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }
}

fn pair(word: &str) -> (String, String) {
    let (key, value) = word.split_once('=').unwrap_or((word, ""));
    (key.to_owned(), value.to_owned())
}

/// Sets what the arguments say, and returns those that are not settings: what the service is to do.
pub fn set_arguments(daemon: &mut Daemon) -> Result<Vec<String>, Box<dyn Error>> {
    let mut actions = Vec::new();
    for argument in env::args().skip(1) {
        match argument.split_once('=') {
            Some((key, value)) if set(daemon, key, value)? => {}
            _ => actions.push(argument),
        }
    }
    Ok(actions)
}

/// The kind of error with this name.
fn kind(name: &str) -> Result<ErrorKind, String> {
    let kinds = [
        ErrorKind::InvalidSetting,
        ErrorKind::AlreadyRunning,
        ErrorKind::Step,
        ErrorKind::Socket,
        ErrorKind::NotReady,
        ErrorKind::TimedOut,
    ];
    let mut found = kinds.into_iter().filter(|kind| format!("{kind:?}") == name);
    found.next().ok_or_else(|| format!("no kind {name}"))
}

/// A file to append to, or a FIFO.
fn opened(path: &str) -> io::Result<File> {
    File::options().append(true).create(true).open(path)
}

/// Sets what an argument `KEY=VALUE` says; `false` if there is no such setting.
pub fn set(daemon: &mut Daemon, key: &str, value: &str) -> Result<bool, Box<dyn Error>> {
    // An argument cannot hold a NUL.
    let value = value.replace(r"\0", "\0");
    let value = value.as_str();
    let list = || value.split(',').filter(|item| !item.is_empty());
    match key {
        "name" => daemon.name(value),
        "pidfile" if value.is_empty() => daemon.default_pidfile(),
        "pidfile" => daemon.pidfile(value),
        "user" => daemon.user(value),
        "uid" => daemon.user(value.parse::<u32>()?),
        "group" => daemon.group(value),
        "groups" => daemon.groups(list()),
        "chroot" => daemon.chroot(value),
        "working_directory" if value == "keep" => daemon.keep_working_directory(),
        "working_directory" => daemon.working_directory(value),
        "state_directory" => daemon.state_directory(),
        "runtime_directory" => daemon.runtime_directory(),
        "umask" if value == "keep" => daemon.keep_umask(),
        "umask" => daemon.umask(u32::from_str_radix(value, 8)?),
        "keep_env" => daemon.keep_env(list()),
        "stdout" if value == "usual" => daemon.default_stdout(),
        "keep_fd" => {
            // An argument that ends in a number keeps that descriptor: this one ends in a comma.
            let number = value.trim_end_matches(',').parse()?;
            std::mem::forget(daemon.keep_fd(number)?);
            daemon
        }
        "stdout" => daemon.stdout(value),
        "stderr" if value == "usual" => daemon.default_stderr(),
        "stderr" => daemon.stderr(value),
        "stdout_file" => daemon.stdout(opened(value)?),
        "stderr_file" => daemon.stderr(opened(value)?),
        "log_size" => daemon.log_size(value.parse()?),
        "log_keep" => daemon.log_keep(value.parse()?),
        "limits" => daemon.limits(list()),
        "nice" => daemon.nice(value.parse()?),
        "cpu_affinity" => daemon.cpu_affinity(value),
        "oom_score_adj" => daemon.oom_score_adj(value.parse()?),
        "capabilities" => daemon.capabilities(list()),
        "no_new_privs" => daemon.no_new_privs(value.parse()?),
        "start_timeout" if value == "max" => daemon.start_timeout(Duration::MAX),
        "start_timeout" => daemon.start_timeout(Duration::from_millis(value.parse()?)),
        "stop_timeout" => daemon.stop_timeout(Duration::from_millis(value.parse()?)),
        "reloads" => daemon.reloads(),
        "watchdog" => daemon.watchdog(Duration::from_millis(value.parse()?)),
        "drain_timeout" => daemon.drain_timeout(Duration::from_millis(value.parse()?)),
        "control_socket" => daemon.control_socket(),
        "already_running" if value == "wait" => daemon.already_running(AlreadyRunning::Wait),
        "already_running" => daemon.already_running(AlreadyRunning::Fail),
        "exit_status" => {
            let (name, status) = value.split_once(':').ok_or("exit_status=KIND:STATUS")?;
            daemon.exit_status(kind(name)?, status.parse()?)
        }
        "mode" => daemon.mode(match value {
            "detach" => Mode::Detach,
            "foreground" => Mode::Foreground,
            _ => Mode::Auto,
        }),
        _ => return Ok(false),
    };
    Ok(true)
}
