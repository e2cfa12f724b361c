//! The whole loop over real nodes, sockets and disks: batches close, are proven, may be pruned; a node that is gone loses its
//! slots, and what was in them is rebuilt.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use prunedb_consensus::{Local, LocalConfig};
use prunedb_core::{Digest, LakeId, Policy, Term};
use prunedb_disk::{Disk, RealDisk};
use prunedb_duties::{
    Archive, Holder, Joining, OwnRecords, OwnShards, Reserved, Task, Writer, WriterConfig, found,
};
use prunedb_engine::{Db, Error, Governance, HeadName, LakeSecret, Options, TableKind};
use prunedb_node::{NodeConfig, NodeServer, Reserve};
use prunedb_registry::{Body, Genesis, Params, Secret};
use prunedb_store::{NodeOptions, NodeStore, ShardStore};
use prunedb_validator::{
    Client, Copies, Door, Placement, Status, Validator, ValidatorConfig, ValidatorKey,
};
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const AUTHORITY: u8 = 1;
const VALIDATOR: u8 = 2;
const NODES: u8 = 6;

fn secret(number: u8) -> Secret {
    Secret::from_seed(&[number; 32])
}

fn lake_secret() -> LakeSecret {
    LakeSecret::new([7; 32].into())
}

fn policy() -> Policy {
    "2+2".parse().unwrap()
}

fn disk() -> Arc<dyn Disk> {
    Arc::new(RealDisk)
}

fn connect(address: &str) -> Arc<dyn ShardStore> {
    Arc::new(NodeStore::new(address, NodeOptions::default()))
}

fn options(dir: &Path) -> Options {
    let mut options = Options::new(dir, policy());
    options.container_bytes = 1 << 20;
    options
}

/// Eight records of 200 kB: more than one container.
fn fill(db: &Db, from: u64) {
    let table = db.ensure_table("blocks", TableKind::Sequence).unwrap();
    for number in from..from + 8 {
        let mut value = vec![0; 200_000];
        let mut hasher = blake3::Hasher::new_derive_key("a block");
        hasher.update(&number.to_le_bytes()).finalize_xof().fill(&mut value);
        db.put(&table, &number.to_be_bytes(), &value).unwrap();
    }
}

struct World {
    dir: TempDir,
    runtime: Runtime,
    servers: Vec<Option<NodeServer>>,
    holders: Vec<Option<Task>>,
    addresses: Vec<String>,
    db: Db,
    validator: Option<(Validator, Door)>,
    client: Client,
}

impl World {
    /// `copies` of the validator; the writer's own records where it is none.
    fn new(copies: impl FnOnce(&Self) -> Arc<dyn Copies>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Runtime::new().unwrap();
        let servers: Vec<NodeServer> = (0..NODES)
            .map(|n| {
                let folder = dir.path().join(format!("node-{n}"));
                let config = NodeConfig::new(([127, 0, 0, 1], 0).into(), folder, 1 << 30);
                runtime.block_on(NodeServer::start(config, disk())).unwrap()
            })
            .collect();
        let addresses: Vec<String> = servers.iter().map(|s| s.local_addr().to_string()).collect();
        let options = options(&dir.path().join("db"));
        let lake = lake_secret().lake_id();
        Db::create(&disk(), &options, lake, addresses.clone()).unwrap();
        let handle = runtime.handle().clone();
        let db = Db::open(disk(), options, lake_secret(), &connect, handle).unwrap();
        let mut world = Self {
            dir,
            runtime,
            servers: servers.into_iter().map(Some).collect(),
            holders: Vec::new(),
            addresses,
            db,
            validator: None,
            client: Client::new([]),
        };
        let copies = copies(&world);
        world.start_validator(lake, copies);
        world
    }

