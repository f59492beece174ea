use daemon_rt::{Started, daemon};

#[daemon(started = words::last)]
fn main() {
    message();
    constant();
    from_a_macro();
}

mod words {
    pub fn last(started: &super::Started) {
        println!("running as process {}", started.pid);
    }
}

#[daemon(started = "the greeter runs as process {pid}: {{kill {pid:>8}}} \u{e9}")]
fn message() {}

const VERSION: &str = "1.0";

#[daemon(started = r#"greeter "{VERSION}" runs"#)]
fn constant() {}

macro_rules! service {
    ($name:ident, $message:literal) => {
        #[daemon(started = $message)]
        fn $name() {
            by_a_macro();
        }

        #[daemon(started = "written in a macro, {pid}")]
        fn by_a_macro() {}
    };
}

service!(from_a_macro, "given to a macro, {pid}");
