//! The machines, what was acknowledged, and the checkers.

use crate::{
    link::{Continent, Reach},
    machine::Machine,
    store::{Net, Shared, SimStore, lock},
    trace::Trace,
};
use prunedb_core::Policy;
use prunedb_disk::{
    Disk,
    faulty::{Chance, FaultyDisk, Unsynced},
};
use prunedb_engine::{
    Connect, Db, Depth, Error, Executor, Explanation, LakeSecret, ORPHAN_AGE, Options, Outages,
    Table, TableKind, Verified,
};
use prunedb_store::ShardStore;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};
use tokio::{runtime::Runtime, time::Instant};
use zeroize::Zeroizing;

/// Storage nodes of a lake.
pub(crate) const NODES: usize = 100;
const DIR: &str = "/prune";
const TABLE: &str = "records";
const HOUR: Duration = Duration::from_secs(3600);

/// What is known of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// its put was acknowledged: it is there
    Acknowledged,
    /// and a flush said that it is in the lake: an empty machine finds it
    InLake,
    /// it was put, and the writer was lost before or after it counted
    Perhaps,
}

/// The machine of a writer, and what it does.
pub(crate) struct Writer {
    pub(crate) disk: FaultyDisk,
    pub(crate) db: Option<Db>,
    at: Continent,
}

pub(crate) struct World {
    pub(crate) runtime: Arc<Runtime>,
    /// what new containers have, and what earlier ones may still have
    pub(crate) policy: Policy,
    pub(crate) policies: Vec<Policy>,
    pub(crate) machines: Vec<Shared<Machine>>,
    pub(crate) net: Shared<Net>,
    pub(crate) writer: Writer,
    pub(crate) outages: Outages,
    pub(crate) records: BTreeMap<u64, Known>,
    /// nodes that never come back
    pub(crate) gone: BTreeSet<usize>,
    next_record: u64,
    seed: u64,
    writers: u64,
    container_bytes: u64,
}

/// What went wrong: the life is over.
pub(crate) type Checked<T> = Result<T, String>;

/// A record's value; it follows from its number.
pub(crate) fn value(number: u64) -> Vec<u8> {
    let mut chance = Chance::new(number);
    let bytes = usize::try_from(100 + chance.below(20_000)).expect("small");
    let mut value = vec![0; bytes];
    let noise = &mut value[..bytes * 2 / 3];
    blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(noise);
    value
}

impl World {
    /// A new lake; the runtime's clock is the world's, and must have been entered.
    pub(crate) fn new(seed: u64, policy: Policy, runtime: Arc<Runtime>) -> Checked<Self> {
        Self::with_containers(seed, policy, 300_000, runtime)
    }

    /// The same, with containers of that size.
    pub(crate) fn with_containers(
        seed: u64,
        policy: Policy,
        container_bytes: u64,
        runtime: Arc<Runtime>,
    ) -> Checked<Self> {
        let started = Instant::now();
        let net = Net { chance: Chance::new(seed ^ 0x11), trace: Trace::default(), started };
        let machines = (0..NODES).map(|n| {
            let seed = seed.wrapping_mul(1_000_003).wrapping_add(n as u64);
            Arc::new(Mutex::new(Machine::new(n, seed)))
        });
        let mut world = Self {
            runtime,
            policy,
            policies: vec![policy],
            machines: machines.collect(),
            net: Arc::new(Mutex::new(net)),
            writer: Writer { disk: FaultyDisk::new(seed), db: None, at: Continent::of(0) },
            outages: Outages::default(),
            records: BTreeMap::new(),
            gone: BTreeSet::new(),
            next_record: 0,
            seed,
            writers: 1,
            container_bytes,
        };
        let nodes = (0..NODES).map(address).collect();
        let (disk, options) = (world.writer_disk(), world.options());
        Db::create(&disk, &options, world.secret().lake_id(), nodes).map_err(|e| e.to_string())?;
        world.open()?;
        Ok(world)
    }

    pub(crate) fn secret(&self) -> LakeSecret {
        let mut bytes = Zeroizing::new([7; 32]);
        bytes[..8].copy_from_slice(&self.seed.to_le_bytes());
        LakeSecret::new(bytes)
    }

    fn writer_disk(&self) -> Arc<dyn Disk> {
        Arc::new(self.writer.disk.clone())
    }

    fn options(&self) -> Options {
        let mut options = Options::new(DIR, self.policy);
        options.container_bytes = self.container_bytes;
        options.group_age = Duration::ZERO;
        options.threads = 1;
        options.cache_bytes = 1_000_000;
        options.spool_memory_bytes = 1 << 30;
        options.node_lost_after = HOUR;
        options
    }

