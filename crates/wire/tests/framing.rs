//! Framing and commands: round trips, fragments, limits, and bytes that nobody should send.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::{Bytes, BytesMut};
use proptest::{collection::vec, prelude::*};
use prunedb_core::{ContainerId, ContainerKind, Digest, LakeId, ShardId, ShardIndex, Term};
use prunedb_wire::{
    ARGUMENTS_MAX, BULK_BYTES_MAX, Command, CommandError, FrameError, GET_BYTES_MAX,
    LIST_COUNT_MAX, Limits, PutMode, REQUEST_BYTES_MAX, Reply, ReplyDecoder, RequestDecoder,
    answer,
};

fn ids() -> impl Strategy<Value = ShardId> {
    (any::<[u8; 16]>(), 0_u8..3, any::<u32>(), any::<u8>()).prop_map(
        |(lake, kind, number, index)| {
            let kind = ContainerKind::from_byte(kind).unwrap();
            ShardId {
                lake: LakeId(lake),
                container: ContainerId { kind, number },
                index: ShardIndex(index),
            }
        },
    )
}

fn bulks(max: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..max).prop_map(Bytes::from)
}

fn commands() -> impl Strategy<Value = Command> {
    let lakes = || any::<[u8; 16]>().prop_map(LakeId);
    let terms = || any::<u64>().prop_map(Term);
    let names = any::<[u8; 32]>().prop_map(Digest);
    let modes = prop_oneof![Just(PutMode::IfAbsent), Just(PutMode::Replace)];
    prop_oneof![
        Just(Command::Ping),
        Just(Command::Info),
        Just(Command::Space),
        (ids(), terms(), any::<u64>(), modes).prop_map(|(id, term, bytes, mode)| Command::Put {
            id,
            term,
            bytes,
            mode
        }),
        (any::<u32>(), any::<u64>(), bulks(300))
            .prop_map(|(handle, offset, chunk)| Command::Data { handle, offset, chunk }),
        (any::<u32>(), names, terms()).prop_map(|(handle, name, term)| Command::Commit {
            handle,
            name,
            term
        }),
        any::<u32>().prop_map(|handle| Command::Abort { handle }),
        (ids(), any::<u64>(), 1..=GET_BYTES_MAX).prop_map(|(id, offset, bytes)| Command::Get {
            id,
            offset,
            bytes
        }),
        ids().prop_map(|id| Command::Stat { id }),
        (lakes(), proptest::option::of(ids()), 1..=LIST_COUNT_MAX)
            .prop_map(|(lake, after, count)| Command::List { lake, after, count }),
        (ids(), terms()).prop_map(|(id, term)| Command::Delete { id, term }),
        (lakes(), terms()).prop_map(|(lake, term)| Command::Fence { lake, term }),
        (lakes(), terms(), any::<u64>(), bulks(300)).prop_map(|(lake, term, number, bytes)| {
            Command::HeadPut { lake, term, number, bytes }
        }),
        lakes().prop_map(|lake| Command::HeadGet { lake }),
    ]
}

fn replies() -> impl Strategy<Value = Reply> {
    let text = || "[ -~]{0,40}".prop_map(Bytes::from);
    let single = prop_oneof![
        text().prop_map(Reply::Simple),
        text().prop_map(Reply::Error),
        (-i64::MAX..i64::MAX).prop_map(Reply::Integer),
        bulks(300).prop_map(Reply::Bulk),
        Just(Reply::Nil),
    ];
    prop_oneof![single.clone(), vec(single, 0..20).prop_map(Reply::Array)]
}

/// Feeds a stream in fragments of these lengths, again and again.
fn fragments(stream: &[u8], lengths: &[usize], mut each: impl FnMut(&mut BytesMut)) {
    let (mut buf, mut rest) = (BytesMut::new(), stream);
    for &length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (now, later) = rest.split_at(length.min(rest.len()));
        buf.extend_from_slice(now);
        rest = later;
        each(&mut buf);
    }
}

