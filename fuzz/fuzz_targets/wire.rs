//! Requests and replies of any bytes, in any portions: the same whatever the portions, and never a panic.
#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use prunedb_wire::{Command, Limits, Refusal, Reply, ReplyDecoder, RequestDecoder, answer};

fuzz_target!(|input: (u8, &[u8])| {
    let (portion, bytes) = input;
    let portion = usize::from(portion).max(1);
    let requests = |portion| {
        let mut decoder = RequestDecoder::new(Limits::default());
        all(bytes, portion, |buffer| decoder.decode(buffer))
    };
    let replies = |portion| {
        let mut decoder = ReplyDecoder::new(Limits::default());
        all(bytes, portion, |buffer| decoder.decode(buffer))
    };
    let (whole, in_portions) = (requests(bytes.len().max(1)), requests(portion));
    assert!(whole == in_portions, "portions change requests");
    let (answers, in_portions) = (replies(bytes.len().max(1)), replies(portion));
    assert!(answers == in_portions, "portions change replies");
    for arguments in whole.0 {
        command(&arguments);
    }
    for reply in answers.0 {
        read(reply);
    }
    let _ = Refusal::parse(bytes);
});

/// Everything that a decoder takes out of `bytes`, and whether it failed in the end.
fn all<T, E>(
    bytes: &[u8],
    portion: usize,
    mut decode: impl FnMut(&mut BytesMut) -> Result<Option<T>, E>,
) -> (Vec<T>, bool) {
    let (mut items, mut buffer) = (Vec::new(), BytesMut::new());
    for part in bytes.chunks(portion) {
        buffer.extend_from_slice(part);
        loop {
            match decode(&mut buffer) {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(_) => return (items, true),
            }
        }
    }
    (items, false)
}

fn command(arguments: &[Bytes]) {
    let Ok(command) = Command::parse(arguments) else { return };
    let mut bytes = BytesMut::new();
    command.encode(&mut bytes);
    let again = RequestDecoder::new(Limits::default()).decode(&mut bytes);
    let again = again.expect("our own request").expect("a whole one");
    assert!(Command::parse(&again).as_ref() == Ok(&command));
}

fn read(reply: Reply) {
    let _ = answer::read_ok(&reply);
    let _ = answer::read_data(&reply);
    let _ = answer::read_deleted(&reply);
    let _ = answer::read_put(&reply);
    let _ = answer::read_space(&reply);
    let _ = answer::read_scrub(&reply);
    let _ = answer::read_head(reply.clone());
    let _ = answer::read_prove(&reply, 2);
    let _ = answer::read_get(reply, 4096);
}
