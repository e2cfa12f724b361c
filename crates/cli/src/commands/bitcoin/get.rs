//! `prunedb get bitcoin`: blocks, undo data and transactions, verified when they are read.

use super::{explained, network};
use crate::{
    archive::DbArchive,
    args::{GetBitcoin, GetBitcoinBlock, GetBitcoinTx},
    io::{Exit, Io},
    session::Session,
    text::hex_digits,
};
use prunedb_chains::bitcoin::{BlockId, History, Network};
use serde_json::json;
use std::sync::Arc;

pub(in super::super) fn run(
    args: &GetBitcoin,
    session: &Session,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    let archive = DbArchive::new(session.db.clone(), Arc::clone(&io.cancelled));
    let asked = match args {
        GetBitcoin::Block(get) | GetBitcoin::Undo(get) => get.how.network,
        GetBitcoin::Tx(get) => get.how.network,
    };
    let network = network(&session.db, asked)?;
    let history = History::new(&archive, network);
    match args {
        GetBitcoin::Block(get) => block(get, &history, network, io),
        GetBitcoin::Undo(get) => undo(get, &history, network, io),
        GetBitcoin::Tx(get) => transaction(get, &history, network, io),
    }
}

fn block(
    get: &GetBitcoinBlock,
    history: &History<'_, DbArchive>,
    network: Network,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    let Some(block) = history.block(get.block).map_err(explained)? else {
        return absent(&describe(get.block), network, io);
    };
    let walked = history.walked(&block).map_err(explained)?;
    if get.how.raw {
        io.data(&block.bytes)?;
        return Ok(Exit::Done);
    }
    let header = walked.header;
    let ids: Vec<String> = walked.transactions.iter().map(|t| t.txid.to_string()).collect();
    io.json(&json!({
        "hash": header.hash.to_string(),
        "height": block.height,
        "version": header.version,
        "previousblockhash": header.parent.to_string(),
        "merkleroot": header.merkle_root.to_string(),
        "time": header.time,
        "bits": format!("{:08x}", header.bits),
        "nonce": header.nonce,
        "size": block.bytes.len(),
        "nTx": ids.len(),
        "tx": ids,
    }))?;
    Ok(Exit::Done)
}

fn undo(
    get: &GetBitcoinBlock,
    history: &History<'_, DbArchive>,
    network: Network,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    let Some(block) = history.block(get.block).map_err(explained)? else {
        return absent(&describe(get.block), network, io);
    };
    let Some(undo) = history.undo(&block).map_err(explained)? else {
        return absent(&format!("undo data of {}", describe(get.block)), network, io);
    };
    if get.how.raw {
        io.data(&undo)?;
    } else {
        let (hash, hex) = (block.header.hash.to_string(), hex_digits(&undo));
        io.json(&json!({ "hash": hash, "height": block.height, "hex": hex }))?;
    }
    Ok(Exit::Done)
}

fn transaction(
    get: &GetBitcoinTx,
    history: &History<'_, DbArchive>,
    network: Network,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    let Some(stored) = history.transaction(get.txid).map_err(explained)? else {
        return absent(&format!("transaction {}", get.txid), network, io);
    };
    if get.how.raw {
        io.data(&stored.bytes)?;
    } else {
        io.json(&json!({
            "txid": get.txid.to_string(),
            "blockhash": stored.block.to_string(),
            "height": stored.place.height,
            "index": stored.place.index,
            "size": stored.bytes.len(),
            "hex": hex_digits(&stored.bytes),
        }))?;
    }
    Ok(Exit::Done)
}

fn describe(id: BlockId) -> String {
    match id {
        BlockId::Height(height) => format!("block {height}"),
        BlockId::Hash(hash) => format!("block {hash}"),
    }
}

fn absent(what: &str, network: Network, io: &mut Io) -> anyhow::Result<Exit> {
    io.note(format!("{network}: {what} is not stored"));
    Ok(Exit::No)
}
