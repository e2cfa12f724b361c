//! A live chain: `anvil`, where `ANVIL` names the program. Its blocks are followed into the archive, and the proxy's answers for
//! them are compared with its own, field by field.

use crate::common::{Folder, Running};
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::TcpStream,
    process::{Command, Stdio},
};

/// Accounts that anvil signs for.
const ALICE: &str = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266";
const BOB: &str = "0x70997970c51812dc3a010c7d01b50e0d17dc79c8";
/// Code that makes an entry in the log with two topics, and then stops without a contract of any length.
const LOGS: &str = "0x6002600160046000a260006000f3";
/// Code that fails.
const FAILS: &str = "0x60006000fd";

/// A running chain.
struct Anvil {
    process: Running,
    address: String,
}

impl Anvil {
    /// `None`, and a line that says so, where there is no such program.
    fn start(test: &str) -> Option<Self> {
        Self::start_with(test, &[])
    }

    fn start_with(test: &str, flags: &[&str]) -> Option<Self> {
        let Some(program) = std::env::var_os("ANVIL").filter(|program| !program.is_empty()) else {
            eprintln!("{test}: skipped, ANVIL does not name the program");
            return None;
        };
        let mut command = Command::new(program);
        command.args(["--port", "0", "--hardfork", "prague"]).args(flags).stdin(Stdio::null());
        let process = Running::start(command, "Listening on");
        let address = process.said.lines().last().unwrap().rsplit(' ').next().unwrap().to_owned();
        Some(Self { process, address })
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    #[track_caller]
    fn call(&self, method: &str, params: Value) -> Value {
        let answer = call(&self.address, method, params);
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    fn send(&self, mut transaction: Value) -> Value {
        transaction["from"] = ALICE.into();
        self.call("eth_sendTransaction", json!([transaction]))
    }

    /// Blocks with transactions of every type, of which some fail; and several in one block.
    fn make_history(&self, nonce: u64) {
        self.call("evm_setAutomine", json!([false]));
        let fees =
            json!({"maxFeePerGas": "0x77359400", "maxPriorityFeePerGas": "0x3", "gas": "0x30000"});
        let with = |more: Value| {
            let mut all = fees.clone();
            all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            all
        };
        let entry = json!([{"address": BOB, "storageKeys": [format!("0x{}1", "0".repeat(63))]}]);
        let all = [
            json!({"to": BOB, "value": "0x1", "gasPrice": "0x77359400", "gas": "0x5208"}),
            json!({"to": BOB, "gasPrice": "0x77359400", "accessList": entry, "gas": "0x30000"}),
            with(json!({"to": BOB, "value": "0x0", "input": "0x00ff"})),
            with(json!({"data": LOGS})),
            with(json!({"data": FAILS})),
            with(json!({"data": LOGS, "accessList": entry})),
        ];
        for transaction in all {
            self.send(transaction);
        }
        self.call("evm_mine", json!([]));
        if nonce == 0 {
            // signed by Bob, who has sent nothing yet
            let grant = json!({
                "chainId": "0x7a69", "address": format!("0x{}1234", "0".repeat(36)), "nonce": "0x0", "yParity": "0x0",
                "r": "0x9377c312145a5afb911bf9e8c067bcf6094c533603687850df502b61290bbf5e",
                "s": "0x4b12014a9d56957f693d37400dd3cd640545a927f9b79f25edd76ffa4e3882f0",
            });
            self.send(with(json!({"to": BOB, "authorizationList": [grant]})));
        }
        self.send(with(json!({"data": LOGS})));
        self.call("anvil_mine", json!(["0x5"]));
    }
}

/// Posts a JSON-RPC request, or a batch of them.
fn post(address: &str, body: &Value) -> Value {
    let body = body.to_string();
    let request = format!(
        "POST / HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut socket = TcpStream::connect(address).unwrap();
    socket.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    socket.read_to_string(&mut response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {head}\n{body}"))
}

fn request(id: usize, method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

fn call(address: &str, method: &str, params: Value) -> Value {
    post(address, &request(1, method, &params))
}

/// Every question there is about a block and what is in it.
fn questions(block: &Value) -> Vec<(&'static str, Value)> {
    let (number, hash) = (&block["number"], &block["hash"]);
    let mut all = vec![
        ("eth_getBlockByNumber", json!([number, true])),
        ("eth_getBlockByNumber", json!([number, false])),
        ("eth_getBlockByHash", json!([hash, true])),
        ("eth_getBlockByHash", json!([hash, false])),
        ("eth_getBlockReceipts", json!([number])),
        ("eth_getBlockReceipts", json!([hash])),
        ("eth_getBlockTransactionCountByNumber", json!([number])),
        ("eth_getBlockTransactionCountByHash", json!([hash])),
        ("eth_getUncleCountByBlockNumber", json!([number])),
        ("eth_getUncleCountByBlockHash", json!([hash])),
        ("eth_getUncleByBlockNumberAndIndex", json!([number, "0x0"])),
        ("eth_getLogs", json!([{"blockHash": hash}])),
        (
            "eth_getLogs",
            json!([{"fromBlock": number, "toBlock": number, "topics": [null, format!("0x{}2", "0".repeat(63))]}]),
        ),
    ];
    let transactions = block["transactions"].as_array().unwrap();
    for index in 0..=transactions.len() {
        let index = format!("{index:#x}");
        all.push(("eth_getTransactionByBlockNumberAndIndex", json!([number, index])));
        all.push(("eth_getTransactionByBlockHashAndIndex", json!([hash, index])));
        all.push(("eth_getRawTransactionByBlockNumberAndIndex", json!([number, index])));
    }
    for transaction in transactions {
        let hash = &transaction["hash"];
        all.push(("eth_getTransactionByHash", json!([hash])));
        all.push(("eth_getRawTransactionByHash", json!([hash])));
        all.push(("eth_getTransactionReceipt", json!([hash])));
    }
    all
}

/// Takes out what anvil says otherwise than other nodes: in receipts the block's time as a number, and the price of blobs where there are
/// none; and a block's size is that without its list of withdrawals, which has one byte.
fn without_own_words(value: &mut Value) {
    match value {
        Value::Array(all) => all.iter_mut().for_each(without_own_words),
        Value::Object(fields) => {
            if fields.contains_key("extraData") {
                assert_eq!(fields["withdrawals"], json!([]));
                let size = u64::from_str_radix(&fields["size"].as_str().unwrap()[2..], 16).unwrap();
                fields["size"] = format!("{:#x}", size + 1).into();
            }
            if fields.contains_key("cumulativeGasUsed") {
                assert!(fields["blockTimestamp"].is_u64());
                fields.remove("blockTimestamp");
                if fields["type"] != "0x3" {
                    assert_eq!(fields["blobGasPrice"], "0x1");
                    fields.remove("blobGasPrice");
                }
            }
        }
        _ => {}
    }
}

#[track_caller]
fn same(proxy: &str, anvil: &Anvil, last: u64) {
    for height in 0..=last {
        let block = anvil.call("eth_getBlockByNumber", json!([format!("{height:#x}"), true]));
        let questions = questions(&block);
        let batch: Vec<Value> = (0..)
            .zip(&questions)
            .map(|(id, (method, params))| request(id, method, params))
            .collect();
        let ours = post(proxy, &batch.into());
        for (id, (method, params)) in questions.iter().enumerate() {
            let mut expected = anvil.call(method, params.clone());
            without_own_words(&mut expected);
            assert_eq!(ours[id]["id"], id);
            assert_eq!(ours[id]["result"], expected, "{method} {params}: {}", ours[id]);
        }
    }
}

#[test]
fn a_live_chain_is_archived_and_answered_for_as_by_its_node() {
    let Some(mut anvil) = Anvil::start("a_live_chain_is_archived_and_answered_for_as_by_its_node")
    else {
        return;
    };
    anvil.make_history(0);
    let folder = Folder::with_local_nodes("2+1", 3);
    let url = anvil.url();
    let follow = ["follow", "ethereum", "--rpc", &url, "--confirmations", "2", "--once"];
    let first = folder.json(&follow);
    assert_eq!((&first["network"], &first["first_height"]), (&"chain-31337".into(), &0.into()));
    let last = first["last_height"].as_u64().unwrap();
    assert_eq!(last + 2, first["head"].as_u64().unwrap());
    assert_eq!(folder.json(&follow)["blocks"], 0);
    anvil.make_history(1);
    let second = folder.json(&follow);
    assert_eq!(second["first_height"], last + 1);
    let last = second["last_height"].as_u64().unwrap();
    folder.run(&["verify", "ethereum"]).exits(0);
    folder.run(&["evict"]).exits(0);

    let serve =
        ["serve", "ethereum-rpc", "--upstream", &url, "--listen", "127.0.0.1:0", "--patience", "5"];
    let mut door = Running::start(folder.command(&serve), "ready");
    let line = door.said.lines().find(|line| line.starts_with("Ethereum's JSON-RPC")).unwrap();
    let proxy = line.rsplit(' ').next().unwrap().to_owned();
    same(&proxy, &anvil, last);
    // what is not archived yet, and what moves
    let head = anvil.call("eth_blockNumber", json!([]));
    for (method, params) in [
        ("eth_getBlockByNumber", json!([head, true])),
        ("eth_getBlockByNumber", json!(["latest", false])),
        ("eth_getLogs", json!([{"fromBlock": "0x0", "toBlock": "latest", "address": BOB}])),
        ("eth_getLogs", json!([{"fromBlock": "0x1", "toBlock": head}])),
        ("eth_getBalance", json!([ALICE, "latest"])),
        ("eth_getBlockByNumber", json!(["nonsense", false])),
    ] {
        let (ours, theirs) =
            (call(&proxy, method, params.clone()), call(&anvil.address, method, params));
        assert_eq!(ours, theirs, "{method}");
    }

    // the node goes: history stays
    let mut block = anvil.call("eth_getBlockByNumber", json!(["0x1", true]));
    without_own_words(&mut block);
    anvil.process.kill();
    assert_eq!(call(&proxy, "eth_getBlockByNumber", json!(["0x1", true]))["result"], block);
    let gone = call(&proxy, "eth_getBlockByNumber", json!([head, true]));
    assert_eq!(gone["error"]["code"], -32002, "{gone}");
    assert_eq!(door.interrupt(), 0);
    folder.run(&follow).fails(&["cannot be reached", "repeat the command"]);
}

#[test]
fn a_node_that_reorganises_below_the_confirmations_is_refused() {
    let test = "a_node_that_reorganises_below_the_confirmations_is_refused";
    let Some(anvil) = Anvil::start(test) else { return };
    anvil.call("anvil_mine", json!(["0xa"]));
    let folder = Folder::with_local_nodes("2+1", 3);
    let url = anvil.url();
    let follow = ["follow", "ethereum", "--rpc", &url, "--confirmations", "3", "--once"];
    assert_eq!(folder.json(&follow)["last_height"], 7);
    let stored = folder.run(&["get", "ethereum", "block", "7", "--raw"]).exits(0).stdout;
    // above what is archived: nobody notices
    anvil.call("anvil_reorg", json!([2, []]));
    anvil.call("anvil_mine", json!(["0x1"]));
    assert_eq!(folder.json(&follow)["last_height"], 8);
    anvil.call("anvil_reorg", json!([6, []]));
    folder.run(&follow).fails(&[
        "block 8 is",
        "the node is of another chain",
        "nothing was changed",
    ]);
    anvil.call("anvil_mine", json!(["0x5"]));
    folder.run(&follow).fails(&["block 9 lies on", "reorganised below 3 confirmations"]);
    assert_eq!(folder.run(&["get", "ethereum", "block", "7", "--raw"]).exits(0).stdout, stored);

    // another chain from its first block on: the time of its start is what tells it from the first one
    let Some(other) = Anvil::start_with(test, &["--timestamp", "1700000000"]) else { return };
    let url = other.url();
    other.call("anvil_mine", json!(["0x20"]));
    let other = ["follow", "ethereum", "--rpc", &url, "--confirmations", "3", "--once"];
    folder.run(&other).fails(&["block 9 lies on"]);
    let serve = ["serve", "ethereum-rpc", "--upstream", &url, "--listen", "127.0.0.1:0"];
    folder.run(&serve).fails(&["it is a node of another chain"]);
    let named = ["--network", "mainnet"];
    folder.run(&[&follow[..], &named].concat()).fails(&["chain id 31337, mainnet has 1"]);
}

#[test]
fn gaps_below_are_filled_from_the_node() {
    let Some(anvil) = Anvil::start("gaps_below_are_filled_from_the_node") else { return };
    anvil.call("anvil_mine", json!(["0xb"]));
    let (folder, url) = (Folder::with_local_nodes("2+1", 3), anvil.url());
    let follow = ["follow", "ethereum", "--rpc", &url, "--confirmations", "3", "--once"];
    assert_eq!(folder.json(&[&follow[..], &["--from", "5"]].concat())["first_height"], 5);
    assert_eq!(folder.run(&["coverage", "ethereum"]).exits(0).text().matches("5-8").count(), 1);
    let fill = [&follow[..], &["--fill"]].concat();
    assert_eq!(folder.json(&[&fill[..], &["--from", "3"]].concat())["blocks_filled"], 2);
    assert_eq!(folder.json(&fill)["blocks_filled"], 3);
    let filled = folder.json(&fill);
    assert_eq!((&filled["blocks_filled"], &filled["blocks"]), (&0.into(), &0.into()));
    let ranges = folder.json(&["coverage", "ethereum"]);
    let ranges = ranges["histories"][0]["ranges"].as_array().unwrap().clone();
    assert_eq!((&ranges[0]["first"], &ranges[ranges.len() - 1]["last"]), (&0.into(), &8.into()));
    assert!(ranges.iter().all(|range| range["state"] != "missing"), "{ranges:?}");
}
