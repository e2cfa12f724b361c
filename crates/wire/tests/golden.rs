//! The bytes of each command and answer, as docs/format/node-protocol.md has them.
//!
//! `RUSTFLAGS="--cfg bless" cargo test -p prunedb-wire golden` writes them anew: old nodes and clients will differ.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::{Bytes, BytesMut};
use prunedb_core::{ContainerId, Digest, LakeId, ShardId, ShardIndex, Term};
use prunedb_proof::{Audit, SAMPLE_BYTES, SampleProof};
use prunedb_wire::{
    Command, Limits, PutMode, Refusal, Reply, ReplyDecoder, RequestDecoder, answer,
};
use std::path::{Path, PathBuf};

const LAKE: LakeId = LakeId(*b"the lake's 16 by");
const NAME: Digest = Digest(*b"the 32 bytes of a shard's name..");

fn id() -> ShardId {
    ShardId { lake: LAKE, container: ContainerId::data(0x4443_4241), index: ShardIndex(b'7') }
}

fn commands() -> Vec<Command> {
    let term = Term(u64::MAX);
    vec![
        Command::Ping,
        Command::Info,
        Command::Put { id: id(), term, bytes: 5, mode: PutMode::IfAbsent },
        Command::Put { id: id(), term, bytes: 5, mode: PutMode::Replace },
        Command::Data { handle: 1, offset: 0, chunk: Bytes::from_static(b"hello") },
        Command::Commit { handle: 1, name: NAME, term },
        Command::Abort { handle: u32::MAX },
        Command::Get { id: id(), offset: 1, bytes: 4 },
        Command::Stat { id: id() },
        Command::List { lake: LAKE, after: None, count: 1000 },
        Command::List { lake: LAKE, after: Some(id()), count: 1 },
        Command::Delete { id: id(), term },
        Command::Fence { lake: LAKE, term },
        Command::HeadPut { lake: LAKE, term, number: 2, bytes: Bytes::from_static(b"head") },
        Command::HeadGet { lake: LAKE },
        Command::Space,
        Command::Prove(Audit { shard: id(), seed: [b's'; 32], samples: 64 }),
        Command::Access { capability: Bytes::from_static(b"a capability") },
        Command::Scrub,
    ]
}

fn replies() -> Vec<Reply> {
    let stat = answer::Stat { id: id(), bytes: 5, term: Term(u64::MAX), name: NAME };
    let head = answer::Head { term: Term(1), number: 2, bytes: Bytes::from_static(b"head") };
    vec![
        Reply::OK,
        answer::put(answer::PutAnswer { handle: 1, stored: None }),
        answer::put(answer::PutAnswer { handle: 1, stored: Some(NAME) }),
        answer::data(5),
        answer::deleted(true),
        answer::stat(None),
        answer::stat(Some(stat)),
        answer::list(&[]),
        answer::list(&[stat, stat]),
        answer::head(None),
        answer::head(Some(head)),
        answer::space(answer::Space { capacity_bytes: u64::MAX, used_bytes: 1, shards: 0 }),
        Reply::from(&Refusal::Fenced { seen: Term(7) }),
        Reply::from(&Refusal::Absent),
        Reply::from(&Refusal::Damaged { offset: 16_384 }),
        Reply::from(&Refusal::Conflict),
        Reply::from(&Refusal::Full { free_bytes: 0 }),
        Reply::from(&Refusal::Range { shard_bytes: 5 }),
        answer::prove(&[SampleProof {
            sample: Box::new([b'x'; SAMPLE_BYTES]),
            path: vec![[b'1'; 32], [b'2'; 32]],
        }]),
        Reply::from(&Refusal::Denied { reason: "expired it ended 7 s ago".into() }),
        answer::scrub(answer::Scrub { rounds: 1, damaged: u64::MAX, ..Default::default() }),
    ]
}

fn check(name: &str, found: &[u8]) -> BytesMut {
    let path: PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "fixtures/node-protocol/v1", name].iter().collect();
    let path: &Path = &path;
    if cfg!(bless) {
        std::fs::write(path, found).unwrap();
    }
    let golden = std::fs::read(path).unwrap();
    assert!(golden == found, "{name} has other bytes");
    BytesMut::from(&golden[..])
}

#[test]
fn golden_requests() {
    let mut out = BytesMut::new();
    commands().iter().for_each(|command| command.encode(&mut out));
    let mut golden = check("requests.resp", &out);
    let mut decoder = RequestDecoder::default();
    for command in commands() {
        let arguments = decoder.decode(&mut golden).unwrap().unwrap();
        assert_eq!(Command::parse(&arguments), Ok(command));
    }
    assert!(golden.is_empty());
}

#[test]
fn golden_answers() {
    let mut out = BytesMut::new();
    replies().iter().for_each(|reply| reply.encode(&mut out));
    let mut golden = check("answers.resp", &out);
    let mut decoder = ReplyDecoder::new(Limits::default());
    for reply in replies() {
        assert_eq!(decoder.decode(&mut golden).unwrap(), Some(reply));
    }
    assert!(golden.is_empty());
}
