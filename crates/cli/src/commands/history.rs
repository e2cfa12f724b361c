//! What is stored of every chain, container by container, and what stands against the chain's node deleting it.

use crate::{archive::known, io::Io, session::Session, text::count};
use prunedb_engine::{ContainerPlace, ContainerStatus, Db, Depth, Governance, Verified};

/// Records read at a time, where a container has gaps.
const PAGE: usize = 256;

/// Each chain, the table that has a record of every block, and those that have one of every block that is there whole.
const CHAINS: [(&str, &str, &[&str]); 3] = [
    ("ethereum", "block", &[]),
    ("casper", "header", &["block", "transactions"]),
    ("bitcoin", "block", &[]),
];

/// A network whose history is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct History {
    pub(super) chain: &'static str,
    pub(super) network: String,
    /// the table that has a record of every block
    pub(super) table: String,
    /// the others that a whole block is in
    pub(super) other_parts: Vec<String>,
}

/// The networks with history in the database, chain by chain.
pub(super) fn histories(db: &Db) -> Vec<History> {
    let tables = db.tables();
    let mut histories = Vec::new();
    for (chain, part, others) in CHAINS {
        for table in &tables {
            let network = table.name().strip_prefix(chain).and_then(|rest| rest.strip_prefix('/'));
            let network = network.and_then(|rest| rest.strip_suffix(part)?.strip_suffix('/'));
            if let Some(network) = network {
                let other = |part| format!("{chain}/{network}/{part}");
                histories.push(History {
                    chain,
                    network: network.to_owned(),
                    table: table.name().to_owned(),
                    other_parts: others.iter().map(other).collect(),
                });
            }
        }
    }
    histories
}

/// Heights of blocks in one container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Heights {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) blocks: u64,
}

impl Heights {
    /// Whether no height is missing between the first and the last.
    pub(super) const fn is_gapless(self) -> bool {
        self.last - self.first + 1 == self.blocks
    }
}

/// The heights of a table's records in a sealed container.
pub(super) fn heights(container: &ContainerStatus, table: &str) -> Option<Heights> {
    let summary = container.tables.iter().find(|t| t.table.name == table)?;
    let height = |key: &[u8]| key.try_into().ok().map(u64::from_be_bytes);
    let (first, last) = (height(&summary.first_key)?, height(&summary.last_key)?);
    (first <= last).then_some(Heights { first, last, blocks: summary.records.into() })
}

/// A run of heights that a table has, and the container that they lie in; `None`: the open one.
pub(super) struct StoredRun {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) container: Option<usize>,
}

/// Which heights a table has, by height; runs may overlap where a block is there twice.
pub(super) fn stored_runs(
    table: &str,
    containers: &[ContainerStatus],
    db: &Db,
) -> anyhow::Result<Vec<StoredRun>> {
    let mut runs: Vec<StoredRun> = Vec::new();
    for (position, container) in containers.iter().enumerate() {
        let Some(heights) = heights(container, table) else { continue };
        let container = Some(position);
        if heights.is_gapless() {
            runs.push(StoredRun { first: heights.first, last: heights.last, container });
        } else {
            let each = each_height(table, heights, db)?.into_iter();
            runs.extend(each.map(|height| StoredRun { first: height, last: height, container }));
        }
    }
    // of the open container there is no summary: what it has is found by looking behind the others
    let last = runs.iter().map(|run| run.last).max();
    let open = containers.iter().any(|c| c.place == ContainerPlace::Active && c.records > 0);
    if open {
        let first = last.map_or(0, |last| last.saturating_add(1));
        let rest = Heights { first, last: u64::MAX, blocks: 0 };
        let each = each_height(table, rest, db)?.into_iter();
        runs.extend(each.map(|height| StoredRun { first: height, last: height, container: None }));
    }
    runs.sort_by_key(|run| (run.first, run.last));
    Ok(runs)
}

/// The heights of a table between two, one by one.
fn each_height(table: &str, heights: Heights, db: &Db) -> anyhow::Result<Vec<u64>> {
    let Some(table) = known(db, table)? else { return Ok(Vec::new()) };
    let (mut found, mut from) = (Vec::new(), Some(heights.first));
    while let Some(start) = from {
        let page = db.range(&table, start, PAGE)?;
        let before = found.len();
        found.extend(page.iter().map(|&(height, _)| height).filter(|&at| at <= heights.last));
        let whole = page.len() == PAGE && found.len() - before == PAGE;
        from = found.last().filter(|_| whole).and_then(|last| last.checked_add(1));
    }
    Ok(found)
}

