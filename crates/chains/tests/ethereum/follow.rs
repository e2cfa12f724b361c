//! Following nodes over HTTP: sound ones, and those that lie.

use crate::common::{devnet, import, same_records};
use prunedb_chains::{
    archive::MemoryArchive,
    ethereum::{
        EthereumRpc, FollowError, FollowOptions, FollowReport, Follower, synthetic::SyntheticChain,
    },
};
use prunedb_rpc::{Answer, Call, Caller, Chain, HttpServer, Proxy, Upstream};
use serde_json::{Value, json};
use std::{net::SocketAddr, time::Duration};
use tokio::runtime::Runtime;

type Lie = dyn Fn(&Call, &mut Value) + Send + Sync;

/// A node whose history is an archive, and that says what a lie makes of it.
struct Node {
    archive: MemoryArchive,
    rpc: EthereumRpc,
    head: u64,
    lie: Box<Lie>,
}

impl Chain for Node {
    fn answer(&self, call: &Call) -> Answer {
        let mut answer = match call.method.as_str() {
            "eth_chainId" => json!("0x539"),
            "eth_blockNumber" => json!(format!("{:#x}", self.head)),
            _ => match self.rpc.answer(&self.archive, call) {
                Answer::Result(result) => serde_json::from_str(result.get()).unwrap(),
                Answer::PassOn => Value::Null,
                error => return error,
            },
        };
        (self.lie)(call, &mut answer);
        Answer::result(&answer)
    }
}

/// A node and somebody who follows it.
struct Stage {
    runtime: Runtime,
    _server: HttpServer,
    node: Caller,
}

fn history(seed: u64, blocks: usize) -> MemoryArchive {
    let (name, bytes) = SyntheticChain::new(&devnet(), 0, 4, seed).era1(&devnet(), blocks);
    let mut archive = MemoryArchive::default();
    import(&mut archive, &name, &bytes).unwrap();
    archive
}

impl Stage {
    fn new(
        archive: &MemoryArchive,
        head: u64,
        lie: impl Fn(&Call, &mut Value) + Send + Sync + 'static,
    ) -> Self {
        let runtime = Runtime::new().unwrap();
        let nobody = || Upstream::new("http://127.0.0.1:1").unwrap();
        let rpc = EthereumRpc::new(&devnet(), Caller::new(nobody(), runtime.handle().clone()));
        let node = Node { archive: archive.clone(), rpc, head, lie: Box::new(lie) };
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let server =
            runtime.block_on(HttpServer::start(listen, Proxy::new(node, nobody()))).unwrap();
        let upstream = Upstream::new(&format!("http://{}", server.local_addr())).unwrap();
        let upstream = upstream.with_patience(Duration::from_secs(20));
        let node = Caller::new(upstream, runtime.handle().clone());
        Self { runtime, _server: server, node }
    }

    fn follow(&self, archive: &mut MemoryArchive) -> Result<FollowReport, FollowError> {
        let options = FollowOptions { from: None, confirmations: 3 };
        Follower::new(&self.node, &devnet(), options)?.round(archive, &mut |_| ())
    }
}

#[test]
fn what_was_followed_is_what_was_imported() {
    let imported = history(5, 60);
    let mut followed = MemoryArchive::default();
    let report = Stage::new(&imported, 40, |_, _| ()).follow(&mut followed).unwrap();
    assert_eq!((report.heights, report.blocks), (Some((0, 37)), 38));
    let stage = Stage::new(&imported, 62, |_, _| ());
    let report = stage.follow(&mut followed).unwrap();
    assert_eq!(report.heights, Some((38, 59)));
    assert_eq!(stage.follow(&mut followed).unwrap().blocks, 0);
    // all but the memory of the file
    let mut expected = MemoryArchive::default();
    for (table, key, value) in imported.records().filter(|(table, ..)| !table.contains("era1")) {
        let record = prunedb_chains::archive::Record::keyed(table, key, value);
        prunedb_chains::archive::Archive::put(&mut expected, &[record]).unwrap();
    }
    assert!(same_records(&followed, &expected));
}

/// Every path to a string within a value.
fn strings(value: &Value, path: &str, out: &mut Vec<String>) {
    match value {
        Value::String(_) => out.push(path.into()),
        Value::Array(all) => {
            for (index, value) in all.iter().enumerate() {
                strings(value, &format!("{path}/{index}"), out);
            }
        }
        Value::Object(all) => {
            for (key, value) in all {
                strings(value, &format!("{path}/{key}"), out);
            }
        }
        _ => {}
    }
}

