//! Step 13, its first part: resource limits, nice value, `oom_score_adj` and CPU affinity, for which
//! it may take privileges.

use std::io;

#[cfg(any(target_os = "linux", target_os = "freebsd"))]
use nix::errno::Errno;
#[cfg(any(target_os = "linux", target_os = "freebsd"))]
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{RLIM_INFINITY, Resource, rlim_t, setrlimit};
#[cfg(any(target_os = "linux", target_os = "freebsd"))]
use nix::unistd::Pid;

use crate::daemon::Daemon;
use crate::error::{During, Error, not_available};
use crate::step::Step;
use crate::sys;
use crate::{cpus, limits};

/// What the service is to have of the system. Empty, everything is as the caller has it.
#[derive(Default)]
pub(crate) struct Resources {
    limits: Vec<Limit>,
    nice: Option<i32>,
    oom_score_adj: Option<i32>,
    cpus: Vec<usize>,
}

struct Limit {
    name: &'static str,
    soft: rlim_t,
    hard: rlim_t,
}

impl Resources {
    /// Checks the settings.
    pub(crate) fn of(daemon: &Daemon) -> Result<Self, Error> {
        let mut limits: Vec<Limit> = Vec::new();
        for text in &daemon.limits {
            let wrong = |problem| Error::usage(format!("limit {text:?}"), problem);
            let (name, values) = limits::read(text).map_err(wrong)?;
            if limits.iter().any(|limit| limit.name == name) {
                return Err(wrong(format!("`{name}` is limited twice")));
            }
            let [soft, hard] = values.map(limit_of);
            limits.push(Limit { name, soft, hard });
        }
        Ok(Self {
            limits,
            nice: between("nice", daemon.nice, -20, 19)?,
            oom_score_adj: between("oom_score_adj", daemon.oom_score_adj, -1000, 1000)?,
            cpus: cpus(daemon)?,
        })
    }

    /// Tries the processors, which may be others than the machine has, and takes them back.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.cpus.is_empty() {
            return Ok(());
        }
        try_cpus(&self.cpus).during(
            Step::SetResources,
            format_args!("processors {:?}", self.cpus),
        )
    }

    /// Takes effect, for this process and those that it starts.
    pub(crate) fn set(&self) -> Result<(), Error> {
        for limit in &self.limits {
            limit
                .set()
                .during(Step::SetResources, format_args!("limit {}", limit.name))?;
        }
        if let Some(value) = self.nice {
            sys::set_nice(value).during(Step::SetResources, format_args!("nice value {value}"))?;
        }
        if let Some(value) = self.oom_score_adj {
            set_oom_score_adj(value)
                .during(Step::SetResources, format_args!("oom_score_adj {value}"))?;
        }
        if !self.cpus.is_empty() {
            set_cpus(&self.cpus).during(
                Step::SetResources,
                format_args!("processors {:?}", self.cpus),
            )?;
        }
        Ok(())
    }
}

impl Limit {
    fn set(&self) -> io::Result<()> {
        match resource(self.name) {
            Some(resource) => Ok(setrlimit(resource, self.soft, self.hard)?),
            None => Err(not_available()),
        }
    }
}

/// A number that is too large for the system is no limit.
#[allow(
    clippy::useless_conversion,
    reason = "it is another type on other systems"
)]
fn limit_of(value: Option<u64>) -> rlim_t {
    match value {
        Some(value) => value.try_into().unwrap_or(RLIM_INFINITY),
        None => RLIM_INFINITY,
    }
}

fn resource(name: &str) -> Option<Resource> {
    Some(match name {
        "core" => Resource::RLIMIT_CORE,
        "cpu" => Resource::RLIMIT_CPU,
        "data" => Resource::RLIMIT_DATA,
        "fsize" => Resource::RLIMIT_FSIZE,
        "nofile" => Resource::RLIMIT_NOFILE,
        "stack" => Resource::RLIMIT_STACK,
        #[cfg(not(target_os = "freebsd"))]
        "as" => Resource::RLIMIT_AS,
        #[cfg(any(target_os = "linux", target_os = "freebsd"))]
        "memlock" => Resource::RLIMIT_MEMLOCK,
        #[cfg(any(target_os = "linux", target_os = "freebsd"))]
        "nproc" => Resource::RLIMIT_NPROC,
        #[cfg(any(target_os = "linux", target_os = "freebsd"))]
        "rss" => Resource::RLIMIT_RSS,
        #[cfg(target_os = "linux")]
        "locks" => Resource::RLIMIT_LOCKS,
        #[cfg(target_os = "linux")]
        "msgqueue" => Resource::RLIMIT_MSGQUEUE,
        #[cfg(target_os = "linux")]
        "nice" => Resource::RLIMIT_NICE,
        #[cfg(target_os = "linux")]
        "rtprio" => Resource::RLIMIT_RTPRIO,
        #[cfg(target_os = "linux")]
        "rttime" => Resource::RLIMIT_RTTIME,
        #[cfg(target_os = "linux")]
        "sigpending" => Resource::RLIMIT_SIGPENDING,
        _ => return None,
    })
}

fn set_oom_score_adj(value: i32) -> io::Result<()> {
    if cfg!(target_os = "linux") {
        std::fs::write("/proc/self/oom_score_adj", value.to_string())
    } else {
        Err(not_available())
    }
}

fn cpus(daemon: &Daemon) -> Result<Vec<usize>, Error> {
    let Some(list) = &daemon.cpu_affinity else {
        return Ok(Vec::new());
    };
    cpus::read(list).map_err(|problem| Error::usage(format!("cpu_affinity {list:?}"), problem))
}

#[cfg(any(target_os = "linux", target_os = "freebsd"))]
fn set_cpus(cpus: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(*cpu)?;
    }
    let this = Pid::from_raw(0);
    match sched_setaffinity(this, &set) {
        // None of them is there. Of those that are not, beside others, the kernel says nothing.
        Ok(()) | Err(Errno::EINVAL) => {}
        Err(error) => return Err(error.into()),
    }
    let got = sched_getaffinity(this)?;
    for cpu in cpus {
        if got.is_set(*cpu) != Ok(true) {
            let problem = format!("there is no processor {cpu}, or it is not to be had");
            return Err(io::Error::other(problem));
        }
    }
    Ok(())
}

#[cfg(any(target_os = "linux", target_os = "freebsd"))]
fn try_cpus(cpus: &[usize]) -> io::Result<()> {
    let this = Pid::from_raw(0);
    let before = sched_getaffinity(this)?;
    let tried = set_cpus(cpus);
    sched_setaffinity(this, &before)?;
    tried
}

#[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
fn try_cpus(_: &[usize]) -> io::Result<()> {
    Err(not_available())
}

#[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
fn set_cpus(_: &[usize]) -> io::Result<()> {
    Err(not_available())
}

fn between(
    setting: &str,
    value: Option<i32>,
    lowest: i32,
    highest: i32,
) -> Result<Option<i32>, Error> {
    match value {
        Some(value) if !(lowest..=highest).contains(&value) => {
            let problem = format!("must be a number from {lowest} to {highest}");
            Err(Error::usage(format!("{setting} {value}"), problem))
        }
        value => Ok(value),
    }
}
