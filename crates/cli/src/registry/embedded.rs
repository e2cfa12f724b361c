//! The registry in the process of `prunedb up`: its validators, the local nodes as holders, the database as writer.

use super::RegistryFolder;
use crate::session::{Session, connect_of};
use anyhow::{Context, ensure};
use prunedb_duties::{
    Holder, Joining, OwnRecords, Task, Writer, WriterConfig, domain_number, found,
};
use prunedb_engine::NodeDomains;
use prunedb_registry::State;
use prunedb_validator::{Client, Copies, Door, Validator, ValidatorConfig};
use std::{net::SocketAddr, sync::Arc};
use tokio::runtime::Runtime;

/// Heights from snapshot to snapshot.
const SNAPSHOT_HEIGHTS: u64 = 1_000;

/// What runs. Stop it with [`Embedded::stop`].
pub(crate) struct Embedded {
    /// holders, and the writer: they end first
    tasks: Vec<Task>,
    validators: Vec<(Validator, Door)>,
    folder: RegistryFolder,
    addresses: Vec<String>,
}

impl Embedded {
    /// Starts the validators of the folder, and has the session's nodes and database do their duties.
    pub(crate) fn start(
        folder: RegistryFolder,
        listen: SocketAddr,
        session: &Session,
        runtime: &Runtime,
    ) -> anyhow::Result<Self> {
        let (genesis, settings) = (folder.genesis()?, folder.settings()?);
        ensure!(
            genesis.lake == session.db.lake(),
            "the registry in {} is of lake {}, the database of lake {}",
            session.dir.display(),
            genesis.lake,
            session.db.lake()
        );
        let registry = *State::new(&genesis)?.registry();
        let orderers = super::orderers::start(&folder, &settings, &registry)?;
        let copies: Arc<dyn Copies> = Arc::new(OwnRecords(session.db.clone()));
        let (mut validators, mut addresses) = (Vec::new(), Vec::new());
        for (number, orderer) in (0..settings.validators).zip(orderers) {
            let config = ValidatorConfig {
                dir: folder.validator(number).join("state"),
                genesis: genesis.clone(),
                snapshot_heights: SNAPSHOT_HEIGHTS,
            };
            let key = folder.validator_key(number)?;
            let (copies, disk) = (Arc::clone(&copies), crate::session::disk());
            let validator =
                Validator::start(&config, key, orderer, copies, disk, runtime.handle())?;
            runtime.block_on(validator.caught_up());
            // the first one at the port that was asked for, the others at free ones
            let port = if number == 0 { listen.port() } else { 0 };
            let listen = SocketAddr::new(listen.ip(), port);
            let door = runtime
                .block_on(Door::open(listen, &validator))
                .with_context(|| format!("the registry cannot listen on {listen}"))?;
            addresses.push(door.local_addr().to_string());
            validators.push((validator, door));
        }
        folder.write_doors(addresses.clone())?;
        let mut this = Self { tasks: Vec::new(), validators, folder, addresses };
        this.start_holders(session, runtime)?;
        this.start_writer(session, runtime)?;
        Ok(this)
    }

    /// Where the validators answer.
    pub(crate) fn addresses(&self) -> &[String] {
        &self.addresses
    }

    fn client(&self) -> Client {
        Client::new(self.addresses.iter().cloned())
    }

    /// The local nodes join, once, and do their duties.
    fn start_holders(&mut self, session: &Session, runtime: &Runtime) -> anyhow::Result<()> {
        let Some(nodes) = &session.nodes else { return Ok(()) };
        let client = self.client();
        let capacity = session.config.local_capacity_bytes >> 30;
        let mut joining = Vec::new();
        for (address, node) in nodes.running() {
            let path = self.folder.file("nodes").join(format!("{}.key", address.replace(':', "-")));
            let secret = || self.folder.secret(&path);
            let domains = session.config.node_domains.get(&address).cloned().unwrap_or_default();
            let NodeDomains { operator, network, place } = domains;
            joining.push(Joining {
                secret: secret()?,
                address,
                domains: [&operator, &network, &place].map(|name| domain_number(name)),
                capacity_gib: u32::try_from(capacity).unwrap_or(u32::MAX),
            });
            let holder = Holder::new(
                self.client(),
                secret()?,
                Arc::new(node),
                None,
                runtime.handle().clone(),
            );
            self.tasks.push(holder.run());
        }
        let registry = runtime.block_on(client.status())?.registry;
        let authority = self.folder.authority()?;
        let policy = session.config.policy;
        let founding = found(&client, &registry, &authority, policy, &joining);
        runtime.block_on(founding).context("the local nodes cannot join the registry")?;
        Ok(())
    }

    fn start_writer(&mut self, session: &Session, runtime: &Runtime) -> anyhow::Result<()> {
        if session.config.reader {
            return Ok(());
        }
        let key_of = |number| self.folder.validator(number).join("validator.key");
        let key = key_of(0);
        let attesters: anyhow::Result<_> = (0..self.folder.settings()?.validators)
            .map(|n| self.folder.secret(&key_of(n)))
            .collect();
        let attesters = attesters?;
        let folder = self.folder.clone();
        let writer = Writer::new(WriterConfig {
            client: self.client(),
            lease: self.folder.secret(&key)?,
            attesters,
            db: session.db.clone(),
            connect: connect_of(session),
            on_governance: Box::new(move |governance| {
                if let Err(error) = folder.write_governance(governance) {
                    tracing::warn!(%error, "what may leave this machine is not written down");
                }
            }),
            runtime: runtime.handle().clone(),
        });
        self.tasks.push(writer.run());
        Ok(())
    }

    /// Ends the duties, then the validators.
    pub(crate) fn stop(self, runtime: &Runtime) {
        self.tasks.iter().for_each(Task::end_soon);
        drop(self.tasks);
        for (validator, door) in self.validators {
            runtime.block_on(door.close());
            drop(validator);
        }
        if let Err(error) = std::fs::remove_file(self.folder.file("doors.json")) {
            tracing::debug!(%error, "the list of doors stays");
        }
    }
}
