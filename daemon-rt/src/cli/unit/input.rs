//! What goes into a service file, whichever manager it is for.

use std::path::{Path, PathBuf};

use super::called::words_before;
use super::template::{self, marked};
use crate::daemon::action::{Manager, UnitArguments};
use crate::daemon::{Daemon, Log, NameOrId, Place, Property};
use crate::error::Error;
use crate::limits::{self, SoftAndHard};
use crate::status;

/// The exit statuses after which another start would fail, too: a wrong setting, a wrong
/// configuration, and another instance that runs.
pub(super) const NO_RETRY: [u8; 3] = [
    status::INVALID_SETTING,
    status::NOT_CONFIGURED,
    status::ALREADY_RUNNING,
];
/// Says so in a service file.
pub(super) const WHY_NO_RETRY: &str =
    "No retry: a setting or the configuration is wrong, or another instance is running.";

/// On every system.
const USERS: [&str; 3] = ["root", "daemon", "nobody"];

/// The parts of a service file that are not among the settings.
pub(crate) struct UnitOptions {
    pub(super) arguments: UnitArguments,
    /// The words before the command (`run`) on the service's command line.
    pub(super) words: Vec<String>,
    /// What a person should know of the words.
    pub(super) notes: Vec<String>,
    /// There is a `privileged_init`.
    pub(super) privileged_init: bool,
    pub(super) scope: Scope,
    /// The instance whose name stands for that of any.
    pub(super) instance: Option<String>,
}

/// The manager for which the file is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Scope {
    System,
    /// A user's own.
    User,
}

impl UnitOptions {
    /// The service file calls this binary with the words before `command` that it was called with
    /// now.
    pub(crate) fn new(
        command: &str,
        daemon: &Daemon,
        arguments: UnitArguments,
        privileged_init: bool,
    ) -> Self {
        let pidfile = match &daemon.pidfile {
            Some(Place::At(path)) => Some(path.as_path()),
            _ => None,
        };
        let (words, notes) = words_before(command, pidfile);
        Self {
            arguments,
            words,
            notes,
            privileged_init,
            scope: Scope::System,
            instance: None,
        }
    }

