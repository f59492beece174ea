//! System V init: an LSB script in /etc/init.d, and links for each runlevel, which a tool of the
//! distribution makes from its header.

use std::io;
use std::path::Path;

use super::change::Change;
use super::layout::{Boot, Layout, words};
use crate::steps::environment::PATH;

pub(super) fn layout(name: &str) -> io::Result<Layout> {
    let is_there = |tool: &&str| std::env::split_paths(PATH).any(|at| at.join(tool).is_file());
    let tool = ["update-rc.d", "chkconfig", "insserv"]
        .into_iter()
        .find(is_there);
    let (enable, disable, forget) = match tool {
        Some("update-rc.d") => (
            vec![
                words(&["update-rc.d", name, "defaults"]),
                words(&["update-rc.d", name, "enable"]),
            ],
            vec![words(&["update-rc.d", name, "disable"])],
            vec![words(&["update-rc.d", name, "remove"])],
        ),
        Some("chkconfig") => (
            vec![
                words(&["chkconfig", "--add", name]),
                words(&["chkconfig", name, "on"]),
            ],
            vec![words(&["chkconfig", name, "off"])],
            Vec::new(),
        ),
        Some(insserv) => (
            vec![words(&[insserv, name])],
            vec![words(&[insserv, "--remove", name])],
            Vec::new(),
        ),
        None => {
            let problem = "none of update-rc.d, chkconfig and insserv is there: put the script that `unit sysv` prints where this system wants it";
            return Err(io::Error::other(problem));
        }
    };
    let directory = Path::new("/etc/init.d");
    let script = directory.join(name).display().to_string();
    Ok(Layout {
        name: name.to_owned(),
        directory: directory.into(),
        file: name.to_owned(),
        packaged: Vec::new(),
        boot: Boot::Commands { enable, disable },
        units: None,
        reload: Vec::new(),
        start: vec![words(&[&script, "start"])],
        stop: vec![words(&[&script, "stop"])],
        forget: Change::run_all(&forget),
    })
}
