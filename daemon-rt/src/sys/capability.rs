//! capget(2) and capset(2).

use nix::errno::Errno;
use nix::libc;

/// Permitted, effective and inheritable capabilities of this thread, a bit each, see
/// capabilities(7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Capabilities {
    pub(crate) permitted: u64,
    pub(crate) effective: u64,
    pub(crate) inheritable: u64,
}

/// `_LINUX_CAPABILITY_VERSION_3`: two words a set.
const VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Word {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

impl Capabilities {
    pub(crate) fn get() -> nix::Result<Self> {
        let mut header = Header {
            version: VERSION_3,
            pid: 0,
        };
        let mut words = [Word::default(); 2];
        // SAFETY: the structures are those of capget(2) for this version, two words long.
        let result =
            unsafe { libc::syscall(libc::SYS_capget, &raw mut header, words.as_mut_ptr()) };
        Errno::result(result)?;
        let join =
            |get: fn(&Word) -> u32| u64::from(get(&words[1])) << 32 | u64::from(get(&words[0]));
        Ok(Self {
            permitted: join(|word| word.permitted),
            effective: join(|word| word.effective),
            inheritable: join(|word| word.inheritable),
        })
    }

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
        let mut header = Header {
            version: VERSION_3,
            pid: 0,
        };
        let words = [word(0), word(32)];
        // SAFETY: the structures are those of capset(2) for this version, two words long.
        let result = unsafe { libc::syscall(libc::SYS_capset, &raw mut header, words.as_ptr()) };
        Errno::result(result).map(drop)
    }
}