    pub(crate) fn scope(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    pub(super) fn refuse_what_only_systemd_has(&self, manager: Manager) -> Result<(), Error> {
        for (option, is_given) in [
            ("--user", self.scope == Scope::User),
            ("--template", self.instance.is_some()),
            ("--listen", !self.arguments.listen.is_empty()),
        ] {
            if is_given {
                return Err(refuse(
                    option,
                    format!("it is for systemd, not for {manager}"),
                ));
            }
        }
        Ok(())
    }

    /// The file becomes one for any number of instances, of which this call is one.
    pub(crate) fn template(mut self, instance: Option<String>) -> Self {
        self.instance = instance;
        self
    }
}

/// The settings as service files take them: text that every format can hold, and absolute paths.
pub(super) struct UnitInput<'a> {
    pub(super) daemon: &'a Daemon,
    pub(super) options: &'a UnitOptions,
    pub(super) name: String,
    /// The service's name, with that of the instance.
    pub(super) full_name: String,
    pub(super) description: String,
    pub(super) executable: String,
    /// The words before the command.
    words: Vec<String>,
    pub(super) sockets: Vec<String>,
    /// `/` if not set; inside the `chroot` if there is one.
    pub(super) directory: String,
    pub(super) pidfile: Option<String>,
    pub(super) stdout: Option<String>,
    pub(super) stderr: Option<String>,
    pub(super) chroot: Option<String>,
    pub(super) limits: Vec<(&'static str, SoftAndHard)>,
}

impl<'a> UnitInput<'a> {
    pub(super) fn new(
        daemon: &'a Daemon,
        manager: Manager,
        executable: &Path,
        options: &'a UnitOptions,
    ) -> Result<Self, Error> {
        let mut name = plain_name(daemon.get_name())?;
        if let Some(instance) = &options.instance {
            template::check_name(instance)?;
        }
        let directory = match &daemon.working_directory {
            Property::Set(directory) => directory.as_path(),
            Property::Usual | Property::Keep => Path::new("/"),
        };
        let text = |what: &str, value: &str| match &options.instance {
            Some(instance) => Ok(marked(&text(what, value)?, instance)),
            None => text(what, value),
        };
        // A relative path is resolved by the service, in its working directory.
        let path = |setting, path: &Option<PathBuf>| match path {
            Some(path) => text(setting, &directory.join(path).to_string_lossy()).map(Some),
            None => Ok(None),
        };
        let description = match options.arguments.description.lines().next() {
            Some(line) if !line.trim().is_empty() => line.trim(),
            _ => &name,
        };
        let texts = |what, values: &[String]| -> Result<Vec<String>, Error> {
            values.iter().map(|value| text(what, value)).collect()
        };
        let usual = Usual {
            name: &name,
            scope: options.scope,
            has_journal: manager == Manager::Systemd,
        };
        let input = Self {
            daemon,
            options,
            description: text("description", description)?,
            executable: text("the path of the binary", &executable.to_string_lossy())?,
            words: texts("the argument", &options.words)?,
            sockets: texts("--listen", &options.arguments.listen)?,
            pidfile: path("pidfile", &usual.pidfile(daemon))?,
            stdout: path("stdout", &usual.log(daemon.stdout.as_ref()))?,
            stderr: path("stderr", &usual.log(daemon.stderr.as_ref()))?,
            chroot: path("chroot", &daemon.chroot)?,
            limits: limits_of(daemon)?,
            directory: text("working_directory", &directory.to_string_lossy())?,
            full_name: text("name", &name)?,
            name: String::new(),
        };
        if let Some(instance) = &options.instance {
            template::check(instance, &input.words, input.pidfile.as_deref())?;
            name = template::base(&name, instance);
        }
        Ok(Self { name, ..input })
    }

    /// `@` and this, behind the name of a unit that is for any instance.
    pub(super) fn at(&self, instance: &str) -> String {
        match self.options.instance {
            Some(_) => format!("@{instance}"),
            None => String::new(),
        }
    }

    /// Tells whether it is for one instance, of the system.
    pub(super) fn is_simple(&self) -> bool {
        self.options.scope == Scope::System && self.options.instance.is_none()
    }

    /// The command line up to the command.
    pub(super) fn call(&self) -> Vec<&str> {
        let mut line = vec![self.executable.as_str()];
        line.extend(self.words.iter().map(String::as_str));
        line
    }

    /// The command line with this command.
    pub(super) fn command(&self, command: &'a str) -> Vec<&str> {
        let mut line = self.call();
        line.push(command);
        line
    }

    /// The directory in which the manager starts the service. Inside a chroot the service goes to
    /// its own by itself.
    pub(super) fn directory_outside_chroot(&self) -> &str {
        if self.chroot.is_some() {
            "/"
        } else {
            &self.directory
        }
    }

    /// The working directory, as it is outside of the chroot.
    pub(super) fn data(&self) -> PathBuf {
        let root = match &self.chroot {
            Some(chroot) => Path::new(chroot),
            None => Path::new("/"),
        };
        root.join(self.directory.trim_start_matches('/'))
    }

    /// The directory for its state. A user's is made by the service.
    pub(super) fn state(&self) -> Option<PathBuf> {
        if self.daemon.state_directory && self.options.scope == Scope::System {
            Some(Path::new("/var/lib").join(&self.full_name))
        } else {
            None
        }
    }

    /// The optional file with variables for the service's environment.
    pub(super) fn environment_file(&self) -> String {
        format!("/etc/default/{}", self.name)
    }

    /// The user as whom the service runs, if it is not one that every system has.
    pub(super) fn own_user(&self) -> Option<&str> {
        match &self.daemon.user {
            Some(NameOrId::Name(name)) if !USERS.contains(&name.as_str()) => Some(name),
            _ => None,
        }
    }

