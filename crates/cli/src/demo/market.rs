//! `prunedb demo --marketplace`: 3 heavy and 12 light nodes on loopback, with real sockets and disks.
//!
//! ```text
//! heavy 0 ── heavy 1 ── heavy 2, four light nodes each; three light nodes are owners, too
//! rent five cells, up to three hops away, one of them relayed -> read all back -> one holder loses its cell
//!   -> epochs: who proves is paid, who does not is not -> end all contracts, a light node leaves -> the sum is what it was
//! ```

use crate::{
    io::{Exit, Io},
    text::{count, size},
};
use anyhow::{Context, ensure};
use prunedb_core::units::ByteSize;
use prunedb_disk::{Disk as _, RealDisk};
use prunedb_market::{
    CELL_TERM, Contract, Heavy, HeavyRules, Light, LocalMarket, LocalRules, Rent, Tenant,
    cells_lake,
};
use prunedb_registry::{Amount, Key, NodeId, RentedCell};
use prunedb_validator::Client;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io::Read,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::runtime::Runtime;

/// What everybody begins with.
const MONEY: u64 = 1_000_000;
/// Time from block to block.
const BLOCK: Duration = Duration::from_millis(20);
/// Blocks of an epoch with the smallest cells: three seconds.
const EPOCH_HEIGHTS: u64 = 150;
/// One block more for each of these bytes of a cell: holders read all of it in each epoch, several at a time.
const BYTES_PER_HEIGHT: u64 = 320 << 10;
/// Epochs that are looked at after a cell was lost.
const EPOCHS: u32 = 2;
/// Epochs after which something is wrong that has not come by then.
const PATIENCE_EPOCHS: u64 = 30;
/// For how long cells are rented.
const RENTED_EPOCHS: u32 = 100;
/// Light nodes of each heavy node.
const LIGHTS: usize = 4;
/// Bytes of noise that a heavy node writes to check a capacity.
const PROBE_BYTES: u64 = 1 << 20;

/// Space for everything but the cells, which lie at their holders and with who reads them back.
const SPARE_BYTES: u64 = 64 << 20;

/// A cell that is to be rented.
struct Plan {
    /// which heavy node's owner
    owner: usize,
    price_max: u64,
    /// heavy node and light node that it is to be found at
    holder: (usize, usize),
    /// not at the holder of this earlier cell
    except: Option<usize>,
}

/// Each at the place that its price leads to: prices fall from heavy node to heavy node.
const PLANS: [Plan; 5] = [
    Plan { owner: 0, price_max: 9_000, holder: (0, 1), except: None },
    Plan { owner: 0, price_max: 2_500, holder: (1, 1), except: None },
    Plan { owner: 0, price_max: 1_500, holder: (2, 1), except: None },
    Plan { owner: 2, price_max: 1_500, holder: (2, 2), except: Some(2) },
    Plan { owner: 1, price_max: 2_900, holder: (1, 2), except: Some(1) },
];
/// The plan whose holder loses its cell.
const LOST: usize = 1;
/// The plan whose holder is relayed.
const RELAYED: usize = 3;
/// The plan whose holder leaves at the end.
const LEAVES: usize = 0;

fn seed(kind: u8, number: usize) -> [u8; 32] {
    let mut seed = [kind; 32];
    seed[0] = u8::try_from(number).expect("a few participants");
    seed
}

/// Price of an epoch at a light node; owners are too dear for everybody.
fn price(heavy: usize, light: usize) -> u64 {
    let base = 3_000 - 1_000 * heavy as u64;
    if light == 0 { 10_000 } else { base + 100 * light as u64 }
}

/// The marketplace, running.
struct Stage {
    market: LocalMarket,
    heavies: Vec<Heavy>,
    /// by heavy node
    lights: Vec<Vec<(Light, NodeId)>>,
    owners: Vec<Tenant>,
}

/// What became of a rented cell.
struct Told {
    contract: Contract,
    /// who rents, by heavy node
    owner: usize,
    is_identical: bool,
    /// when the one cell was lost
    before: RentedCell,
    after: RentedCell,
}

