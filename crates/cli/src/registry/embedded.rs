//! The registry in the process of `prunedb up`: its validators, the local nodes as holders, the database as writer.

use super::{RegistryFolder, seat::Seat};
use crate::session::{Session, connect_of};
use anyhow::{Context, ensure};
use prunedb_duties::{
    Holder, Joining, OwnRecords, Task, Writer, WriterConfig, domain_number, found,
};
use prunedb_engine::NodeDomains;
use prunedb_validator::{Client, Copies};
use std::{net::SocketAddr, sync::Arc};
use tokio::runtime::Runtime;

/// What runs. Stop it with [`Embedded::stop`].
pub(crate) struct Embedded {
    /// holders, and the writer: they end first
    tasks: Vec<Task>,
    seats: Vec<Seat>,
    folder: RegistryFolder,
    addresses: Vec<String>,
}

impl Embedded {
    /// Starts the validators of the folder, unless they have processes of their own, and has the session's nodes and database do
    /// their duties.
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
        let orderers = super::orderers::start(&folder, &settings, &genesis)?;
        let copies: Arc<dyn Copies> = Arc::new(OwnRecords(session.db.clone()));
        let mut seats = Vec::new();
        for (number, orderer) in (0..settings.validators).zip(orderers) {
            // the first one at the port that was asked for, the others at free ones
            let port = if number == 0 { listen.port() } else { 0 };
            let listen = SocketAddr::new(listen.ip(), port);
            let copies = Arc::clone(&copies);
            let seat =
                Seat::start((&folder, number), genesis.clone(), orderer, copies, listen, runtime)?;
            seats.push(seat);
        }
        let addresses: Vec<String> = if settings.peers.is_empty() {
            seats.iter().map(|seat| seat.address().to_string()).collect()
        } else {
            settings.peers.iter().map(|peer| peer.address().to_string()).collect()
        };
        if !seats.is_empty() {
            folder.write_doors(addresses.clone())?;
        }
        let mut this = Self { tasks: Vec::new(), seats, folder, addresses };
        this.start_holders(session, runtime)?;
        this.start_writer(session, runtime)?;
        Ok(this)
    }

    /// Where the validators answer, here or elsewhere.
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
        let validators = 0..u8::try_from(self.seats.len()).expect("at most 16");
        let attesters: anyhow::Result<_> =
            validators.map(|n| self.folder.secret(&key_of(n))).collect();
        let (lease, authority) = if self.seats.is_empty() {
            (self.folder.writer()?, Some(self.folder.authority()?))
        } else {
            (self.folder.secret(&key_of(0))?, None)
        };
        let folder = self.folder.clone();
        let writer = Writer::new(WriterConfig {
            client: self.client(),
            lease,
            authority,
            attesters: attesters?,
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
        for seat in self.seats {
            seat.stop(runtime);
        }
        if let Err(error) = std::fs::remove_file(self.folder.file("doors.json")) {
            tracing::debug!(%error, "the list of doors stays");
        }
    }
}
