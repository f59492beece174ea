//! A service whose parts listen to signals, each in a way of its own. Its arguments are settings
//! (`pidfile=/x`), and which listeners it has, in the order in which they come:
//! `HOOK:LISTENER=SIGNAL` with the hooks `configure` and `init`.
//!
//! - `notes=PATH`: a file in which it says `up` in its main loop, and each listener what it hears:
//!   `LISTENER SIGNAL`
//! - `ends=N`: it says `drained` there and ends when N such lines are written, those of SIGHUP
//!   apart
//! - `request=`: it requests its own end in its main loop
//! - `hangup_ends=`: those of SIGHUP, too
//! - `reload=PATH`: a reload fails with what the file of this name holds, or panics with it if that
//!   begins with `panic`; a FIFO makes it wait
//!
//! | listener | is |
//! | --- | --- |
//! | `shutdown`, `reloads` | the library's |
//! | `next`, `stream` | the library's reloads in a task |
//! | `tokio`, `ctrl_c` | `tokio::signal` |
//! | `flag`, `iterator` | `signal_hook` |
//! | `ctrlc` | the crate of that name, for SIGTERM, SIGINT and SIGHUP |
//! | `c`, `c_info`, `c_once` | a handler as C installs it, by sigaction(2) |
//! | `c_interrupts` | the same, and the main loop waits in read(2), which it interrupts (no SA_RESTART) |
//! | `c_unsafe` | one that takes memory |
//! | `sigwait` | a thread that waits for the signal, which all others block |
//! | `asks` | none: it asks for the library's, and does not wait |
//! | `fork` | none: a child that executes nothing |

use std::error::Error;
use std::ffi::{c_int, c_void};
use std::fs::{self, File, OpenOptions};
use std::future::Future;
use std::io::Write;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use daemon_harness::{sigaction, sigaction_info};
use daemon_rt::{Daemon, Reload, daemon, reloads, shutdown};
use daemon_tests::set;
use futures_util::StreamExt;
use nix::errno::Errno;
use nix::libc::siginfo_t;
use nix::sys::signal::{SigSet, Signal};
use tokio::signal::unix::{SignalKind, signal};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

static NOTES: OnceLock<File> = OnceLock::new();
static ENDS: OnceLock<Ends> = OnceLock::new();
/// The signal that is to interrupt what the main loop waits for.
static INTERRUPTS: OnceLock<Signal> = OnceLock::new();
static REQUESTS: AtomicBool = AtomicBool::new(false);
static RELOAD: OnceLock<String> = OnceLock::new();
/// The flags of `signal_hook`, which the main loop looks at.
static FLAGS: Mutex<Vec<(Signal, Arc<AtomicBool>)>> = Mutex::new(Vec::new());

/// When the service ends.
struct Ends {
    after: usize,
    by_hangup: bool,
    heard: AtomicUsize,
    /// The main loop, which is told of each line.
    main: Mutex<mpsc::Sender<()>>,
}

#[daemon(configure = configure, init = init, umask = 0o022)]
fn main(told: mpsc::Receiver<()>) -> Result<()> {
    let ends = ENDS.get().ok_or("it has no end")?;
    writeln!(NOTES.get().ok_or("no notes")?, "up")?;
    if REQUESTS.load(Ordering::Acquire) {
        shutdown().request();
    }
    if let Some(signal) = INTERRUPTS.get() {
        let (nothing, _open) = nix::unistd::pipe()?;
        let interrupted = nix::unistd::read(&nothing, &mut [0]) == Err(Errno::EINTR);
        hear(
            if interrupted { "interrupted" } else { "read" },
            Some(*signal),
        );
    }
    while ends.heard.load(Ordering::Acquire) < ends.after {
        for (signal, flag) in FLAGS.lock().map_err(|_| "a panic")?.iter() {
            if flag.swap(false, Ordering::AcqRel) {
                hear("flag", Some(*signal));
            }
        }
        // Flags, and handlers of C's, tell nobody.
        _ = told.recv_timeout(Duration::from_millis(10));
    }
    writeln!(NOTES.get().ok_or("no notes")?, "drained")?;
    Ok(())
}

struct Script(Vec<String>, mpsc::Receiver<()>);

fn configure(daemon: &mut Daemon) -> Result<Script> {
    let (main, told) = mpsc::channel();
    let script = Script(std::env::args().skip(1).collect(), told);
    let (mut after, mut by_hangup) = (1, false);
    for (key, value) in script
        .0
        .iter()
        .filter_map(|argument| argument.split_once('='))
    {
        match key {
            "notes" => _ = NOTES.set(OpenOptions::new().create(true).append(true).open(value)?),
            "ends" => after = value.parse()?,
            "hangup_ends" => by_hangup = true,
            "request" => REQUESTS.store(true, Ordering::Release),
            "reload" => _ = RELOAD.set(value.to_owned()),
            _ if key.contains(':') => {}
            _ if set(daemon, key, value)? => {}
            _ => return Err(format!("unknown setting {key}").into()),
        }
    }
    _ = ENDS.set(Ends {
        after,
        by_hangup,
        heard: AtomicUsize::new(0),
        main: main.into(),
    });
    script.listen("configure")?;
    Ok(script)
}

fn init(script: Script) -> Result<mpsc::Receiver<()>> {
    script.listen("init")?;
    Ok(script.1)
}

impl Script {
    fn listen(&self, hook: &str) -> Result<()> {
        for listener in self
            .0
            .iter()
            .filter_map(|argument| argument.strip_prefix(hook)?.strip_prefix(':'))
        {
            let (listener, name) = listener.split_once('=').unwrap_or((listener, "SIGTERM"));
            listen(listener, name.parse()?)?;
        }
        Ok(())
    }
}