/// Runs the story; gives `No` where something does not hold.
pub(super) fn run(
    ByteSize(cell_bytes): ByteSize,
    dir: &Path,
    runtime: &Runtime,
    io: &mut Io,
) -> anyhow::Result<Exit> {
    ensure!(
        (2_048..=256 << 20).contains(&cell_bytes) && cell_bytes.is_multiple_of(1024),
        "a cell has 2 KiB to 256 MiB, in whole KiB"
    );
    let needed = SPARE_BYTES + 2 * PLANS.len() as u64 * cell_bytes;
    std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let free = RealDisk.free_bytes(dir).context("cannot ask for free space")?;
    ensure!(
        free >= needed,
        "the demo needs {} of disk with cells of {}, and {} are free in {}: free some space, or name a folder elsewhere with --dir",
        size(needed),
        size(cell_bytes),
        size(free),
        dir.display()
    );
    runtime.block_on(tell(cell_bytes, dir, io))
}

async fn tell(cell_bytes: u64, dir: &Path, io: &mut Io) -> anyhow::Result<Exit> {
    let started = Instant::now();
    let stage = Stage::start(cell_bytes, dir).await?;
    io.note(format!(
        "3 heavy and {} light nodes registered, capacities checked by {} of noise each",
        3 * LIGHTS,
        size(PROBE_BYTES)
    ));
    let (before, money) = (stage.market.balances(), stage.market.money());
    let rented = stage.rent_all(cell_bytes, io).await?;
    let lost = stage.lose(&rented[LOST].0)?;
    io.note(format!("light node {lost} loses cell {}", rented[LOST].0.number));
    let told = stage.wait(rented).await?;
    let relayed: u64 = stage.heavies.iter().map(|h| h.status().relayed_bytes).sum();
    let findings: Vec<String> =
        stage.heavies.iter().flat_map(|heavy| heavy.status().findings).collect();
    for plan in &told {
        stage.owners[plan.owner].end(plan.contract.number).await?;
    }
    let has_left = stage.leave().await?;
    let report = Report {
        after: stage.market.balances(),
        is_money_kept: stage.market.money() == money,
        names: stage.names(),
        cell_bytes,
        before,
        told,
        relayed,
        findings,
        has_left,
        took: started.elapsed(),
    };
    stage.stop().await;
    report.write(io)?;
    Ok(Exit::of(report.is_good()))
}

/// Bytes that differ from cell to cell.
struct Noise(blake3::OutputReader);

impl Read for Noise {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        self.0.fill(out);
        Ok(out.len())
    }
}

fn content(number: usize) -> Noise {
    Noise(blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof())
}

impl Stage {
    async fn start(cell_bytes: u64, dir: &Path) -> anyhow::Result<Self> {
        let rules = LocalRules {
            block: BLOCK,
            epoch_heights: EPOCH_HEIGHTS + cell_bytes / BYTES_PER_HEIGHT,
            heavy: HeavyRules {
                probe_bytes: PROBE_BYTES,
                // every check of the others
                repeat_ppm: 1_000_000,
                ..HeavyRules::default()
            },
        };
        let market = LocalMarket::start(dir, Arc::new(RealDisk), rules).await?;
        let (mut heavies, mut lights): (Vec<Heavy>, Vec<Vec<(Light, NodeId)>>) = Default::default();
        for number in 0..3 {
            let before = heavies.last().map(Heavy::address);
            let heavy = market.heavy(seed(1, number), MONEY, before.into_iter().collect()).await?;
            if let Some(last) = heavies.last() {
                last.add_neighbour(heavy.address());
            }
            heavies.push(heavy);
        }
        // room for cells, and for what the node's own files take
        let capacity = 2 * cell_bytes + (64 << 20);
        for (number, heavy) in heavies.iter().enumerate() {
            let mut started = Vec::new();
            for light in 0..LIGHTS {
                let seed = seed(2, number * LIGHTS + light);
                let mut config =
                    market.light_config(seed, heavy.address(), capacity, price(number, light));
                config.is_relayed = PLANS[RELAYED].holder == (number, light);
                config.offer_bytes = Some(cell_bytes + (16 << 20));
                started.push(market.light(config, MONEY).await?);
            }
            let mut registered = Vec::new();
            for light in started {
                let node = LocalMarket::registered(&light).await?;
                registered.push((light, node));
            }
            lights.push(registered);
        }
        let mut owners = Vec::new();
        for (number, heavy) in heavies.iter().enumerate() {
            owners.push(market.tenant(&seed(2, number * LIGHTS), heavy.address()).await?);
        }
        Ok(Self { market, heavies, lights, owners })
    }

