//! One life of a lake, decided by its seed.

use crate::{
    link::{Continent, Reach},
    store::{elapsed, lock},
    world::{Checked, Known, NODES, World, virtual_time},
};
use prunedb_core::{Digest, Policy};
use prunedb_disk::faulty::{Chance, FaultyDisk};
use prunedb_engine::{Db, Depth, ORPHAN_AGE};
use std::{sync::Arc, time::Duration};

/// Policies of a life; eager and lazy ones, with and without spare nodes.
const POLICIES: [&str; 5] = ["16+4", "4+2", "10+10", "8+4", "20+80"];
const STEPS: u64 = 40;
/// Rounds of checking and healing after which redundancy must be back.
const ROUNDS_MAX: usize = 3;
const HOUR: Duration = Duration::from_secs(3600);

/// How a life went that went well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// the lake's policy
    pub policy: Policy,
    /// digest of everything that happened
    pub trace: Digest,
    /// messages and steps
    pub events: u64,
    /// time that passed in it
    pub took: Duration,
    /// records that an empty machine read at the end
    pub records: u64,
    /// nodes whose disk was lost or rotten, or that never came back
    pub losses: u64,
}

/// Lives one life.
///
/// # Errors
/// What was lost, wrong or not healed, with the last events.
///
/// # Panics
/// Where the code that is tested does, and where the system has no runtime for it.
pub fn live(seed: u64) -> Result<Life, String> {
    let runtime = virtual_time();
    let _clock = runtime.enter();
    let mut chance = Chance::new(seed);
    let policy: Policy = chance.pick(&POLICIES).parse().expect("a policy");
    let world = World::new(seed, policy, Arc::clone(&runtime))?;
    let mut run = Run { chance, world, budget: 0, losses: 0 };
    let lived = run.live();
    let took = elapsed(&run.world.net);
    let net = lock(&run.world.net);
    match lived {
        Ok(records) => {
            let (trace, events) = (net.trace.digest(), net.trace.events);
            Ok(Life { policy, trace, events, took, records, losses: run.losses })
        }
        Err(reason) => Err(format!("seed {seed} ({policy}): {reason}\n{}", net.trace.tail())),
    }
}

struct Run {
    chance: Chance,
    world: World,
    /// nodes whose bytes may still be lost before the next complete healing
    budget: usize,
    losses: u64,
}

impl Run {
    fn live(&mut self) -> Checked<u64> {
        self.world.put(20)?;
        self.world.flush()?;
        self.budget = self.allowance();
        for _ in 0..STEPS {
            self.step()?;
            self.world.check_machines()?;
        }
        self.end()
    }

    /// A container counts as stored when half of its parity is: of the other half, nodes may be lost before it is healed.
    fn allowance(&self) -> usize {
        let least = self.world.policies.iter().copied().map(Policy::parity_shards).min();
        least.unwrap_or_default() / 2
    }

    fn step(&mut self) -> Checked<()> {
        match self.chance.below(26) {
            0..=5 => {
                let count = 1 + self.chance.below(40);
                self.world.put(count)
            }
            6..=8 => self.world.flush().map(drop),
            9 => self.world.evict(),
            10..=12 => self.world.read(&mut self.chance, 30),
            13..=15 => self.trouble(),
            16 => self.lose(),
            17 => {
                self.restore();
                Ok(())
            }
            18 => self.world.reader(&mut self.chance, 10),
            19 => {
                let torn = self.chance.bits();
                if self.chance.one_in(2) {
                    // in the middle of a flush
                    self.world.writer.disk.die_after(self.chance.below(200));
                    self.world.put(5)?;
                    self.world.flush()?;
                }
                self.restart_writer(torn)
            }
            20 if self.chance.one_in(2) => {
                self.restore();
                self.world.take_over(&mut self.chance)
            }
            22 if self.chance.one_in(2) => {
                let policy = self.chance.pick(&POLICIES).parse().expect("a policy");
                let is_cut_short = self.chance.one_in(3);
                if is_cut_short {
                    self.world.writer.disk.die_after(self.chance.below(300));
                }
                self.world.change_policy(policy)?;
                self.budget = self.budget.min(self.allowance());
                if is_cut_short {
                    let torn = self.chance.bits();
                    self.restart_writer(torn)?;
                }
                Ok(())
            }
            23 if self.chance.one_in(2) => {
                let node = usize::try_from(self.chance.below(NODES as u64)).expect("a hundred");
                self.world.leave(node)
            }
            21 => self.world.verify(Depth::Quick).map(drop),
            24 => {
                self.world.wait(HOUR * 13);
                self.world.sweep().map(drop)
            }
            _ => {
                self.world.wait(HOUR * 2);
                self.world.heal()?;
                if self.world.is_calm() { self.heal_fully() } else { Ok(()) }
            }
        }
    }

