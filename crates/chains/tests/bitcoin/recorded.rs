//! A real node's files and answers, recorded (`fixtures/bitcoin/regtest`).

use crate::common::import;
use prunedb_chains::{
    archive::MemoryArchive,
    bitcoin::{
        AnswerError, Answers, BlockId, FollowError, FollowOptions, Followed, Follower, Hash,
        History, ImportOptions, Network, Node, NodeError, PruneError, PrunePlan, Question,
        amount_text, read_coins, write_coins,
    },
};
use serde_json::{Value, json, value::RawValue};
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

const TIP: u64 = 124;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/bitcoin/regtest")
}

fn imported() -> MemoryArchive {
    let mut archive = MemoryArchive::default();
    let report = import(&mut archive, &folder(), &ImportOptions::default()).unwrap();
    assert_eq!(report.heights, Some(0..=TIP));
    archive
}

/// Method, parameters, result.
fn lines(kind: &str) -> Vec<[String; 3]> {
    let text = std::fs::read_to_string(folder().join("answers.tsv")).unwrap();
    let lines = text.lines().map(|line| line.split('\t').map(str::to_owned).collect::<Vec<_>>());
    let lines = lines.filter(|line| line[0] == kind);
    lines.map(|line| [line[1].clone(), line[2].clone(), line[3].clone()]).collect()
}

fn refused(method: &str) -> NodeError {
    NodeError::Refused { method: method.into(), code: -1, message: "no".into() }
}

/// Gives the recorded results.
struct Recorded(HashMap<(String, String), String>);

impl Recorded {
    fn new() -> Self {
        let calls = lines("call").into_iter();
        Self(calls.map(|[method, params, result]| ((method, params), result)).collect())
    }
}

impl Node for Recorded {
    fn calls(&self, calls: &[(&str, String)]) -> Result<Vec<Box<RawValue>>, NodeError> {
        let result = |(method, params): &(&str, String)| {
            let result = self.0.get(&((*method).into(), params.clone()));
            let result = result.ok_or_else(|| refused(method))?;
            Ok(RawValue::from_string(result.clone()).unwrap())
        };
        calls.iter().map(result).collect()
    }
}

/// What is asked, as the node was asked it.
fn question(method: &str, params: &str) -> Question {
    let params: Value = serde_json::from_str(params).unwrap();
    let hash = |at: usize| params[at].as_str().map(|text| text.parse::<Hash>().unwrap());
    let verbosity = u8::try_from(params[1].as_u64().unwrap()).unwrap();
    match method {
        "getblock" => Question::Block { hash: hash(0).unwrap(), verbosity },
        _ => Question::Transaction { txid: hash(0).unwrap(), verbosity, block: hash(2) },
    }
}

#[test]
fn answers_are_those_of_a_node_that_has_the_blocks() {
    let (archive, node) = (imported(), Recorded::new());
    let history = History::new(&archive, Network::Regtest);
    let (answers, recorded) = (Answers::default(), lines("answer"));
    assert!(recorded.len() > 30);
    for [method, params, expected] in recorded {
        let answer = answers.answer(&history, &node, question(&method, &params)).unwrap();
        let answer: Value = serde_json::from_str(answer.unwrap().get()).unwrap();
        let expected: Value = serde_json::from_str(&expected).unwrap();
        assert_eq!(answer, expected, "{method} {params}");
    }
}

