//! Checking every shard of every container, with bounded memory.

use crate::{
    db::{Db, Inner},
    error::Error,
    lake::{Shards, within},
    progress::{Job, OnProgress},
};
use prunedb_core::{ContainerId, ContainerKind, Digest, ShardIndex};
use prunedb_format::manifest::StreamEntry;
use prunedb_proof::{AUDIT_SAMPLES_MAX, Audit};
use prunedb_store::{ShardStat, StoreError};
use std::num::NonZeroU16;
use tokio::task::JoinSet;

/// How closely shards are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Ask each holder whether it has the shard, and under which name.
    Quick,
    /// Have each holder show so many samples of the shard, drawn from a seed made up now, with their paths to the
    /// shard's name: a holder reads and checks all of the shard for them, and sends about 1.5 KB for each. Shards whose
    /// name is not known are looked at as for [`Depth::Quick`].
    Samples(NonZeroU16),
    /// Read every byte of every shard and hash it.
    Deep,
}

/// What is wrong with a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// its node does not have it
    Missing,
    /// its node has other bytes, or another shard
    Damaged,
    /// its node does not answer: the shard may be well
    Unreachable,
}

impl std::fmt::Display for FaultKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Missing => "missing",
            Self::Damaged => "damaged",
            Self::Unreachable => "unreachable",
        })
    }
}

/// A shard that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardFault {
    /// its container
    pub container: ContainerId,
    /// which shard
    pub shard: ShardIndex,
    /// its node
    pub node: String,
    /// what is wrong, in a word
    pub kind: FaultKind,
    /// what is wrong, in full
    pub reason: String,
}

/// What a verification found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// containers checked, those of the manifest counted
    pub containers: u64,
    /// shards checked
    pub shards: u64,
    /// bytes read and hashed
    pub bytes_read: u64,
    /// every shard that is not as it should be
    pub faults: Vec<ShardFault>,
    /// containers with fewer than `p` shards that are well and can be reached
    pub lost: Vec<ContainerId>,
}

impl Verified {
    /// Nothing is wrong.
    pub fn is_healthy(&self) -> bool {
        self.faults.is_empty() && self.lost.is_empty()
    }
}

/// A container to be checked: how to read it, and its shard names where the manifest has them.
#[derive(Clone)]
pub(crate) struct Subject {
    pub(crate) stream: StreamEntry,
    /// empty for manifest containers: the head has their roots only
    pub(crate) names: Vec<Digest>,
}

impl Db {
    /// Checks every shard of every container. What is missing or damaged is remembered for [`Db::repair`]; what is on a
    /// node that does not answer may be well, and is shown only.
    ///
    /// # Errors
    /// Those of the local disk; faults of nodes are the result.
    pub fn verify(&self, depth: Depth, report: &mut OnProgress<'_>) -> Result<Verified, Error> {
        self.inner.verify(depth, report)
    }
}

impl Inner {
    /// All containers in the lake: data, the index's, and the manifest's.
    pub(crate) fn subject_ids(&self) -> Result<Vec<ContainerId>, Error> {
        let data = self.manifest.container_numbers()?.into_iter().map(ContainerId::data);
        let body = self.manifest.state().body;
        let manifests = body.manifests.iter().map(|m| m.stream.id);
        let index = self.manifest.index_containers()?;
        Ok(data.chain(index).chain(manifests).collect())
    }

    /// What is needed to check or repair a container; `None` where a newer one has replaced it.
    pub(crate) fn subject(&self, id: ContainerId) -> Result<Option<Subject>, Error> {
        if id.kind == ContainerKind::Manifest {
            let body = self.manifest.state().body;
            let found = body.manifests.iter().find(|m| m.stream.id == id);
            return Ok(found.map(|m| Subject { stream: m.stream, names: Vec::new() }));
        }
        let container = self.manifest.container(id)?;
        Ok(container.map(|c| Subject { stream: c.entry.stream, names: c.entry.names.clone() }))
    }

    /// Bytes of all shards of these containers.
    pub(crate) fn subjects_bytes(&self, ids: &[ContainerId]) -> Result<u64, Error> {
        let mut bytes = 0;
        for &id in ids {
            if let Some(subject) = self.subject(id)? {
                bytes += shards_bytes(&subject.stream)?;
            }
        }
        Ok(bytes)
    }

    fn verify(&self, depth: Depth, report: &mut OnProgress<'_>) -> Result<Verified, Error> {
        let ids = self.subject_ids()?;
        let mut job = Job::start("verify", self.subjects_bytes(&ids)?, report);
        let mut out = Verified::default();
        for id in ids {
            let Some(subject) = self.subject(id)? else { continue };
            let faults = self.check(&subject, depth)?;
            if self.subject(id)?.is_none() {
                continue; // replaced, and perhaps deleted, while it was looked at
            }
            let shards = subject.stream.policy.total_shards();
            let bytes = shards_bytes(&subject.stream)?;
            if depth == Depth::Deep {
                out.bytes_read += bytes / shards as u64 * (shards - faults.len()) as u64;
            }
            out.containers += 1;
            out.shards += shards as u64;
            if shards - faults.len() < subject.stream.policy.data_shards() {
                out.lost.push(id);
            }
            let bad = faults.iter().filter(|f| f.kind != FaultKind::Unreachable);
            self.manifest.set_damage(bad.map(|f| (id, f.shard)), true)?;
            let is_good = |s: &ShardIndex| faults.iter().all(|f| f.shard != *s);
            let good = subject.stream.policy.shards().filter(is_good);
            if depth == Depth::Deep {
                self.manifest.set_damage(good.map(|s| (id, s)), false)?;
            }
            out.faults.extend(faults);
            job.did(bytes, id);
        }
        Ok(out)
    }

