use std::io;

macro_rules! service {
    ($(#[$attribute:meta])* $name:literal, $pidfile:expr, [$($group:expr),*], $hook:path, $state:ty, $body:block) => {
        $(#[$attribute])*
        #[daemon_rt::daemon(name = $name, pidfile = $pidfile, groups = [$($group),*], init = $hook)]
        fn main(_: $state) -> io::Result<()> $body
    };
}

service!(
    /// Says hello.
    "greeter", "/run/greeter.pid", ["adm", 5], greeter::init::<u8>, Vec<u8>, {
        Ok(())
    }
);

mod greeter {
    use super::io;

    pub(crate) fn init<T>() -> io::Result<Vec<T>> {
        Ok(Vec::new())
    }
}
