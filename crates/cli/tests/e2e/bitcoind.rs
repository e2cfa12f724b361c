//! With a real Bitcoin node on regtest: needs `BITCOIND` (`cargo xtask e2e-bitcoin` runs these).

use crate::{
    bitcoin_node::{Bitcoind, program, until},
    common::{Folder, Running},
};
use serde_json::{Value, json};
use std::{net::SocketAddr, path::Path};

const TIP: u64 = 700;

/// Opens a door and gives its address.
fn door(served: &Running, guests: &str) -> SocketAddr {
    let prefix = format!("{guests} at ");
    served.said.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap().parse().unwrap()
}

fn follow<'a>(url: &'a str, cookie: &'a str) -> Vec<&'a str> {
    vec!["follow", "bitcoin", "--rpc", url, "--rpc-cookie", cookie, "--once"]
}

/// Every block that the node has to itself, at each verbosity; transactions of some.
fn answers(
    node: &Bitcoind,
    at: SocketAddr,
    some: &[String],
) -> Vec<(String, Result<Value, Value>)> {
    let mut all = Vec::new();
    let mut ask = |method: &str, params: Value| {
        let answer = node.call_at(at, method, params.clone());
        all.push((format!("{method} {params}"), answer));
    };
    for height in (0..=TIP).step_by(37) {
        let hash = node.hash(height);
        for verbosity in 0..=2 {
            ask("getblock", json!([hash, verbosity]));
        }
        ask("getblockheader", json!([hash]));
        ask("getblockheader", json!([hash, false]));
    }
    for hash in some {
        for verbosity in 0..=3 {
            ask("getblock", json!([hash, verbosity]));
        }
        ask("getblock", json!({ "blockhash": hash, "verbosity": 2 }));
        let block = node.call_at(at, "getblock", json!([hash])).unwrap();
        for txid in block["tx"].as_array().unwrap() {
            for verbosity in [json!(0), json!(1), json!(2), json!(true)] {
                ask("getrawtransaction", json!([txid, verbosity]));
                ask("getrawtransaction", json!([txid, verbosity, hash]));
            }
        }
    }
    all
}

