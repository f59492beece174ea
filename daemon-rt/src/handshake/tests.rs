//! Whatever comes through the pipe.

use proptest::prelude::*;

use super::{Failure, HEADER, LONGEST_FAILURE, LONGEST_PROGRESS, Malformed, Message};
use nix::unistd::Pid;

/// Any message, texts up to twice as long as they may be among them.
fn message() -> impl Strategy<Value = Message> {
    let text = |longest: usize| prop_oneof![4 => "\\PC{0,40}", 1 => (0..2 * longest, any::<char>()).prop_map(|(n, c)| c.to_string().repeat(n))];
    prop_oneof![
        (1..=i32::MAX).prop_map(|pid| Message::Forked(Pid::from_raw(pid))),
        text(LONGEST_PROGRESS).prop_map(Message::Progress),
        Just(()).prop_map(|()| Message::Ready),
        (any::<u8>(), text(LONGEST_FAILURE)).prop_map(|(status, text)| Message::Failed(Failure {
            status,
            errno: None,
            text
        })),
    ]
}

/// The message as it arrives: the text may be cut.
fn arrived(message: Message) -> Message {
    match message {
        Message::Progress(text) => Message::Progress(super::cut(&text, LONGEST_PROGRESS)),
        Message::Failed(failure) => {
            Message::Failed(Failure { text: super::cut(&failure.text, LONGEST_FAILURE), ..failure })
        }
        other => other,
    }
}

/// All that can be read of these bytes.
fn decode_all(bytes: &mut Vec<u8>) -> Result<Vec<Message>, Malformed> {
    std::iter::from_fn(|| Message::decode(bytes).transpose()).collect()
}

proptest! {
    #[test]
    fn what_is_sent_arrives_in_whatever_pieces(
        messages in prop::collection::vec(message(), 0..6),
        pieces in prop::collection::vec(1_usize..700, 1..40),
    ) {
        let bytes: Vec<u8> = messages.iter().flat_map(Message::encode).collect();
        let (mut rest, mut unread, mut heard) = (bytes.as_slice(), Vec::new(), Vec::new());
        for piece in pieces.into_iter().cycle() {
            let (piece, later) = rest.split_at(piece.min(rest.len()));
            unread.extend(piece);
            heard.extend(decode_all(&mut unread).expect("it speaks the protocol"));
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
        let bytes = message.encode();
        prop_assert!(bytes.len() <= HEADER + LONGEST_FAILURE && bytes.len() <= 4096);
    }

    #[test]
    fn any_bytes_are_messages_or_malformed(bytes in prop::collection::vec(any::<u8>(), 0..5000)) {
        let mut unread = bytes.clone();
        let Ok(messages) = decode_all(&mut unread) else { return Ok(()) };
        // What is left is the beginning of one message that may yet come.
        prop_assert!(bytes.ends_with(&unread));
        prop_assert!(unread.len() < HEADER + LONGEST_FAILURE);
        prop_assert!(messages.len() * HEADER + unread.len() <= bytes.len());
    }

    #[test]
    fn a_message_with_one_wrong_byte(message in message(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = message.encode();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let length = bytes.len();
        _ = decode_all(&mut bytes);
        prop_assert!(bytes.len() <= length);
    }
}

/// The corpus: what each check is there for.
#[test]
fn malformed_messages() {
    let malformed: [&[u8]; 8] = [
        b"X\0\0\0",                // no such kind
        b"\0\0\0\0",               // zeros
        b"F\0\0\0",                // no pid
        b"F\0\x01\x000",           // pid 0
        b"F\0\x02\x00-1",          // a negative one
        b"F\0\x0b\x0099999999999", // too large a one
        b"E\x01\xa1\x0f",          // a text longer than any
        b"P\0\xff\xff",            // the same, before any of it is there
    ];
    for bytes in malformed {
        assert_eq!(Message::decode(&mut bytes.to_vec()), Err(Malformed), "{bytes:?}");
    }
    for incomplete in [b"".as_slice(), b"R", b"R\0\0", b"F\0\x02\x001"] {
        assert_eq!(Message::decode(&mut incomplete.to_vec()), Ok(None), "{incomplete:?}");
    }
    assert_eq!(
        Message::decode(&mut b"P\0\x02\x00\xff\xfe".to_vec()),
        Ok(Some(Message::Progress("\u{fffd}\u{fffd}".into())))
    );
}