#[test]
fn what_is_not_archived_is_not_answered() {
    let (archive, node) = (imported(), Recorded::new());
    let history = History::new(&archive, Network::Regtest);
    let other = Hash([7; 32]);
    let answers = Answers::default();
    for question in [
        Question::Block { hash: other, verbosity: 0 },
        Question::Transaction { txid: other, verbosity: 1, block: None },
        Question::Transaction { txid: other, verbosity: 1, block: Some(other) },
        Question::Transaction {
            txid: other,
            verbosity: 0,
            block: Some(Network::Regtest.genesis()),
        },
    ] {
        assert!(answers.answer(&history, &node, question).unwrap().is_none());
    }
    // a node that answers with something else does no harm
    for lie in ["null", "[]", "7", "\"text\"", "{}", "{\"vin\":1}", "[{}]"] {
        let node = Recorded(node.0.keys().map(|call| (call.clone(), lie.into())).collect());
        for [method, params, _] in lines("answer") {
            // an error, or what needs nothing of the node
            _ = answers.answer(&history, &node, question(&method, &params));
        }
    }
    // one that does not tell what is needed is not made up for
    let genesis = Question::Block { hash: Network::Regtest.genesis(), verbosity: 1 };
    let error = answers.answer(&history, &node, genesis).unwrap_err();
    assert!(matches!(error, AnswerError::Node(NodeError::Refused { .. })), "{error}");
}

#[test]
fn undo_data_is_made_again_byte_for_byte() {
    let archive = imported();
    let history = History::new(&archive, Network::Regtest);
    for height in 1..=TIP {
        let block = history.block(BlockId::Height(height)).unwrap().unwrap();
        let undo = history.undo(&block).unwrap().unwrap();
        assert_eq!(write_coins(&read_coins(&undo).unwrap()), undo, "block {height}");
        history.spent(&block, &undo).unwrap();
    }
}

/// What a node makes of an answer, by the method that was asked for.
type Lie = dyn Fn(&str, Value) -> Value;

/// A node with the blocks of an archive, up to a tip.
struct Running<'a> {
    history: History<'a, MemoryArchive>,
    tip: Cell<u64>,
    lowest: Option<u64>,
    /// to be changed by tests
    lie: RefCell<Box<Lie>>,
}

impl<'a> Running<'a> {
    fn new(archive: &'a MemoryArchive) -> Self {
        let lie: Box<Lie> = Box::new(|_, value| value);
        let history = History::new(archive, Network::Regtest);
        Self { history, tip: Cell::new(TIP), lowest: None, lie: RefCell::new(lie) }
    }

