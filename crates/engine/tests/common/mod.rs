//! A database over stores in memory, whose nodes can be broken.

#![allow(dead_code, reason = "each test file uses a part of it")]

use prunedb_codec::Key;
use prunedb_core::{ContainerId, Policy, ShardId, ShardIndex};
use prunedb_disk::{Disk, RealDisk};
use prunedb_engine::{Db, Error, LakeSecret, OnProgress, Options, Recovered, Table, TableKind};
use prunedb_store::{MemoryStore, ShardStore};
use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Nodes in memory, and a folder.
pub(crate) struct World {
    pub(crate) stores: BTreeMap<String, MemoryStore>,
    pub(crate) runtime: Runtime,
    pub(crate) dir: TempDir,
    pub(crate) policy: Policy,
    pub(crate) container_bytes: u64,
    pub(crate) cache_bytes: u64,
    pub(crate) group_age: Duration,
    pub(crate) secret: u8,
}

pub(crate) fn quiet() -> impl FnMut(prunedb_engine::Progress) {
    |_| {}
}

impl World {
    /// A lake of that many nodes, not created yet.
    pub(crate) fn new(policy: &str, nodes: usize) -> Self {
        let stores =
            (0..nodes).map(|n| format!("node-{n:02}")).map(|n| (n.clone(), MemoryStore::new(n)));
        Self {
            stores: stores.collect(),
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap(),
            dir: tempfile::tempdir().unwrap(),
            policy: policy.parse().unwrap(),
            container_bytes: 1 << 20,
            cache_bytes: 1 << 30,
            group_age: Duration::from_millis(10),
            secret: 7,
        }
    }

    /// Fresh nodes under the same names.
    pub(crate) fn empty_nodes(&mut self) {
        self.stores.iter_mut().for_each(|(name, store)| *store = MemoryStore::new(name.clone()));
    }

    /// The same, created and opened.
    pub(crate) fn open_new(policy: &str, nodes: usize) -> (Self, Db) {
        let world = Self::new(policy, nodes);
        world.create().unwrap();
        let db = world.open().unwrap();
        (world, db)
    }

    pub(crate) fn disk() -> Arc<dyn Disk> {
        Arc::new(RealDisk)
    }

    pub(crate) fn options(&self, dir: &Path) -> Options {
        let mut options = Options::new(dir, self.policy);
        options.container_bytes = self.container_bytes;
        options.cache_bytes = self.cache_bytes;
        options.group_age = self.group_age;
        options
    }

    pub(crate) fn secret(&self) -> LakeSecret {
        LakeSecret::new(Key::new([self.secret; 32]))
    }

    pub(crate) fn create(&self) -> Result<(), Error> {
        let (options, lake) = (self.options(self.dir.path()), self.secret().lake_id());
        Db::create(&Self::disk(), &options, lake, self.addresses())
    }

    pub(crate) fn connect(&self) -> impl Fn(&str) -> Arc<dyn ShardStore> + Send + Sync + use<> {
        let stores = self.stores.clone();
        move |name: &str| Arc::new(stores[name].clone()) as Arc<dyn ShardStore>
    }

    pub(crate) fn open(&self) -> Result<Db, Error> {
        self.open_on(Self::disk(), self.dir.path())
    }

    /// Opens the database of a folder on another disk.
    pub(crate) fn open_on(&self, disk: Arc<dyn Disk>, dir: &Path) -> Result<Db, Error> {
        let handle = self.runtime.handle().clone();
        Db::open(disk, self.options(dir), self.secret(), &self.connect(), handle)
    }

    /// A reader with a folder of its own beside the writer's.
    pub(crate) fn open_reader(&self, name: &str) -> Result<Db, Error> {
        let (options, seeds) = (self.options(&self.dir.path().join(name)), self.addresses());
        let (secret, connect) = (self.secret(), Arc::new(self.connect()));
        let handle = self.runtime.handle().clone();
        Db::open_reader(Self::disk(), options, secret, &seeds, connect, handle, &mut quiet())
    }

    fn addresses(&self) -> Vec<String> {
        self.stores.keys().cloned().collect()
    }

    pub(crate) fn recover(
        &self,
        dir: &Path,
        report: &mut OnProgress<'_>,
    ) -> Result<(Db, Recovered), Error> {
        self.recover_on(Self::disk(), dir, report)
    }

    pub(crate) fn recover_on(
        &self,
        disk: Arc<dyn Disk>,
        dir: &Path,
        report: &mut OnProgress<'_>,
    ) -> Result<(Db, Recovered), Error> {
        let seeds = self.addresses();
        let handle = self.runtime.handle().clone();
        Db::recover(disk, self.options(dir), self.secret(), &seeds, &self.connect(), handle, report)
    }

    pub(crate) fn shard(&self, db: &Db, container: u32, shard: u8) -> ShardId {
        ShardId {
            lake: db.lake(),
            container: ContainerId::data(container),
            index: ShardIndex(shard),
        }
    }

    /// The store that has a shard.
    pub(crate) fn holder(&self, id: ShardId) -> &MemoryStore {
        let has = |s: &&MemoryStore| self.runtime.block_on(s.stat(id)).ok().flatten().is_some();
        self.stores.values().find(has).expect("some node holds the shard")
    }

    pub(crate) fn gets(&self) -> u64 {
        self.stores.values().map(MemoryStore::gets).sum()
    }

    /// Bytes that any node could read: everything that is stored in the lake's nodes, in the folder excepted.
    pub(crate) fn set_offline(&self, nodes: &[usize], offline: bool) {
        for n in nodes {
            self.stores[&format!("node-{n:02}")].set_offline(offline);
        }
    }
}

/// A value that depends on its number: half of it compresses.
pub(crate) fn value(number: u64, bytes: usize) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..bytes)
        .map(|i| {
            if i % 2 == 0 {
                return 0;
            }
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0]
        })
        .collect()
}

/// Puts `count` records of a keyed and a sequence table, two a put.
pub(crate) fn fill(db: &Db, from: u64, count: u64, bytes: usize) -> (Table, Table) {
    let keyed = db.ensure_table("test/keyed", TableKind::Keyed).unwrap();
    let sequence = db.ensure_table("test/sequence", TableKind::Sequence).unwrap();
    for number in from..from + count {
        let (key, value) = (number.to_le_bytes(), value(number, bytes));
        let position = number.to_be_bytes();
        db.append(&[(&sequence, &position, &value), (&keyed, &key, &number.to_be_bytes())])
            .unwrap();
    }
    db.commit().unwrap();
    (keyed, sequence)
}

/// Every record of [`fill`] is there.
pub(crate) fn check(db: &Db, from: u64, count: u64, bytes: usize) {
    let keyed = db.table("test/keyed").unwrap();
    let sequence = db.table("test/sequence").unwrap();
    for number in from..from + count {
        let found = db.get(&keyed, &number.to_le_bytes()).unwrap();
        assert_eq!(found.as_deref(), Some(&number.to_be_bytes()[..]), "keyed {number}");
        let found = db.get(&sequence, &number.to_be_bytes()).unwrap();
        assert!(found == Some(value(number, bytes)), "sequence {number}");
    }
}
