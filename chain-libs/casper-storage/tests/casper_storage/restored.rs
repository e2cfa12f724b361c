//! Import, evict, lose nodes, restore: what the chain's own reader then finds in the file.

use crate::common::{Lake, MAP_BYTES, copy, corpus, heights, open, read};
use casper_storage::block_store::types::{ApprovalsHashes, BlockHashHeightAndEra};
use casper_types::{
    Approval, Block, BlockHash, BlockSignatures, Transaction, TransactionHash, crypto,
    execution::ExecutionResult,
};
use prunedb_casper::{CasperVerifier, restore};
use std::{collections::BTreeSet, num::NonZeroUsize, ops::RangeInclusive, path::Path};

/// What was verified, by the chain's own library.
#[derive(Debug, Default, PartialEq, Eq)]
struct Verified {
    blocks: usize,
    transactions: usize,
    signatures: usize,
    executions: usize,
    finalized: usize,
    approvals_hashes: usize,
}

/// Takes a file of the corpus through the lake and back into a new folder, whose path is given.
fn there_and_back(
    lake: &Lake,
    file: &Path,
    verifier: &CasperVerifier,
    heights: RangeInclusive<u64>,
) -> std::path::PathBuf {
    let original = lake.node_folder("original");
    lake.import(&copy(file, &original), verifier);
    lake.evict_and_lose_four_nodes();
    let restored = lake.node_folder("restored");
    let report = restore(
        &lake.archive(),
        verifier,
        heights.clone(),
        &restored.join("storage.lmdb"),
        MAP_BYTES,
        NonZeroUsize::MIN,
        &mut |_| (),
    );
    let report = report.unwrap();
    assert_eq!(report.completed, [(*heights.start(), *heights.end())]);
    restored
}

/// Every block of the folder's file: its hash against the one that a node reported where there is one, all that hangs on it against the block, and all of it
/// against the file that it came from.
fn verify(
    restored: &Path,
    original: &Path,
    heights: impl Iterator<Item = (u64, Option<String>)>,
) -> Verified {
    let (restored, original) = (open(restored), open(original));
    let mut verified = Verified::default();
    let mut parent: Option<(u64, BlockHash)> = None;
    for (height, hash) in heights {
        let block: Block = read(&restored, height).unwrap();
        match &block {
            Block::V1(block) => block.verify().unwrap(),
            Block::V2(block) => block.verify().unwrap(),
        }
        assert_eq!(block.height(), height);
        if let Some(hash) = hash {
            assert_eq!(format!("{:x}", block.hash().inner()), hash);
        }
        if let Some((below, hash)) = parent.filter(|(below, _)| below + 1 == height) {
            assert_eq!(*block.parent_hash(), hash, "{below}");
        }
        parent = Some((height, *block.hash()));
        verified.blocks += 1;

        let signatures: Option<BlockSignatures> = read(&restored, height);
        if let Some(signatures) = &signatures {
            assert_eq!(signatures.block_hash(), block.hash());
            signatures.is_verified().unwrap();
            verified.signatures += signatures.len();
        }
        let hashes: Option<ApprovalsHashes> = read(&restored, height);
        if let Some(hashes) = &hashes {
            hashes.verify(&block).unwrap();
            verified.approvals_hashes += 1;
        }
        for (index, id) in block.all_transaction_hashes().enumerate() {
            let transaction: Transaction = read(&restored, id).unwrap();
            assert_eq!(transaction.hash(), id);
            transaction.verify().unwrap();
            let place: BlockHashHeightAndEra = read(&restored, id).unwrap();
            assert_eq!((place.block_hash, place.block_height), (*block.hash(), height));
            let finalized: Option<BTreeSet<Approval>> = read(&restored, id);
            for approval in finalized.iter().flatten() {
                crypto::verify(digest(&id), approval.signature(), approval.signer()).unwrap();
                verified.finalized += 1;
            }
            if let Some(hashes) = &hashes {
                let approved = match finalized {
                    Some(approvals) => transaction.clone().with_approvals(approvals),
                    None => transaction.clone(),
                };
                let hash = approved.compute_approvals_hash().unwrap();
                assert_eq!(hashes.approvals_hashes()[index], hash, "{height}: {id}");
            }
            let execution: Option<ExecutionResult> = read(&restored, id);
            verified.executions += usize::from(execution.is_some());
            assert_eq!(execution, read(&original, id));
            assert_eq!(Some(transaction), read(&original, id));
            verified.transactions += 1;
        }
        assert_eq!(Some(block), read(&original, height));
        assert_eq!(signatures, read(&original, height));
    }
    verified
}

fn digest(id: &TransactionHash) -> [u8; 32] {
    id.digest().value()
}

#[test]
fn a_real_network() {
    let Some(file) = corpus("a_real_network", "node-A/storage.lmdb") else { return };
    let (lake, verifier) = (Lake::new(), CasperVerifier::new("casper-a").unwrap());
    let restored = there_and_back(&lake, &file, &verifier, 0..=209);
    let reported = heights(&file.with_file_name("heights.txt"));
    let reported = reported.into_iter().map(|(height, hash)| (height, Some(hash)));
    let verified = verify(&restored, &lake.folder.path().join("original"), reported);
    let expected =
        Verified { blocks: 210, transactions: 828, signatures: 630, executions: 828, ..verified };
    assert_eq!(verified, expected);
    assert!(verified.approvals_hashes > 0, "{verified:?}");
}

#[test]
fn a_pruned_node_s_complete_blocks() {
    let file = "node-B-holes/n2.storage.lmdb";
    let Some(file) = corpus("a_pruned_node_s_complete_blocks", file) else { return };
    let (lake, verifier) = (Lake::new(), CasperVerifier::new("casper-a").unwrap());
    let restored = there_and_back(&lake, &file, &verifier, 468..=594);
    let reported = heights(&file.with_file_name("n2.heights.txt"));
    // what the node reported ends one below its tip
    let hash = |height| reported.iter().find(|(at, _)| *at == height).map(|(_, hash)| hash.clone());
    let complete = (468..=594).map(|height| (height, hash(height)));
    let verified = verify(&restored, &lake.folder.path().join("original"), complete);
    assert_eq!((verified.blocks, verified.transactions), (127, 0));
    assert!(verified.signatures >= 127 * 2, "{verified:?}");
}

#[test]
fn blocks_that_the_chain_s_library_made_up() {
    let file = "storage/storage.lmdb";
    let Some(file) = corpus("blocks_that_the_chain_s_library_made_up", file) else { return };
    let lake = Lake::new();
    let network = {
        let folder = lake.node_folder("look");
        let source =
            prunedb_casper::CasperSource::open(&copy(&file, &folder), 0..=249, None).unwrap();
        source.network().to_owned()
    };
    let verifier = CasperVerifier::new(&network).unwrap().with_any_network();
    let restored = there_and_back(&lake, &file, &verifier, 0..=249);
    let made_up = (0..=249).map(|height| (height, None));
    let verified = verify(&restored, &lake.folder.path().join("original"), made_up);
    assert_eq!((verified.blocks, verified.transactions), (250, 3000));
}
