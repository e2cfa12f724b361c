//! Files of blocks without a node's folder around them.

use crate::{
    common::import,
    synthetic::{Made, chain, write},
};
use prunedb_chains::{
    archive::MemoryArchive,
    bitcoin::{
        BitcoinError, BlockId, Fault, History, ImportOptions, Network, export_range, import_blocks,
    },
    contract::ChainError,
};
use std::num::NonZeroUsize;

const TWO: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);
const NETWORK: Network = Network::Regtest;

fn archive(blocks: &[Made]) -> MemoryArchive {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 0, blocks, blocks, 0);
    let mut archive = MemoryArchive::default();
    import(&mut archive, folder.path(), &ImportOptions::default()).unwrap();
    archive
}

fn framed(blocks: &[Made]) -> Vec<u8> {
    let frame = |block: &Made| {
        let length = u32::try_from(block.bytes.len()).unwrap().to_le_bytes();
        [&NETWORK.magic()[..], &length, &block.bytes].concat()
    };
    blocks.iter().flat_map(frame).collect()
}

#[test]
fn a_range_goes_out_and_in_as_one_file() {
    let blocks = chain(NETWORK.genesis(), 1, 30, 1, 0);
    let (from, folder) = (archive(&blocks), tempfile::tempdir().unwrap());
    let export = |heights| {
        export_range(&from, NETWORK, heights, folder.path(), NonZeroUsize::MIN, &mut |_| ())
    };
    let written = export(3..=7).unwrap();
    assert!(!written.kept && written.path.ends_with("blocks-0000003-0000007.dat"));
    assert!(std::fs::read(&written.path).unwrap() == framed(&blocks[2..7]));
    assert!(export(3..=7).unwrap().kept);
    std::fs::write(&written.path, b"another").unwrap();
    assert!(matches!(export(3..=7), Err(ChainError::Sink(_))));
    std::fs::write(&written.path, framed(&blocks[2..7])).unwrap();
    assert!(matches!(export(25..=31), Err(ChainError::NotStored { height: 31, .. })));

    let mut into = MemoryArchive::default();
    let (network, report) =
        import_blocks(&mut into, &written.path, None, TWO, &mut |_| ()).unwrap();
    assert_eq!((network, report.blocks, report.blocks_stored), (NETWORK, 5, 5));
    let history = History::new(&into, NETWORK);
    for (height, block) in (3..).zip(&blocks[2..7]) {
        let stored = history.block(BlockId::Height(height)).unwrap().unwrap();
        assert!(stored.bytes == block.bytes);
    }
    assert!(history.block(BlockId::Height(8)).unwrap().is_none());
    let (_, again) = import_blocks(&mut into, &written.path, None, TWO, &mut |_| ()).unwrap();
    assert_eq!((again.blocks, again.blocks_stored), (5, 0));
}

#[test]
fn one_block_is_taken_as_it_is() {
    let blocks = chain(NETWORK.genesis(), 1, 3, 2, 0);
    let (folder, mut into) = (tempfile::tempdir().unwrap(), MemoryArchive::default());
    let path = folder.path().join("block.raw");
    std::fs::write(&path, &blocks[2].bytes).unwrap();
    let (_, report) = import_blocks(&mut into, &path, Some(NETWORK), TWO, &mut |_| ()).unwrap();
    assert_eq!((report.blocks_stored, report.transactions, report.side_blocks), (1, 2, 0));
    // of mainnet it would have needed more work
    let error = import_blocks(&mut into, &path, None, TWO, &mut |_| ()).unwrap_err();
    assert!(matches!(error, BitcoinError::InFile { .. }), "{error}");
    // the same height cannot have another block
    let other = chain(blocks[1].hash, 3, 1, 0, 9);
    std::fs::write(&path, &other[0].bytes).unwrap();
    let error = import_blocks(&mut into, &path, Some(NETWORK), TWO, &mut |_| ()).unwrap_err();
    assert!(matches!(error, BitcoinError::Contradicts { height: 3, .. }), "{error}");
}

#[test]
fn damaged_files_store_nothing() {
    let blocks = chain(NETWORK.genesis(), 1, 6, 1, 0);
    let (folder, whole) = (tempfile::tempdir().unwrap(), framed(&blocks));
    let path = folder.path().join("blocks.dat");
    let refused = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let mut archive = MemoryArchive::default();
        let result = import_blocks(&mut archive, &path, Some(NETWORK), TWO, &mut |_| ());
        assert!(archive.is_empty() || result.is_ok());
        result.err()
    };
    assert!(refused(&whole).is_none());
    // of the last block another header may be as good
    for at in 0..framed(&blocks[..5]).len() {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        assert!(refused(&changed).is_some(), "byte {at}");
    }
    for cut in 1..framed(&blocks[..1]).len() {
        let error = refused(&whole[..whole.len() - cut]);
        assert!(error.is_some(), "{cut} bytes less");
    }
    assert!(matches!(refused(&[]), Some(BitcoinError::TooShort { .. })));
    let long = [&NETWORK.magic()[..], &[0xff; 100]].concat();
    let Some(BitcoinError::InFile { fault, .. }) = refused(&long) else { panic!() };
    assert!(matches!(*fault, Fault::TooLong { .. }));
    std::fs::write(&path, &whole).unwrap();
    let mut archive = MemoryArchive::default();
    let error = import_blocks(&mut archive, &path, Some(Network::Mainnet), TWO, &mut |_| ());
    assert!(matches!(error, Err(BitcoinError::OtherNetworkIn { .. })));
}
