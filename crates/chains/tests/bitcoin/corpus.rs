//! Real Bitcoin history: needs `PRUNEDB_CORPUS`, and says so where it is not set.

use crate::common::{comes_back, files, import};
use prunedb_chains::{
    archive::MemoryArchive,
    bitcoin::{
        BitcoinError, Block, BlockId, Fault, Hash, History, ImportOptions, Network, sha256d,
    },
};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn corpus(test: &str) -> Option<PathBuf> {
    let folder =
        std::env::var_os("PRUNEDB_CORPUS").map(|folder| PathBuf::from(folder).join("bitcoin"));
    if folder.is_none() {
        eprintln!("{test}: skipped, PRUNEDB_CORPUS is not set");
    }
    folder
}

fn hash(value: &Value) -> Hash {
    value.as_str().unwrap().parse().unwrap()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_node_s_blocks_are_what_it_reported_itself() {
    let Some(corpus) = corpus("a_node_s_blocks") else { return };
    let folder = corpus.join("regtest-A");
    let mut archive = MemoryArchive::default();
    let report = import(&mut archive, &folder.join("blocks"), &ImportOptions::default()).unwrap();
    assert_eq!((report.network, report.heights), (Network::Regtest, Some(0..=320)));
    let file = &report.files[0];
    assert_eq!((file.blocks, file.blocks_stored, file.side_blocks), (324, 324, 3));
    assert_eq!(file.verbatim_bytes, 0);

    let reported = json(&folder.join("blocks.json"));
    let undo = json(&folder.join("undo.json"));
    let history = History::new(&archive, Network::Regtest);
    for reported in reported["blocks"].as_array().unwrap() {
        let height = reported["height"].as_u64().unwrap();
        let block = history.block(BlockId::Height(height)).unwrap().unwrap();
        assert_eq!(block.header.hash, hash(&reported["hash"]));
        assert_eq!(history.block(BlockId::Hash(block.header.hash)).unwrap().unwrap(), block);
        let walked = Block::verified(&block.bytes, Network::Regtest).unwrap();
        let undone = &undo["undo"][block.header.hash.to_string()];
        assert_eq!(history.undo(&block).unwrap().is_some(), height > 0);
        assert_eq!(walked.transactions.len(), undone.as_array().unwrap().len() + 1);
        for transaction in walked.transactions {
            let stored = history.transaction(transaction.txid).unwrap().unwrap();
            assert_eq!((stored.place.height, stored.block), (height, block.header.hash));
            assert_eq!(stored.bytes, block.bytes[transaction.bytes]);
        }
    }
    for tip in reported["chaintips"].as_array().unwrap() {
        let block = history.block(BlockId::Hash(hash(&tip["hash"]))).unwrap().unwrap();
        assert_eq!(block.height.is_some(), tip["status"] == "active");
    }
    comes_back(&archive, &folder.join("blocks"));
}

#[test]
fn closed_files_come_back_in_any_order_of_blocks() {
    let Some(corpus) = corpus("closed_files_come_back") else { return };
    let folder = corpus.join("regtest-C/blocks");
    let mut archive = MemoryArchive::default();
    let report = import(&mut archive, &folder, &ImportOptions::default()).unwrap();
    assert_eq!((report.heights, report.files.len()), (Some(0..=700), 13));
    let sum = |of: fn(&prunedb_chains::bitcoin::FileReport) -> u64| -> u64 {
        report.files.iter().map(of).sum()
    };
    assert_eq!((sum(|f| f.blocks), sum(|f| f.side_blocks), sum(|f| f.undos)), (701, 0, 700));
    comes_back(&archive, &folder);
    let again = import(&mut archive, &folder, &ImportOptions::default()).unwrap();
    assert!(again.files.iter().all(|file| file.skipped));
}

#[test]
fn what_a_crash_left_is_refused_or_salvaged() {
    let Some(corpus) = corpus("what_a_crash_left") else { return };
    let folder = corpus.join("regtest-D/blocks");
    let mut archive = MemoryArchive::default();
    let mut options = ImportOptions::default();
    let error = import(&mut archive, &folder, &options).unwrap_err();
    let BitcoinError::Damaged { place, fault } = &error else { panic!("{error}") };
    assert!(matches!(**fault, Fault::Magic { .. }));
    assert_eq!((place.file.to_string(), place.record), ("blk00000.dat".into(), 11));
    assert!(archive.is_empty());

    options.salvage = true;
    let report = import(&mut archive, &folder, &options).unwrap();
    eprintln!("{report:?}");
    let file = &report.files[0];
    assert!(file.blocks > 10 && file.verbatim_bytes > 0);
    comes_back(&archive, &folder);
    let again = import(&mut archive, &folder, &options).unwrap();
    assert!(again.files[0].skipped);
}

#[test]
fn real_blocks_verify_and_changed_ones_do_not() {
    let Some(corpus) = corpus("real_blocks_verify") else { return };
    for (file, network, height) in [
        ("bcoin/block300025.raw", Network::Mainnet, Some(300_025)),
        ("bcoin/block426884.raw", Network::Mainnet, Some(426_884)),
        ("bcoin/block482683.raw", Network::Mainnet, Some(482_683)),
        ("bcoin/block928816.raw", Network::Testnet3, Some(928_816)),
        ("bcoin/block928831.raw", Network::Testnet3, Some(928_831)),
        ("bcoin/block928927.raw", Network::Testnet3, Some(928_927)),
        ("bcoin/block1087400.raw", Network::Testnet3, Some(1_087_400)),
        ("bitcoinj/block169482.dat", Network::Mainnet, None),
        ("bitcoinj/block481815.dat", Network::Mainnet, Some(481_815)),
    ] {
        let bytes = std::fs::read(corpus.join(file)).unwrap();
        let block = Block::verified(&bytes, network).unwrap_or_else(|e| panic!("{file}: {e}"));
        if height.is_some() {
            assert_eq!(block.coinbase_height, height, "{file}");
        }
        assert_eq!(block.header.hash, sha256d(&[&bytes[..80]]));
        for step in 0..40 {
            let mut changed = bytes.clone();
            let at = step * changed.len() / 40;
            changed[at] ^= 1 << (step % 8);
            assert!(Block::verified(&changed, network).is_err(), "{file}: byte {at}");
        }
        for cut in [0, 79, 80, 81, bytes.len() - 1] {
            assert!(Block::verified(&bytes[..cut], network).is_err());
        }
    }
}

#[test]
fn changed_files_are_refused() {
    let Some(corpus) = corpus("changed_files_are_refused") else { return };
    let whole = files(&corpus.join("regtest-A/blocks"));
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in &whole {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    for (name, bytes) in &whole {
        let path = folder.path().join(name);
        let steps = if bytes.len() == 8 { 8 } else { 30 };
        for step in 0..steps {
            // the last bytes of undo files are padding, which is checked, too
            let at = step * bytes.len() / steps + step;
            let mut changed = bytes.clone();
            changed[at % bytes.len()] ^= 1 << (step % 8);
            std::fs::write(&path, &changed).unwrap();
            let mut archive = MemoryArchive::default();
            let error = import(&mut archive, folder.path(), &ImportOptions::default());
            let error = error.expect_err(&format!("{} byte {at}", name.display()));
            assert!(archive.is_empty(), "{} byte {at}: {error}", name.display());
        }
        if bytes.len() > 8 {
            std::fs::write(&path, &bytes[..bytes.len() / 3]).unwrap();
            let mut archive = MemoryArchive::default();
            let result = import(&mut archive, folder.path(), &ImportOptions::default());
            // of padding only some is missing
            assert_eq!(result.is_err(), name.starts_with("blk00000.dat"), "{name:?}");
        }
        std::fs::write(&path, bytes).unwrap();
    }
}
