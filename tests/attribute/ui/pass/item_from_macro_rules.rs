macro_rules! service {
    ($argument:meta, $vis:vis $main:ident) => {
        service!(@item $argument, $vis fn $main() {});
    };
    (@item $argument:meta, $item:item) => {
        #[daemon_rt::daemon($argument, umask = 0o022)]
        $item
    };
}

service!(user = "nobody", pub(crate) main);
