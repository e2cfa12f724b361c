//! Real files of a Bitcoin node: needs `PRUNEDB_CORPUS`.

use crate::common::{Folder, Running, corpus};
use prunedb_chains::bitcoin::{
    Block, Hash, Network,
    p2p::{HEAD_BYTES, Head, write_message},
    sha256d,
};
use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::Command,
    time::Duration,
};

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
        let covered = folder.json(&["coverage", "bitcoin"]);
        let range = &covered["histories"][0]["ranges"];
        assert_eq!((&range[0]["first"], &range[0]["last"]), (&0.into(), &tip.into()));
        folder.run(&["evict"]).exits(0);
        assert_eq!(folder.status()["local_data_bytes"], 0);
        for node in [1, 7, 12, 20] {
            fs::remove_dir_all(folder.dir().join(format!("nodes/{node:02}"))).unwrap();
        }
        folder.json(&["export", "bitcoin", "--out", "out"]);
        assert!(files(&folder.path("out")) == files(&source), "{set}: other bytes, or other files");
        // what it prints is a manifest
        let sums = folder.run(&["export", "bitcoin", "--out", "out"]).exits(0).text();
        fs::write(folder.path("sums"), &sums).unwrap();
        let mut check = Command::new("sha256sum");
        check.args(["--check", "--strict", "--quiet"]).arg(folder.path("sums"));
        assert!(check.status().unwrap().success(), "{sums}");
        assert_eq!(
            folder.json(&args)["files_skipped"],
            imported["files"].as_array().unwrap().len()
        );

        let verified = folder.json(&["verify", "bitcoin", "--range", "..", "--level", "roots"]);
        assert_eq!((&verified["blocks"], &verified["gap_count"]), (&(tip + 1).into(), &0.into()));

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

        let range = ["export", "bitcoin", "--out", "range", "--heights", "10..20"];
        let range = folder.json(&range)["path"].as_str().unwrap().to_owned();
        let other = Folder::with_local_nodes("2+1", 4);
        let taken = other.json(&["import", "bitcoin", &range]);
        assert_eq!((&taken["blocks"], &taken["side_blocks"]), (&11.into(), &0.into()));
        assert_eq!(
            other.json(&["get", "bitcoin", "block", "15"]),
            folder.json(&["get", "bitcoin", "block", "15"])
        );
    }
}

#[test]
fn single_blocks_of_mainnet_come_back() {
    let Some(corpus) = corpus("single_blocks_of_mainnet_come_back") else { return };
    let folder = Folder::with_local_nodes("2+1", 4);
    for (file, height) in [("block300025.raw", "300025"), ("block482683.raw", "482683")] {
        let path = corpus.join("bitcoin/bcoin").join(file);
        let taken = folder.json(&["import", "bitcoin", path.to_str().unwrap()]);
        assert_eq!((&taken["network"], &taken["blocks_stored"]), (&"mainnet".into(), &1.into()));
        let raw = folder.run(&["get", "bitcoin", "block", height, "--raw"]).exits(0);
        assert!(raw.stdout == fs::read(path).unwrap());
    }
    let path = folder.path("cut");
    fs::write(&path, &fs::read(corpus.join("bitcoin/bcoin/block300025.raw")).unwrap()[..9000])
        .unwrap();
    folder
        .run(&["import", "bitcoin", path.to_str().unwrap()])
        .fails(&["cut at byte 0", "nothing of this file"]);
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

/// A connection to the served archive, as a node opens it.
struct Node(TcpStream);

impl Node {
    fn connect(address: &str) -> Self {
        let mut node = Self(TcpStream::connect(address).unwrap());
        node.0.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        node.send("version", &[0; 100]);
        assert_eq!((node.answer().0, node.answer().0), ("version".into(), "verack".into()));
        node.send("verack", &[]);
        node
    }

    fn send(&mut self, command: &str, payload: &[u8]) {
        let mut message = Vec::new();
        write_message(Network::Regtest, command, payload, &mut message);
        self.0.write_all(&message).unwrap();
    }

    /// Whether nothing more comes.
    fn is_cut_off(&mut self) -> bool {
        self.0.read(&mut [0; 1]).unwrap_or(0) == 0
    }

    fn answer(&mut self) -> (String, Vec<u8>) {
        let mut head = [0; HEAD_BYTES];
        self.0.read_exact(&mut head).unwrap();
        let name = String::from_utf8(head[4..16].to_vec()).unwrap();
        let head = Head::read(&head, Network::Regtest).unwrap();
        let mut payload = vec![0; head.payload_bytes];
        self.0.read_exact(&mut payload).unwrap();
        (name.trim_end_matches('\0').to_owned(), payload)
    }
}

#[test]
fn nodes_get_archived_blocks_by_the_peer_protocol() {
    let Some(corpus) = corpus("nodes_get_archived_blocks") else { return };
    let folder = Folder::with_local_nodes("4+2", 6);
    let source = corpus.join("bitcoin/regtest-A/blocks");
    folder.run(&["import", "bitcoin", source.to_str().unwrap()]).exits(0);
    folder.run(&["evict"]).exits(0);
    let args = ["serve", "bitcoin-p2p", "--listen", "127.0.0.1:0"];
    let mut served = Running::start(folder.command(&args), "ready");
    let said = served.said.clone();
    let address = said.lines().find_map(|line| line.strip_prefix("Bitcoin nodes at ")).unwrap();

    // syncs like a new node: all headers, then all blocks
    let mut node = Node::connect(address);
    let mut known = Network::Regtest.genesis();
    let ask = [&70_016u32.to_le_bytes()[..], &[1], &known.0, &[0; 32]].concat();
    node.send("getheaders", &ask);
    let (command, headers) = node.answer();
    assert_eq!((command.as_str(), &headers[..3]), ("headers", &[0xfd, 64, 1][..]));
    let hashes: Vec<Hash> = headers[3..].chunks(81).map(|h| sha256d(&[&h[..80]])).collect();
    assert_eq!(hashes.len(), 320);
    let mut ask = vec![0xfd, 64, 1];
    for hash in &hashes {
        ask.extend((2u32 | 1 << 30).to_le_bytes());
        ask.extend(hash.0);
    }
    node.send("getdata", &ask);
    for hash in hashes {
        let (command, block) = node.answer();
        let block = Block::verified(&block, Network::Regtest).unwrap();
        assert_eq!((command.as_str(), block.header.hash), ("block", hash));
        assert_eq!(block.header.parent, known);
        known = hash;
    }

    // who speaks something else is cut off without a word
    let mut other = TcpStream::connect(address).unwrap();
    other.write_all(&[0x42; 100]).unwrap();
    let mut answer = Vec::new();
    assert!(other.read_to_end(&mut answer).is_err() || answer.is_empty());
    // open connections do not keep it from stopping
    assert_eq!(served.interrupt(), 0);
    assert!(node.is_cut_off());
}