proptest! {
    #[test]
    fn commands_round_trip_in_any_fragments(
        sent in vec(commands(), 1..6),
        lengths in vec(1_usize..200, 1..8),
    ) {
        let mut stream = BytesMut::new();
        sent.iter().for_each(|command| command.encode(&mut stream));
        let (mut decoder, mut received) = (RequestDecoder::default(), Vec::new());
        fragments(&stream, &lengths, |buf| {
            while let Some(arguments) = decoder.decode(buf).unwrap() {
                received.push(Command::parse(&arguments).unwrap());
            }
        });
        prop_assert_eq!(received, sent);
        prop_assert!(!decoder.in_request());
    }

    #[test]
    fn replies_round_trip_in_any_fragments(
        sent in vec(replies(), 1..6),
        lengths in vec(1_usize..200, 1..8),
    ) {
        let mut stream = BytesMut::new();
        sent.iter().for_each(|reply| reply.encode(&mut stream));
        let (mut decoder, mut received) = (ReplyDecoder::new(Limits::default()), Vec::new());
        fragments(&stream, &lengths, |buf| {
            while let Some(reply) = decoder.decode(buf).unwrap() {
                received.push(reply);
            }
        });
        prop_assert_eq!(received, sent);
    }

    #[test]
    fn any_bytes_are_taken_or_refused(
        stream in prop_oneof![
            vec(any::<u8>(), 0..300),
            // bytes that look like RESP
            vec(prop_oneof![Just(b'*'), Just(b'$'), Just(b'\r'), Just(b'\n'), Just(b'-'), Just(b':'),
                Just(b'+'), b'0'..=b'9', Just(b'a')], 0..300),
        ],
        lengths in vec(1_usize..50, 1..5),
    ) {
        let (mut decoder, mut dead) = (RequestDecoder::default(), false);
        fragments(&stream, &lengths, |buf| while !dead {
            match decoder.decode(buf) {
                Ok(Some(arguments)) => _ = Command::parse(&arguments),
                Ok(None) => break,
                Err(_) => dead = true,
            }
        });
        let (mut decoder, mut dead) = (ReplyDecoder::new(Limits::default()), false);
        fragments(&stream, &lengths, |buf| while !dead {
            match decoder.decode(buf) {
                Ok(Some(reply)) => read_as_everything(reply),
                Ok(None) => break,
                Err(_) => dead = true,
            }
        });
    }

    #[test]
    fn any_reply_is_an_answer_or_refused(reply in replies()) {
        read_as_everything(reply);
    }

    #[test]
    fn any_arguments_are_a_command_or_refused(
        name in prop_oneof![
            Just("PDB.PUT"), Just("pdb.data"), Just("PDB.COMMIT"), Just("PDB.GET"), Just("Pdb.List"),
            Just("PDB.HEADPUT"), Just("PIN"), Just(""),
        ],
        arguments in vec(bulks(40), 0..6),
    ) {
        let mut all = vec![Bytes::from(name)];
        all.extend(arguments);
        if let Ok(command) = Command::parse(&all) {
            let mut stream = BytesMut::new();
            command.encode(&mut stream);
            let again = RequestDecoder::default().decode(&mut stream).unwrap().unwrap();
            prop_assert_eq!(Command::parse(&again).unwrap(), command);
        }
    }

    #[test]
    fn answers_round_trip(
        id in ids(), bytes: u64, term: u64, name: [u8; 32], handle: u32, stored: bool, head in bulks(300),
    ) {
        let (term, name) = (Term(term), Digest(name));
        let stat = answer::Stat { id, bytes, term, name };
        prop_assert_eq!(answer::read_stat(&answer::stat(Some(stat)), id), Ok(Some(stat)));
        prop_assert_eq!(answer::read_list(&answer::list(&[stat]), id.lake, None, 1), Ok(vec![stat]));
        prop_assert!(answer::read_list(&answer::list(&[stat]), id.lake, Some(id), 1).is_err());
        prop_assert!(answer::read_list(&answer::list(&[stat, stat]), id.lake, None, 2).is_err());
        let put = answer::PutAnswer { handle, stored: stored.then_some(name) };
        prop_assert_eq!(answer::read_put(&answer::put(put)), Ok(put));
        let head = answer::Head { term, number: bytes, bytes: head };
        prop_assert_eq!(answer::read_head(answer::head(Some(head.clone()))), Ok(Some(head)));
        let space = answer::Space { capacity_bytes: bytes, used_bytes: term.0, shards: 1 };
        prop_assert_eq!(answer::read_space(&answer::space(space)), Ok(space));
    }
}

fn read_as_everything(reply: Reply) {
    let id =
        ShardId { lake: LakeId([0; 16]), container: ContainerId::data(0), index: ShardIndex(0) };
    _ = answer::read_ok(&reply);
    _ = answer::read_data(&reply);
    _ = answer::read_deleted(&reply);
    _ = answer::read_put(&reply);
    _ = answer::read_stat(&reply, id);
    _ = answer::read_list(&reply, id.lake, Some(id), 3);
    _ = answer::read_space(&reply);
    _ = answer::read_head(reply.clone());
    _ = answer::read_get(reply, 3);
}

fn decode(stream: &[u8]) -> Result<Option<Vec<Bytes>>, FrameError> {
    RequestDecoder::default().decode(&mut BytesMut::from(stream))
}

