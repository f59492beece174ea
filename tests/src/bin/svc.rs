//! The service that the tests start. Its arguments are settings (`pidfile=/x`, `user=nobody`) and what its hooks are to
//! do, one after the other: `HOOK:ACTION` or `HOOK:ACTION=VALUE` with the hooks `configure`, `privileged_init`, `init`
//! and `main`. Without a `main:` action it waits for the termination request.

use std::error::Error;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::Duration;

use daemon_rt::{Daemon, Mode, daemon};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What the hooks after `configure` are to do.
struct Script(Vec<String>);

#[daemon(configure = configure, privileged_init = privileged_init, init = init)]
fn main(script: Script) -> Result<ExitCode> {
    let actions = script.of("main");
    if actions.is_empty() {
        daemon_rt::shutdown().wait();
    }
    actions.into_iter().try_for_each(act)?;
    Ok(ExitCode::SUCCESS)
}

fn configure(daemon: &mut Daemon) -> Result<Script> {
    let script = Script(std::env::args().skip(1).collect());
    for (key, value) in script.0.iter().filter_map(|argument| argument.split_once('=')) {
        if !key.contains(':') {
            set(daemon, key, value)?;
        }
    }
    script.of("configure").into_iter().try_for_each(act)?;
    Ok(script)
}

fn privileged_init(script: Script) -> Result<Script> {
    script.of("privileged_init").into_iter().try_for_each(act)?;
    Ok(script)
}

fn init(script: Script) -> Result<Script> {
    script.of("init").into_iter().try_for_each(act)?;
    Ok(script)
}

impl Script {
    fn of(&self, hook: &str) -> Vec<&str> {
        self.0.iter().filter_map(|argument| argument.strip_prefix(hook)?.strip_prefix(':')).collect()
    }
}

fn set(daemon: &mut Daemon, key: &str, value: &str) -> Result<()> {
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
        "working_directory" => daemon.working_directory(value),
        "umask" => daemon.umask(u32::from_str_radix(value, 8)?),
        "keep_env" => daemon.keep_env(list()),
        "stdout" => daemon.stdout(value),
        "stderr" => daemon.stderr(value),
        "capabilities" => daemon.capabilities(list()),
        "no_new_privs" => daemon.no_new_privs(value.parse()?),
        "start_timeout" => daemon.start_timeout(Duration::from_millis(value.parse()?)),
        "mode" => daemon.mode(match value {
            "detach" => Mode::Detach,
            "foreground" => Mode::Foreground,
            _ => Mode::Auto,
        }),
        _ => return Err(format!("unknown setting {key}").into()),
    };
    Ok(())
}

fn act(action: &str) -> Result<()> {
    let (action, value) = action.split_once('=').unwrap_or((action, ""));
    match action {
        "err" => return Err(value.into()),
        "long_err" => return Err("line of an error\n".repeat(value.parse()?).into()),
        "panic" => panic!("{value}"),
        "exit" => std::process::exit(value.parse()?),
        "abort" => std::process::abort(),
        "kill" => {
            let signal = nix::sys::signal::Signal::try_from(value.parse::<i32>()?)?;
            nix::sys::signal::kill(nix::unistd::getpid(), signal)?;
        }
        "sleep" => std::thread::sleep(Duration::from_millis(value.parse()?)),
        "hang" => loop {
            std::thread::park();
        },
        "print" => print!("{value}"),
        "eprintln" => eprintln!("{value}"),
        "status" => daemon_rt::status(value),
        "shutdown" => daemon_rt::shutdown().wait(),
        // A shell command, waited for.
        "sh" => {
            let status = Command::new("/bin/sh").arg("-c").arg(value).status()?;
            if !status.success() {
                return Err(format!("{value}: {status}").into());
            }
        }
        // A shell command that goes on.
        "spawn" => drop(Command::new("/bin/sh").arg("-c").arg(value).spawn()?),
        // The same in a process group of its own.
        "spawn_apart" => drop(Command::new("/bin/sh").arg("-c").arg(value).process_group(0).spawn()?),
        "thread" => drop(std::thread::spawn(|| std::thread::sleep(Duration::from_secs(3600)))),
        "joined_thread" => std::thread::spawn(|| ()).join().map_err(|_| "it panicked")?,
        "panicking_thread" => drop(std::thread::spawn(|| panic!("in a thread")).join()),
        // Appends a line to a file.
        "note" => {
            let (path, text) = value.split_once(':').ok_or("note=PATH:TEXT")?;
            let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path)?;
            writeln!(file, "{text}")?;
        }
        "write" => std::fs::write(value, "written by the service\n")?,
        // Opens a file for as long as the service lives.
        "open" => std::mem::forget(std::fs::OpenOptions::new().read(true).write(true).open(value)?),
        "remove" => std::fs::remove_file(value)?,
        _ => return Err(format!("unknown action {action}").into()),
    }
    Ok(())
}