    fn names(&self) -> BTreeMap<Key, String> {
        let heavies = self.heavies.iter().map(|h| (h.address().key, format!("heavy {}", h.node())));
        let lights = self.lights.iter().flatten().map(|(l, n)| (l.key(), format!("light {n}")));
        heavies.chain(lights).collect()
    }

    /// Rents and reads back; each contract with whether what came back is what was stored.
    async fn rent_all(
        &self,
        cell_bytes: u64,
        io: &mut Io,
    ) -> anyhow::Result<Vec<(Contract, bool)>> {
        let mut rented: Vec<(Contract, bool)> = Vec::new();
        for (number, plan) in PLANS.iter().enumerate() {
            let rent = Rent {
                content_bytes: cell_bytes,
                price_max: Amount(plan.price_max),
                epochs: RENTED_EPOCHS,
                except: plan.except.map(|n| rented[n].0.offer.holder).into_iter().collect(),
            };
            let owner = &self.owners[plan.owner];
            let contract = owner.rent(&rent, content(number)).await;
            let contract = contract.with_context(|| format!("cell {number} was not rented"))?;
            let mut expected = content(number);
            let mut is_identical = true;
            let read = owner.read(&contract, |piece| {
                let mut same = vec![0; piece.len()];
                expected.read_exact(&mut same)?;
                is_identical &= same == piece;
                Ok(())
            });
            read.await.with_context(|| format!("cell {number} was not read"))?;
            let hops = count(contract.path.len() as u64, "hop");
            io.note(format!("cell {} found after {hops}, written, read back", contract.number));
            rented.push((contract, is_identical));
        }
        Ok(rented)
    }

    /// A holder's disk forgets a cell.
    fn lose(&self, contract: &Contract) -> anyhow::Result<NodeId> {
        let holder = self.lights.iter().flatten().find(|(_, node)| *node == contract.offer.holder);
        let (light, node) = holder.context("the holder is one of the light nodes")?;
        let shards = light.storage().list(cells_lake(light.key()), None, 1000)?;
        let shard = shards.iter().find(|shard| shard.name == contract.root);
        let shard = shard.context("the holder has the cell")?;
        light.storage().delete(shard.id, CELL_TERM)?;
        Ok(*node)
    }

    async fn cell(&self, number: u64) -> anyhow::Result<RentedCell> {
        let found = self.market.client().cells(number, 1).await?;
        let cell = found.into_iter().find(|(n, _)| *n == number).map(|(_, cell)| cell);
        cell.with_context(|| format!("cell {number} has ended"))
    }

    /// Waits until some whole epochs after the loss are reported.
    async fn wait(&self, rented: Vec<(Contract, bool)>) -> anyhow::Result<Vec<Told>> {
        let client = self.market.client();
        // the epoch of the loss may have been proven before it
        let lost_in = client.epoch().await?.number;
        let mut looks: Vec<(Option<RentedCell>, Option<RentedCell>)> =
            rented.iter().map(|_| (None, None)).collect();
        let mut blocks = self.blocks().await?;
        while looks.iter().any(|(_, after)| after.is_none()) {
            blocks.next().await?;
            for ((contract, _), (before, after)) in rented.iter().zip(&mut looks) {
                let cell = self.cell(contract.number).await?;
                let last_reported = cell.since_epoch + RENTED_EPOCHS - cell.epochs_left;
                match before {
                    None if last_reported >= lost_in => *before = Some(cell),
                    Some(b) if after.is_none() && b.epochs_left >= cell.epochs_left + EPOCHS => {
                        *after = Some(cell);
                    }
                    _ => {}
                }
            }
        }
        let told = rented.into_iter().zip(looks).zip(&PLANS);
        Ok(told
            .filter_map(|(((contract, is_identical), looked), plan)| {
                let (before, after) = (looked.0?, looked.1?);
                Some(Told { contract, owner: plan.owner, is_identical, before, after })
            })
            .collect())
    }

