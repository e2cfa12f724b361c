//! `prunedb up` and `prunedb serve`: the database and its local nodes until Ctrl-C, the socket for other commands, and
//! the doors for others (`doors`).

use super::doors::{Doors, open};
use crate::{
    args::Args,
    commands,
    config::Config,
    control::Server,
    io::{ERROR_CODE, Exit, Io},
    registry::{Embedded, RegistryFolder},
    session::{Session, layers},
    text::count,
};
use anyhow::Context;
use clap::Parser;
use serde_json::json;
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
};
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};

pub(crate) fn run(
    doors: &Doors,
    dir: &Path,
    flags: &[String],
    runtime: &Runtime,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    let config = Config::new(&layers(dir, flags)?, dir)?;
    let session = Arc::new(Session::open(dir, config, runtime.handle(), true)?);
    let registry = RegistryFolder::find(dir).map(|folder| {
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Embedded::start(folder, doors.registry.unwrap_or(free), &session, runtime)
    });
    let registry = registry.transpose()?;
    let of_server = Arc::clone(&session);
    let server = Server::start(dir, Box::new(move |args, io| serve_command(args, &of_server, io)))?;
    let doors = open(doors, &session, runtime)?;
    // before anybody is told that it is ready
    let stopped = {
        let _inside = runtime.enter();
        stop_signal()?
    };
    let nodes = session.config.nodes.addresses();
    let ports: Vec<String> =
        session.nodes.iter().flat_map(|n| n.ports()).map(ToString::to_string).collect();
    if io.json {
        let mut ready = json!({
            "dir": dir,
            "lake": session.db.lake().to_string(),
            "policy": session.config.policy.to_string(),
            "reader": session.config.reader,
            "nodes": nodes,
            "local_ports": ports,
            "registry": registry.as_ref().map(Embedded::addresses),
        });
        for door in &doors {
            ready[door.name] = door.address.to_string().into();
        }
        io.json(&ready)?;
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
        if let Some(registry) = &registry {
            io.line(format_args!("registry at {}", registry.addresses().join(", ")))?;
        }
        for door in &doors {
            io.line(format_args!("{} at {}", door.guests, door.address))?;
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
    for door in doors {
        (door.close)(runtime);
    }
    server.stop();
    if let Some(registry) = registry {
        registry.stop(runtime);
    }
    let session = Arc::into_inner(session).context("every command has ended")?;
    session.close()?;
    Ok(Exit::Done)
}

/// One command of a client.
pub(crate) fn serve_command(args: &[String], session: &Session, io: &mut Io) -> u8 {
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