    pub(crate) fn connect(&self, from: Continent) -> Arc<Connect> {
        let (machines, net) = (self.machines.clone(), Arc::clone(&self.net));
        Arc::new(move |name: &str| {
            let number = number_of(name);
            Arc::new(SimStore {
                name: name.to_owned(),
                from,
                at: Continent::of(number),
                machine: Arc::clone(&machines[number]),
                net: Arc::clone(&net),
            }) as Arc<dyn ShardStore>
        })
    }

    fn executor(&self) -> Executor {
        Executor::simulated(Arc::clone(&self.runtime), self.seed.wrapping_add(self.writers << 32))
    }

    pub(crate) fn note(&self, what: std::fmt::Arguments<'_>) {
        lock(&self.net).note(what);
    }

    /// Time passes; nothing else happens.
    pub(crate) fn wait(&self, time: Duration) {
        self.runtime.block_on(tokio::time::sleep(time));
    }

    fn db(&self) -> Checked<&Db> {
        self.writer.db.as_ref().ok_or_else(|| "the writer is down".to_owned())
    }

    fn table(db: &Db) -> Checked<Table> {
        db.ensure_table(TABLE, TableKind::Sequence).map_err(|e| format!("no table: {e}"))
    }

    /// Opens the writer's database from its disk; whether it is open: an index that is in the lake only needs enough nodes.
    pub(crate) fn open(&mut self) -> Checked<bool> {
        let (disk, options) = (self.writer_disk(), self.options());
        let connect = self.connect(self.writer.at);
        let db = Db::open(disk, options, self.secret(), &*connect, self.executor());
        let Some(db) = self.excused("opening", db)? else { return Ok(false) };
        Self::table(&db)?;
        self.writer.db = Some(db);
        Ok(true)
    }

    /// No node is down, cut off, slow or hanging, but those that are gone for good.
    pub(crate) fn is_calm(&self) -> bool {
        let is_well = |(n, m): (usize, &Shared<Machine>)| {
            let machine = lock(m);
            self.gone.contains(&n) || (machine.is_up() && machine.reach == Reach::Well)
        };
        self.machines.iter().enumerate().all(is_well)
    }

    /// A failure is one of the faults' as long as there are any.
    fn excused<T>(&self, what: &str, done: Result<T, Error>) -> Checked<Option<T>> {
        match done {
            Ok(done) => Ok(Some(done)),
            Err(error) => {
                self.note(format_args!("{what} failed"));
                if self.is_calm() && !self.writer.disk.is_dead() {
                    return Err(format!("{what} failed while nothing was wrong: {error}"));
                }
                Ok(None)
            }
        }
    }

    /// Puts records and waits until they are durable.
    pub(crate) fn put(&mut self, count: u64) -> Checked<()> {
        let first = self.next_record;
        self.next_record += count;
        let db = self.db()?;
        let table = Self::table(db)?;
        let numbers = first..self.next_record;
        let put = numbers.clone().try_for_each(|number| {
            db.append(&[(&table, &number.to_be_bytes(), &value(number))]).map(drop)
        });
        let known = match put.and_then(|()| db.commit()) {
            Ok(()) => Known::Acknowledged,
            Err(_) if self.writer.disk.is_dead() => Known::Perhaps,
            Err(error) => return Err(format!("a put failed: {error}")),
        };
        self.note(format_args!("put {count} {known:?}"));
        self.records.extend(numbers.map(|number| (number, known)));
        Ok(())
    }

    /// Brings everything to the lake; whether that was said.
    pub(crate) fn flush(&mut self) -> Checked<bool> {
        let flushed = self.excused("flush", self.db()?.flush(&mut |_| {}))?.is_some();
        if flushed {
            let acknowledged = self.records.values_mut().filter(|k| **k == Known::Acknowledged);
            acknowledged.for_each(|known| *known = Known::InLake);
        }
        self.note(format_args!("flushed: {flushed}"));
        Ok(flushed)
    }

    pub(crate) fn evict(&mut self) -> Checked<()> {
        if self.flush()? {
            self.excused("evict", self.db()?.evict(&mut |_| {}))?;
        }
        Ok(())
    }

    /// Reads a record through a database and judges what comes.
    pub(crate) fn check_read(&self, db: &Db, number: u64, known: Known) -> Checked<()> {
        let table = db.table(TABLE).map_err(|e| format!("no table: {e}"))?;
        match self.excused("a read", db.get(&table, &number.to_be_bytes()))? {
            Some(Some(found)) if found == value(number) => Ok(()),
            Some(Some(_)) => Err(format!("record {number} ({known:?}) has other bytes")),
            Some(None) if known == Known::Perhaps => Ok(()),
            Some(None) => Err(format!("record {number} ({known:?}) is gone without an error")),
            None => Ok(()),
        }
    }

