//! Doors of `prunedb up` and `prunedb serve`: listeners for others than our own commands.

use super::{bitcoin, casper::serve::BinaryPort};
use crate::{args::Door, bitcoin_p2p::P2pServer, session::Session};
use prunedb_server::{Server as RespServer, ServerConfig};
use std::{net::SocketAddr, sync::Arc};
use tokio::runtime::Runtime;

/// Which doors to open.
#[derive(Debug, Default)]
pub(crate) struct Doors {
    /// For redis clients.
    pub(crate) resp: Option<SocketAddr>,
    /// For clients or peers of a chain's node.
    pub(crate) chain: Option<Door>,
    /// Where the folder's registry answers, where it has one.
    pub(crate) registry: Option<SocketAddr>,
}

/// A door that is open.
pub(super) struct OpenDoor {
    /// Its key in the report.
    pub(super) name: &'static str,
    /// Who comes through it.
    pub(super) guests: &'static str,
    pub(super) address: SocketAddr,
    /// Shows everybody out.
    pub(super) close: Box<dyn FnOnce(&Runtime)>,
}

/// Opens them.
pub(super) fn open(
    doors: &Doors,
    session: &Arc<Session>,
    runtime: &Runtime,
) -> anyhow::Result<Vec<OpenDoor>> {
    let resp = doors.resp.map(|listen| {
        let server = RespServer::start(ServerConfig::new(listen), session.db.clone());
        let server = runtime.block_on(server)?;
        anyhow::Ok(OpenDoor {
            name: "resp",
            guests: "redis clients",
            address: server.local_addr(),
            close: Box::new(|runtime| runtime.block_on(server.shutdown())),
        })
    });
    let chain = doors.chain.as_ref().map(|door| of_chain(door, session, runtime));
    resp.into_iter().chain(chain).collect()
}

fn of_chain(door: &Door, session: &Arc<Session>, runtime: &Runtime) -> anyhow::Result<OpenDoor> {
    match door {
        Door::BitcoinP2p(args) => {
            let network = bitcoin::network(&session.db, args.network)?;
            let server = P2pServer::start(args.listen, session.db.clone(), network)?;
            Ok(OpenDoor {
                name: "bitcoin_p2p",
                guests: "Bitcoin nodes",
                address: server.local_addr(),
                close: Box::new(|_| server.stop()),
            })
        }
        Door::BitcoinRpc(args) => {
            let server = bitcoin::rpc::start(args, session, runtime)?;
            Ok(OpenDoor {
                name: "bitcoin_rpc",
                guests: "Bitcoin's JSON-RPC clients",
                address: server.local_addr(),
                close: Box::new(|runtime| runtime.block_on(server.stop())),
            })
        }
        Door::Casper(args) => {
            let port = runtime.block_on(BinaryPort::start(args, session))?;
            Ok(OpenDoor {
                name: "casper",
                guests: "casper clients",
                address: port.address,
                close: Box::new(|runtime| runtime.block_on(port.stop())),
            })
        }
        Door::Era(args) => {
            let server = super::ethereum::era::start(args, session, runtime)?;
            Ok(OpenDoor {
                name: "era",
                guests: "era files",
                address: server.local_addr(),
                close: Box::new(|runtime| runtime.block_on(server.stop())),
            })
        }
        Door::EthereumRpc(args) => {
            let server = super::ethereum::rpc::start(args, session, runtime)?;
            Ok(OpenDoor {
                name: "ethereum_rpc",
                guests: "Ethereum's JSON-RPC clients",
                address: server.local_addr(),
                close: Box::new(|runtime| runtime.block_on(server.stop())),
            })
        }
    }
}
