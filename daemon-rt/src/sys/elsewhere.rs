//! The operations where the system is not Unix.
#![allow(unsafe_code)]

/// Ends the process.
pub(crate) fn exit_now(status: u8) -> ! {
    std::process::exit(i32::from(status))
}

/// Returns the number of a signal: there are no names.
#[cfg(feature = "cli")]
pub(crate) fn signal_number(text: &str) -> Option<i32> {
    text.parse().ok()
}

/// Has `on_end` called when the console asks this process to end. Where there is no console it is
/// never called.
#[cfg(windows)]
pub(crate) fn handle_console_events(on_end: fn()) {
    use std::sync::OnceLock;
    use std::thread;

    #[link(name = "kernel32")]
    unsafe extern "system" {
        fn SetConsoleCtrlHandler(handler: extern "system" fn(u32) -> i32, add: i32) -> i32;
    }

    const CTRL_BREAK_EVENT: u32 = 1;
    const TRUE: i32 = 1;
    static ON_END: OnceLock<fn()> = OnceLock::new();

    /// Called in a thread of its own, for which nothing is forbidden.
    extern "system" fn on_event(event: u32) -> i32 {
        if let Some(on_end) = ON_END.get() {
            on_end();
        }
        // Ctrl-C and Ctrl-Break end nothing once they are handled. Any other event ends the process
        // when this returns, and some seconds later in any case: those are for the main loop.
        if event > CTRL_BREAK_EVENT {
            loop {
                thread::park();
            }
        }
        TRUE
    }

    _ = ON_END.set(on_end);
    // SAFETY: the handler is a plain function that has the type in the system's documentation, and
    // stays where it is.
    unsafe { SetConsoleCtrlHandler(on_event, TRUE) };
}

/// No other system is known to ask for that.
#[cfg(not(windows))]
pub(crate) fn handle_console_events(_: fn()) {}