#[test]
fn hostile_framing_is_refused() {
    let cases: [(&[u8], FrameError); 14] = [
        (b"PING\r\n", FrameError::NotAnArray { found: b'P' }),
        (b"\r\n", FrameError::NotAnArray { found: b'\r' }),
        (b"$4\r\nPING\r\n", FrameError::NotAnArray { found: b'$' }),
        (b"*0\r\n", FrameError::NoArguments),
        (b"*-1\r\n", FrameError::NoArguments),
        (b"*-2\r\n", FrameError::Count { found: -2, count_max: ARGUMENTS_MAX }),
        (b"*1025\r\n", FrameError::Count { found: 1025, count_max: ARGUMENTS_MAX }),
        (b"*1\r\n*1\r\n$4\r\nPING\r\n", FrameError::NotABulk { found: b'*' }),
        (b"*1\r\n:4\r\n", FrameError::NotABulk { found: b':' }),
        (b"*1\r\n$-1\r\n", FrameError::BulkLength { found: -1, bytes_max: 0 }),
        (
            b"*1\r\n$8388609\r\n",
            FrameError::BulkLength { found: 8_388_609, bytes_max: BULK_BYTES_MAX },
        ),
        (b"*1\r\n$4\r\nPINGPONG", FrameError::LineEnd),
        (b"*1\n$4\r\nPING\r\n", FrameError::LineEnd),
        (b"*one\r\n", FrameError::Number),
    ];
    for (stream, error) in cases {
        assert_eq!(decode(stream), Err(error), "{}", stream.escape_ascii());
    }
    assert!(matches!(decode(&[b'*'; 40]), Err(FrameError::LineLength { .. })));
    assert!(matches!(decode(b"*99999999999999999999\r\n"), Err(FrameError::Number)));
}

#[test]
fn a_message_is_bounded_as_a_whole() {
    let mut stream = BytesMut::from(&b"*3\r\n"[..]);
    let mut decoder = RequestDecoder::default();
    for _ in 0..2 {
        stream.extend_from_slice(format!("${BULK_BYTES_MAX}\r\n").as_bytes());
        stream.resize(stream.len() + BULK_BYTES_MAX, 0);
        stream.extend_from_slice(b"\r\n");
    }
    let refused = decoder.decode(&mut stream);
    assert_eq!(refused, Err(FrameError::TooLong { bytes_max: REQUEST_BYTES_MAX }));
}

#[test]
fn limits_are_reachable() {
    let mut stream = BytesMut::from(format!("*{ARGUMENTS_MAX}\r\n").as_bytes());
    for _ in 0..ARGUMENTS_MAX {
        stream.extend_from_slice(b"$0\r\n\r\n");
    }
    let arguments = RequestDecoder::default().decode(&mut stream).unwrap().unwrap();
    assert_eq!((arguments.len(), stream.len()), (ARGUMENTS_MAX, 0));
}

#[test]
fn bulk_strings_are_not_copied() {
    let mut stream = BytesMut::from(&b"*1\r\n$5\r\nhello\r\n"[..]);
    let place = stream.as_ptr() as usize + 8;
    let arguments = RequestDecoder::default().decode(&mut stream).unwrap().unwrap();
    assert_eq!(arguments[0].as_ptr() as usize, place);
}

#[test]
fn arrays_in_arrays_are_refused() {
    let mut decoder = ReplyDecoder::new(Limits::default());
    let refused = decoder.decode(&mut BytesMut::from(&b"*1\r\n*1\r\n:1\r\n"[..]));
    assert_eq!(refused, Err(FrameError::Nesting));
}

#[test]
fn text_cannot_break_out_of_its_line() {
    let mut out = BytesMut::new();
    Reply::Error(Bytes::from_static(b"a\r\n+OK\r\n")).encode(&mut out);
    assert_eq!(out, &b"-a  +OK  \r\n"[..]);
}

#[test]
fn wrong_arguments_are_named() {
    let parse = |list: &[&'static [u8]]| {
        let list: Vec<Bytes> = list.iter().map(|a| Bytes::from_static(a)).collect();
        Command::parse(&list)
    };
    assert_eq!(parse(&[b"PIN"]), Err(CommandError::Unknown { name: "PIN".into() }));
    assert_eq!(parse(&[b"x\r\n"]), Err(CommandError::Unknown { name: "x\\r\\n".into() }));
    assert_eq!(parse(&[]), Err(CommandError::Unknown { name: String::new() }));
    assert_eq!(parse(&[b"pInG"]), Ok(Command::Ping));
    assert_eq!(parse(&[b"PING", b"x"]), Err(CommandError::Count { name: "PING" }));
    let short_id = parse(&[b"PDB.STAT", b"short"]).unwrap_err();
    assert_eq!(short_id.to_string(), "'PDB.STAT' wants a shard id of 24 bytes");
    for term in [&b"-1"[..], b"", b"01", b"18446744073709551616", b"x"] {
        assert!(parse(&[b"PDB.FENCE", &[0; 16], term]).is_err(), "{}", term.escape_ascii());
    }
    for bytes in [&b"0"[..], b"4194305"] {
        assert!(parse(&[b"PDB.GET", &[0; 24], b"0", bytes]).is_err());
    }
}
