//! A made-up regtest chain, as a node would have it on its disk: real hashes, real proof of work.

use prunedb_chains::bitcoin::{Block, Hash, Network, sha256d};
use std::path::Path;

/// A block, and the undo of what it spends.
#[derive(Clone)]
pub(crate) struct Made {
    pub(crate) hash: Hash,
    pub(crate) parent: Hash,
    pub(crate) bytes: Vec<u8>,
    pub(crate) undo: Vec<u8>,
}

/// Blocks `first..` over a parent: each spends `spends` coins; `branch` makes them others than those of other branches.
pub(crate) fn chain(parent: Hash, first: u64, count: u64, spends: u8, branch: u8) -> Vec<Made> {
    let mut blocks: Vec<Made> = Vec::new();
    for height in first..first + count {
        let parent = blocks.last().map_or(parent, |block| block.hash);
        blocks.push(block(parent, height, spends, branch));
    }
    blocks
}

fn block(parent: Hash, height: u64, spends: u8, branch: u8) -> Made {
    let mut transactions = vec![coinbase(height, branch)];
    let mut undo = vec![u8::from(spends > 0)];
    if spends > 0 {
        transactions.push(spend(height, spends));
        undo.push(spends);
        for coin in 0..spends {
            // height 1, no coinbase; amount; a script of one byte
            undo.extend([2, 0, coin, 7, 0x51]);
        }
    }
    let ids: Vec<Hash> = transactions.iter().map(|bytes| sha256d(&[bytes])).collect();
    let root = match ids[..] {
        [one] => one,
        [a, b] => sha256d(&[&a.0, &b.0]),
        _ => unreachable!(),
    };
    let mut bytes = 4i32.to_le_bytes().to_vec();
    bytes.extend(parent.0);
    bytes.extend(root.0);
    bytes.extend(1_700_000_000u32.to_le_bytes());
    bytes.extend(0x207f_ffffu32.to_le_bytes());
    bytes.extend([0; 4]);
    bytes.push(u8::try_from(transactions.len()).unwrap());
    bytes.extend(transactions.concat());
    for nonce in 0u32.. {
        bytes[76..80].copy_from_slice(&nonce.to_le_bytes());
        if let Ok(block) = Block::verified(&bytes, Network::Regtest) {
            assert_eq!(block.coinbase_height, Some(height));
            return Made { hash: block.header.hash, parent, bytes, undo };
        }
    }
    unreachable!("every second nonce will do")
}

fn coinbase(height: u64, branch: u8) -> Vec<u8> {
    let mut script = match height {
        0 => vec![0],
        1..=16 => vec![0x50 + u8::try_from(height).unwrap()],
        _ => [&[2][..], &u16::try_from(height).unwrap().to_le_bytes()].concat(),
    };
    script.extend([1, branch]);
    let mut bytes = 1u32.to_le_bytes().to_vec();
    bytes.push(1);
    bytes.extend([0; 32]);
    bytes.extend([0xff; 4]);
    bytes.push(u8::try_from(script.len()).unwrap());
    bytes.extend(script);
    bytes.extend([0xff; 4]);
    bytes.extend([1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x51, 0, 0, 0, 0]);
    bytes
}

fn spend(height: u64, inputs: u8) -> Vec<u8> {
    let mut bytes = 1u32.to_le_bytes().to_vec();
    bytes.push(inputs);
    for input in 0..inputs {
        bytes.extend(sha256d(&[&height.to_le_bytes()]).0);
        bytes.extend([input, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    }
    bytes.extend([1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0x51, 0, 0, 0, 0]);
    bytes
}

/// Writes a block file, its undo file with the undos of `connected`, and the key.
pub(crate) fn write(
    folder: &Path,
    number: u32,
    blocks: &[Made],
    connected: &[Made],
    padding: usize,
) {
    let key = [0xc8, 0x64, 0xfc, 0x7e, 0xff, 0xe0, 0x4f, 0x0f];
    std::fs::write(folder.join("xor.dat"), key).unwrap();
    let record = |payload: &[u8], checksum: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap().to_le_bytes();
        [&Network::Regtest.magic()[..], &length, payload, checksum].concat()
    };
    let blk = blocks.iter().flat_map(|block| record(&block.bytes, &[])).collect();
    let undo = |block: &Made| record(&block.undo, &sha256d(&[&block.parent.0, &block.undo]).0);
    let rev = connected.iter().flat_map(undo).collect();
    let write = |kind: &str, mut bytes: Vec<u8>| {
        bytes.iter_mut().zip(key.into_iter().cycle()).for_each(|(byte, key)| *byte ^= key);
        bytes.resize(bytes.len() + padding, 0);
        std::fs::write(folder.join(format!("{kind}{number:05}.dat")), bytes).unwrap();
    };
    write("blk", blk);
    write("rev", rev);
}
