//! Any content of the file, and the states of its owner.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::sync::Mutex;

use nix::unistd::Pid;
use proptest::prelude::*;

use super::line::{line, parse_pid, read_pid};
use super::state::State;
use crate::corpus;

const CORPUS: &str = "pidfile.txt";

/// Reads a file with this content: the pid in its first line or, if that is too long, none.
fn read(content: &[u8]) -> Option<Pid> {
    static FILE: Mutex<Option<File>> = Mutex::new(None);
    let mut file = FILE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let file = file.get_or_insert_with(|| {
        let path = std::env::temp_dir().join(format!("daemon-rt-pidfile-{}", std::process::id()));
        let file = OpenOptions::new()
            .create_new(true)
            .read(true)
            .write(true)
            .open(&path)
            .expect("a new file");
        std::fs::remove_file(path).expect("the file");
        file
    });
    file.set_len(0).expect("a file");
    file.write_all_at(content, 0).expect("a file");
    let found = read_pid(file).expect("a file");
    assert!(
        found.is_none() || found == parse_pid(content),
        "{found:?} in {}",
        content.escape_ascii()
    );
    found
}

proptest! {
    #[test]
    fn the_first_line_names_the_process(pid in 1..=i32::MAX, rest in prop::collection::vec(any::<u8>(), 0..40)) {
        let mut buffer = [0; 12];
        let line = line(Pid::from_raw(pid), &mut buffer);
        prop_assert_eq!(std::str::from_utf8(line).map(str::to_owned), Ok(format!("{pid}\n")));
        prop_assert_eq!(parse_pid(&[line, rest.as_slice()].concat()), Some(Pid::from_raw(pid)));
    }

    #[test]
    fn any_bytes_name_a_process_or_nobody(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        prop_assert!(read(&bytes).is_none_or(|pid| pid.as_raw() > 0));
    }

    #[test]
    fn a_line_that_is_cut_names_nobody(before in " {10,40}", pid in 1..=i32::MAX) {
        read(format!("{before}{pid}").as_bytes());
    }

    #[test]
    fn what_is_nearly_of_the_corpus_too(bytes in corpus::changed(CORPUS)) {
        prop_assert!(read(&bytes).is_none_or(|pid| pid.as_raw() > 0));
    }

    #[test]
    fn a_line_that_is_nearly_a_pid(text in "[ \t\r+-]{0,3}[0-9]{0,12}[ \t\r\n\0x.]{0,3}[0-9]{0,3}") {
        let named = parse_pid(text.as_bytes());
        let digits: String = text.lines().next().unwrap_or("").chars().filter(char::is_ascii_digit).collect();
        prop_assert!(named.is_none_or(|pid| digits.parse() == Ok(pid.as_raw())));
    }
}

#[test]
fn the_corpus() {
    for (content, result) in corpus::read(CORPUS) {
        let found = read(&content).map_or_else(|| "nobody".to_owned(), |pid| pid.to_string());
        assert_eq!(found, result, "{}", content.escape_ascii());
    }
}

#[test]
fn a_state_keeps_its_pid() {
    let highest = Pid::from_raw(1 << 22);
    for state in [
        State::Locked(Pid::from_raw(1)),
        State::Locked(highest),
        State::Shared,
        State::Owned(highest),
        State::GivenUp,
    ] {
        assert_eq!(State::decode(state.encode()), state);
    }
}