/// Fields that no hash covers: they are said beside the history, and not stored.
const BESIDE: [&str; 14] = [
    "size",
    "from",
    "blockHash",
    "blockNumber",
    "blockTimestamp",
    "transactionIndex",
    "transactionHash",
    "contractAddress",
    "effectiveGasPrice",
    "gasUsed",
    "blobGasUsed",
    "blobGasPrice",
    "logIndex",
    "removed",
];

#[test]
fn every_field_that_is_changed_is_noticed() {
    let imported = history(5, 20);
    let sound = Stage::new(&imported, 20, |_, _| ());
    let mut tried = 0;
    for method in ["eth_getBlockByNumber", "eth_getBlockReceipts"] {
        let answer = sound.node.call(method, json!(["0x7", true])).unwrap();
        let answer: Value = serde_json::from_str(answer.get()).unwrap();
        let mut paths = Vec::new();
        strings(&answer, "", &mut paths);
        let mut seen = std::collections::BTreeSet::new();
        for path in paths {
            let words: Vec<&str> =
                path.split('/').filter(|word| word.parse::<u32>().is_err()).collect();
            let field = *words.last().unwrap();
            // one of each kind of field is enough
            if !seen.insert(words.join("/")) || ["totalDifficulty", "uncles"].contains(&field) {
                continue;
            }
            let in_header = method == "eth_getBlockByNumber" && words.len() == 2;
            let beside = BESIDE.contains(&field) && !(in_header && field != "size");
            let derived = words.contains(&"transactions")
                && matches!(field, "hash" | "gasPrice" | "v" | "chainId" | "yParity");
            let beside = beside || method == "eth_getBlockReceipts" && field == "to";
            if beside || derived {
                continue;
            }
            let pointer = path.clone();
            let stage = Stage::new(&imported, 20, move |call, answer| {
                if call.method == method
                    && call.argument(0, "").is_some_and(|height| height.get() == "\"0x7\"")
                    && let Some(Value::String(text)) = answer.pointer_mut(&pointer)
                {
                    // another last digit
                    let last = text.pop();
                    text.push(if last == Some('1') { '2' } else { '1' });
                }
            });
            let mut archive = MemoryArchive::default();
            let error = stage.follow(&mut archive).expect_err(&path);
            assert!(
                matches!(
                    &error,
                    FollowError::Block { height: 7, .. }
                        | FollowError::Malformed { height: 7, .. }
                        | FollowError::Reorganised { height: 7, .. }
                ),
                "{path}: {error}"
            );
            tried += 1;
        }
    }
    assert!(tried > 25, "{tried}");
}

#[test]
fn nodes_that_answer_something_else() {
    let imported = history(5, 20);
    let says = |method: &'static str, said: Value| {
        Stage::new(&imported, 20, move |call, answer| {
            if call.method == method {
                *answer = said.clone();
            }
        })
    };
    for (stage, expected) in [
        (says("eth_blockNumber", json!("latest")), "not a number"),
        (says("eth_blockNumber", json!(7)), "not a number"),
        (says("eth_chainId", Value::Null), "not a number"),
        (says("eth_getBlockByNumber", Value::Null), "has no block 0: it may have pruned it"),
        (says("eth_getBlockReceipts", Value::Null), "has no block 0 with receipts"),
        (says("eth_getBlockByNumber", json!([])), "cannot be one"),
        (says("eth_getBlockReceipts", json!([])), "receipts root"),
        (says("eth_getBlockReceipts", json!({})), "cannot be one"),
        (
            says(
                "eth_getBlockByNumber",
                json!({"uncles": vec![format!("0x{}", "0".repeat(64)); 3]}),
            ),
            "3 ommers",
        ),
    ] {
        let mut archive = MemoryArchive::default();
        let error = stage.follow(&mut archive).unwrap_err();
        assert!(error.to_string().contains(expected), "{expected}: {error}");
        assert!(archive.is_empty(), "{expected}");
        assert!(!error.is_passing());
    }
}