    /// A light node whose cells have ended leaves; whether the registry let it go.
    async fn leave(&self) -> anyhow::Result<NodeId> {
        let (heavy, light) = PLANS[LEAVES].holder;
        let (light, node) = &self.lights[heavy][light];
        light.leave().await?;
        let client = self.market.client();
        let mut blocks = self.blocks().await?;
        while client.duty(light.key()).await?.is_some() {
            blocks.next().await?;
        }
        Ok(*node)
    }

    /// One block after another, for a while.
    async fn blocks(&self) -> anyhow::Result<Blocks<'_>> {
        let client = self.market.client();
        let height = client.height(0, 0).await?;
        let last = height + PATIENCE_EPOCHS * client.params().await?.epoch_heights;
        Ok(Blocks { client, height, last })
    }

    async fn stop(self) {
        for (light, _) in self.lights.into_iter().flatten() {
            light.stop().await;
        }
        for heavy in self.heavies {
            heavy.stop().await;
        }
        self.market.stop().await;
    }
}

struct Blocks<'a> {
    client: &'a Client,
    height: u64,
    last: u64,
}

impl Blocks<'_> {
    async fn next(&mut self) -> anyhow::Result<()> {
        ensure!(self.height < self.last, "the registry does not come to a report");
        self.height = self.client.height(self.height + 1, 10_000).await?;
        Ok(())
    }
}

struct Report {
    cell_bytes: u64,
    names: BTreeMap<Key, String>,
    before: BTreeMap<Key, u64>,
    after: BTreeMap<Key, u64>,
    is_money_kept: bool,
    told: Vec<Told>,
    relayed: u64,
    findings: Vec<String>,
    has_left: NodeId,
    took: Duration,
}

impl Told {
    /// Epochs since the loss, and how many of them were proven.
    fn epochs(&self) -> (u32, u32) {
        let past = self.before.epochs_left - self.after.epochs_left;
        (past, self.after.epochs_proven - self.before.epochs_proven)
    }
}

impl Report {
    fn sum(balances: &BTreeMap<Key, u64>) -> u128 {
        balances.values().map(|&b| u128::from(b)).sum()
    }

