//! What a pruned node cannot answer any more, answered from the archive, as the node itself would.
//!
//! ```text
//! getblock           0: bytes   1: transaction ids   2: transactions, fees   3: and the outputs that they spend
//! getrawtransaction  0: bytes   1: decoded           2: fee, and the outputs that it spends
//! ```
//! The archive brings bytes, the node its words: what belongs to the chain as it is now (confirmations, chain work, the next
//! block) comes from its `getblockheader`, which a pruned node still answers, and how transactions and scripts are spelled
//! from its `decoderawtransaction`. So an answer has the fields that this very version of the node gives, digit by digit.
//! Amounts of what is spent are those of the undo data. Cost: a block with all its transactions takes about as long as the node
//! takes to decode it; 0 and 1 ask for one header.

use super::{
    block::Transaction,
    coin::{Coin, amount_text},
    error::{BitcoinError, Fault},
    hash::Hash,
    node::{Node, NodeError, push_hex, read, to_hex, unexpected},
    query::{BlockId, History, StoredBlock},
    wire::{Reader, write_compact},
};
use crate::archive::Archive;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::sync::OnceLock;

/// Transactions that the node is asked to decode at once.
const DECODE_MAX: usize = 500;
/// About so many digits of them.
const DECODE_DIGITS_MAX: usize = 8 << 20;

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Question {
    /// `getblock`
    Block {
        /// which
        hash: Hash,
        /// how much of it
        verbosity: u8,
    },
    /// `getrawtransaction`
    Transaction {
        /// which
        txid: Hash,
        /// how much of it
        verbosity: u8,
        /// in this block only
        block: Option<Hash>,
    },
}

/// Why there is no answer, although it is archived.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// The node is needed for it, and does not answer.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The archive cannot give it.
    #[error(transparent)]
    Archive(#[from] BitcoinError),
}

/// Answers for one node.
#[derive(Debug, Default)]
pub struct Answers {
    /// whether its blocks have a member `coinbase_tx`, as from version 31 on
    coinbase_member: OnceLock<bool>,
}

impl Answers {
    /// Answers; `None` where it is not archived.
    ///
    /// # Errors
    /// See [`AnswerError`].
    pub fn answer<A: Archive + ?Sized, N: Node + ?Sized>(
        &self,
        history: &History<'_, A>,
        node: &N,
        question: Question,
    ) -> Result<Option<Box<RawValue>>, AnswerError> {
        match question {
            Question::Block { hash, verbosity } => {
                let Some(block) = history.block(BlockId::Hash(hash))? else { return Ok(None) };
                if verbosity == 0 {
                    return Ok(Some(quoted(&block.bytes)));
                }
                self.block(history, node, &block, verbosity).map(Some)
            }
            Question::Transaction { txid, verbosity, block } => {
                transaction(history, node, txid, verbosity, block)
            }
        }
    }

    fn block<A: Archive + ?Sized, N: Node + ?Sized>(
        &self,
        history: &History<'_, A>,
        node: &N,
        stored: &StoredBlock,
        verbosity: u8,
    ) -> Result<Box<RawValue>, AnswerError> {
        let block = history.walked(stored)?;
        let header = header(node, block.header.hash)?;
        let (size, stripped) = (stored.bytes.len(), block.stripped_bytes());
        let mut members = vec![
            ("strippedsize", stripped.to_string()),
            ("size", size.to_string()),
            ("weight", (3 * stripped + size).to_string()),
        ];
        if let Some(first) = block.transactions.first()
            && self.coinbase_member(node)?
        {
            let damaged = |fault| BitcoinError::stored("block", block.header.hash, fault);
            let coinbase = coinbase(&stored.bytes[first.bytes.clone()]).map_err(damaged)?;
            members.push(("coinbase_tx", coinbase));
        }
        let transactions: Vec<String> = if verbosity == 1 {
            block
                .transactions
                .iter()
                .map(|transaction| format!("\"{}\"", transaction.txid))
                .collect()
        } else {
            let spent = history.undo(stored)?;
            let mut spent = spent.map(|undo| history.spent(stored, &undo)).transpose()?;
            if let Some(spent) = &mut spent {
                // the coinbase spends nothing
                spent.insert(0, Vec::new());
            }
            let with = if verbosity == 2 { Spent::Fee } else { Spent::FeeAndOutputs };
            decoded(node, &stored.bytes, &block.transactions, spent.as_deref(), with)?
        };
        members.push(("tx", format!("[{}]", transactions.join(","))));
        Ok(raw("getblockheader", extended("getblockheader", header.get(), &members)?)?)
    }

