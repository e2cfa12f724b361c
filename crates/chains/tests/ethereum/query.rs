use crate::common::{devnet, import, import_blocks};
use prunedb_chains::{
    archive::{Archive, MemoryArchive, Record},
    ethereum::{BlockId, EthereumError, Hash32, History, Tables, synthetic::SyntheticChain},
};

#[test]
fn everything_is_found_by_height_hash_and_transaction_hash() {
    let chain = SyntheticChain::new(&devnet(), 0, 6, 1);
    let (name, bytes) = chain.clone().era1(&devnet(), 60);
    let mut archive = MemoryArchive::default();
    import(&mut archive, &name, &bytes).unwrap();
    let network = devnet();
    let history = History::new(&archive, &network);
    let mut kinds = [0; 5];
    for block in chain.take(60) {
        let by_height = history.block(BlockId::Height(block.height)).unwrap().unwrap();
        assert_eq!(history.block(BlockId::Hash(block.hash)).unwrap().as_ref(), Some(&by_height));
        assert_eq!(by_height.rlp(), block.rlp());
        assert_eq!(by_height.total_difficulty(), Some(block.total_difficulty));
        let receipts = history.receipts(BlockId::Height(block.height)).unwrap().unwrap();
        assert_eq!(receipts.rlp(), block.receipts);

        let json = serde_json::to_value(by_height.json(true).unwrap()).unwrap();
        assert_eq!(json["hash"], block.hash.to_string());
        assert_eq!(json["number"], format!("{:#x}", block.height));
        let hashes = serde_json::to_value(by_height.json(false).unwrap()).unwrap();
        let all = serde_json::to_value(receipts.json().unwrap()).unwrap();
        for (index, hash) in block.transactions.iter().enumerate() {
            let transaction = history.transaction(*hash).unwrap().unwrap();
            assert_eq!(transaction.index() as usize, index);
            assert_eq!(prunedb_chains::ethereum::keccak256(transaction.rlp()), *hash);
            let of_block = &json["transactions"][index];
            assert_eq!(&serde_json::to_value(transaction.json().unwrap()).unwrap(), of_block);
            assert_eq!(hashes["transactions"][index], hash.to_string());
            assert_eq!(all[index]["transactionHash"], hash.to_string());
            assert_eq!(all[index]["type"], of_block["type"]);
            assert_eq!(all[index]["gasUsed"], "0x5208");
            let kind: usize = of_block["type"].as_str().unwrap()[2..].parse().unwrap();
            kinds[kind] += 1;
            assert!(of_block.get("raw").is_none());
            assert_eq!(of_block.get("accessList").is_some(), kind >= 1);
            assert_eq!(of_block.get("maxFeePerGas").is_some(), kind >= 2);
            assert_eq!(of_block.get("blobVersionedHashes").is_some(), kind == 3);
            assert_eq!(of_block.get("authorizationList").is_some(), kind == 4);
        }
    }
    assert!(kinds.iter().all(|&count| count > 5), "{kinds:?}");
    assert!(history.block(BlockId::Height(60)).unwrap().is_none());
    assert!(history.block(BlockId::Hash(Hash32([1; 32]))).unwrap().is_none());
    assert!(history.transaction(Hash32([1; 32])).unwrap().is_none());
}

#[test]
fn plain_blocks_have_no_receipts() {
    let mut archive = MemoryArchive::default();
    let block = SyntheticChain::new(&devnet(), 7, 3, 2).next().unwrap();
    import_blocks(&mut archive, &block.rlp()).unwrap();
    let network = devnet();
    let history = History::new(&archive, &network);
    assert!(history.receipts(BlockId::Height(7)).unwrap().is_none());
    let json = history.block(BlockId::Hash(block.hash)).unwrap().unwrap();
    let json = serde_json::to_value(json.json(true).unwrap()).unwrap();
    assert!(json.get("totalDifficulty").is_none());
}

#[test]
fn damaged_records_are_errors_not_answers() {
    let chain = SyntheticChain::new(&devnet(), 0, 3, 3);
    let (name, bytes) = chain.clone().era1(&devnet(), 3);
    let mut sound = MemoryArchive::default();
    import(&mut sound, &name, &bytes).unwrap();
    let (network, tables) = (devnet(), Tables::of(&devnet()));
    let target = chain.clone().find(|block| !block.transactions.is_empty()).unwrap();
    for table in [&tables.block, &tables.receipts, &tables.block_hash, &tables.tx_hash] {
        // each value in turn replaced by something wrong
        let mut damaged = MemoryArchive::default();
        for (name, key, value) in sound.records() {
            let mut value = value.to_vec();
            if name == table {
                let at = value.len() / 2;
                value[at] ^= 1;
                value.push(0);
            }
            damaged.put(&[Record::keyed(name, key, value)]).unwrap();
        }
        let history = History::new(&damaged, &network);
        let error = match table {
            table if *table == tables.block => history.block(BlockId::Height(0)).unwrap_err(),
            table if *table == tables.receipts => history.receipts(BlockId::Height(0)).unwrap_err(),
            table if *table == tables.block_hash => {
                history.block(BlockId::Hash(target.hash)).unwrap_err()
            }
            _ => history.transaction(target.transactions[0]).unwrap_err(),
        };
        assert!(matches!(error, EthereumError::Stored { .. }), "{table}: {error}");
    }
}
