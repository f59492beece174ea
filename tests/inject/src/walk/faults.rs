//! What can go wrong with each system call.

use libc::{
    EACCES, EADDRINUSE, EAFNOSUPPORT, EAGAIN, EBUSY, EDQUOT, EINTR, EINVAL, EIO, EMFILE, ENFILE,
    ENOBUFS, ENOENT, ENOLCK, ENOMEM, ENOSPC, ENOSYS, EPERM, EROFS, ESRCH,
};

/// What befalls a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// It is not made, and fails with this error.
    Error(i32),
    /// The process is killed before it.
    Kill,
}

/// A system call.
pub(crate) struct Kind {
    pub(crate) number: i64,
    pub(crate) name: &'static str,
    /// Which argument is a path, to be shown.
    pub(crate) path: Option<usize>,
    errors: &'static [i32],
}

impl Kind {
    /// The faults to try; a call that cannot fail leaves the kill.
    pub(crate) fn faults(&self) -> impl Iterator<Item = Fault> {
        self.errors
            .iter()
            .copied()
            .map(Fault::Error)
            .chain([Fault::Kill])
    }
}

/// The system call with this number.
pub(crate) fn kind(number: i64) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.number == number)
}

macro_rules! path {
    () => {
        None
    };
    ($path:literal) => {
        Some($path)
    };
}

macro_rules! kinds {
    ($($name:ident $number:ident $(path $path:literal)?: $($error:ident)*;)*) => {
        /// Every call that a start is known to make. One that is missing fails the walk.
        static KINDS: &[Kind] = &[$(Kind {
            number: libc::$number,
            name: stringify!($name),
            path: path!($($path)?),
            errors: &[$($error),*],
        }),*];
    };
}