#[test]
fn archive_prune_answer_refill_sync_and_restore() {
    let Some(program) = program("archive_prune_answer_refill_sync_and_restore") else { return };
    let folder = Folder::with_local_nodes("4+2", 6);
    let dir = folder.path("node");

    // what a node with everything says; the same blocks are pruned afterwards
    let node = Bitcoind::start(&program, &dir, &["-txindex"]);
    let some = node.make_history(TIP);
    let tip = node.hash(TIP);
    let address: SocketAddr = node.url()[7..].parse().unwrap();
    let expected = answers(&node, address, &some);
    let coins = node.get("gettxoutsetinfo", json!([]))["hash_serialized_3"].clone();
    let unpruned = folder.run(&[
        "prune",
        "bitcoin",
        "--rpc",
        &node.url(),
        "--rpc-cookie",
        &node.cookie_file(),
    ]);
    unpruned.fails(&["-prune=1"]);
    node.stop();

    // its files into the lake, then nothing is left here
    let source = dir.join("regtest/blocks");
    folder.json(&["import", "bitcoin", source.to_str().unwrap()]);
    let files = closed_files(&source);
    assert!(files.len() > 5);

    let node = Bitcoind::start(&program, &dir, &["-prune=1"]);
    let (url, cookie) = (node.url(), node.cookie_file());
    let prune = ["prune", "bitcoin", "--rpc", &url, "--rpc-cookie", &cookie];
    // not before it is safe in the lake
    let refused = folder.run(&prune).exits(2);
    assert!(refused.stderr.contains("not safe yet"), "{}", refused.stderr);
    folder.run(&["kv", "put", "--table", "other", "k", "v"]).exits(0);
    folder.run(&["evict"]).exits(0);
    let dry = [&prune[..], &["--dry-run"]].concat();
    let plan = folder.json(&dry);
    assert_eq!(plan["prune"], json!([0, TIP - 288 - 1]));
    assert!(node.call("getblock", json!([node.hash(1)])).is_ok());
    let pruned = folder.json(&prune);
    let lowest = pruned["lowest"].as_u64().unwrap();
    assert!((200..=TIP - 288).contains(&lowest), "{pruned}");
    let refusal = node.call("getblock", json!([node.hash(lowest - 1)])).unwrap_err();
    assert_eq!(refusal["message"], "Block not available (pruned data)");
    folder.run(&[&prune[..], &["--keep-last", "500"]].concat()).exits(1);

    // the proxy answers as the node did when it had everything
    let args = ["serve", "bitcoin-rpc", "--listen", "127.0.0.1:0", "--upstream", &url];
    let mut served = Running::start(folder.command(&args), "ready");
    let proxy = door(&served, "Bitcoin's JSON-RPC clients");
    for ((question, expected), (asked, found)) in expected.iter().zip(answers(&node, proxy, &some))
    {
        assert_eq!(*question, asked);
        assert_eq!(found, *expected, "{question}");
    }
    malformed_and_batches(&node, proxy, &some);
    assert_eq!(served.interrupt(), 0);

    // pruned blocks come back from our peer
    let args = ["serve", "bitcoin-p2p", "--listen", "127.0.0.1:0"];
    let mut served = Running::start(folder.command(&args), "ready");
    let peer = door(&served, "Bitcoin nodes");
    node.get("addnode", json!([peer.to_string(), "onetry"]));
    let peers = || node.get("getpeerinfo", json!([]));
    until("the peer has said its version", || peers()[0]["version"].as_u64() > Some(0));
    let id = peers()[0]["id"].clone();
    let wanted: Vec<String> = (lowest - 50..lowest).map(|height| node.hash(height)).collect();
    for hash in &wanted {
        // only so many at a time
        until("it is asked for", || {
            node.call("getblockfrompeer", json!([hash, id])).is_ok()
                || node.call("getblock", json!([hash, 0])).is_ok()
        });
    }
    until("refilled", || wanted.iter().all(|hash| node.call("getblock", json!([hash, 0])).is_ok()));
    node.stop();

    // a new node syncs from it
    let connect = format!("-connect={peer}");
    let node = Bitcoind::start(&program, &folder.path("new"), &[&connect]);
    until("synced", || node.height() == TIP);
    assert_eq!(node.hash(TIP), tip);
    assert_eq!(node.get("gettxoutsetinfo", json!([]))["hash_serialized_3"], coins);
    node.stop();
    assert_eq!(served.interrupt(), 0);

    // restored files are those that were pruned, and a node runs on them
    let restored = folder.path("restored/regtest/blocks");
    folder.json(&["export", "bitcoin", "--out", restored.to_str().unwrap()]);
    for (name, bytes) in &files {
        assert!(std::fs::read(restored.join(name)).unwrap() == *bytes, "{name}");
    }
    let node = Bitcoind::start(&program, &folder.path("restored"), &["-reindex"]);
    until("reindexed", || node.height() == TIP);
    assert_eq!(node.get("gettxoutsetinfo", json!([]))["hash_serialized_3"], coins);
    node.stop();
}

fn closed_files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let files = entries.filter(|entry| entry.path().extension().is_some_and(|end| end == "dat"));
    let read = |entry: std::fs::DirEntry| std::fs::read(entry.path()).unwrap();
    files.map(|entry| (entry.file_name().into_string().unwrap(), read(entry))).collect()
}

