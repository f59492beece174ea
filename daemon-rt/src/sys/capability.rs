//! capget(2) and capset(2).

use nix::errno::Errno;
use nix::libc;

/// The permitted, effective and inheritable capabilities of a thread, a bit each, see
/// capabilities(7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Capabilities {
    pub(crate) permitted: u64,
    pub(crate) effective: u64,
    pub(crate) inheritable: u64,
}

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

const THIS_THREAD: Header = Header {
    // `_LINUX_CAPABILITY_VERSION_3`: two words a set.
    version: 0x2008_0522,
    pid: 0,
};

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Word {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

impl Capabilities {
    /// Returns those of this thread.
    pub(crate) fn get() -> nix::Result<Self> {
        let mut header = THIS_THREAD;
        let mut words = [Word::default(); 2];
        // SAFETY: the structures are those of capget(2) for this version, two words long.
        let result =
            unsafe { libc::syscall(libc::SYS_capget, &raw mut header, words.as_mut_ptr()) };
        Errno::result(result)?;
        let [low, high] = words;
        let join = |low: u32, high: u32| u64::from(high) << 32 | u64::from(low);
        Ok(Self {
            permitted: join(low.permitted, high.permitted),
            effective: join(low.effective, high.effective),
            inheritable: join(low.inheritable, high.inheritable),
        })
    }

    /// Makes them those of this thread.
    pub(crate) fn set(self) -> nix::Result<()> {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "each set is split into its two words"
        )]
        let word = |shift: u32| Word {
            effective: (self.effective >> shift) as u32,
            permitted: (self.permitted >> shift) as u32,
            inheritable: (self.inheritable >> shift) as u32,
        };
        let mut header = THIS_THREAD;
        let words = [word(0), word(32)];
        // SAFETY: the structures are those of capset(2) for this version, two words long.
        let result = unsafe { libc::syscall(libc::SYS_capset, &raw mut header, words.as_ptr()) };
        Errno::result(result).map(drop)
    }
}
