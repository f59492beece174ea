//! The hooks: typed as the user writes them, then a [`Service`] whose stages the start can call one
//! after the other.

use std::cell::Cell;
use std::fmt;
use std::io::{self, Write as _};
use std::marker::PhantomData;
use std::process::ExitCode;
use std::rc::Rc;

use crate::daemon::Daemon;
use crate::started::Started;

#[cfg_attr(not(unix), path = "announce_none.rs")]
pub(crate) mod announce;
pub(crate) mod ready;
mod result;
pub(crate) mod run;
mod traits;

use self::ready::Ready;
#[doc(hidden)]
pub use traits::*;

type Configure<'a> = Box<dyn FnOnce(&mut Daemon) -> Result<(), BoxError> + 'a>;
type BoxedHook<'a> = Box<dyn FnOnce() -> Result<(), BoxError> + 'a>;
pub(crate) type LastWord<'a> = Box<dyn FnOnce(&Started) + 'a>;

/// How a main loop has ended.
pub(crate) enum Ended<'a> {
    /// It is for the standard library to say: what is called prints an `Err` to stderr as `fn main`
    /// would, and gives the exit code.
    Reported(Box<dyn FnOnce() -> ExitCode + 'a>),
    /// With this error.
    Failed(BoxError),
}

/// Where one hook leaves what the next one takes. The process that forks drops a slot with what is
/// in it only if it drops the [`Service`].
type Slot<T> = Rc<Cell<Option<T>>>;

/// A service's hooks and main loop, ready to be run; got from [`Hooks::main`]. `R` is what the main
/// loop returns.
#[must_use = "a service does nothing until `Daemon::run` runs it"]
pub struct Service<'a, R = ()> {
    hooks: GivenHooks<'a>,
    readiness: Readiness,
    main: Box<dyn FnOnce() -> R + 'a>,
    end: result::OfBox<'a, R>,
    started: Option<LastWord<'a>>,
}

/// The hooks before the main loop.
#[derive(Default)]
struct GivenHooks<'a> {
    configure: Option<Configure<'a>>,
    privileged_init: Option<BoxedHook<'a>>,
    init: Option<BoxedHook<'a>>,
}

/// When the service is ready.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// When the hooks have returned.
    BeforeMain,
    /// When the main loop says so.
    Deferred,
}

/// A [`Service`], whatever its main loop returns.
pub(crate) struct Stages<'a> {
    pub(crate) configure: Option<Configure<'a>>,
    pub(crate) privileged_init: Option<BoxedHook<'a>>,
    pub(crate) init: Option<BoxedHook<'a>>,
    pub(crate) readiness: Readiness,
    pub(crate) main: Box<dyn FnOnce() -> Ended<'a> + 'a>,
    pub(crate) started: Option<LastWord<'a>>,
}

impl<'a, R: 'a> Service<'a, R> {
    /// The starter's last word: a function that runs in the process that was started, when the
    /// service is ready, before that process ends with status 0.
    ///
    /// ```no_run
    /// use daemon_rt::{Daemon, Started};
    ///
    /// fn main() -> std::process::ExitCode {
    ///     let mut daemon = Daemon::new();
    ///     daemon.pidfile("/run/greeter.pid");
    ///     let service = daemon
    ///         .hooks()
    ///         .main(|| daemon_rt::shutdown().wait())
    ///         .started(|started: &Started| println!("the greeter runs as process {}", started.pid));
    ///     daemon.serve(service)
    /// }
    /// ```
    ///
    /// It runs last: after the manager was told, after the line that a command such as `start` prints
    /// and, in a restart, after the old instance has ended. What it prints comes after the service's
    /// progress and stays on the terminal. It does not run
    /// where the start fails, where another instance runs already, and in the foreground, where no
    /// process waits.
    ///
    /// The service is ready, so what happens here does not change that:
    ///
    /// - It may take as long as it wants: `start_timeout` is over. SIGINT, SIGTERM, SIGHUP and SIGQUIT
    ///   end it as any other program, and the service runs on.
    /// - If it panics the panic's message is printed, and the status is 0. With `panic = "abort"` the
    ///   process dies of SIGABRT.
    /// - [`std::process::exit`] ends the process with its own status. The pidfile stays.
    ///
    /// The environment is that of the service (step 4). What the function owns is dropped here, and
    /// never in the daemon; what `configure` has returned is the daemon's. Until the function returns
    /// the daemon is this process's child, and what `configure` has opened is open here, too.
    pub fn started<Shape>(mut self, hook: impl StartedHook<Shape> + 'a) -> Self {
        self.started = Some(Box::new(|started| hook.call(started)));
        self
    }

    pub(crate) fn into_stages(self) -> Stages<'a> {
        let GivenHooks {
            configure,
            privileged_init,
            init,
        } = self.hooks;
        let (main, end) = (self.main, self.end.function());
        let main = Box::new(move || end(main()));
        Stages {
            configure,
            privileged_init,
            init,
            readiness: self.readiness,
            main,
            started: self.started,
        }
    }
}

