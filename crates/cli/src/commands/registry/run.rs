//! `prunedb registry run`: a validator as a process of its own, and `prunedb registry key`, which makes its key.
//!
//! ```text
//! DIR/registry/   copies of genesis and settings.json, the key, blocks, votes, state
//! DIR/            a reader of the lake: closed batches are read back from the holders; without an archive, those to be signed, too
//! DIR/node/       a storage node, with --node
//! ARCHIVE/        a database of its own, with --archive: what is signed is cut from it, and the node's shards are made from it
//! ```

use crate::{
    args::LakeAccess,
    commands::{init::make_dir, join::Found, up::stop_signal},
    io::{Exit, Io},
    registry::{OwnArchive, OwnNode, OwnNodeConfig, Peer, RegistryFolder, Seat, of_peer},
    session::{self, start_nodes},
};
use anyhow::{Context, ensure};
use clap::Args;
use prunedb_access::Owner;
use prunedb_core::units::ByteSize;
use prunedb_duties::{Archive, Attester, LakeReader};
use prunedb_engine::{Db, LakeSecret};
use prunedb_node::NodeConfig;
use prunedb_registry::State;
use prunedb_validator::{Client, Copies};
use serde_json::json;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};
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
    /// A database of its own into which the same history was imported in the same order: what is signed is cut from it and coded
    /// anew, and nothing is read from the lake for that. `import` and `follow` go to it, with --dir ARCHIVE, while this runs
    #[arg(long, value_name = "ARCHIVE")]
    archive: Option<PathBuf>,
    #[command(flatten)]
    holding: Holding,
}

/// The storage node of a validator that archives.
#[derive(Args, Debug, Clone)]
pub(crate) struct Holding {
    /// Run a storage node here, too, in DIR/node: where it is elected its shards are made from the archive, and nobody sends them
    #[arg(long, value_name = "ADDRESS:PORT", requires = "archive", requires = "capacity")]
    node: Option<SocketAddr>,
    /// The node: bytes that it may take up, such as 4TB
    #[arg(long, value_name = "SIZE", requires = "node")]
    capacity: Option<ByteSize>,
    /// The node: speak TLS with its own key, DIR/node/node.key
    #[arg(long, requires = "node")]
    tls: bool,
    /// The node: close it to everybody but this lake's owner, as `prunedb access owner` shows it; may be repeated
    #[arg(long, value_name = "LAKE:KEY", requires = "tls")]
    owner: Vec<Owner>,
    /// The node: an address for /metrics (Prometheus) and /healthz
    #[arg(long, value_name = "ADDRESS:PORT", requires = "node")]
    metrics: Option<SocketAddr>,
}

