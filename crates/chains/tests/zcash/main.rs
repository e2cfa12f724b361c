//! Real blocks of Zcash, of every version of transactions.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use prunedb_chains::{
    archive::MemoryArchive,
    contract::{
        Blocks, ChainSource as _, ChainVerifier as _, ImportOptions, Level, RawBlock, RawPart,
        Stored, conformance, import,
    },
    zcash::{BlockFile, Fault, Network, ZcashVerifier},
};
use std::num::NonZeroUsize;

const VERIFIER: ZcashVerifier = ZcashVerifier::new(Network::Mainnet);
/// The first height of each file, and its blocks.
const FILES: [(u64, &str); 5] = [
    (0, include_str!("../../fixtures/zcash/v1/main-0-5.hex")),
    (395, include_str!("../../fixtures/zcash/v1/main-395-396.hex")),
    (347_500, include_str!("../../fixtures/zcash/v1/main-347500-347501.hex")),
    (419_201, include_str!("../../fixtures/zcash/v1/main-419201-419202.hex")),
    (1_687_106, include_str!("../../fixtures/zcash/v1/main-1687106-1687108.hex")),
];

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn blocks(file: usize) -> Vec<RawBlock> {
    let (first, lines) = FILES[file];
    let block = |(height, line)| {
        let bytes = bytes(line);
        // 140 bytes, and a solution of 1,344 with its length
        let (header, transactions) = bytes.split_at(140 + 3 + 1344);
        let part = |table, bytes: &[u8]| RawPart { table, bytes: bytes.to_vec() };
        let parts = vec![part("header", header), part("transactions", transactions)];
        RawBlock { height, parts }
    };
    (first..).zip(lines.lines()).map(block).collect()
}

#[test]
fn zcash_keeps_the_contract() {
    for file in [0, 4] {
        conformance::check(Blocks::new(&blocks(file)), &VERIFIER, 40);
    }
}

/// Merkle roots hold over ids of all versions, and each block names the one below.
#[test]
fn blocks_of_every_version_verify() {
    let mut transactions = 0;
    for file in 0..FILES.len() {
        let checked = VERIFIER.verify(&blocks(file), Level::Signatures).unwrap();
        for pair in checked.windows(2) {
            assert_eq!(pair[1].parent, pair[0].hash);
        }
        transactions += checked.iter().map(|block| block.transactions.len()).sum::<usize>();
    }
    assert!(transactions > 30, "{transactions}");
}

#[test]
fn solutions_that_do_not_hold_are_refused() {
    let block = &blocks(0)[1];
    let fault = |part: usize, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bad = block.clone();
        change(&mut bad.parts[part].bytes);
        VERIFIER.verify(&[bad], Level::Signatures).unwrap_err().fault
    };
    // the hash is another one then, too: it meets the target no more
    assert!(matches!(fault(0, &|bytes| bytes[200] ^= 1), Fault::Work { .. }));
    assert!(matches!(
        fault(0, &|bytes| bytes[104] ^= 1),
        Fault::Work { .. } | Fault::Target { .. }
    ));
    // a transaction
    assert!(matches!(fault(1, &|bytes| *bytes.last_mut().unwrap() ^= 1), Fault::Root { .. }));
    // the first block of another network: its coinbase says something that is no height
    let other = ZcashVerifier::new(Network::Testnet).verify(&blocks(0)[..1], Level::Hashes);
    assert!(matches!(other.unwrap_err().fault, Fault::Height { expected: 0, .. }));
}

/// As `zcashd` writes them: in any order, with one that did not stay.
#[test]
fn a_file_of_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("blk00000.dat");
    let sound = blocks(0);
    let frames = |order: &[usize]| -> Vec<u8> {
        let frame = |&at: &usize| {
            let block = [&sound[at].parts[0].bytes[..], &sound[at].parts[1].bytes].concat();
            let length = u32::try_from(block.len()).unwrap().to_le_bytes();
            [&Network::Mainnet.magic()[..], &length, &block].concat()
        };
        order.iter().flat_map(frame).collect()
    };
    std::fs::write(&path, [frames(&[0, 2, 1, 3, 3, 5, 4]), vec![0; 64]].concat()).unwrap();
    let mut source = BlockFile::open(&path, Network::Mainnet).unwrap();
    assert_eq!(source.blocks(), 6);
    let mut archive = MemoryArchive::default();
    let options = ImportOptions::new(Level::Signatures, NonZeroUsize::MIN);
    let report = import(&mut archive, &mut source, &VERIFIER, &options, &mut |_| ()).unwrap();
    assert_eq!((report.blocks_stored, report.gap_count), (6, 0));
    let stored = Stored::new(&archive, &VERIFIER);
    for block in &sound {
        assert_eq!(stored.raw(block.height).unwrap().as_ref(), Some(block));
    }
    source.rewind().unwrap();
    assert_eq!(source.next_block().unwrap().as_ref(), sound.first());

    for (bad, says) in [
        (frames(&[0, 1])[..1800].to_vec(), "it ends within"),
        ([&[0xfa; 8][..], &frames(&[0])].concat(), "fafafafa is no block of mainnet"),
        ([&Network::Mainnet.magic()[..], &[0xff; 4]].concat(), "the longest has"),
    ] {
        std::fs::write(&path, bad).unwrap();
        let error = BlockFile::open(&path, Network::Mainnet).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}
