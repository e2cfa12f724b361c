//! Rows of 1.x, which the chain's own library wrote.

use crate::common::{Lake, MAP_BYTES, open, read};
use casper_storage::block_store::{BlockStoreProvider as _, DataReader};
use casper_types::{Approval, Block, BlockHeader, BlockSignatures, Transaction};
use lmdb::{DatabaseFlags, Environment, EnvironmentFlags, Transaction as _, WriteFlags};
use prunedb_casper::CasperVerifier;
use prunedb_casper_storage::ArchivedBlockStore;
use std::{collections::BTreeSet, path::Path};

/// Database, key and value, in hex.
const ROWS: &str = include_str!("../../../../crates/casper/fixtures/legacy-rows/v1/rows.txt");

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// A file of a 1.x node with eight blocks.
fn write_file(path: &Path) {
    let env = Environment::new()
        .set_flags(EnvironmentFlags::NO_SUB_DIR)
        .set_max_dbs(17)
        .set_map_size(usize::try_from(MAP_BYTES).unwrap())
        .open(path)
        .unwrap();
    for line in ROWS.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        if words[0] == "row" {
            let database = env.create_db(Some(words[1]), DatabaseFlags::empty()).unwrap();
            let mut transaction = env.begin_rw_txn().unwrap();
            let (key, value) = (bytes(words[2]), bytes(words[3]));
            transaction.put(database, &key, &value, WriteFlags::empty()).unwrap();
            transaction.commit().unwrap();
        }
    }
    env.sync(true).unwrap();
}

#[test]
fn blocks_of_1_x_come_from_the_archive_as_from_their_file() {
    let lake = Lake::new();
    let verifier = CasperVerifier::new("casper-example").unwrap();
    let (full, empty) = (lake.node_folder("full"), lake.node_folder("empty"));
    let file = full.join("storage.lmdb");
    write_file(&file);
    assert_eq!(lake.import(&file, &verifier).blocks, 8);
    lake.evict_and_lose_four_nodes();

    let full = open(&full);
    let store = ArchivedBlockStore::new(open(&empty), lake.archive(), verifier);
    let (mut transactions, mut approvals) = (0, 0);
    for height in 0u64..8 {
        let block: Block = read(&full, height).unwrap();
        assert!(matches!(block, Block::V1(_)));
        assert_eq!(read(&store, height), Some(block.clone()));
        let header: Option<BlockHeader> = read(&full, *block.hash());
        assert_eq!(read::<_, _, BlockHeader>(&store, *block.hash()), header);
        let signatures: Option<BlockSignatures> = read(&full, height);
        assert_eq!(read::<_, _, BlockSignatures>(&store, height), signatures);
        for id in block.all_transaction_hashes() {
            let whole: Transaction = read(&full, id).unwrap();
            assert_eq!(read(&store, id), Some(whole));
            let finalized: Option<BTreeSet<Approval>> = read(&full, id);
            approvals += finalized.iter().flatten().count();
            assert_eq!(read(&store, id), finalized);
            transactions += 1;
        }
    }
    assert!(transactions >= 8 && approvals > 0, "{transactions} {approvals}");
}

/// Never `None` for what is archived: an error that says where it is, and that too little of it answers.
#[test]
fn what_is_archived_and_out_of_reach_is_an_error() {
    let lake = Lake::new();
    let verifier = CasperVerifier::new("casper-example").unwrap();
    let (full, empty) = (lake.node_folder("full"), lake.node_folder("empty"));
    let file = full.join("storage.lmdb");
    write_file(&file);
    lake.import(&file, &verifier);
    lake.evict_and_lose_four_nodes();
    lake.lose(&[1]);
    let store = ArchivedBlockStore::new(open(&empty), lake.archive(), verifier);
    let reader = store.checkout_ro().unwrap();
    let error = DataReader::<u64, Block>::read(&reader, 3).unwrap_err().to_string();
    for says in ["d0 cannot be read", "3 of 4 needed shards", "shard 0 on node-"] {
        assert!(error.contains(says), "{says}: {error}");
    }
}