    /// Reads some records.
    pub(crate) fn read(&self, chance: &mut Chance, count: u64) -> Checked<()> {
        let db = self.db()?;
        for _ in 0..count {
            let number = chance.below(self.next_record);
            if let Some(known) = self.records.get(&number) {
                self.check_read(db, number, *known)?;
            }
        }
        self.note(format_args!("read {count}"));
        Ok(())
    }

    /// Where a record is.
    pub(crate) fn explain(&self, number: u64) -> Checked<Explanation> {
        let db = self.db()?;
        let found = db.explain(&Self::table(db)?, &number.to_be_bytes());
        let found = found.map_err(|e| format!("record {number}: {e}"))?;
        found.ok_or_else(|| format!("record {number} is gone without an error"))
    }

    /// Reads a record; frames that came from the lake for it.
    pub(crate) fn fetch(&self, number: u64) -> Checked<u64> {
        let db = self.db()?;
        let read = db.get_traced(&Self::table(db)?, &number.to_be_bytes());
        let (found, trace) = read.map_err(|e| format!("record {number}: {e}"))?;
        if found != Some(value(number)) {
            return Err(format!("record {number} is gone without an error, or has other bytes"));
        }
        Ok(trace.frames_fetched)
    }

    /// Drops what is cached here.
    pub(crate) fn forget(&self) -> Checked<()> {
        self.db()?.evict(&mut |_| {}).map(drop).map_err(|e| format!("evicting: {e}"))
    }

    /// The writer loses power, perhaps in the middle of something, and comes up again.
    pub(crate) fn crash_writer(&mut self, torn: u64) {
        let left = self.writer.disk.crashed(Unsynced::Torn(torn));
        self.writer.db = None;
        self.writer.disk = left;
        self.outages = Outages::default();
        self.note(format_args!("the writer crashed"));
    }

    /// Another machine takes the lake over from nothing; from its first write on, the old writer is refused.
    pub(crate) fn take_over(&mut self, chance: &mut Chance) -> Checked<()> {
        self.writers += 1;
        let disk = FaultyDisk::new(self.seed.wrapping_add(self.writers << 32));
        let at = Continent::of(usize::try_from(chance.below(100)).expect("small"));
        let db = self.recover_on(disk.clone(), at)?;
        self.note(format_args!("taken over"));
        let new = Writer { disk, db: Some(db), at };
        let old = std::mem::replace(&mut self.writer, new);
        self.outages = Outages::default();
        let lost = self.records.values_mut().filter(|k| **k == Known::Acknowledged);
        lost.for_each(|known| *known = Known::Perhaps);
        self.put(3)?;
        if !self.flush()? {
            return Err("the new writer cannot write".into());
        }
        let Some(old) = old.db else { return Ok(()) };
        let table = Self::table(&old)?;
        let number = self.next_record;
        self.next_record += 1;
        let put = old.append(&[(&table, &number.to_be_bytes(), &value(number))]);
        let flushed = put.and_then(|_| old.commit()).and_then(|()| old.flush(&mut |_| {}));
        match flushed {
            Err(Error::Fenced { .. }) => Ok(()),
            Err(error) => Err(format!("the old writer is refused, but not for its term: {error}")),
            Ok(()) => Err("the old writer still writes".into()),
        }
    }

    /// The database from the lake alone, on an empty disk.
    pub(crate) fn recover_on(&self, disk: FaultyDisk, at: Continent) -> Checked<Db> {
        let (options, seeds) = (self.options(), self.addresses());
        let recovered = Db::recover(
            Arc::new(disk),
            options,
            self.secret(),
            &seeds,
            &*self.connect(at),
            self.executor(),
            &mut |_| {},
        );
        let (db, _) = recovered.map_err(|e| format!("no recovery while nothing is wrong: {e}"))?;
        Ok(db)
    }

    fn addresses(&self) -> Vec<String> {
        (0..NODES).map(address).collect()
    }

