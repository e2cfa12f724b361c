//! A folder in use: configuration, secret, local nodes and database.
//!
//! ```text
//! D/prunedb.toml   configuration          D/data/       containers and caches
//! D/lake.secret    the secret, mode 0600  D/metadata/   manifest and index
//! D/control.sock   while `up` runs        D/nodes/NN/   local nodes
//! D/prunedb.lock   held by the process that has the folder
//! ```

use crate::{
    config::{Config, Layers, Nodes},
    registry::RegistryFolder,
    secret,
};
use anyhow::{Context, ensure};
use prunedb_access::{Credentials, Identity, Operations};
use prunedb_disk::{Disk, Lock, RealDisk};
use prunedb_engine::{Connect, Db, LakeSecret};
use prunedb_local::LocalNodes;
use std::{
    io::ErrorKind,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::runtime::Handle;

/// The configuration file's name in the folder.
pub(crate) const CONFIG_FILE: &str = "prunedb.toml";
const LOCK_FILE: &str = "prunedb.lock";

/// An open database.
pub(crate) struct Session {
    /// its folder
    pub(crate) dir: PathBuf,
    pub(crate) config: Config,
    pub(crate) db: Db,
    /// what is shown to nodes
    pub(crate) credentials: Credentials,
    /// `None` where the lake's nodes are elsewhere
    pub(crate) nodes: Option<LocalNodes>,
    /// a background thread offloads: the session is that of `up`
    pub(crate) serving: bool,
    /// where the network's tasks run
    pub(crate) runtime: Handle,
    _lock: Box<dyn Lock>,
}

/// The layers of configuration of the folder's database.
///
/// # Errors
/// Where there is none, or it is not readable.
pub(crate) fn layers(dir: &Path, flags: &[String]) -> anyhow::Result<Layers> {
    let path = dir.join(CONFIG_FILE);
    let text = match std::fs::read_to_string(&path) {
        Err(e) if e.kind() == ErrorKind::NotFound => anyhow::bail!(
            "{} holds no database: create one with `prunedb init`, or choose another folder with --dir",
            dir.display()
        ),
        read => read.with_context(|| format!("cannot read {}", path.display()))?,
    };
    let mut layers = Layers::from_file(&text).with_context(|| path.display().to_string())?;
    layers.overlay(environment(), flags)?;
    layers.check_fixed()?;
    Ok(layers)
}

/// The environment; what is not UTF-8 is none of ours.
pub(crate) fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
}

/// Reads the secret and checks that it is the lake's.
pub(crate) fn secret_of(config: &Config) -> anyhow::Result<LakeSecret> {
    let secret = secret::read(&config.secret_file)?;
    if let Some(expected) = config.lake {
        let found = secret.lake_id();
        ensure!(
            found == expected,
            "{} is the secret of another lake: it opens {found}, this database is of lake {expected}; put the right \
             secret back",
            config.secret_file.display()
        );
    }
    Ok(secret)
}

/// The disk that everything lies on.
pub(crate) fn disk() -> Arc<dyn Disk> {
    Arc::new(RealDisk)
}

/// What is shown to closed nodes: as the lake's owner, who writes, or only reads. The key is one for this run.
pub(crate) fn credentials(secret: &LakeSecret, config: &Config) -> anyhow::Result<Credentials> {
    let operations = if config.reader { Operations::READ } else { Operations::ALL };
    let identity = Identity::from_seed(secret::random()?);
    let owner = Identity::from_seed(secret.owner_seed());
    Ok(Credentials::owner(identity, secret.lake_id(), owner, operations))
}

/// Starts the local nodes that the configuration asks for, and says how to reach any node; with `scrub` the
/// local ones check what they hold.
pub(crate) fn start_nodes(
    dir: &Path,
    config: &Config,
    credentials: Credentials,
    scrub: bool,
    runtime: &Handle,
) -> anyhow::Result<(Option<LocalNodes>, Arc<Connect>)> {
    let nodes = match config.nodes {
        Nodes::Remote(_) => None,
        Nodes::Local(count) => {
            let capacity = config.local_capacity_bytes;
            Some(LocalNodes::start(dir, count, capacity, scrub, &disk(), runtime)?)
        }
    };
    let ports: Vec<SocketAddr> = nodes.as_ref().map_or_else(Vec::new, |n| n.ports().to_vec());
    let connect = move |address: &str| prunedb_local::connect(address, &ports, Some(&credentials));
    Ok((nodes, Arc::new(connect)))
}

/// Says how to reach any node of an open session's lake.
pub(crate) fn connect_of(session: &Session) -> Arc<Connect> {
    let ports: Vec<SocketAddr> =
        session.nodes.as_ref().map_or_else(Vec::new, |nodes| nodes.ports().to_vec());
    let credentials = session.credentials.clone();
    Arc::new(move |address: &str| prunedb_local::connect(address, &ports, Some(&credentials)))
}

impl Session {
    /// Opens the folder's database and starts its local nodes. With `serving`, a background thread seals by age and
    /// offloads, or follows the lake.
    pub(crate) fn open(
        dir: &Path,
        config: Config,
        runtime: &Handle,
        serving: bool,
    ) -> anyhow::Result<Self> {
        let secret = secret_of(&config)?;
        let lock = lock(dir)?;
        let credentials = credentials(&secret, &config)?;
        let (nodes, connect) = start_nodes(dir, &config, credentials.clone(), serving, runtime)?;
        let (options, runtime) = (config.options(), runtime.clone());
        let of_db = runtime.clone();
        let db = if config.reader {
            let seeds = config.nodes.addresses();
            Db::open_reader(disk(), options, secret, &seeds, connect, of_db, &mut |_| {})?
        } else {
            Db::open(disk(), options, secret, &*connect, of_db)?
        };
        if let Some(registry) = RegistryFolder::find(dir) {
            // before anything is offloaded or dropped
            db.govern(registry.governance()?);
        }
        let db = if serving { db.with_background() } else { db };
        let dir = dir.into();
        Ok(Self { dir, config, db, credentials, nodes, serving, runtime, _lock: lock })
    }

    /// The database, with a thread that offloads while this clone lives.
    pub(crate) fn offloading(&self) -> Db {
        if self.serving { self.db.clone() } else { self.db.clone().with_background() }
    }

    /// Makes everything durable and stops the nodes.
    pub(crate) fn close(self) -> anyhow::Result<()> {
        let closed = self.db.close();
        if let Some(mut nodes) = self.nodes {
            nodes.stop_all();
        }
        Ok(closed?)
    }
}

/// Takes the folder for this process: its database and its local nodes.
///
/// # Errors
/// Where another process has it.
pub(crate) fn lock(dir: &Path) -> anyhow::Result<Box<dyn Lock>> {
    let path = dir.join(LOCK_FILE);
    let lock = disk().lock(&path).with_context(|| format!("cannot lock {}", path.display()))?;
    lock.with_context(|| {
        format!(
            "{} is in use by another process (a `prunedb up`, or a command): wait until it ends, or stop it",
            dir.display()
        )
    })
}