    fn coinbase_member<N: Node + ?Sized>(&self, node: &N) -> Result<bool, NodeError> {
        #[derive(Deserialize)]
        struct Members {
            coinbase_tx: Option<serde::de::IgnoredAny>,
        }
        if let Some(known) = self.coinbase_member.get() {
            return Ok(*known);
        }
        // the tip is never pruned
        let best = node.call("getbestblockhash", "[]".into())?;
        let block = node.call("getblock", format!("[{},1]", best.get()))?;
        let Members { coinbase_tx } = read("getblock", &block)?;
        Ok(*self.coinbase_member.get_or_init(|| coinbase_tx.is_some()))
    }
}

/// What is told about the outputs that a transaction spends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spent {
    Fee,
    FeeAndOutputs,
}

fn transaction<A: Archive + ?Sized, N: Node + ?Sized>(
    history: &History<'_, A>,
    node: &N,
    txid: Hash,
    verbosity: u8,
    in_block: Option<Hash>,
) -> Result<Option<Box<RawValue>>, AnswerError> {
    let stored = match in_block {
        Some(hash) => history.block(BlockId::Hash(hash))?,
        None => match history.place(txid)? {
            Some(place) => history.block(BlockId::Height(place.height))?,
            None => None,
        },
    };
    let Some(stored) = stored else { return Ok(None) };
    let block = history.walked(&stored)?;
    let found = block.transactions.iter().position(|transaction| transaction.txid == txid);
    let Some(index) = found else { return Ok(None) };
    let found = &block.transactions[index..=index];
    let bytes = &stored.bytes[found[0].bytes.clone()];
    if verbosity == 0 {
        return Ok(Some(quoted(bytes)));
    }
    #[derive(Deserialize)]
    struct Header {
        confirmations: i64,
        time: u64,
    }
    let Header { confirmations, time } = read("getblockheader", &header(node, block.header.hash)?)?;
    let spent = match index {
        0 => None,
        _ if verbosity == 1 => None,
        _ => history.undo(&stored)?.map(|undo| history.spent(&stored, &undo)).transpose()?,
    };
    let spent = spent.as_ref().map(|spent| &spent[index - 1..index]);
    let decoded = decoded(node, &stored.bytes, found, spent, Spent::FeeAndOutputs)?.pop();
    let decoded = decoded.ok_or_else(|| unexpected("decoderawtransaction", "no result"))?;
    let mut members = Vec::new();
    let active = confirmations > 0;
    if in_block.is_some() {
        members.push(("in_active_chain", active.to_string()));
    }
    members.push(("blockhash", format!("\"{}\"", block.header.hash)));
    if active {
        members.push(("confirmations", confirmations.to_string()));
        members.push(("time", time.to_string()));
        members.push(("blocktime", time.to_string()));
    } else {
        members.push(("confirmations", "0".into()));
    }
    let method = "decoderawtransaction";
    Ok(Some(raw(method, extended(method, &decoded, &members)?)?))
}

