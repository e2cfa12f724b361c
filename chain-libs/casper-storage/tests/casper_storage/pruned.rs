//! The node's file without its history, and the archive behind it, beside the file as it was.

use crate::common::{Lake, copy, corpus, heights, open, raw, read};
use casper_storage::block_store::{
    BlockStoreError, BlockStoreProvider as _, DataReader, DbRawBytesSpec,
    lmdb::DbTableId,
    types::{ApprovalsHashes, BlockHashHeightAndEra, LatestSwitchBlock, StateStoreKey, Tip},
};
use casper_types::{
    Approval, Block, BlockHash, BlockHeader, BlockSignatures, Digest, EraId, Transaction,
    TransactionHash, bytesrepr::ToBytes, execution::ExecutionResult,
};
use prunedb_casper::{CasperVerifier, PruneLimits, Pruning};
use prunedb_casper_storage::ArchivedBlockStore;
use std::{collections::BTreeSet, num::NonZeroUsize};

const CONFIG: &str = "[node]\nsync_handling = 'ttl'\n[storage]\nmax_block_store_size = 1_073_741_824\n\
    max_deploy_store_size = 1_073_741_824\nmax_deploy_metadata_store_size = 1_073_741_824\n";

#[test]
fn every_height_is_answered_as_from_the_full_file() {
    let test = "every_height_is_answered_as_from_the_full_file";
    let Some(file) = corpus(test, "node-A/storage.lmdb") else { return };
    let (lake, verifier) = (Lake::new(), CasperVerifier::new("casper-a").unwrap());
    let (full, slim) = (lake.node_folder("full"), lake.node_folder("slim"));
    copy(&file, &full);
    lake.import(&copy(&file, &slim), &verifier);
    lake.evict_and_lose_four_nodes();
    let chainspec = std::fs::read_to_string(file.with_file_name("chainspec.toml")).unwrap();
    let limits = PruneLimits::read(&chainspec, CONFIG).unwrap();
    let mut pruning = Pruning::open(&slim.join("storage.lmdb"), &limits, Some(10)).unwrap();
    let keep_from = pruning.plan().keep_from;
    pruning.compare(&lake.archive(), &verifier, &mut |_, _| ()).unwrap();
    pruning.write(&verifier, true, NonZeroUsize::MIN, &mut |_| ()).unwrap();

    let (full, recent) = (open(&full), open(&slim));
    let gone: Option<BlockSignatures> = read(&recent, keep_from - 1);
    assert!(gone.is_none(), "the node has it no more");
    let store = ArchivedBlockStore::new(recent, lake.archive(), verifier);
    let (mut eras, mut transactions) = (BTreeSet::new(), 0);
    for (height, _) in heights(&file.with_file_name("heights.txt")) {
        let block: Block = read(&full, height).unwrap();
        let (hash, header): (BlockHash, Option<BlockHeader>) = (*block.hash(), read(&full, height));
        assert_eq!(read(&store, height), Some(block.clone()));
        assert_eq!(read(&store, hash), Some(block.clone()));
        assert_eq!(read::<_, _, BlockHeader>(&store, height), header);
        assert_eq!(read::<_, _, BlockHeader>(&store, hash), header);
        let signatures: Option<BlockSignatures> = read(&full, height);
        assert!(signatures.is_some());
        assert_eq!(read::<_, _, BlockSignatures>(&store, height), signatures);
        assert_eq!(read::<_, _, BlockSignatures>(&store, hash), signatures);
        let hashes: Option<ApprovalsHashes> = read(&full, height);
        assert_eq!(read::<_, _, ApprovalsHashes>(&store, height), hashes);
        if block.is_switch_block() {
            eras.insert(block.era_id());
            assert_eq!(read(&store, block.era_id()), Some(block.clone()));
            assert_eq!(read::<_, _, BlockHeader>(&store, block.era_id()), header);
            let signatures: Option<BlockSignatures> = read(&full, block.era_id());
            assert_eq!(read::<_, _, BlockSignatures>(&store, block.era_id()), signatures);
        }
        let key = hash.inner().value();
        for table in [
            DbTableId::BlockHeader,
            DbTableId::BlockMetadata,
            DbTableId::ApprovalsHashes,
            DbTableId::Transfer,
        ] {
            assert_eq!(raw(&store, table, &key), raw(&full, table, &key), "{height} {table}");
        }
        for id in block.all_transaction_hashes() {
            let whole: Transaction = read(&full, id).unwrap();
            assert_eq!(read(&store, id), Some(whole));
            let executed: ExecutionResult = read(&full, id).unwrap();
            assert_eq!(read(&store, id), Some(executed));
            let approvals: Option<BTreeSet<Approval>> = read(&full, id);
            assert_eq!(read(&store, id), approvals);
            let (place, as_before): (BlockHashHeightAndEra, BlockHashHeightAndEra) =
                (read(&store, id).unwrap(), read(&full, id).unwrap());
            assert_eq!(format!("{place:?}"), format!("{as_before:?}"));
            let key = id.to_bytes().unwrap();
            for table in [
                DbTableId::Transaction,
                DbTableId::ExecutionResult,
                DbTableId::FinalizedTransactionApprovals,
            ] {
                assert_eq!(raw(&store, table, &key), raw(&full, table, &key), "{id} {table}");
            }
            transactions += 1;
        }
    }
    assert_eq!((transactions, eras.len()), (828, 18));
    {
        let (full, store) = (full.checkout_ro().unwrap(), store.checkout_ro().unwrap());
        let tip: Option<Block> = full.read(Tip).unwrap();
        assert_eq!(DataReader::<_, Block>::read(&store, Tip).unwrap(), tip);
        let switch: Option<BlockHeader> = full.read(LatestSwitchBlock).unwrap();
        let found = DataReader::<_, BlockHeader>::read(&store, LatestSwitchBlock).unwrap();
        assert!(found.is_some() && found == switch);
    }

    // what nobody has
    let nowhere = BlockHash::new(Digest::hash("nowhere"));
    assert!(read::<_, _, Block>(&store, nowhere).is_none());
    assert!(read::<_, _, Block>(&store, 9999u64).is_none());
    assert!(read::<_, _, Block>(&store, EraId::new(9999)).is_none());
    let nothing = TransactionHash::from_raw([7; 32]);
    assert!(read::<_, _, Transaction>(&store, nothing).is_none());
    assert!(raw(&store, DbTableId::Transaction, b"short").is_none());

    // a body by its own hash: nobody can say
    let reader = store.checkout_ro().unwrap();
    let body = DataReader::<(DbTableId, Vec<u8>), DbRawBytesSpec>::read(
        &reader,
        (DbTableId::BlockBody, vec![7; 32]),
    );
    assert!(matches!(body, Err(BlockStoreError::UnsupportedOperation)));
}

/// What the node notes for itself is the node's, and so is what is written.
#[test]
fn notes_and_writes_are_the_node_s() {
    use casper_storage::block_store::{BlockStoreTransaction as _, DataWriter, types::StateStore};
    let lake = Lake::new();
    let folder = lake.node_folder("node");
    let verifier = CasperVerifier::new("casper-a").unwrap();
    let mut store = ArchivedBlockStore::new(open(&folder), lake.archive(), verifier);
    let mut writer = store.checkout_rw().unwrap();
    let note = StateStore { key: b"note"[..].into(), value: vec![1, 2, 3] };
    DataWriter::<_, StateStore>::write(&mut writer, &note).unwrap();
    writer.commit().unwrap();
    let reader = store.checkout_ro().unwrap();
    let value: Option<Vec<u8>> = reader.read(StateStoreKey::new(b"note"[..].into())).unwrap();
    assert_eq!(value.as_deref(), Some(&[1, 2, 3][..]));
    let other = StateStoreKey::new(b"other"[..].into());
    assert!(!DataReader::<_, Vec<u8>>::exists(&reader, other).unwrap());
}