/// The hooks given so far: `T` is what the last of them returns, `Stage` says which it was.
///
/// Each hook takes what the hook before it returned; where that is `()`, or there is none, it takes
/// nothing. The chain is built in the order in which the hooks run:
///
/// ```no_run
/// use std::{io, net::TcpListener};
/// use daemon_rt::Daemon;
///
/// let mut daemon = Daemon::new();
/// let service = daemon
///     .hooks()
///     .privileged_init(|| TcpListener::bind("0.0.0.0:80"))
///     .main(|listener: TcpListener| -> io::Result<()> {
///         for _peer in listener.incoming() {}
///         Ok(())
///     });
/// # let _ = service;
/// ```
#[must_use = "hooks do nothing until `main` ends their chain and `Daemon::run` runs it"]
pub struct Hooks<'a, T, Stage> {
    given: GivenHooks<'a>,
    state: Slot<T>,
    stage: PhantomData<Stage>,
}

impl Daemon {
    /// Starts the chain of hooks that ends in a [`Service`].
    ///
    /// ```no_run
    /// use std::process::ExitCode;
    ///
    /// use daemon_rt::{Daemon, shutdown};
    ///
    /// fn main() -> ExitCode {
    ///     let mut daemon = Daemon::new();
    ///     daemon.default_pidfile();
    ///     let service = daemon.hooks().main(|| shutdown().wait());
    ///     daemon.serve(service)
    /// }
    /// ```
    #[allow(clippy::unused_self)] // the attribute names this crate once: a wrong `crate = …` is one error, not two
    pub fn hooks<'a>(&self) -> Hooks<'a, (), stage::Start> {
        Hooks {
            given: GivenHooks::default(),
            state: slot(Some(())),
            stage: PhantomData,
        }
    }
}

impl<'a> Hooks<'a, (), stage::Start> {
    /// The hook that runs in the process that the person started, on its terminal, before any fork.
    pub fn configure<C: 'a, How>(
        mut self,
        hook: impl ConfigureHook<C, How> + 'a,
    ) -> Hooks<'a, C, stage::Configure> {
        let output = slot(None);
        let to = Rc::clone(&output);
        self.given.configure = Some(Box::new(move |daemon| fill(&to, hook.run(daemon))));
        self.followed_by(output)
    }
}

