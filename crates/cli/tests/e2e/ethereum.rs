//! Ethereum history: in, what is shown of it, and out.

use crate::common::{Folder, NETWORK, era1, sha256};
use prunedb_chains::ethereum::{Network, synthetic::SyntheticChain};
use std::fs;

#[test]
fn history_goes_in_leaves_this_disk_and_comes_back_bit_identical() {
    let folder = Folder::with_local_nodes("4+2", 8);
    fs::create_dir_all(folder.path("era/deeper")).unwrap();
    let files = [era1(0, 300, 1), era1(1, 100, 2)];
    folder.file(&format!("era/{}", files[0].0), &files[0].1);
    folder.file(&format!("era/deeper/{}", files[1].0), &files[1].1);
    folder.file("era/notes.txt", b"not history");
    let imported = folder.json(&["import", "ethereum", "era"]);
    assert_eq!(
        (imported["blocks"].as_u64(), imported["blocks_stored"].as_u64()),
        (Some(400), Some(400))
    );
    assert_eq!(imported["files"][0]["sha256"], sha256(&files[0].1));
    // it ends when all of it is in the lake
    let status = folder.status();
    assert_eq!(
        (status["waiting_offload"].as_u64(), status["active_bytes"].as_u64()),
        (Some(0), Some(0))
    );
    assert!(status["records"].as_u64() > Some(1200), "{status}");
    assert!(
        status["lake_bytes"].as_u64() > Some(0) && status["local_data_bytes"].as_u64() > Some(0)
    );
    assert_eq!(status["nodes"].as_array().unwrap().len(), 8);

    // again: nothing happens
    let again = folder.json(&["import", "ethereum", "era"]);
    assert_eq!(
        (again["blocks_stored"].as_u64(), again["files_skipped"].as_u64()),
        (Some(0), Some(2))
    );
    assert_eq!(folder.status()["records"], status["records"]);
    assert_eq!(folder.status()["containers"], status["containers"]);

    folder.run(&["evict"]).exits(0);
    assert_eq!(folder.status()["local_data_bytes"], 0);
    for (epoch, (name, bytes)) in files.iter().enumerate() {
        let out =
            folder.json(&["export", "ethereum", "--epoch", &epoch.to_string(), "--out", "out"]);
        assert_eq!(out["sha256"], sha256(bytes));
        assert_eq!(&fs::read(folder.path("out").join(name)).unwrap(), bytes);
    }
    let absent = folder.run(&["export", "ethereum", "--epoch", "7", "--out", "out"]).exits(1);
    assert!(absent.stderr.contains("epochs that were: 0, 1"), "{}", absent.stderr);
}

#[test]
fn blocks_receipts_and_transactions_by_height_and_hash() {
    let folder = Folder::with_local_nodes("4+2", 6);
    let network: Network = NETWORK.parse().unwrap();
    let (name, bytes) = era1(0, 50, 3);
    let block = SyntheticChain::new(&network, 0, 20, 3).find(|b| b.transactions.len() > 1).unwrap();
    let (height, hash) = (block.height.to_string(), block.hash.to_string());
    folder.file(&name, &bytes);
    folder.run(&["import", "ethereum", &name]).exits(0);
    folder.run(&["evict"]).exits(0);

    let get = |args: &[&str]| folder.run(&[&["get", "ethereum"], args].concat()).exits(0);
    assert_eq!(get(&["block", &height, "--raw"]).stdout, block.rlp());
    assert_eq!(get(&["block", &hash, "--raw"]).stdout, block.rlp());
    assert_eq!(get(&["receipts", &height, "--raw"]).stdout, block.receipts);
    let json = get(&["block", &height]).json();
    assert_eq!(json["hash"], hash);
    assert_eq!(json["transactions"].as_array().unwrap().len(), block.transactions.len());
    let receipts = get(&["receipts", &hash]).json();
    assert_eq!(receipts.as_array().unwrap().len(), block.transactions.len());
    let transaction = get(&["tx", &block.transactions[1].to_string()]).json();
    assert_eq!(
        (&transaction["blockHash"], &transaction["transactionIndex"]),
        (&hash.as_str().into(), &"0x1".into())
    );

    let absent = folder.run(&["get", "ethereum", "block", "50"]).exits(1);
    assert!(
        absent.stderr.contains("block 50 is not stored; stored of testnet: 0-49"),
        "{}",
        absent.stderr
    );
    assert!(absent.stdout.is_empty());
    let nowhere = format!("0x{}", "ab".repeat(32));
    folder.run(&["get", "ethereum", "tx", &nowhere]).exits(1);
    folder.run(&["get", "ethereum", "block", &nowhere]).exits(1);
    folder.run(&["get", "ethereum", "block", "1", "--network", "mainnet"]).exits(1);
    folder.run(&["get", "ethereum", "block", "latest"]).fails(&["`latest` is not a block"]);

    // a hash leads on to its block
    let explained = folder.json(&["explain", &block.transactions[1].to_string()]);
    let tables: Vec<&str> = explained["found"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["table"].as_str().unwrap())
        .collect();
    assert_eq!(tables, ["ethereum/testnet/tx-hash", "ethereum/testnet/block"]);
    let at = &explained["found"][1];
    assert_eq!((&at["key"], &at["place"]), (&height.as_str().into(), &"lake".into()));
    assert_eq!(at["shards"].as_array().unwrap().len(), 6);
    assert!(at["shards"].as_array().unwrap().iter().all(|s| s["state"] == "ok"), "{at}");
    assert!(folder.run(&["explain", &height]).exits(0).text().contains("<- a read asks this one"));
}

