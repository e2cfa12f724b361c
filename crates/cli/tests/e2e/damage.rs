//! Shards that are lost and damaged, and `verify` and `repair` over them.

use crate::common::{Folder, NETWORK, era1, flip_node};
use std::fs;

/// History over 4+2 on six nodes, nothing of it local.
fn evicted() -> Folder {
    let folder = Folder::with_local_nodes("4+2", 6);
    let (name, bytes) = era1(0, 400, 1);
    folder.file(&name, &bytes);
    folder.run(&["import", "ethereum", &name]).exits(0);
    folder.run(&["evict"]).exits(0);
    assert!(folder.json(&["verify", "--deep"])["healthy"].as_bool().unwrap());
    folder
}

fn lose(folder: &Folder, node: u16) {
    fs::remove_dir_all(folder.dir().join(format!("nodes/{node:02}"))).unwrap();
}

fn export(folder: &Folder) -> crate::common::Output {
    folder.run(&["evict"]).exits(0);
    folder.run(&["export", "ethereum", "--epoch", "0", "--out", "out"])
}

#[test]
fn q_lost_nodes_cost_nothing_and_are_repaired() {
    let folder = evicted();
    lose(&folder, 1);
    lose(&folder, 4);
    export(&folder).exits(0);
    let verified = folder.run(&["verify", "--json"]).exits(1).json();
    assert_eq!((&verified["healthy"], &verified["lost"]), (&false.into(), &serde_json::json!([])));
    let nodes: Vec<&str> = verified["faults"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["node"].as_str().unwrap())
        .collect();
    assert!(
        nodes.contains(&"local:01") && nodes.contains(&"local:04") && !nodes.contains(&"local:00")
    );
    assert!(folder.status()["damaged_shards"].as_u64() > Some(0));

    let repaired = folder.json(&["repair"]);
    assert_eq!(repaired["failed"], serde_json::json!([]));
    assert_eq!(repaired["repaired"].as_array().unwrap().len(), nodes.len());
    assert_eq!(folder.json(&["verify", "--deep"])["healthy"], true);
    // so that two others may go
    lose(&folder, 0);
    lose(&folder, 5);
    export(&folder).exits(0);
}

#[test]
fn flipped_bytes_are_found_and_healed() {
    let folder = evicted();
    flip_node(&folder.dir(), 2);
    export(&folder).exits(0);
    let shown = folder.run(&["verify", "--samples", "3", "--json"]).exits(1).json();
    let deep = folder.run(&["verify", "--deep", "--json"]).exits(1).json();
    let shards = |verified: &serde_json::Value| -> Vec<String> {
        let faults = verified["faults"].as_array().unwrap();
        faults.iter().map(|f| format!("{} {}", f["container"], f["shard"])).collect()
    };
    assert_eq!(shards(&shown), shards(&deep), "a holder that shows samples reads the whole shard");
    folder.run(&["repair"]).exits(0);
    assert_eq!(folder.json(&["verify", "--samples", "64"])["healthy"], true);
    assert_eq!(folder.json(&["verify", "--deep"])["healthy"], true);
    export(&folder).exits(0);
}

#[test]
fn more_than_q_lost_shards_are_named() {
    let folder = evicted();
    for node in [0, 2, 5] {
        lose(&folder, node);
    }
    let verified = folder.run(&["verify"]);
    for node in ["local:00", "local:02", "local:05"] {
        let verified = folder.run(&["verify"]).fails(&[
            "too many shards are lost",
            "d0",
            node,
            "bring those nodes back",
        ]);
        assert!(verified.text().contains(&format!("on {node}:")), "{}", verified.text());
    }
    assert_eq!(verified.code, 2);
    let table = format!("ethereum/{NETWORK}/block");
    let read = folder.run(&["kv", "get", "--table", &table, "77"]);
    // the record's own node may be one that is left
    let read = if read.code == 0 { export(&folder) } else { read };
    read.fails(&["d0 cannot be read", "3 of 4 needed shards", "shard", "local:0"]);
    // repair cannot help, and says so
    let repair = folder.run(&["repair"]).exits(1);
    assert!(repair.text().contains("d0"), "{}", repair.text());
}