/// Runs of heights from `from` up to the highest stored one that a table lacks, by height; in the open container there may be some of them.
pub(super) fn missing(table: &str, from: u64, db: &Db) -> anyhow::Result<Vec<(u64, u64)>> {
    let (mut missing, mut next) = (Vec::new(), Some(from));
    for run in stored_runs(table, &db.containers()?, db)? {
        let Some(expected) = next else { break };
        if run.first > expected {
            missing.push((expected, run.first - 1));
        }
        next = run.last.checked_add(1).map(|after| after.max(expected));
    }
    Ok(missing)
}

/// What stands against deleting what the containers hold elsewhere.
pub(super) struct Safety {
    pub(super) containers: Vec<ContainerStatus>,
    verified: Verified,
    /// what the lake's registry says, where it has one
    governance: Option<Governance>,
}

impl Safety {
    /// Asks every node.
    pub(super) fn now(session: &Session, depth: Depth, io: &mut Io) -> anyhow::Result<Self> {
        let verified = session.db.verify(depth, &mut |p| io.progress(p))?;
        let governance = session.db.governance();
        Ok(Self { containers: session.db.containers()?, verified, governance })
    }

    /// Shards of a container that are missing, damaged or out of reach.
    pub(super) fn faults(&self, position: usize) -> u64 {
        let id = self.containers[position].id;
        self.verified.faults.iter().filter(|fault| fault.container == id).count() as u64
    }

    /// Why what is in a container must stay elsewhere, too; nothing: it is safe.
    pub(super) fn reasons(&self, position: usize) -> Vec<String> {
        let container = &self.containers[position];
        let mut reasons = Vec::new();
        if !matches!(container.place, ContainerPlace::Lake { .. }) {
            reasons.push("it is not in the lake yet".into());
        }
        if !container.read_back {
            reasons.push("it was not read back from its shards yet (`prunedb evict` does)".into());
        }
        let faults = self.faults(position);
        if faults > 0 {
            let shards = count(faults, "shard");
            reasons.push(format!("{shards} missing or damaged (`prunedb repair`)"));
        }
        if let Some(prunable) = self.governance.map(|g| g.prunable_up_to)
            && container.id.number >= prunable
        {
            reasons.push(format!(
                "the registry allows pruning of batches below {prunable} only (`prunedb batch show {}`)",
                container.id.number
            ));
        }
        let after = &self.containers[position + 1..];
        if !after.iter().any(|c| c.place != ContainerPlace::Active) {
            reasons.push("the container after it is not closed yet".into());
        }
        reasons
    }

    /// The containers with records of these heights in a sequence whose name begins with `prefix`.
    fn with<'a>(
        &'a self,
        prefix: &'a str,
        ranges: &'a [(u64, u64)],
    ) -> impl Iterator<Item = usize> + 'a {
        (0..self.containers.len()).filter(move |&position| {
            let container = &self.containers[position];
            let names = container.tables.iter().map(|table| &table.table.name[..]);
            names.filter(|name| name.starts_with(prefix)).any(|name| {
                heights(container, name).is_some_and(|heights| {
                    ranges
                        .iter()
                        .any(|&(first, last)| first <= heights.last && heights.first <= last)
                })
            })
        })
    }

    /// Each of them that is not safe, and why.
    pub(super) fn against(&self, prefix: &str, ranges: &[(u64, u64)]) -> Vec<String> {
        let reasons = self.with(prefix, ranges).map(|position| (position, self.reasons(position)));
        reasons
            .filter(|(_, reasons)| !reasons.is_empty())
            .map(|(position, reasons)| {
                format!("container {}: {}", self.containers[position].id, reasons.join("; "))
            })
            .collect()
    }

    /// All of them: container and root, which fixes every byte of its shards.
    pub(super) fn containers(&self, prefix: &str, ranges: &[(u64, u64)]) -> Vec<serde_json::Value> {
        self.with(prefix, ranges)
            .map(|position| {
                let container = &self.containers[position];
                let root = container.root.map(|root| root.to_string());
                serde_json::json!({ "container": container.id.to_string(), "root": root })
            })
            .collect()
    }
}