/// Batches come back in order, what is not archived as the node says it, and nobody gets in without the node's leave.
fn malformed_and_batches(node: &Bitcoind, proxy: SocketAddr, some: &[String]) {
    let ask = |id: usize, method: &str, params: Value| json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
    let unknown = "00".repeat(32);
    let batch = json!([
        ask(0, "getblock", json!([some[0]])),
        ask(1, "getblockcount", json!([])),
        ask(2, "getblock", json!([unknown])),
        ask(3, "getblock", json!(["x"])),
        ask(4, "getrawtransaction", json!([unknown])),
        ask(5, "getblock", json!([node.hash(TIP), 1])),
        7,
    ]);
    let answers = node.post(proxy, &batch).unwrap();
    let answers = answers.as_array().unwrap();
    assert_eq!(answers.len(), 7);
    assert_eq!(
        (&answers[0]["result"]["hash"], &answers[1]["result"]),
        (&json!(some[0]), &json!(TIP))
    );
    assert_eq!(answers[2]["error"], node.call("getblock", json!([unknown])).unwrap_err());
    assert_eq!(answers[3]["error"], node.call("getblock", json!(["x"])).unwrap_err());
    assert_eq!(answers[4]["error"]["code"], -5);
    assert_eq!(answers[5]["result"], node.get("getblock", json!([node.hash(TIP), 1])));
    assert_eq!(answers[6]["error"]["code"], -32600);
    // the archive is behind the node's own lock
    let body = ask(1, "getblock", json!([some[0], 0])).to_string();
    let wrong = crate::bitcoin_node::base64(b"user:wrong");
    let (status, said) = crate::bitcoin_node::post(proxy, &wrong, &body).unwrap();
    assert!(status == 401 && !said.contains("result"), "{status} {said}");
}

#[test]
fn a_live_node_is_followed() {
    let Some(program) = program("a_live_node_is_followed") else { return };
    let folder = Folder::with_local_nodes("2+1", 4);
    let dir = folder.path("node");
    let node = Bitcoind::start(&program, &dir, &[]);
    node.make_history(150);
    let (url, cookie) = (node.url(), node.cookie_file());
    let args = follow(&url, &cookie);
    let first = folder.json(&args);
    assert_eq!((&first["last_height"], &first["blocks_stored"]), (&json!(144), &json!(145)));
    node.mine(10, "raw(51)");
    let second = folder.json(&args);
    assert_eq!((&second["first_height"], &second["last_height"]), (&json!(145), &json!(154)));
    assert_eq!(folder.json(&args)["blocks_stored"], 0);

    // a reorganisation of what is not archived yet goes unnoticed
    node.get("invalidateblock", json!([node.hash(156)]));
    node.mine(12, "pk(0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798)");
    assert_eq!(folder.json(&args)["last_height"], node.height() - 6);
    let undo = folder.run(&["get", "bitcoin", "undo", "113", "--raw"]).exits(0).stdout;
    let block = folder.run(&["get", "bitcoin", "block", "113", "--raw"]).exits(0).stdout;
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(node.get("getblock", json!([node.hash(113), 0])), hex(&block));
    let stored = folder.json(&["verify", "bitcoin", "--range", "..", "--level", "roots"]);
    assert_eq!(stored["blocks"], node.height() - 5);

    // its own files say the same, undo data too
    node.stop();
    let other = Folder::with_local_nodes("2+1", 4);
    other.json(&["import", "bitcoin", dir.join("regtest/blocks").to_str().unwrap()]);
    let own = other.run(&["get", "bitcoin", "undo", "113", "--raw"]).exits(0).stdout;
    assert!(own.len() > 20, "two coins: {}", hex(&own));
    assert_eq!(hex(&own), hex(&undo));
    folder.json(&[
        "import",
        "bitcoin",
        dir.join("regtest/blocks").to_str().unwrap(),
        "--confirmations",
        "6",
    ]);

    // one that goes back behind the archive stops it
    let node = Bitcoind::start(&program, &dir, &[]);
    node.get("invalidateblock", json!([node.hash(120)]));
    node.mine(60, "raw(52)");
    let (url, cookie) = (node.url(), node.cookie_file());
    folder.run(&follow(&url, &cookie)).fails(&["reorganised"]);
    // and one that is not there is an error with --once
    node.stop();
    folder.run(&follow(&url, &cookie)).exits(2);
}
