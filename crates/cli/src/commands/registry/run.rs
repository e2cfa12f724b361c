//! `prunedb registry run`: a validator as a process of its own, and `prunedb registry key`, which makes its key.
//!
//! ```text
//! DIR/registry/   copies of genesis and settings.json, the key, blocks, votes, state
//! DIR/            a reader of the lake: what the validator signs it has read back from the holders itself
//! ```

use crate::{
    args::LakeAccess,
    commands::{init::make_dir, join::Found, up::stop_signal},
    io::{Exit, Io},
    registry::{RegistryFolder, Seat, of_peer},
    session::{self, start_nodes},
};
use anyhow::{Context, ensure};
use clap::Args;
use prunedb_duties::{Attester, LakeReader};
use prunedb_engine::Db;
use prunedb_registry::State;
use prunedb_validator::{Client, Copies};
use serde_json::json;
use std::{net::SocketAddr, path::Path, sync::Arc};
use tokio::runtime::Runtime;

/// Where a validator listens, and how it reads the lake.
#[derive(Args, Debug, Clone)]
pub(crate) struct Run {
    /// Where nodes, writers and commands ask it [default: as settings.json has it]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Where the other validators reach it [default: as settings.json has it]
    #[arg(long, value_name = "ADDRESS:PORT")]
    votes: Option<SocketAddr>,
    #[command(flatten)]
    lake: LakeAccess,
}

pub(super) fn key(dir: &Path, io: &mut Io) -> anyhow::Result<Exit> {
    let folder = RegistryFolder::of(dir);
    make_dir(&folder.validator(0))?;
    let key = folder.validator_key(0)?.public();
    if io.json {
        io.json(&json!({ "key": key.to_string() }))?;
    } else {
        io.line(format_args!("{key}"))?;
    }
    Ok(Exit::Done)
}

pub(super) fn run(
    args: &Run,
    dir: &Path,
    flags: &[String],
    runtime: &Runtime,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    let folder = RegistryFolder::of(dir);
    let (genesis, settings) = (folder.genesis()?, folder.settings()?);
    let key = folder.validator_key(0)?.public();
    let me = settings.peers.iter().find(|peer| peer.key == key).with_context(|| {
        format!(
            "key {key} of this folder is not in registry/settings.json: `prunedb registry init --validator KEY,VOTES,DOOR` names those that \
             the registry is founded with, `prunedb registry peer KEY,VOTES,DOOR` one that comes later"
        )
    })?;
    let _lock = session::lock(dir)?;
    let lake = lake_reader(args, dir, flags, runtime, io)?;
    let registry = *State::new(&genesis)?.registry();
    let votes = args.votes.unwrap_or(me.votes);
    let orderer = of_peer(&folder, &settings, &genesis, votes, runtime)?;
    let copies: Arc<dyn Copies> = Arc::<LakeReader>::clone(&lake);
    let listen = args.listen.unwrap_or(me.door);
    let seat = Seat::start((&folder, 0), genesis, orderer, copies, listen, runtime)?;
    // its own door first: the others' where it does not answer
    let doors = settings.peers.iter().filter(|peer| peer.key != key).map(|peer| peer.door);
    let client = Client::new([seat.address()].into_iter().chain(doors).map(|d| d.to_string()));
    let secret = folder.secret(&folder.validator(0).join("validator.key"))?;
    let attesting = Attester::new(client, secret, lake, runtime.handle().clone()).run();
    // before anybody is told that it is ready
    let stopped = {
        let _inside = runtime.enter();
        stop_signal()?
    };
    if io.json {
        io.json(&json!({
            "dir": dir,
            "registry": registry.to_string(),
            "key": key.to_string(),
            "door": seat.address().to_string(),
            "votes": votes.to_string(),
            "height": seat.height(),
        }))?;
    } else {
        io.line(format_args!(
            "validator {key} of registry {registry}: answers at {}, votes at {votes}, height {}",
            seat.address(),
            seat.height()
        ))?;
        io.line(format_args!("ready; Ctrl-C stops"))?;
    }
    io.sink.finish()?;
    runtime.block_on(stopped);
    io.note("stopping");
    attesting.end_soon();
    drop(attesting);
    seat.stop(runtime);
    Ok(Exit::Done)
}

/// A reader of the lake in the validator's folder. It is opened later: before the registry runs the lake has nothing to read.
fn lake_reader(
    args: &Run,
    dir: &Path,
    flags: &[String],
    runtime: &Runtime,
    io: &Io,
) -> anyhow::Result<Arc<LakeReader>> {
    let found = Found::new(&args.lake, dir, flags, io)?;
    ensure!(
        found.config.reader || !found.configured,
        "{} is a writer's: a validator needs a folder of its own (--dir)",
        dir.display()
    );
    let found = if found.configured { found } else { found.into_reader(dir)? };
    let credentials = session::credentials(&found.secret, &found.config)?;
    let (_, connect) = start_nodes(dir, &found.config, credentials, false, runtime.handle())?;
    let (dir, handle) = (dir.to_owned(), runtime.handle().clone());
    let open = move || -> anyhow::Result<Db> {
        let (options, seeds) = (found.config.options(), found.config.nodes.addresses());
        let (secret, connect) = (found.secret.clone(), Arc::clone(&connect));
        let (disk, handle) = (session::disk(), handle.clone());
        let db = Db::open_reader(disk, options, secret, &seeds, connect, handle, &mut |_| {})?;
        found.keep(&dir, &db.status()?)?;
        Ok(db)
    };
    Ok(Arc::new(LakeReader::new(move || open().map_err(|e| crate::text::error_line(&e)))))
}
