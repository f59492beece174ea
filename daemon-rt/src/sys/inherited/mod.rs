//! The descriptors that the process inherited. They are noted before `main`, where a start may come
//! later: by then they look like what the program has opened itself.

use std::any::type_name;
use std::marker::PhantomData;

use super::StartOfMain;
#[cfg(not(target_os = "linux"))]
use super::kept::InheritedFd;

#[cfg(target_os = "linux")]
mod constructor;
#[cfg(target_os = "linux")]
#[cfg_attr(
    any(
        target_arch = "aarch64",
        target_arch = "arm",
        target_arch = "loongarch64",
        target_arch = "riscv32",
        target_arch = "riscv64",
        target_arch = "s390x",
        target_arch = "x86",
        target_arch = "x86_64",
    ),
    path = "entry_asm.rs"
)]
mod entry;

#[cfg(target_os = "linux")]
pub(crate) use constructor::{environment_before_main, noted};
#[cfg(target_os = "linux")]
pub(crate) use entry::note_before_main;

/// Notes nothing: a late start finds no inherited descriptors, and closes none.
#[cfg(not(target_os = "linux"))]
pub(crate) fn note_before_main<P: Place>() {}

/// Finds none: none are noted.
#[cfg(not(target_os = "linux"))]
pub(crate) fn noted() -> nix::Result<&'static [InheritedFd]> {
    Ok(&[])
}

/// A place in a program from which a service is started.
pub(crate) trait Place {
    /// Checks whether this is the program's `main`. No code of the program has run before it.
    fn is_main() -> bool;
}

/// A place of which nothing is known.
pub(crate) struct Anywhere;

impl Place for Anywhere {
    fn is_main() -> bool {
        false
    }
}

/// The function in which the type `Here` is declared. `IN_PROGRAM` says that it is part of a program,
/// and not of a library or a test.
pub(crate) struct In<Here, const IN_PROGRAM: bool>(PhantomData<Here>);

impl<Here, const IN_PROGRAM: bool> Place for In<Here, IN_PROGRAM> {
    fn is_main() -> bool {
        IN_PROGRAM && is_in_main(type_name::<Here>())
    }
}

impl<Here, const IN_PROGRAM: bool> In<Here, IN_PROGRAM> {
    /// The promise of the program's `main`; `None` elsewhere.
    pub(crate) fn start_of_main() -> Option<StartOfMain> {
        if Self::is_main() {
            // SAFETY: a program calls its `main` first, and once: another call is refused.
            return Some(unsafe { StartOfMain::promised() });
        }
        None
    }
}

/// Checks whether this is the name of a type that is declared in the function `main` of a crate's
/// root: `greeter::main::Here`.
fn is_in_main(name: &str) -> bool {
    let mut path = name.split("::").skip(1);
    path.next() == Some("main") && path.count() == 1
}

#[cfg(test)]
mod tests {
    use super::{Anywhere, In, Place, is_in_main};

    fn main() -> [bool; 2] {
        struct Here;
        [
            In::<Here, true>::is_main(),
            std::any::type_name::<Here>().ends_with("::tests::main::Here"),
        ]
    }

    /// The form that [`std::any::type_name`] gives a type in a function. If it changes, every `main`
    /// gets the rule for late starts.
    #[test]
    fn the_name_of_a_type_tells_the_function() {
        assert_eq!(main(), [false, true]);
        let name = std::any::type_name::<Anywhere>();
        assert_eq!(name, "daemon_rt::sys::inherited::Anywhere");
    }

    #[test]
    fn main_is_in_the_root_of_its_crate() {
        assert!(is_in_main("greeter::main::Here"));
        for name in [
            "greeter::svc::main::Here",
            "greeter::main::main::Here",
            "greeter::main::{{closure}}::main::Here",
            "greeter::_::main::Here",
            "<greeter::Service>::main::Here",
            "greeter::serve::Here",
            "main::serve::Here",
            "greeter::main",
        ] {
            assert!(!is_in_main(name), "{name}");
        }
        assert!(!Anywhere::is_main());
    }
}