impl Holding {
    /// What the flags ask for.
    fn config(&self, dir: &Path) -> Option<OwnNodeConfig> {
        let (listen, ByteSize(capacity_bytes)) = (self.node?, self.capacity?);
        let mut config = NodeConfig::new(listen, dir.join("node"), capacity_bytes);
        config.owners.clone_from(&self.owner);
        config.metrics = self.metrics;
        config.scrub = true;
        Some(OwnNodeConfig { config, tls: self.tls })
    }
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
    io.note(format!(
        "its secret half is {}: who has it signs as this validator",
        folder.validator(0).join("validator.key").display()
    ));
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
            "key {key} of {} is not in registry/settings.json: `prunedb registry init --validator KEY,VOTES,DOOR` names those that \
             the registry is founded with, `prunedb registry peer KEY,VOTES,DOOR` one that comes later",
            folder.validator(0).display()
        )
    })?;
    ensure!(
        settings.peers.iter().any(|peer| genesis.validators.contains(&peer.key)),
        "{} and settings.json beside it are of different registries (other validators): copy both from one founder's folder",
        folder.file("genesis").display()
    );
    let _lock = session::lock(dir)?;
    let (lake, secret) = lake_reader(args, dir, flags, runtime, io)?;
    ensure!(
        secret.lake_id() == genesis.lake,
        "this registry is of lake {}, the lake secret opens lake {}: put the genesis and settings.json of one registry, and that \
         lake's secret, into {}",
        genesis.lake,
        secret.lake_id(),
        dir.display()
    );
    let own = args.archive.as_ref();
    let own =
        own.map(|path| OwnArchive::open(&io.path(path), genesis.lake, runtime)).transpose()?;
    let archive = own.as_ref().map(|own| Arc::new(Archive::new(own.records(), secret.clone())));
    let registry = *State::new(&genesis)?.registry();
    let votes = args.votes.unwrap_or(me.votes);
    let orderer = of_peer(&folder, &settings, &genesis, votes, runtime)?;
    let copies: Arc<dyn Copies> = match &archive {
        Some(archive) => Arc::<Archive>::clone(archive),
        None => Arc::<LakeReader>::clone(&lake),
    };
    let listen = args.listen.unwrap_or(me.door);
    let seat = Seat::start((&folder, 0), genesis, orderer, copies, listen, runtime)?;
    // its own door first: the others' where it does not answer
    let doors = settings.peers.iter().filter(|peer| peer.key != key).map(Peer::address);
    let client = Client::new([seat.address()].into_iter().chain(doors).map(|d| d.to_string()));
    let holding = args
        .holding
        .config(dir)
        .zip(archive.as_ref())
        .map(|(node, archive)| OwnNode::start(node, archive, &secret, client.clone(), runtime));
    let holding = holding.transpose()?;
    let signer = folder.secret(&folder.validator(0).join("validator.key"))?;
    let attesting = Attester::new(client, signer, lake, runtime.handle().clone()).run();
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
            "archive": args.archive,
            "node": holding.as_ref().map(OwnNode::address),
            "metrics": holding.as_ref().and_then(OwnNode::metrics).map(|at| at.to_string()),
        }))?;
    } else {
        io.line(format_args!(
            "validator {key} of registry {registry}: answers at {}, votes at {votes}, height {}",
            seat.address(),
            seat.height()
        ))?;
        if let Some(archive) = &args.archive {
            io.line(format_args!("signs what it cuts from its archive {}", archive.display()))?;
        }
        if let Some(holding) = &holding {
            let metrics = holding.metrics().map(|at| format!(", metrics at {at}"));
            io.line(format_args!(
                "node on {}, makes its own shards{}",
                holding.address(),
                metrics.unwrap_or_default()
            ))?;
        }
        io.line(format_args!("ready; Ctrl-C stops"))?;
    }
    io.sink.finish()?;
    runtime.block_on(stopped);
    io.note("stopping");
    attesting.end_soon();
    drop(attesting);
    if let Some(holding) = holding {
        holding.stop(runtime);
    }
    seat.stop(runtime);
    drop(archive);
    own.map(OwnArchive::stop).transpose()?;
    Ok(Exit::Done)
}

/// A reader of the lake in the validator's folder, and the lake's secret. It is opened later: before the registry runs the lake has nothing to read.
fn lake_reader(
    args: &Run,
    dir: &Path,
    flags: &[String],
    runtime: &Runtime,
    io: &Io,
) -> anyhow::Result<(Arc<LakeReader>, LakeSecret)> {
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
    let lake = found.secret.clone();
    let open = move || -> anyhow::Result<Db> {
        let (options, seeds) = (found.config.options(), found.config.nodes.addresses());
        let (secret, connect) = (found.secret.clone(), Arc::clone(&connect));
        let (disk, handle) = (session::disk(), handle.clone());
        let db = Db::open_reader(disk, options, secret, &seeds, connect, handle, &mut |_| {})?;
        found.keep(&dir, &db.status()?)?;
        Ok(db)
    };
    let reader = LakeReader::new(move || open().map_err(|e| crate::text::error_line(&e)));
    Ok((Arc::new(reader), lake))
}