    fn start_validator(&mut self, lake: LakeId, copies: Arc<dyn Copies>) {
        let params = Params {
            epoch_heights: 120,
            seed_heights: 6,
            proof_heights: 60,
            closing_heights: 20,
            samples: 8,
            misses_max: 1,
            ..Params::permissioned(secret(AUTHORITY).key())
        };
        let key = ValidatorKey::from_seed(&[VALIDATOR; 32]);
        let genesis = Genesis { lake, params, validators: vec![key.public()] };
        let dir = self.dir.path().join("registry");
        let interval = Duration::from_millis(20);
        let config = LocalConfig { dir: dir.join("journal"), interval };
        let orderer = Arc::new(Local::start(disk(), &config).unwrap());
        let config = ValidatorConfig { dir: dir.join("state"), genesis, snapshot_heights: 50 };
        let handle = self.runtime.handle();
        let validator = Validator::start(&config, key, orderer, copies, disk(), handle).unwrap();
        let opening = Door::open(([127, 0, 0, 1], 0).into(), &validator);
        let door = self.runtime.block_on(opening).unwrap();
        self.client = Client::new([door.address().to_string()]);
        self.validator = Some((validator, door));
        let joining: Vec<Joining> = (0..NODES)
            .map(|n| Joining {
                secret: secret(10 + n),
                address: self.addresses[usize::from(n)].clone(),
                domains: [0; 3],
                capacity_gib: 1,
            })
            .collect();
        let registry = self.status().registry;
        let authority = secret(AUTHORITY);
        let founded = found(&self.client, &registry, &authority, policy(), &joining);
        let founded = self.runtime.block_on(founded).unwrap();
        assert_eq!((founded.joined, founded.opened), (NODES.into(), NODES.into()));
    }

    /// The nodes do their duties.
    fn start_holders(&mut self) {
        for n in 0..NODES {
            let node = self.servers[usize::from(n)].as_ref().unwrap().node().clone();
            let handle = self.runtime.handle().clone();
            let client = self.client.clone();
            let holder = Holder::new(client, secret(10 + n), Arc::new(node), None, handle);
            self.holders.push(Some(holder.run()));
        }
    }

    fn writer(&self) -> Writer {
        self.writer_of(self.db.clone())
    }

    fn writer_of(&self, db: Db) -> Writer {
        Writer::new(WriterConfig {
            client: self.client.clone(),
            lease: secret(VALIDATOR),
            authority: None,
            attesters: vec![secret(VALIDATOR)],
            db,
            connect: Arc::new(connect),
            on_governance: Box::new(|_| {}),
            runtime: self.runtime.handle().clone(),
        })
    }

    fn status(&self) -> Status {
        self.runtime.block_on(self.client.status()).unwrap()
    }

    fn placement(&self) -> Placement {
        self.runtime.block_on(self.client.placement()).unwrap()
    }

    fn kill(&mut self, node: u8) {
        drop(self.holders[usize::from(node)].take());
        let server = self.servers[usize::from(node)].take().unwrap();
        self.runtime.block_on(server.shutdown());
    }

