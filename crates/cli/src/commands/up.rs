//! `prunedb up` and `prunedb serve`: the database and its local nodes until Ctrl-C, the socket for other commands, and
//! the doors for redis clients, for Bitcoin nodes and for clients of a Casper node.

use crate::{
    args::{Args, BitcoinP2p},
    bitcoin_p2p::P2pServer,
    commands::{
        self,
        bitcoin::network,
        casper::serve::{BinaryPort, ServeCasper},
    },
    config::Config,
    control::Server,
    io::{ERROR_CODE, Exit, Io},
    session::{Session, layers},
    text::count,
};
use anyhow::Context;
use clap::Parser;
use prunedb_server::{Server as RespServer, ServerConfig};
use serde_json::json;
use std::{net::SocketAddr, path::Path, sync::Arc};
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};

/// Who is served besides other commands.
#[derive(Debug, Default)]
pub(crate) struct Doors {
    pub(crate) resp: Option<SocketAddr>,
    pub(crate) bitcoin_p2p: Option<BitcoinP2p>,
    pub(crate) casper: Option<ServeCasper>,
}

pub(crate) fn run(
    doors: &Doors,
    dir: &Path,
    flags: &[String],
    runtime: &Runtime,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    let config = Config::new(&layers(dir, flags)?, dir)?;
    let session = Arc::new(Session::open(dir, config, runtime.handle(), true)?);
    let of_server = Arc::clone(&session);
    let server = Server::start(dir, Box::new(move |args, io| serve(args, &of_server, io)))?;
    let clients = doors.resp.map(|listen| {
        let started = RespServer::start(ServerConfig::new(listen), session.db.clone());
        runtime.block_on(started)
    });
    let clients = clients.transpose()?;
    let resp = clients.as_ref().map(|clients| clients.local_addr().to_string());
    let bitcoin = doors.bitcoin_p2p.as_ref().map(|door| {
        let network = network(&session.db, door.network)?;
        P2pServer::start(door.listen, session.db.clone(), network)
    });
    let bitcoin = bitcoin.transpose()?;
    let bitcoin_p2p = bitcoin.as_ref().map(|server| server.local_addr().to_string());
    let casper = doors.casper.as_ref();
    let casper =
        casper.map(|door| runtime.block_on(BinaryPort::start(door, &session))).transpose()?;
    // before anybody is told that it is ready
    let stopped = {
        let _inside = runtime.enter();
        stop_signal()?
    };
    let nodes = session.config.nodes.addresses();
    let ports: Vec<String> =
        session.nodes.iter().flat_map(|n| n.ports()).map(ToString::to_string).collect();
    if io.json {
        io.json(&json!({
            "dir": dir,
            "lake": session.db.lake().to_string(),
            "policy": session.config.policy.to_string(),
            "reader": session.config.reader,
            "nodes": nodes,
            "local_ports": ports,
            "resp": resp,
            "bitcoin_p2p": bitcoin_p2p,
            "casper": casper.as_ref().map(|port| port.address.to_string()),
        }))?;
    } else {
        let lake = session.db.lake();
        let role = if session.config.reader { "reader of lake" } else { "lake" };
        io.line(format_args!("{role} {lake} at {}, in {}", session.config.policy, dir.display()))?;
        match (ports.first(), ports.last()) {
            (Some(first), Some(last)) => io.line(format_args!(
                "{} in this process, on {first} ... {last}",
                count(ports.len() as u64, "node")
            ))?,
            _ => io.line(format_args!("{}", count(nodes.len() as u64, "node")))?,
        }
        if let Some(resp) = resp {
            io.line(format_args!("redis clients at {resp}"))?;
        }
        if let Some(address) = bitcoin_p2p {
            io.line(format_args!("Bitcoin nodes at {address}"))?;
        }
        if let Some(port) = &casper {
            io.line(format_args!("casper clients at {}", port.address))?;
        }
        io.line(format_args!("ready; Ctrl-C stops"))?;
    }
    io.sink.finish()?;
    runtime.block_on(stopped);
    io.note("stopping; Ctrl-C again does not wait for what still runs");
    runtime.spawn(async {
        if let Ok(again) = stop_signal() {
            again.await;
            // everything that was acknowledged is durable
            std::process::exit(i32::from(ERROR_CODE));
        }
    });
    if let Some(clients) = clients {
        runtime.block_on(clients.shutdown());
    }
    if let Some(bitcoin) = bitcoin {
        bitcoin.stop();
    }
    if let Some(casper) = casper {
        runtime.block_on(casper.stop());
    }
    server.stop();
    let session = Arc::into_inner(session).context("every command has ended")?;
    session.close()?;
    Ok(Exit::Done)
}

/// One command of a client.
fn serve(args: &[String], session: &Session, io: &mut Io) -> u8 {
    let ran = Args::try_parse_from(args).map_err(anyhow::Error::from).and_then(|args| {
        io.json = args.json;
        commands::run(&args.command, session, io)
    });
    match ran {
        Ok(exit) => exit.code(),
        Err(error) => {
            io.note(format!("error: {}", crate::text::error_line(&error)));
            ERROR_CODE
        }
    }
}

/// Ctrl-C or SIGTERM, from the call on: one that comes before the first wait counts, too.
///
/// # Errors
/// Where the system refuses.
///
/// # Panics
/// Outside of the runtime.
pub(crate) fn stop_signal() -> anyhow::Result<impl Future<Output = ()> + Send> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for signals")?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
