//! The names that both the attribute and the runtime know: in daemon-rt this file is a symbolic
//! link, in whose place `cargo package` puts the file.

/// The modes: each with its text and its variant of `Mode`, in the order of the variants.
pub(crate) const MODES: [(&str, &str); 3] = [
    ("auto", "Auto"),
    ("detach", "Detach"),
    ("foreground", "Foreground"),
];

/// The capabilities in the order of their numbers, see capabilities(7).
#[rustfmt::skip]
pub(crate) const CAPABILITIES: [&str; 41] = [
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
    "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN",
    "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
];

/// The capabilities that cannot be kept, because a process that has one can become root again.
pub(crate) const NEVER_KEPT: [&str; 2] = ["CAP_SETUID", "CAP_SETGID"];