impl<'a, T: 'a, Stage> Hooks<'a, T, Stage> {
    /// The hook that runs in the daemon before privileges are dropped.
    pub fn privileged_init<P: 'a, How>(
        mut self,
        hook: impl Hook<T, P, How> + 'a,
    ) -> Hooks<'a, P, stage::PrivilegedInit>
    where
        Stage: stage::Before<stage::PrivilegedInit>,
    {
        let (hook, output) = boxed(&self.state, hook);
        self.given.privileged_init = Some(hook);
        self.followed_by(output)
    }

    /// The hook that runs in the daemon after privileges were dropped.
    pub fn init<S: 'a, How>(mut self, hook: impl Hook<T, S, How> + 'a) -> Hooks<'a, S, stage::Init>
    where
        Stage: stage::Before<stage::Init>,
    {
        let (hook, output) = boxed(&self.state, hook);
        self.given.init = Some(hook);
        self.followed_by(output)
    }

    /// The main loop, which runs when readiness was announced. What it returns is the service's
    /// exit status, as that of `fn main`. An error is shown by its `Debug`, as at the end of `fn
    /// main`; the attribute has it shown like that of a hook instead, see [`Service::show_errors`].
    pub fn main<F, R, Shape>(self, main: F) -> Service<'a, R>
    where
        F: Main<T, R, Shape> + 'a,
        R: Exit + 'a,
    {
        self.ends_in(Readiness::BeforeMain, |state| main.call(state))
    }

    /// The main loop of a service that is ready only when the main loop says so, by
    /// [`Ready::notify`] on its last parameter.
    pub fn defer_ready<F, R, Shape>(self, main: F) -> Service<'a, R>
    where
        F: MainWithReady<T, R, Shape> + 'a,
        R: Exit + 'a,
    {
        self.ends_in(Readiness::Deferred, |state| {
            main.call(state, Ready::awaited())
        })
    }

    fn followed_by<Next, NextStage>(self, state: Slot<Next>) -> Hooks<'a, Next, NextStage> {
        Hooks {
            given: self.given,
            state,
            stage: PhantomData,
        }
    }

    fn ends_in<R: Exit + 'a>(
        self,
        readiness: Readiness,
        main: impl FnOnce(T) -> R + 'a,
    ) -> Service<'a, R> {
        let state = self.state;
        let main = Box::new(move || main(take(&state)));
        Service {
            hooks: self.given,
            readiness,
            main,
            end: result::OfBox::new(),
            started: None,
        }
    }
}

/// Boxes a hook that takes its input from one slot. Returns it with the slot in which it leaves its
/// output.
fn boxed<'a, In: 'a, Out: 'a, How>(
    input: &Slot<In>,
    hook: impl Hook<In, Out, How> + 'a,
) -> (BoxedHook<'a>, Slot<Out>) {
    let from = Rc::clone(input);
    let output = slot(None);
    let to = Rc::clone(&output);
    (Box::new(move || fill(&to, hook.run(take(&from)))), output)
}

fn slot<T>(content: Option<T>) -> Slot<T> {
    Rc::new(Cell::new(content))
}

fn fill<T>(slot: &Slot<T>, result: Result<T, BoxError>) -> Result<(), BoxError> {
    slot.set(Some(result?));
    Ok(())
}

fn take<T>(slot: &Slot<T>) -> T {
    slot.take()
        .expect("the hooks run once each, in their order")
}

/// Prints the message that the attribute has in place of a hook `started`. It is not an error if it
/// cannot be written.
#[doc(hidden)]
pub fn say(message: fmt::Arguments<'_>) {
    _ = writeln!(io::stdout().lock(), "{message}");
}

/// Which hook was given last.
#[doc(hidden)]
pub mod stage {
    /// None.
    pub enum Start {}
    /// `configure`.
    pub enum Configure {}
    /// `privileged_init`.
    pub enum PrivilegedInit {}
    /// `init`.
    pub enum Init {}

    /// Stages after which the hook `Next` may be given.
    #[diagnostic::on_unimplemented(
        message = "hooks must be set in the order in which they run, each once",
        label = "the previous hook runs later, or is the same"
    )]
    pub trait Before<Next> {}

    impl Before<PrivilegedInit> for Start {}
    impl Before<PrivilegedInit> for Configure {}
    impl Before<Init> for Start {}
    impl Before<Init> for Configure {}
    impl Before<Init> for PrivilegedInit {}
}