    /// The faults of one container's shards.
    pub(crate) fn check(&self, subject: &Subject, depth: Depth) -> Result<Vec<ShardFault>, Error> {
        let shards = Shards::new(&self.lake, &subject.stream)?;
        let names = self.names_of(&shards, subject);
        let mut checks = JoinSet::new();
        for shard in subject.stream.policy.shards() {
            let (shards, name) = (shards.clone(), names[shard.as_usize()]);
            let check = async move { (shard, check_shard(&shards, shard, name, depth).await) };
            checks.spawn_on(check, self.lake.runtime.handle());
        }
        let mut faults = Vec::new();
        self.lake.runtime.block_on(async {
            while let Some(done) = checks.join_next().await {
                if let (shard, Err((kind, reason))) = done.expect("a check does not panic") {
                    let (container, node) = (subject.stream.id, shards.node(shard));
                    let node = node.store.name().to_owned();
                    faults.push(ShardFault { container, shard, node, kind, reason });
                }
            }
        });
        faults.sort_by_key(|f| f.shard);
        Ok(faults)
    }

    /// Shard names as the manifest has them; for a manifest container those that its holders claim, if they make up
    /// the root in the head; else none is known.
    pub(crate) fn names_of(&self, shards: &Shards, subject: &Subject) -> Vec<Option<Digest>> {
        if !subject.names.is_empty() {
            return subject.names.iter().copied().map(Some).collect();
        }
        shards.claimed_names(&subject.stream)
    }
}

/// Bytes of all shards of a container.
pub(crate) fn shards_bytes(stream: &StreamEntry) -> Result<u64, Error> {
    Ok(crate::lake::layout_of(stream)?.shard_bytes() * stream.policy.total_shards() as u64)
}

async fn check_shard(
    shards: &Shards,
    shard: ShardIndex,
    name: Option<Digest>,
    depth: Depth,
) -> Result<(), (FaultKind, String)> {
    let node = shards.node(shard);
    let stat = within(node.store.name(), node.store.stat(shards.id(shard))).await;
    let stat: Option<ShardStat> = stat.map_err(of_store)?;
    let stat = stat.ok_or((FaultKind::Missing, "missing".into()))?;
    let damaged = |reason: String| Err((FaultKind::Damaged, reason));
    let bytes = shards.layout().shard_bytes();
    if stat.bytes != bytes {
        return damaged(format!("has {} bytes, {bytes} belong there", stat.bytes));
    }
    if let Some(name) = name.filter(|n| *n != stat.name) {
        return damaged(format!("is another shard: {}, {name} belongs there", stat.name));
    }
    match (depth, name) {
        (Depth::Quick, _) | (Depth::Samples(_), None) => return Ok(()),
        (Depth::Samples(samples), Some(name)) => {
            return audit_shard(shards, shard, name, samples.get()).await;
        }
        (Depth::Deep, _) => {}
    }
    let mut hasher = blake3::Hasher::new();
    let leaves = shards.layout().leaves_per_shard();
    let mut at = 0;
    while at < leaves {
        let next = (at + shards.leaves_per_get()).min(leaves);
        let sealed = shards.sealed(shard, at..next).await.map_err(of_store)?;
        hasher.update(&sealed);
        if name.is_none() {
            shards.open(shard, at, &sealed).or_else(|e| damaged(e.to_string()))?;
        }
        at = next;
    }
    let found = Digest(*hasher.finalize().as_bytes());
    match name {
        Some(name) if name != found => {
            damaged(format!("damaged: hashes to {found}, {name} belongs there"))
        }
        _ => Ok(()),
    }
}

/// Has a shard's holder show samples of it.
async fn audit_shard(
    shards: &Shards,
    shard: ShardIndex,
    name: Digest,
    samples: u16,
) -> Result<(), (FaultKind, String)> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|e| (FaultKind::Unreachable, format!("no random bytes for a seed: {e}")))?;
    let samples = samples.min(AUDIT_SAMPLES_MAX);
    let audit = Audit { shard: shards.id(shard), seed, samples };
    let store = &shards.node(shard).store;
    let shown = within(store.name(), store.prove(audit)).await.map_err(of_store)?;
    audit
        .verify(&name, shards.layout().shard_bytes(), &shown)
        .map_err(|e| (FaultKind::Damaged, format!("shows other bytes: {e}")))
}

/// What a store's refusal says of a shard.
fn of_store(error: StoreError) -> (FaultKind, String) {
    let kind = match error {
        StoreError::Absent { .. } => FaultKind::Missing,
        StoreError::Damaged { .. } | StoreError::Range { .. } => FaultKind::Damaged,
        _ => FaultKind::Unreachable,
    };
    (kind, error.to_string())
}
