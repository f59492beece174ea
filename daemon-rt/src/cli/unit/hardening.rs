//! The restrictions of systemd.exec(5) that the printed unit has.

/// Restrictions of a daemon, each with the capabilities that are of no use under it.
pub(super) const HARDENING: [(&str, &[&str]); 14] = [
    ("LockPersonality=yes", &[]),
    (
        "PrivateDevices=yes",
        &["CAP_MKNOD", "CAP_SYS_RAWIO", "CAP_SYS_ADMIN"],
    ),
    ("ProtectClock=yes", &["CAP_SYS_TIME", "CAP_WAKE_ALARM"]),
    ("ProtectControlGroups=yes", &["CAP_SYS_ADMIN"]),
    ("ProtectHostname=yes", &["CAP_SYS_ADMIN"]),
    ("ProtectKernelLogs=yes", &["CAP_SYSLOG"]),
    ("ProtectKernelModules=yes", &["CAP_SYS_MODULE"]),
    (
        "ProtectKernelTunables=yes",
        &["CAP_SYS_ADMIN", "CAP_NET_ADMIN"],
    ),
    // Name look-ups ask the kernel for its addresses over netlink.
    (
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
        &["CAP_NET_RAW", "CAP_NET_ADMIN", "CAP_BPF"],
    ),
    ("RestrictNamespaces=yes", &["CAP_SYS_ADMIN"]),
    ("RestrictRealtime=yes", &["CAP_SYS_NICE"]),
    ("RestrictSUIDSGID=yes", &["CAP_FSETID"]),
    ("SystemCallArchitectures=native", &[]),
    ("SystemCallErrorNumber=EPERM", &[]),
];

/// The capabilities whose system calls are not in systemd's set `@system-service`.
pub(super) const BEYOND_SYSTEM_SERVICE: [&str; 11] = [
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_CHROOT",
    "CAP_SYS_MODULE",
    "CAP_SYS_PACCT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_TIME",
    "CAP_BPF",
    "CAP_PERFMON",
    "CAP_SYSLOG",
];
