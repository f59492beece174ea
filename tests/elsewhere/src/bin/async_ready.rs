//! An asynchronous service, which says itself when it is ready.

use std::time::Duration;

use daemon_rt::{Ready, daemon, reloads, shutdown, status, watchdog};
use futures_util::StreamExt;

#[daemon(defer_ready)]
#[tokio::main(flavor = "current_thread")]
async fn main(ready: Ready) -> Result<(), String> {
    status("before it is ready");
    match std::env::args().nth(1).as_deref() {
        Some("return") => return Err("too early".to_owned()),
        Some("drop") => {
            drop(ready);
            std::future::pending::<()>().await;
        }
        _ => ready.notify(),
    }
    status("after it");
    watchdog().ping();
    assert_eq!(watchdog().interval(), None);
    let mut requests = reloads();
    let mut stream = reloads().stream();
    tokio::select! {
        () = shutdown() => {}
        Some(reload) = requests.next() => reload.failed("not wanted"),
        Some(reload) = stream.next() => drop(reload),
        () = tokio::time::sleep(Duration::from_millis(10)) => println!("neither"),
    }
    Ok(())
}
