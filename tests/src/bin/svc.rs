//! The service that the tests start. Its arguments are settings (`pidfile=/x`, `user=nobody`) and
//! what its hooks are to do, one after the other: `HOOK:ACTION` or `HOOK:ACTION=VALUE` with the
//! hooks `configure`, `privileged_init`, `init` and `main`. Without a `main:` action it waits for
//! the termination request.

use std::error::Error;
use std::fs::File;
use std::future::Future;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::pin::pin;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use daemon_rt::{Daemon, Hold, daemon};
use daemon_tests::set;
use nix::unistd::ForkResult;

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
    for (key, value) in script
        .0
        .iter()
        .filter_map(|argument| argument.split_once('='))
    {
        if !key.contains(':') && !set(daemon, key, value)? {
            return Err(format!("unknown setting {key}").into());
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
        self.0
            .iter()
            .filter_map(|argument| argument.strip_prefix(hook)?.strip_prefix(':'))
            .collect()
    }
}

/// A task that ends when it is woken.
struct Task(Hold);

impl Wake for Task {
    fn wake(self: Arc<Self>) {}
}

/// The usual places of the service `greeter`.
fn places() -> String {
    let places = daemon_rt::places("greeter");
    let (pidfile, log) = (places.pidfile(), places.log());
    let all = [pidfile, log, places.state_directory()];
    let shown = all.map(|place| match place {
        Ok(place) => place.display().to_string(),
        Err(error) => format!("({error})"),
    });
    shown.join(" ")
}

#[allow(clippy::too_many_lines, reason = "a table of actions")]
fn act(action: &str) -> Result<()> {
    let (action, value) = action.split_once('=').unwrap_or((action, ""));
    match action {
        "err" => return Err(value.into()),
        "long_err" => return Err("line of an error\n".repeat(value.parse()?).into()),
        // An error and its sources, as `outermost|source|its source`.
        "chain" => return Err(Layer::chain(value).into()),
        // An argument cannot hold a NUL.
        "panic" => panic!("{}", value.replace(r"\0", "\0")),
        "panic_any" => std::panic::panic_any(value.len()),
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
        // Numbered lines, as `COUNT` or `COUNT NAME`.
        "lines" => {
            let (count, name) = value.split_once(' ').unwrap_or((value, "line"));
            for number in 0..count.parse::<u32>()? {
                println!("{name} {number:04}");
            }
        }
        "eprintln" => eprintln!("{value}"),
        "status" => daemon_rt::status(&value.replace(r"\0", "\0")),
        "shutdown" => daemon_rt::shutdown().wait(),
        // From here on a termination request is kept until the main loop asks for it.
        "expect_shutdown" => _ = daemon_rt::shutdown(),
        "request" => daemon_rt::shutdown().request(),
        // Holds the end up until the file, a FIFO, is at its end.
        "hold" => {
            let (held, path) = (daemon_rt::shutdown().hold(), value.to_owned());
            std::thread::spawn(move || {
                daemon_rt::shutdown().wait();
                _ = std::fs::read(path);
                drop(held);
            });
        }
        "drained" => daemon_rt::shutdown().drained().wait(),
        "drained_task" => tokio::runtime::Builder::new_current_thread()
            .build()?
            .block_on(daemon_rt::shutdown().drained()),
        // Has a task wait that holds the end up, and that only its waker has.
        "drained_waker" => {
            let task = Waker::from(Arc::new(Task(daemon_rt::shutdown().hold())));
            let mut drained = pin!(daemon_rt::shutdown().drained());
            _ = drained.as_mut().poll(&mut Context::from_waker(&task));
        }
        // Hangs, and keeps all others from writing to standard error.
        "hang_with_stderr" => {
            let _stderr = std::io::stderr().lock();
            act("hang")?;
        }
        // Asks for the termination request without waiting for it.
        "attend" => drop(daemon_rt::shutdown().requested()),
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
        "spawn_apart" => drop(
            Command::new("/bin/sh")
                .arg("-c")
                .arg(value)
                .process_group(0)
                .spawn()?,
        ),
        // A child that executes nothing: it waits for signals.
        "fork" if daemon_harness::fork()?.is_child() => act("hang")?,
        "fork" => {}
        // The same, but it exits at once, as a process does, and is waited for.
        "fork_exit" => match daemon_harness::fork()? {
            ForkResult::Child => std::process::exit(0),
            ForkResult::Parent { child } => drop(nix::sys::wait::waitpid(child, None)?),
        },
        "thread" => drop(std::thread::spawn(|| {
            std::thread::sleep(Duration::from_hours(1));
        })),
        "joined_thread" => std::thread::spawn(|| ())
            .join()
            .map_err(|_| "it panicked")?,
        "panicking_thread" => drop(std::thread::spawn(|| panic!("in a thread")).join()),
        // Appends a line to a file.
        "note" => {
            let (path, text) = value.split_once(':').ok_or("note=PATH:TEXT")?;
            let mut file = std::fs::OpenOptions::new()
                .append(true)
                .create(true)
                .open(path)?;
            writeln!(file, "{text}")?;
        }
        "write" => std::fs::write(value, "written by the service\n")?,
        // Opens a file for as long as the service lives.
        "open" => std::mem::forget(
            std::fs::OpenOptions::new()
                .read(true)
                .write(true)
                .open(value)?,
        ),
        // Makes a file standard error.
        "stderr_to" => {
            let file = std::fs::OpenOptions::new()
                .read(true)
                .write(true)
                .open(value)?;
            nix::unistd::dup2_stderr(file)?;
        }
        // Leaves no descriptor to be opened.
        "exhaust" => while File::open("/dev/null").map(std::mem::forget).is_ok() {},
        // The environment, as what is executed inherits it.
        "environ" => drop(
            Command::new("/bin/cat")
                .arg("/proc/self/environ")
                .stdout(File::create(value)?)
                .status()?,
        ),
        "bind" => std::mem::forget(std::net::TcpListener::bind(value)?),
        "connect" => std::mem::forget(std::net::TcpStream::connect(value)?),
        "bind_udp" => std::mem::forget(std::net::UdpSocket::bind(value)?),
        "keyring" => std::fs::write(value, daemon_harness::session_keyring()?.to_string())?,
        "securebits" => std::fs::write(
            value,
            rustix::thread::capabilities_secure_bits()?
                .bits()
                .to_string(),
        )?,
        // Tries to become root again.
        "regain" => match daemon_harness::ways_back_to_root().as_slice() {
            [] => {}
            ways => return Err(format!("root again by {}", ways.join(", ")).into()),
        },
        // The usual places of a service: to standard output, or to a file.
        "places" if value == "-" => print!("{}", places()),
        "places" => std::fs::write(value, places())?,
        // Where its own directory is.
        "own" => print!(
            "{}",
            daemon_rt::places("greeter").runtime_directory()?.display()
        ),
        "remove" => std::fs::remove_file(value)?,
        "cat" => print!("{}", std::fs::read_to_string(value)?),
        // Tries to write a file through every descriptor that leads to it.
        "forge" => {
            for entry in std::fs::read_dir("/proc/self/fd")? {
                let path = entry?.path();
                let leads_there =
                    std::fs::read_link(&path).is_ok_and(|target| target == Path::new(value));
                if leads_there && std::fs::OpenOptions::new().write(true).open(&path).is_ok() {
                    return Err(format!("{value} can be written through {}", path.display()).into());
                }
            }
        }
        "overflow" => drop(overflow(0)),
        "overflowing_thread" => drop(std::thread::spawn(|| overflow(0)).join()),
        // Takes the sockets from the manager, each as the kind at its place in KINDS, and writes
        // their names.
        "take" => {
            let (path, kinds) = value.split_once(':').ok_or("take=PATH:KINDS")?;
            let passed = daemon_rt::listeners()?;
            let mut names = File::create(path)?;
            passed
                .iter()
                .try_for_each(|passed| writeln!(names, "{}", passed.name()))?;
            passed
                .into_iter()
                .zip(kinds.split(','))
                .try_for_each(|(passed, kind)| take(passed, kind))?;
        }
        "listener_or" => {
            std::mem::forget(daemon_rt::listener_or("main", || {
                std::net::TcpListener::bind(value)
            })?);
        }
        "listen" => std::mem::forget(daemon_rt::listen::<std::os::unix::net::UnixListener>(
            "main", value,
        )?),
        "watchdog" => std::fs::write(value, format!("{:?}\n", daemon_rt::watchdog().interval()))?,
        "ping" => daemon_rt::watchdog().ping(),
        "store" => daemon_rt::store_fd(value, std::io::stdin())?,
        "remove_stored" => daemon_rt::remove_stored_fd(value)?,
        // Handles SIGHUP from now on, with a line on stdout for each.
        "reloads" => {
            let reloads = daemon_rt::reloads();
            drop(std::thread::spawn(|| {
                reloads.for_each(|_reload| println!("reloaded"));
            }));
        }
        // So many children at once, each with an exit status of its own, which has to arrive here.
        "children" => {
            let exit = |status: u8| {
                Command::new("/bin/sh")
                    .arg("-c")
                    .arg(format!("exit {status}"))
                    .spawn()
            };
            let children = (0..value.parse()?)
                .map(exit)
                .collect::<std::io::Result<Vec<_>>>()?;
            for (expected, mut child) in children.into_iter().enumerate() {
                let status = child.wait()?.code();
                if status != i32::try_from(expected).ok() {
                    return Err(format!("child {expected} ended with {status:?}").into());
                }
            }
        }
        _ => return Err(format!("unknown action {action}").into()),
    }
    Ok(())
}