kinds! {
    // Files.
    openat SYS_openat path 1: ENOENT ENOMEM EPERM EINTR EACCES EIO EMFILE ENFILE ENOSPC ENOSYS;
    open SYS_open path 0: ENOMEM EPERM EINTR EACCES EIO EMFILE ENFILE ENOSPC;
    newfstatat SYS_newfstatat path 1: ENOMEM EACCES EIO ENOSYS;
    fstat SYS_fstat: ENOMEM EIO;
    lstat SYS_lstat path 0: ENOMEM EACCES EIO;
    statx SYS_statx path 1: ENOMEM EPERM EIO ENOSYS;
    fstatfs SYS_fstatfs: ENOMEM EIO ENOSYS;
    access SYS_access path 0: ENOMEM EACCES EIO;
    readlink SYS_readlink path 0: ENOMEM EACCES EIO;
    readlinkat SYS_readlinkat path 1: ENOMEM EACCES EIO;
    getdents64 SYS_getdents64: ENOMEM EIO;
    lseek SYS_lseek: EINVAL;
    read SYS_read: ENOMEM EINTR EAGAIN EIO;
    pread64 SYS_pread64: ENOMEM EINTR EIO;
    // Not EPIPE, which comes only where the reader is gone: then nobody is there to be told.
    write SYS_write: ENOMEM EPERM EINTR EAGAIN EIO ENOSPC;
    writev SYS_writev: ENOMEM EPERM EINTR EAGAIN EIO ENOSPC;
    pwrite64 SYS_pwrite64: ENOMEM EPERM EINTR EIO ENOSPC EDQUOT;
    ftruncate SYS_ftruncate: ENOMEM EPERM EINTR EIO ENOSPC;
    // By Linux's rule the descriptor is closed whatever close(2) says.
    close SYS_close: EINTR EIO ENOSPC;
    close_range SYS_close_range: ENOMEM EPERM EMFILE ENOSYS;
    dup SYS_dup: ENOMEM EMFILE;
    dup2 SYS_dup2: ENOMEM EINTR EBUSY EMFILE EIO;
    dup3 SYS_dup3: ENOMEM EINTR EBUSY EMFILE EIO;
    fcntl SYS_fcntl: ENOMEM EPERM EINTR EMFILE ENOSYS;
    flock SYS_flock: ENOMEM EINTR EAGAIN ENOLCK EIO ENOSYS;
    fchmod SYS_fchmod: ENOMEM EPERM EIO ENOSPC EROFS;
    fchown SYS_fchown: ENOMEM EPERM EIO ENOSPC EROFS;
    unlink SYS_unlink path 0: ENOMEM EPERM EACCES EIO EBUSY ENOSPC EROFS;
    unlinkat SYS_unlinkat path 1: ENOMEM EPERM EACCES EIO EBUSY ENOSPC EROFS;
    renameat SYS_renameat path 1: ENOMEM EPERM EACCES EIO EBUSY ENOSPC EROFS;
    rename SYS_rename path 0: ENOMEM EPERM EACCES EIO EBUSY ENOSPC EROFS;
    chdir SYS_chdir path 0: ENOMEM EPERM EACCES EIO ENOENT;
    fchdir SYS_fchdir: ENOMEM EPERM EACCES EIO;
    getcwd SYS_getcwd: ENOMEM EACCES ENOENT;
    chroot SYS_chroot path 0: ENOMEM EPERM EACCES EIO ENOENT ENOSYS;
    umask SYS_umask:;
    memfd_create SYS_memfd_create: ENOMEM EINVAL EMFILE ENFILE ENOSYS;
    pipe2 SYS_pipe2: ENOMEM EMFILE ENFILE ENOSYS;
    ioctl SYS_ioctl: ENOMEM EPERM EINTR EIO ENOSYS;
    poll SYS_poll: ENOMEM EINTR EAGAIN EINVAL;
    ppoll SYS_ppoll: ENOMEM EINTR EAGAIN EINVAL ENOSYS;
    // Sockets.
    socket SYS_socket: ENOMEM EPERM EACCES EMFILE ENFILE ENOBUFS ENOSYS EAFNOSUPPORT;
    connect SYS_connect: ENOMEM EPERM EINTR EAGAIN EACCES;
    bind SYS_bind: ENOMEM EPERM EACCES EADDRINUSE EIO ENOENT ENOSPC EROFS;
    listen SYS_listen: ENOMEM EPERM EADDRINUSE;
    getsockopt SYS_getsockopt: ENOMEM EPERM ENOBUFS;
    setsockopt SYS_setsockopt: ENOMEM EPERM ENOBUFS;
    getsockname SYS_getsockname: ENOMEM EPERM ENOBUFS;
    accept4 SYS_accept4: ENOMEM EPERM EINTR EAGAIN EMFILE ENFILE ENOBUFS ENOSYS;
    sendto SYS_sendto: ENOMEM EPERM EINTR EAGAIN ENOBUFS;
    sendmsg SYS_sendmsg: ENOMEM EPERM EINTR EAGAIN ENOBUFS;
    recvmsg SYS_recvmsg: ENOMEM EPERM EINTR EAGAIN EIO;
    // Processes.
    clone SYS_clone: ENOMEM EPERM EAGAIN ENOSYS;
    clone3 SYS_clone3: ENOMEM EPERM EAGAIN ENOSYS;
    vfork SYS_vfork: ENOMEM EAGAIN;
    fork SYS_fork: ENOMEM EAGAIN;
    exit SYS_exit:;
    exit_group SYS_exit_group:;
    waitid SYS_waitid: ENOMEM EINTR ENOSYS;
    wait4 SYS_wait4: EINTR EINVAL;
    kill SYS_kill: EPERM ESRCH;
    pidfd_open SYS_pidfd_open: ENOMEM EPERM EINVAL EMFILE ENFILE ENOSYS;
    setsid SYS_setsid: EPERM ENOSYS;
    getsid SYS_getsid: EPERM ESRCH;
    getpid SYS_getpid:;
    getppid SYS_getppid:;
    gettid SYS_gettid:;
    set_robust_list SYS_set_robust_list: ENOSYS;
    rseq SYS_rseq: EPERM ENOSYS;
    unshare SYS_unshare: ENOMEM EPERM EINVAL ENOSPC ENOSYS;
    prlimit64 SYS_prlimit64: EPERM EINVAL ENOSYS;
    sched_getaffinity SYS_sched_getaffinity: EPERM EINVAL ENOSYS;
    sched_yield SYS_sched_yield:;
    restart_syscall SYS_restart_syscall:;
    clock_nanosleep SYS_clock_nanosleep: EINTR;
    futex SYS_futex: EINTR EAGAIN;
    // Signals.
    rt_sigaction SYS_rt_sigaction: ENOMEM EPERM ENOSYS;
    rt_sigprocmask SYS_rt_sigprocmask: EPERM EINVAL ENOSYS;
    rt_sigreturn SYS_rt_sigreturn:;
    sigaltstack SYS_sigaltstack: ENOMEM EPERM;
    // Memory.
    brk SYS_brk: ENOMEM;
    mmap SYS_mmap: ENOMEM EPERM EAGAIN;
    mremap SYS_mremap: ENOMEM EAGAIN;
    munmap SYS_munmap: ENOMEM;
    mprotect SYS_mprotect: ENOMEM EPERM EAGAIN EACCES;
    madvise SYS_madvise: ENOMEM EAGAIN;
    getrandom SYS_getrandom: EINTR EAGAIN ENOSYS;
    // Who it is, and what it may do.
    getuid SYS_getuid:;
    geteuid SYS_geteuid:;
    getgid SYS_getgid:;
    getegid SYS_getegid:;
    getresuid SYS_getresuid: EPERM ENOSYS;
    getresgid SYS_getresgid: EPERM ENOSYS;
    getgroups SYS_getgroups: ENOMEM EPERM EINVAL;
    setgroups SYS_setgroups: ENOMEM EPERM EINVAL ENOSYS;
    setresuid SYS_setresuid: ENOMEM EPERM EAGAIN EINVAL ENOSYS;
    setresgid SYS_setresgid: ENOMEM EPERM EINVAL ENOSYS;
    setfsuid SYS_setfsuid:;
    setfsgid SYS_setfsgid:;
    capget SYS_capget: EPERM EINVAL ENOSYS;
    capset SYS_capset: ENOMEM EPERM EINVAL ENOSYS;
    prctl SYS_prctl: ENOMEM EPERM EINVAL ENOSYS;
    keyctl SYS_keyctl: ENOMEM EPERM EACCES EDQUOT ENOSYS;
}