    /// What a person should know, each as a comment.
    pub(super) fn comments(&self, mark: &str) -> Vec<String> {
        let mut notes = self.options.notes.clone();
        if let Some(user) = self.own_user() {
            notes.push(format!("The user {user} must exist."));
        }
        for note in &mut notes {
            note.insert_str(0, mark);
        }
        notes
    }

    /// The seconds after which the manager kills a service that it has told to end. The service has
    /// a limit of its own, which comes before.
    pub(super) fn kill_after(&self) -> Option<u64> {
        self.daemon.time_to_end()?;
        let limit = self.daemon.patience();
        let part = u64::from(limit.subsec_nanos() > 0);
        Some(limit.as_secs().saturating_add(part))
    }

    /// The umask in octal, as managers want it.
    pub(super) fn umask(&self) -> Option<String> {
        Some(format!("{:04o}", self.umask_number()?))
    }

    /// `None` where it is kept, or daemon(7)'s 0. That undoes what a terminal has left behind, and a
    /// manager leaves nothing.
    pub(super) fn umask_number(&self) -> Option<u32> {
        match self.daemon.umask {
            Property::Usual | Property::Keep | Property::Set(0) => None,
            Property::Set(mask) => Some(mask),
        }
    }
}

/// The usual places.
struct Usual<'a> {
    name: &'a str,
    scope: Scope,
    has_journal: bool,
}

impl Usual<'_> {
    fn pidfile(&self, daemon: &Daemon) -> Option<PathBuf> {
        match (&daemon.pidfile, self.scope) {
            (None, _) => None,
            (Some(Place::At(path)), _) => Some(path.clone()),
            (Some(Place::Usual), Scope::System) => {
                Some(PathBuf::from(format!("/run/{}.pid", self.name)))
            }
            // It is told to no manager.
            (Some(Place::Usual), Scope::User) => {
                Some(PathBuf::from(format!("/run/user/{}.pid", self.name)))
            }
        }
    }

    /// What is not a file is the manager's to choose. So is a user's: that manager makes no
    /// directory for it in time.
    fn log(&self, log: Option<&Log>) -> Option<PathBuf> {
        match (log, self.scope) {
            (Some(Log::Path(path)), _) => Some(path.clone()),
            (Some(Log::Journal | Log::Syslog), _) if self.has_journal => None,
            (Some(Log::Usual | Log::Journal | Log::Syslog), Scope::System) => {
                Some(PathBuf::from(format!("/var/log/{}.log", self.name)))
            }
            _ => None,
        }
    }
}

fn limits_of(daemon: &Daemon) -> Result<Vec<(&'static str, SoftAndHard)>, Error> {
    let mut all = Vec::new();
    for text in &daemon.limits {
        match limits::read(text) {
            Ok(limit) => all.push(limit),
            Err(problem) => return Err(refuse(format!("limit {text:?}"), problem)),
        }
    }
    Ok(all)
}

/// Refuses a name that some format would take for something else.
pub(in crate::cli) fn plain_name(name: String) -> Result<String, Error> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(is_plain) {
        return Ok(name);
    }
    let problem = "a service file needs a name of letters, digits, '-', '_' and '.' that starts with a letter or digit";
    Err(refuse(format!("name {name:?}"), problem))
}

/// Refuses a text that some format cannot hold. Some end a value at the line's end, and trim it;
/// none has an escape for all of these.
fn text(what: &str, value: &str) -> Result<String, Error> {
    let unfit = |c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER;
    if value.contains(unfit) || value.trim() != value || value.ends_with('\\') {
        let problem = "a service file cannot hold control characters, invalid UTF-8, a space at either end, or a '\\' at the end";
        return Err(refuse(format!("{what} {value:?}"), problem));
    }
    Ok(value.to_owned())
}

pub(super) fn refuse(object: impl Into<String>, problem: impl Into<String>) -> Error {
    Error::usage(object, problem)
}

/// Lines, each with its end.
pub(super) fn lines(lines: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let mut text = String::new();
    for line in lines {
        text += line.as_ref();
        text.push('\n');
    }
    text
}
