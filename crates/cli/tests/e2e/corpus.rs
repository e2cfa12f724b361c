//! Real Ethereum history: needs `PRUNEDB_CORPUS`.

use crate::common::{Folder, corpus, flip_node};
use std::fs;

#[test]
fn a_real_era1_file_comes_back_with_its_published_checksum_from_sixteen_of_twenty() {
    let Some(corpus) = corpus("a_real_era1_file_comes_back") else { return };
    let era1 = corpus.join("ethereum/era1");
    let folder = Folder::with_local_nodes("16+4", 24);
    for network in ["mainnet", "sepolia"] {
        let sums = era1.join(format!("checksums_{network}.txt"));
        let (sums, published) = (sums.to_str().unwrap(), fs::read_to_string(&sums).unwrap());
        let file = fs::read_dir(&era1).unwrap().map(|e| e.unwrap().path());
        let file = file.into_iter().find(|f| {
            f.file_name().unwrap().to_str().unwrap().starts_with(network)
                && f.extension().unwrap() == "era1"
        });
        let file = file.unwrap();
        let name = file.file_name().unwrap().to_str().unwrap();
        let published =
            published.lines().find(|l| l.ends_with(name)).unwrap().split(' ').next().unwrap();
        folder.run(&["import", "ethereum", file.to_str().unwrap(), "--checksums", sums]).exits(0);
        folder.run(&["evict"]).exits(0);
        assert_eq!(folder.status()["local_data_bytes"], 0);

        // four of the twenty holders of every container, three gone and one with a damaged disk
        let table = format!("ethereum/{network}/block");
        let explained = folder.json(&["explain", "4011", "--table", &table]);
        let shards = explained["found"][0]["shards"].as_array().unwrap();
        assert_eq!(shards.len(), 20);
        let holders: Vec<u16> = [0, 3, 9, 14]
            .iter()
            .map(|&s: &usize| {
                shards[s]["node"].as_str().unwrap().strip_prefix("local:").unwrap().parse().unwrap()
            })
            .collect();
        for node in &holders[..3] {
            fs::remove_dir_all(folder.dir().join(format!("nodes/{node:02}"))).unwrap();
        }
        flip_node(&folder.dir(), holders[3]);
        let out = folder.json(&[
            "export",
            "ethereum",
            "--epoch",
            "0",
            "--out",
            "out",
            "--network",
            network,
        ]);
        assert_eq!(out["sha256"], published);
        assert_eq!(fs::read(folder.path("out").join(name)).unwrap(), fs::read(&file).unwrap());
        folder.run(&["verify", "--deep"]).exits(1);
        folder.run(&["repair"]).exits(0);
        folder.run(&["verify", "--deep"]).exits(0);
    }
}

#[test]
fn real_blocks_are_read_from_the_one_node_that_explain_names() {
    let Some(corpus) = corpus("real_blocks_are_read_from_one_node") else { return };
    let folder = Folder::with_local_nodes("16+4", 24);
    let file = corpus.join("ethereum/rlp/mainnet-blocks.rlp");
    folder.run(&["import", "ethereum", file.to_str().unwrap()]).exits(0);
    let scan = folder.json(&["kv", "scan", "--table", "ethereum/mainnet/block"]);
    let heights: Vec<&str> =
        scan["entries"].as_array().unwrap().iter().map(|e| e["key"].as_str().unwrap()).collect();
    assert_eq!(heights.len(), 50);
    for height in heights.iter().step_by(9) {
        folder.run(&["evict"]).exits(0);
        let explained = folder.json(&["explain", height, "--table", "ethereum/mainnet/block"]);
        folder.run(&["evict"]).exits(0);
        let read = folder.json(&["kv", "get", "--table", "ethereum/mainnet/block", height]);
        // once for each frame of a slice
        let mut asked = read["asked"].as_array().unwrap().clone();
        asked.dedup();
        assert_eq!(&asked, explained["found"][0]["touched_nodes"].as_array().unwrap(), "{height}");
        assert!((1..=2).contains(&asked.len()), "{read}");
        let block = folder.run(&["get", "ethereum", "block", height, "--raw"]).exits(0);
        assert_eq!(crate::common::sha256(&block.stdout), {
            let hex = read["value_hex"].as_str().unwrap().trim_start_matches("0x");
            let byte =
                |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
            let bytes: Vec<u8> = hex.as_bytes().chunks(2).map(byte).collect();
            crate::common::sha256(&bytes)
        });
    }
}

#[test]
fn the_demo_takes_real_files() {
    let Some(corpus) = corpus("the_demo_takes_real_files") else { return };
    let folder = Folder::new();
    fs::create_dir(folder.path("files")).unwrap();
    // beside them lies an .ere that must be refused
    for name in ["mainnet-00000-5ec1ffb8.era1", "sepolia-00000-643a00f7.era1"] {
        let bytes = fs::read(corpus.join("ethereum/era1").join(name)).unwrap();
        fs::write(folder.path("files").join(name), bytes).unwrap();
    }
    let report = folder.json(&["demo", "--from", "files"]);
    assert_eq!((&report["good"], &report["era1_files_identical"]), (&true.into(), &2.into()));
}