fn header<N: Node + ?Sized>(node: &N, hash: Hash) -> Result<Box<RawValue>, NodeError> {
    node.call("getblockheader", format!(r#"["{hash}",true]"#))
}

/// Transactions of a block in the node's words, with what they spend where that is known.
fn decoded<N: Node + ?Sized>(
    node: &N,
    block: &[u8],
    transactions: &[Transaction],
    spent: Option<&[Vec<Coin>]>,
    with: Spent,
) -> Result<Vec<String>, NodeError> {
    const METHOD: &str = "decoderawtransaction";
    let mut all = Vec::with_capacity(transactions.len());
    let mut rest = transactions;
    while !rest.is_empty() {
        let (mut calls, mut digits) = (Vec::new(), 0);
        for transaction in rest.iter().take(DECODE_MAX) {
            let hex = to_hex(&block[transaction.bytes.clone()]);
            digits += hex.len();
            let with_witnesses = transaction.wtxid != transaction.txid;
            calls.push((METHOD, format!(r#"["{hex}",{with_witnesses}]"#)));
            if digits >= DECODE_DIGITS_MAX {
                break;
            }
        }
        let results = node.calls(&calls)?;
        if results.len() != calls.len() {
            return Err(unexpected(METHOD, "another number of results"));
        }
        let (now, later) = rest.split_at(calls.len());
        drop(calls);
        for (transaction, result) in now.iter().zip(results) {
            let coins = spent.map(|spent| &spent[all.len()][..]).filter(|coins| !coins.is_empty());
            let bytes = &block[transaction.bytes.clone()];
            let mut members = Vec::new();
            let mut text = String::from(result.get());
            if let Some(coins) = coins {
                if with == Spent::FeeAndOutputs {
                    text = with_outputs(node, &text, coins)?;
                }
                let paid = coins.iter().fold(0u64, |sum, coin| sum.saturating_add(coin.amount));
                let fee = paid.saturating_sub(transaction.output_amount);
                members.push(("fee", amount_text(fee)));
            }
            members.push(("hex", format!("\"{}\"", to_hex(bytes))));
            all.push(extended(METHOD, &text, &members)?);
        }
        rest = later;
    }
    Ok(all)
}

/// A decoded transaction with the outputs that its inputs spend.
fn with_outputs<N: Node + ?Sized>(
    node: &N,
    transaction: &str,
    coins: &[Coin],
) -> Result<String, NodeError> {
    const METHOD: &str = "decoderawtransaction";
    #[derive(Deserialize)]
    struct Inputs<'a> {
        #[serde(borrow)]
        vin: &'a RawValue,
    }
    #[derive(Deserialize)]
    struct Outputs<'a> {
        #[serde(borrow)]
        vout: Vec<Output<'a>>,
    }
    #[derive(Deserialize)]
    struct Output<'a> {
        #[serde(borrow, rename = "scriptPubKey")]
        script: &'a RawValue,
    }
    // how the node spells a script it says for outputs of transactions: so here is one that has them
    let call = format!(r#"["{}",false]"#, to_hex(&carrier(coins)));
    let carried = node.call(METHOD, call)?;
    let Outputs { vout } = read(METHOD, &carried)?;
    let Inputs { vin } =
        serde_json::from_str(transaction).map_err(|error| unexpected(METHOD, error))?;
    let inputs: Vec<&RawValue> = read(METHOD, vin)?;
    if inputs.len() != coins.len() || vout.len() != coins.len() {
        return Err(unexpected(METHOD, "another number of inputs or outputs"));
    }
    let inputs = inputs.iter().zip(coins).zip(&vout).map(|((input, coin), output)| {
        let Coin { height, coinbase, amount, .. } = coin;
        let value = amount_text(*amount);
        let script = output.script.get();
        let spent = format!(
            r#"{{"generated":{coinbase},"height":{height},"value":{value},"scriptPubKey":{script}}}"#
        );
        extended(METHOD, input.get(), &[("prevout", spent)])
    });
    let inputs = inputs.collect::<Result<Vec<String>, NodeError>>()?;
    let (before, after) =
        transaction.split_once(vin.get()).ok_or_else(|| unexpected(METHOD, "no inputs"))?;
    Ok(format!("{before}[{}]{after}", inputs.join(",")))
}

/// A transaction whose outputs are these.
fn carrier(coins: &[Coin]) -> Vec<u8> {
    let mut out = vec![2, 0, 0, 0];
    // an input of nothing
    out.push(1);
    out.extend([0; 36]);
    out.push(0);
    out.extend([0xff; 4]);
    write_compact(coins.len() as u64, &mut out);
    for coin in coins {
        out.extend(coin.amount.to_le_bytes());
        write_compact(coin.script.len() as u64, &mut out);
        out.extend(&coin.script);
    }
    out.extend([0; 4]);
    out
}

/// What a block says of its coinbase.
fn coinbase(bytes: &[u8]) -> Result<String, Fault> {
    let mut reader = Reader::new(bytes);
    let version = u32::from_le_bytes(reader.array("transaction version")?);
    let with_witnesses = reader.peek() == Some(0);
    if with_witnesses {
        reader.take(2, "witness marker")?;
    }
    reader.count(41, "inputs")?;
    reader.take(36, "previous output")?;
    let script = to_hex(reader.counted("input script")?);
    let sequence = u32::from_le_bytes(reader.array("sequence")?);
    for _ in 0..reader.count(9, "outputs")? {
        reader.take(8, "amount")?;
        reader.counted("output script")?;
    }
    let witness = match with_witnesses && reader.count(1, "witness items")? > 0 {
        true => format!(",\"witness\":\"{}\"", to_hex(reader.counted("witness item")?)),
        false => String::new(),
    };
    // the last four bytes, whatever else a witness has
    let lock_time = bytes.last_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    Ok(format!(
        r#"{{"version":{version},"locktime":{lock_time},"sequence":{sequence},"coinbase":"{script}"{witness}}}"#
    ))
}

/// What a node gave, an object, with more members.
fn extended(method: &str, object: &str, members: &[(&str, String)]) -> Result<String, NodeError> {
    let open = object.strip_suffix('}').filter(|open| open.starts_with('{'));
    let open = open.ok_or_else(|| unexpected(method, "no object"))?;
    let mut out = String::from(open);
    for (name, value) in members {
        if !out.ends_with('{') {
            out.push(',');
        }
        out.push('"');
        out.push_str(name);
        out.push_str("\":");
        out.push_str(value);
    }
    out.push('}');
    Ok(out)
}

/// What was put together: JSON, unless the node's part was made to look like something else.
fn raw(method: &str, json: String) -> Result<Box<RawValue>, NodeError> {
    RawValue::from_string(json).map_err(|error| unexpected(method, error))
}

fn quoted(bytes: &[u8]) -> Box<RawValue> {
    let mut out = String::from("\"");
    push_hex(bytes, &mut out);
    out.push('"');
    RawValue::from_string(out).expect("a string of hex digits")
}