/// An error with a source.
#[derive(Debug)]
struct Layer(String, Option<Box<Layer>>);

impl Layer {
    fn chain(text: &str) -> Self {
        let (text, source) = text
            .split_once('|')
            .map_or((text, None), |(text, source)| (text, Some(source)));
        Self(
            text.to_owned(),
            source.map(|source| Box::new(Self::chain(source))),
        )
    }
}

impl std::fmt::Display for Layer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Layer {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.1.as_deref()?)
    }
}

/// Uses up the stack. Not every compiler looks at each page of a larger frame, which may leap over
/// the one by which the runtime knows an overflow.
#[expect(unconditional_recursion, reason = "that is its purpose")]
fn overflow(depth: u64) -> [u64; 32] {
    std::hint::black_box(overflow(depth + 1).map(|word| word + depth))
}

/// Holds on to a passed descriptor, if it is of this kind.
fn take(passed: daemon_rt::Listener, kind: &str) -> Result<()> {
    match kind {
        "tcp" => std::mem::forget(std::net::TcpListener::try_from(passed)?),
        "tcp-connection" => std::mem::forget(std::net::TcpStream::try_from(passed)?),
        "udp" => std::mem::forget(std::net::UdpSocket::try_from(passed)?),
        "unix" => std::mem::forget(std::os::unix::net::UnixListener::try_from(passed)?),
        "unix-connection" => std::mem::forget(std::os::unix::net::UnixStream::try_from(passed)?),
        "unix-datagram" => std::mem::forget(std::os::unix::net::UnixDatagram::try_from(passed)?),
        "fifo" => std::mem::forget(File::try_from(passed)?),
        _ => std::mem::forget(std::os::fd::OwnedFd::from(passed)),
    }
    Ok(())
}
