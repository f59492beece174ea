//! The attribute `#[daemon(…)]` of the crate daemon-rt, which re-exports it: depend on that one.
#![forbid(unsafe_code)]

use proc_macro::TokenStream;

mod args;
mod entry;
mod expand;
#[cfg(test)]
mod fuzz;
mod tokens;
mod values;

/// Turns `fn main` into a service that behaves well wherever it is started: the daemon of daemon(7)
/// from a shell, cron or an init script, a process in the foreground under a service manager.
///
/// ```no_run
/// use std::{io, net::TcpListener};
/// use daemon_rt::daemon;
///
/// // Runs in the daemon, before the starter exits: when it returns `Ok`, the service is ready.
/// fn bind() -> io::Result<TcpListener> {
///     TcpListener::bind("127.0.0.1:7007")
/// }
///
/// // The main loop: runs once the service is ready, and takes what `bind` returned.
/// #[daemon(pidfile = "/run/greeter.pid", user = "nobody", umask = 0o022, init = bind)]
/// fn main(listener: TcpListener) -> io::Result<()> {
///     for peer in listener.incoming() {
///         io::Write::write_all(&mut peer?, b"hello\n")?;
///     }
///     Ok(())
/// }
/// ```
///
/// # Hooks
///
/// In the order in which they run. Each takes what the one before it returned; where that is `()`,
/// or there is none, it takes nothing.
///
/// | argument | signature | runs |
/// | --- | --- | --- |
/// | `configure = f` | `fn(&mut Daemon) -> Result<C, E>` | in the process that the person started, on the terminal, before any fork: arguments, configuration, `--help`; may change every setting |
/// | `privileged_init = f` | `fn(C) -> Result<P, E>` | in the daemon, before privileges are dropped: low ports, keys |
/// | `init = f` | `fn(P) -> Result<S, E>` | in the daemon, after privileges were dropped |
/// | | `fn main(S) -> T` | when the service is ready; `T` is what `fn main` may return |
/// | `main_loop = f` | `fn(S) -> T` | in place of `main`, which is then `fn main() {}` |
/// | `defer_ready` | `fn main(S, Ready) -> T` | the service is ready only when the main loop calls `ready.notify()` |
///
/// A hook is the path of a function. `E` is any `std::error::Error`, `Box<dyn Error>`, `Box<dyn
/// Error + Send + Sync>`, `anyhow::Error`, `String` or `&'static str`. An error ends the start: the
/// starter prints it and exits with status 1. The type of `main`'s last parameter under
/// `defer_ready` is recognized by its name, `Ready`.
///
/// For an `async fn main` put the attribute of its runtime below this one, so that the runtime
/// starts after the forks. A server that is up only inside its runtime says so with `defer_ready`:
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
/// # Settings
///
/// Each is the method of the same name on `Daemon`. A literal is checked when compiling; any
/// expression of the right type will do.
///
/// | argument | value | if not given |
/// | --- | --- | --- |
/// | `name` | a string | the binary's name |
/// | `pidfile` | an absolute path; bare, `/run/NAME.pid` for root and `$XDG_RUNTIME_DIR/NAME.pid` otherwise | none |
/// | `user`, `group` | a name or a number | unchanged; the user's primary group |
/// | `groups` | a list of names or numbers | the user's own |
/// | `chroot` | an absolute path | none |
/// | `working_directory` | an absolute path | `/` |
/// | `umask` | a number in octal | `0`: files that the standard library creates are then writable by everyone, so give `0o022` or stricter |
/// | `keep_env` | a list of names of environment variables, a trailing `*` for any ending | `LANG`, `LANGUAGE`, `LC_*` and `TZ` are kept in any case |
/// | `stdout`, `stderr` | an absolute path, appended to | `/dev/null` |
/// | `capabilities` | a list such as `["CAP_NET_BIND_SERVICE"]`, kept when privileges are dropped | none |
/// | `no_new_privs` | bare, `true` or `false` | on where privileges are dropped, off elsewhere |
/// | `start_timeout` | `"30s"`, `"500ms"`, `"2m"` or a `Duration`; in the foreground that is the manager's business | none |
/// | `cli` | bare; needs the feature `cli`: gives the binary the commands `start`, `stop`, `restart`, `reload`, `status` … | none |
/// | `mode` | `"auto"`, `"detach"`, `"foreground"` or a `Mode` | `"auto"`; `DAEMON_MODE=detach` or `foreground` in the environment decides it |
/// | `crate` | the path of the crate daemon-rt, where that is renamed or re-exported | `::daemon_rt` |
///
/// # The same without the attribute
///
/// There is nothing else in it. The first example is
///
/// ```no_run
/// # use std::{io, net::TcpListener};
/// # fn bind() -> io::Result<TcpListener> { TcpListener::bind("127.0.0.1:7007") }
/// fn main() -> std::process::ExitCode {
///     fn serve(listener: TcpListener) -> io::Result<()> {
///         for peer in listener.incoming() {
///             io::Write::write_all(&mut peer?, b"hello\n")?;
///         }
///         Ok(())
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
/// and that `unsafe` is the attribute's to answer for: it stands first in `main`, as `Daemon::run`
/// demands.
#[proc_macro_attribute]
pub fn daemon(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::daemon(args.into(), &item.into()).into()
}
