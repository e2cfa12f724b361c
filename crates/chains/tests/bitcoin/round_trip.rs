//! Made-up chains: heights, branches, files that grow.

use crate::{
    common::{comes_back, files, import},
    synthetic::{Made, chain, write},
};
use prunedb_chains::{
    archive::MemoryArchive,
    bitcoin::{BitcoinError, BlockId, Hash, History, ImportOptions, Network, export_folder},
};

/// Over the genesis, which is not among the files: heights come from coinbases.
fn first(count: u64) -> Vec<Made> {
    chain(Network::Regtest.genesis(), 1, count, 2, 0)
}

fn height(archive: &MemoryArchive, hash: Hash) -> Option<Option<u64>> {
    let block = History::new(archive, Network::Regtest).block(BlockId::Hash(hash)).unwrap();
    block.map(|block| block.height)
}

#[test]
fn blocks_and_undo_data_may_lie_in_any_order() {
    let folder = tempfile::tempdir().unwrap();
    let blocks = first(40);
    let mut shuffled = blocks.clone();
    shuffled.reverse();
    shuffled.swap(3, 30);
    write(folder.path(), 0, &shuffled[..25], &blocks[15..], 0);
    write(folder.path(), 1, &shuffled[25..], &blocks[..15], 4096);
    let mut archive = MemoryArchive::default();
    // one of the swapped blocks lies in the other file than its undo
    let error = import(&mut archive, folder.path(), &ImportOptions::default()).unwrap_err();
    assert!(matches!(error, BitcoinError::Damaged { .. }), "{error}");

    let (one, two): (Vec<Made>, Vec<Made>) =
        blocks.iter().cloned().partition(|b| shuffled[..25].iter().any(|s| s.hash == b.hash));
    write(folder.path(), 0, &shuffled[..25], &one, 0);
    write(folder.path(), 1, &shuffled[25..], &two, 4096);
    let mut archive = MemoryArchive::default();
    let report = import(&mut archive, folder.path(), &ImportOptions::default()).unwrap();
    assert_eq!(report.heights, Some(1..=40));
    let history = History::new(&archive, Network::Regtest);
    for (made, at) in blocks.iter().zip(1..) {
        let block = history.block(BlockId::Height(at)).unwrap().unwrap();
        assert_eq!((block.header.hash, &block.bytes), (made.hash, &made.bytes));
        assert_eq!(history.undo(&block).unwrap().as_ref(), Some(&made.undo));
    }
    comes_back(&archive, folder.path());
}

#[test]
fn what_is_near_the_tip_gets_its_height_later() {
    let folder = tempfile::tempdir().unwrap();
    let mut archive = MemoryArchive::default();
    let mut options = ImportOptions::default();
    options.confirmations = Some(6);
    let blocks = first(30);
    let other = chain(blocks[17].hash, 19, 3, 0, 1);
    // the other branch is the longer one for a while
    let early: Vec<Made> = [&blocks[..20], &other].concat();
    write(folder.path(), 0, &early, &early, 1024);
    let report = import(&mut archive, folder.path(), &options).unwrap();
    assert_eq!((report.heights, report.files[0].side_blocks), (Some(1..=21), 8));
    assert_eq!(height(&archive, blocks[14].hash), Some(Some(15)));
    assert_eq!(height(&archive, other[0].hash), Some(None));
    comes_back(&archive, folder.path());

    // the file grew, and the chain is another one
    let all: Vec<Made> = [&early, &blocks[20..]].concat();
    write(folder.path(), 0, &all, &all, 512);
    let report = import(&mut archive, folder.path(), &options).unwrap();
    assert_eq!((report.heights, report.files[0].skipped), (Some(1..=30), false));
    assert_eq!(height(&archive, blocks[23].hash), Some(Some(24)));
    assert_eq!(height(&archive, blocks[24].hash), Some(None));
    assert_eq!(height(&archive, other[0].hash), Some(None));
    comes_back(&archive, folder.path());

    // the same file, but all of it counts
    options.confirmations = Some(0);
    let report = import(&mut archive, folder.path(), &options).unwrap();
    assert!(!report.files[0].skipped);
    assert_eq!(height(&archive, blocks[29].hash), Some(Some(30)));
    assert!(import(&mut archive, folder.path(), &options).unwrap().files[0].skipped);
    comes_back(&archive, folder.path());
}

#[test]
fn an_export_that_a_full_disk_ended_goes_on() {
    let (folder, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut archive = MemoryArchive::default();
    let blocks = first(10);
    write(folder.path(), 0, &blocks, &blocks, 0);
    import(&mut archive, folder.path(), &ImportOptions::default()).unwrap();
    for name in ["xor.dat.unfinished", "blk00000.dat.unfinished"] {
        std::fs::write(out.path().join(name), []).unwrap();
    }
    let export =
        || export_folder(&archive, Network::Regtest, out.path(), |_| true, &mut |_| ()).map(|_| ());
    export().unwrap();
    assert!(files(out.path()) == files(folder.path()));
    // what is there and another one is not touched
    std::fs::write(out.path().join("xor.dat"), []).unwrap();
    assert!(matches!(export(), Err(BitcoinError::Exists { .. })));
}

#[test]
fn a_chain_goes_on_in_another_folder() {
    let mut archive = MemoryArchive::default();
    let blocks = first(30);
    for (number, blocks) in (0..).zip(blocks.chunks(10)) {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), number, blocks, blocks, 0);
        import(&mut archive, folder.path(), &ImportOptions::default()).unwrap();
    }
    assert_eq!(height(&archive, blocks[29].hash), Some(Some(30)));
}

#[test]
fn a_reorganisation_below_what_is_stored_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut archive = MemoryArchive::default();
    let blocks = first(10);
    write(folder.path(), 0, &blocks, &blocks, 0);
    import(&mut archive, folder.path(), &ImportOptions::default()).unwrap();
    let before = archive.len();
    let other = chain(blocks[4].hash, 6, 9, 1, 1);
    let all = [blocks.clone(), other.clone()].concat();
    write(folder.path(), 0, &all, &all, 0);
    let error = import(&mut archive, folder.path(), &ImportOptions::default()).unwrap_err();
    let BitcoinError::Contradicts { height: 6, stored, found } = error else { panic!("{error}") };
    assert_eq!((stored, found), (blocks[5].hash, other[0].hash));
    assert_eq!(archive.len(), before);
}
