//! The pidfile: edge cases E20 to E29, and rules 6 and 9 of the design.
//!
//! | module | holds |
//! | --- | --- |
//! | `races` | E20, E29: many starters and probes at once, and who holds the lock without being a service |
//! | `second` | E24, E25: the second start, and the stale file |
//! | `place` | E21, E22: what may be at the path, and around it |
//! | `ownership` | E22: whose the file is, and who can write it |
//! | `replaced` | E23: the file is removed or replaced |
//! | `ends` | E26, E27: what is left at the end |
//! | `by_default` | the bare `pidfile` |
//! | `alone` | `Pidfile`, without a daemon |

mod alone;
mod by_default;
mod ends;
mod ownership;
mod place;
mod races;
mod replaced;
mod second;

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use daemon_harness::{Launch, Scene, bin, require};

/// Some user who has an account on no machine.
const ORDINARY: u32 = 4711;

/// A user, with a directory of that user's own for pidfiles.
struct Home<'s> {
    scene: &'s Scene,
    directory: PathBuf,
    uid: Option<u32>,
}

impl<'s> Home<'s> {
    /// That of the test's user: root's where root runs the tests.
    fn own(scene: &'s Scene) -> Self {
        Self {
            scene,
            directory: scene.dir("own", 0o755, None),
            uid: None,
        }
    }

    /// That of an ordinary user; only root can make one.
    fn ordinary(scene: &'s Scene) -> Self {
        Self {
            scene,
            directory: scene.dir("ordinary", 0o755, Some(ORDINARY)),
            uid: Some(ORDINARY),
        }
    }

    /// All that can be made.
    fn all(scene: &'s Scene) -> Vec<Self> {
        let ordinary = require::root().is_ok().then(|| Self::ordinary(scene));
        [Self::own(scene)].into_iter().chain(ordinary).collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// A new file of this user's.
    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).expect("a new file");
        chown(&path, self.uid, self.uid).expect("chown");
        path
    }

    /// The service, started by this user with this pidfile.
    fn service(&self, pidfile: impl AsRef<Path>) -> Launch<'s> {
        let launch = self
            .scene
            .launch(bin("svc"))
            .set("pidfile", pidfile.as_ref());
        self.uid.into_iter().fold(launch, Launch::ordinary)
    }
}

/// What a pidfile that names this process holds.
fn naming(pid: i32) -> String {
    format!("{pid}\n")
}

/// The content of a file.
#[track_caller]
fn content(path: impl AsRef<Path>) -> String {
    String::from_utf8_lossy(&fs::read(path).expect("a file")).into_owned()
}
