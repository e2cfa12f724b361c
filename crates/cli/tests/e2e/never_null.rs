//! History that is archived, and that too few nodes hold now: every door answers with an error that says so, never with nothing. What Casper's clients
//! hear is in `casper.rs`.

use crate::common::{Folder, Running, era1};
use prunedb_chains::bitcoin::{Hash, Network, p2p::write_message};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
};

/// A node that has pruned everything: it says the same to every call.
fn pruned_node(says: Value) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = BufReader::new(socket.unwrap());
            let mut length = 0;
            let mut line = String::new();
            while socket.read_line(&mut line).unwrap_or(0) > 2 {
                let header = line.to_lowercase();
                if let Some(value) = header.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                line.clear();
            }
            let mut body = vec![0; length];
            socket.read_exact(&mut body).unwrap();
            let answer = |call: &Value| {
                let mut answer = says.clone();
                answer["id"] = call["id"].clone();
                answer
            };
            let answer = match serde_json::from_slice(&body).unwrap() {
                Value::Array(calls) => calls.iter().map(answer).collect::<Vec<_>>().into(),
                call => answer(&call),
            };
            let answer = answer.to_string();
            let length = answer.len();
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
            _ = socket.get_mut().write_all([head, answer].concat().as_bytes());
        }
    });
    address
}

fn post(address: &str, body: &Value) -> Value {
    let body = body.to_string();
    let mut socket = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all([head, body].concat().as_bytes()).unwrap();
    let mut response = String::new();
    socket.read_to_string(&mut response).unwrap();
    serde_json::from_str(response.split_once("\r\n\r\n").unwrap().1).unwrap()
}

/// Evicts, and loses every node: the last one may have just the rows that are asked for.
fn lose_nodes(folder: &Folder) {
    folder.run(&["evict"]).exits(0);
    for node in ["00", "01", "02"] {
        fs::remove_dir_all(folder.dir().join("nodes").join(node)).unwrap();
    }
}

fn door(served: &Running, starts: &str) -> String {
    let line = served.said.lines().find(|line| line.starts_with(starts)).unwrap();
    line.rsplit(' ').next().unwrap().to_owned()
}

#[test]
fn ethereums_json_rpc() {
    let folder = Folder::with_local_nodes("2+1", 3);
    let (name, bytes) = era1(0, 60, 1);
    folder.run(&["import", "ethereum", &folder.file(&name, &bytes)]).exits(0);
    let block = folder.json(&["get", "ethereum", "block", "7"]);
    lose_nodes(&folder);
    let node = format!("http://{}", pruned_node(json!({"jsonrpc": "2.0", "result": null})));
    let serve = ["serve", "ethereum-rpc", "--upstream", &node, "--listen", "127.0.0.1:0"];
    let mut served = Running::start(folder.command(&serve), "ready");
    let address = door(&served, "Ethereum's JSON-RPC");
    let calls = [
        ("eth_getBlockByNumber", json!(["0x7", false])),
        ("eth_getBlockByHash", json!([block["hash"], true])),
        ("eth_getBlockReceipts", json!(["0x7"])),
        ("eth_getHeaderByNumber", json!(["0x7"])),
        ("eth_getLogs", json!([{"fromBlock": "0x5", "toBlock": "0x8"}])),
        ("debug_getRawBlock", json!(["0x7"])),
    ];
    let calls: Vec<Value> = (0..)
        .zip(&calls)
        .map(|(id, (method, params))| {
            json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
        })
        .collect();
    let answers = post(&address, &json!(calls));
    for (call, answer) in calls.iter().zip(answers.as_array().unwrap()) {
        assert_eq!(answer["error"]["code"], 4444, "{call}: {answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        // which container, and what it takes
        assert!(message.contains("cannot be read: 0 of 2 needed shards"), "{call}: {answer}");
    }
    // what was never archived is the node's
    let never = json!({"jsonrpc": "2.0", "id": 1, "method": "eth_getBlockByNumber", "params": ["0x999", false]});
    assert_eq!(post(&address, &never)["result"], Value::Null);
    assert_eq!(served.interrupt(), 0);
}

#[test]
fn bitcoins_json_rpc_and_peer_protocol() {
    let folder = Folder::with_local_nodes("2+1", 3);
    let blocks = concat!(env!("CARGO_MANIFEST_DIR"), "/../chains/fixtures/bitcoin/regtest");
    folder.run(&["import", "bitcoin", blocks]).exits(0);
    let hash = folder.json(&["get", "bitcoin", "block", "100"])["hash"].clone();
    lose_nodes(&folder);
    let refusal = json!({"code": -1, "message": "Block not available (pruned data)"});
    let node = pruned_node(json!({"result": null, "error": refusal}));
    let (node, listen) = (format!("http://{node}"), "127.0.0.1:0");
    let serve = ["serve", "bitcoin-rpc", "--upstream", &node, "--listen", listen];
    let mut served = Running::start(folder.command(&serve), "ready");
    for verbosity in [0, 1] {
        let call = json!({"id": 1, "method": "getblock", "params": [hash, verbosity]});
        let answer = post(&door(&served, "Bitcoin's JSON-RPC"), &call);
        let error = &answer["error"];
        assert_eq!((&error["code"], &error["data"]["archived"]), (&json!(-1), &json!(true)));
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("it is archived, and cannot be read now"), "{answer}");
        assert!(message.contains("0 of 2 needed shards"), "{answer}");
    }
    assert_eq!(served.interrupt(), 0);

    // the peer protocol has no word for it: `notfound` would say that there is none
    let serve = ["serve", "bitcoin-p2p", "--listen", listen];
    let mut served = Running::start(folder.command(&serve), "ready");
    let mut node = TcpStream::connect(door(&served, "Bitcoin nodes at")).unwrap();
    let (mut messages, mut said) = (Vec::new(), Vec::new());
    write_message(Network::Regtest, "version", &[0; 100], &mut messages);
    let hash: Hash = hash.as_str().unwrap().parse().unwrap();
    let block = [&[1][..], &(2u32 | 1 << 30).to_le_bytes(), &hash.0].concat();
    write_message(Network::Regtest, "getdata", &block, &mut messages);
    node.write_all(&messages).unwrap();
    // it is cut off, perhaps with bytes of ours unread
    _ = node.read_to_end(&mut said);
    assert!(!said.windows(8).any(|bytes| bytes == b"notfound"));
    assert_eq!(served.interrupt(), 0);
}
