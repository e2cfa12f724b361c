//! `prunedb get ethereum`: blocks, receipts and transactions, verified when they are read.

use super::ethereum::{explained, network, stored_heights};
use crate::{
    archive::{DbArchive, known},
    args::{GetEthereum, GetHow},
    io::{Exit, Io},
    session::Session,
};
use prunedb_chains::ethereum::{BlockId, History, Network, Tables};
use std::sync::Arc;

pub(super) fn run(args: &GetEthereum, session: &Session, io: &mut Io) -> anyhow::Result<Exit> {
    let archive = DbArchive::new(session.db.clone(), Arc::clone(&io.cancelled));
    match args {
        GetEthereum::Block(get) => {
            let network = network(&session.db, get.how.network.as_ref())?;
            let history = History::new(&archive, &network);
            match history.block(get.block).map_err(explained)? {
                None => absent_block(get.block, &network, session, io),
                Some(block) => write(&get.how, block.rlp(), || block.json(true), io),
            }
        }
        GetEthereum::Receipts(get) => {
            let network = network(&session.db, get.how.network.as_ref())?;
            let history = History::new(&archive, &network);
            match history.receipts(get.block).map_err(explained)? {
                None if history.block(get.block).map_err(explained)?.is_some() => {
                    io.note(format!(
                        "{network}: block {} is stored without receipts: it comes from a plain RLP file; import its \
                         .era1 file to have them",
                        get.block
                    ));
                    Ok(Exit::No)
                }
                None => absent_block(get.block, &network, session, io),
                Some(receipts) => write(&get.how, receipts.rlp(), || receipts.json(), io),
            }
        }
        GetEthereum::Tx(get) => {
            let network = network(&session.db, get.how.network.as_ref())?;
            let history = History::new(&archive, &network);
            match history.transaction(get.hash).map_err(explained)? {
                None => absent(&format!("transaction {}", get.hash), &network, session, io),
                Some(transaction) => write(&get.how, transaction.rlp(), || transaction.json(), io),
            }
        }
    }
}

fn write<J: serde::Serialize, E: std::error::Error + Send + Sync + 'static>(
    how: &GetHow,
    raw: &[u8],
    json: impl FnOnce() -> Result<J, E>,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    if how.raw {
        io.data(raw)?;
    } else {
        io.json(&json()?)?;
    }
    Ok(Exit::Done)
}

fn absent_block(
    block: BlockId,
    network: &Network,
    session: &Session,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    let mut what = format!("block {block}");
    if let BlockId::Height(height) = block
        && let Some(table) = known(&session.db, &Tables::of(network).block)?
        && let Some((next, _)) = session.db.range(&table, height, 1)?.first()
    {
        what.push_str(&format!(" (the next one that is stored is {next})"));
    }
    absent(&what, network, session, io)
}

fn absent(what: &str, network: &Network, session: &Session, io: &mut Io) -> anyhow::Result<Exit> {
    let stored = stored_heights(&session.db, network)?;
    io.note(format!("{network}: {what} is not stored; {stored}"));
    Ok(Exit::No)
}
