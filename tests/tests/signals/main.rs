//! Signals: whoever in a service listens hears each once, and what the handlers do is safe.
//!
//! | module | holds |
//! | --- | --- |
//! | `listeners` | A1, A2: `tokio`, `signal_hook`, `ctrlc` and C handlers beside the library's, in both orders |
//! | `reload` | A2, E7, E8, H6: a reload reaches everyone, can fail, and leaves nothing behind |
//! | `lost` | B2: a service that closes the library's descriptors keeps its own files, and hears signals all the same |
//! | `own_end` | a service that requests its own end, and the limit on the time that this takes |
//! | `drain` | what the service finishes before it ends |
//! | `safety` | A3: no handler takes memory |
//! | `tasks` | tasks that wait for the request, and end before it comes |

mod drain;
mod listeners;
mod logs;
mod lost;
mod neighbours;
mod own_end;
mod reload;
mod safety;
mod tasks;

use std::fs;
use std::path::PathBuf;

use daemon_harness::{Launch, Running, Scene, bin};

/// The service `signals`, in a scene of its own.
struct Service {
    scene: Scene,
    settings: Vec<String>,
}

impl Service {
    fn new() -> Self {
        let scene = Scene::new();
        let settings = vec![format!("notes={}", scene.path("notes").display())];
        Self { scene, settings }
    }

    /// With these settings and listeners, besides those that it has.
    fn with<T: Into<String>>(mut self, settings: impl IntoIterator<Item = T>) -> Self {
        self.settings.extend(settings.into_iter().map(Into::into));
        self
    }

    fn pidfile(self) -> Self {
        let pidfile = format!("pidfile={}", self.scene.pidfile().display());
        self.with([pidfile])
    }

    fn launch(&self) -> Launch<'_> {
        self.scene.launch(bin("signals")).args(&self.settings)
    }

    /// In the foreground, when it has come to its main loop.
    fn in_foreground(&self) -> Running<'_> {
        let running = self.launch().env("DAEMON_MODE", "foreground").spawn();
        self.scene.wait_until("the main loop", || {
            self.notes().first().is_some_and(|line| line == "up")
        });
        running
    }

    /// What was noted, line by line.
    fn notes(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path()).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn path(&self) -> PathBuf {
        self.scene.path("notes")
    }
}
