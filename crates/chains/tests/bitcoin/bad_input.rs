//! Files that are not what they should be: what is said, and that nothing is stored.

use crate::{
    common::{comes_back, import},
    synthetic::{Made, chain, write},
};
use proptest::prelude::*;
use prunedb_chains::{
    archive::MemoryArchive,
    bitcoin::{BitcoinError, Block, Fault, Hash, ImportOptions, Network},
};
use std::path::Path;

fn blocks() -> Vec<Made> {
    chain(Network::Regtest.genesis(), 1, 12, 1, 0)
}

fn refused(folder: &Path) -> BitcoinError {
    let mut archive = MemoryArchive::default();
    let error = import(&mut archive, folder, &ImportOptions::default()).unwrap_err();
    assert!(archive.is_empty(), "{error}");
    error
}

#[test]
fn folders_and_keys_that_are_none() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(refused(folder.path()), BitcoinError::NoFiles { .. }));
    assert!(matches!(refused(&folder.path().join("none")), BitcoinError::Io { .. }));
    let path = folder.path().join("blk00000.dat");
    for bytes in [&[][..], &[0xfa, 0xbf]] {
        std::fs::write(&path, bytes).unwrap();
        let BitcoinError::TooShort { bytes: found, .. } = refused(folder.path()) else { panic!() };
        assert_eq!(found, bytes.len() as u64);
    }
    assert!(matches!(refused(&path), BitcoinError::NoFiles { .. }));
    let blocks = blocks();
    write(folder.path(), 0, &blocks, &blocks, 0);
    std::fs::write(folder.path().join("xor.dat"), [1; 7]).unwrap();
    assert!(matches!(refused(folder.path()), BitcoinError::XorKey { bytes: 7, .. }));
    std::fs::write(folder.path().join("xor.dat"), [1; 8]).unwrap();
    assert!(matches!(refused(folder.path()), BitcoinError::UnknownNetwork { .. }));
    // a key that is right where the magic is, and wrong behind it
    write(folder.path(), 0, &blocks, &blocks, 0);
    let mut key = std::fs::read(folder.path().join("xor.dat")).unwrap();
    key[4] ^= 1;
    std::fs::write(folder.path().join("xor.dat"), key).unwrap();
    let error = refused(folder.path());
    assert!(!matches!(error, BitcoinError::UnknownNetwork { .. }), "{error}");
    write(folder.path(), 0, &blocks, &blocks, 0);
    std::fs::rename(folder.path().join("blk00000.dat"), folder.path().join("blk00001.dat"))
        .unwrap();
    assert!(matches!(refused(folder.path()), BitcoinError::NoBlocks { .. }));
}

#[test]
fn another_network() {
    let folder = tempfile::tempdir().unwrap();
    let blocks = blocks();
    write(folder.path(), 0, &blocks, &blocks, 0);
    let mut options = ImportOptions::default();
    options.network = Some(Network::Mainnet);
    let error = import(&mut MemoryArchive::default(), folder.path(), &options).unwrap_err();
    assert_eq!(error.to_string(), "blk00000.dat is of regtest, expected mainnet");
}

#[test]
fn padding_is_zeros() {
    let folder = tempfile::tempdir().unwrap();
    let blocks = blocks();
    write(folder.path(), 0, &blocks, &blocks, 100);
    let path = folder.path().join("blk00000.dat");
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.len() - 3;
    bytes[at] = 9;
    std::fs::write(&path, bytes).unwrap();
    let BitcoinError::Damaged { place, fault } = refused(folder.path()) else { panic!() };
    assert_eq!((place.record, *fault), (12, Fault::Padding { offset: at as u64, found: 9 }));
}

#[test]
fn undo_data_of_other_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let mut other = blocks();
    other[3].parent = Hash([7; 32]);
    write(folder.path(), 0, &blocks(), &other, 0);
    let BitcoinError::Damaged { place, fault } = refused(folder.path()) else { panic!() };
    assert_eq!((place.file.to_string(), place.record), ("rev00000.dat".into(), 3));
    assert!(matches!(*fault, Fault::NoBlock { transactions: 1, .. }), "{fault}");
}

#[test]
fn a_block_has_one_undo() {
    let folder = tempfile::tempdir().unwrap();
    let mut connected = blocks();
    connected.push(connected[4].clone());
    write(folder.path(), 0, &blocks(), &connected, 0);
    let mut archive = MemoryArchive::default();
    import(&mut archive, folder.path(), &ImportOptions::default()).unwrap();
    comes_back(&archive, folder.path());
    // another amount, with its checksum
    connected[12].undo[4] = 9;
    write(folder.path(), 0, &blocks(), &connected, 0);
    let BitcoinError::Damaged { place, .. } = refused(folder.path()) else { panic!() };
    assert_eq!((place.file.to_string(), place.record), ("rev00000.dat".into(), 12));
    connected.pop();
    connected[4].undo[4] = 9;
    write(folder.path(), 0, &blocks(), &connected, 0);
    let other = import(&mut archive, folder.path(), &ImportOptions::default());
    assert!(matches!(other, Err(BitcoinError::OtherUndo { .. })));
}

#[test]
fn what_is_whole_is_salvaged_whatever_is_broken() {
    let folder = tempfile::tempdir().unwrap();
    let blocks = blocks();
    write(folder.path(), 0, &blocks, &blocks, 64);
    let path = folder.path().join("blk00000.dat");
    let whole = std::fs::read(&path).unwrap();
    let record = 8 + blocks[0].bytes.len();
    let mut options = ImportOptions::default();
    options.salvage = true;
    for at in [0, 5, 9, 100, record, 3 * record + 20, whole.len() - 70, whole.len() - 1] {
        let mut changed = whole.clone();
        changed[at] ^= 0x40;
        std::fs::write(&path, &changed).unwrap();
        let mut archive = MemoryArchive::default();
        if at < 4 {
            // of a file that begins with something else nobody knows the network
            assert!(import(&mut archive, folder.path(), &options).is_err());
            continue;
        }
        let report = import(&mut archive, folder.path(), &options).unwrap();
        let file = &report.files[0];
        assert!(file.blocks >= 11 && file.verbatim_bytes > 0, "byte {at}: {file:?}");
        comes_back(&archive, folder.path());
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_block_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Block::verified(&bytes, Network::Regtest);
    }

    #[test]
    fn a_changed_block_is_refused(at in 0usize..200, bit in 0u8..8) {
        let block = &blocks()[2];
        let mut changed = block.bytes.clone();
        let at = at % changed.len();
        changed[at] ^= 1 << bit;
        // another nonce may do as well, but is another block
        if let Ok(other) = Block::verified(&changed, Network::Regtest) {
            prop_assert!(at < 80 && other.header.hash != block.hash);
        }
    }
}
