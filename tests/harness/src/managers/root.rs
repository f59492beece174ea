//! What a machine's root holds besides the files of this one.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Where `tests/setup` unpacks other releases of Debian, for managers in other versions than this
/// machine has.
const RELEASES: &str = "/var/cache/daemon-tests";

/// The files of a machine: those of this one, with others laid over them.
#[derive(Debug, Clone)]
pub struct Root {
    below: PathBuf,
    emptied: Vec<PathBuf>,
    files: Vec<(PathBuf, Vec<u8>, u32)>,
}

impl Default for Root {
    fn default() -> Self {
        Self {
            below: "/".into(),
            emptied: Vec::new(),
            files: Vec::new(),
        }
    }
}

impl Root {
    /// The root of this machine.
    pub fn new() -> Self {
        Self::default()
    }

    /// The root of another release of Debian: `"trixie"` (13) has systemd 257, `"forky"` (testing)
    /// has a later one, and an OpenRC that knows `notify`. `None` where `tests/setup` could not
    /// unpack it.
    pub fn debian(release: &str) -> Option<Self> {
        let below = Path::new(RELEASES).join(release);
        below.is_dir().then(|| Self {
            below,
            ..Self::default()
        })
    }

    /// With a text file.
    #[must_use]
    pub fn text(self, path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        self.file(path, text.into().into_bytes(), 0o644)
    }

    /// With an executable script.
    #[must_use]
    pub fn script(self, path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        self.file(path, text.into().into_bytes(), 0o755)
    }

    /// With an executable copied from this machine, such as the service.
    ///
    /// # Panics
    /// If it cannot be read.
    #[must_use]
    pub fn copy(self, path: impl Into<PathBuf>, from: impl AsRef<Path>) -> Self {
        let from = from.as_ref();
        let bytes = fs::read(from).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
        self.file(path, bytes, 0o755)
    }

    /// With a directory, or none of what this machine has there.
    #[must_use]
    pub fn empty(mut self, directory: impl Into<PathBuf>) -> Self {
        self.emptied.push(absolute(directory));
        self
    }

    fn file(mut self, path: impl Into<PathBuf>, bytes: Vec<u8>, mode: u32) -> Self {
        self.files.push((absolute(path), bytes, mode));
        self
    }

    /// Writes down for `machine.sh` what this root is to be.
    pub(super) fn write(self, scratch: &Path) -> std::io::Result<()> {
        let emptied: Vec<_> = self
            .emptied
            .iter()
            .map(|directory| format!("{}\n", directory.display()))
            .collect();
        fs::write(scratch.join("empty"), emptied.concat())?;
        fs::write(scratch.join("below"), format!("{}\n", self.below.display()))?;
        fs::create_dir(scratch.join("files"))?;
        for (path, bytes, mode) in self.files {
            let path = scratch
                .join("files")
                .join(path.strip_prefix("/").expect("absolute"));
            let directory = path.parent().expect("within files");
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(directory)?;
            fs::write(&path, bytes)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        }
        Ok(())
    }
}

fn absolute(path: impl Into<PathBuf>) -> PathBuf {
    let path = path.into();
    assert!(path.is_absolute(), "{} is not absolute", path.display());
    path
}