    /// Waits until the registry says so.
    fn until(&self, what: &str, is_so: impl Fn(&Status) -> bool) -> Status {
        let begun = Instant::now();
        loop {
            let status = self.status();
            if is_so(&status) {
                return status;
            }
            assert!(begun.elapsed() < Duration::from_secs(90), "{what}: {status:#?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until a writer's problem is this one.
    fn until_problem(writer: &std::sync::Mutex<prunedb_duties::WriterStatus>, text: &str) {
        let begun = Instant::now();
        loop {
            let problem = writer.lock().unwrap().problem.clone().unwrap_or_default();
            if problem.contains(text) {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{problem}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the lake's groups are those of the registry.
    fn until_placed(&self, writer: &std::sync::Mutex<prunedb_duties::WriterStatus>) {
        let begun = Instant::now();
        while !self.db.governance().is_some_and(|g| g.placed) {
            assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", writer.lock());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn stop(mut self) {
        self.holders.clear();
        if let Some((validator, door)) = self.validator.take() {
            self.runtime.block_on(door.close());
            drop(validator);
        }
        for server in self.servers.iter_mut().filter_map(Option::take) {
            self.runtime.block_on(server.shutdown());
        }
    }
}

#[test]
fn batches_close_are_proven_and_may_go_and_a_dead_holder_is_replaced() {
    let mut world = World::new(|world| Arc::new(OwnRecords(world.db.clone())));
    let writer = world.writer();
    let state = writer.status();
    let writing = writer.run();
    world.start_holders();
    world.until_placed(&state);
    fill(&world.db, 0);
    world.db.flush(&mut |_| {}).unwrap();
    fill(&world.db, 8);
    world.db.flush(&mut |_| {}).unwrap();
    let all = u32::try_from(world.db.containers().unwrap().len()).unwrap();
    assert!(all >= 3, "{all}");
    let closed = world.until("all batches close", |s| s.batches == all);
    assert_eq!(closed.failing_nodes, 0);
    let prunable = world.until("all but the last may go", |s| s.prunable_up_to == all - 1);
    let batches = world.runtime.block_on(world.client.batches(0, 100)).unwrap().0;
    let blocks: u64 = batches.iter().map(|b| u64::from(b.blocks)).sum();
    assert_eq!(blocks, 16, "every record is in one batch");
    // the watermark is the database's
    while world.db.governance().unwrap().prunable_up_to < prunable.prunable_up_to {
        std::thread::sleep(Duration::from_millis(20));
    }
    let evicted = world.db.evict(&mut |_| {}).unwrap();
    assert_eq!((evicted.containers, evicted.kept.len()), (u64::from(all) - 1, 1));

    // a holder is gone: an epoch later its slots are elected anew, and rebuilt
    let dead = 3;
    world.kill(dead);
    let is_dead = |p: &Placement| p.nodes.iter().position(|n| n.key == secret(10 + dead).key());
    let number = is_dead(&world.placement()).unwrap();
    let holds = |p: &Placement| {
        let slots = p.groups.iter().flat_map(|g| &g.slots);
        slots.filter(|s| s.holder.is_some_and(|h| h.0 as usize == number)).count()
    };
    assert!(holds(&world.placement()) > 0);
    let begun = Instant::now();
    while holds(&world.placement()) > 0 || world.status().repairs > 0 {
        assert!(
            begun.elapsed() < Duration::from_secs(90),
            "{:#?} {:?} {:?}",
            world.status(),
            world.placement().repairs,
            state.lock()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    let verified = world.db.verify(prunedb_engine::Depth::Deep, &mut |_| {}).unwrap();
    assert!(verified.is_healthy(), "{verified:?}");
    let table = world.db.table("blocks").unwrap();
    for number in 0..16u64 {
        assert!(world.db.get(&table, &number.to_be_bytes()).unwrap().is_some());
    }
    // and it goes on without it
    fill(&world.db, 16);
    world.db.flush(&mut |_| {}).unwrap();
    world.until("the next batches close", |s| s.batches > all);
    drop(writing);
    world.stop();
}

#[test]
fn an_elected_validator_makes_its_shard_from_its_own_copy_and_refuses_a_master_that_lies() {
    // the validator has a database of its own, of another lake, with the same records: its containers end elsewhere
    let mut own = None;
    let mut world = World::new(|world| {
        let mut options = options(&world.dir.path().join("own"));
        options.container_bytes = 700_000;
        let (nodes, secret) = (world.addresses.clone(), LakeSecret::new([8; 32].into()));
        Db::create(&disk(), &options, secret.lake_id(), nodes).unwrap();
        let handle = world.runtime.handle().clone();
        let records = Db::open(disk(), options, secret, &connect, handle).unwrap();
        let archive = Arc::new(Archive::new(records.clone(), lake_secret()));
        own = Some((records, Arc::clone(&archive)));
        archive
    });
    let (own, archive) = own.unwrap();
    let writer = world.writer();
    let state = writer.status();
    let writing = writer.run();
    world.until_placed(&state);
    fill(&world.db, 0);
    world.db.flush(&mut |_| {}).unwrap();
    // other records: another root
    let lie = own.ensure_table("blocks", TableKind::Sequence).unwrap();
    assert_eq!(lie.name(), "blocks");
    World::until_problem(&state, "does not have batch 0 itself");
    assert_eq!(world.status().batches, 0);
    // the lake's nodes are empty but for this one's upload: its first shard is deleted, and made again from the own copy
    fill(&own, 0);
    let placement = world.placement();
    let slot = placement.groups[0].slots[1].holder.unwrap();
    let node =
        (0..NODES).find(|n| placement.nodes[slot.0 as usize].key == secret(10 + n).key()).unwrap();
    let id = prunedb_core::ShardId {
        lake: world.db.lake(),
        container: prunedb_core::ContainerId::data(0),
        index: prunedb_core::ShardIndex(1),
    };
    let server = world.servers[usize::from(node)].as_ref().unwrap();
    let before = server.node().stat(id).unwrap().unwrap();
    assert!(server.node().delete(id, before.term).unwrap());
    // nobody else is there to give anything
    for other in (0..NODES).filter(|n| *n != node) {
        let server = world.servers[usize::from(other)].take().unwrap();
        world.runtime.block_on(server.shutdown());
    }
    let mine = world.servers[usize::from(node)].as_ref().unwrap().node().clone();
    let reserved = Arc::new(Reserved::new(world.db.lake()));
    let maker: Arc<dyn prunedb_duties::MakeShard> =
        Arc::new(OwnShards { archive, node: mine.clone(), reserved: Arc::clone(&reserved) });
    let handle = world.runtime.handle().clone();
    let client = world.client.clone();
    let holder =
        Holder::new(client, secret(10 + node), Arc::new(mine.clone()), Some(maker), handle);
    world.until("the honest closing is signed", |s| s.closing == Some(0));
    let holding = holder.run();
    let begun = Instant::now();
    let acknowledged = || world.placement().groups[0].slots[1].batches;
    while acknowledged() == 0 {
        assert!(begun.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(mine.stat(id).unwrap().unwrap().name, before.name);
    assert_eq!(Reserve::made(&*reserved), (1, before.bytes));
    drop(holding);
    drop(writing);
    drop(mine);
    world.stop();
}

#[test]
fn of_two_writers_the_one_without_the_lease_is_refused_by_the_registry_and_by_the_nodes() {
    let mut world = World::new(|world| Arc::new(OwnRecords(world.db.clone())));
    let writer = world.writer();
    let first = writer.status();
    let writing = writer.run();
    world.start_holders();
    world.until_placed(&first);
    fill(&world.db, 0);
    world.db.flush(&mut |_| {}).unwrap();
    let committed = |status: &Status| {
        let head = status.head.unwrap();
        HeadName { lease: head.term, number: head.number, root: head.root }
    };
    let status =
        world.until("a head is committed with a batch", |s| s.batches > 0 && s.head.is_some());
    let one = committed(&status);
    assert_eq!(one.lease, Term(1));
    // what this writer has published is at least that
    world.db.check_head(&one).unwrap();
    let forked = HeadName { root: Digest([1; 32]), ..world.db.head_name().unwrap() };
    assert!(matches!(world.db.check_head(&forked), Err(Error::OtherHead { .. })));

    // the folder is thought to be lost: its keys are used by a database that is recovered elsewhere
    let elsewhere = options(&world.dir.path().join("elsewhere"));
    let handle = world.runtime.handle().clone();
    let seeds = &world.addresses;
    let taken = Db::recover(disk(), elsewhere, lake_secret(), seeds, &connect, handle, &mut |_| {});
    let taken = taken.unwrap().0;
    // the registry governs it from the beginning: without the lease nothing is stored
    taken.govern(Governance { placed: true, ..Governance::default() });
    fill(&taken, 100);
    let refused = taken.flush(&mut |_| {});
    assert!(matches!(refused, Err(Error::Governed { .. })), "{refused:?}");
    let writer = world.writer_of(taken.clone());
    let second = writer.status();
    let taking = writer.run();
    World::until_problem(&first, "has taken the lease (term 2, this process had 1)");
    let begun = Instant::now();
    while taken.governance().unwrap().lease != Some(Term(2)) {
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", second.lock());
        std::thread::sleep(Duration::from_millis(20));
    }
    taken.flush(&mut |_| {}).unwrap();

    // the writer before stores nothing, the nodes would refuse it, and so does the registry
    fill(&world.db, 200);
    let refused = world.db.flush(&mut |_| {});
    assert!(matches!(refused, Err(Error::Governed { .. })), "{refused:?}");
    let governance = world.db.governance().unwrap();
    world.db.govern(Governance { lease: Some(Term(1)), ..governance });
    let refused = world.db.flush(&mut |_| {});
    assert!(matches!(refused, Err(Error::Fenced { .. })), "{refused:?}");
    let head = Body::CommitHead { term: 1, number: one.number + 100, root: one.root };
    let (registry, key) = (world.status().registry, secret(VALIDATOR));
    let signers = [&key];
    let sent = world.client.send(&registry, head, &signers);
    let refused = world.runtime.block_on(sent).unwrap_err().to_string();
    assert!(refused.contains("term 1, the lease has 2"), "{refused}");

    // the next head is the other one's: whoever has an older manifest can tell, and does not take the lease back
    let status =
        world.until("a head of the new term", |s| s.head.is_some_and(|h| h.term == Term(2)));
    taken.check_head(&committed(&status)).unwrap();
    let behind = world.db.check_head(&committed(&status));
    assert!(matches!(behind, Err(Error::BehindRegistry { .. })), "{behind:?}");
    drop(writing);
    let writer = world.writer();
    let again = writer.status();
    let writing = writer.run();
    World::until_problem(&again, "another writer has written the lake since");
    assert_eq!(world.status().lease.unwrap().term, Term(2));
    drop((writing, taking));
    drop(taken);
    world.stop();
}
