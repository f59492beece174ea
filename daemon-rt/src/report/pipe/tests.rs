//! Whatever comes through the pipe.

use proptest::prelude::*;

use super::{HEADER, LONGEST_FAILURE, LONGEST_PROGRESS, Malformed, Message};
use crate::corpus;
use crate::error::Failure;
use nix::unistd::Pid;

const CORPUS: &str = "handshake.txt";

/// Any message, texts up to twice as long as they may be among them.
fn message() -> impl Strategy<Value = Message> {
    let text = |longest: usize| prop_oneof![4 => "\\PC{0,40}", 1 => (0..2 * longest, any::<char>()).prop_map(|(n, c)| c.to_string().repeat(n))];
    prop_oneof![
        (1..=i32::MAX).prop_map(|pid| Message::Forked(Pid::from_raw(pid))),
        text(LONGEST_PROGRESS).prop_map(Message::Progress),
        Just(()).prop_map(|()| Message::Ready),
        (
            any::<u8>(),
            proptest::option::of(1..=super::HIGHEST_ERRNO),
            text(LONGEST_FAILURE)
        )
            .prop_map(|(status, errno, text)| Message::Failed(Failure {
                status,
                kind: None,
                errno,
                text
            })),
    ]
}

/// The message as it arrives: the text may be cut.
fn arrived(message: Message) -> Message {
    match message {
        Message::Progress(text) => {
            Message::Progress(crate::report::text::cut(&text, LONGEST_PROGRESS).into_owned())
        }
        Message::Failed(failure) => Message::Failed(Failure {
            text: crate::report::text::cut(&failure.text, LONGEST_FAILURE).into_owned(),
            ..failure
        }),
        other => other,
    }
}

/// The bytes that go over the pipe.
fn sent(message: &Message) -> Vec<u8> {
    let (header, text) = message.encode();
    [&header[..], text.as_bytes()].concat()
}

/// All that can be read of these bytes.
fn decode_all(bytes: &mut &[u8]) -> Result<Vec<Message>, Malformed> {
    std::iter::from_fn(|| Message::decode(bytes).transpose()).collect()
}

/// They are messages, and what is left is the beginning of one that may yet come; or they are
/// malformed.
fn check(bytes: &[u8]) -> Result<(), TestCaseError> {
    let mut unread = bytes;
    let Ok(messages) = decode_all(&mut unread) else {
        return Ok(());
    };
    prop_assert!(bytes.ends_with(unread));
    prop_assert!(unread.len() < HEADER + LONGEST_FAILURE);
    prop_assert!(messages.len() * HEADER + unread.len() <= bytes.len());
    Ok(())
}

proptest! {
    #[test]
    fn what_is_sent_arrives_in_whatever_pieces(
        messages in prop::collection::vec(message(), 0..6),
        pieces in prop::collection::vec(1_usize..700, 1..40),
    ) {
        let bytes: Vec<u8> = messages.iter().flat_map(sent).collect();
        let (mut rest, mut unread, mut heard) = (bytes.as_slice(), Vec::new(), Vec::new());
        for piece in pieces.into_iter().cycle() {
            let (piece, later) = rest.split_at(piece.min(rest.len()));
            unread.extend(piece);
            let mut left = unread.as_slice();
            heard.extend(decode_all(&mut left).expect("it speaks the protocol"));
            unread = left.to_vec();
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert!(unread.is_empty());
        prop_assert_eq!(heard, messages.into_iter().map(arrived).collect::<Vec<_>>());
    }

    #[test]
    fn texts_are_cut_to_what_the_pipe_can_hold(message in message()) {
        let bytes = sent(&message);
        prop_assert!(bytes.len() <= HEADER + LONGEST_FAILURE && bytes.len() <= 4096);
    }

    #[test]
    fn any_bytes_are_messages_or_malformed(bytes in prop::collection::vec(any::<u8>(), 0..5000)) {
        check(&bytes)?;
    }

    #[test]
    fn what_is_nearly_of_the_corpus_too(bytes in corpus::changed(CORPUS)) {
        check(&bytes)?;
    }

    #[test]
    fn a_message_with_one_wrong_byte(message in message(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = sent(&message);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        check(&bytes)?;
    }
}

#[test]
fn the_corpus() {
    for (bytes, result) in corpus::read(CORPUS) {
        check(&bytes).unwrap();
        let mut unread = bytes.as_slice();
        let found = match decode_all(&mut unread) {
            Ok(messages) => format!("{} read, {} left", messages.len(), unread.len()),
            Err(Malformed) => "malformed".to_owned(),
        };
        assert_eq!(found, result, "{}", bytes.escape_ascii());
    }
}

#[test]
fn bytes_that_are_no_text_are_shown_all_the_same() {
    let arrived = Message::decode(&mut &b"P\0\x02\x00\0\0\0\0\xff\xfe"[..]);
    assert_eq!(
        arrived,
        Ok(Some(Message::Progress("\u{fffd}\u{fffd}".into())))
    );
}
