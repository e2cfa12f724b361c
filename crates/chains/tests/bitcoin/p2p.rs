//! A node's questions, and what it is answered.

use crate::{
    common::import,
    synthetic::{Made, chain, write},
};
use proptest::prelude::*;
use prunedb_chains::{
    archive::MemoryArchive,
    bitcoin::{
        Hash, ImportOptions, Network,
        p2p::{HEAD_BYTES, Head, MESSAGE_BYTES_MAX, Peer, PeerError, write_message},
        sha256d,
    },
};

const NETWORK: Network = Network::Regtest;

fn archive(blocks: &[Made]) -> MemoryArchive {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 0, blocks, blocks, 0);
    let mut archive = MemoryArchive::default();
    import(&mut archive, folder.path(), &ImportOptions::default()).unwrap();
    archive
}

/// Sends a message; gives the answers, by name.
fn ask(
    peer: &mut Peer<'_, MemoryArchive>,
    command: &str,
    payload: &[u8],
) -> Result<Vec<(String, Vec<u8>)>, PeerError> {
    let mut message = Vec::new();
    write_message(NETWORK, command, payload, &mut message);
    let head = Head::read(message.first_chunk().unwrap(), NETWORK)?;
    let mut out = Vec::new();
    peer.receive(&head, &message[HEAD_BYTES..], 1_700_000_000, &mut out)?;
    while peer.send_next(&mut out)? {}
    let mut answers = Vec::new();
    let mut rest = &out[..];
    while let Some((head, after)) = rest.split_first_chunk::<HEAD_BYTES>() {
        let (payload, after) = after.split_at(Head::read(head, NETWORK)?.payload_bytes);
        assert_eq!(head[20..], sha256d(&[payload]).0[..4]);
        let name = String::from_utf8(head[4..16].to_vec()).unwrap();
        answers.push((name.trim_end_matches('\0').to_owned(), payload.to_vec()));
        rest = after;
    }
    assert!(rest.is_empty());
    Ok(answers)
}

fn greeted(archive: &MemoryArchive) -> Peer<'_, MemoryArchive> {
    let mut peer = Peer::new(archive, NETWORK, 7);
    let answers = ask(&mut peer, "version", &[0; 100]).unwrap();
    let names: Vec<&str> = answers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["version", "verack"]);
    assert!(ask(&mut peer, "verack", &[]).unwrap().is_empty());
    peer
}

fn locator(hashes: &[Hash], stop: Hash) -> Vec<u8> {
    let mut out = 70_016u32.to_le_bytes().to_vec();
    out.push(u8::try_from(hashes.len()).unwrap());
    out.extend(hashes.iter().flat_map(|hash| hash.0));
    out.extend(stop.0);
    out
}

fn inventory(kind: u32, hashes: &[Hash]) -> Vec<u8> {
    let mut out = vec![u8::try_from(hashes.len()).unwrap()];
    for hash in hashes {
        out.extend(kind.to_le_bytes());
        out.extend(hash.0);
    }
    out
}

#[test]
fn a_node_gets_headers_and_blocks() {
    let blocks = chain(NETWORK.genesis(), 1, 300, 1, 0);
    let archive = archive(&blocks);
    let mut peer = greeted(&archive);
    assert_eq!(ask(&mut peer, "ping", b"12345678").unwrap(), [("pong".into(), b"12345678".into())]);

    let none = Hash::default();
    let expected = |blocks: &[Made]| -> Vec<u8> {
        let count = u16::try_from(blocks.len()).unwrap().to_le_bytes();
        let mut out =
            if blocks.len() < 0xfd { vec![count[0]] } else { vec![0xfd, count[0], count[1]] };
        blocks.iter().for_each(|block| {
            out.extend(&block.bytes[..80]);
            out.push(0);
        });
        out
    };
    for (known, stop, blocks) in [
        (vec![NETWORK.genesis()], none, &blocks[..]),
        (vec![Hash([9; 32]), blocks[199].hash, blocks[99].hash], none, &blocks[200..]),
        (vec![blocks[9].hash], blocks[19].hash, &blocks[10..20]),
        (vec![blocks[299].hash], none, &[]),
        (vec![], blocks[41].hash, &blocks[41..42]),
        (vec![], Hash([9; 32]), &[]),
    ] {
        let headers = ask(&mut peer, "getheaders", &locator(&known, stop)).unwrap();
        assert_eq!(headers, [("headers".into(), expected(blocks))]);
    }

    let (with_witness, unknown) = (2 | 1 << 30, Hash([3; 32]));
    let asked = [blocks[4].hash, unknown, blocks[250].hash];
    let answers = ask(&mut peer, "getdata", &inventory(with_witness, &asked)).unwrap();
    let block = |at: usize| ("block".into(), blocks[at].bytes.clone());
    let missing = ("notfound".into(), inventory(with_witness, &[unknown]));
    assert_eq!(answers, [block(4), missing, block(250)]);
    assert_eq!(ask(&mut peer, "getaddr", &[]).unwrap(), []);
}

#[test]
fn who_breaks_the_rules_is_cut_off() {
    let archive = archive(&chain(NETWORK.genesis(), 1, 3, 0, 0));
    let mut peer = Peer::new(&archive, NETWORK, 7);
    assert!(matches!(ask(&mut peer, "ping", &[]), Err(PeerError::Early { .. })));
    let mut peer = greeted(&archive);
    for (command, payload) in [
        ("getheaders", vec![1, 2, 3]),
        ("getheaders", locator(&[Hash([1; 32]); 102], Hash::default())),
        ("getdata", vec![0xfe, 0xff, 0xff, 0xff, 0xff]),
        ("getdata", [inventory(2, &[Hash([1; 32])]), vec![0]].concat()),
    ] {
        let refused = ask(&mut peer, command, &payload);
        assert!(matches!(refused, Err(PeerError::Form { .. })), "{command}");
    }
    let mut message = Vec::new();
    write_message(NETWORK, "ping", b"x", &mut message);
    let head = Head::read(message.first_chunk().unwrap(), NETWORK).unwrap();
    let other = peer.receive(&head, b"y", 0, &mut Vec::new());
    assert!(matches!(other, Err(PeerError::Checksum { .. })));
    let other = Head::read(message.first_chunk().unwrap(), Network::Mainnet);
    assert!(matches!(other, Err(PeerError::Magic { .. })));
    let long = u32::try_from(MESSAGE_BYTES_MAX + 1).unwrap();
    message[16..20].copy_from_slice(&long.to_le_bytes());
    let long = Head::read(message.first_chunk().unwrap(), NETWORK);
    assert!(matches!(long, Err(PeerError::TooLong { .. })));
}

proptest! {
    #[test]
    fn any_payload_is_answered_or_refused(
        which in 0usize..3,
        payload in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let archive = MemoryArchive::default();
        let mut peer = greeted(&archive);
        let _ = ask(&mut peer, ["getheaders", "getdata", "version"][which], &payload);
    }
}
