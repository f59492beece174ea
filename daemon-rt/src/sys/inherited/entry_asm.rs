//! The constructor's place among what runs before `main`: only in a program that calls for it. A
//! static in `.init_array` would be in every one.

use std::arch::asm;
use std::mem;

use super::{Place, constructor::constructor};

/// Has what is inherited noted before `main`, if a function that calls this is linked.
#[inline]
pub(crate) fn note_before_main<P: Place>() {
    // SAFETY: no instruction is executed here. This adds a pointer to a section: to the functions that
    // the C library calls before `main`.
    unsafe {
        asm!(
            ".pushsection .init_array,\"aw\",%init_array",
            ".balign {size}",
            ".{size}byte {constructor}",
            ".popsection",
            size = const mem::size_of::<usize>(),
            constructor = sym constructor::<P>,
            options(nomem, nostack, preserves_flags),
        );
    }
}