    fn result(&self, method: &str, params: &Value) -> Value {
        let block = |id| self.history.block(id).unwrap().unwrap();
        match (method, params[1].as_u64()) {
            ("getblockchaininfo", _) => {
                let pruned = self.lowest.is_some();
                let info =
                    json!({ "chain": "regtest", "blocks": self.tip.get(), "pruned": pruned });
                let mut info = info;
                if let Some(lowest) = self.lowest {
                    info["pruneheight"] = lowest.into();
                    info["automatic_pruning"] = false.into();
                }
                info
            }
            ("getblockhash", _) => {
                block(BlockId::Height(params[0].as_u64().unwrap())).header.hash.to_string().into()
            }
            ("getblock", verbosity) => {
                let block = block(BlockId::Hash(params[0].as_str().unwrap().parse().unwrap()));
                if verbosity == Some(0) {
                    return hex(&block.bytes).into();
                }
                let undo = self.history.undo(&block).unwrap().unwrap();
                let mut spent = self.history.spent(&block, &undo).unwrap();
                spent.insert(0, vec![]);
                let transactions = self.history.walked(&block).unwrap().transactions;
                let tx = transactions.iter().zip(spent).map(|(transaction, coins)| {
                    let vin = coins.iter().map(|coin| {
                        let amount: Value =
                            serde_json::from_str(&amount_text(coin.amount)).unwrap();
                        json!({ "prevout": {
                            "generated": coin.coinbase,
                            "height": coin.height,
                            "value": amount,
                            "scriptPubKey": { "hex": hex(&coin.script) },
                        }})
                    });
                    json!({ "txid": transaction.txid.to_string(), "vin": vin.collect::<Value>() })
                });
                json!({ "tx": tx.collect::<Value>() })
            }
            _ => panic!("{method}"),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Node for Running<'_> {
    fn calls(&self, calls: &[(&str, String)]) -> Result<Vec<Box<RawValue>>, NodeError> {
        let result = |(method, params): &(&str, String)| {
            let result = self.result(method, &serde_json::from_str(params).unwrap());
            let result = (*self.lie.borrow())(method, result);
            if result.is_null() {
                return Err(refused(method));
            }
            Ok(serde_json::value::to_raw_value(&result).unwrap())
        };
        calls.iter().map(result).collect()
    }
}

fn catch_up(
    follower: &mut Follower,
    archive: &mut MemoryArchive,
    node: &Running<'_>,
) -> Result<Option<u64>, FollowError> {
    loop {
        if let Followed::UpToDate { stored, .. } = follower.step(archive, node)? {
            return Ok(stored);
        }
    }
}

#[test]
fn a_followed_node_s_blocks_are_stored_as_from_its_files() {
    let files = imported();
    let (node, mut archive) = (Running::new(&files), MemoryArchive::default());
    node.tip.set(50);
    let mut options = FollowOptions::default();
    let mut follower = Follower::new(&archive, &node, &options).unwrap();
    // by default six lie over the last one that is taken
    assert_eq!(catch_up(&mut follower, &mut archive, &node).unwrap(), Some(44));
    node.tip.set(TIP);
    assert_eq!(catch_up(&mut follower, &mut archive, &node).unwrap(), Some(TIP - 6));
    // goes on where another one ended
    options.confirmations = Some(0);
    let mut follower = Follower::new(&archive, &node, &options).unwrap();
    assert_eq!(catch_up(&mut follower, &mut archive, &node).unwrap(), Some(TIP));
    // all but how the files were made
    let of_blocks = |archive: &MemoryArchive| -> Vec<(String, Vec<u8>, Vec<u8>)> {
        let names = ["/block", "/header", "/undo", "/block-hash", "/tx-hash"];
        let records = archive.records();
        records
            .filter(|(table, ..)| names.iter().any(|name| table.ends_with(name)))
            .map(|(table, key, value)| (table.to_owned(), key.to_vec(), value.to_vec()))
            .collect()
    };
    assert!(of_blocks(&archive) == of_blocks(&files));
}

#[test]
fn a_node_that_lies_is_not_believed() {
    let files = imported();
    type NamedLie = (&'static str, fn(&str, Value) -> Value);
    let lies: [NamedLie; 6] = [
        ("another network", |method, value| match method {
            "getblockchaininfo" => json!({ "chain": "main", "blocks": 9, "pruned": false }),
            _ => value,
        }),
        ("another block's bytes", |method, value| match value.as_str() {
            Some(block) if method == "getblock" => format!("01{}", &block[2..]).into(),
            _ => value,
        }),
        ("no hex", |method, value| match value.is_string() && method == "getblock" {
            true => "xy".into(),
            false => value,
        }),
        ("another height", |method, value| match (method, value.as_str()) {
            ("getblockhash", Some(hash)) if hash.starts_with('0') => value,
            ("getblockhash", _) => Hash([1; 32]).to_string().into(),
            _ => value,
        }),
        ("inputs left out", |method, mut value| {
            if method == "getblock" && value.is_object() {
                value["tx"][1]["vin"] = json!([]);
            }
            value
        }),
        ("an amount that is none", |method, mut value| {
            if method == "getblock" && value.is_object() {
                value["tx"][1]["vin"][0]["prevout"]["value"] = json!(-1);
            }
            value
        }),
    ];
    for (name, lie) in lies {
        let (node, mut archive) = (Running::new(&files), MemoryArchive::default());
        *node.lie.borrow_mut() = Box::new(move |method, value| {
            // another height has no block at all here
            if name == "another height" && method == "getblock" {
                Value::Null
            } else {
                lie(method, value)
            }
        });
        let followed = Follower::new(&archive, &node, &FollowOptions::default())
            .and_then(|mut follower| catch_up(&mut follower, &mut archive, &node));
        assert!(followed.is_err(), "{name}");
        let history = History::new(&archive, Network::Regtest);
        let stored = history.tip().unwrap();
        for height in 0..=stored.unwrap_or(0) {
            let expected = node.history.block(BlockId::Height(height)).unwrap();
            let found = history.block(BlockId::Height(height)).unwrap();
            assert!(found.is_none() || found == expected, "{name}: {height}");
        }
    }
}

#[test]
fn a_chain_that_goes_back_behind_the_archive_stops_it() {
    let files = imported();
    let branch = crate::synthetic::chain(Network::Regtest.genesis(), 1, 20, 0, 3);
    let folder = tempfile::tempdir().unwrap();
    crate::synthetic::write(folder.path(), 0, &branch, &branch, 0);
    let mut archive = MemoryArchive::default();
    import(&mut archive, folder.path(), &ImportOptions::default()).unwrap();
    let node = Running::new(&files);
    let mut follower = Follower::new(&archive, &node, &FollowOptions::default()).unwrap();
    let error = catch_up(&mut follower, &mut archive, &node).unwrap_err();
    assert!(error.to_string().contains("block 20 is"), "{error}");
    assert!(!error.is_passing());
}

#[test]
fn a_pruned_node_is_followed_from_its_lowest_block() {
    let files = imported();
    let node = Running { lowest: Some(100), ..Running::new(&files) };
    let (mut archive, mut options) = (MemoryArchive::default(), FollowOptions::default());
    let mut follower = Follower::new(&archive, &node, &options).unwrap();
    // it gives the first block, which everybody knows
    let error = catch_up(&mut follower, &mut archive, &node).unwrap_err();
    assert!(matches!(error, FollowError::Pruned { height: 1, lowest: 100 }), "{error}");
    options.from_height = Some(99);
    assert!(matches!(Follower::new(&archive, &node, &options), Err(FollowError::Gap { .. })));
    options.from_height = Some(100);
    let mut follower = Follower::new(&archive, &node, &options).unwrap();
    assert_eq!(catch_up(&mut follower, &mut archive, &node).unwrap(), Some(TIP - 6));
}

#[test]
fn only_what_is_archived_may_be_pruned() {
    let (files, threads) = (imported(), NonZeroUsize::MIN);
    let node = |lowest, tip| Running { lowest, tip: Cell::new(tip), ..Running::new(&files) };
    let plan = |archive: &MemoryArchive, node: &Running<'_>| PrunePlan::new(archive, node, 0);
    let error = plan(&files, &node(None, TIP)).unwrap_err();
    assert!(matches!(error, PruneError::NotPruning), "{error}");
    // 288 blocks stay
    assert_eq!(plan(&files, &node(Some(0), TIP)).unwrap().last, None);
    let all = plan(&files, &node(Some(3), 350)).unwrap();
    assert_eq!((all.first, all.last, all.blocks()), (3, Some(61), 59));
    all.compare(&files, &node(Some(3), 350), threads, &mut |_| true).unwrap();
    // beyond what is archived nothing may go
    let most = plan(&files, &node(Some(0), 1000)).unwrap();
    assert_eq!((most.last, most.archived_below), (Some(TIP), TIP + 1));
    most.compare(&files, &node(Some(0), 1000), threads, &mut |_| true).unwrap();
    let cancelled = most.compare(&files, &node(Some(0), 1000), threads, &mut |_| false);
    assert!(matches!(cancelled, Err(PruneError::Cancelled)));

    let other = node(Some(0), 1000);
    *other.lie.borrow_mut() = Box::new(|method, value| match (method, value.as_str()) {
        ("getblockhash", Some(hash)) if hash.ends_with('7') => Hash([1; 32]).to_string().into(),
        _ => value,
    });
    let error = most.compare(&files, &other, threads, &mut |_| true).unwrap_err();
    assert!(matches!(error, PruneError::OtherBlock { .. }), "{error}");

    // without what blocks spend they must stay
    let folder = tempfile::tempdir().unwrap();
    for file in ["blk00000.dat", "xor.dat"] {
        std::fs::copy(self::folder().join(file), folder.path().join(file)).unwrap();
    }
    let mut without = MemoryArchive::default();
    import(&mut without, folder.path(), &ImportOptions::default()).unwrap();
    let error = most.compare(&without, &node(Some(0), 1000), threads, &mut |_| true).unwrap_err();
    assert!(matches!(error, PruneError::NoUndo { height: 1 }), "{error}");
}