#[test]
fn another_chain_and_a_deep_reorganisation_change_nothing() {
    let mut archive = MemoryArchive::default();
    Stage::new(&history(5, 20), 20, |_, _| ()).follow(&mut archive).unwrap();
    let before = archive.clone();
    let error = Stage::new(&history(6, 30), 30, |_, _| ()).follow(&mut archive).unwrap_err();
    assert!(
        matches!(error, FollowError::Reorganised { height: 18, confirmations: 3, .. }),
        "{error}"
    );
    let error = Stage::new(&history(6, 20), 20, |_, _| ()).follow(&mut archive).unwrap_err();
    assert!(matches!(error, FollowError::Contradicts { height: 17, .. }), "{error}");
    assert!(same_records(&archive, &before));
    // a node that is behind says nothing against it
    assert_eq!(Stage::new(&history(6, 9), 9, |_, _| ()).follow(&mut archive).unwrap().blocks, 0);

    let stage = Stage::new(&history(5, 20), 20, |_, _| ());
    let options = FollowOptions { from: None, confirmations: 3 };
    let mainnet = "mainnet".parse().unwrap();
    let error = Follower::new(&stage.node, &mainnet, options).unwrap_err();
    assert!(matches!(error, FollowError::OtherNetwork { expected: 1, found: 1337, .. }), "{error}");
    drop(stage._server);
    let nobody =
        Caller::new(Upstream::new("http://127.0.0.1:1").unwrap(), stage.runtime.handle().clone());
    let error = Follower::new(&nobody, &devnet(), options).unwrap_err();
    assert!(error.is_passing(), "{error}");
}

/// What a lake has of a history: only these heights, and no memory of the file.
fn only(imported: &MemoryArchive, keep: impl Fn(u64) -> bool) -> MemoryArchive {
    let mut some = MemoryArchive::default();
    for (table, key, value) in imported.records().filter(|(table, ..)| !table.contains("era1")) {
        let height = if table.ends_with("-hash") { &value[..8] } else { key };
        if keep(u64::from_be_bytes(height.try_into().unwrap())) {
            let record = prunedb_chains::archive::Record::keyed(table, key, value);
            prunedb_chains::archive::Archive::put(&mut some, &[record]).unwrap();
        }
    }
    some
}

#[test]
fn gaps_are_filled_from_the_top_down() {
    let imported = history(5, 80);
    let whole = only(&imported, |_| true);
    let stage = Stage::new(&imported, 80, |_, _| ());
    let options = FollowOptions { from: None, confirmations: 3 };
    let network = devnet();
    let follower = Follower::new(&stage.node, &network, options).unwrap();
    for present in [vec![79], vec![10, 11, 40, 79], (0..80).collect(), vec![5, 79]] {
        let mut archive = only(&imported, |height| present.contains(&height));
        let mut seen = 0;
        let report = follower.fill(&mut archive, &[(0, 9), (12, 78)], &mut |_| seen += 1).unwrap();
        let missing =
            (0..80).filter(|height| !present.contains(height) && ![10, 11].contains(height));
        // 10 and 11 are in no range: without them, nothing above (0, 9) is stored
        let below = !present.contains(&10);
        let expected = missing.filter(|height| !below || *height > 11).count() as u64;
        assert_eq!(report.blocks, expected, "{present:?}");
        assert!(seen > 0 || expected == 0);
        if !below {
            assert!(same_records(&archive, &whole), "{present:?}");
        }
    }
    // in two goes
    let mut archive = only(&imported, |height| height >= 60);
    assert_eq!(follower.fill(&mut archive, &[(30, 59)], &mut |_| ()).unwrap().blocks, 30);
    assert_eq!(follower.fill(&mut archive, &[(0, 59)], &mut |_| ()).unwrap().blocks, 30);
    assert!(same_records(&archive, &whole));
    // nothing above it
    assert_eq!(follower.fill(&mut archive, &[(100, 200)], &mut |_| ()).unwrap().blocks, 0);
}

#[test]
fn a_gap_takes_no_block_of_another_chain() {
    let (imported, other) = (history(5, 60), history(6, 60));
    let stage = Stage::new(&other, 60, |_, _| ());
    let options = FollowOptions { from: None, confirmations: 3 };
    let network = devnet();
    let follower = Follower::new(&stage.node, &network, options).unwrap();
    let mut archive = only(&imported, |height| height >= 40);
    let before = archive.clone();
    let error = follower.fill(&mut archive, &[(0, 39)], &mut |_| ()).unwrap_err();
    assert!(matches!(error, FollowError::NotBelow { height: 39, .. }), "{error}");
    assert!(same_records(&archive, &before));

    // what is stored below the gap is of another chain than what is above
    let mut archive = only(&other, |height| height < 20);
    for (table, key, value) in only(&imported, |height| height >= 40).records() {
        let record = prunedb_chains::archive::Record::keyed(table, key, value);
        prunedb_chains::archive::Archive::put(&mut archive, &[record]).unwrap();
    }
    let stage = Stage::new(&imported, 60, |_, _| ());
    let network = devnet();
    let follower = Follower::new(&stage.node, &network, options).unwrap();
    let error = follower.fill(&mut archive, &[(20, 39)], &mut |_| ()).unwrap_err();
    assert!(matches!(error, FollowError::Reorganised { height: 20, .. }), "{error}");
}
