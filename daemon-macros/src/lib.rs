//! The attribute `#[daemon(…)]`. Depend on the crate daemon-rt, which re-exports it.
#![forbid(unsafe_code)]

use proc_macro::TokenStream;

mod args;
mod cpus;
mod entry;
mod expand;
#[cfg(test)]
mod fuzz;
mod limits;
mod literals;
mod message;
mod names;
mod tokens;
mod values;

/// Turns a function into a service that behaves well wherever it is started. From a shell, cron or an
/// init script it becomes the daemon of daemon(7); under a service manager it stays in the
/// foreground.
///
/// ```no_run
/// use std::io::{self, Write};
/// use std::net::TcpListener;
///
/// use daemon_rt::daemon;
///
/// // Runs in the daemon, before the starter exits. When it returns `Ok`, the service is ready.
/// fn bind() -> io::Result<TcpListener> {
///     TcpListener::bind("127.0.0.1:7007")
/// }
///
/// // The main loop. It runs when the service is ready, and takes what `bind` returned.
/// #[daemon(pidfile = "/run/greeter.pid", user = "nobody", umask = 0o022, init = bind)]
/// fn main(listener: TcpListener) {
///     for mut peer in listener.incoming().flatten() {
///         _ = peer.write_all(b"hello\n");
///     }
/// }
/// ```
///
/// # Hooks
///
/// In the order in which they run. Each takes what the previous one returned. Where that is `()`,
/// or there is no previous one, it takes no parameter.
///
/// | argument | signature | runs |
/// | --- | --- | --- |
/// | `configure = f` | `fn(&mut Daemon) -> Result<C, E>` | in the process that was started, on the terminal, before any fork: for arguments, configuration, `--help`. It may change every setting |
/// | `privileged_init = f` | `fn(C) -> Result<P, E>` | in the daemon, before privileges are dropped: for low ports and keys |
/// | `init = f` | `fn(P) -> Result<S, E>` | in the daemon, after privileges were dropped |
/// | | `fn main(S) -> T`, or of another name | when the service is ready. `T` is any type that `fn main` can return |
/// | `main_loop = f` | `fn(S) -> T` | instead of `main`, which is then `fn main() {}` |
/// | `defer_ready` | `fn main(S, Ready) -> T` | as `main`. The service is ready only when the main loop calls `ready.notify()` |
///
/// `f` is the path of a function. `E` is any `std::error::Error`, `Box<dyn Error>`, `Box<dyn Error +
/// Send + Sync>`, `anyhow::Error`, `String` or `&'static str`. An error ends the start: the starter
/// prints it and exits with status 78 (`configure`) or 1. With `defer_ready`, the type of the last parameter is
/// recognized by its name, `Ready`.
///
/// For an `async fn` put the attribute of its runtime below this one: the runtime then starts
/// after the forks. A server that is up only inside its runtime uses `defer_ready`:
///
/// ```no_run
/// use daemon_rt::{Ready, daemon};
///
/// #[daemon(pidfile, defer_ready)]
/// #[tokio::main(flavor = "current_thread")]
/// async fn main(ready: Ready) {
///     // … bind and connect, then:
///     ready.notify();
///     // … serve
/// }
/// ```
///
/// # The last word
///
/// With `started` the process that was started has a last word for the person who waits: a function, or
/// the message that it is to print on standard output. In the message `{pid}` is the daemon's process,
/// and the names of constants can stand, as in that of a `println!`.
///
/// ```no_run
/// use daemon_rt::{daemon, shutdown};
///
/// #[daemon(pidfile = "/run/greeter.pid", started = "the greeter runs as process {pid}")]
/// fn main() {
///     shutdown().wait();
/// }
/// ```
///
/// | argument | signature | runs |
/// | --- | --- | --- |
/// | `started = f` | `fn(&Started)` | in the process that was started, when the service is ready, before that process ends with status 0 |
/// | `started = "…"` | a message | the same |
///
/// What it prints comes after the service's progress and stays on the terminal. It does not run where the
/// start fails, where another instance runs already, and in the foreground. The service is ready by then:
/// a panic or a signal that ends this process does not change that. See [`Service::started`].
///
/// [`Service::started`]: https://docs.rs/daemon-rt/latest/daemon_rt/hooks/struct.Service.html#method.started
///
/// # From anywhere
///
/// On a function other than `main` the attribute makes it `fn NAME() -> ExitCode`, for the program to
/// call where it has decided to serve:
///
/// ```no_run
/// use std::io;
/// use std::os::unix::net::UnixListener;
/// use std::process::ExitCode;
///
/// use daemon_rt::daemon;
///
/// #[daemon(pidfile, init = listen)]
/// fn serve(listener: UnixListener) -> io::Result<()> {
///     for _client in listener.incoming() { /* … */ }
///     Ok(())
/// }
///
/// fn listen() -> io::Result<UnixListener> {
///     UnixListener::bind("/run/agent.socket")
/// }
///
/// fn main() -> ExitCode {
///     match std::env::args().nth(1).as_deref() {
///         Some("serve") => serve(),
///         _ => todo!("ask the agent"),
///     }
/// }
/// ```
///
/// The program must have a single thread then, which is checked before anything is changed: start
/// threads in `init` or later. A process makes one start; a second one is refused with status 2.
///
/// Step 1 closes what was open before `main` and is not close-on-exec. What the program has opened
/// stays open in the daemon, and its values live on there: what a `BufWriter` holds is the daemon's to
/// write, so flush it before. Child processes are not the daemon's. Ignored signals are reset, handlers
/// stay. The environment is replaced. See [`Daemon::serve`].
///
/// A `main` in the root of a program, with literals as settings and without `crate`, starts a little
/// faster: nothing can have run before it. Any other `main` starts as any other function.
///
/// [`Daemon::serve`]: https://docs.rs/daemon-rt/latest/daemon_rt/struct.Daemon.html#method.serve
///
/// # Settings
///
/// Each is the method of the same name on `Daemon`. A value is a literal, which is checked when
/// compiling, or any expression of the right type.
///
/// | argument | value | if not given |
/// | --- | --- | --- |
/// | `name` | a string | the binary's name |
/// | `pidfile` | an absolute path; without a value, its [usual place], such as `/run/NAME.pid` | none |
/// | `user`, `group` | a name or a number | unchanged; the user's primary group |
/// | `groups` | a list of names or numbers | the user's own |
/// | `chroot` | an absolute path | none |
/// | `working_directory` | an absolute path; `"keep"` for the caller's | `/` |
/// | `runtime_directory` | no value: a directory of the service's own, such as `/run/NAME`, made in the start for its user | none |
/// | `state_directory` | the same for what it keeps from one run to the next, such as `/var/lib/NAME` | none |
/// | `umask` | a number in octal; `"keep"` for the caller's | `0`: everyone can then write the files that the standard library creates, so set `0o022` or stricter |
/// | `keep_env` | a list of names of environment variables; a trailing `*` stands for any ending | only `LANG`, `LANGUAGE`, `LC_*`, `TZ`, `RUST_LOG` and `RUST_BACKTRACE` are kept |
/// | `keep_fds` | a list of numbers of inherited descriptors that stay open, such as `[3, 4]`; set in `configure` they come too late for a start that detaches | none |
/// | `keep_fds_from` | a list of environment variables whose values are such numbers; the same | none |
/// | `stdout`, `stderr` | an absolute path, appended to; without a value, the log's [usual place], such as `/var/log/NAME.log`; `"journal"` for systemd's journal, `"syslog"` for the system log, each the usual place where there is none; `"keep"` for the caller's; or a `Log` | `/dev/null` |
/// | `log_size` | `"10M"`, `"500K"`, `"1G"` or a number of bytes: a log that is a file by its path is rotated before it has more | no limit |
/// | `log_keep` | the number of full logs that are kept then | 4 |
/// | `limits` | a list of resource limits such as `["nofile=65536", "core=0:unlimited"]` | the caller's |
/// | `nice` | a number from -20 to 19 | the caller's |
/// | `oom_score_adj` | a number from -1000 to 1000 | the caller's |
/// | `cpu_affinity` | a list of processors such as `"0-3,8"` | the caller's |
/// | `capabilities` | a list such as `["CAP_NET_BIND_SERVICE"]`, kept when privileges are dropped | none |
/// | `no_new_privs` | `true` (also without a value) or `false` | `true` if privileges are dropped |
/// | `start_timeout` | `"30s"`, `"500ms"`, `"2m"` or a `Duration`; not used in the foreground, where the manager has its own limit | no limit |
/// | `drain_timeout` | the same: how long it finishes its work once it is told to end, see `Shutdown::drained`; shorter than `stop_timeout` | 5 seconds, or half of a `stop_timeout` below 10 |
/// | `stop_timeout` | the same: how long the service may take to end once it is told to, before it ends at once with status 97 | no limit |
/// | `reloads` | no value; the service reloads its configuration at SIGHUP: the files that `unit` prints say so | it does not |
/// | `watchdog` | as `start_timeout`: the service pings its manager's watchdog, and may be silent for so long; for the unit that `unit` prints | no watchdog |
/// | `already_running` | `"fail"`, `"wait"` or an `AlreadyRunning`: whether a start that finds the service running fails, or waits until that one is ready and succeeds | `"fail"`, with status 80 |
/// | `cli` | no value; needs the feature `cli`: gives the binary the commands `start`, `stop`, `restart`, `reload`, `status` … | no commands |
/// | `mode` | `"auto"`, `"detach"`, `"foreground"` or a `Mode` | `"auto"`, where `DAEMON_MODE=detach` or `foreground` in the environment decides |
/// | `crate` | the path of the crate daemon-rt, if it is renamed or re-exported | `::daemon_rt` |
///
/// [usual place]: https://docs.rs/daemon-rt/latest/daemon_rt/fn.places.html
///
/// # The same without the attribute
///
/// The attribute does no more than this. The first example expands to
///
/// ```no_run
/// # use std::{io::{self, Write}, net::TcpListener};
/// # fn bind() -> io::Result<TcpListener> { TcpListener::bind("127.0.0.1:7007") }
/// fn main() -> std::process::ExitCode {
///     fn serve(listener: TcpListener) {
///         for mut peer in listener.incoming().flatten() {
///             _ = peer.write_all(b"hello\n");
///         }
///     }
///     let mut daemon = daemon_rt::Daemon::new();
///     daemon.pidfile("/run/greeter.pid");
///     daemon.user("nobody");
///     daemon.umask(0o022);
///     let service = daemon.hooks().init(bind).main(serve);
///     // SAFETY: nothing ran before this in `main`.
///     unsafe { daemon.run(service) }
/// }
/// ```
///
/// The attribute answers for that `unsafe`: `run` comes first in `main`, as its safety section
/// demands. Elsewhere it is `daemon.serve(service)`, which is safe.
#[proc_macro_attribute]
pub fn daemon(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::daemon(args.into(), &item.into()).into()
}
