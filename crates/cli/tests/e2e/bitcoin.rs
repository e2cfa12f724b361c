//! Real files of a Bitcoin node: needs `PRUNEDB_CORPUS`.

use crate::common::{Folder, corpus};
use std::{collections::BTreeMap, fs, path::Path};

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let files = entries.filter(|entry| entry.path().is_file());
    files.map(|e| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap())).collect()
}

#[test]
fn a_node_s_files_come_back_bit_for_bit_from_sixteen_of_twenty() {
    let Some(corpus) = corpus("a_node_s_files_come_back") else { return };
    for (set, blocks, tip) in [("regtest-A", 324, 320), ("regtest-C", 701, 700)] {
        let folder = Folder::with_local_nodes("16+4", 24);
        let source = corpus.join(format!("bitcoin/{set}/blocks"));
        let args = ["import", "bitcoin", source.to_str().unwrap()];
        let imported = folder.json(&args);
        assert_eq!(
            (&imported["network"], &imported["blocks"]),
            (&"regtest".into(), &blocks.into())
        );
        assert_eq!(imported["last_height"], tip);
        folder.run(&["evict"]).exits(0);
        assert_eq!(folder.status()["local_data_bytes"], 0);
        for node in [1, 7, 12, 20] {
            fs::remove_dir_all(folder.dir().join(format!("nodes/{node:02}"))).unwrap();
        }
        folder.json(&["export", "bitcoin", "--out", "out"]);
        assert!(files(&folder.path("out")) == files(&source), "{set}: other bytes, or other files");
        assert_eq!(
            folder.json(&args)["files_skipped"],
            imported["files"].as_array().unwrap().len()
        );

        let tip = tip.to_string();
        let block = folder.json(&["get", "bitcoin", "block", &tip]);
        let hash = block["hash"].as_str().unwrap();
        let raw = folder.run(&["get", "bitcoin", "block", hash, "--raw"]).exits(0);
        assert_eq!(block["size"], raw.stdout.len());
        let txid = block["tx"][0].as_str().unwrap();
        let transaction = folder.json(&["get", "bitcoin", "tx", txid]);
        assert_eq!(
            (&transaction["blockhash"], &transaction["height"]),
            (&block["hash"], &block["height"])
        );
        folder.run(&["get", "bitcoin", "undo", hash, "--raw"]).exits(0);
        folder.run(&["get", "bitcoin", "block", "999999"]).exits(1);
    }
}

#[test]
fn what_a_crash_left_is_refused_with_its_place_or_salvaged() {
    let Some(corpus) = corpus("what_a_crash_left") else { return };
    let folder = Folder::with_local_nodes("2+1", 4);
    let source = corpus.join("bitcoin/regtest-D/blocks");
    let source_path = source.to_str().unwrap();
    let refused = folder.run(&["import", "bitcoin", source_path]).exits(2);
    let said = refused.stderr;
    assert!(said.contains("blk00000.dat, record 11") && said.contains("--salvage"), "{said}");
    folder.run(&["get", "bitcoin", "block", "0"]).exits(2);
    let taken = folder.json(&["import", "bitcoin", source_path, "--salvage"]);
    assert!(taken["verbatim_bytes"].as_u64().unwrap() > 0);
    folder.json(&["export", "bitcoin", "--out", "out"]);
    assert!(files(&folder.path("out")) == files(&source));
    folder.run(&["import", "bitcoin", source_path, "--network", "mainnet"]).exits(2);
}