    /// Somebody reads the lake from an empty folder, on any continent.
    pub(crate) fn reader(&mut self, chance: &mut Chance, count: u64) -> Checked<()> {
        self.writers += 1;
        let disk = FaultyDisk::new(self.seed.wrapping_add(self.writers << 32));
        let connect =
            self.connect(Continent::of(usize::try_from(chance.below(100)).expect("small")));
        let (options, secret) = (self.options(), self.secret());
        let seeds = self.addresses();
        let opened = Db::open_reader(
            Arc::new(disk),
            options,
            secret,
            &seeds,
            connect,
            self.executor(),
            &mut |_| {},
        );
        let Some(reader) = self.excused("a reader", opened)? else { return Ok(()) };
        let table = reader.table(TABLE);
        for _ in 0..count {
            let number = chance.below(self.next_record);
            match self.records.get(&number) {
                Some(Known::InLake) if self.is_calm() => {
                    self.check_read(&reader, number, Known::InLake)?
                }
                // it may have opened before the newest head reached it
                Some(_) if table.is_ok() => self.check_read(&reader, number, Known::Perhaps)?,
                _ => {}
            }
        }
        self.note(format_args!("a reader read {count}"));
        Ok(())
    }

    /// A round of what the background does; the time between two is up to the life.
    pub(crate) fn heal(&mut self) -> Checked<()> {
        let mut outages = std::mem::take(&mut self.outages);
        let healed = self.db()?.heal(&mut outages);
        self.outages = outages;
        if let Some(report) = self.excused("healing", healed)? {
            self.note(format_args!(
                "healed {} moved {}",
                report.repaired.len(),
                report.moved_slots
            ));
        }
        Ok(())
    }

    /// Slots of lost nodes wait until many are lost.
    pub(crate) fn is_lazy(&self) -> bool {
        self.policies.iter().any(|policy| policy.parity_shards() > 8)
    }

    /// Another policy for everything, as far as the nodes allow it now.
    pub(crate) fn change_policy(&mut self, policy: Policy) -> Checked<()> {
        if !self.policies.contains(&policy) {
            self.policies.push(policy);
        }
        let changed = self.db()?.change_policy(policy, &mut |_| {});
        if matches!(changed, Err(Error::TooFewNodes { .. })) {
            return Ok(());
        }
        if let Some(changed) = self.excused("a change of policy", changed)? {
            self.note(format_args!("{policy} now, {} coded anew", changed.containers));
            self.policy = policy;
        }
        Ok(())
    }

    /// A node hands its shards over and goes.
    pub(crate) fn leave(&mut self, node: usize) -> Checked<()> {
        let left = self.db()?.leave(&address(node), &mut |_| {});
        match left {
            // it left before, or nobody is spare
            Err(Error::UnknownNode { .. } | Error::NoSpareNode { .. }) => Ok(()),
            left => {
                if let Some(left) = self.excused("leaving", left)? {
                    self.note(format_args!("node {node} left: {} slots", left.moved_slots));
                }
                Ok(())
            }
        }
    }

    /// What an operator does who does not want to wait.
    pub(crate) fn repair(&mut self) -> Checked<()> {
        let repaired = self.db()?.repair(true, &mut |_| {});
        if let Some(report) = self.excused("a repair", repaired)? {
            self.note(format_args!(
                "repaired {} moved {}",
                report.repaired.len(),
                report.moved_slots
            ));
        }
        Ok(())
    }

    /// Deletes what nothing names, a day after it was noted; how much of it is left, on nodes that answer.
    pub(crate) fn sweep(&self) -> Checked<u64> {
        let now = SystemTime::UNIX_EPOCH + lock(&self.net).started.elapsed();
        let swept = self.db()?.sweep(now, ORPHAN_AGE, false, &mut |_| {});
        let swept = self.excused("a sweep", swept)?.unwrap_or_default();
        self.note(format_args!("orphans {} deleted {}", swept.orphans, swept.deleted));
        Ok(swept.orphans - swept.deleted)
    }

    pub(crate) fn verify(&self, depth: Depth) -> Checked<Option<Verified>> {
        let verified = self.excused("a check", self.db()?.verify(depth, &mut |_| {}))?;
        if let Some(verified) = &verified {
            self.note(format_args!("checked {} faults {}", verified.shards, verified.faults.len()));
        }
        Ok(verified)
    }

    /// What no node may do.
    pub(crate) fn check_machines(&self) -> Checked<()> {
        self.machines.iter().find_map(|m| lock(m).broken.clone()).map_or(Ok(()), Err)
    }
}

/// A runtime of one thread in which time passes only where nothing else can go on.
pub(crate) fn virtual_time() -> Arc<Runtime> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    Arc::new(runtime.expect("a runtime without I/O"))
}

/// The node at an address.
pub(crate) fn number_of(address: &str) -> usize {
    let number = address.strip_prefix("node-").and_then(|n| n.parse().ok());
    number.filter(|&n| n < NODES).expect("a node of this world")
}

/// A node's address.
pub(crate) fn address(number: usize) -> String {
    format!("node-{number:02}")
}
