//! Changing the policy of what is stored: every container of data and index is coded anew, and its old shards go only after the new ones
//! were read back.
//!
//! ```text
//! old shards, any p -> coded stream, compared -> new shards, on a group of the new policy -> read back from a random p, compared
//!   -> one transaction: the manifest names the new shards, the old ones are retired -> published -> deleted some heads later
//! ```
//! Invariants: at every moment the manifest names shards that were read back, or that were there before; no new shard lies on
//! the node that has the old one of the same number, so writing one never replaces the other. A change that was interrupted
//! goes on where it was when it is asked for again: what was uploaded already has the same bytes and is not sent again.
//!
//! The containers of the manifest are written anew with the first head of the new policy.

use crate::{
    db::{Db, Inner},
    error::Error,
    lake::Shards,
    manifest::Retired,
    offload::GENERATION,
    placement::{beside, candidates, found},
    progress::{Job, OnProgress},
};
use prunedb_codec::{CodecVersion, CodedStream, MemorySpool, Spool, StreamParams};
use prunedb_core::{ContainerId, Digest, Policy, ShardIndex};
use prunedb_format::manifest::{ContainerEntry, StreamEntry};
use std::sync::{Arc, PoisonError};

/// What a change of policy did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recoded {
    /// containers of data and index that have the new policy now
    pub containers: u64,
    /// their bytes
    pub container_bytes: u64,
    /// containers whose shards of an earlier change are not deleted yet: ask again later
    pub waiting: u64,
}

impl Db {
    /// Gives new containers another policy, and those that are stored already.
    ///
    /// # Errors
    /// [`Error::TooFewNodes`], [`Error::ReadOnly`], [`Error::Offload`] where too few nodes take the new shards, [`Error::Lost`] where a
    /// container cannot be read, and those of publishing. What was done stays done; the next call goes on.
    pub fn change_policy(
        &self,
        policy: Policy,
        report: &mut OnProgress<'_>,
    ) -> Result<Recoded, Error> {
        if self.is_reader() {
            return Err(Error::ReadOnly);
        }
        self.inner.require_no_registry(
            "the registry has the roots of all batches: their policy cannot change any more",
        )?;
        self.inner.change_policy(policy, report)
    }
}

impl Inner {
    fn change_policy(&self, policy: Policy, report: &mut OnProgress<'_>) -> Result<Recoded, Error> {
        let _no_moves = self.repairs.lock().unwrap_or_else(PoisonError::into_inner);
        self.begin_policy(policy)?;
        self.publish()?;
        let mut ids = Vec::new();
        let data = self.manifest.container_numbers()?.into_iter().map(ContainerId::data);
        for id in data.chain(self.manifest.index_containers()?) {
            let container = self.manifest.container(id)?;
            ids.extend(container.is_some_and(|c| c.entry.stream.policy != policy).then_some(id));
        }
        let mut job = Job::start("recode", self.subjects_bytes(&ids)?, report);
        let mut out = Recoded::default();
        for id in ids {
            let Some(subject) = self.subject(id)? else { continue };
            if self.recode(id, policy)? {
                out.containers += 1;
                out.container_bytes += subject.stream.container_bytes;
            } else {
                out.waiting += 1;
            }
            job.did(crate::verify::shards_bytes(&subject.stream)?, id);
        }
        self.publish()?;
        Ok(out)
    }

    /// New containers have the policy from now on, and there are groups for it.
    fn begin_policy(&self, policy: Policy) -> Result<(), Error> {
        let _one = self.lake_writes.lock().unwrap_or_else(PoisonError::into_inner);
        self.term()?;
        let mut placement = (*self.lake.placement()).clone();
        if placement.groups.iter().all(|group| group.policy != policy) {
            let candidates = candidates(&placement.nodes, &self.space());
            placement.groups.extend(found(self.lake.id, policy, &candidates)?);
            self.change_placement(placement)?;
        }
        self.manifest.update(|state| {
            if state.body.policy != policy {
                Arc::make_mut(&mut state.body).policy = policy;
                state.head_dirty = true;
            }
        })
    }

    /// Codes one container anew; `false` where the shards of an earlier change are not deleted yet.
    fn recode(&self, id: ContainerId, policy: Policy) -> Result<bool, Error> {
        let _one = self.lake_writes.lock().unwrap_or_else(PoisonError::into_inner);
        if self.manifest.retired()?.iter().any(|retired| retired.id == id) {
            return Ok(false);
        }
        let Some(container) = self.manifest.container(id)? else { return Ok(true) };
        let old = container.entry.stream;
        let coded = self.read_all(&old)?;
        let group = self.group_beside(old.group, policy, id.number)?;
        let codec =
            |e: &dyn std::fmt::Display| Error::Codec { container: id, reason: e.to_string() };
        let version = CodecVersion::new(old.codec).map_err(|e| codec(&e))?;
        let params = StreamParams {
            lake: self.lake.id,
            container: id,
            policy,
            codec: version,
            generation: GENERATION,
        };
        let stream = CodedStream {
            container_bytes: old.container_bytes,
            coded_bytes: old.coded_bytes,
            digest: old.stream_digest,
        };
        let mut spool = MemorySpool::with_capacity(coded.len());
        spool.append(&coded).map_err(|e| codec(&e))?;
        drop(coded);
        let (uploaded, term) = self.put_coded(params, stream, &spool, group)?;
        drop(spool);
        let root = uploaded.encoded.root;
        let new = StreamEntry { policy, generation: GENERATION, group, term, root, ..old };
        self.read_all(&new)?;
        let entry = ContainerEntry {
            stream: new,
            names: uploaded.encoded.names,
            ..container.entry.clone()
        };
        let (group, policy) = (old.group, old.policy);
        // the next head is the first one that names the new shards
        let since_head = self.manifest.state().head_number + 1;
        let missing: Vec<(ContainerId, ShardIndex)> =
            uploaded.missing.iter().map(|&shard| (id, shard)).collect();
        self.manifest.replace(entry, Retired { id, since_head, group, policy }, &missing)?;
        tracing::info!(container = %id, from = %policy, to = %new.policy, "coded anew");
        Ok(true)
    }

    /// A container's coded stream from a random `p` of its shards, compared with what was stored.
    pub(crate) fn read_all(&self, stream: &StreamEntry) -> Result<Vec<u8>, Error> {
        let shards = Shards::new(&self.lake, stream)?;
        let coded = shards.read_stream(&self.random_order(&shards)?)?;
        let found = Digest(*blake3::hash(&coded).as_bytes());
        if found != stream.stream_digest {
            let reason = format!("read back as {found}, stored as {}", stream.stream_digest);
            return Err(Error::Codec { container: stream.id, reason });
        }
        Ok(coded)
    }

    /// A group of the policy of which no node has the same shard number in the old group, opened where there is none.
    fn group_beside(&self, old: u32, policy: Policy, number: u32) -> Result<u32, Error> {
        let mut placement = (*self.lake.placement()).clone();
        let group = beside(&mut placement.groups, old, policy, number);
        if placement.groups.len() > self.lake.placement().groups.len() {
            self.change_placement(placement)?;
        }
        Ok(group)
    }
}