/// Only what signal-safety(7) allows is called here.
fn note(line: &str, signal: Option<Signal>) {
    // One write(2) a line, so that lines are whole.
    _ = NOTES
        .get()
        .map(|mut notes| notes.write_all(line.as_bytes()));
    let Some(ends) = ENDS.get() else { return };
    if ends.by_hangup || signal != Some(Signal::SIGHUP) {
        ends.heard.fetch_add(1, Ordering::AcqRel);
    }
}

/// The same in a thread of its own.
fn hear(listener: &str, signal: Option<Signal>) {
    note(
        &format!("{listener} {}\n", signal.map_or("-", Signal::as_str)),
        signal,
    );
    if let Some(ends) = ENDS.get() {
        _ = ends.main.lock().expect("no panic").send(());
    }
}

fn listen(listener: &str, to: Signal) -> Result<()> {
    let name = listener.to_owned();
    match listener {
        "shutdown" => {
            let shutdown = shutdown();
            thread::spawn(move || {
                shutdown.wait();
                hear(&name, None);
            });
        }
        // Only asks, and leaves it to others to wait.
        "asks" => _ = (shutdown(), reloads()),
        "reloads" => {
            let reloads = reloads();
            thread::spawn(move || {
                for reload in reloads {
                    handle(&name, reload);
                }
            });
        }
        "next" => {
            let mut reloads = reloads();
            in_runtime(async move |ready| {
                _ = ready.send(());
                while let Some(reload) = reloads.next().await {
                    handle(&name, reload);
                }
            });
        }
        "stream" => {
            let mut reloads = reloads().stream();
            in_runtime(async move |ready| {
                _ = ready.send(());
                while let Some(reload) = reloads.next().await {
                    handle(&name, reload);
                }
            });
        }
        "tokio" => in_runtime(async move |ready| {
            let mut signals = signal(SignalKind::from_raw(to as i32)).expect("a listener");
            _ = ready.send(());
            while signals.recv().await.is_some() {
                hear(&name, Some(to));
            }
        }),
        "ctrl_c" => in_runtime(async move |ready| {
            let mut signals = pin!(tokio::signal::ctrl_c());
            // It listens from the first poll on.
            tokio::select! { biased; _ = &mut signals => {}, () = std::future::ready(()) => {} }
            _ = ready.send(());
            signals.await.expect("a listener");
            hear(&name, Some(to));
        }),
        "flag" => {
            let flag = Arc::new(AtomicBool::new(false));
            signal_hook::flag::register(to as i32, flag.clone())?;
            FLAGS.lock().expect("no panic").push((to, flag));
        }
        "iterator" => {
            let mut signals = signal_hook::iterator::Signals::new([to as i32])?;
            thread::spawn(move || signals.forever().for_each(|_| hear(&name, Some(to))));
        }
        // Every thread that is started later blocks the signal.
        "sigwait" => {
            let only = SigSet::from(to);
            only.thread_block()?;
            thread::spawn(move || {
                while only.wait().is_ok() {
                    hear(&name, Some(to));
                }
            });
        }
        // A child that does nothing.
        "fork" if daemon_harness::fork()?.is_child() => loop {
            thread::park();
        },
        "fork" => {}
        "ctrlc" => ctrlc::set_handler(move || hear(&name, None))?,
        "c" => sigaction(to, 0, c)?,
        "c_interrupts" => {
            _ = INTERRUPTS.set(to);
            sigaction(to, 0, c)?;
        }
        "c_once" => sigaction(to, nix::libc::SA_RESETHAND, c)?,
        "c_info" => sigaction_info(to, c_info)?,
        "c_unsafe" => sigaction(to, 0, c_unsafe)?,
        _ => return Err(format!("unknown listener {listener}").into()),
    }
    Ok(())
}

/// Runs a task in a thread of its own, and returns when it is ready to listen.
fn in_runtime<F: Future<Output = ()>>(task: impl FnOnce(mpsc::Sender<()>) -> F + Send + 'static) {
    let (ready, listens) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(task(ready));
    });
    listens.recv().expect("a task that listens");
}

fn handle(listener: &str, reload: Reload) {
    hear(listener, Some(Signal::SIGHUP));
    let Some(text) = RELOAD.get().and_then(|path| fs::read_to_string(path).ok()) else {
        return;
    };
    match text.trim() {
        "" => {}
        "errno" => reload.failed(std::io::Error::from_raw_os_error(nix::libc::EMFILE)),
        text if text.starts_with("panic") => panic!("{text}"),
        text => reload.failed(text),
    }
}

/// Only what signal-safety(7) allows is called here.
extern "C" fn c(signal: c_int) {
    note_in_handler(b"c ", signal);
}

/// It takes memory, which no handler may.
extern "C" fn c_unsafe(signal: c_int) {
    drop(std::hint::black_box(Box::new(signal)));
    c(signal);
}

/// The same, with all that the kernel tells.
extern "C" fn c_info(signal: c_int, info: Option<&siginfo_t>, context: Option<&c_void>) {
    let informed = info.is_some_and(|info| info.si_signo == signal) && context.is_some();
    note_in_handler(if informed { b"c_info " } else { b"c_lost " }, signal);
}

fn note_in_handler(listener: &[u8], signal: c_int) {
    let Ok(signal) = Signal::try_from(signal) else {
        return;
    };
    let (mut line, mut length) = ([0; 32], 0);
    for part in [listener, signal.as_str().as_bytes(), b"\n"] {
        line[length..length + part.len()].copy_from_slice(part);
        length += part.len();
    }
    note(
        std::str::from_utf8(&line[..length]).unwrap_or_default(),
        Some(signal),
    );
}
