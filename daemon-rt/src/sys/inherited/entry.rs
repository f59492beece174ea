//! The constructor's place among what runs before `main`: in every program, as functions cannot add
//! to a section here.

use super::{Anywhere, Place, constructor::constructor};

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: unsafe extern "C" fn() = constructor::<Anywhere>;

/// Is done in any case.
pub(crate) fn note_before_main<P: Place>() {}
