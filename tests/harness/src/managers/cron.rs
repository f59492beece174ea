//! cron: a caller without a terminal, in a session of its own, that mails what the job wrote.
//!
//! Debian's cron waits for the end of the job only. Others wait for the end of file on its output,
//! as does [`Machine::run`], which stands for `ssh host command`, too.

use std::ops::Deref;

use super::{Machine, Root};

/// What cron runs instead of a mail server: keeps the mail, once all of it is there.
const SENDMAIL: &str = "#!/bin/sh
cat >/run/mail.new && mv /run/mail.new /run/mail
";

/// A machine on which cron runs one job as it starts (`@reboot`).
#[derive(Debug)]
pub struct Cron {
    machine: Machine,
}

impl Cron {
    /// Boots a machine on which cron runs this shell command, as root, at once.
    pub fn boot(root: Root, command: &str) -> Self {
        let root = root
            .empty("/etc/cron.d")
            .empty("/var/spool/cron/crontabs")
            .script("/usr/sbin/sendmail", SENDMAIL)
            .text(
                "/etc/crontab",
                format!("@reboot root ({command}); echo \"status $?\"\n"),
            );
        Self {
            machine: Machine::boot_with(root, ["cron", "-f"]),
        }
    }

    /// The mail with the job's output, headers included, whose last line says how the job ended:
    /// `status 0`.
    pub fn mail(&self) -> String {
        self.wait_for_text("/run/mail")
    }
}

impl Deref for Cron {
    type Target = Machine;

    fn deref(&self) -> &Machine {
        &self.machine
    }
}
