//! Whatever is in the file.

use proptest::prelude::*;

use super::{Pid, parse_pid};

proptest! {
    #[test]
    fn the_first_line_names_the_process(pid in 1..=i32::MAX, rest in prop::collection::vec(any::<u8>(), 0..40)) {
        let line = format!("{pid}\n").into_bytes();
        prop_assert_eq!(parse_pid(&[line.as_slice(), rest.as_slice()].concat()), Some(Pid::from_raw(pid)));
    }

    #[test]
    fn any_bytes_name_a_process_or_nobody(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        prop_assert!(parse_pid(&bytes).is_none_or(|pid| pid.as_raw() > 0));
    }

    #[test]
    fn a_line_that_is_nearly_a_pid(text in "[ \t\r+-]{0,3}[0-9]{0,12}[ \t\r\n\0x.]{0,3}[0-9]{0,3}") {
        let named = parse_pid(text.as_bytes());
        let digits: String = text.lines().next().unwrap_or("").chars().filter(char::is_ascii_digit).collect();
        prop_assert!(named.is_none_or(|pid| digits.parse() == Ok(pid.as_raw())));
    }
}

/// The corpus: what other programs write, and what nobody should.
#[test]
fn lines() {
    let named: [&[u8]; 5] = [b"42", b"42\n", b"  42\n", b"42\r\n", b"42\ngarbage \xff"];
    for text in named {
        assert_eq!(parse_pid(text), Some(Pid::from_raw(42)), "{text:?}");
    }
    let nobody: [&[u8]; 10] =
        [b"", b"\n", b"\n42\n", b"0\n", b"-1\n", b"99999999999\n", b"4 2\n", b"42\0\n", b"0x2a\n", b"\xff42\n"];
    for text in nobody {
        assert_eq!(parse_pid(text), None, "{text:?}");
    }
}
