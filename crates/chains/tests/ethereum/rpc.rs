//! JSON-RPC over archived history, without a node behind.

use crate::common::{devnet, import, import_blocks};
use prunedb_chains::{
    archive::{Archive, MemoryArchive, Record},
    ethereum::{EthereumRpc, Hash32, History, Tables, synthetic::SyntheticChain},
};
use prunedb_rpc::{Answer, Call, Caller, Upstream, Version};
use serde_json::{Value, json, value::to_raw_value};
use tokio::runtime::Runtime;

/// Answers with nobody behind: the port is one that nobody listens on.
struct Alone {
    rpc: EthereumRpc,
    _runtime: Runtime,
}

/// What became of a call.
#[derive(Debug, PartialEq)]
enum Said {
    Result(Value),
    Error(i64, String),
    PassedOn,
}

impl Alone {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let node =
            Caller::new(Upstream::new("http://127.0.0.1:1").unwrap(), runtime.handle().clone());
        Self { rpc: EthereumRpc::new(&devnet(), node), _runtime: runtime }
    }

    fn call(&self, archive: &MemoryArchive, method: &str, params: &Value) -> Said {
        let call = Call {
            version: Version::Two,
            id: None,
            method: method.into(),
            params: Some(to_raw_value(params).unwrap()),
            authorization: None,
        };
        match self.rpc.answer(archive, &call) {
            Answer::Result(result) => Said::Result(serde_json::from_str(result.get()).unwrap()),
            Answer::Error(error) => Said::Error(error.code, error.message),
            Answer::PassOn => Said::PassedOn,
        }
    }

    #[track_caller]
    fn result(&self, archive: &MemoryArchive, method: &str, params: &Value) -> Value {
        match self.call(archive, method, params) {
            Said::Result(result) => result,
            other => panic!("{method} {params}: {other:?}"),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("0x{digits}")
}

#[test]
fn every_block_by_every_method() {
    let chain = SyntheticChain::new(&devnet(), 0, 4, 21);
    let (name, bytes) = chain.clone().era1(&devnet(), 40);
    let mut archive = MemoryArchive::default();
    import(&mut archive, &name, &bytes).unwrap();
    let alone = Alone::new();
    let result = |method: &str, params: Value| alone.result(&archive, method, &params);
    let mut ommers = 0;
    for block in chain.take(40) {
        let (number, hash) = (format!("{:#x}", block.height), block.hash.to_string());
        let full = result("eth_getBlockByNumber", json!([number, true]));
        assert_eq!(full["hash"], hash);
        assert_eq!(result("eth_getBlockByHash", json!([hash, true])), full);
        let short = result("eth_getBlockByNumber", json!([number, false]));
        let count = format!("{:#x}", block.transactions.len());
        assert_eq!(result("eth_getBlockTransactionCountByNumber", json!([number])), count);
        assert_eq!(result("eth_getBlockTransactionCountByHash", json!([hash])), count);
        let header = result("eth_getHeaderByNumber", json!([number]));
        assert_eq!(result("eth_getHeaderByHash", json!([hash])), header);
        for (field, value) in header.as_object().unwrap() {
            assert_eq!(&full[field], value);
        }
        assert_eq!(result("debug_getRawBlock", json!([number])), hex(&block.rlp()));
        assert_eq!(result("debug_getRawHeader", json!([hash])), hex(&block.header));

        let receipts = result("eth_getBlockReceipts", json!([number]));
        assert_eq!(result("eth_getBlockReceipts", json!([{"blockHash": hash}])), receipts);
        let raw = result("debug_getRawReceipts", json!([number]));
        assert_eq!(raw.as_array().unwrap().len(), block.transactions.len());
        let mut logs = Vec::new();
        for (index, transaction) in block.transactions.iter().enumerate() {
            let (hash, index_text) = (transaction.to_string(), format!("{index:#x}"));
            assert_eq!(short["transactions"][index], hash);
            let whole = &full["transactions"][index];
            assert_eq!(&result("eth_getTransactionByHash", json!([hash])), whole);
            let place = json!([number, index_text]);
            assert_eq!(&result("eth_getTransactionByBlockNumberAndIndex", place.clone()), whole);
            let raw = result("eth_getRawTransactionByBlockNumberAndIndex", place);
            assert_eq!(result("eth_getRawTransactionByHash", json!([hash])), raw);
            assert_eq!(result("eth_getTransactionReceipt", json!([hash])), receipts[index]);
            logs.extend(receipts[index]["logs"].as_array().unwrap().clone());
        }
        let indices: Vec<Value> = logs.iter().map(|log| log["logIndex"].clone()).collect();
        assert!(indices.iter().enumerate().all(|(index, found)| *found == format!("{index:#x}")));
        let of_block = result("eth_getLogs", json!([{"blockHash": block.hash.to_string()}]));
        assert_eq!(of_block, Value::from(logs.clone()));
        let range = json!([{"fromBlock": number, "toBlock": number}]);
        assert_eq!(result("eth_getLogs", range), Value::from(logs));

        let behind = json!([number, count]);
        assert!(result("eth_getTransactionByBlockNumberAndIndex", behind).is_null());
        let uncles = full["uncles"].as_array().unwrap();
        ommers += uncles.len();
        let count = format!("{:#x}", uncles.len());
        assert_eq!(result("eth_getUncleCountByBlockNumber", json!([number])), count);
        for (index, uncle) in uncles.iter().enumerate() {
            let place = json!([number, format!("{index:#x}")]);
            assert_eq!(&result("eth_getUncleByBlockNumberAndIndex", place)["hash"], uncle);
        }
    }
    assert!(ommers > 0);
    let all = result("eth_getLogs", json!([{"fromBlock": "earliest", "toBlock": "0x27"}]));
    assert!(all.as_array().unwrap().len() > 40);
}

#[test]
fn what_is_the_nodes_is_passed_on() {
    let (name, bytes) = SyntheticChain::new(&devnet(), 0, 4, 21).era1(&devnet(), 10);
    let mut archive = MemoryArchive::default();
    import(&mut archive, &name, &bytes).unwrap();
    let (alone, absent) = (Alone::new(), Hash32([7; 32]).to_string());
    let from_latest = json!({"toBlock": "0x5"});
    for (method, params) in [
        ("eth_getBlockByNumber", json!(["0xa", true])),
        ("eth_getBlockByNumber", json!(["latest", true])),
        ("eth_getBlockByNumber", json!(["0x01", true])),
        ("eth_getBlockByNumber", json!([1, true])),
        ("eth_getBlockByNumber", json!(["0x1"])),
        ("eth_getBlockByNumber", json!(["0x1", "yes"])),
        ("eth_getBlockByNumber", json!([])),
        ("eth_getBlockByNumber", json!({"block": "0x1"})),
        ("eth_getBlockByHash", json!([absent, true])),
        ("eth_getBlockByHash", json!(["0x1", true])),
        ("eth_getBlockReceipts", json!([{"blockHash": absent, "blockNumber": "0x1"}])),
        ("eth_getBlockReceipts", json!([{"else": 1}])),
        ("eth_getTransactionByHash", json!([absent])),
        ("eth_getTransactionReceipt", json!([absent])),
        ("eth_getTransactionByBlockNumberAndIndex", json!(["0x1", 0])),
        ("eth_getLogs", json!([{"fromBlock": "0xa", "toBlock": "0xb"}])),
        ("eth_getLogs", json!([{"fromBlock": "0x5", "toBlock": "0x4"}])),
        ("eth_getLogs", json!([from_latest])),
        ("eth_getLogs", json!([{"fromBlock": "0x1", "toBlock": "0x2", "address": "0x12"}])),
        (
            "eth_getLogs",
            json!([{"fromBlock": "0x1", "toBlock": "0x2", "topics": [null, null, null, null, null]}]),
        ),
        ("eth_getLogs", json!([{"fromBlock": "0x1", "blockHash": absent}])),
        ("eth_getLogs", json!(["0x1"])),
        ("eth_call", json!([{}, "0x1"])),
        ("eth_blockNumber", json!([])),
    ] {
        assert_eq!(alone.call(&archive, method, &params), Said::PassedOn, "{method} {params}");
    }
    // the part that is archived, and a node that is not there for the rest
    let beyond =
        alone.call(&archive, "eth_getLogs", &json!([{"fromBlock": "0x5", "toBlock": "0xa"}]));
    assert!(
        matches!(&beyond, Said::Error(-32002, message) if message.contains("cannot be reached")),
        "{beyond:?}"
    );
}

#[test]
fn missing_and_damaged_history_is_an_error_never_null() {
    let chain = SyntheticChain::new(&devnet(), 0, 4, 21);
    let blocks: Vec<_> = chain.take(10).collect();
    let mut archive = MemoryArchive::default();
    for block in blocks.iter().filter(|block| block.height != 4) {
        import_blocks(&mut archive, &block.rlp()).unwrap();
    }
    let alone = Alone::new();
    let gap = alone.call(&archive, "eth_getBlockByNumber", &json!(["0x4", false]));
    assert!(
        matches!(&gap, Said::Error(4444, message) if message.contains("block 4 of devnet is not archived")),
        "{gap:?}"
    );
    let receipts = alone.call(&archive, "eth_getBlockReceipts", &json!(["0x3"]));
    assert!(matches!(receipts, Said::Error(4444, _)), "{receipts:?}");
    let tables = Tables::of(&devnet());
    let mut damaged = MemoryArchive::default();
    for (name, key, value) in archive.records() {
        let mut value = value.to_vec();
        if name == tables.block {
            let at = value.len() - 1;
            value[at] ^= 1;
        }
        damaged.put(&[Record::keyed(name, key, value)]).unwrap();
    }
    for (method, params) in [
        ("eth_getBlockByNumber", json!(["0x3", true])),
        ("eth_getBlockByHash", json!([blocks[3].hash.to_string(), true])),
    ] {
        let said = alone.call(&damaged, method, &params);
        assert!(
            matches!(&said, Said::Error(4444, message) if message.contains("damaged")),
            "{said:?}"
        );
    }
}

#[test]
fn senders_of_real_transactions() {
    let Some(corpus) = std::env::var_os("PRUNEDB_CORPUS") else {
        eprintln!("senders_of_real_transactions: skipped, PRUNEDB_CORPUS is not set");
        return;
    };
    let path = std::path::Path::new(&corpus).join("ethereum/rlp/mainnet-blocks.rlp");
    let mut archive = MemoryArchive::default();
    let options = crate::common::options();
    prunedb_chains::ethereum::import_rlp(
        &mut archive,
        std::fs::File::open(path).unwrap(),
        "blocks.rlp",
        &options,
        &mut |_| (),
    )
    .unwrap();
    let mainnet = "mainnet".parse().unwrap();
    let history = History::new(&archive, &mainnet);
    // the first transaction that there was
    let hash =
        "0x5c504ed432cb51138bcf09aa5e8a410dd4a1e204ef84bfed1be16dfba1b22060".parse().unwrap();
    let first =
        serde_json::to_value(history.transaction(hash).unwrap().unwrap().json().unwrap()).unwrap();
    assert_eq!(first["from"], "0xa1e4380a3b1f749673e270229993ee55f35663b4");
    let mut unsigned = 0;
    for (height, _) in archive.range("ethereum/mainnet/block", 0, 100).unwrap() {
        let block =
            history.block(prunedb_chains::ethereum::BlockId::Height(height)).unwrap().unwrap();
        let json = serde_json::to_value(block.json(true).unwrap()).unwrap();
        let all = json["transactions"].as_array().unwrap();
        unsigned += all.iter().filter(|transaction| transaction.get("from").is_none()).count();
    }
    assert_eq!(unsigned, 0);
}