#[test]
fn a_read_after_an_eviction_asks_the_nodes_that_explain_names() {
    let folder = Folder::with_local_nodes("4+2", 8);
    let (name, bytes) = era1(0, 600, 4);
    folder.file(&name, &bytes);
    folder.run(&["import", "ethereum", &name]).exits(0);
    let table = format!("ethereum/{NETWORK}/block");
    for height in ["0", "100", "333", "599"] {
        folder.run(&["evict"]).exits(0);
        let explained = folder.json(&["explain", height, "--table", &table]);
        folder.run(&["evict"]).exits(0);
        let read = folder.json(&["kv", "get", "--table", &table, height]);
        let (asked, named) = (&read["asked"], &explained["found"][0]["touched_nodes"]);
        assert_eq!(asked, named, "{height}");
        assert!((1..=2).contains(&asked.as_array().unwrap().len()), "{asked}");
    }
}

#[test]
fn plain_rlp_blocks_are_taken_without_receipts() {
    let folder = Folder::with_local_nodes("2+1", 3);
    let network: Network = NETWORK.parse().unwrap();
    let chain = SyntheticChain::new(&network, 0, 5, 9);
    let blocks: Vec<u8> = chain.take(20).flat_map(|b| b.rlp()).collect();
    folder.file("some.rlp", &blocks);
    let imported = folder.json(&["import", "ethereum", "some.rlp", "--network", NETWORK]);
    assert_eq!(imported["blocks_stored"], 20);
    folder.run(&["get", "ethereum", "block", "19"]).exits(0);
    let none = folder.run(&["get", "ethereum", "receipts", "19"]).exits(1);
    assert!(none.stderr.contains("without receipts"), "{}", none.stderr);
}

#[test]
fn what_may_be_pruned_is_proven_and_nothing_else() {
    let folder = Folder::with_local_nodes("2+1", 4);
    assert_eq!(folder.json(&["prune", "--dry-run"])["ranges"].as_array().unwrap().len(), 0);
    for (epoch, seed) in [(0, 1), (1, 2)] {
        let (name, bytes) = era1(epoch, 30, seed);
        folder.file(&name, &bytes);
        folder.run(&["import", "ethereum", &name]).exits(0);
    }
    let reasons =
        |range: usize| folder.json(&["prune", "--dry-run"])["ranges"][range]["reasons"].to_string();
    assert!(reasons(0).contains("not read back"), "{}", reasons(0));
    folder.run(&["evict"]).exits(0);
    let ranges = folder.json(&["prune", "--dry-run", "--deep"]);
    let first = &ranges["ranges"][0];
    assert_eq!(
        (&first["safe"], &first["first_height"], &first["last_height"]),
        (&true.into(), &0.into(), &29.into())
    );
    assert_eq!(first["proof"]["read_back"], true);
    // nothing is closed behind the last one
    assert!(reasons(1).contains("not closed"), "{}", reasons(1));
    folder.run(&["prune"]).fails(&["registry", "--dry-run"]);
}

#[test]
fn stored_blocks_are_verified_by_their_own_hashes() {
    let folder = Folder::with_local_nodes("2+1", 3);
    let (name, bytes) = era1(0, 60, 5);
    folder.file(&name, &bytes);
    folder.run(&["import", "ethereum", &name]).exits(0);
    let verified = folder.json(&["verify", "ethereum", "--range", "10..59"]);
    assert_eq!(
        (verified["blocks"].as_u64(), verified["blocks_partial"].as_u64()),
        (Some(50), Some(0))
    );
    let beyond = folder.run(&["verify", "ethereum", "--range", "50..69", "--json"]).exits(1).json();
    assert_eq!(beyond["gaps"], serde_json::json!([[60, 69]]));
    assert_eq!(folder.json(&["coverage", "ethereum"])["histories"][0]["ranges"][0]["last"], 59);
}