    /// What is to hold, and whether it does.
    fn claims(&self) -> [(&'static str, bool); 7] {
        let hops = |n: usize| self.told[n].contract.path.len();
        let holds = |(number, told): (usize, &Told)| {
            let (past, proven) = told.epochs();
            past >= EPOCHS && proven == if number == LOST { 0 } else { past }
        };
        let paid = |told: &Told| {
            let name = self.names.iter().find(|(key, _)| **key == told.contract.offer.holder_key);
            let change = name.map(|(key, _)| self.after[key].cmp(&self.before[key]));
            change == Some(std::cmp::Ordering::Greater)
        };
        [
            ("lookups go one, two and three hops", (hops(0), hops(1), hops(2)) == (1, 2, 3)),
            ("every cell came back as it was", self.told.iter().all(|t| t.is_identical)),
            ("the relayed bytes were metered", self.relayed > 2 * self.cell_bytes),
            (
                "who lost its cell proves in no epoch, everybody else in every one",
                self.told.iter().enumerate().all(holds),
            ),
            (
                "holders that prove are paid",
                self.told.iter().enumerate().all(|(n, t)| n == LOST || paid(t)),
            ),
            ("heavy nodes find nothing wrong with each other", self.findings.is_empty()),
            (
                "the sum of all balances is what it was",
                self.is_money_kept && Self::sum(&self.before) == Self::sum(&self.after),
            ),
        ]
    }

    fn is_good(&self) -> bool {
        self.claims().iter().all(|(_, holds)| *holds)
    }

    fn name(&self, key: Key) -> &str {
        self.names.get(&key).map_or("registry", String::as_str)
    }

    fn write(&self, io: &mut Io) -> anyhow::Result<()> {
        if io.json { self.write_json(io) } else { self.write_text(io) }
    }

    fn write_json(&self, io: &mut Io) -> anyhow::Result<()> {
        let cell = |(number, told): (usize, &Told)| {
            let (past, proven) = told.epochs();
            json!({
                "cell": told.contract.number,
                "holder": told.contract.offer.holder.0,
                "price": told.contract.offer.price.0,
                "hops": told.contract.path.iter().map(|k| self.name(*k)).collect::<Vec<_>>(),
                "relayed": told.contract.offer.is_relayed,
                "identical": told.is_identical,
                "lost": number == LOST,
                "epochs": past,
                "epochs_proven": proven,
            })
        };
        let account = |(key, before): (&Key, &u64)| json!({ "name": self.name(*key), "before": before, "after": self.after.get(key) });
        let claims: BTreeMap<&str, bool> = self.claims().into_iter().collect();
        io.json(&json!({
            "cell_bytes": self.cell_bytes,
            "cells": self.told.iter().enumerate().map(cell).collect::<Vec<Value>>(),
            "accounts": self.before.iter().map(account).collect::<Vec<Value>>(),
            "sum_before": u64::try_from(Self::sum(&self.before))?,
            "sum_after": u64::try_from(Self::sum(&self.after))?,
            "relayed_bytes": self.relayed,
            "findings": self.findings,
            "left": self.has_left.0,
            "claims": claims,
            "seconds": self.took.as_secs_f64(),
            "good": self.is_good(),
        }))
    }

    fn write_text(&self, io: &mut Io) -> anyhow::Result<()> {
        for (number, told) in self.told.iter().enumerate() {
            let Contract { number: cell, offer, path, .. } = &told.contract;
            let (past, proven) = told.epochs();
            let hops = path.iter().map(|k| self.name(*k)).collect::<Vec<_>>().join(" > ");
            let (relayed, lost) = (
                if offer.is_relayed { ", relayed" } else { "" },
                if number == LOST { "; lost" } else { "" },
            );
            io.line(format_args!(
                "cell {cell} of {}: {hops} > light {} at {} an epoch{relayed}; {proven} of {past} epochs proven{lost}",
                size(self.cell_bytes),
                offer.holder,
                offer.price
            ))?;
        }
        io.line(format_args!("{:14} {:>10} {:>10} {:>8}", "account", "before", "after", "change"))?;
        let mut accounts: Vec<(&str, u64, u64)> = self
            .before
            .iter()
            .map(|(key, before)| {
                (self.name(*key), *before, self.after.get(key).copied().unwrap_or(0))
            })
            .collect();
        accounts.sort_unstable_by_key(|(name, ..)| (name.len(), *name));
        for (name, before, after) in accounts {
            let change = i128::from(after) - i128::from(before);
            io.line(format_args!("{name:14} {before:>10} {after:>10} {change:>+8}"))?;
        }
        let (before, after) = (Self::sum(&self.before), Self::sum(&self.after));
        io.line(format_args!("{:14} {before:>10} {after:>10}", "sum"))?;
        for finding in &self.findings {
            io.line(format_args!("finding: {finding}"))?;
        }
        for (claim, holds) in self.claims() {
            io.line(format_args!("{} {claim}", if holds { "ok " } else { "NO " }))?;
        }
        io.line(format_args!(
            "light {} has left; {:.1} s",
            self.has_left,
            self.took.as_secs_f64()
        ))?;
        Ok(())
    }
}