    fn restart_writer(&mut self, torn: u64) -> Checked<()> {
        self.world.crash_writer(torn);
        if !self.world.open()? {
            self.restore();
            self.world.open()?;
        }
        Ok(())
    }

    /// Something that passes: nodes crash, are slow, hang, or a continent is cut off.
    fn trouble(&mut self) -> Checked<()> {
        let kind = self.chance.below(6);
        let most = if self.chance.one_in(4) { 60 } else { 4 };
        let some = 1 + self.chance.below(most);
        let continent = self.chance.below(Continent::COUNT as u64);
        for n in 0..NODES {
            let hit = self.chance.below(NODES as u64) < some;
            let torn = self.chance.bits();
            let mut machine = lock(&self.world.machines[n]);
            match kind {
                0 if hit => machine.crash(torn),
                1 if hit => {
                    machine.crash(torn);
                    if !self.world.gone.contains(&n) {
                        machine.start();
                    }
                }
                2 if hit => machine.reach = Reach::Slow,
                3 if hit => machine.reach = Reach::Hangs,
                4 if hit => machine.reach = Reach::Cut,
                5 if Continent::of(n)
                    == Continent::of(usize::try_from(continent).expect("six")) =>
                {
                    machine.reach = Reach::Cut;
                }
                _ => {}
            }
        }
        self.world.note(format_args!("trouble {kind} {some}"));
        Ok(())
    }

    /// A node's bytes are lost, as far as the policy bears it: its disk fails or rots, or it never comes back.
    fn lose(&mut self) -> Checked<()> {
        if self.budget == 0 {
            return Ok(());
        }
        self.budget -= 1;
        self.losses += 1;
        let n = usize::try_from(self.chance.below(NODES as u64)).expect("a hundred");
        let most = self.world.policies.iter().copied().map(Policy::total_shards).max();
        let has_spares = most.unwrap_or_default() + 20 < NODES;
        let kind = self.chance.below(3);
        let torn = self.chance.bits();
        let mut machine = lock(&self.world.machines[n]);
        match kind {
            0 if has_spares && self.world.gone.len() < self.allowance() => {
                machine.crash(torn);
                drop(machine);
                self.world.gone.insert(n);
            }
            1 if machine.is_up() => _ = machine.rot(&mut self.chance),
            _ if !self.world.gone.contains(&n) => machine.lose_disk(),
            _ => {}
        }
        self.world.note(format_args!("node {n} lost, {kind}"));
        Ok(())
    }

    /// Everything that passes has passed.
    fn restore(&mut self) {
        for (n, machine) in self.world.machines.iter().enumerate() {
            let mut machine = lock(machine);
            machine.reach = Reach::Well;
            if !self.world.gone.contains(&n) {
                machine.start();
            }
        }
        self.world.note(format_args!("restored"));
        // nodes that failed are left alone for some minutes
        self.world.wait(HOUR);
    }

    /// Finds everything that is wrong and makes it whole, in a bounded number of rounds.
    fn heal_fully(&mut self) -> Checked<()> {
        self.world.flush()?;
        let mut faults = Vec::new();
        for _ in 0..ROUNDS_MAX {
            self.world.verify(Depth::Deep)?;
            // seen to be out of reach, and again when it counts as lost
            self.world.heal()?;
            self.world.wait(HOUR * 2);
            self.world.heal()?;
            if self.world.is_lazy() {
                self.world.repair()?;
            }
            let Some(verified) = self.world.verify(Depth::Deep)? else { continue };
            if verified.is_healthy() {
                self.budget = self.allowance();
                return Ok(());
            }
            faults = verified.faults;
        }
        Err(format!(
            "not healed after {ROUNDS_MAX} rounds: {} faults, {:?}",
            faults.len(),
            faults.first()
        ))
    }

    /// The faults are over: all is made whole, what nothing names goes, and an empty machine reads everything.
    fn end(&mut self) -> Checked<u64> {
        self.restore();
        self.heal_fully()?;
        self.world.evict()?;
        self.world.sweep()?;
        self.world.wait(ORPHAN_AGE);
        let orphans = self.world.sweep()?;
        if orphans > 0 {
            return Err(format!("{orphans} shards that nothing names are left"));
        }
        self.world.check_machines()?;
        let disk = FaultyDisk::new(1);
        let db = self.world.recover_on(disk, Continent::of(3))?;
        let mut read = 0;
        for (&number, &known) in &self.world.records {
            if known == Known::Acknowledged {
                return Err(format!("record {number} is not in the lake after a flush"));
            }
            self.world.check_read(&db, number, known)?;
            read += u64::from(known == Known::InLake);
        }
        drop::<Db>(db);
        Ok(read)
    }
}
