//! What a validator has beside its seat: an archive of its own, and a storage node whose shards are made from it.

use crate::{
    commands::up::serve_command,
    config::Config,
    control::Server,
    secret,
    session::{self, Session, layers},
};
use anyhow::{Context, ensure};
use prunedb_core::LakeId;
use prunedb_duties::{Archive, Holder, MakeShard, OwnShards, Reserved, Task};
use prunedb_engine::{Db, LakeSecret};
use prunedb_node::{NodeConfig, NodeServer};
use prunedb_registry::Secret;
use prunedb_validator::Client;
use std::{net::SocketAddr, path::Path, sync::Arc};
use tokio::runtime::Runtime;

/// A database in this process, open to other commands as that of `prunedb up` is. Stop it with [`OwnArchive::stop`].
pub(crate) struct OwnArchive {
    session: Arc<Session>,
    server: Server,
}

impl OwnArchive {
    /// Opens the database of a folder as an archive beside the validators of a lake.
    pub(crate) fn open(dir: &Path, lake: LakeId, runtime: &Runtime) -> anyhow::Result<Self> {
        let config = Config::new(&layers(dir, &[])?, dir)?;
        ensure!(
            config.lake != Some(lake),
            "{} is of lake {lake} itself: an archive has a lake of its own, `prunedb init --dir ARCHIVE` makes one, and the chain is \
             imported there once more",
            dir.display()
        );
        let session = Arc::new(Session::open(dir, config, runtime.handle(), true)?);
        let of_server = Arc::clone(&session);
        let server =
            Server::start(dir, Box::new(move |args, io| serve_command(args, &of_server, io)))?;
        Ok(Self { session, server })
    }

    pub(crate) fn records(&self) -> Db {
        self.session.db.clone()
    }

    /// Ends the commands that run, and closes the database.
    pub(crate) fn stop(self) -> anyhow::Result<()> {
        self.server.stop();
        Arc::into_inner(self.session).context("every command has ended")?.close()
    }
}

/// How the node runs.
pub(crate) struct OwnNodeConfig {
    pub(crate) config: NodeConfig,
    /// speaks TLS with its own key
    pub(crate) tls: bool,
}

/// A storage node in this process. Stop it with [`OwnNode::stop`].
pub(crate) struct OwnNode {
    server: NodeServer,
    holding: Task,
}

impl OwnNode {
    /// Starts the node, and has it make its shards from the archive.
    pub(crate) fn start(
        wanted: OwnNodeConfig,
        archive: &Arc<Archive>,
        lake: &LakeSecret,
        client: Client,
        runtime: &Runtime,
    ) -> anyhow::Result<Self> {
        let OwnNodeConfig { mut config, tls } = wanted;
        let dir = config.dir.clone();
        crate::commands::init::make_dir(&dir)?;
        let key_file = dir.join(crate::commands::node::KEY_FILE);
        let seed = secret::key_seed(&key_file)?;
        if tls {
            config.tls = Some(Arc::new(secret::key(&key_file)?));
        }
        let reserved = Arc::new(Reserved::new(lake.lake_id()));
        config.reserve = Some(Arc::<Reserved>::clone(&reserved));
        let server = runtime
            .block_on(NodeServer::start(config, session::disk()))
            .with_context(|| format!("storage node {}", dir.display()))?;
        let node = server.node().clone();
        let own: Arc<dyn MakeShard> =
            Arc::new(OwnShards { archive: Arc::clone(archive), node: node.clone(), reserved });
        let key = Secret::from_seed(&seed);
        let holder = Holder::new(client, key, Arc::new(node), Some(own), runtime.handle().clone());
        Ok(Self { server, holding: holder.run() })
    }

    /// Its address, as others write it.
    pub(crate) fn address(&self) -> String {
        crate::commands::node::address(&self.server)
    }

    pub(crate) fn metrics(&self) -> Option<SocketAddr> {
        self.server.metrics_addr()
    }

    /// Ends its duties, then the node.
    pub(crate) fn stop(self, runtime: &Runtime) {
        drop(self.holding);
        runtime.block_on(self.server.shutdown());
    }
}
